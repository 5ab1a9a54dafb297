"""The RT objects of a course: which there are by the private index, and what each file holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydicom.dataset import Dataset

from rtpipeline.contracts.manifests import Course
from rtpipeline.dicom.open import open_many
from rtpipeline.errors import DataError
from rtpipeline.execution.context import StageContext
from rtpipeline.store.identity import keyed_hash

Row = Mapping[str, Any]
KINDS = ("rtstruct", "rtplan", "rtdose", "reg", "rtrecord")


@dataclass(frozen=True)
class RtInputs:
    """Rows of the index by object id, and the hashing that replaces original UIDs."""

    course: Course
    rows: dict[str, Row]
    secret: bytes

    def of(self, kind: str) -> list[Row]:
        """Rows of one kind, by object id."""
        return [row for _, row in sorted(self.rows.items()) if row["kind"] == kind]

    def hash_of(self, text: str) -> str | None:
        """Keyed hash of a UID or a name; None for an empty one."""
        return keyed_hash(self.secret, text) if text else None

    def day_of(self, dicom_date: str) -> int | None:
        """Days from the course's day 0, which the objects' own days and dates give away."""
        zero = self._day_zero()
        when = _ordinal(dicom_date)
        return None if zero is None or when is None else when - zero

    def _day_zero(self) -> int | None:
        course = self.course
        dated = [
            *((s.structure_set_id, s.day) for s in course.structure_sets),
            *((p.plan_id, p.day) for p in course.plans),
            *((d.rtdose_id, d.day) for d in course.doses),
            *((o.object_id, o.day) for o in course.others),
        ]
        zeros: Counter[int] = Counter()
        for object_id, day in dated:
            when = _ordinal(self.rows[object_id]["date"]) if object_id in self.rows else None
            if when is not None and day is not None:
                zeros[when - day] += 1
        return max(zeros, key=lambda z: (zeros[z], -z)) if zeros else None


def _ordinal(dicom_date: str | None) -> int | None:
    """Day number of a DICOM date (yyyymmdd); None when it is none."""
    try:
        return date.fromisoformat((dicom_date or "").strip()[:8]).toordinal()
    except ValueError:
        return None


def rt_inputs(context: StageContext, course: Course) -> RtInputs:
    """The used RT objects of a course by the private index.

    Raises
    ------
    UsageError: there is no private folder.
    """
    secret = context.secret()
    table = pq.read_table(
        Path(context.private or "") / "index.parquet",
        filters=[("course_id", "=", course.course_id), ("use", "=", "used"), ("kind", "in", list(KINDS))],
    )
    return RtInputs(course, {row["object_id"]: row for row in table.to_pylist() if row["object_id"]}, secret)


def open_objects(context: StageContext, rows: Sequence[Row]) -> Iterator[tuple[str, Dataset]]:
    """(object id, data set) of every row, each file or archive read once.

    What cannot be read is reported and left out. One broken file ends the common pass, so the rest is then read
    singly.
    """
    left = {row["object_id"]: row for row in rows}
    try:
        for row, data_set in open_many(rows, context.sources):
            left.pop(row["object_id"])
            yield row["object_id"], data_set
    except DataError:
        for object_id, row in left.items():
            try:
                data_sets = [data_set for _, data_set in open_many([row], context.sources)]
            except DataError as error:
                context.report(*error.findings)
                continue
            yield object_id, data_sets[0]

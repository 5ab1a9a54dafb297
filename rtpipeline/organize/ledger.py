"""What became of every row of the scan: the private index, the counts, and the way back from pseudonyms.

Nothing is lost silently: each row ends with a use, and with a reason when it is not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rtpipeline.contracts.index import INDEX_SCHEMA, SCAN_SCHEMA
from rtpipeline.organize.objects import Identity, ObjectColumns, ScanObject, identity_at, is_uid
from rtpipeline.store.identity import keyed_hash

USES = ("used", "duplicate", "conflict", "quarantined", "not_used")
REASONS = {"duplicate": "FILE_DUPLICATE", "conflict": "FILE_UID_CONFLICT", "quarantined": "FILE_TRUNCATED"}
IDENTITY_FIELDS = (
    "patient_id", "patient_key", "patient_name", "birth_date", "course_id", "object_id", "object_hash", "original_uid",
    "kind", "source", "path", "member",
)  # fmt: skip


@dataclass
class Placed:
    """Where an object ended."""

    patient_id: str
    course_id: str
    object_id: str
    use: str
    reason: str


@dataclass
class Ledger:
    """Rows in content order, and what became of them."""

    columns: ObjectColumns
    use: np.ndarray
    """(n,) object, '' while undecided"""
    reason: np.ndarray
    patient: np.ndarray = field(init=False)
    course: np.ndarray = field(init=False)
    object_id: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Nobody's as yet."""
        self.patient, self.course, self.object_id = (np.full(len(self.use), "", dtype=object) for _ in range(3))

    def refuse(self, rows: np.ndarray, use: str, reason: str) -> None:
        """Set rows aside."""
        self.use[rows] = use
        self.reason[rows] = reason

    def place(self, thing: ScanObject, placed: Placed) -> None:
        """Record where the rows of an object ended."""
        self.use[thing.rows] = placed.use
        self.reason[thing.rows] = placed.reason
        self.patient[thing.rows] = placed.patient_id
        self.course[thing.rows] = placed.course_id
        self.object_id[thing.rows] = placed.object_id

    def settle(self, patient_of: Mapping[Identity, str], patient_of_study: Mapping[str, str]) -> None:
        """Say for rows that are not used whose they are, as far as the used ones tell.

        patient_of: identity -> patient id; patient_of_study: study UID -> patient id. Copies follow the object that
        they are copies of; other rows of a series the course of that series.
        """
        uids = self.columns.text("sop_instance_uid").codes
        placed = np.flatnonzero(self.patient != "")
        first = np.full(int(uids.max(initial=0)) + 1, -1, dtype=np.int64)
        first[uids[placed]] = placed
        copies = np.flatnonzero((self.use == "duplicate") & (first[uids] >= 0))
        for column in (self.patient, self.course, self.object_id):
            column[copies] = column[first[uids[copies]]]
        series = self.columns.text("series_uid")
        of_series = np.full(int(series.codes.max(initial=0)) + 1, -1, dtype=np.int64)
        of_series[series.codes[placed]] = placed
        for code in np.flatnonzero(~np.array([is_uid(w) for w in series.words], dtype=bool)) if len(uids) else ():
            of_series[code] = -1
        for row in np.flatnonzero(self.patient == "").tolist():
            sibling = int(of_series[series.codes[row]])
            who = identity_at(self.columns, row)
            if sibling >= 0:
                self.patient[row], self.course[row] = self.patient[sibling], self.course[sibling]
            else:
                study = self.columns.at("study_uid", row)
                self.patient[row] = patient_of.get(who) or patient_of_study.get(study, "")

    def hashes(self, secret: bytes) -> np.ndarray:
        """(n,) object: keyed hash of each row's SOP instance UID, of the series UID for images."""
        images = self.columns.text("kind").mask(lambda kind: kind == "image")
        out = np.full(len(self.use), "", dtype=object)
        for name, rows in (("series_uid", images), ("sop_instance_uid", ~images)):
            column = self.columns.text(name)
            codes = column.codes[rows]
            words = {
                c: keyed_hash(secret, column.words[c]) if column.words[c] else "" for c in np.unique(codes).tolist()
            }
            out[rows] = [words[c] for c in codes.tolist()]
        return out

    def index(self, secret: bytes) -> pa.Table:
        """The table with organize's columns, sorted by course, object and UID."""
        added = {
            "use": self.use,
            "reason": self.reason,
            "patient_id": self.patient,
            "course_id": self.course,
            "object_id": self.object_id,
            "object_hash": self.hashes(secret),
        }
        keys = pa.table({n: pa.array(added[n], pa.string()) for n in ("course_id", "object_id")})
        order = pc.sort_indices(
            keys.append_column("row", pa.array(np.arange(len(self.use)))),
            sort_keys=[("course_id", "ascending"), ("object_id", "ascending"), ("row", "ascending")],
        )
        scanned = self.columns.table.select(SCAN_SCHEMA.names).take(self.columns.order.take(order))
        for name, values in added.items():
            scanned = scanned.append_column(name, pa.array(values, pa.string()).take(order))
        return scanned.cast(INDEX_SCHEMA)

    def counts(self) -> dict[str, int]:
        """Rows in all, by use, by kind, and by kind and use."""
        kinds = self.columns.text("kind")
        found = {"objects": len(self.use)}
        for use in USES:
            chosen = self.use == use
            found[f"use.{use}"] = int(chosen.sum())
            for code, number in zip(*np.unique(kinds.codes[chosen], return_counts=True), strict=True):
                found[f"kind.{kinds.words[int(code)]}.{use}"] = int(number)
        return dict(sorted(found.items()))


def identity_rows(ledger: Ledger, objects: Iterable[ScanObject], secret: bytes) -> list[dict[str, Any]]:
    """One row for each object (image part or RT object): pseudonyms beside what they stand for."""
    columns = ledger.columns
    sources = columns.values("source").to_pylist()
    found = []
    for thing in objects:
        row = int(thing.rows[0])
        found.append(
            {
                "patient_id": ledger.patient[row],
                **{name: columns.at(name, row) for name in ("patient_key", "patient_name", "birth_date")},
                "course_id": ledger.course[row],
                "object_id": ledger.object_id[row],
                "object_hash": keyed_hash(secret, thing.uid),
                "original_uid": thing.uid,
                "kind": thing.kind,
                "source": sources[row],
                "path": columns.at("path", row),
                "member": columns.at("member", row),
            }
        )
    return sorted(found, key=lambda r: (r["patient_id"], r["course_id"], r["object_id"], r["original_uid"]))


def identity_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """`identity_rows` as the table of `identity.parquet`."""
    types = {"source": pa.int16()}
    return pa.table({n: pa.array([r[n] for r in rows], types.get(n, pa.string())) for n in IDENTITY_FIELDS})

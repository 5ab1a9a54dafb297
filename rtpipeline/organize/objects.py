"""What the rest of organize works on: RT objects, and image series as parts that hold one stack of slices each.

Rows of the scan's table are put into an order that depends on their content alone, so that nothing downstream can
depend on the order of files.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rtpipeline.organize.columns import Coded, coded
from rtpipeline.organize.slice_planes import SlicePlanes

LONGEST_UID = 128
"""Twice what the standard allows: some systems append to UIDs, and they still tell objects apart."""
RT_KINDS = ("rtstruct", "rtplan", "rtdose", "reg", "rtrecord", "rtimage", "seg")
CONTENT_ORDER = ("sop_instance_uid", "header_sha256", "content_sha256", "size", "path", "member", "source")
ISSUER_MARK = "^^^"
"""Between PatientID and issuer in `patient_key`, as in an HL7 CX."""
LATER_COPY_DAYS = 90
"""A study is made within this time; ContentDate of a derived image is that of its making."""
UNKNOWN_DATE = 10**9
"""Sorts objects without a date last."""


class Identity(NamedTuple):
    """What one object says about whose it is; '' where it says nothing."""

    patient: str
    """PatientID without its issuer"""
    issuer: str
    name: str
    birth: str


@dataclass
class ScanObject:
    """One RT object, or one image part."""

    number: int
    kind: str
    uid: str
    """SOP instance UID; of an image part its series UID"""
    order: str
    """sha256 of its (first) SOP instance UID: an order that no name, path or secret decides"""
    rows: np.ndarray
    """rows of the table in content order"""
    identities: tuple[Identity, ...]
    study_uid: str
    series_uid: str
    frame_uid: str
    day: int | None
    """proleptic ordinal of its date"""
    manufacturer: str
    model: str
    sex: str
    age: str
    facts: dict[str, Any] = field(default_factory=dict)
    image: ImagePart | None = None
    time: str = ""
    """hhmmss of a treatment record: a day may have several, in the order of the fractions; '' for all else"""

    @property
    def sort_key(self) -> tuple[int, str, str]:
        """Date, time of a treatment record, then hash."""
        return (UNKNOWN_DATE if self.day is None else self.day, self.time, self.order)

    @property
    def is_demo(self) -> bool:
        """Whether it carries the marker of the demo's objects."""
        from rtpipeline.demo.marker import carries_demo_marker

        return carries_demo_marker(self.manufacturer, self.model)


@dataclass
class ImagePart:
    """The stack of slices of an image series, and what its headers say."""

    modality: str
    """CT, MR or PT, by SOP class"""
    image_class: str
    instances: int
    image_type: str
    description: str
    comments: str
    contrast_agent: str
    patient_position: str
    separable: bool
    """false: slices at one position that nothing tells apart"""
    split_from_series: bool
    split_by: str
    """'' for a whole series; else the attribute that tells the parts of the series apart"""
    planes: SlicePlanes | None = None


def is_uid(text: str) -> bool:
    """Whether a text can link objects: dotted numbers (PS3.5 9.1), unlike the `UNKNOWN` of some anonymisers."""
    # asked for every image that a structure set references: string methods are five times as fast as a pattern
    return "." in text and len(text) <= LONGEST_UID and text.isascii() and text.replace(".", "").isdigit()


def ordinal(text: str) -> int | None:
    """Proleptic ordinal of a `yyyymmdd` date; None for anything else."""
    if len(text) != 8 or not text.isdigit():
        return None
    try:
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:])).toordinal()
    except ValueError:
        return None


def shown_on(day: int | None, study_day: int | None) -> int | None:
    """The day of an image slice: that of its study where the other date is of a later copy (a resampled image, say)."""
    if day is None or study_day is None:
        return study_day if day is None else day
    return study_day if day - study_day > LATER_COPY_DAYS else day


def plain_name(text: str) -> str:
    """A patient name for comparison: case, separators and empty components do not count."""
    folded = unicodedata.normalize("NFC", text).casefold()
    return " ".join(re.sub(r"[\^=,;_\-.\s]+", " ", folded).split())


def real_birth_date(text: str) -> str:
    """A birth date as `yyyymmdd`; '' for none, an invalid one, or the first of January before 1902 (a filler)."""
    day = ordinal(text.strip())
    if day is None or (text.strip()[4:] == "0101" and int(text.strip()[:4]) < 1902):
        return ""
    return text.strip()


def identity(key: str, name: str, birth: str) -> Identity:
    """An `Identity` from values as written; `key` is PatientID and issuer as the scan joins them."""
    patient, _, issuer = key.partition(ISSUER_MARK)
    return Identity(patient.strip(), issuer.strip(), plain_name(name), real_birth_date(birth))


def uid_order(uid: str) -> str:
    """Sorts objects of one day."""
    return sha256(uid.encode("utf-8", "surrogateescape")).hexdigest()


def content_order(table: pa.Table) -> np.ndarray:
    """Permutation of the rows that depends on their content alone."""
    return pc.sort_indices(
        table.select(list(CONTENT_ORDER)), sort_keys=[(name, "ascending") for name in CONTENT_ORDER]
    ).to_numpy()


class ObjectColumns:
    """Columns of the table in content order, text ones as codes; made once, as asked for."""

    def __init__(self, table: pa.Table, order: np.ndarray) -> None:
        self.table = table
        self.order = pa.array(order)
        self._coded: dict[str, Coded] = {}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def text(self, name: str) -> Coded:
        """A text column."""
        if name not in self._coded:
            self._coded[name] = coded(self.table.column(name), self.order)
        return self._coded[name]

    def values(self, name: str) -> pa.ChunkedArray:
        """Any column as Arrow values."""
        return self.table.column(name).take(self.order)

    def number(self, name: str) -> np.ndarray:
        """A number column as float64, NaN for null."""
        return pc.cast(self.values(name), pa.float64()).to_numpy(zero_copy_only=False).astype(float)

    def at(self, name: str, row: int) -> str:
        """One text value."""
        return self.text(name).at(row)


def rt_objects(columns: ObjectColumns, rows: np.ndarray, first_number: int) -> list[ScanObject]:
    """The RT objects at these rows."""
    facts = columns.values("facts").take(pa.array(rows)).to_pylist()
    found = []
    for number, (row, text) in enumerate(zip(rows.tolist(), facts, strict=True), start=first_number):
        uid = columns.at("sop_instance_uid", row)
        kind = columns.at("kind", row)
        found.append(
            ScanObject(
                number=number,
                kind=kind,
                uid=uid,
                order=uid_order(uid),
                rows=np.array([row]),
                facts=json.loads(text) if text else {},
                time=columns.at("time", row) if kind == "rtrecord" else "",
                **common_fields(columns, row, (identity_at(columns, row),)),
            )
        )
    return found


def common_fields(columns: ObjectColumns, row: int, identities: tuple[Identity, ...]) -> dict[str, Any]:
    """Fields that RT objects and image parts take from a row alike."""
    return {
        "identities": identities,
        "study_uid": columns.at("study_uid", row),
        "series_uid": columns.at("series_uid", row),
        "frame_uid": columns.at("frame_uid", row),
        "day": ordinal(columns.at("date", row)),
        "manufacturer": columns.at("manufacturer", row),
        "model": columns.at("model", row),
        "sex": columns.at("sex", row),
        "age": columns.at("age", row),
    }


def identity_at(columns: ObjectColumns, row: int) -> Identity:
    """The identity that a row states."""
    return identity(columns.at("patient_key", row), columns.at("patient_name", row), columns.at("birth_date", row))


def texts(facts: dict[str, Any], name: str) -> Sequence[str]:
    """A list of UIDs of `facts`, valid ones only."""
    return [uid for uid in facts.get(name) or [] if is_uid(uid)]

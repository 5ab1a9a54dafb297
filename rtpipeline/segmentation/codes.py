"""SNOMED CT codes and colours of structures, by TotalSegmentator's own table where that knows the name."""

from __future__ import annotations

import colorsys
import csv
import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from rtpipeline.dicom.derived import Code, Rgb
from rtpipeline.dicom.write_seg import Segment

TABLE = Path("resources") / "totalsegmentator_snomed_mapping.csv"
"""Inside the package totalsegmentator; it also has other networks' names for the same organs."""

TISSUE = Code("85756007", "SCT", "Tissue")
"""Of a structure that the table does not know: its name stands in the segment's label."""


def segment(label: int, name: str) -> Segment:
    """A structure with its codes and colour; unknown ones are tissue with a colour made from the name."""
    row = _table().get(name.casefold())
    if row is None:
        return Segment(label, name, TISSUE, TISSUE, None, _colour_of(name))
    category, kind = (_code(row, f"SegmentedProperty{part}CodeSequence") for part in ("Category", "Type"))
    modifier = _code(row, "SegmentedPropertyTypeModifierCodeSequence")
    return Segment(label, name, category or TISSUE, kind or TISSUE, modifier, _colour(row) or _colour_of(name))


@cache
def _table() -> dict[str, dict[str, str]]:
    """Rows by structure name; empty when TotalSegmentator is not installed or brings no table."""
    found = importlib.util.find_spec("totalsegmentator")
    path = Path(found.origin).parent / TABLE if found is not None and found.origin else None
    if path is None or not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as lines:
        return {row["Structure"].casefold(): row for row in csv.DictReader(lines)}


def _code(row: dict[str, str], sequence: str) -> Code | None:
    value, scheme, meaning = (
        row[f"{sequence}.{part}"] for part in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
    )
    return Code(value, scheme, meaning) if value and scheme and meaning else None


def _colour(row: dict[str, str]) -> Rgb | None:
    parts = row["DicomRGBColor"].split(",")
    if len(parts) != 3 or not all(p.strip().isdigit() for p in parts):
        return None
    red, green, blue = (int(p) for p in parts)
    return red, green, blue


def _colour_of(name: str) -> Rgb:
    """A bright colour that hangs on the name alone."""
    hue = int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big") / 65536.0
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, 0.95))
    return red, green, blue

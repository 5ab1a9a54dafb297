"""Codes of structures: from TotalSegmentator's table when it knows the name, else tissue."""

from __future__ import annotations

import pytest

from rtpipeline.dicom.derived import Code
from rtpipeline.segmentation import codes


def test_a_known_organ_has_its_codes_side_and_colour() -> None:
    pytest.importorskip("totalsegmentator", reason="its table of codes is not installed")
    left, right = codes.segment(3, "kidney_left"), codes.segment(2, "kidney_right")
    assert left.kind == right.kind == Code("64033007", "SCT", "Kidney")
    assert left.category == Code("123037004", "SCT", "Anatomical Structure")
    assert (left.modifier, right.modifier) == (Code("7771000", "SCT", "Left"), Code("24028007", "SCT", "Right"))
    assert all(0 <= part <= 255 for part in left.colour)


def test_an_unknown_structure_is_tissue_with_its_own_colour() -> None:
    one, again, other = (codes.segment(1, name) for name in ("phantom_gtv", "phantom_gtv", "another"))
    assert one.category == one.kind == codes.TISSUE and one.modifier is None
    assert one.colour == again.colour != other.colour


def test_without_the_table_every_structure_is_tissue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes.importlib.util, "find_spec", lambda _: None)
    codes._table.cache_clear()
    try:
        assert codes.segment(1, "kidney_left").kind == codes.TISSUE
    finally:
        codes._table.cache_clear()

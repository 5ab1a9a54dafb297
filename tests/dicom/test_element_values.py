"""Values of a pydicom dataset: the same from raw bytes, from text and from numbers; bad ones are None."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from rtpipeline.dicom.element_values import (
    UnreadableElementError,
    decimals,
    integer,
    items,
    number,
    numbers,
    term,
    text,
    unsigned,
)


def raw(keyword_tag: int, vr: str, value: bytes) -> Dataset:
    ds, tag = Dataset(), Tag(keyword_tag)
    ds[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return ds


DOSE_SCALING, ROI_NUMBER, ROWS, BEAMS = 0x3004000E, 0x30060022, 0x00280010, 0x300A00B0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"1.5\\-2e1\\ 3 ", [1.5, -20.0, 3.0]),
        (b"7\0", [7.0]),
        ("1\\2", [1.0, 2.0]),
        ([1, "2.5"], [1.0, 2.5]),
        (4, [4.0]),
        (b"", None),
        (b" ", None),
        (b"1\\x", None),
        (b"1\\\\2", None),
        (b"1,5", None),
        (None, None),
        ([[1, 2], [3, 4]], None),
    ],
)
def test_decimal_strings(value, expected):
    found = decimals(value)
    assert (found is None) == (expected is None)
    if expected is not None:
        assert found.tolist() == expected


def test_decimals_are_read_to_the_last_bit():
    values = np.random.default_rng(3).normal(0, 300, 1000)
    assert np.array_equal(decimals(b"\\".join(repr(v).encode() for v in values.tolist())), values)


@pytest.mark.parametrize(("value", "expected"), [(b"0.25", 0.25), (b"nan", None), (b"inf", None), (b"a", None)])
def test_a_number_is_finite_or_none(value, expected):
    ds = raw(DOSE_SCALING, "DS", value)
    assert number(ds, "DoseGridScaling") == expected
    assert numbers(ds, "DoseGridScaling") == (None if expected is None else (expected,))


@pytest.mark.parametrize(("value", "expected"), [(b"12", 12), (b"12.0", 12), (b"12.5", None), (b"", None)])
def test_an_integer_is_whole_or_none(value, expected):
    assert integer(raw(ROI_NUMBER, "IS", value), "ROINumber") == expected


@pytest.mark.parametrize(("value", "expected"), [(b"\x02\x01", 258), (b"\x02", None), (b"", None)])
def test_a_binary_number_of_another_length_is_none(value, expected):
    assert unsigned(raw(ROWS, "US", value), "Rows") == expected


def test_terms_are_upper_case_and_text_has_no_padding():
    ds = Dataset()
    ds.DoseUnits, ds.StructureSetLabel = "gy ", " label "
    assert term(ds, "DoseUnits") == "GY"
    assert text(ds, "StructureSetLabel") == "label"
    assert (term(ds, "DoseType"), text(ds, "PatientName")) == ("", "")


def test_a_sequence_that_is_bytes_does_not_pass_for_an_empty_one():
    assert items(Dataset(), "BeamSequence") == []
    with pytest.raises(UnreadableElementError, match="BeamSequence"):
        items(raw(BEAMS, "OB", b"1234"), "BeamSequence")


def test_a_keyword_that_is_none_is_a_mistake_of_the_program():
    with pytest.raises(KeyError, match="DoseUnit"):
        text(Dataset(), "DoseUnit")

"""The parser finds what pydicom wrote, and ends cleanly wherever the bytes do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from rtpipeline.dicom.elements import DataSet, Elements, parse
from rtpipeline.dicom.window import Window
from tests.dicom.dicom_files import bare, ct_slice, item, structure_set

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def parsed(data: bytes, syntax: Any = ExplicitVRLittleEndian) -> DataSet:
    return parse(Window.of_bytes(data), 0, implicit=syntax.is_implicit_VR, big_endian=not syntax.is_little_endian)


def expected(ds: Dataset, syntax: Any) -> Elements:
    """Raw bytes of each element as pydicom writes it alone: what follows tag, type and length."""
    found: Elements = {}
    for element in ds:
        if element.tag.is_private:
            continue
        if element.VR == "SQ":
            found[int(element.tag)] = [expected(one, syntax) for one in element.value]
        else:
            alone = Dataset()
            alone.add(element)
            long_form = not syntax.is_implicit_VR and element.VR in ("OB", "OW", "UN", "UT", "OD", "OF")
            found[int(element.tag)] = bare(alone, syntax)[12 if long_form else 8 :]
    return found


texts = st.text(alphabet="ABC 123^", max_size=12)
leaves = st.fixed_dictionaries(
    {},
    optional={
        "PatientName": texts,
        "SeriesDescription": texts,
        "Rows": st.integers(0, 65535),
        "ImagePositionPatient": st.lists(st.integers(-500, 500), min_size=3, max_size=3),
        "TableOfXBreakPoints": st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4),
        "RealWorldValueSlope": st.floats(allow_nan=False, allow_infinity=False),
        "FrameIncrementPointer": st.just(0x3004000C),
        "ROIName": texts,
    },
)


def _data_sets(children: st.SearchStrategy[Dataset]) -> st.SearchStrategy[Dataset]:
    return st.builds(
        lambda own, items, private: _with(own, items, private),
        leaves,
        st.lists(children, max_size=3),
        st.booleans(),
    )


def _with(own: dict[str, Any], items: list[Dataset], private: bool) -> Dataset:
    ds = item(**own)
    if items:
        ds.ROIContourSequence = items
    if private:
        ds.private_block(0x0029, "MAKER", create=True).add_new(0x10, "LO", "words")
    return ds


data_sets = st.recursive(leaves.map(lambda own: item(**own)), _data_sets, max_leaves=12)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("undefined", [False, True], ids=["known length", "delimited"])
@given(ds=data_sets)
@settings(max_examples=40, deadline=None)
def test_every_element_is_found_as_pydicom_wrote_it(ds: Dataset, undefined: bool, syntax: Any) -> None:
    for one in [ds, *(i for e in ds.iterall() if e.VR == "SQ" for i in e.value)]:
        for element in one:
            if element.VR == "SQ":
                element.is_undefined_length = undefined
                for nested in element.value:
                    nested.is_undefined_length_sequence_item = undefined
    wanted = expected(ds, syntax)
    found = parsed(bare(ds, syntax), syntax)
    assert found.elements == wanted
    assert not found.cut


@given(cut=st.integers(0, 3000), implicit=st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_data_set_cut_anywhere_gives_the_elements_before_the_cut(cut: int, implicit: bool) -> None:
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    whole = bare(structure_set(), syntax)
    complete = parsed(whole, syntax)
    found = parsed(whole[:cut], syntax)
    assert not complete.cut
    for tag, value in found.elements.items():
        assert complete.elements[tag] == value
    if cut < len(whole):
        assert len(found.elements) < len(complete.elements)
        assert found.cut or found.end == cut or not any(whole[found.end : cut])


def test_pixel_data_is_located_and_not_read() -> None:
    data = bare(ct_slice(), ExplicitVRLittleEndian)
    found = parsed(data)
    assert found.pixels is not None
    assert found.pixels.length == 2 * 8 * 8
    assert data[found.pixels.offset :] == ct_slice().PixelData
    assert 0x7FE00010 not in found.elements


def test_zeros_behind_the_last_element_are_no_damage() -> None:
    data = bare(structure_set())
    assert not parsed(data + bytes(3), ImplicitVRLittleEndian).cut
    assert parsed(data + b"\x08\x00\x10", ImplicitVRLittleEndian).cut


def test_a_sequence_of_unknown_type_and_undefined_length_is_implicit_inside() -> None:
    """PS3.5 6.2.2 note 4: what a converter does not know becomes UN; its items stay implicit little endian."""
    inside = bare(item(ROIName="Heart", ROINumber=3))
    one = b"\xfe\xff\x00\xe0" + len(inside).to_bytes(4, "little") + inside
    delimiter = b"\xfe\xff\xdd\xe0" + bytes(4)
    unknown = b"\x06\x30\x20\x00UN\x00\x00\xff\xff\xff\xff" + one + delimiter
    known_length = b"\x06\x30\x39\x00UN\x00\x00" + len(one).to_bytes(4, "little") + one
    found = parsed(unknown + known_length)
    want = expected(item(ROIName="Heart", ROINumber=3), ImplicitVRLittleEndian)
    assert found.elements == {0x30060020: [want], 0x30060039: [want]}


@pytest.mark.parametrize("inside_syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_private_sequence_of_undefined_length_is_passed_over(inside_syntax: Any) -> None:
    inside = bare(item(PatientName="Doe"), inside_syntax)
    one = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inside + b"\xfe\xff\x0d\xe0" + bytes(4)
    private = b"\x29\x00\x10\x10UN\x00\x00\xff\xff\xff\xff" + one + b"\xfe\xff\xdd\xe0" + bytes(4)
    found = parsed(private + bare(item(Rows=5), ExplicitVRLittleEndian))
    assert found.elements == {0x00280010: b"\x05\x00"}
    assert not found.cut


def test_an_icon_with_compressed_pixels_inside_a_sequence_is_passed_over() -> None:
    fragment = b"\xfe\xff\x00\xe0\x04\x00\x00\x00\x01\x02\x03\x04"
    pixels = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff" + fragment + b"\xfe\xff\xdd\xe0" + bytes(4)
    icon = bare(item(Rows=1), ExplicitVRLittleEndian) + pixels
    one = b"\xfe\xff\x00\xe0" + len(icon).to_bytes(4, "little") + icon
    sequence = b"\x88\x00\x00\x02SQ\x00\x00" + len(one).to_bytes(4, "little") + one
    found = parsed(sequence + bare(item(DoseUnits="GY"), ExplicitVRLittleEndian))
    assert found.pixels is None
    assert found.elements[0x30040002] == b"GY"


def test_a_sequence_that_cannot_be_taken_apart_does_not_hide_what_follows() -> None:
    broken = b"\x08\x00\x40\x11SQ\x00\x00\x08\x00\x00\x00" + b"no item!"
    found = parsed(broken + bare(item(PatientID="P1"), ExplicitVRLittleEndian))
    assert found.elements[0x00100020] == b"P1"
    assert found.elements[0x00081140] == b"no item!"
    assert "(0008,1140)" in found.notes[0]


def test_nesting_without_end_is_refused_and_not_followed() -> None:
    deep = (b"\x06\x30\x39\x00SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 5000
    assert "nested deeper" in parsed(deep).cut


def test_a_private_element_whose_length_does_not_fit_its_type_is_noted_and_passed_over() -> None:
    """Philips (01F1,1026) is FD by the dictionary and holds the text `0.15` in a public 4DCT: pydicom fails on it."""
    creator = b"\xf1\x01\x10\x00" + (8).to_bytes(4, "little") + b"ELSCINT1"
    pitch = b"\xf1\x01\x26\x10" + (4).to_bytes(4, "little") + b"0.15"
    found = parsed(creator + pitch + bare(item(Rows=5)), ImplicitVRLittleEndian)
    assert found.elements == {0x00280010: b"\x05\x00"}
    assert found.notes == ["(01F1,1026) has 4 bytes, no multiple of 8"]


@pytest.mark.parametrize(
    ("vr", "value", "is_text"),
    [("LO", "Doe^John", True), ("DS", "1.25", False), ("US", 17, False), ("LO", "", False), ("UN", b"Doe John", True)],
)
def test_text_in_private_elements_is_seen(vr: str, value: Any, is_text: bool) -> None:
    ds = Dataset()
    ds.private_block(0x0029, "MAKER OF SCANNERS", create=True).add_new(0x10, vr, value)
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        assert parsed(bare(ds, syntax), syntax).private_text == is_text

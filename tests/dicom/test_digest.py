"""Digests depend on what an object says and not on how it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from rtpipeline.dicom.digest import essential_sha256
from rtpipeline.dicom.encoding import parse_object
from rtpipeline.dicom.header import read_header
from rtpipeline.dicom.window import Window
from tests.dicom.dicom_files import bare, ct_slice, dose, item, part10, structure_set

NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def digests(data: bytes) -> tuple[str, str]:
    row = read_header(Window.of_bytes(data), with_content=True).row
    assert row is not None
    return row["header_sha256"], row["content_sha256"]


def essential(ds: Dataset) -> str:
    return essential_sha256(parse_object(Window.of_bytes(part10(ds))).data_set.elements)


@pytest.mark.parametrize("make", [ct_slice, structure_set, dose])
def test_one_object_has_one_digest_in_every_encoding(make: Callable[[], Dataset]) -> None:
    encodings = [part10(make(), syntax) for syntax in NATIVE] + [bare(make()), bare(make(), ExplicitVRLittleEndian)]
    if make is ct_slice:
        encodings.append(part10(make(), RLELossless))
    assert len({digests(data) for data in encodings}) == 1


def test_one_object_has_one_digest_in_every_character_set() -> None:
    found = set()
    for charset in ("ISO_IR 100", "ISO_IR 192"):
        ds = ct_slice()
        ds.SpecificCharacterSet, ds.PatientName, ds.SeriesDescription = charset, "Drüse^Jörg", "Schädel"
        ds.RequestAttributesSequence = [item(RequestedProcedureDescription="Größe")]
        found.add(digests(part10(ds)))
    assert len(found) == 1


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
def test_private_elements_and_the_moment_of_writing_do_not_count(syntax: str) -> None:
    ds = structure_set()
    plain = digests(part10(ds, syntax))
    ds.private_block(0x3287, "MAKER", create=True).add_new(0x10, "LO", "words")
    ds.StructureSetROISequence[0].private_block(0x3287, "MAKER", create=True).add_new(0x10, "FD", 1.5)
    ds.InstanceCreationDate, ds.InstanceCreationTime, ds.InstanceCreatorUID = "20250101", "0102", "2.25.77"
    ds.add_new(0x30060000, "UL", 99)  # a group length
    assert digests(part10(ds, syntax)) == plain


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_change_of_any_public_element_counts(data: st.DataObject) -> None:
    ds = structure_set()
    before = digests(part10(ds))
    leaf = data.draw(st.sampled_from([e for e in ds.iterall() if e.VR not in ("SQ",) and not e.is_empty]))
    leaf.value = {"UI": "2.25.31415", "IS": 77, "DS": [0.25, 1, 2], "DA": "19991231", "TM": "235959"}.get(leaf.VR, "X9")
    assert digests(part10(ds))[0] != before[0]


def test_one_pixel_counts_for_the_content_only() -> None:
    ds = ct_slice()
    header, content = digests(part10(ds))
    ds.PixelData = ds.PixelData[:-2] + b"\x07\x07"
    changed = digests(part10(ds))
    assert changed[0] == header
    assert changed[1] != content


def _set(**elements: Any) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for name, value in elements.items():
            setattr(ds, name, value)

    return change


def _numbers_rewritten(ds: Dataset) -> None:
    ds.ROIContourSequence[0].ContourSequence[0].ContourData = [
        f"{float(v):.4f}" for v in ds.ROIContourSequence[0].ContourSequence[0].ContourData
    ]


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (structure_set, _set(PatientName="Anon", StructureSetLabel="Copy", SeriesDescription="x", ApprovalStatus="")),
        (structure_set, lambda ds: setattr(ds.ROIContourSequence[0], "ROIDisplayColor", [0, 0, 255])),
        (structure_set, _numbers_rewritten),
        (
            ct_slice,
            _set(WindowCenter=40, WindowWidth=400, StationName="B", ImagePositionPatient=["-4", "-4.50", "3e0"]),
        ),
        (dose, _set(DoseComment="copy", DoseGridScaling="1.0E-3")),
    ],
)
def test_what_changes_no_number_is_not_essential(
    make: Callable[[], Dataset], change: Callable[[Dataset], None]
) -> None:
    ds = make()
    before, digest = essential(ds), digests(part10(ds))
    change(ds)
    assert digests(part10(ds)) != digest
    assert essential(ds) == before


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (structure_set, lambda ds: ds.ROIContourSequence[0].ContourSequence.pop()),
        (structure_set, lambda ds: setattr(ds.ROIContourSequence[0].ContourSequence[0], "ContourData", [0.0] * 12)),
        (structure_set, lambda ds: setattr(ds.StructureSetROISequence[0], "ROIName", "Lung")),
        (ct_slice, _set(ImagePositionPatient=[0, 0, 0])),
        (ct_slice, _set(PixelSpacing=[1.5, 1.26])),
        (ct_slice, _set(RescaleIntercept="-1000")),
        (ct_slice, _set(FrameOfReferenceUID="2.25.8")),
        (dose, _set(DoseGridScaling="0.002")),
        (dose, _set(DoseUnits="RELATIVE")),
        (dose, _set(GridFrameOffsetVector=[0, 2, 5])),
        (dose, lambda ds: setattr(ds.ReferencedRTPlanSequence[0], "ReferencedSOPInstanceUID", "2.25.4.2")),
    ],
)
def test_what_changes_a_number_is_essential(make: Callable[[], Dataset], change: Callable[[Dataset], Any]) -> None:
    ds = make()
    before = essential(ds)
    change(ds)
    assert essential(ds) != before

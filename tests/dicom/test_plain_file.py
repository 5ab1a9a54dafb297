"""Structure sets and doses read without pydicom: the same values, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from rtpipeline.demo.headers import save
from rtpipeline.demo.small import small_patient
from rtpipeline.dicom import tags
from rtpipeline.dicom.plain_file import NotPlainError, read_plain
from rtpipeline.dicom.rtdose import RtDose, parse_rtdose
from rtpipeline.dicom.rtstruct import StructureSet, parse_rtstruct
from rtpipeline.dicom.tags import TAGS, tag_of

SYNTAXES = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian}


@pytest.fixture(scope="module")
def patient():
    return small_patient()


def written(ds: pydicom.Dataset, path: Path, syntax: str, *, undefined: bool) -> Path:
    """The object in another syntax, its sequences and items with or without their lengths."""
    save(ds, path)
    again = pydicom.dcmread(path)

    def mark(item: pydicom.Dataset) -> None:
        for element in item:
            if element.VR == "SQ":
                element.is_undefined_length = undefined
                for inner in element.value:
                    inner.is_undefined_length_sequence_item = undefined
                    mark(inner)

    mark(again)
    again.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    fresh = path.with_name(f"{syntax}-{undefined}-{path.name}")
    pydicom.dcmwrite(
        fresh, again, implicit_vr=syntax == "implicit", little_endian=True, enforce_file_format=True, overwrite=True
    )
    return fresh


def content_of(found: StructureSet | RtDose) -> list[Any]:
    """What can be compared: arrays as bytes."""
    if isinstance(found, StructureSet):
        contours = [(c.roi_number, c.geometric_type, c.points_xyz_mm.tobytes()) for c in [*found.closed, *found.other]]
        return [found.frame_uids, found.rois, contours, found.findings]
    dvhs = [(d.rois, d.dose.tobytes(), d.volume.tobytes(), d.written_min, d.written_mean) for d in found.dvhs]
    grid = None if found.grid is None else found.grid.to_json()
    stored = None if found.stored is None else (found.stored.dtype.kind, np.asarray(found.stored).tolist())
    return [
        found.units, found.dose_type, found.summation_type, found.scaling_gy, found.plans, found.structure_set_uids,
        found.frame_uid, found.pixels, found.offsets_form, grid, stored, dvhs, found.findings,
    ]  # fmt: skip


def test_tags_are_those_of_the_dictionary():
    assert {keyword: tag_for_keyword(keyword) for keyword in TAGS} == TAGS
    assert tag_of("PatientID") == 0x00100020
    with pytest.raises(KeyError, match="no keyword"):
        tag_of("PatientShoeSize")


def test_no_keyword_has_to_be_looked_up(patient, tmp_path, monkeypatch):
    def refuse(keyword: str) -> int:
        raise AssertionError(f"{keyword} belongs into TAGS: its look-up imports pydicom")

    monkeypatch.setattr(tags, "_from_dictionary", refuse)
    for ds, parse in ((patient.rtstruct, parse_rtstruct), (patient.rtdose, parse_rtdose)):
        save(ds, tmp_path / "object.dcm")
        assert parse(read_plain(tmp_path / "object.dcm")).findings == []


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
def test_the_values_are_those_of_pydicom_in_every_plain_form(patient, tmp_path, syntax, undefined):
    for ds, parse in ((patient.rtstruct, parse_rtstruct), (patient.rtdose, parse_rtdose)):
        path = written(ds, tmp_path / "object.dcm", syntax, undefined=undefined)
        assert content_of(parse(read_plain(path))) == content_of(parse(pydicom.dcmread(path)))


def test_names_outside_ascii_are_decoded_as_the_object_says(patient, tmp_path):
    ds = small_patient().rtstruct
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.StructureSetROISequence[0].ROIName = "Drüse é"
    path = written(ds, tmp_path / "rs.dcm", "explicit", undefined=False)
    assert "Drüse é" in [r.roi_name for r in parse_rtstruct(read_plain(path)).rois]


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, RLELossless])
def test_other_transfer_syntaxes_are_left_to_pydicom(patient, tmp_path, syntax):
    save(patient.rtdose, tmp_path / "rd.dcm")
    data = (tmp_path / "rd.dcm").read_bytes()
    old = ExplicitVRLittleEndian.encode()
    at = data.index(old)
    new = syntax.encode()[: len(old) + 1].ljust(len(old) + len(old) % 2, b"\0")
    (tmp_path / "rd.dcm").write_bytes(data[:at] + new + data[at + len(new) :])
    with pytest.raises(NotPlainError):
        read_plain(tmp_path / "rd.dcm")


def test_no_cut_or_damaged_file_passes_for_a_whole_one(patient, tmp_path):
    path = written(patient.rtstruct, tmp_path / "rs.dcm", "explicit", undefined=False)
    data = path.read_bytes()
    whole = content_of(parse_rtstruct(read_plain(path)))
    for end in (0, 100, 132, 140, 200, 400, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        try:
            assert content_of(parse_rtstruct(read_plain(path))) != whole, end
            pydicom.dcmread(path)  # cut between two elements: what is left is an object
        except NotPlainError:
            pass
    path.write_bytes(data + b"\0\0\0\0")
    with pytest.raises(NotPlainError):
        read_plain(path)


@pytest.mark.data
def test_real_files_give_the_same_either_way(shared_data: Path):
    kinds = {"RTSTRUCT": parse_rtstruct, "RTDOSE": parse_rtdose}
    compared = refused = 0
    for path in sorted(shared_data.rglob("*.dcm")):
        if path.stat().st_size > 2_500_000 or "mirp_sts" in path.parts:
            continue
        ds = pydicom.dcmread(path, force=True)
        parse = kinds.get(ds.get("Modality", ""))
        if parse is None:
            continue
        try:
            plain = read_plain(path)
        except NotPlainError:
            refused += 1
            continue
        assert content_of(parse(plain)) == content_of(parse(ds)), path.name
        compared += 1
    # the refused ones are big endian, compressed, or without file meta
    assert compared >= 15
    assert refused < compared

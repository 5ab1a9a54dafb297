"""Rows of the index say what pydicom says, and problems are found by length and content."""

from __future__ import annotations

import json
from io import BytesIO

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from rtpipeline.contracts.index import SCAN_FIELDS
from rtpipeline.dicom.header import Header, read_header
from rtpipeline.dicom.window import Window
from tests.dicom.dicom_files import CT, bare, ct_slice, dose, identified, item, part10, structure_set

PLACE = {"source", "path", "member", "mtime_ns"}


def read(data: bytes) -> Header:
    return read_header(Window.of_bytes(data))


def row_of(data: bytes) -> dict[str, object]:
    row = read(data).row
    assert row is not None
    return row


def problems(data: bytes) -> dict[str, str]:
    return {one.code: one.measured for one in read(data).problems}


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
    ids=lambda syntax: syntax.name,
)
def test_the_row_of_a_slice_holds_what_was_written(syntax: str) -> None:
    data = part10(ct_slice(3), syntax)
    row = row_of(data)
    assert set(row) == {name for name, _, _ in SCAN_FIELDS} - PLACE
    expected = {
        "size": len(data),
        "has_preamble": True,
        "has_file_meta": True,
        "transfer_syntax_uid": syntax,
        "sop_class_uid": CT,
        "sop_instance_uid": "2.25.2.3",
        "modality": "CT",
        "kind": "image",
        "pixel_bytes_ok": True,
        "patient_key": "P1",
        "patient_name": "Doe^Jo",
        "birth_date": "19500101",
        "sex": "O",
        "age": "",
        "study_uid": "2.25.1",
        "series_uid": "2.25.2",
        "frame_uid": "2.25.9",
        "date": "20240101",
        "time": "111213",
        "study_date": "20240102",
        "series_description": "Thorax",
        "series_number": 4,
        "instance_number": 3,
        "acquisition_number": None,
        "acquisition_time": "111213.5",
        "image_type": "ORIGINAL\\PRIMARY\\AXIAL",
        "manufacturer": "Maker",
        "rows": 8,
        "columns": 8,
        "frames": 1,
        "position": [-4.0, -4.5, 9.0],
        "orientation": [1, 0, 0, 0, 1, 0],
        "pixel_spacing": [1.5, 1.25],
        "slice_thickness": 3.0,
        "gantry_tilt": None,
        "patient_position": "HFS",
        "rescale_slope": 1.0,
        "rescale_intercept": -1024.0,
        "bits_allocated": 16,
        "pixel_signed": True,
        "non_geometric_note": "",
        "facts": "",
        "content_sha256": "",
    }
    assert {name: row[name] for name in expected} == expected
    assert problems(data) == {}


def test_only_rt_objects_carry_the_digest_of_their_content() -> None:
    assert row_of(part10(ct_slice()))["content_sha256"] == ""
    assert row_of(part10(dose()))["content_sha256"] != ""
    assert row_of(part10(structure_set()))["content_sha256"] != ""


@pytest.mark.parametrize(
    ("patient", "issuer", "key"),
    [(" P1 ", "", "P1"), ("P1", "HOSP", "P1^^^HOSP"), ("", "HOSP", ""), ("", "", "")],
)
def test_a_patient_is_the_id_with_its_issuer(patient: str, issuer: str, key: str) -> None:
    ds = ct_slice()
    ds.PatientID, ds.IssuerOfPatientID = patient, issuer
    assert row_of(part10(ds))["patient_key"] == key


def test_the_date_of_the_structure_set_precedes_that_of_the_study() -> None:
    row = row_of(part10(structure_set()))
    assert (row["date"], row["time"]) == ("20240105", "101112")


def test_a_literal_instead_of_a_date_is_passed_over() -> None:
    ds = ct_slice()
    ds.AcquisitionDate = "UNKNOWN"
    row = row_of(part10(ds))
    assert (row["date"], row["time"]) == ("20240102", "030400")


def test_a_structure_set_without_frame_of_reference_has_that_of_its_contours() -> None:
    ds = structure_set()
    assert row_of(part10(ds))["frame_uid"] == "2.25.9"
    del ds.ReferencedFrameOfReferenceSequence
    assert row_of(part10(ds))["frame_uid"] == "2.25.9"


def test_the_sop_class_decides_what_an_object_is() -> None:
    """A public RTSTRUCT says Modality RTDOSE."""
    ds = structure_set()
    ds.Modality = "RTDOSE"
    row = row_of(part10(ds))
    assert (row["kind"], row["modality"]) == ("rtstruct", "RTDOSE")
    assert "Modality RTDOSE" in str(row["non_geometric_note"])


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_an_object_without_preamble_is_read_and_its_encoding_inferred(syntax: str) -> None:
    ds = ct_slice()
    if syntax == ExplicitVRBigEndian:
        del ds.PixelData
    row = row_of(bare(ds, syntax))
    assert (row["has_preamble"], row["has_file_meta"]) == (False, False)
    assert row["transfer_syntax_uid"] == syntax
    assert row["position"] == [-4.0, -4.5, 3.0]
    assert set(problems(bare(ds, syntax))) == {"FILE_NO_PREAMBLE", "FILE_NO_TRANSFER_SYNTAX"}


def test_a_stripped_preamble_leaves_the_transfer_syntax() -> None:
    data = part10(ct_slice())[132:]
    assert row_of(data)["transfer_syntax_uid"] == ExplicitVRLittleEndian
    assert set(problems(data)) == {"FILE_NO_PREAMBLE"}


def test_a_preamble_without_transfer_syntax_is_inferred() -> None:
    data = bytes(128) + b"DICM" + bare(ct_slice(), ImplicitVRLittleEndian)
    assert row_of(data)["transfer_syntax_uid"] == ImplicitVRLittleEndian
    assert set(problems(data)) == {"FILE_NO_TRANSFER_SYNTAX"}


def test_compressed_pixels_without_transfer_syntax_are_an_error_of_their_own() -> None:
    ds = ct_slice()
    ds.PixelData = encapsulate([b"\1\2\3\4"])
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    data = bytes(128) + b"DICM" + bare(ds, ExplicitVRLittleEndian)
    assert "not found" in problems(data)["FILE_NO_TRANSFER_SYNTAX"]


def test_a_wrong_transfer_syntax_is_corrected_and_noted() -> None:
    """Some exports state explicit VR in front of implicit elements."""
    explicit = part10(ct_slice(), ExplicitVRLittleEndian)
    wrong = explicit[: explicit.index(b"\x08\0\x08\0CS")] + bare(ct_slice(), ImplicitVRLittleEndian)
    row = row_of(wrong)
    assert row["position"] == [-4.0, -4.5, 3.0]
    assert "states explicit VR" in str(row["non_geometric_note"])


@pytest.mark.parametrize("missing", ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"])
def test_a_missing_identifier_is_named(missing: str) -> None:
    ds = dose()
    delattr(ds, missing)
    data = bare(ds)
    assert "FILE_MISSING_UID" in problems(data)
    assert row_of(data)["rows"] == 4


@pytest.mark.parametrize("lost", [1, 50, 128])
def test_a_cut_file_is_found_by_the_length_of_its_pixels(lost: int) -> None:
    data = part10(ct_slice())[:-lost]
    assert row_of(data)["pixel_bytes_ok"] is False
    assert problems(data)["FILE_TRUNCATED"] == f"{128 - lost} of 128 bytes of PixelData in the file"


def test_pixel_data_shorter_than_rows_times_columns_is_found() -> None:
    ds = ct_slice()
    ds.PixelData = ds.PixelData[:-8]
    assert problems(part10(ds))["FILE_TRUNCATED"] == "PixelData of 120 bytes, 128 needed"


def test_more_frames_than_stated_are_found() -> None:
    ds = dose(frames=3)
    ds.NumberOfFrames = 2
    assert problems(part10(ds))["FILE_TRUNCATED"] == "PixelData of 240 bytes, 160 stated"


def test_a_few_bytes_too_many_are_noted_only() -> None:
    ds = ct_slice()
    ds.PixelData += bytes(6)
    assert problems(part10(ds)) == {}
    assert "6 bytes longer" in str(row_of(part10(ds))["non_geometric_note"])


@pytest.mark.parametrize("lost", [1, 8, 20])
def test_a_cut_compressed_file_is_found_by_its_fragments(lost: int) -> None:
    data = part10(ct_slice(), RLELossless)
    assert row_of(data)["pixel_bytes_ok"] is True
    assert "FILE_TRUNCATED" in problems(data[:-lost])


def test_a_dose_with_empty_pixel_data_has_no_pixels() -> None:
    """Eclipse headers of the eight patient positions come with PixelData of zero bytes: no dose, and no damage."""
    ds = dose()
    ds.PixelData = b""
    row = row_of(part10(ds))
    assert row["pixel_bytes_ok"] is None
    assert json.loads(str(row["facts"]))["has_pixels"] is False
    assert "FILE_TRUNCATED" not in problems(part10(ds))


def test_a_structure_set_cut_in_its_contours_is_not_whole() -> None:
    data = part10(structure_set())
    row = row_of(data[:-200])
    assert row["pixel_bytes_ok"] is False
    assert "FILE_TRUNCATED" in problems(data[:-200])


def test_a_file_cut_before_its_identifiers_is_damaged_and_no_row() -> None:
    data = part10(ct_slice())[:140]
    header = read(data)
    assert header.row is None
    assert [one.code for one in header.problems] == ["FILE_TRUNCATED"]


def test_a_codec_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ds = ct_slice()
    ds.PixelData = encapsulate([b"\xff\x4f\xff\x51"])
    data = part10(ds, JPEG2000Lossless)
    monkeypatch.setattr("rtpipeline.dicom.row.can_decode", lambda uid: False)
    assert problems(data)["FILE_COMPRESSED"] == "transfer syntax JPEG 2000 Image Compression (Lossless Only)"
    monkeypatch.undo()
    assert "FILE_COMPRESSED" not in problems(part10(ct_slice(), RLELossless))


@pytest.mark.parametrize(
    ("name", "charset", "problem"),
    [
        ("Drüse^J".encode(), "ISO_IR 192", None),
        ("Drüse^J".encode("latin-1"), "ISO_IR 100", None),
        (b"\x1b$B;3ED\x1b(B^T", "ISO 2022 IR 6\\ISO 2022 IR 87", None),
        ("Drüse^J".encode("latin-1"), "ISO_IR 192", "does not decode"),
        ("Drüse^J".encode(), "ISO_IR 100", "looks like UTF-8"),
        ("Drüse^J".encode(), "", "without a declared"),
        ("Drüse^J".encode("latin-1"), "", "without a declared"),
        ("Drüse^J".encode("latin-1"), "NO_SUCH_SET", "not defined"),
    ],
)
def test_text_is_decoded_as_declared_and_doubts_are_reported(name: bytes, charset: str, problem: str | None) -> None:
    element = (
        b"\x10\0\x10\0PN" + len(name + b" " * (len(name) % 2)).to_bytes(2, "little") + name + b" " * (len(name) % 2)
    )
    ds = ct_slice()
    del ds.PatientName
    ds.SpecificCharacterSet = charset.split("\\")
    data = part10(ds)
    at = data.index(b"\x10\0\x20\0LO")
    data = data[:at] + element + data[at:]
    row, found = row_of(data), problems(data)
    if problem is None:
        assert row["patient_name"] in ("Drüse^J", "山田^T")
        assert found == {}
    else:
        assert problem in found["TEXT_CHARSET"]
    if "without" in str(problem):
        assert row["patient_name"] == "Drüse^J"


def test_burned_in_annotation_and_secondary_captures_are_told_apart_from_unsupported_objects() -> None:
    burned, capture = ct_slice(), identified("1.2.840.10008.5.1.4.1.1.7", "OT", "2.25.8", "2.25.88")
    burned.BurnedInAnnotation = "YES"
    assert problems(part10(burned)) == {"BURNED_IN": "BurnedInAnnotation YES"}
    assert problems(part10(capture)) == {"BURNED_IN": "secondary capture"}
    ultrasound = identified("1.2.840.10008.5.1.4.1.1.6.1", "US", "2.25.7", "2.25.77")
    assert problems(part10(ultrasound)) == {"FILE_UNSUPPORTED": "Ultrasound Image Storage"}


def test_values_that_are_no_numbers_are_null_and_noted() -> None:
    data = part10(ct_slice()).replace(b"\x20\0\x13\0IS\x02\0" + b"1 ", b"\x20\0\x13\0IS\x02\0" + b"1x", 1)
    row = row_of(data)
    assert row["instance_number"] is None
    assert "InstanceNumber is no number" in str(row["non_geometric_note"])


def test_a_dicomdir_is_no_object() -> None:
    data = part10(identified("1.2.840.10008.1.3.10", "OT", "2.25.5", "2.25.55"))
    assert read(data).not_dicom == "DICOMDIR"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"%PDF-1.4 ...", "PDF"),
        (b"\0\5\x16\7" + bytes(40), "macOS resource fork"),
        (b"patient;dose\n1;50\n", "text"),
        (b"\x08\0\x05\0" + b"\xff" * 60, "other"),
        (bytes(200), "other"),
    ],
)
def test_other_files_are_counted_by_kind(data: bytes, kind: str) -> None:
    assert read(data).not_dicom == kind


def test_every_kind_of_private_text_counts_once() -> None:
    ds = ct_slice()
    block = ds.private_block(0x0029, "MAKER", create=True)
    block.add_new(0x10, "LO", "Doe^Jo")
    block.add_new(0x11, "LO", "Doe^Jo")
    assert problems(part10(ds)) == {"PRIVATE_TAGS": "private text"}


def test_functional_groups_and_items_do_not_leak_into_the_row() -> None:
    ds = ct_slice()
    ds.ReferencedImageSequence = [item(ImagePositionPatient=[9, 9, 9], PatientID="other")]
    row = row_of(part10(ds))
    assert row["position"] == [-4.0, -4.5, 3.0]
    assert row["patient_key"] == "P1"


def test_pydicom_agrees_with_the_sizes_of_the_header() -> None:
    data = part10(dose())
    again = pydicom.dcmread(BytesIO(data))
    row = row_of(data)
    assert row["frames"] == again.NumberOfFrames
    assert row["bits_allocated"] == again.BitsAllocated
    assert row["units"] == again.DoseUnits

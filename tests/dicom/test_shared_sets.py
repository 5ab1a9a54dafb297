"""Real exports: every column against pydicom, and every trap that their descriptions name."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from rtpipeline.contracts.findings import Finding
from rtpipeline.dicom.duplicates import resolve
from rtpipeline.dicom.open import open_many
from rtpipeline.dicom.scan import ScanResult
from rtpipeline.store.identity import keyed_hash
from tests.dicom.dicom_files import SECRET, scanned

pytestmark = pytest.mark.data

Rows = dict[str, dict[str, Any]]
Resolved = tuple[dict[str, str], list[Finding]]


def _place(row: dict[str, Any]) -> str:
    return f"{row['path']}!/{row['member']}" if row["member"] else str(row["path"])


@pytest.fixture(scope="module")
def everything(shared_data: Path) -> ScanResult:
    return scanned(shared_data)


@pytest.fixture(scope="module")
def rows(everything: ScanResult) -> Rows:
    return {_place(row): row for row in everything.table.to_pylist()}


@pytest.fixture(scope="module")
def resolved(everything: ScanResult) -> Resolved:
    use, findings = resolve(everything.table, everything.opener, SECRET)
    paths = zip(everything.table["path"].to_pylist(), everything.table["member"].to_pylist(), strict=True)
    return {
        f"{path}!/{member}" if member else path: one for (path, member), one in zip(paths, use, strict=True)
    }, findings


def below(rows: Rows, prefix: str) -> list[dict[str, Any]]:
    return [row for path, row in rows.items() if path.startswith(prefix)]


def codes_of(result: ScanResult, row: dict[str, Any]) -> set[str]:
    """Codes of the findings about an RT object or about the series of an image."""
    names = {keyed_hash(SECRET, key) for key in (row["sop_instance_uid"], row["series_uid"], row["path"]) if key}
    return {one.code for one in result.findings if one.object.split(" ")[-1] in names}


NUMBERS = {
    "ImagePositionPatient": "position",
    "ImageOrientationPatient": "orientation",
    "PixelSpacing": "pixel_spacing",
    "SliceThickness": "slice_thickness",
    "RescaleSlope": "rescale_slope",
    "RescaleIntercept": "rescale_intercept",
    "Rows": "rows",
    "Columns": "columns",
    "BitsAllocated": "bits_allocated",
    "SeriesNumber": "series_number",
    "InstanceNumber": "instance_number",
    "AcquisitionNumber": "acquisition_number",
}
TEXTS = {
    "SOPClassUID": "sop_class_uid",
    "SOPInstanceUID": "sop_instance_uid",
    "Modality": "modality",
    "StudyInstanceUID": "study_uid",
    "SeriesInstanceUID": "series_uid",
    "PatientName": "patient_name",
    "PatientBirthDate": "birth_date",
    "PatientSex": "sex",
    "SeriesDescription": "series_description",
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "model",
}


def _as_numbers(value: Any) -> Any:
    if value is None or value == "":
        return None
    return float(value) if not hasattr(value, "__iter__") else [float(one) for one in value] or None


def test_every_column_says_what_pydicom_says(shared_data: Path, rows: Rows) -> None:
    """One image in thirty, and every RT object, are read again by the other route."""
    chosen = [row for at, row in enumerate(rows.values()) if row["kind"] != "image" or at % 30 == 0]
    compared = 0
    for row, ds in open_many(chosen, [shared_data], stop_before_pixels=True):
        for keyword, column in NUMBERS.items():
            assert row[column] == _as_numbers(ds.get(keyword)), (row["path"], keyword)
        for keyword, column in TEXTS.items():
            assert row[column] == str(ds.get(keyword) or "").strip(), (row["path"], keyword)
        compared += 1
        if row["kind"] == "rtstruct" and row["pixel_bytes_ok"] is None:
            _compare_structure_set(json.loads(row["facts"]), ds)
    assert compared == len(chosen) > 250


def _compare_structure_set(facts: dict[str, Any], ds: Dataset) -> None:
    contours = [contour for roi in ds.get("ROIContourSequence", []) for contour in roi.get("ContourSequence", [])]
    images = [i.ReferencedSOPInstanceUID for c in contours for i in c.get("ContourImageSequence", [])]
    assert facts["contours"] == len(contours)
    assert facts["rois"] == len(ds.get("StructureSetROISequence", []))
    assert set(images) <= set(facts["referenced_images"])


def test_every_object_is_counted(everything: ScanResult) -> None:
    assert everything.counts["files"] == 650
    assert everything.counts["archives"] == 15
    assert everything.counts["members"] == 2100
    assert everything.counts["objects"] == {
        "image": 2536,
        "other": 2,
        "reg": 3,
        "rtdose": 45,
        "rtimage": 1,
        "rtplan": 45,
        "rtstruct": 81,
    }
    assert everything.counts["not_dicom"] == {"office document": 3, "text": 19}


def test_findings_show_no_identity(everything: ScanResult, rows: Rows, resolved: Resolved) -> None:
    text = "\n".join(str(one.row()) for one in [*everything.findings, *resolved[1]])
    for path, row in rows.items():
        assert path not in text
        for column in ("sop_instance_uid", "series_uid", "study_uid", "patient_name"):
            assert len(row[column]) < 6 or row[column] not in text


def test_explicit_and_implicit_copies_are_one_object(rows: Rows, resolved: Resolved) -> None:
    copies: dict[str, list[dict[str, Any]]] = {}
    for row in below(rows, "eclipse_phantom_registered/"):
        copies.setdefault(row["sop_instance_uid"], []).append(row)
    assert len(copies) == 11 + 101 + 2 + 3 + 3 + 1
    for pair in copies.values():
        assert {row["transfer_syntax_uid"] for row in pair} == {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}
        assert len({row["header_sha256"] for row in pair}) == 1
        assert len({row["content_sha256"] for row in pair}) == 1
    use = Counter(one for path, one in resolved[0].items() if path.startswith("eclipse_phantom_registered/"))
    assert use == {"used": len(copies), "duplicate": len(copies)}


def test_the_doses_of_the_analytic_phantom_that_share_a_uid_are_refused_and_its_slices_kept(
    rows: Rows, resolved: Resolved
) -> None:
    """The AntPost and SupInf dose of each grid share a UID: a de-duplication by UID alone loses three of six."""
    use = resolved[0]
    doses = [path for path in use if path.startswith("nelms_dvh_phantom/DOSE_GRIDS/")]
    assert len(doses) == 6
    assert {use[path] for path in doses} == {"conflict"}
    uids = {rows[path]["sop_instance_uid"] for path in doses}
    names = {f"RTDOSE {keyed_hash(SECRET, uid)}" for uid in uids}
    found = [one for one in resolved[1] if one.object in names]
    assert len(found) == 3
    assert all(one.code == "FILE_UID_CONFLICT" and "PixelData" in one.measured for one in found)
    slices = [path for path in use if path.startswith("nelms_dvh_phantom/CT_")]
    assert len(slices) == 300 + 60 + 30 + 20
    assert {use[path] for path in slices} == {"used"}
    assert len({rows[path]["sop_instance_uid"] for path in slices}) == len(slices)
    assert len({rows[path]["series_uid"] for path in slices}) == 1


def test_encodings_of_one_dose_are_one_object(rows: Rows) -> None:
    """pydicom's own files: implicit, big endian and RLE copies of 15 frames, and of the first of them."""
    for names in (
        ("rtdose.dcm", "rtdose_expb.dcm", "rtdose_rle.dcm"),
        ("rtdose_1frame.dcm", "rtdose_expb_1frame.dcm", "rtdose_rle_1frame.dcm"),
    ):
        assert len({rows[f"pydicom_test_files/{name}"]["content_sha256"] for name in names}) == 1


def test_monaco_files_without_preamble_are_read(everything: ScanResult, rows: Rows) -> None:
    monaco = [*below(rows, "pymedphys/monaco_tiny_vmat/"), *below(rows, "plan_study_2018/chestwall_monaco")]
    assert Counter(row["kind"] for row in monaco) == {"image": 5, "rtstruct": 1, "rtplan": 1 + 4 + 3}
    for row in monaco:
        assert not row["has_preamble"] and not row["has_file_meta"]
        assert row["transfer_syntax_uid"] == "1.2.840.10008.1.2"
        assert row["pixel_bytes_ok"] is (True if row["kind"] == "image" else None)
        assert codes_of(everything, row) >= {"FILE_NO_PREAMBLE", "FILE_NO_TRANSFER_SYNTAX"}


def test_a_dose_without_any_uid_is_listed_and_refused(everything: ScanResult, rows: Rows) -> None:
    row = rows["pymedphys/feet_in_supine/rtdose_non_square_pixels.dcm"]
    assert (row["sop_class_uid"], row["sop_instance_uid"], row["kind"]) == ("", "", "other")
    assert codes_of(everything, row) == {"FILE_MISSING_UID", "FILE_NO_PREAMBLE", "FILE_NO_TRANSFER_SYNTAX"}
    optimised = rows["opentps/phantom_proton/Dose_SmallWaterPhantom_resampled_optimized.dcm"]
    assert codes_of(everything, optimised) == {"FILE_MISSING_UID"}


def test_compressed_files_and_tars_are_entered(rows: Rows) -> None:
    packed = rows["pymedphys/feet_in_supine/RD.TBB_feet_in_supine.dcm.xz!/RD.TBB_feet_in_supine.dcm"]
    assert (packed["kind"], packed["rows"], packed["frames"], packed["pixel_bytes_ok"]) == ("rtdose", 101, 81, True)
    assert len(below(rows, "pymedphys/water_phantom/CT.tar.xz!/")) == 503
    assert len(below(rows, "opentps/4DCT.tar.xz!/")) == 470
    assert len(below(rows, "dcpt_headphantom/CT.tar.xz!/")) == 177
    assert len(below(rows, "brachy_ldr_phantom/CT.tar.xz!/")) == 63


def test_eight_orientations_without_pixels_are_no_damage(everything: ScanResult, rows: Rows) -> None:
    doses = [row for row in below(rows, "pymedphys/orientations/") if row["kind"] == "rtdose"]
    assert len({tuple(row["orientation"]) for row in doses}) == 8
    assert len(doses) == 16
    for row in doses:
        assert row["pixel_bytes_ok"] is None
        assert json.loads(row["facts"])["has_pixels"] is False
        assert codes_of(everything, row) == set()


def test_a_private_element_of_wrong_length_is_noted(everything: ScanResult, rows: Rows) -> None:
    phases = below(rows, "opentps/4DCT.tar.xz!/")
    assert len({row["series_uid"] for row in phases}) == 10
    assert all(row["pixel_bytes_ok"] for row in phases)
    noted = [row for row in phases if "(01F1,1026) has 4 bytes" in row["non_geometric_note"]]
    assert noted
    assert [one.object for one in everything.findings if one.code == "PRIVATE_TAGS"] == ["input 0"]


def test_the_sop_class_wins_over_the_modality(rows: Rows) -> None:
    (row,) = [row for row in below(rows, "opentps/phantom_struct/") if row["kind"] != "image"]
    assert (row["kind"], row["modality"]) == ("rtstruct", "RTDOSE")


def test_a_cut_plan_is_quarantined(everything: ScanResult, rows: Rows, resolved: Resolved) -> None:
    path = "pydicom_test_files/rtplan_truncated.dcm"
    assert rows[path]["pixel_bytes_ok"] is False
    assert codes_of(everything, rows[path]) == {"FILE_TRUNCATED"}
    assert resolved[0][path] == "quarantined"


def test_registrations_are_valid_or_say_why(rows: Rows) -> None:
    good = json.loads(below(rows, "eclipse_phantom_registered/explicit/RE")[0]["facts"])
    assert good["valid"] and len(good["frame_uids"]) == 2
    bad = json.loads(rows["onkodicom_reg/spatial_reg.dcm"]["facts"])
    assert not bad["valid"] and bad["problem"]
    assert rows["onkodicom_reg/transform.dcm"]["kind"] == "other"


def test_plans_are_told_apart_and_their_groups_read(rows: Rows) -> None:
    def plan(path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            next(r for p, r in rows.items() if p.startswith(path) and r["kind"] == "rtplan")["facts"]
        )
        return found

    assert plan("brachy_hdr_prostate/")["plan_class"] == "brachy"
    assert plan("brachy_hdr_prostate/")["rx_gy"] == [16.0]
    assert plan("raystation_proton_beams/")["plan_class"] == "ion"
    assert plan("dcpt_headphantom/")["plan_class"] == "ion"
    assert plan("pymedphys/pinnacle16/")["geometry"] == "TREATMENT_DEVICE"
    three = plan("plan_study_2018/chestwall_monaco_1plan_3rx/2018CompLTCWC2_t2.dcm")
    assert [group["fractions_planned"] for group in three["fraction_groups"]] == [13, 12, 25]
    assert len(three["rx_gy"]) == 3
    related = [json.loads(row["facts"]) for row in below(rows, "plan_study_2018/brain_iplan_5plans/")]
    assert sum(bool(facts["referenced_plans"]) for facts in related) >= 4
    statuses = {
        json.loads(r["facts"])["approval_status"] for r in below(rows, "plan_study_2018/chestwall_eclipse_photon")
    }
    assert "REJECTED" in statuses


def test_beam_doses_name_their_beam(rows: Rows) -> None:
    facts = [json.loads(r["facts"]) for r in below(rows, "raystation_proton_beams/") if r["kind"] == "rtdose"]
    assert Counter(one["summation_type"] for one in facts) == {"BEAM": 2, "PLAN": 1}
    assert sorted(one["beams"] for one in facts if one["summation_type"] == "BEAM") == [[1], [2]]
    hdr = json.loads(next(r for r in below(rows, "brachy_hdr_prostate/") if r["kind"] == "rtdose")["facts"])
    assert hdr["offsets"][:2] == [0.0, -1.0] and hdr["has_dvh"]


def test_an_anonymisers_literal_stays_a_note(rows: Rows) -> None:
    row = rows["brachy_pytg43/HDR/RP.HDR.dcm"]
    assert row["study_uid"] == row["birth_date"] == "UNKNOWN"
    assert "study_uid is no valid UID" in row["non_geometric_note"]


def test_pydicom_reads_every_rt_object(shared_data: Path, rows: Rows) -> None:
    wanted = [row for row in rows.values() if row["kind"].startswith("rt") and row["pixel_bytes_ok"] is not False]
    for row, ds in open_many(wanted, [shared_data]):
        assert isinstance(ds, pydicom.Dataset)
        if row["pixel_bytes_ok"]:
            assert ds.pixel_array.size == row["rows"] * row["columns"] * row["frames"]

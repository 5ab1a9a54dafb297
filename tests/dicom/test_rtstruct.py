"""RTSTRUCT: linked by number, exact coordinates, and each fault of a contour with its code."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.demo.write_rtstruct import contour_item
from rtpipeline.dicom.rtstruct import StructureSet, parse_rtstruct

SQUARE = np.array([[0.0, 0.0, 3.0], [10.0, 0.0, 3.0], [10.0, 10.0, 3.0], [0.0, 10.0, 3.0]])
"""A closed contour in the plane z = 3 mm."""


def moved(points: np.ndarray, x_mm: float, y_mm: float, z_mm: float) -> np.ndarray:
    return points + np.array([x_mm, y_mm, z_mm])


@pytest.fixture(scope="module")
def patient() -> SmallPatient:
    return small_patient()


@pytest.fixture
def rtstruct(patient: SmallPatient) -> Dataset:
    """A copy of the clean structure set, read from bytes as every stage reads it."""
    assert patient.rtstruct is not None
    return reread(patient.rtstruct)


def reread(ds: Dataset) -> Dataset:
    buffer = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.save_as(buffer, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


def roi_contours(ds: Dataset, number: int) -> Dataset:
    return next(item for item in ds.ROIContourSequence if item.ReferencedROINumber == number)


def roi(found: StructureSet, number: int):
    return next(r for r in found.rois if r.roi_number == number)


def codes(found: StructureSet) -> Counter[str]:
    return Counter(f.code for f in found.findings)


def test_the_clean_set_gives_every_roi_and_no_finding(rtstruct, patient):
    found = parse_rtstruct(rtstruct, "rs-01")
    assert [(r.roi_number, r.roi_name, r.roi_type, r.status) for r in found.rois] == [
        (r.number, r.name, r.interpreted_type, "ok") for r in patient.rois
    ]
    assert found.findings == []
    assert found.frame_uids == (str(rtstruct.FrameOfReferenceUID),)


def test_coordinates_are_the_numbers_of_the_file(rtstruct, patient):
    """The same points by pydicom's own decimal strings, and as they were drawn."""
    found = parse_rtstruct(rtstruct)
    for drawn in patient.rois:
        mine = found.contours_of(drawn.number)
        theirs = [
            np.array([float(v) for v in item.ContourData]).reshape(-1, 3)
            for item in roi_contours(rtstruct, drawn.number).ContourSequence
        ]
        assert len(mine) == len(theirs) == len(drawn.contours)
        for a, b, c in zip(mine, theirs, drawn.contours, strict=True):
            assert np.array_equal(a, b)
            assert np.array_equal(a, c)


@pytest.mark.parametrize("text", ["1.5\\-2e1\\ 3 ", "+1.5\\-20.0\\3.000\0", " 1.5 \\ -20 \\ 3"])
def test_odd_but_legal_decimal_strings_are_read(rtstruct, text):
    item = roi_contours(rtstruct, 2).ContourSequence[0]
    raw = item.get_item(0x30060050)
    item[0x30060050] = raw._replace(value="\\".join([text.strip("\0 ")] * 3).encode() + b" \0")
    item.ContourGeometricType = "POINT"
    point = parse_rtstruct(rtstruct).other[0]
    assert point.points_xyz_mm[0].tolist() == [1.5, -20.0, 3.0]


def test_contours_follow_the_roi_number_and_not_their_order(rtstruct, patient):
    rtstruct.ROIContourSequence = list(reversed(list(rtstruct.ROIContourSequence)))
    found = parse_rtstruct(rtstruct, "rs-01")
    for drawn in patient.rois:
        assert np.array_equal(found.contours_of(drawn.number)[0], drawn.contours[0])
    assert codes(found) == {"SS_ORDER": 1}


def test_a_roi_without_contours_is_a_row_with_status_empty(rtstruct):
    del roi_contours(rtstruct, 2).ContourSequence
    found = parse_rtstruct(rtstruct, "rs-01")
    assert roi(found, 2).status == "empty"
    assert found.contours_of(2) == []
    assert codes(found) == {"SS_ROI_EMPTY": 1}


def test_a_roi_that_no_contour_item_names_is_empty_too(rtstruct):
    rtstruct.ROIContourSequence = [i for i in rtstruct.ROIContourSequence if i.ReferencedROINumber != 3]
    found = parse_rtstruct(rtstruct)
    assert roi(found, 3).status == "empty"
    assert codes(found) == {"SS_ROI_EMPTY": 1}


def test_points_and_open_contours_are_kept_apart(rtstruct):
    roi_contours(rtstruct, 2).ContourSequence = [
        contour_item(SQUARE[:1], geometric_type="POINT"),
        contour_item(SQUARE[:3], geometric_type="OPEN_PLANAR"),
        contour_item(SQUARE[:3] + np.diag([0.0, 1.0, 5.0]), geometric_type="OPEN_NONPLANAR"),
    ]
    found = parse_rtstruct(rtstruct, "rs-01")
    assert (roi(found, 2).n_closed, roi(found, 2).n_point, roi(found, 2).n_open) == (0, 1, 2)
    assert roi(found, 2).status == "open_only"
    assert [c.geometric_type for c in found.other] == ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"]
    assert [c.contour_index for c in found.other] == [0, 1, 2]
    assert codes(found) == {"SS_CONTOUR_POINT": 1}


def test_an_isocentre_alone_is_points_only(rtstruct):
    roi_contours(rtstruct, 2).ContourSequence = [contour_item(SQUARE[:1], geometric_type="POINT")]
    assert roi(parse_rtstruct(rtstruct), 2).status == "points_only"


@pytest.mark.parametrize(("tilt_mm", "status"), [(0.4, "ok"), (0.5, "ok"), (0.6, "nonplanar"), (30.0, "nonplanar")])
def test_vertices_off_their_plane_cost_the_roi_above_half_a_millimetre(rtstruct, tilt_mm, status):
    """One of sixty vertices lifted by h lies a little less than h from the plane that fits all of them best."""
    ring = np.array([[20 * np.cos(a), 20 * np.sin(a), 3.0] for a in np.linspace(0, 2 * np.pi, 60, endpoint=False)])
    ring[0, 2] += tilt_mm
    roi_contours(rtstruct, 2).ContourSequence = [contour_item(SQUARE), contour_item(ring)]
    found = parse_rtstruct(rtstruct, "rs-01")
    expected = "nonplanar" if _residual_by_least_squares(ring) > 0.5 else "ok"
    assert roi(found, 2).status == expected == status
    assert codes(found)["SS_CONTOUR_NONPLANAR"] == (status == "nonplanar")


def _residual_by_least_squares(points: np.ndarray) -> float:
    """Distance from z = a x + b y + c fitted by least squares, across that plane."""
    x, y, z = points.T
    design = np.c_[x, y, np.ones(len(x))]
    (a, b, _), *_ = solution = np.linalg.lstsq(design, z, rcond=None)
    return float(np.abs(z - design @ solution[0]).max() / np.sqrt(a * a + b * b + 1))


def test_an_oblique_polygon_is_planar(rtstruct):
    turn = np.array([[1, 0, 0], [0, np.cos(0.35), -np.sin(0.35)], [0, np.sin(0.35), np.cos(0.35)]])
    roi_contours(rtstruct, 2).ContourSequence = [contour_item(SQUARE @ turn.T)]
    found = parse_rtstruct(rtstruct)
    assert roi(found, 2).status == "ok"
    assert found.findings == []


BOW_TIE = SQUARE[[0, 2, 1, 3]]
LINE = np.array([[0.0, 0.0, 3.0], [5.0, 5.0, 3.0], [9.0, 9.0, 3.0], [2.0, 2.0, 3.0]])


@pytest.mark.parametrize(
    ("polygon", "words", "kept"),
    [
        (SQUARE[:2], "fewer than 3 points", False),
        (np.repeat(SQUARE[:2], 3, axis=0), "fewer than 3 points", False),
        (LINE, "without area", False),
        (BOW_TIE, "crossing themselves", True),
    ],
)
def test_degenerate_contours_are_dropped_and_crossing_ones_kept(rtstruct, polygon, words, kept):
    good = moved(SQUARE, 0.0, 0.0, 3.0)
    roi_contours(rtstruct, 2).ContourSequence = [contour_item(good), contour_item(polygon)]
    found = parse_rtstruct(rtstruct, "rs-01")
    assert len(found.contours_of(2)) == 1 + kept
    assert codes(found) == {"SS_CONTOUR_DEGENERATE": 1}
    assert words in found.findings[0].measured
    assert found.findings[0].severity == "W"
    assert roi(found, 2).status == "ok"


def test_a_roi_of_degenerate_contours_alone_says_so(rtstruct):
    roi_contours(rtstruct, 2).ContourSequence = [contour_item(SQUARE[:2])]
    found = parse_rtstruct(rtstruct)
    assert roi(found, 2).status == "degenerate"
    assert roi(found, 2).n_closed == 1


@pytest.mark.parametrize("value", [b"1\\2\\x", b"1\\2\\3\\4", b"", b"1\\nan\\3"])
def test_coordinates_that_are_no_points_cost_that_contour_only(rtstruct, value):
    items = roi_contours(rtstruct, 2).ContourSequence
    count = len(items)
    raw = items[0].get_item(0x30060050)
    items[0][0x30060050] = raw._replace(value=value, length=len(value))
    found = parse_rtstruct(rtstruct, "rs-01")
    assert len(found.contours_of(2)) == count - 1
    assert codes(found) == {"SS_CONTOUR_DEGENERATE": 1}


@pytest.mark.parametrize(
    "copy",
    [
        SQUARE,
        SQUARE[::-1],
        [*SQUARE[2:], *SQUARE[:2]],
        [*SQUARE, SQUARE[0]],
        [*SQUARE[3:], *SQUARE[:3], SQUARE[3]][::-1],
    ],
    ids=["same", "backwards", "another first vertex", "closed", "all of it"],
)
def test_a_contour_written_twice_counts_once(rtstruct, copy):
    """By the even-odd rule the two would erase each other."""
    roi_contours(rtstruct, 2).ContourSequence = [contour_item(SQUARE), contour_item(copy)]
    found = parse_rtstruct(rtstruct)
    assert len(found.contours_of(2)) == 1
    assert "given twice" in found.findings[0].measured


def test_an_inner_contour_is_noted_once_per_roi(rtstruct):
    inner = moved(SQUARE * [0.5, 0.5, 1.0], 2.0, 2.0, 0.0)
    beside = moved(SQUARE, 20.0, 0.0, 0.0)
    above = moved(inner, 0.0, 0.0, 3.0)
    roi_contours(rtstruct, 2).ContourSequence = [contour_item(p) for p in (SQUARE, inner, beside, above)]
    found = parse_rtstruct(rtstruct, "rs-01")
    assert codes(found) == {"SS_HOLE": 1}
    assert found.findings[0].measured == "1 contours inside another one"
    assert found.findings[0].object == "rs-01 ROI 2 'GTV'"


def test_holes_are_found_in_oblique_planes_too(rtstruct):
    turn = np.array([[np.cos(0.4), 0, np.sin(0.4)], [0, 1, 0], [-np.sin(0.4), 0, np.cos(0.4)]])
    inner = moved(SQUARE * [0.5, 0.5, 1.0], 2.0, 2.0, 0.0)
    roi_contours(rtstruct, 2).ContourSequence = [contour_item(SQUARE @ turn.T), contour_item(inner @ turn.T)]
    assert codes(parse_rtstruct(rtstruct)) == {"SS_HOLE": 1}


def test_the_extended_xor_type_is_closed(rtstruct):
    for item in roi_contours(rtstruct, 3).ContourSequence:
        item.ContourGeometricType = "CLOSEDPLANAR_XOR"
    found = parse_rtstruct(rtstruct)
    assert roi(found, 3).status == "ok"
    assert found.findings == []


def test_two_structures_of_one_number_are_both_left_out(rtstruct):
    rtstruct.StructureSetROISequence[1].ROINumber = 3
    found = parse_rtstruct(rtstruct, "rs-01")
    assert [(r.roi_number, r.roi_name, r.status) for r in found.rois] == [
        (1, "BODY", "ok"),
        (2, "", "undeclared"),
        (3, "GTV", "number_reused"),
        (3, "PTV", "number_reused"),
        (4, "SpinalCord", "ok"),
    ]
    assert {c.roi_number for c in found.closed} == {1, 4}
    assert codes(found) == {"SS_NUMBER_REUSE": 1, "OBJECT_NOT_USED": 1}


@pytest.mark.parametrize("other", ["spinalcord ", "SPINAL CORD", "Spinal_Cord"])
def test_names_that_differ_by_case_or_marks_only_are_flagged_and_kept(rtstruct, other):
    rtstruct.StructureSetROISequence[1].ROIName = other
    found = parse_rtstruct(rtstruct, "rs-01")
    assert codes(found) == {"SS_NAME_COLLISION": 1}
    assert roi(found, 2).status == roi(found, 4).status == "ok"


@pytest.mark.parametrize(
    ("charset", "written", "expected"),
    [
        ("ISO_IR 100", "Drüse /li.|é".encode("latin-1"), "Drüse /li.|é"),
        ("ISO_IR 192", "Drüse /li.|é".encode(), "Drüse /li.|é"),
        ("", "Drüse".encode(), "Drüse"),
        ("ISO_IR 144", "Сердце".encode("iso8859-5"), "Сердце"),
    ],
)
def test_names_are_decoded_as_the_object_says(rtstruct, charset, written, expected):
    item = rtstruct.StructureSetROISequence[0]
    raw = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(0x30060026), "LO", len(written), written, 0, False, True)
    item[0x30060026] = raw
    if charset:
        rtstruct.SpecificCharacterSet = charset
    else:
        del rtstruct.SpecificCharacterSet
    assert parse_rtstruct(rtstruct).rois[0].roi_name == expected


def test_each_structure_keeps_its_frame_of_reference(rtstruct):
    rtstruct.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3"
    found = parse_rtstruct(rtstruct)
    assert roi(found, 2).frame_uid == "1.2.3"
    assert set(found.frame_uids) == {"1.2.3", str(rtstruct.FrameOfReferenceUID)}


def test_an_object_without_any_sequence_is_an_empty_set():
    found = parse_rtstruct(Dataset())
    assert (found.rois, found.closed, found.other, found.findings) == ([], [], [], [])


REAL_SETS = {
    "brachy_hdr_prostate/SS001.dcm": {"ok": 3, "open_only": 14},
    "brachy_pytg43/HDR/RS.HDR.dcm": {"ok": 2, "open_only": 14, "empty": 1},
    "dicompyler-core/rtss.dcm": {"ok": 9, "empty": 1},
    "pydicom_test_files/rtstruct.dcm": {"ok": 1, "points_only": 2},
    "pymedphys/monaco_tiny_vmat/TinyFS_StrctrSets.dcm": {"ok": 2},
    "opentps/phantom_struct/RS1.2.826.0.1.3680043.8.498.84013257063663267327474594711005032139.dcm": {"ok": 1},
}


@pytest.mark.data
@pytest.mark.parametrize("file", REAL_SETS)
def test_real_sets_give_what_a_slow_reading_of_them_gives(shared_data: Path, file: str):
    ds = pydicom.dcmread(shared_data / file, force=True)
    found = parse_rtstruct(ds, "rs-01")
    assert Counter(r.status for r in found.rois) == REAL_SETS[file]
    names = {int(i.ROINumber): str(i.ROIName).strip() for i in ds.StructureSetROISequence}
    assert {r.roi_number: r.roi_name for r in found.rois} == names
    for item in ds.ROIContourSequence:
        theirs = [
            np.array([float(v) for v in c.ContourData]).reshape(-1, 3)
            for c in item.get("ContourSequence", [])
            if c.ContourGeometricType == "CLOSED_PLANAR"
        ]
        theirs = [points for points in theirs if len(np.unique(points, axis=0)) >= 3]
        mine = found.contours_of(int(item.ReferencedROINumber))
        assert len(mine) == len(theirs)
        assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))

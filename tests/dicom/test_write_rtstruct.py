"""RTSTRUCT of outlines: our parser reads the same masks back, every Type 1 attribute is there, and nobody's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from rtpipeline.dicom.derived import FOR_PHANTOMS, Made
from rtpipeline.dicom.rtstruct import parse_rtstruct
from rtpipeline.dicom.write_rtstruct import OutlinedStructure, write_rtstruct
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.mask_outlines import mask_outlines
from rtpipeline.geometry.rasterize import solid_mask
from rtpipeline.geometry.solid import PrismSolid
from tests.dicom.templates import ORIENTATIONS, SECRETS, blobs, grid_of, template_of

MADE = Made("TotalSegmentator total", "2.18.0", phantom=False)
COLOURS = {2: (10, 20, 30), 5: (255, 0, 0), 7: (0, 128, 255)}

TYPE_1 = {
    "": ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality", "SeriesInstanceUID", "FrameOfReferenceUID",
         "StructureSetLabel", "StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence",
         "ApprovalStatus"),
    "ReferencedFrameOfReferenceSequence": ("FrameOfReferenceUID",),
    "RTReferencedStudySequence": ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID", "RTReferencedSeriesSequence"),
    "RTReferencedSeriesSequence": ("SeriesInstanceUID", "ContourImageSequence"),
    "ContourImageSequence": ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"),
    "StructureSetROISequence": ("ROINumber", "ReferencedFrameOfReferenceUID"),
    "ROIContourSequence": ("ReferencedROINumber",),
    "ContourSequence": ("ContourGeometricType", "NumberOfContourPoints", "ContourData"),
    "RTROIObservationsSequence": ("ObservationNumber", "ReferencedROINumber"),
}  # fmt: skip
"""By sequence, what may not be missing or empty (PS3.3 A.19.3 and the modules it lists)."""

TYPE_2 = {
    "": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
         "AccessionNumber", "ReferringPhysicianName", "SeriesNumber", "OperatorsName", "Manufacturer",
         "PositionReferenceIndicator", "StructureSetDate", "StructureSetTime"),
    "StructureSetROISequence": ("ROIName", "ROIGenerationAlgorithm"),
    "RTROIObservationsSequence": ("RTROIInterpretedType", "ROIInterpreter"),
}  # fmt: skip
"""By sequence, what may be empty but not missing."""


def outlined(values: np.ndarray, grid: Grid, labels: tuple[int, ...] = (2, 5, 7)) -> list[OutlinedStructure]:
    return [OutlinedStructure(n, f"structure_{n}", mask_outlines(values == n, grid), COLOURS[n]) for n in labels]


def write(path: Path, values: np.ndarray, grid: Grid, template: list[Dataset], labels: tuple[int, ...] = (2, 5, 7)) -> Dataset:  # fmt: skip  # noqa: E501
    write_rtstruct(path, outlined(values, grid, labels), template, made=MADE, label="total")
    return pydicom.dcmread(path)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_our_parser_and_masks_give_every_voxel_back(name: str, tmp_path: Path) -> None:
    """The coordinates are rounded to 1e-4 mm, and borders are half a voxel away from every voxel centre."""
    grid = grid_of((9, 17, 21), name)
    values = blobs(grid, (2, 5, 7), seed=3)
    read = parse_rtstruct(write(tmp_path / "rs.dcm", values, grid, template_of(grid)))
    assert [(r.roi_number, r.roi_name, r.status, r.display_color) for r in read.rois] == [
        (n, f"structure_{n}", "ok", COLOURS[n]) for n in (2, 5, 7)
    ]
    for n in (2, 5, 7):
        solid = PrismSolid.from_contours(read.contours_of(n), single_plane_thickness_mm=grid.plane_spacing_mm)
        assert np.array_equal(solid_mask(solid, grid), values == n)


def test_a_label_map_has_no_findings_but_its_holes(tmp_path: Path) -> None:
    grid = grid_of((9, 17, 21), "oblique")
    read = parse_rtstruct(write(tmp_path / "rs.dcm", blobs(grid, (2, 5, 7), seed=3), grid, template_of(grid)))
    assert {f.code for f in read.findings} <= {"SS_HOLE"}


def test_contours_name_the_instance_in_whose_plane_they_lie(tmp_path: Path) -> None:
    grid = grid_of((9, 17, 21), "HFS, descending")
    kept = (0, 1, 3, 4, 7, 8)
    template = template_of(grid, planes=kept)
    ds = write(tmp_path / "rs.dcm", blobs(grid, (2, 5, 7)), grid, template)
    at = {float(t.ImagePositionPatient[2]): t.SOPInstanceUID for t in template}
    named = unnamed = 0
    for contour in (c for roi in ds.ROIContourSequence for c in roi.ContourSequence):
        z = float(contour.ContourData[2])
        if z in at:
            assert [i.ReferencedSOPInstanceUID for i in contour.ContourImageSequence] == [at[z]]
            named += 1
        else:
            assert "ContourImageSequence" not in contour
            unnamed += 1
    assert named > 0 and unnamed > 0
    (frame,) = ds.ReferencedFrameOfReferenceSequence
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert [i.ReferencedSOPInstanceUID for i in series.ContourImageSequence] == [t.SOPInstanceUID for t in template]
    assert (series.SeriesInstanceUID, frame.FrameOfReferenceUID) == (
        template[0].SeriesInstanceUID, template[0].FrameOfReferenceUID,
    )  # fmt: skip


def test_an_enhanced_image_is_named_once_and_by_no_contour(tmp_path: Path) -> None:
    grid = grid_of((9, 17, 21))
    template = template_of(grid, enhanced=True)
    ds = write(tmp_path / "rs.dcm", blobs(grid, (2, 5, 7)), grid, template)
    series = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert [i.ReferencedSOPInstanceUID for i in series.ContourImageSequence] == [template[0].SOPInstanceUID]
    assert not any("ContourImageSequence" in c for roi in ds.ROIContourSequence for c in roi.ContourSequence)


def test_everything_that_may_not_be_missing_is_there(tmp_path: Path) -> None:
    grid = grid_of((5, 9, 9))
    ds = write(tmp_path / "rs.dcm", blobs(grid, (2, 5, 7)), grid, template_of(grid))
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == RTStructureSetStorage
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    seen: set[str] = set()

    def check(item: Dataset, sequence: str) -> None:
        seen.add(sequence)
        assert [k for k in TYPE_1.get(sequence, ()) if item.get(k) in (None, "", [])] == []
        assert [k for k in TYPE_2.get(sequence, ()) if k not in item] == []
        for element in item:
            if element.VR == "SQ":
                for inner in element.value:
                    check(inner, element.keyword)

    check(ds, "")
    assert seen >= TYPE_1.keys()


def test_coordinates_fit_into_sixteen_characters_wherever_the_image_lies(tmp_path: Path) -> None:
    far = Grid.from_dicom_like(ORIENTATIONS["oblique"][0], (-98765.43211, 1e-9, 54321.98765), (0.7, 0.7), np.arange(3) * 3.0, 5, 5)  # fmt: skip  # noqa: E501
    values = np.zeros((3, 5, 5), np.uint8)
    values[1, 2, 2] = 2
    ds = write(tmp_path / "rs.dcm", values, far, template_of(far), labels=(2,))
    texts = [str(v.original_string) for v in ds.ROIContourSequence[0].ContourSequence[0].ContourData]
    assert len(texts) == 12 and max(map(len, texts)) <= 16
    assert "-0" not in texts


def test_the_same_content_gives_the_same_bytes_and_other_content_other_uids(tmp_path: Path) -> None:
    grid = grid_of((5, 9, 9))
    values = blobs(grid, (2, 5, 7))
    moved = np.roll(values, 1, axis=2)
    a, b, c = (write(tmp_path / n, v, grid, template_of(grid)) for n, v in (("a", values), ("b", values), ("c", moved)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert a.SOPInstanceUID == b.SOPInstanceUID != c.SOPInstanceUID
    assert a.SeriesInstanceUID != c.SeriesInstanceUID


def test_nothing_of_the_patient_and_no_day_is_in_it(tmp_path: Path) -> None:
    grid = grid_of((5, 9, 9))
    ds = write(tmp_path / "rs.dcm", blobs(grid, (2, 5, 7)), grid, template_of(grid))
    assert not [s for s in SECRETS if s in str(ds) + str(ds.file_meta)]
    assert (ds.PatientName, ds.PatientID, ds.PatientIdentityRemoved) == ("p0123456789", "p0123456789", "YES")
    assert not [e.keyword for e in ds.iterall() if e.VR in ("DA", "DT", "TM") and e.value]


def test_what_phantom_networks_made_says_so(tmp_path: Path) -> None:
    grid = grid_of((5, 9, 9))
    made = Made("TotalSegmentator total", "2.18.0", phantom=True)
    structures = outlined(blobs(grid, (2, 5, 7)), grid)
    write_rtstruct(tmp_path / "rs.dcm", structures, template_of(grid), made=made, label="a label of many letters")
    ds = pydicom.dcmread(tmp_path / "rs.dcm")
    assert ds.SeriesDescription.endswith(FOR_PHANTOMS)
    assert ds.StructureSetROISequence[0].ROIGenerationDescription.endswith(FOR_PHANTOMS)
    assert ds.StructureSetLabel == "a label of many"


def test_any_name_is_one_value(tmp_path: Path) -> None:
    grid = grid_of((9, 17, 21), "HFS")
    outlines = mask_outlines(blobs(grid, (2,)) == 2, grid)
    names = ["a\\b", "Bläschen\t1", "x" * 70]
    structures = [OutlinedStructure(n, name, outlines, (1, 2, 3)) for n, name in enumerate(names, start=1)]
    write_rtstruct(tmp_path / "rt.dcm", structures, template_of(grid), made=MADE, label="total")
    written = pydicom.dcmread(tmp_path / "rt.dcm").StructureSetROISequence
    assert [item.ROIName for item in written] == ["a/b", "Bläschen1", "x" * 64]


def test_numbers_are_unique_and_there_is_a_structure(tmp_path: Path) -> None:
    grid = grid_of((5, 9, 9))
    structures = outlined(blobs(grid, (2, 5, 7)), grid)
    for wrong in ([], [structures[0], structures[0]]):
        with pytest.raises(ValueError, match="each its own"):
            write_rtstruct(tmp_path / "rs.dcm", wrong, template_of(grid), made=MADE, label="total")

"""DICOM SEG: read back by another library it gives the same masks at the same places, and nobody's name."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, MRImageStorage

from rtpipeline.dicom.derived import FOR_PHANTOMS, Code, Made
from rtpipeline.dicom.write_seg import Segment, write_seg
from rtpipeline.geometry.grid import Grid
from tests.dicom.templates import ORIENTATIONS, SECRETS, blobs, grid_of, template_of

MADE = Made("TotalSegmentator total", "2.18.0", phantom=False)
POSITION_MM = 1e-6
"""Positions are written with 16 characters, of which four stand before the point."""

STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
KIDNEY, LEFT = Code("64033007", "SCT", "Kidney"), Code("7771000", "SCT", "Left")


def segment(label: int, name: str = "") -> Segment:
    return Segment(label, name or f"structure_{label}", STRUCTURE, KIDNEY, None, (200, 60, 10 * label))


def masks_of(seg: highdicom.seg.Segmentation, grid: Grid) -> dict[str, np.ndarray]:
    """(z, y, x) masks on `grid`, placed voxel by voxel by the patient positions that the object states."""
    volume = seg.get_volume(combine_segments=False)
    masks = {}
    for number in seg.segment_numbers:
        part = volume.array[..., list(seg.segment_numbers).index(number)]
        at = np.argwhere(part > 0)
        xyz_mm = at @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        index = grid.patient_to_index_zyx(xyz_mm)
        assert np.abs(index - np.rint(index)).max() < POSITION_MM * 10
        mask = np.zeros(grid.shape_zyx, bool)
        mask[tuple(np.rint(index).astype(int).T)] = True
        masks[seg.get_segment_description(number).segment_label] = mask
    return masks


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_segment_comes_back_where_it_was(name: str, tmp_path: Path) -> None:
    grid = grid_of((9, 17, 21), name)
    values = blobs(grid, (2, 5, 7))
    segments = [segment(7), segment(2), segment(5, "kidney_left")]
    path = tmp_path / "seg.dcm"
    write_seg(path, values, grid, segments, template_of(grid), made=MADE)
    masks = masks_of(highdicom.seg.segread(path), grid)
    assert list(masks) == ["structure_7", "structure_2", "kidney_left"]
    for s in segments:
        assert np.array_equal(masks[s.name], values == s.label), s.name


def test_planes_between_the_original_ones_are_written_too(tmp_path: Path) -> None:
    grid = grid_of((9, 17, 21), "oblique")
    values = blobs(grid, (1, 2))
    path = tmp_path / "seg.dcm"
    write_seg(path, values, grid, [segment(1), segment(2)], template_of(grid, planes=(0, 1, 3, 4, 7, 8)), made=MADE)
    masks = masks_of(highdicom.seg.segread(path), grid)
    assert all(np.array_equal(masks[f"structure_{n}"], values == n) for n in (1, 2))


@pytest.mark.parametrize("sop_class_uid", [CTImageStorage, MRImageStorage])
def test_frames_name_the_image_instance_of_their_plane(sop_class_uid: str, tmp_path: Path) -> None:
    grid = grid_of((9, 17, 21), "HFS, descending")
    values, template = blobs(grid, (1, 2)), template_of(grid)
    for header in template:
        header.SOPClassUID = sop_class_uid
    write_seg(tmp_path / "seg.dcm", values, grid, [segment(1), segment(2)], template, made=MADE)
    ds = pydicom.dcmread(tmp_path / "seg.dcm")
    at = {tuple(t.ImagePositionPatient): t.SOPInstanceUID for t in template}
    assert len(ds.PerFrameFunctionalGroupsSequence) == sum((values == n).any(axis=(1, 2)).sum() for n in (1, 2))
    for frame in ds.PerFrameFunctionalGroupsSequence:
        position = tuple(frame.PlanePositionSequence[0].ImagePositionPatient)
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPInstanceUID == at[position]
        assert source.ReferencedSOPClassUID == sop_class_uid
    (series,) = ds.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == template[0].SeriesInstanceUID
    assert (ds.StudyInstanceUID, ds.FrameOfReferenceUID) == (
        template[0].StudyInstanceUID,
        template[0].FrameOfReferenceUID,
    )


def test_an_enhanced_image_is_named_once(tmp_path: Path) -> None:
    grid = grid_of((9, 17, 21))
    values, template = blobs(grid, (1,)), template_of(grid, enhanced=True)
    write_seg(tmp_path / "seg.dcm", values, grid, [segment(1)], template, made=MADE)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert np.array_equal(masks_of(seg, grid)["structure_1"], values == 1)
    (source,) = seg.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == template[0].SOPInstanceUID
    assert source.ReferencedSOPClassUID == template[0].SOPClassUID == EnhancedCTImageStorage


def test_a_segment_says_what_it_is_and_who_made_it(tmp_path: Path) -> None:
    grid = grid_of((4, 9, 9))
    values = blobs(grid, (3,))
    kidney = Segment(3, "kidney_left", STRUCTURE, KIDNEY, LEFT, (200, 60, 30))
    write_seg(tmp_path / "seg.dcm", values, grid, [kidney], template_of(grid), made=MADE)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    described = seg.get_segment_description(1)
    assert described.segmented_property_category == highdicom.sr.CodedConcept(
        "123037004", "SCT", "Anatomical Structure"
    )
    assert described.segmented_property_type.meaning == "Kidney"
    kind = described.SegmentedPropertyTypeCodeSequence[0]
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert described.algorithm_type.value == "AUTOMATIC"
    algorithm = described.algorithm_identification
    assert algorithm is not None
    assert (algorithm.name, algorithm.version) == ("TotalSegmentator total", "2.18.0")
    assert seg.SegmentationType == "BINARY"
    assert seg.SeriesDescription == "RTpipeline TotalSegmentator total 2.18.0"


def test_what_phantom_networks_made_says_so(tmp_path: Path) -> None:
    grid = grid_of((4, 9, 9))
    made = Made("TotalSegmentator " + "x" * 80, "2.18.0", phantom=True)
    write_seg(tmp_path / "seg.dcm", blobs(grid, (3,)), grid, [segment(3)], template_of(grid), made=made)
    ds = pydicom.dcmread(tmp_path / "seg.dcm")
    algorithm = ds.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmName
    for text in (ds.SeriesDescription, algorithm, ds.ContentDescription):
        assert text.endswith(FOR_PHANTOMS) and len(text) <= 64


def all_values(ds: Dataset) -> str:
    return str(ds) + str(ds.file_meta)


def test_the_same_content_gives_the_same_bytes_and_other_content_other_uids(tmp_path: Path) -> None:
    grid = grid_of((4, 9, 9))
    values = blobs(grid, (1, 2))
    other = values.copy()
    other[0, 0, 0] = 1 if values[0, 0, 0] != 1 else 2
    for name, labels in (("a", values), ("b", values), ("c", other)):
        write_seg(tmp_path / name, labels, grid, [segment(1), segment(2)], template_of(grid), made=MADE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    a, c = pydicom.dcmread(tmp_path / "a"), pydicom.dcmread(tmp_path / "c")
    assert a.SOPInstanceUID != c.SOPInstanceUID and a.SeriesInstanceUID != c.SeriesInstanceUID


def test_nothing_of_the_patient_and_no_day_is_in_it(tmp_path: Path) -> None:
    grid = grid_of((4, 9, 9))
    write_seg(tmp_path / "seg.dcm", blobs(grid, (1,)), grid, [segment(1)], template_of(grid), made=MADE)
    ds = pydicom.dcmread(tmp_path / "seg.dcm")
    assert not [s for s in SECRETS if s in all_values(ds)]
    assert (ds.PatientName, ds.PatientID, ds.PatientIdentityRemoved) == ("p0123456789", "p0123456789", "YES")
    dates = {e.keyword: e.value for e in ds.iterall() if e.VR in ("DA", "DT", "TM") and e.value}
    assert dates == {"ContentDate": "19000101", "ContentTime": "000000"}


@pytest.mark.parametrize(("name", "written"), [("a\\b", "a/b"), ("Bläschen\t1", "Bläschen1"), ("x" * 70, "x" * 64)])
def test_any_name_is_one_value(name: str, written: str, tmp_path: Path) -> None:
    grid = grid_of((9, 17, 21), "HFS")
    write_seg(tmp_path / "seg.dcm", blobs(grid, (2,)), grid, [segment(2, name)], template_of(grid), made=MADE)
    assert pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence[0].SegmentLabel == written


def test_a_segment_that_was_not_found_is_refused(tmp_path: Path) -> None:
    grid = grid_of((4, 9, 9))
    with pytest.raises(ValueError, match=r"segments without voxels: structure_9"):
        write_seg(tmp_path / "a", blobs(grid, (1,)), grid, [segment(1), segment(9)], template_of(grid), made=MADE)
    with pytest.raises(ValueError, match="at least one segment"):
        write_seg(tmp_path / "a", blobs(grid, (1,)), grid, [], template_of(grid), made=MADE)
    with pytest.raises(ValueError, match="header of at least one plane"):
        write_seg(tmp_path / "a", blobs(grid, (1,)), grid, [segment(1)], [], made=MADE)

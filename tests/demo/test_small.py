from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from rtpipeline.demo.grid import ORIENTATION_OF_POSITION
from rtpipeline.demo.prism_stack import PrismStack
from rtpipeline.demo.small import small_patient
from rtpipeline.demo.solids import sphere

POINTS_MM = [(5.3, -12.2, 40.1), (30.2, -30.4, 60.3), (-20.1, 8.2, 21.4), (1.2, 20.3, 44.6)]
STORED_GY = 1e-5
"""Beyond the rounding of stored doses (5e-7 Gy) and of positions (5e-5 mm)."""


def _hu_at(folder: Path, point_mm: tuple[float, ...]) -> float:
    """The stored value at the voxel nearest to a point, from the tags alone (PS3.3 C.7.6.2.1.1)."""
    best = (np.inf, 0.0)
    for path in folder.glob("CT_*.dcm"):
        ds = pydicom.dcmread(path)
        row, column = np.array(ds.ImageOrientationPatient[:3], float), np.array(ds.ImageOrientationPatient[3:], float)
        offset = np.array(point_mm) - np.array(ds.ImagePositionPatient, float)
        i, j = round(offset @ column / ds.PixelSpacing[0]), round(offset @ row / ds.PixelSpacing[1])
        distance = abs(float(offset @ np.cross(row, column)))
        if distance < best[0]:
            best = (distance, float(ds.pixel_array[i, j] * ds.RescaleSlope + ds.RescaleIntercept))
    return best[1]


@pytest.mark.parametrize("position", sorted(ORIENTATION_OF_POSITION))
def test_a_point_of_the_patient_has_the_same_hu_in_every_position(position: str, tmp_path: Path) -> None:
    supine = small_patient().save(tmp_path / "supine")
    other = small_patient(position=position).save(tmp_path / "other")
    for point in POINTS_MM:
        assert _hu_at(other, point) == _hu_at(supine, point)


@pytest.mark.parametrize("position", sorted(ORIENTATION_OF_POSITION))
def test_the_stored_dose_is_linear_in_patient_coordinates_in_every_position(position: str, tmp_path: Path) -> None:
    patient = small_patient(position=position)
    ds = pydicom.dcmread(patient.save(tmp_path) / "RTDOSE_022.dcm")
    row, column = np.array(ds.ImageOrientationPatient[:3], float), np.array(ds.ImageOrientationPatient[3:], float)
    dose_gy = ds.pixel_array * float(ds.DoseGridScaling)
    for k, i, j in [(0, 0, 0), (3, 7, 2), (15, 34, 34)]:
        point = (
            np.array(ds.ImagePositionPatient, float)
            + float(ds.GridFrameOffsetVector[k]) * np.cross(row, column)
            + i * float(ds.PixelSpacing[0]) * column
            + j * float(ds.PixelSpacing[1]) * row
        )
        expected_gy = 50 + np.dot((0.10, -0.06, 0.08), point - np.array((5.0, -12.0, 40.0)))
        assert dose_gy[k, i, j] == pytest.approx(expected_gy, abs=STORED_GY)


def test_body_and_structures_lie_inside_image_and_dose_grid() -> None:
    patient = small_patient()
    lower, upper = patient.image.geometry.bounds_mm()
    dose_lower, dose_upper = patient.dose_grid.bounds_mm()
    for roi in patient.rois:
        stack = PrismStack.from_contours(roi.contours)
        assert (stack.start_mm > lower[:2] + 3).all() and (stack.start_mm < upper[:2] - 3).all(), roi.name
        assert (stack.start_mm > dose_lower[:2]).all() and (stack.start_mm < dose_upper[:2]).all(), roi.name
        assert stack.slab_mm.min() > dose_lower[2] and stack.slab_mm.max() < dose_upper[2], roi.name


def test_the_dose_fits_the_prescription() -> None:
    patient = small_patient(prescription_gy=60.0, fractions=30)
    assert patient.rtplan is not None
    d95_gy = PrismStack.from_contours(patient.roi("PTV").contours).metrics(patient.dose)["d95_gy"]
    prescribed = float(patient.rtplan.DoseReferenceSequence[0].TargetPrescriptionDose)
    assert d95_gy == pytest.approx(prescribed, rel=0.05)


def test_each_structure_is_painted_with_its_own_density() -> None:
    patient = small_patient()
    hu = patient.image.values
    assert hu[patient.voxel_index((-50.0, -68.0, 40.0))] == -1000  # a corner of the field of view
    texture_hu = 14
    assert hu[patient.voxel_index((5.0, -12.0, 40.0))] == pytest.approx(40, abs=texture_hu)  # PTV over GTV
    assert hu[patient.voxel_index((1.0, 20.0, 40.0))] == pytest.approx(30, abs=texture_hu)  # cord


def test_objects_refer_to_each_other() -> None:
    patient = small_patient()
    assert patient.rtstruct is not None and patient.rtplan is not None and patient.rtdose is not None
    plan_reference = patient.rtdose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID
    assert plan_reference == patient.rtplan.SOPInstanceUID
    set_reference = patient.rtplan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID
    assert set_reference == patient.rtstruct.SOPInstanceUID
    assert patient.rtplan.DoseReferenceSequence[0].ReferencedROINumber == patient.roi("PTV").number
    frames = {ds.FrameOfReferenceUID for ds in patient.datasets()}
    assert len(frames) == 1


def test_what_is_changed_or_taken_away_is_what_is_saved(tmp_path: Path) -> None:
    patient = small_patient(names={"PTV": "PTV 50"})
    assert patient.rtdose is not None
    patient.rtdose.DoseUnits = "RELATIVE"
    patient.rtdose.SOPInstanceUID = "2.25.1"
    patient.rtplan = None
    del patient.ct[5]
    patient.save(tmp_path)
    saved = [pydicom.dcmread(path) for path in tmp_path.iterdir()]
    assert sorted(ds.Modality for ds in saved) == ["CT"] * 19 + ["RTDOSE", "RTSTRUCT"]
    dose = next(ds for ds in saved if ds.Modality == "RTDOSE")
    assert dose.DoseUnits == "RELATIVE" and dose.file_meta.MediaStorageSOPInstanceUID == "2.25.1"
    structure_set = next(ds for ds in saved if ds.Modality == "RTSTRUCT")
    assert [roi.ROIName for roi in structure_set.StructureSetROISequence] == ["BODY", "GTV", "PTV 50", "SpinalCord"]


def test_solids_may_be_given(tmp_path: Path) -> None:
    tiny = sphere((5.0, -12.0, 40.0), 3.0)
    patient = small_patient(solids={"Lens_L": ("ORGAN", tiny)})
    assert [roi.name for roi in patient.rois] == ["Lens_L"] and len(patient.rois[0].contours) == 2
    assert patient.rtplan is not None and "ReferencedROINumber" not in patient.rtplan.DoseReferenceSequence[0]


def test_the_same_arguments_give_the_same_bytes_and_another_seed_other_uids(tmp_path: Path) -> None:
    folders = [small_patient(seed=s).save(tmp_path / str(i)) for i, s in enumerate((1, 1, 2))]
    contents = [{p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1]
    uids = [{pydicom.dcmread(p).SOPInstanceUID for p in folder.iterdir()} for folder in folders]
    assert uids[0] == uids[1] and not uids[0] & uids[2]

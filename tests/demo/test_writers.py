"""The IODs' required attributes (PS3.3), and what the objects say when they are read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from rtpipeline.demo.headers import save
from rtpipeline.demo.prism_stack import PrismStack
from rtpipeline.demo.rois import Roi
from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.demo.write_rtdose import rtdose_dataset
from rtpipeline.demo.write_rtplan import TWO_ARCS, Plan, Prescription, rtplan_dataset
from rtpipeline.demo.write_rtstruct import contour_item, rtstruct_dataset

COMMON_TYPE_1 = "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality FrameOfReferenceUID"
COMMON_TYPE_2 = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID "
    "AccessionNumber Manufacturer SeriesNumber PositionReferenceIndicator"
)
PIXELS = (
    "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation "
    "PixelData PixelSpacing ImageOrientationPatient ImagePositionPatient "
)
TYPE_1 = {
    "CT": PIXELS + "ImageType InstanceNumber RescaleIntercept RescaleSlope RescaleType PatientPosition",
    "RTSTRUCT": "StructureSetLabel StructureSetROISequence ROIContourSequence RTROIObservationsSequence ApprovalStatus",
    "RTPLAN": "RTPlanLabel RTPlanGeometry ReferencedStructureSetSequence FractionGroupSequence BeamSequence "
    "PatientSetupSequence ApprovalStatus",
    "RTDOSE": PIXELS + "NumberOfFrames FrameIncrementPointer DoseUnits DoseType DoseSummationType DoseGridScaling "
    "ReferencedRTPlanSequence GridFrameOffsetVector DVHSequence",
}
TYPE_2 = {
    "CT": "SliceThickness KVP AcquisitionNumber ContentDate ContentTime",
    "RTSTRUCT": "OperatorsName StructureSetDate StructureSetTime ReviewDate ReviewTime ReviewerName",
    "RTPLAN": "OperatorsName RTPlanDate RTPlanTime ReviewDate ReviewTime ReviewerName",
    "RTDOSE": "OperatorsName SliceThickness",
}
"""By modality, the attributes of types 1 and 1C that apply, and of type 2."""


@pytest.fixture(scope="module")
def patient() -> SmallPatient:
    return small_patient()


@pytest.fixture(scope="module")
def read_back(patient: SmallPatient, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    folder = patient.save(tmp_path_factory.mktemp("small"))
    return {ds.Modality: ds for ds in (pydicom.dcmread(path) for path in sorted(folder.iterdir()))}


@pytest.mark.parametrize("modality", ["CT", "RTSTRUCT", "RTPLAN", "RTDOSE"])
def test_required_attributes_are_there_and_those_of_type_1_have_values(
    read_back: dict[str, Dataset], modality: str
) -> None:
    ds = read_back[modality]
    for keyword in f"{COMMON_TYPE_1} {TYPE_1[modality]}".split():
        assert keyword in ds and not ds[keyword].is_empty, keyword
    for keyword in f"{COMMON_TYPE_2} {TYPE_2[modality]}".split():
        assert keyword in ds, keyword
    assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID


def test_every_decimal_string_fits_into_sixteen_characters(read_back: dict[str, Dataset]) -> None:
    for ds in read_back.values():
        for element in ds.iterall():
            if element.VR == "DS" and not element.is_empty:
                values = element.value if element.VM > 1 else [element.value]
                assert max(len(str(v.original_string if hasattr(v, "original_string") else v)) for v in values) <= 16


def test_contours_are_read_back_as_they_were_drawn(patient: SmallPatient, read_back: dict[str, Dataset]) -> None:
    slices = {ds.SOPInstanceUID: float(ds.ImagePositionPatient[2]) for ds in patient.ct}
    by_number = {item.ReferencedROINumber: item for item in read_back["RTSTRUCT"].ROIContourSequence}
    for roi in patient.rois:
        items = by_number[roi.number].ContourSequence
        assert len(items) == len(roi.contours)
        for item, points in zip(items, roi.contours, strict=True):
            read = np.array(item.ContourData, float).reshape(-1, 3)
            np.testing.assert_array_equal(read, points)
            assert item.NumberOfContourPoints == len(points)
            assert slices[item.ContourImageSequence[0].ReferencedSOPInstanceUID] == points[0, 2]


def test_the_structure_set_references_every_slice_of_its_series(
    patient: SmallPatient, read_back: dict[str, Dataset]
) -> None:
    frame = read_back["RTSTRUCT"].ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == patient.ct[0].SeriesInstanceUID
    references = {item.ReferencedSOPInstanceUID for item in series.ContourImageSequence}
    assert references == {ds.SOPInstanceUID for ds in patient.ct}


def test_a_contour_between_the_slices_names_no_image(patient: SmallPatient) -> None:
    between = patient.rois[1].contours[0] + np.array([0.0, 0.0, 1.3])
    ds = rtstruct_dataset([Roi(1, "GTV", "GTV", (between,))], patient.study, patient.ct)
    assert "ContourImageSequence" not in ds.ROIContourSequence[0].ContourSequence[0]


def test_contours_of_other_types_can_be_written() -> None:
    item = contour_item(np.array([[1.0, 2.0, 3.0]]), geometric_type="POINT")
    assert item.ContourGeometricType == "POINT" and [float(v) for v in item.ContourData] == [1, 2, 3]


def test_an_altered_structure_set_is_written_as_altered(patient: SmallPatient, tmp_path: Path) -> None:
    ds = rtstruct_dataset(patient.rois, patient.study, patient.ct)
    ds.ROIContourSequence[1].ContourSequence[0].ContourData = ["1", "2", "3", "4", "5", "3", "6", "7", "3"]
    save(ds, tmp_path / "rs.dcm")
    read = pydicom.dcmread(tmp_path / "rs.dcm").ROIContourSequence[1].ContourSequence[0]
    assert [float(v) for v in read.ContourData] == [1, 2, 3, 4, 5, 3, 6, 7, 3]


def test_beam_doses_per_fraction_add_up_to_the_prescription(read_back: dict[str, Dataset]) -> None:
    group = read_back["RTPLAN"].FractionGroupSequence[0]
    total = group.NumberOfFractionsPlanned * sum(float(b.BeamDose) for b in group.ReferencedBeamSequence)
    assert total == pytest.approx(50.0)
    assert [b.ReferencedBeamNumber for b in group.ReferencedBeamSequence] == [
        b.BeamNumber for b in read_back["RTPLAN"].BeamSequence
    ]


def test_arcs_rotate_away_from_below_the_couch() -> None:
    plan = small_patient(beams=TWO_ARCS).rtplan
    assert plan is not None
    directions = [b.ControlPointSequence[0].GantryRotationDirection for b in plan.BeamSequence]
    # IEC 61217: gantry angles grow clockwise; 180 to 179.9 the long way round passes 0
    assert directions == ["CW", "CC"]
    assert {b.BeamType for b in plan.BeamSequence} == {"DYNAMIC"}


def test_a_plan_without_a_structure_set_says_so(patient: SmallPatient) -> None:
    plan = Plan("P", "20240101", 5, (Prescription(20.0, None),), (0.0, 0.0, 0.0))
    ds = rtplan_dataset(plan, patient.study, None)
    assert ds.RTPlanGeometry == "TREATMENT_DEVICE" and "ReferencedStructureSetSequence" not in ds
    assert ds.DoseReferenceSequence[0].DoseReferenceStructureType == "SITE"


@pytest.mark.parametrize(("bits", "scaling"), [(32, "0.000001"), (16, "0.001")])
def test_stored_doses_are_within_half_a_step_of_the_formula(patient: SmallPatient, bits: int, scaling: str) -> None:
    dose_gy = patient.dose.on(patient.dose_grid)
    ds = rtdose_dataset(
        dose_gy,
        patient.dose_grid,
        patient.study,
        plan=patient.rtplan,
        structure_set=None,
        bits=bits,
        grid_scaling_gy=scaling,
    )
    stored = np.frombuffer(ds.PixelData, f"<u{bits // 8}").reshape(dose_gy.shape) * float(ds.DoseGridScaling)
    assert np.abs(stored - dose_gy).max() <= 0.5001 * float(scaling)


def test_a_dose_that_does_not_fit_is_refused(patient: SmallPatient) -> None:
    dose_gy = patient.dose.on(patient.dose_grid)
    with pytest.raises(ValueError, match="16 unsigned bits"):
        rtdose_dataset(dose_gy, patient.dose_grid, patient.study, plan=None, structure_set=None, bits=16)


def test_absolute_offsets_are_the_heights_of_the_planes(patient: SmallPatient) -> None:
    dose_gy = patient.dose.on(patient.dose_grid)
    ds = rtdose_dataset(dose_gy, patient.dose_grid, patient.study, plan=None, structure_set=None, absolute_offsets=True)
    offsets = [float(v) for v in ds.GridFrameOffsetVector]
    assert offsets == pytest.approx(patient.dose_grid.plane_positions_mm()[:, 2].tolist(), abs=1e-4)
    assert offsets[0] == float(ds.ImagePositionPatient[2])


def test_absolute_offsets_are_refused_where_the_standard_does_not_allow_them() -> None:
    with pytest.raises(ValueError, match="absolute"):
        small_patient(position="FFS", absolute_offsets=True)


def test_a_beam_dose_names_its_beam(patient: SmallPatient) -> None:
    ds = rtdose_dataset(
        patient.dose.on(patient.dose_grid),
        patient.dose_grid,
        patient.study,
        plan=patient.rtplan,
        structure_set=patient.rtstruct,
        summation="BEAM",
        beam_number=2,
    )
    group = ds.ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence[0]
    assert (group.ReferencedFractionGroupNumber, group.ReferencedBeamSequence[0].ReferencedBeamNumber) == (1, 2)


def test_stored_histograms_agree_with_the_exact_ones(patient: SmallPatient, read_back: dict[str, Dataset]) -> None:
    items = {item.DVHReferencedROISequence[0].ReferencedROINumber: item for item in read_back["RTDOSE"].DVHSequence}
    assert set(items) == {patient.roi("GTV").number, patient.roi("PTV").number}
    for name in ("GTV", "PTV"):
        stack, item = PrismStack.from_contours(patient.roi(name).contours), items[patient.roi(name).number]
        pairs = np.array(item.DVHData, float).reshape(-1, 2)
        assert len(pairs) == item.DVHNumberOfBins
        assert pairs[0, 1] == pytest.approx(stack.volume_cc(), abs=1e-4) and pairs[-1, 1] == 0
        assert np.all(np.diff(pairs[:, 1]) <= 0)
        lower_ends_gy = np.cumsum(pairs[:, 0]) - pairs[:, 0]
        at_50 = pairs[np.flatnonzero(lower_ends_gy == 50.0)[0], 1]
        assert at_50 == pytest.approx(stack.volume_above_cc(patient.dose, 50.0), abs=1e-4)
        # the mean is the area under the cumulative curve
        mean_gy = np.sum((pairs[1:, 1] + pairs[:-1, 1]) / 2 * pairs[1:, 0]) / pairs[0, 1]
        assert float(item.DVHMeanDose) == pytest.approx(mean_gy, abs=0.01)

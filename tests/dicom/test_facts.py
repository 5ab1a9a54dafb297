"""References and light facts of RT objects, as the contract shapes them."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import numpy as np
import pytest
from pydicom.dataset import Dataset

from rtpipeline.contracts import index
from rtpipeline.dicom.facts import is_rigid
from rtpipeline.dicom.header import read_header
from rtpipeline.dicom.window import Window
from tests.dicom.dicom_files import PLAN, ct_slice, dose, identified, item, part10, structure_set

ION = "1.2.840.10008.5.1.4.1.1.481.8"
REG = "1.2.840.10008.5.1.4.1.1.66.1"
RECORD = "1.2.840.10008.5.1.4.1.1.481.4"


def facts(ds: Dataset, shape: type | None = None) -> dict[str, Any]:
    row = read_header(Window.of_bytes(part10(ds))).row
    assert row is not None
    found: dict[str, Any] = json.loads(row["facts"])
    if shape is not None:
        assert set(found) == set(get_type_hints(shape))
    return found


def test_images_have_none() -> None:
    row = read_header(Window.of_bytes(part10(ct_slice()))).row
    assert row is not None and row["facts"] == ""


def test_a_structure_set_names_series_images_and_frames_once() -> None:
    assert facts(structure_set(), index.StructFacts) == {
        "label": "Plan",
        "approval_status": "APPROVED",
        "frame_uids": ["2.25.9", "2.25.99"],
        "referenced_series": ["2.25.2"],
        "referenced_images": ["2.25.2.1", "2.25.2.2"],
        "rois": 2,
        "rois_with_contours": 1,
        "contours": 2,
        "contour_points": [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]],
    }


def plan(sop_class: str = PLAN) -> Dataset:
    ds = identified(sop_class, "RTPLAN", "2.25.4.1", "2.25.4")
    ds.RTPlanLabel, ds.RTPlanGeometry, ds.PlanIntent, ds.ApprovalStatus = "P1", "PATIENT", "CURATIVE", "APPROVED"
    ds.ReferencedStructureSetSequence = [item(ReferencedSOPInstanceUID="2.25.3.1")]
    ds.ReferencedRTPlanSequence = [item(ReferencedSOPInstanceUID="2.25.4.9", RTPlanRelationship="PRIOR")]
    ds.ReferencedDoseSequence = [item(ReferencedSOPInstanceUID="2.25.5.1")]
    beams = [item(ReferencedBeamNumber=n, BeamDose=1) for n in (1, 2)]
    ds.FractionGroupSequence = [
        item(FractionGroupNumber=1, NumberOfFractionsPlanned=25, ReferencedBeamSequence=beams),
        item(FractionGroupNumber=2),
    ]
    ds.DoseReferenceSequence = [
        item(DoseReferenceType="TARGET", TargetPrescriptionDose="50.0"),
        item(DoseReferenceType="ORGAN_AT_RISK", TargetPrescriptionDose="20"),
        item(DoseReferenceType="TARGET"),
    ]
    return ds


def test_a_plan_names_its_structure_set_groups_and_prescriptions() -> None:
    assert facts(plan(), index.PlanFacts) == {
        "label": "P1",
        "plan_class": "photon",
        "approval_status": "APPROVED",
        "intent": "CURATIVE",
        "geometry": "PATIENT",
        "structure_set_uid": "2.25.3.1",
        "referenced_plans": [{"uid": "2.25.4.9", "relationship": "PRIOR"}],
        "referenced_doses": ["2.25.5.1"],
        "fraction_groups": [
            {"number": 1, "fractions_planned": 25, "beams": [1, 2], "setups": []},
            {"number": 2, "fractions_planned": None, "beams": [], "setups": []},
        ],
        "rx_gy": [50.0],
    }


def test_the_class_of_a_plan_is_told_by_sop_class_and_setups() -> None:
    assert facts(plan(ION))["plan_class"] == "ion"
    ds = plan()
    ds.ApplicationSetupSequence = [item(ApplicationSetupNumber=1)]
    group = ds.FractionGroupSequence[1]
    group.ReferencedBrachyApplicationSetupSequence = [item(ReferencedBrachyApplicationSetupNumber=3)]
    found = facts(ds)
    assert found["plan_class"] == "brachy"
    assert found["fraction_groups"][1]["setups"] == [3]


def test_a_dose_names_every_plan_and_the_beams_it_covers() -> None:
    ds = dose()
    ds.ReferencedRTPlanSequence.append(item(ReferencedSOPInstanceUID="2.25.4.2"))
    assert facts(ds, index.DoseFacts) == {
        "units": "GY",
        "dose_type": "PHYSICAL",
        "summation_type": "BEAM",
        "scaling": 0.001,
        "plan_uids": ["2.25.4.1", "2.25.4.2"],
        "structure_set_uids": [],
        "fraction_group": 1,
        "beams": [2],
        "has_pixels": True,
        "has_dvh": False,
        "offsets": [0.0, 2.0, 4.0],
    }


def test_a_missing_scaling_is_null_and_no_number() -> None:
    ds = dose()
    del ds.DoseGridScaling
    assert facts(ds)["scaling"] is None


def registration(matrix: list[float], frames: tuple[str, ...] = ("2.25.9", "2.25.10")) -> Dataset:
    ds = identified(REG, "REG", "2.25.6.1", "2.25.6")
    ds.FrameOfReferenceUID = frames[0]
    ds.RegistrationSequence = []
    for frame in frames:
        one = item(FrameOfReferenceTransformationMatrix=matrix, FrameOfReferenceTransformationMatrixType="RIGID")
        ds.RegistrationSequence.append(
            item(FrameOfReferenceUID=frame, MatrixRegistrationSequence=[item(MatrixSequence=[one])])
        )
    return ds


IDENTITY = [float(v) for v in np.eye(4).ravel()]


def test_a_rigid_registration_of_two_frames_is_valid() -> None:
    found = facts(registration(IDENTITY), index.RegFacts)
    assert found == {"frame_uids": ["2.25.9", "2.25.10"], "matrix_types": ["RIGID"], "valid": True, "problem": ""}


@pytest.mark.parametrize(
    ("ds", "problem"),
    [
        (registration(IDENTITY, ("2.25.9",)), "1 frame of reference UIDs, 2 needed"),
        (registration([2.0, *IDENTITY[1:]]), "a matrix that is not rigid"),
        (registration([-1.0, *IDENTITY[1:]]), "a matrix that is not rigid"),
        (identified(REG, "REG", "2.25.6.1", "2.25.6"), "no transformation matrix"),
    ],
)
def test_what_no_transform_can_be_made_of_is_invalid_with_the_reason(ds: Dataset, problem: str) -> None:
    found = facts(ds)
    assert (found["valid"], found["problem"]) == (False, problem)


@pytest.mark.parametrize("seed", range(5))
def test_rotations_are_rigid_and_reflections_and_shears_are_not(seed: int) -> None:
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, [10, -20, 30]
    assert is_rigid(matrix.ravel().tolist())
    for factor in (np.diag([1, 1, -1]), np.array([[1, 0.1, 0], [0, 1, 0], [0, 0, 1]]), np.diag([1.01, 1, 1])):
        spoiled = matrix.copy()
        spoiled[:3, :3] = rotation @ factor
        assert not is_rigid(spoiled.ravel().tolist())
    matrix[3] = [0, 0, 0.1, 1]
    assert not is_rigid(matrix.ravel().tolist())


def test_a_treatment_record_names_plan_fraction_and_date() -> None:
    ds = identified(RECORD, "RTRECORD", "2.25.8.1", "2.25.8")
    ds.TreatmentDate, ds.TreatmentTime = "20240203", "101112"
    ds.ReferencedRTPlanSequence = [item(ReferencedSOPInstanceUID="2.25.4.1")]
    ds.TreatmentSessionBeamSequence = [item(CurrentFractionNumber=3), item(CurrentFractionNumber=3)]
    assert facts(ds, index.RecordFacts) == {
        "plan_uids": ["2.25.4.1"],
        "fraction_numbers": [3],
        "date": "20240203",
        "time": "101112",
    }


def test_other_objects_name_plans_and_series() -> None:
    ds = identified("1.2.840.10008.5.1.4.1.1.66.4", "SEG", "2.25.7.1", "2.25.7")
    ds.ReferencedSeriesSequence = [item(SeriesInstanceUID="2.25.2")]
    assert facts(ds, index.ReferenceFacts) == {"plan_uids": [], "series_uids": ["2.25.2"]}

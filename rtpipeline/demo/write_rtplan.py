"""RT Plan Storage for photon beams (PS3.3 A.20)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTPlanStorage

from rtpipeline.demo.grid import Xyz
from rtpipeline.demo.headers import Study, decimal_text, decimal_texts, new_object, reference_to


@dataclass(frozen=True)
class Prescription:
    """A TARGET dose reference: the whole plan's dose in Gy to one ROI (`roi_number` None: to no ROI in particular)."""

    dose_gy: float
    roi_number: int | None
    description: str = ""


@dataclass(frozen=True)
class Beam:
    """A photon beam: `dose_share` of the plan's dose per fraction (BeamDose), an arc when it has a stop angle."""

    number: int
    name: str
    gantry_angle_deg: float
    dose_share: float
    arc_stop_deg: float | None = None
    energy_mv: float = 6.0
    meterset_mu: float = 220.0


TWO_ARCS = (Beam(1, "Arc 1", 181.0, 0.5, arc_stop_deg=179.0), Beam(2, "Arc 2", 179.0, 0.5, arc_stop_deg=181.0))
TWO_FIELDS = (Beam(1, "AP", 0.0, 0.6, meterset_mu=131.5), Beam(2, "PA", 180.0, 0.4, energy_mv=15.0, meterset_mu=94.2))


@dataclass(frozen=True)
class Plan:
    """What a plan says: its label, its date (YYYYMMDD), fractions and prescriptions."""

    label: str
    date: str
    fractions: int
    prescriptions: tuple[Prescription, ...]
    isocentre_mm: Xyz
    beams: tuple[Beam, ...] = TWO_ARCS
    machine: str = "DEMO_LINAC"
    time: str = "140000"

    @property
    def dose_per_fraction_gy(self) -> float:
        """Of the highest prescription."""
        return max(p.dose_gy for p in self.prescriptions) / self.fractions


def rtplan_dataset(
    plan: Plan,
    study: Study,
    structure_set: Dataset | None,
    *,
    approval: str = "APPROVED",
    intent: str = "CURATIVE",
    series_number: int = 3,
) -> Dataset:
    """The plan, made on `structure_set` (None: RTPlanGeometry TREATMENT_DEVICE, without a reference)."""
    ds = new_object(
        study,
        sop_class_uid=RTPlanStorage,
        sop_instance_uid=study.uids("plan", plan.label),
        modality="RTPLAN",
        date=plan.date,
        time=plan.time,
    )
    ds.SeriesDate, ds.SeriesTime, ds.SeriesDescription = plan.date, plan.time, "Plans"
    ds.SeriesInstanceUID, ds.SeriesNumber = study.uids("plan series", plan.label), series_number
    ds.OperatorsName, ds.InstanceNumber = "", 1
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = study.frame_of_reference_uid, ""
    ds.RTPlanLabel, ds.RTPlanName = plan.label, plan.label
    ds.RTPlanDescription = "VMAT" if plan.beams[0].arc_stop_deg is not None else "3D conformal"
    ds.RTPlanDate, ds.RTPlanTime = plan.date, plan.time
    ds.PlanIntent = intent
    ds.RTPlanGeometry = "PATIENT" if structure_set is not None else "TREATMENT_DEVICE"
    if structure_set is not None:
        ds.ReferencedStructureSetSequence = [reference_to(structure_set)]
    ds.DoseReferenceSequence = [_dose_reference(i, p, study, plan) for i, p in enumerate(plan.prescriptions, start=1)]
    ds.FractionGroupSequence = [_fraction_group(plan)]
    ds.PatientSetupSequence = [_patient_setup(study)]
    ds.BeamSequence = [_beam(beam, plan) for beam in plan.beams]
    ds.ApprovalStatus = approval
    if approval != "UNAPPROVED":
        ds.ReviewDate, ds.ReviewTime, ds.ReviewerName = plan.date, plan.time, "Demo^Reviewer"
    return ds


def _dose_reference(number: int, prescription: Prescription, study: Study, plan: Plan) -> Dataset:
    item = Dataset()
    item.DoseReferenceNumber = number
    item.DoseReferenceUID = study.uids("dose reference", plan.label, number)
    if prescription.roi_number is None:
        item.DoseReferenceStructureType = "SITE"
    else:
        item.ReferencedROINumber = prescription.roi_number
        item.DoseReferenceStructureType = "VOLUME"
    item.DoseReferenceDescription = prescription.description
    item.DoseReferenceType = "TARGET"
    item.TargetPrescriptionDose = decimal_text(prescription.dose_gy)
    return item


def _fraction_group(plan: Plan) -> Dataset:
    group = Dataset()
    group.FractionGroupNumber = 1
    group.NumberOfFractionsPlanned = plan.fractions
    group.NumberOfBeams = len(plan.beams)
    group.NumberOfBrachyApplicationSetups = 0
    group.ReferencedBeamSequence = []
    for beam in plan.beams:
        item = Dataset()
        item.BeamDose = decimal_text(plan.dose_per_fraction_gy * beam.dose_share)
        item.BeamMeterset = decimal_text(beam.meterset_mu)
        item.ReferencedBeamNumber = beam.number
        group.ReferencedBeamSequence.append(item)
    return group


def _patient_setup(study: Study) -> Dataset:
    item = Dataset()
    item.PatientPosition = study.patient_position
    item.PatientSetupNumber = 1
    item.SetupTechnique = "ISOCENTRIC"
    return item


def _beam(beam: Beam, plan: Plan) -> Dataset:
    item = Dataset()
    item.Manufacturer = "RTpipeline"
    item.TreatmentMachineName, item.PrimaryDosimeterUnit, item.SourceAxisDistance = plan.machine, "MU", "1000"
    item.BeamLimitingDeviceSequence = [_jaw("ASYMX"), _jaw("ASYMY")]
    item.BeamNumber, item.BeamName = beam.number, beam.name
    item.BeamType = "STATIC" if beam.arc_stop_deg is None else "DYNAMIC"
    item.RadiationType, item.TreatmentDeliveryType = "PHOTON", "TREATMENT"
    item.NumberOfWedges = item.NumberOfCompensators = item.NumberOfBoli = item.NumberOfBlocks = 0
    item.FinalCumulativeMetersetWeight = "1"
    item.NumberOfControlPoints = 2
    item.ReferencedPatientSetupNumber = 1
    item.ControlPointSequence = [_first_control_point(beam, plan.isocentre_mm), _last_control_point(beam)]
    return item


def _jaw(device: str) -> Dataset:
    item = Dataset()
    item.RTBeamLimitingDeviceType, item.NumberOfLeafJawPairs = device, 1
    return item


def _first_control_point(beam: Beam, isocentre_mm: Sequence[float]) -> Dataset:
    item = Dataset()
    item.ControlPointIndex, item.CumulativeMetersetWeight = 0, "0"
    item.NominalBeamEnergy = decimal_text(beam.energy_mv)
    item.BeamLimitingDevicePositionSequence = []
    for device in ("ASYMX", "ASYMY"):
        position = Dataset()
        position.RTBeamLimitingDeviceType, position.LeafJawPositions = device, ["-50", "50"]
        item.BeamLimitingDevicePositionSequence.append(position)
    item.GantryAngle = decimal_text(beam.gantry_angle_deg)
    item.GantryRotationDirection = _direction(beam)
    item.BeamLimitingDeviceAngle, item.BeamLimitingDeviceRotationDirection = "0", "NONE"
    item.PatientSupportAngle, item.PatientSupportRotationDirection = "0", "NONE"
    item.TableTopEccentricAngle, item.TableTopEccentricRotationDirection = "0", "NONE"
    item.TableTopVerticalPosition = item.TableTopLongitudinalPosition = item.TableTopLateralPosition = ""
    item.IsocenterPosition = decimal_texts(np.asarray(isocentre_mm))
    return item


def _last_control_point(beam: Beam) -> Dataset:
    item = Dataset()
    item.ControlPointIndex, item.CumulativeMetersetWeight = 1, "1"
    if beam.arc_stop_deg is not None:
        item.GantryAngle, item.GantryRotationDirection = decimal_text(beam.arc_stop_deg), "NONE"
    return item


def _direction(beam: Beam) -> str:
    if beam.arc_stop_deg is None:
        return "NONE"
    return "CW" if beam.gantry_angle_deg > beam.arc_stop_deg else "CC"

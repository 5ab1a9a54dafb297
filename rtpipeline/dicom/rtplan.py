"""RT Plan and RT Ion Plan (PS3.3 C.8.8.9 to C.8.8.15, C.8.8.25): facts, each read where the standard puts it.

A prescription is a TargetPrescriptionDose of a TARGET dose reference and nothing else. BeamDose x fractions is reported
beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.dicom.element_values import integer, items, number, term, text
from rtpipeline.dicom.plan_beams import PlanBeam, parse_beams

RT_ION_PLAN = "1.2.840.10008.5.1.4.1.1.481.8"

LEVEL_TOLERANCE_GY = 1e-3
"""Prescriptions this close are one level (decimal strings of different length)."""


@dataclass(frozen=True)
class DoseReference:
    """An item of DoseReferenceSequence. Doses in Gy, for the whole plan (PS3.3 C.8.8.10)."""

    number: int | None
    structure_type: str
    """POINT, VOLUME, COORDINATES or SITE"""
    reference_type: str
    """TARGET or ORGAN_AT_RISK"""
    roi_number: int | None
    target_prescription_gy: float | None
    target_minimum_gy: float | None
    target_maximum_gy: float | None
    delivery_maximum_gy: float | None
    organ_at_risk_maximum_gy: float | None


@dataclass(frozen=True)
class GroupItem:
    """A beam or application setup within a fraction group. dose_gy: of one fraction, at the item's own point."""

    number: int
    dose_gy: float | None
    meterset: float | None


@dataclass(frozen=True)
class FractionGroup:
    """An item of FractionGroupSequence; it holds beams or application setups, not both."""

    number: int | None
    fractions_planned: int | None
    beams: tuple[GroupItem, ...]
    setups: tuple[GroupItem, ...]

    @property
    def items(self) -> tuple[GroupItem, ...]:
        """Beams and setups."""
        return self.beams + self.setups


@dataclass(frozen=True)
class RelatedPlan:
    """An item of ReferencedRTPlanSequence; relationship: PRIOR, ALTERNATIVE, PREDECESSOR, VERIFIED_PLAN, CONCURRENT."""

    plan_uid: str
    relationship: str


@dataclass(frozen=True)
class RtPlan:
    """What a plan states. Names of machines are kept for hashing only: they may name a hospital."""

    plan_class: str
    """photon (photon and electron beams), ion, brachy, or unknown"""
    approval_status: str
    intent: str
    geometry: str
    structure_set_uid: str
    frame_uid: str
    dose_references: tuple[DoseReference, ...]
    fraction_groups: tuple[FractionGroup, ...]
    beams: tuple[PlanBeam, ...]
    related_plans: tuple[RelatedPlan, ...]
    dose_uids: tuple[str, ...]
    """ReferencedDoseSequence"""
    brachy_type: str
    brachy_technique: str
    setups: int
    manufacturer: str
    model: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def levels(self) -> tuple[DoseReference, ...]:
        """Dose references that state a prescription level.

        A reference by COORDINATES is a point where a system also writes what it calculated (Eclipse): it states a level
        only in a plan that prescribes to nothing larger.
        """
        stated = [
            r for r in self.dose_references if r.reference_type == "TARGET" and (r.target_prescription_gy or 0) > 0
        ]
        larger = [r for r in stated if r.structure_type != "COORDINATES"]
        return tuple(larger or stated)

    @property
    def rx_levels_gy(self) -> tuple[float, ...]:
        """Distinct prescription levels, ascending."""
        found: list[float] = []
        for dose in sorted(r.target_prescription_gy for r in self.levels if r.target_prescription_gy is not None):
            if not found or dose - found[-1] > LEVEL_TOLERANCE_GY:
                found.append(dose)
        return tuple(found)

    @property
    def rx_gy(self) -> float | None:
        """The prescription when there is one level."""
        return self.rx_levels_gy[0] if len(self.rx_levels_gy) == 1 else None

    @property
    def fractions_planned(self) -> int | None:
        """Of the fraction groups when they agree; None when they do not, or none states it."""
        stated = {g.fractions_planned for g in self.fraction_groups}
        return stated.pop() if len(stated) == 1 else None

    @property
    def beam_dose_total_gy(self) -> float | None:
        """Sum over fraction groups of fractions x beam doses; None when one of them is missing.

        Each beam dose is meant at a point of its own, so this is no dose of any point, and no prescription.
        """
        total = 0.0
        for group in self.fraction_groups:
            doses = [i.dose_gy for i in group.items if i.dose_gy is not None or self.delivers(group, i)]
            if group.fractions_planned is None or not doses or None in doses:
                return None
            total += group.fractions_planned * math.fsum(d for d in doses if d is not None)
        return total if self.fraction_groups else None

    def beam(self, number: int) -> PlanBeam | None:
        """The beam with this number."""
        return next((b for b in self.beams if b.number == number), None)

    def delivers(self, group: FractionGroup, item: GroupItem) -> bool:
        """Whether an item of a fraction group gives dose: setup fields and portal images do not.

        They are told by TreatmentDeliveryType, by a meterset of 0, or by having none beside beams that have one (older
        Eclipse calls its setup fields TREATMENT).
        """
        if self.plan_class == "brachy":
            return True
        beam = self.beam(item.number)
        if beam is not None and not beam.is_treatment:
            return False
        return bool(item.meterset) or all(i.meterset is None for i in group.items)


def parse_rtplan(ds: Dataset, name: str = "RTPLAN") -> RtPlan:
    """The facts of an RTPLAN object.

    Parameters
    ----------
    name: what findings call the object, such as `plan-01`.
    """
    setups = items(ds, "ApplicationSetupSequence")
    plan = RtPlan(
        plan_class=_plan_class(ds),
        approval_status=term(ds, "ApprovalStatus"),
        intent=term(ds, "PlanIntent"),
        geometry=term(ds, "RTPlanGeometry"),
        structure_set_uid=next(
            (text(i, "ReferencedSOPInstanceUID") for i in items(ds, "ReferencedStructureSetSequence")), ""
        ),
        frame_uid=text(ds, "FrameOfReferenceUID"),
        dose_references=tuple(_dose_reference(item) for item in items(ds, "DoseReferenceSequence")),
        fraction_groups=tuple(_fraction_group(item) for item in items(ds, "FractionGroupSequence")),
        beams=parse_beams(ds),
        related_plans=tuple(
            RelatedPlan(text(i, "ReferencedSOPInstanceUID"), term(i, "RTPlanRelationship"))
            for i in items(ds, "ReferencedRTPlanSequence")
        ),
        dose_uids=tuple(text(i, "ReferencedSOPInstanceUID") for i in items(ds, "ReferencedDoseSequence")),
        brachy_type=term(ds, "BrachyTreatmentType"),
        brachy_technique=term(ds, "BrachyTreatmentTechnique"),
        setups=len(setups),
        manufacturer=text(ds, "Manufacturer"),
        model=text(ds, "ManufacturerModelName"),
    )
    missing = _missing(plan)
    if missing:
        plan.findings.append(finding("PLAN_INCOMPLETE", name, "; ".join(missing)))
    return plan


def _plan_class(ds: Dataset) -> str:
    if text(ds, "SOPClassUID") == RT_ION_PLAN or items(ds, "IonBeamSequence"):
        return "ion"
    if items(ds, "ApplicationSetupSequence") or term(ds, "BrachyTreatmentType"):
        return "brachy"
    return "photon" if items(ds, "BeamSequence") else "unknown"


def _dose_reference(item: Dataset) -> DoseReference:
    return DoseReference(
        number=integer(item, "DoseReferenceNumber"),
        structure_type=term(item, "DoseReferenceStructureType"),
        reference_type=term(item, "DoseReferenceType"),
        roi_number=integer(item, "ReferencedROINumber"),
        target_prescription_gy=number(item, "TargetPrescriptionDose"),
        target_minimum_gy=number(item, "TargetMinimumDose"),
        target_maximum_gy=number(item, "TargetMaximumDose"),
        delivery_maximum_gy=number(item, "DeliveryMaximumDose"),
        organ_at_risk_maximum_gy=number(item, "OrganAtRiskMaximumDose"),
    )


def _fraction_group(group: Dataset) -> FractionGroup:
    beams = [
        GroupItem(beam_number, number(item, "BeamDose"), number(item, "BeamMeterset"))
        for item in items(group, "ReferencedBeamSequence")
        if (beam_number := integer(item, "ReferencedBeamNumber")) is not None
    ]
    setups = [
        GroupItem(setup_number, number(item, "BrachyApplicationSetupDose"), None)
        for item in items(group, "ReferencedBrachyApplicationSetupSequence")
        if (setup_number := integer(item, "ReferencedBrachyApplicationSetupNumber")) is not None
    ]
    return FractionGroup(
        number=integer(group, "FractionGroupNumber"),
        fractions_planned=integer(group, "NumberOfFractionsPlanned"),
        beams=tuple(beams),
        setups=tuple(setups),
    )


def _missing(plan: RtPlan) -> list[str]:
    """What a dose or a structure would need of the plan, and does not find."""
    found = []
    if not plan.fraction_groups:
        found.append("no fraction group")
    if any(not g.fractions_planned for g in plan.fraction_groups):
        found.append("number of fractions not stated")
    if plan.fraction_groups and not any(g.items for g in plan.fraction_groups):
        found.append("no beam or application setup in its fraction groups")
    if plan.plan_class != "brachy":
        named = {i.number for g in plan.fraction_groups for i in g.beams}
        absent = sorted(named - {b.number for b in plan.beams})
        if not plan.beams:
            found.append("no beams")
        elif absent:
            found.append(f"beams {', '.join(map(str, absent))} of its fraction groups not described")
    if plan.geometry != "TREATMENT_DEVICE" and not plan.structure_set_uid:
        found.append("no structure set referenced")
    return found

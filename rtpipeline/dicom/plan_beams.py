"""Beams of a plan (PS3.3 C.8.8.14, C.8.8.25): energy, motion and technique from their control points."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from rtpipeline.dicom.element_values import integer, items, number, numbers, term, text

NOT_TREATMENT = frozenset({"SETUP", "OPEN_PORTFILM", "TRMT_PORTFILM"})
"""TreatmentDeliveryType of fields that are no part of the planned dose."""

ARC_MIN_DEG = 1.0
"""A gantry that moves less than this while the beam is on stands still."""


@dataclass(frozen=True)
class PlanBeam:
    """One beam.

    technique: `static` (one aperture), `segmented` (several, beam off between them), `dynamic` (aperture moves),
    `arc` (gantry moves), `arc_modulated` (both), `scanned` or the ion scan mode in lower case; energies in MV, MeV or
    MeV/u by radiation type.
    """

    number: int | None
    beam_type: str
    radiation_type: str
    delivery_type: str
    technique: str
    energies: tuple[float, ...]
    fluence_mode: str
    """FluenceModeID of a non-standard fluence, such as FFF"""
    control_points: int
    gantry_start_deg: float | None
    gantry_span_deg: float
    meterset_unit: str
    machine_name: str
    manufacturer: str
    model: str
    final_meterset_weight: float | None

    @property
    def is_treatment(self) -> bool:
        """False for setup and portal fields."""
        return self.delivery_type not in NOT_TREATMENT


def parse_beams(ds: Dataset) -> tuple[PlanBeam, ...]:
    """Beams of a photon, electron or ion plan, in the order of the file."""
    photon = [(b, items(b, "ControlPointSequence")) for b in items(ds, "BeamSequence")]
    ion = [(b, items(b, "IonControlPointSequence")) for b in items(ds, "IonBeamSequence")]
    return tuple(_beam(beam, points) for beam, points in photon + ion)


def _beam(beam: Dataset, points: list[Dataset]) -> PlanBeam:
    energies = sorted({e for p in points if (e := number(p, "NominalBeamEnergy")) is not None and e > 0})
    start = number(points[0], "GantryAngle") if points else None
    span = _gantry_span_deg(points)
    return PlanBeam(
        number=integer(beam, "BeamNumber"),
        beam_type=term(beam, "BeamType"),
        radiation_type=term(beam, "RadiationType"),
        delivery_type=term(beam, "TreatmentDeliveryType"),
        technique=_technique(beam, points, span),
        energies=tuple(energies),
        fluence_mode=_fluence_mode(beam),
        control_points=len(points),
        gantry_start_deg=start,
        gantry_span_deg=span,
        meterset_unit=term(beam, "PrimaryDosimeterUnit"),
        machine_name=text(beam, "TreatmentMachineName"),
        manufacturer=text(beam, "Manufacturer"),
        model=text(beam, "ManufacturerModelName"),
        final_meterset_weight=number(beam, "FinalCumulativeMetersetWeight"),
    )


def _fluence_mode(beam: Dataset) -> str:
    modes = items(beam, "PrimaryFluenceModeSequence")
    return term(modes[0], "FluenceModeID") if modes and term(modes[0], "FluenceMode") == "NON_STANDARD" else ""


def _gantry_span_deg(points: list[Dataset]) -> float:
    """Degrees that the gantry turns in all; an angle or direction not repeated is the one before (C.8.8.14.5)."""
    span, angle, direction = 0.0, None, "NONE"
    for point in points:
        following = number(point, "GantryAngle")
        if following is not None and angle is not None:
            clockwise = (following - angle) % 360.0
            turned = {"CW": clockwise, "CC": (angle - following) % 360.0}
            span += turned.get(direction, min(clockwise, 360.0 - clockwise))
        angle = following if following is not None else angle
        direction = term(point, "GantryRotationDirection") or direction
    return span


def _technique(beam: Dataset, points: list[Dataset], span_deg: float) -> str:
    scan = term(beam, "ScanMode")
    if scan and scan != "NONE":
        return "scanned" if scan.startswith("MODULATED") else scan.lower()
    apertures = _apertures(points)
    if span_deg > ARC_MIN_DEG:
        return "arc_modulated" if apertures > 1 else "arc"
    if apertures <= 1:
        return "static"
    return "dynamic" if term(beam, "BeamType") == "DYNAMIC" else "segmented"


def _apertures(points: list[Dataset]) -> int:
    """Distinct sets of jaw and leaf positions over the control points."""
    current: dict[str, tuple[float, ...]] = {}
    seen = set()
    for point in points:
        for device in items(point, "BeamLimitingDevicePositionSequence"):
            positions = numbers(device, "LeafJawPositions")
            if positions is not None:
                current[term(device, "RTBeamLimitingDeviceType")] = positions
        if current:
            seen.add(tuple(sorted(current.items())))
    return len(seen)

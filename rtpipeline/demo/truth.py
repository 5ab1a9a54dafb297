"""What is true of a demo patient, computed from the contours as they are written and the dose as a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtpipeline.demo.grid import GridGeometry
from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.patients import DemoPatient, Phase
from rtpipeline.demo.prism_stack import PrismStack
from rtpipeline.demo.rois import Roi
from rtpipeline.demo.solids import Ellipsoid, sphere

TOLERANCES = {"volume_pct": 0.1, "dose_pct": 0.5, "dose_coverage_pct": 0.1, "derived_volume_pct": 10.0}
"""What a reader should allow: volumes and doses in percent of the true value, coverage in percentage points.

Derived structures are made of whole voxels, so their volumes carry the error of voxels against spheres."""

DEFINITIONS = {
    "volume_ideal_cc": "closed form of the solid that was drawn (sphere, ellipsoid, capsule, elliptic tube, shell)",
    "volume_cc": "contours as written: even-odd area of each plane times its slab, half the gap to each neighbour and "
    "half a gap beyond the ends",
    "dmin_gy, dmax_gy, dmean_gy, d98_gy, d95_gy, d50_gy, d2_gy": "of that stack of prisms in the dose, which is linear "
    "in patient coordinates; exact but for the stored dose's rounding of 5e-7 Gy",
    "dose_coverage_pct": "share of the stack inside the dose grids: all of it, for every structure",
    "derived": "volume in cc of the structures that custom_structures.yaml derives: closed forms of the solids",
    "total": "physical sum over the plans; a table of results holds it where `total_proved`",
    "total_proved": "true where there is more than one plan and records show all fractions of each",
    "delivered": "fractions with a treatment record; day counts from the CT, delivered_mu is the sum over beams",
}

SIGNIFICANT_DIGITS = 10


@dataclass(frozen=True)
class PlannedDose:
    """One plan's dose as a formula, with the grid of the objects that hold it."""

    phase: Phase
    dose: LinearDose
    grid: GridGeometry


def structure_truth(roi: Roi) -> dict[str, Any]:
    """Number, type and both volumes of one ROI."""
    if roi.solid is None:
        raise ValueError(f"ROI {roi.number} was not drawn from a solid")
    return {
        "roi_number": roi.number,
        "interpreted_type": roi.interpreted_type,
        "contours": len(roi.contours),
        "volume_ideal_cc": rounded(roi.solid.volume_cc()),
        "volume_cc": rounded(PrismStack.from_contours(roi.contours).volume_cc()),
    }


def dvh_truth(rois: Mapping[str, Roi], planned: Sequence[PlannedDose]) -> dict[str, dict[str, dict[str, float]]]:
    """Per plan label and for "total": the metrics of every structure, all of which the dose grids cover."""
    if not planned:
        return {}
    stacks = {roi.name: PrismStack.from_contours(roi.contours) for roi in rois.values()}
    sets = {p.phase.label: [p] for p in planned} | {"total": list(planned)}
    truth: dict[str, dict[str, dict[str, float]]] = {}
    for label, parts in sets.items():
        dose = parts[0].dose
        for part in parts[1:]:
            dose = dose + part.dose
        truth[label] = {name: _metrics(stack, dose, [p.grid for p in parts]) for name, stack in stacks.items()}
    return truth


def _metrics(stack: PrismStack, dose: LinearDose, grids: Sequence[GridGeometry]) -> dict[str, float]:
    for grid in grids:
        if not covers(grid, stack):
            raise ValueError("a structure reaches beyond the dose grid, where its dose is unknown")
    return {"dose_coverage_pct": 100.0, **{name: rounded(gy) for name, gy in stack.metrics(dose).items()}}


def covers(grid: GridGeometry, stack: PrismStack) -> bool:
    """Whether the whole stack lies within the box of the grid's voxel centres."""
    lower, upper = grid.bounds_mm()
    inside = (stack.start_mm >= lower[:2]).all() and (stack.start_mm <= upper[:2]).all()
    return bool(inside and stack.slab_mm.min() >= lower[2] and stack.slab_mm.max() <= upper[2])


def plan_truth(patient: DemoPatient, phase: Phase, rois: Mapping[str, Roi]) -> dict[str, Any]:
    """What the plan says, with prescriptions by the ROI's name (None: tied to no ROI)."""
    return {
        "fractions": phase.fractions,
        "day": phase.days_after_ct,
        "beams": len(phase.beams),
        "prescriptions": [
            {"structure": rois[key].name if key is not None else None, "rx_gy": gy} for key, gy in phase.levels
        ],
        "dose_summation_type": phase.summation,
        "dose_objects": len(phase.gradients_gy_per_mm),
        "delivered": [
            {
                "fraction": fraction.number,
                "day": (fraction.day - patient.day_after(0)).days,
                "delivered_mu": rounded(sum(beam.meterset_mu + fraction.excess_mu for beam in phase.beams)),
            }
            for fraction in patient.fractions(phase)
        ],
    }


def rx_truth(phases: Sequence[Phase], rois: Mapping[str, Roi]) -> dict[str, float]:
    """Total prescription of each target; a level without an ROI belongs to the only PTV."""
    totals: dict[str, float] = {}
    for phase in phases:
        for key, gy in phase.levels:
            name = rois[key if key is not None else "PTV"].name
            totals[name] = totals.get(name, 0.0) + gy
    return totals


def patient_truth(
    patient: DemoPatient, rois: Mapping[str, Roi], planned: Sequence[PlannedDose], *, images: int, lesion_cc: float
) -> dict[str, Any]:
    """All that is known about one patient, but for identifiers and file names."""
    kind = patient.kind
    return {
        "kind": kind.course_kind,
        "description": kind.description,
        "patient_position": kind.position,
        "images": images,
        "spacing_xyz_mm": list(kind.spacing_xyz_mm),
        "structure_sets": int(bool(rois)),
        "plans": {phase.label: plan_truth(patient, phase, rois) for phase in kind.phases},
        "total_proved": len(kind.phases) > 1 and all(p.fractions_recorded == p.fractions for p in kind.phases),
        "doses": sum(len(phase.gradients_gy_per_mm) for phase in kind.phases),
        "rx_gy": rx_truth(kind.phases, rois),
        "lesion_cc": rounded(lesion_cc),
        "structures": {roi.name: structure_truth(roi) for roi in rois.values()},
        "derived": derived_truth(rois),
        "dvh": dvh_truth(rois, planned),
    }


GROWN_MM = 5.0
"""Margin of `GTV_grown_5mm` in custom_structures.yaml."""


def derived_truth(rois: Mapping[str, Roi]) -> dict[str, float]:
    """Closed-form volumes in cc of the structures of custom_structures.yaml whose sources this patient has."""
    truth = {}
    gtv = rois["GTV"].solid if "GTV" in rois else None
    if isinstance(gtv, Ellipsoid):  # a sphere: its semi-axes are equal, so a margin gives a sphere again
        radius_mm = gtv.semi_axes_mm[0]
        grown = sphere(gtv.centre_mm, radius_mm + GROWN_MM).volume_cc()
        truth = {"GTV_grown_5mm": rounded(grown), "GTV_shell_5mm": rounded(grown - gtv.volume_cc())}
    lungs = [rois[key].solid for key in ("LUNG_LEFT", "LUNG_RIGHT") if key in rois]
    if len(lungs) == 2:
        truth["Lungs"] = rounded(sum(lung.volume_cc() for lung in lungs if lung is not None))
    return truth


def rounded(value: float) -> float:
    """To ten significant digits, so that the file does not show the last bits of a platform."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")

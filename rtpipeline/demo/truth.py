"""What is true of a demo patient, computed from the contours as they are written and the dose as a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtpipeline.demo.grid import GridGeometry
from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.patients import DemoPatient, Phase
from rtpipeline.demo.prism_stack import PrismStack
from rtpipeline.demo.rois import Roi, area_mm2
from rtpipeline.demo.solids import Polygon

TOLERANCES = {"volume_pct": 0.1, "dose_pct": 0.5, "dose_coverage_pct": 0.5}
"""What a reader should allow: volumes and doses in percent of the value, coverage in percentage points."""

DEFINITIONS = {
    "volume_ideal_cc": "closed form of the solid that was drawn (sphere, ellipsoid, capsule, elliptic tube, shell)",
    "volume_cc": "contours as written: even-odd area of each plane times its slab, half the gap to each neighbour and "
    "half a gap beyond the ends",
    "dmin_gy, dmax_gy, dmean_gy, d98_gy, d95_gy, d50_gy, d2_gy": "of that stack of prisms in the dose, which is linear "
    "in patient coordinates; exact but for the stored dose's rounding of 5e-7 Gy",
    "dose_coverage_pct": "share of that stack inside the voxel centres' bounding box of every dose grid concerned",
    "total": "physical sum over the plans",
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


def dvh_truth(rois: Mapping[str, Roi], planned: Sequence[PlannedDose]) -> dict[str, dict[str, Any]]:
    """Per plan label and for "total": the metrics of every structure that the grids cover; coverage alone for others."""
    if not planned:
        return {}
    stacks = {roi.name: PrismStack.from_contours(roi.contours) for roi in rois.values()}
    sets = {p.phase.label: [p] for p in planned} | {"total": list(planned)}
    truth: dict[str, dict[str, Any]] = {}
    for label, parts in sets.items():
        dose = parts[0].dose
        for part in parts[1:]:
            dose = dose + part.dose
        truth[label] = {name: _metrics(stack, dose, [p.grid for p in parts]) for name, stack in stacks.items()}
    return truth


def _metrics(stack: PrismStack, dose: LinearDose, grids: Sequence[GridGeometry]) -> dict[str, Any]:
    coverage_pct = covered_pct(stack, grids)
    if coverage_pct < 100:
        return {"dose_coverage_pct": rounded(coverage_pct)}
    return {"dose_coverage_pct": 100.0, **{name: rounded(gy) for name, gy in stack.metrics(dose).items()}}


def covered_pct(stack: PrismStack, grids: Sequence[GridGeometry]) -> float:
    """Share of the stack's volume inside the box of voxel centres common to all grids.

    Exactly 100 when no vertex is outside; otherwise for convex contours only (bodies are the ones that stick out).
    """
    lower = np.max([grid.bounds_mm()[0] for grid in grids], axis=0)
    upper = np.min([grid.bounds_mm()[1] for grid in grids], axis=0)
    corners = np.column_stack([np.vstack([stack.start_mm] * 2), stack.slab_mm.T.ravel()])
    if (corners >= lower).all() and (corners <= upper).all():
        return 100.0
    covered_mm3 = 0.0
    for slab in np.unique(stack.slab_mm, axis=0):
        height = min(slab[1], upper[2]) - max(slab[0], lower[2])
        if height > 0:
            polygon = stack.start_mm[(stack.slab_mm == slab).all(axis=1)]
            clipped = clip_convex(polygon, lower, upper)
            covered_mm3 += height * abs(area_mm2(clipped)) if len(clipped) else 0.0
    return float(covered_mm3 / (stack.volume_cc() * 1000) * 100)


def clip_convex(polygon: Polygon, lower_mm: np.ndarray, upper_mm: np.ndarray) -> Polygon:
    """A convex polygon cut by an upright rectangle (Sutherland and Hodgman 1974); possibly without vertices."""
    for axis in (0, 1):
        for sign, bound in ((1.0, lower_mm[axis]), (-1.0, -upper_mm[axis])):
            kept: list[np.ndarray] = []
            for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                inside_start, inside_end = sign * start[axis] - bound, sign * end[axis] - bound
                if inside_start >= 0:
                    kept.append(start)
                if (inside_start >= 0) != (inside_end >= 0):
                    kept.append(start + (end - start) * inside_start / (inside_start - inside_end))
            polygon = np.array(kept).reshape(-1, 2)
    return polygon


def plan_truth(phase: Phase, rois: Mapping[str, Roi]) -> dict[str, Any]:
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
        "plans": {phase.label: plan_truth(phase, rois) for phase in kind.phases},
        "doses": sum(len(phase.gradients_gy_per_mm) for phase in kind.phases),
        "rx_gy": rx_truth(kind.phases, rois),
        "lesion_cc": rounded(lesion_cc),
        "structures": {roi.name: structure_truth(roi) for roi in rois.values()},
        "dvh": dvh_truth(rois, planned),
    }


def rounded(value: float) -> float:
    """To ten significant digits, so that the file does not show the last bits of a platform."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")

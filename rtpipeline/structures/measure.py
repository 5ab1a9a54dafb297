"""What a structure measures as a solid, and what is odd about it. Arrays and grids in, numbers and findings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.contracts.findings import Finding, Severity, finding
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import compute_dvh
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.solid import EmptySolidError, NonPlanarContourError, PrismSolid

TINY_CC = 0.1
"""SS_TINY: below this volume cells are finer and no features are computed."""

ON_SLICE_MM = 0.1
"""A contour this near to an image plane lies on it (positions are written with 1 to 3 decimals)."""

OUTSIDE_REPORT_PCT = 0.01
"""Less than this part outside the image is rounding at its edge."""


@dataclass(frozen=True)
class Measured:
    """A structure's solid with its status; `solid` is None when there is none."""

    status: str
    solid: PrismSolid | None
    outside_image_pct: float | None
    findings: tuple[Finding, ...]


def measure(
    contours: Sequence[NDArray[np.float64]], planes: Grid | None, label: str, *, voxel: Grid | None = None
) -> Measured:
    """Solid of a structure's closed contours, and the findings that need the solid or the image.

    Parameters
    ----------
    contours: (n, 3) each, patient mm.
    planes: the planes of the image that the structure set is bound to; None without an image.
    label: how findings name the structure.
    voxel: the grid of the image's volume, where it has planes in place of missing slices; contours on them are on
        a slice.
    """
    thickness_mm = planes.plane_spacing_mm if planes is not None else None
    try:
        solid = PrismSolid.from_contours(contours, single_plane_thickness_mm=thickness_mm)
    except EmptySolidError:
        return Measured("degenerate", None, None, ())
    except NonPlanarContourError as error:
        return Measured("nonplanar", None, None, (finding("SS_CONTOUR_NONPLANAR", label, str(error)),))
    findings = list(_shape_findings(solid, label))
    outside_pct = None
    if planes is not None:
        findings += _slice_findings(solid, planes, label, voxel or planes)
        outside_pct = _outside_pct(solid, planes)
        if outside_pct is not None and outside_pct > OUTSIDE_REPORT_PCT:
            findings.append(finding("SS_OUTSIDE_IMAGE", label, f"{outside_pct:.2f} % of the volume outside the image"))
    status = "ok" if solid.volume_cc is not None else "no_volume"
    return Measured(status, solid, outside_pct, tuple(findings))


def _shape_findings(solid: PrismSolid, label: str) -> list[Finding]:
    found = []
    if solid.volume_cc is None:
        found.append(finding("SS_NO_VOLUME", label, "contours in one plane, no image bound"))
    elif solid.volume_cc < TINY_CC:
        found.append(finding("SS_TINY", label, f"{solid.volume_cc:.4f} cc"))
    if solid.n_gaps:
        largest = float(np.diff(solid.plane_offsets_mm).max())
        measured = (
            f"{solid.n_gaps} gaps, the largest {largest:.2f} mm; nominal spacing {solid.nominal_spacing_mm:.2f} mm"
        )
        found.append(finding("SS_SLICE_GAP", label, measured))
    return found


def _slice_findings(solid: PrismSolid, planes: Grid, label: str, voxel: Grid) -> list[Finding]:
    """SS_CONTOUR_OFF_SLICE: contour planes between image planes. Planes outside the image are another finding's."""
    if abs(float(solid.normal @ planes.normal)) < 1.0 - 1e-6:
        angle = np.degrees(np.arccos(np.clip(abs(float(solid.normal @ planes.normal)), 0.0, 1.0)))
        return [
            finding(
                "SS_CONTOUR_OFF_SLICE",
                label,
                f"contour planes at {angle:.2f} degrees to the image planes",
                severity=Severity.WARNING,
            )
        ]
    sign = 1.0 if float(solid.normal @ planes.normal) > 0 else -1.0
    heights = [g.plane_offsets_mm + float(g.origin_xyz_mm @ planes.normal) for g in (planes, voxel)]
    image_mm = np.sort(sign * np.concatenate(heights))
    offsets = solid.plane_offsets_mm
    spacing = planes.plane_spacing_mm or 0.0
    within = (offsets > image_mm[0] - spacing / 2) & (offsets < image_mm[-1] + spacing / 2)
    if not within.any():
        return []
    distance = np.abs(offsets[within, None] - image_mm[None, :]).min(axis=1)
    off = distance > ON_SLICE_MM
    if not off.any():
        return []
    measured = f"{int(off.sum())} of {len(offsets)} contour planes, up to {float(distance.max()):.2f} mm off the slices"
    severity = Severity.INFO if distance.max() <= spacing / 2 + ON_SLICE_MM else Severity.WARNING
    return [finding("SS_CONTOUR_OFF_SLICE", label, measured, severity=severity)]


def _outside_pct(solid: PrismSolid, planes: Grid) -> float | None:
    """Part of the solid outside the outer faces of the image's voxels, percent; None without volume or thickness."""
    if not solid.volume_cc or planes.plane_spacing_mm is None:
        return None
    box = _image_box(planes)
    corners = solid.corners_xyz_mm @ box.patient_to_plane_matrix[:, :3].T + box.patient_to_plane_matrix[:, 3]
    low = np.array([box.plane_offsets_mm.min(), 0.0, 0.0])
    high = np.array([box.plane_offsets_mm.max(), 1.0, 1.0])
    if np.all(corners >= low) and np.all(corners <= high):
        return 0.0
    return 100.0 - compute_dvh(solid, DoseVolume(box, np.zeros((2, 2, 2)))).coverage_pct


def _image_box(planes: Grid) -> Grid:
    """A grid of 2 x 2 x 2 points at the outer corners of the image's voxels."""
    bounds = planes.plane_bounds_mm()
    ascending = bool(planes.plane_offsets_mm[-1] > planes.plane_offsets_mm[0])
    low, high = float(bounds.min()), float(bounds.max())
    start, length = (low, high - low) if ascending else (high, low - high)
    origin = (
        planes.origin_xyz_mm
        - 0.5 * planes.column_spacing_mm * planes.row_direction
        - 0.5 * planes.row_spacing_mm * planes.column_direction
        + start * planes.normal
    )
    return Grid(
        origin_xyz_mm=origin,
        row_direction=planes.row_direction,
        column_direction=planes.column_direction,
        column_spacing_mm=planes.columns * planes.column_spacing_mm,
        row_spacing_mm=planes.rows * planes.row_spacing_mm,
        plane_offsets_mm=np.array([0.0, length]),
        rows=2,
        columns=2,
    )

"""The solid that planar contours stand for: a stack of prisms, each contour plane extended half way to its neighbours.

Volume, dose and masks use this one solid; a volume with end caps beside a dose without them is a known source of wrong
minimum doses (Nelms et al., Med Phys 42:4435, 2015). Contours may lie in planes of any orientation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from rtpipeline.geometry.even_odd import Array, Ints, area_moments, even_odd_edges, is_inside
from rtpipeline.geometry.polygon import MIN_AREA_MM2, MIN_POINTS, plane_frame

PLANE_RESIDUAL_MM = 0.5
"""A vertex farther than this from its contour's plane makes the contour non-planar."""

SAME_PLANE_MM = 0.05
"""Contours whose planes differ by no more than this are in one plane (positions are written with 1 to 3 decimals)."""

AXIS_SNAP_MM = 0.01
"""When every contour is flat to within this along a patient axis, that axis is the normal, exactly: such a tilt is
rounding of coordinates, unless EXACT_PLANE_MM says otherwise."""

EXACT_PLANE_MM = 1e-6
"""Contours this flat in planes that are not axial were computed, such as outlines of voxels on a tilted image: their
tilt is no rounding, however small, and over the width of an image it parts contours of one plane."""

NEAR_AXIS = 0.99
"""Cosine to the axis that such a tilt must keep: the plane of contours that are almost lines may be any."""

GAP_FACTOR = 1.5
"""A gap of more than this many nominal spacings ends the solid on both sides."""

MIXED_SPACING_FACTOR = 2.0
"""Two plane spacings that differ by no more than this factor may both be regular (3 and 6 mm slices in one series)."""

GAP_TOLERANCE_MM = 1e-3
"""Rounding allowed in these comparisons."""

EndCap = Literal["prism", "shape"]
"""How contours become a solid: read literally, or interpolated between planes and capped (`geometry.shape`)."""

END_CAP: EndCap = "prism"
"""Name of this way, for the rows of result tables."""


class EmptySolidError(ValueError):
    """No contour encloses an area."""


class NonPlanarContourError(ValueError):
    """A contour's vertices do not lie in one plane, or the contours' planes are not parallel."""


@dataclass(frozen=True, eq=False)
class PrismSolid:
    """Prisms between parallel planes.

    axes: (3, 3) rows u, v, normal: an orthonormal right-handed frame in patient directions, through the patient
    origin. plane_offsets_mm: (p,) ascending position of the contour planes along the normal. slabs_mm: (p, 2) lower
    and upper end of each prism along the normal, or None when a single plane came without a thickness. points_uv_mm:
    (n, 2) vertices; contour_starts: (c + 1,) first vertex of each contour; plane_starts: (p + 1,) first contour of each
    plane. edges: (m, 5) signed even-odd boundary in u, v, by plane in edge_starts (p + 1,). areas_mm2: (p,).
    """

    axes: Array
    plane_offsets_mm: Array
    slabs_mm: Array | None
    nominal_spacing_mm: float | None
    n_gaps: int
    points_uv_mm: Array
    contour_starts: Ints
    plane_starts: Ints
    edges: Array
    edge_starts: Ints
    moments: Array
    plane_residual_mm: float
    n_degenerate_contours: int
    end_cap: EndCap = END_CAP

    @classmethod
    def from_contours(
        cls,
        contours: Sequence[Array],
        *,
        single_plane_thickness_mm: float | None,
        plane_spacing_mm: float | None = None,
    ) -> PrismSolid:
        """Solid of closed contours, each (n, 3) in patient mm; their order and direction play no part.

        Contours without three points or without area are left out and counted in `n_degenerate_contours`.
        single_plane_thickness_mm: thickness when all contours lie in one plane (the image's slice spacing); with None
        the volume is None. plane_spacing_mm: nominal spacing of the planes where it is known (outlines of voxels); None
        for the median of their gaps.

        Raises EmptySolidError when nothing is left, NonPlanarContourError when a vertex is more than PLANE_RESIDUAL_MM
        off its plane, ValueError for points that are not (n, 3) and finite.
        """
        kept = _checked(contours)
        points, starts = _packed(kept)
        if not kept:
            raise EmptySolidError(f"{len(contours)} contours, none with {MIN_POINTS} points; need one that has an area")
        normal, residual_mm = _common_normal(points, starts)
        if residual_mm > PLANE_RESIDUAL_MM:
            raise NonPlanarContourError(
                f"a vertex lies {residual_mm:.3g} mm off the plane of its contour; need <= {PLANE_RESIDUAL_MM} mm"
            )
        axes = plane_frame(normal)
        points = points @ axes.T
        uv, offsets = points[:, :2], np.add.reduceat(points[:, 2], starts[:-1]) / np.diff(starts)

        single = np.arange(len(starts), dtype=np.int64)
        edges, edge_starts = even_odd_edges(_column(uv, 0), _column(uv, 1), starts, single)
        has_area = area_moments(edges, edge_starts)[:, 0] >= MIN_AREA_MM2
        if not has_area.any():
            raise EmptySolidError(f"{len(contours)} contours, none with an area; need at least {MIN_AREA_MM2:g} mm2")

        order = np.flatnonzero(has_area)[np.argsort(offsets[has_area], kind="stable")]
        plane_starts = _plane_starts(offsets[order])
        uv = np.concatenate([uv[starts[i] : starts[i + 1]] for i in order])
        contour_starts = np.r_[0, np.cumsum(np.diff(starts)[order])]
        planes = np.add.reduceat(offsets[order], plane_starts[:-1]) / np.diff(plane_starts)
        slabs, nominal, n_gaps = _slabs(planes, single_plane_thickness_mm, plane_spacing_mm)
        if len(planes) == len(order):
            edges = np.concatenate([edges[edge_starts[i] : edge_starts[i + 1]] for i in order])
            edge_starts = np.r_[0, np.cumsum(np.diff(edge_starts)[order])]
        else:
            edges, edge_starts = even_odd_edges(_column(uv, 0), _column(uv, 1), contour_starts, plane_starts)
        return cls(
            axes=axes,
            plane_offsets_mm=planes,
            slabs_mm=slabs,
            nominal_spacing_mm=nominal,
            n_gaps=n_gaps,
            points_uv_mm=uv,
            contour_starts=contour_starts,
            plane_starts=plane_starts,
            edges=edges,
            edge_starts=edge_starts,
            moments=area_moments(edges, edge_starts),
            plane_residual_mm=residual_mm,
            n_degenerate_contours=len(contours) - len(order),
        )

    @property
    def normal(self) -> Array:
        """Unit vector (3,) perpendicular to the contour planes."""
        return self.axes[2]

    @property
    def areas_mm2(self) -> Array:
        """(p,) even-odd area of each plane."""
        return self.moments[:, 0]

    @property
    def thicknesses_mm(self) -> Array | None:
        """(p,) extent of each prism along the normal."""
        return None if self.slabs_mm is None else self.slabs_mm[:, 1] - self.slabs_mm[:, 0]

    @property
    def volume_cc(self) -> float | None:
        """Sum of area x thickness; None for a single plane of unknown thickness."""
        thickness = self.thicknesses_mm
        return None if thickness is None else float(self.areas_mm2 @ thickness) / 1000.0

    @property
    def centroid_xyz_mm(self) -> Array | None:
        """(3,) centre of mass in patient mm; None without a volume."""
        thickness = self.thicknesses_mm
        if thickness is None or self.slabs_mm is None or not self.volume_cc:
            return None
        weights = self.areas_mm2 * thickness
        w = float(weights @ self.slabs_mm.mean(axis=1))
        u, v = float(self.moments[:, 1] @ thickness), float(self.moments[:, 2] @ thickness)
        return (np.array([u, v, w]) / weights.sum()) @ self.axes

    @cached_property
    def bounds_uvw_mm(self) -> Array:
        """(2, 3) least and greatest coordinate in the solid's own frame; the planes alone without a thickness."""
        u, v = self.points_uv_mm.T  # one by one: along the longer axis numpy takes several times longer
        w = self.plane_offsets_mm if self.slabs_mm is None else self.slabs_mm
        return np.array([[u.min(), v.min(), w.min()], [u.max(), v.max(), w.max()]])

    @cached_property
    def corners_xyz_mm(self) -> Array:
        """(8, 3) corners of the bounding box in the solid's own frame, in patient mm."""
        low, high = self.bounds_uvw_mm
        pick = np.array([[a, b, c] for c in (0, 1) for b in (0, 1) for a in (0, 1)])
        return np.where(pick, high, low) @ self.axes

    @property
    def bounding_box_xyz_mm(self) -> Array:
        """(2, 3) least and greatest patient coordinate of a box that holds the solid (tight when axes are parallel)."""
        return np.array([self.corners_xyz_mm.min(axis=0), self.corners_xyz_mm.max(axis=0)])

    def contains(self, points_xyz_mm: Array) -> np.ndarray:
        """Whether each patient point (n, 3) lies in the solid; each prism owns its lower face, not its upper one."""
        points = np.asarray(points_xyz_mm, float) @ self.axes.T
        inside = np.zeros(len(points), bool)
        if self.slabs_mm is None:
            return inside
        plane = np.searchsorted(self.slabs_mm[:, 0], points[:, 2], side="right") - 1
        for i in np.flatnonzero((plane >= 0) & (points[:, 2] < self.slabs_mm[plane, 1])):
            k = plane[i]
            inside[i] = is_inside(self.edges, self.edge_starts[k], self.edge_starts[k + 1], points[i, 0], points[i, 1])
        return inside


def _column(points: Array, axis: int) -> Array:
    return np.ascontiguousarray(points[:, axis])


def _checked(contours: Sequence[Array]) -> list[Array]:
    kept = []
    for number, contour in enumerate(contours):
        points = np.asarray(contour, float)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f"contour {number} has shape {points.shape}; need (n, 3) patient mm")
        if not np.isfinite(points).all():
            raise ValueError(f"contour {number} has coordinates that are not finite numbers")
        if len(points) >= MIN_POINTS:
            kept.append(points)
    return kept


def _packed(contours: list[Array]) -> tuple[Array, Ints]:
    starts = np.zeros(len(contours) + 1, np.int64)
    np.cumsum([len(c) for c in contours], out=starts[1:])
    return (np.concatenate(contours) if contours else np.empty((0, 3))), starts


def _common_normal(points_xyz_mm: Array, starts: Ints) -> tuple[Array, float]:
    """Normal shared by all contours, and the largest distance of a vertex from its contour's plane (mm)."""
    counts = np.diff(starts)
    means = np.add.reduceat(points_xyz_mm, starts[:-1], axis=0) / counts[:, None]
    centred = points_xyz_mm - np.repeat(means, counts, axis=0)
    # z first: a contour that is almost a line fits many planes, and axial ones are by far the most common
    flat = ((axis, float(np.abs(centred[:, axis]).max())) for axis in (2, 1, 0))
    axis, residual = next((f for f in flat if f[1] <= AXIS_SNAP_MM), (None, 0.0))
    if axis is not None and residual <= EXACT_PLANE_MM:
        return np.eye(3)[axis], residual
    normal = np.linalg.eigh(centred.T @ centred)[1][:, 0]
    normal = normal * np.sign(normal[np.argmax(np.abs(normal))])
    fitted = float(np.abs(centred @ normal).max())
    is_computed = fitted <= EXACT_PLANE_MM and axis is not None and abs(normal[axis]) >= NEAR_AXIS
    if axis is not None and not is_computed:
        return np.eye(3)[axis], residual
    return normal, fitted


def _plane_starts(sorted_offsets_mm: Array) -> Ints:
    """First contour of each plane in a sorted list; a plane holds what lies within SAME_PLANE_MM of its first."""
    starts = [0]
    for i, offset in enumerate(sorted_offsets_mm):
        if offset - sorted_offsets_mm[starts[-1]] > SAME_PLANE_MM:
            starts.append(i)
    return np.array([*starts, len(sorted_offsets_mm)], np.int64)


def _nominal_spacing_mm(gaps_mm: Array) -> float:
    """Median gap; of an even number the lower of the two middle ones when these differ too much to have a mean.

    Contours at 0, 3 and 63 mm are 3 mm apart, not 31.5.
    """
    in_order = np.sort(gaps_mm)
    lower, upper = float(in_order[(len(gaps_mm) - 1) // 2]), float(in_order[len(gaps_mm) // 2])
    return lower if upper > MIXED_SPACING_FACTOR * lower + GAP_TOLERANCE_MM else 0.5 * (lower + upper)


def _slabs(
    planes_mm: Array, single_plane_thickness_mm: float | None, plane_spacing_mm: float | None
) -> tuple[Array | None, float | None, int]:
    """(p, 2) ends of the prisms, nominal spacing (the median unless known), number of gaps wider than GAP_FACTOR
    nominal spacings."""
    if len(planes_mm) == 1:
        if single_plane_thickness_mm is None:
            return None, None, 0
        if not (np.isfinite(single_plane_thickness_mm) and single_plane_thickness_mm > 0.0):
            raise ValueError(
                f"single_plane_thickness_mm is {single_plane_thickness_mm}; need a positive number or None"
            )
        half = 0.5 * single_plane_thickness_mm
        return np.array([[planes_mm[0] - half, planes_mm[0] + half]]), None, 0
    gaps = np.diff(planes_mm)
    nominal = plane_spacing_mm if plane_spacing_mm is not None else _nominal_spacing_mm(gaps)
    is_gap = gaps > GAP_FACTOR * nominal + GAP_TOLERANCE_MM
    end = 0.5 * nominal
    lower = np.r_[planes_mm[0] - end, np.where(is_gap, planes_mm[1:] - end, planes_mm[1:] - 0.5 * gaps)]
    # neighbours share the same number as their border, so no slit or overlap can open between them
    upper = np.r_[np.where(is_gap, planes_mm[:-1] + end, lower[1:]), planes_mm[-1] + end]
    return np.c_[lower, upper], nominal, int(is_gap.sum())

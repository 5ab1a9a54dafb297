"""Closed planar contours: areas by the even-odd rule, fit to a plane, and what may be wrong with a drawn one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtpipeline.geometry.even_odd import Array, Ints, area_moments, even_odd_edges
from rtpipeline.kernels import kernel

MIN_POINTS = 3
"""A closed contour needs three different points."""

MIN_AREA_MM2 = 1e-6
"""A contour that encloses less is a line or a point (contours are written with 1e-2 to 1e-3 mm)."""

SAME_POINT_MM = 1e-6
"""Neighbouring vertices nearer than this are one vertex written twice."""

SELF_CROSSING_MM = 0.02
"""Two edges cross when the ends of each lie farther than this on both sides of the other (channels of keyholes are
written twice with rounded coordinates and must not count)."""


@dataclass(frozen=True)
class PlaneFit:
    """The plane nearest to a contour: unit normal (3,), centroid of the vertices (3,), largest distance from it."""

    normal: Array
    centre_xyz_mm: Array
    residual_mm: float


@dataclass(frozen=True)
class ContourQuality:
    """What one contour is like: vertices that differ, area by the even-odd rule, number of edge pairs that cross."""

    n_points: int
    area_mm2: float
    n_self_crossings: int

    @property
    def is_degenerate(self) -> bool:
        """Too few different points, or no area: it encloses nothing."""
        return self.n_points < MIN_POINTS or self.area_mm2 < MIN_AREA_MM2


def signed_area_mm2(points_xy_mm: Array) -> float:
    """Shoelace area of a closed polygon (n, 2); positive when drawn counter-clockwise. Loops count by their turns."""
    p = np.asarray(points_xy_mm, float)
    p = p - p[0]
    q = np.roll(p, -1, axis=0)
    return float(0.5 * np.sum(p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1]))


def pack_contours(contours_xy_mm: Sequence[Array]) -> tuple[Array, Array, Ints]:
    """Contours (n_i, 2) as one x array, one y array and the first vertex of each contour (count + 1)."""
    starts = np.zeros(len(contours_xy_mm) + 1, np.int64)
    np.cumsum([len(c) for c in contours_xy_mm], out=starts[1:])
    points = np.concatenate([np.asarray(c, float) for c in contours_xy_mm]) if contours_xy_mm else np.empty((0, 2))
    return np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1]), starts


def signed_edges(contours_xy_mm: Sequence[Array]) -> Array:
    """Signed even-odd boundary (m, 5) of the contours of one plane; see `even_odd.EDGE_COLUMNS`."""
    x, y, starts = pack_contours(contours_xy_mm)
    return even_odd_edges(x, y, starts, np.array([0, len(contours_xy_mm)], np.int64))[0]


def even_odd_area_mm2(contours_xy_mm: Sequence[Array]) -> float:
    """Area of the even-odd combination of the contours of one plane; independent of order and drawing direction."""
    edges = signed_edges(contours_xy_mm)
    return float(area_moments(edges, np.array([0, len(edges)], np.int64))[0, 0])


def fit_plane(points_xyz_mm: Array) -> PlaneFit:
    """Least-squares plane through the vertices (n, 3) of one contour; also right for a bow-tie, whose vector area is 0.

    Raises ValueError for fewer than three points.
    """
    points = np.asarray(points_xyz_mm, float)
    if len(points) < MIN_POINTS:
        raise ValueError(f"contour has {len(points)} points; need at least {MIN_POINTS} for a plane")
    centre = points.mean(axis=0)
    normal = np.linalg.eigh((points - centre).T @ (points - centre))[1][:, 0]
    residual = float(np.abs((points - centre) @ normal).max())
    return PlaneFit(normal=normal, centre_xyz_mm=centre, residual_mm=residual)


def plane_frame(normal: Array) -> Array:
    """(3, 3) rows u, v, normal, orthonormal and right-handed; for axial planes u, v are the patient's x, y."""
    helper = np.eye(3)[int(np.argmin(np.abs(normal)))]
    u = helper - (helper @ normal) * normal
    u /= np.linalg.norm(u)
    return np.array([u, np.cross(normal, u), normal])


def contour_quality(points_xy_mm: Array) -> ContourQuality:
    """Count, area and self-crossings of one closed contour (n, 2) in its plane."""
    points = np.asarray(points_xy_mm, float)
    different = int(np.count_nonzero(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1) > SAME_POINT_MM))
    if different < MIN_POINTS:
        return ContourQuality(n_points=different, area_mm2=0.0, n_self_crossings=0)
    x, y = np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])
    return ContourQuality(
        n_points=different,
        area_mm2=even_odd_area_mm2([points]),
        n_self_crossings=int(_count_crossings(x, y, SELF_CROSSING_MM)),
    )


@kernel()
def _side_distances(x: Array, y: Array, a: int, b: int, c: int, d: int) -> tuple[float, float]:
    """Signed distance of vertices c and d from the line through vertices a and b."""
    dx, dy = x[b] - x[a], y[b] - y[a]
    length = np.sqrt(dx * dx + dy * dy)
    if length == 0.0:
        return 0.0, 0.0
    first = (dx * (y[c] - y[a]) - dy * (x[c] - x[a])) / length
    second = (dx * (y[d] - y[a]) - dy * (x[d] - x[a])) / length
    return first, second


@kernel()
def _count_crossings(x: Array, y: Array, tolerance: float) -> int:
    """Pairs of edges of one closed contour that cross by more than the tolerance; edges sorted by height first."""
    n = x.shape[0]
    following = (np.arange(n) + 1) % n
    bottom = np.minimum(y, y[following])
    top = np.maximum(y, y[following])
    order = np.argsort(bottom)
    active = np.empty(n, np.int64)
    n_active = 0
    crossings = 0
    for position in range(n):
        e = order[position]
        kept = 0
        for i in range(n_active):
            other = active[i]
            if top[other] < bottom[e]:
                continue
            active[kept] = other
            kept += 1
            c, d = _side_distances(x, y, e, following[e], other, following[other])
            if min(c, d) >= -tolerance or max(c, d) <= tolerance:
                continue
            a, b = _side_distances(x, y, other, following[other], e, following[e])
            if min(a, b) < -tolerance and max(a, b) > tolerance:
                crossings += 1
        active[kept] = e
        n_active = kept + 1
    return crossings

"""What can be said of contours without an image: in a plane, enclosing an area, written twice, one inside another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtpipeline.geometry.polygon import ContourQuality, contour_quality, fit_plane, plane_frame

Array = NDArray[np.float64]

SAME_PLANE_MM = 1e-2
"""Contours this close along the normal lie in one plane (coordinates are written with two to four decimals)."""


def _across(points_xyz_mm: Array) -> int | None:
    """The axis 0, 1 or 2 along which all points are the same, as nearly all contours have one; None: oblique."""
    return next((a for a in (2, 1, 0) if (points_xyz_mm[:, a] == points_xyz_mm[0, a]).all()), None)


def plane_residual_mm(points_xyz_mm: Array) -> float:
    """Largest distance of the (n, 3) points from the plane that fits them best."""
    return 0.0 if _across(points_xyz_mm) is not None else fit_plane(points_xyz_mm).residual_mm


def quality(points_xyz_mm: Array) -> ContourQuality:
    """Different points, area and self-crossings of a closed contour of (n >= 3, 3) points, in its own plane."""
    axis = _across(points_xyz_mm)
    if axis is not None:
        return contour_quality(np.delete(points_xyz_mm, axis, axis=1))
    plane = fit_plane(points_xyz_mm)
    return contour_quality((points_xyz_mm - plane.centre_xyz_mm) @ plane_frame(plane.normal)[:2].T)


def repeated(polygons: list[Array]) -> set[int]:
    """Indices of polygons that were given before, from whatever vertex on, in either direction, closed or not.

    By the even-odd rule a contour that is written twice would erase itself.
    """
    alike: dict[bytes, list[int]] = {}
    for index, points in enumerate(polygons):
        alike.setdefault(points.min(axis=0).tobytes() + points.max(axis=0).tobytes(), []).append(index)
    copies = set()
    for indices in alike.values():
        seen: set[bytes] = set()
        for index in indices if len(indices) > 1 else ():
            form = min(_from_first_corner(polygons[index]), _from_first_corner(polygons[index][::-1]))
            if form in seen:
                copies.add(index)
            seen.add(form)
    return copies


def _from_first_corner(points_xyz_mm: Array) -> bytes:
    """The vertices in their order, begun at the least one; one that repeats the vertex before it is left out."""
    points = points_xyz_mm[np.any(points_xyz_mm != np.roll(points_xyz_mm, 1, axis=0), axis=1)]
    if not len(points):
        return b""
    least = points[np.lexsort(points.T[::-1])[0]]
    starts = np.flatnonzero((points == least).all(axis=1))  # several where a keyhole's channel begins there
    return min(np.roll(points, -int(start), axis=0).tobytes() for start in starts)


def count_inner(polygons: list[Array]) -> int:
    """Number of polygons that lie inside another one of the same plane (holes, and islands within holes)."""
    if len(polygons) < 2:
        return 0
    lower = np.array([points.min(axis=0) for points in polygons])
    upper = np.array([points.max(axis=0) for points in polygons])
    inner = 0
    for i, points in enumerate(polygons):
        around = (lower <= lower[i] + SAME_PLANE_MM).all(axis=1) & (upper >= upper[i] - SAME_PLANE_MM).all(axis=1)
        around[i] = False
        inner += any(_holds(polygons[j], points[0]) for j in np.flatnonzero(around))
    return inner


def _holds(polygon_xyz_mm: Array, point_xyz_mm: Array) -> bool:
    """Whether a point lies in a polygon's plane and inside it (even-odd)."""
    axis = _across(polygon_xyz_mm)
    if axis is not None:
        distance = abs(float(point_xyz_mm[axis] - polygon_xyz_mm[0, axis]))
        polygon, point = np.delete(polygon_xyz_mm, axis, axis=1), np.delete(point_xyz_mm, axis)
    else:
        plane = fit_plane(polygon_xyz_mm)
        axes = plane_frame(plane.normal)[:2]
        distance = abs(float((point_xyz_mm - plane.centre_xyz_mm) @ plane.normal))
        polygon, point = (polygon_xyz_mm - plane.centre_xyz_mm) @ axes.T, axes @ (point_xyz_mm - plane.centre_xyz_mm)
    if distance > SAME_PLANE_MM:
        return False
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    spans = (y0 > point[1]) != (y1 > point[1])
    crossing_x = x0[spans] + (point[1] - y0[spans]) * (x1[spans] - x0[spans]) / (y1[spans] - y0[spans])
    return bool(np.count_nonzero(crossing_x > point[0]) % 2)

"""Outlines of a solid in a plane of display, exactly: the solid is a stack of prisms, so that a plane along its contour
planes cuts it in the contours themselves, and one across them in rectangles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtpipeline.geometry.even_odd import Array
from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.qc.views import View

Ring = Array
"""(n, 2) vertices, the last joined to the first."""

Point = tuple[float, float]
Edge = tuple[Point, Point]

TILT_MM = 0.25
"""A plane counts as along, or across, the contours when it tilts by less than this over the solid's extent."""

FLAT_PIXELS = 0.5
"""A contour without a thickness is drawn when the plane passes this near to it, in pixels."""


def section(solid: PrismSolid, view: View) -> list[Ring]:
    """Outlines of the solid in the view's plane, in picture coordinates; empty where the plane misses it."""
    low, high = solid.bounds_uvw_mm
    extent_mm = float(np.linalg.norm(high - low))
    if float(np.linalg.norm(np.cross(solid.normal, view.normal))) * extent_mm <= TILT_MM:
        return _along(solid, view)
    if solid.slabs_mm is None:
        return []
    if abs(float(solid.normal @ view.normal)) * extent_mm <= TILT_MM:
        return _across(solid, view)
    return _oblique(solid, view)


def _along(solid: PrismSolid, view: View) -> list[Ring]:
    """The contours of the slab that the plane lies in."""
    w = float(view.origin_xyz_mm @ view.normal) * float(np.sign(solid.normal @ view.normal))
    if solid.slabs_mm is None:
        k = int(np.argmin(np.abs(solid.plane_offsets_mm - w)))
        if abs(float(solid.plane_offsets_mm[k]) - w) > FLAT_PIXELS * view.pixel_mm:
            return []
    else:
        k = int(np.searchsorted(solid.slabs_mm[:, 0], w, side="right")) - 1
        if k < 0 or w >= solid.slabs_mm[k, 1]:
            return []
    found = []
    for c in range(solid.plane_starts[k], solid.plane_starts[k + 1]):
        uv = solid.points_uv_mm[solid.contour_starts[c] : solid.contour_starts[c + 1]]
        points = np.c_[uv, np.full(len(uv), solid.plane_offsets_mm[k])] @ solid.axes
        found.append(view.to_picture(points))
    return found


def _across(solid: PrismSolid, view: View) -> list[Ring]:
    """Rectangles: for each slab the parts of the plane's trace that lie in its contours, by the even-odd rule."""
    assert solid.slabs_mm is not None
    trace = np.cross(solid.normal, view.normal)
    trace /= np.linalg.norm(trace)
    offset_mm = float(view.origin_xyz_mm @ view.normal)
    flat = np.array([view.normal @ solid.axes[0], view.normal @ solid.axes[1]])
    along = np.array([trace @ solid.axes[0], trace @ solid.axes[1]])
    distance = solid.points_uv_mm @ flat - offset_mm
    position = solid.points_uv_mm @ along
    crossings = [
        _crossings(distance, position, solid.contour_starts, first, last)
        for first, last in zip(solid.plane_starts[:-1], solid.plane_starts[1:], strict=True)
    ]
    base = offset_mm * view.normal
    rings = stack_outline(solid.slabs_mm, crossings)
    return [view.to_picture(base + r[:, :1] * trace + r[:, 1:] * solid.normal) for r in rings]


def _crossings(distance: Array, position: Array, starts: np.ndarray, first: int, last: int) -> Array:
    """Sorted positions at which the contours of one plane cross the line of distance 0."""
    found = []
    for c in range(first, last):
        d, p = distance[starts[c] : starts[c + 1]], position[starts[c] : starts[c + 1]]
        d1, p1 = np.roll(d, -1), np.roll(p, -1)
        # half-open: a vertex on the line belongs to one of the two edges that meet there
        cross = (d < 0) != (d1 < 0)
        found.append(p[cross] + (p1 - p)[cross] * (d[cross] / (d - d1)[cross]))
    return np.sort(np.concatenate(found)) if found else np.empty(0)


def stack_outline(slabs_mm: Array, crossings: Sequence[Array]) -> list[Ring]:
    """Boundary of stacked rectangles as rings of (position, height).

    slabs_mm: (p, 2) ascending ends of the layers. crossings: for each the sorted ends of its intervals. What two layers
    that touch have in common is inside and not drawn.
    """
    edges: list[Edge] = []
    below: Array = np.empty(0)
    top = -np.inf
    for (low, high), ends in zip(slabs_mm.tolist(), crossings, strict=True):
        edges += [((a, low), (a, high)) for a in ends.tolist()]
        if low != top:  # nothing lies directly below: the layer before ends where it ends
            edges += _flat(below, top)
            below = np.empty(0)
        edges += _flat(np.sort(np.concatenate([below, ends])), low)
        below, top = ends, high
    return _rings(edges + _flat(below, top))


def _flat(ends: Array, height: float) -> list[Edge]:
    pairs = zip(ends[0::2].tolist(), ends[1::2].tolist(), strict=True)
    return [((a, height), (b, height)) for a, b in pairs if b > a]


def _rings(edges: Sequence[Edge]) -> list[Ring]:
    """Edges joined at their ends, which are the same numbers; an even number of them meets at each."""
    at: dict[Point, list[int]] = {}
    for number, (a, b) in enumerate(edges):
        at.setdefault(a, []).append(number)
        at.setdefault(b, []).append(number)
    used = np.zeros(len(edges), bool)
    rings = []
    for first in range(len(edges)):
        if used[first]:
            continue
        used[first] = True
        start, point = edges[first]
        ring = [start]
        while point != start:
            ring.append(point)
            number = next(n for n in at[point] if not used[n])
            used[number] = True
            a, b = edges[number]
            point = b if a == point else a
        rings.append(np.array(ring))
    return rings


def _oblique(solid: PrismSolid, view: View) -> list[Ring]:
    """Borders of the pixels whose centre lies in the solid, for planes that are neither along nor across."""
    corners = view.to_picture(solid.corners_xyz_mm)
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int), (view.columns, view.rows))
    if x1 <= x0 or y1 <= y0:
        return []
    centres = view.centres_xyz_mm()[y0:y1, x0:x1]
    inside = solid.contains(centres.reshape(-1, 3)).reshape(centres.shape[:2])
    layers = np.c_[np.arange(y0, y1), np.arange(y0, y1) + 1].astype(float)
    steps = np.diff(np.pad(inside, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    crossings = [(np.flatnonzero(row) + x0).astype(np.float64) for row in steps]
    return stack_outline(layers, crossings)

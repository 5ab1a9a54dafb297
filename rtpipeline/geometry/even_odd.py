"""Even-odd filling of closed polygons, exactly: a plane sweep that returns the boundary as signed edges.

Every question about the filled region (area, centroid, share of a cell, is a point inside) is then a plain sum over
edges, because the indicator of the region is the sum of `sign` over the edges to the left of a point. Holes, keyholes
with coincident edges, islands, self-crossings, touching and partially overlapping contours need no case of their own,
and the direction in which a contour was drawn plays no part.

The sweep works on strips between consecutive vertex heights. Inside a strip the edges are ordered by their position,
and by the even-odd rule the first, third, ... open a span and the second, fourth, ... close it. Where two edges cross
inside a strip, the strip is cut there. No tolerance decides what is inside: rounding can only create slivers of zero
width, never a wrong span.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

EDGE_COLUMNS = 5
"""Columns of an edge table: x_lower, y_lower, x_upper, y_upper, sign (+1 opens a span, -1 closes it)."""

ZERO_WIDTH_MM = 1e-9
"""Two edges nearer than this at both ends of a strip enclose nothing and are left out (keyhole channels)."""


@njit(cache=True)
def _x_at(edges: Array, e: int, y: float) -> float:
    # the end points are returned exactly, so edges that share a vertex agree there to the last bit
    if y <= edges[e, 1]:
        return edges[e, 0]
    if y >= edges[e, 3]:
        return edges[e, 2]
    return edges[e, 0] + (edges[e, 2] - edges[e, 0]) * ((y - edges[e, 1]) / (edges[e, 3] - edges[e, 1]))


@njit(cache=True)
def _append(table: Array, n: int, x0: float, y0: float, x1: float, y1: float, sign: float) -> tuple[Array, int]:
    if y1 <= y0:
        return table, n
    if n == table.shape[0]:
        grown = np.empty((2 * n, EDGE_COLUMNS))
        grown[:n] = table
        table = grown
    table[n, 0] = x0
    table[n, 1] = y0
    table[n, 2] = x1
    table[n, 3] = y1
    table[n, 4] = sign
    return table, n + 1


@njit(cache=True)
def _upward_edges(x: Array, y: Array, starts: Ints, first: int, last: int) -> Array:
    """Edges of contours `first` .. `last` - 1, each from its lower to its upper end; horizontal ones bound no area."""
    edges = np.empty((starts[last] - starts[first], 4))
    n = 0
    for contour in range(first, last):
        begin, end = starts[contour], starts[contour + 1]
        for i in range(begin, end):
            j = i + 1 if i + 1 < end else begin
            if y[i] < y[j]:
                edges[n, 0], edges[n, 1], edges[n, 2], edges[n, 3] = x[i], y[i], x[j], y[j]
                n += 1
            elif y[i] > y[j]:
                edges[n, 0], edges[n, 1], edges[n, 2], edges[n, 3] = x[j], y[j], x[i], y[i]
                n += 1
    return edges[:n]


@njit(cache=True)
def _sort_by(active: Ints, n_active: int, position: Array) -> None:
    """Insertion sort: the order hardly changes from strip to strip."""
    for i in range(1, n_active):
        e, p = active[i], position[i]
        j = i - 1
        while j >= 0 and position[j] > p:
            active[j + 1], position[j + 1] = active[j], position[j]
            j -= 1
        active[j + 1], position[j + 1] = e, p


@njit(cache=True)
def _crossing_heights(edges: Array, active: Ints, n_active: int, low: float, high: float) -> Array:
    """Heights inside (low, high) where two active edges change places, sorted; empty for simple polygons."""
    n_crossings = 0
    for count_only in (True, False):
        heights = np.empty(n_crossings)
        n_crossings = 0
        for i in range(n_active):
            a = active[i]
            for j in range(i + 1, n_active):
                b = active[j]
                below = _x_at(edges, b, low) - _x_at(edges, a, low)
                above = _x_at(edges, b, high) - _x_at(edges, a, high)
                if (below < 0.0 and above > 0.0) or (below > 0.0 and above < 0.0):
                    if not count_only:
                        heights[n_crossings] = low + (high - low) * (below / (below - above))
                    n_crossings += 1
    return np.sort(heights)


@njit(cache=True)
def _sweep_plane(edges: Array, table: Array, n_out: int) -> tuple[Array, int]:
    """Signed even-odd boundary of one plane's edges, appended to `table`."""
    n_edges = edges.shape[0]
    order = np.argsort(edges[:, 1])
    heights = np.unique(np.concatenate((edges[:, 1], edges[:, 3])))
    active = np.empty(n_edges, np.int64)
    position = np.empty(n_edges)
    # the piece of each edge that is being followed upwards: where it began and with which sign (0: none)
    open_sign = np.zeros(n_edges)
    open_x = np.empty(n_edges)
    open_y = np.empty(n_edges)
    n_active = 0
    upcoming = 0
    for strip in range(heights.shape[0] - 1):
        low, high = heights[strip], heights[strip + 1]
        kept = 0
        for i in range(n_active):
            e = active[i]
            if edges[e, 3] > low:
                active[kept] = e
                kept += 1
            elif open_sign[e] != 0.0:
                table, n_out = _append(table, n_out, open_x[e], open_y[e], edges[e, 2], edges[e, 3], open_sign[e])
        n_active = kept
        while upcoming < n_edges and edges[order[upcoming], 1] <= low:
            active[n_active] = order[upcoming]
            n_active += 1
            upcoming += 1
        if n_active == 0:
            continue
        cuts = _ordered_or_cut(edges, active, n_active, position, low, high)
        for part in range(cuts.shape[0] + 1):
            part_low = low if part == 0 else cuts[part - 1]
            part_high = high if part == cuts.shape[0] else cuts[part]
            if part_high <= part_low:
                continue
            if cuts.shape[0] > 0:
                middle = 0.5 * (part_low + part_high)
                for i in range(n_active):
                    e = active[i]
                    position[i] = _x_at(edges, e, middle)
                _sort_by(active, n_active, position)
            for i in range(n_active):
                e = active[i]
                partner = i + 1 if i % 2 == 0 else i - 1
                sign = 1.0 if i % 2 == 0 else -1.0
                x_low = _x_at(edges, e, part_low)
                p = active[partner]
                if (
                    abs(_x_at(edges, p, part_low) - x_low) <= ZERO_WIDTH_MM
                    and abs(_x_at(edges, p, part_high) - _x_at(edges, e, part_high)) <= ZERO_WIDTH_MM
                ):
                    sign = 0.0
                if sign != open_sign[e]:
                    if open_sign[e] != 0.0:
                        table, n_out = _append(table, n_out, open_x[e], open_y[e], x_low, part_low, open_sign[e])
                    open_sign[e] = sign
                    open_x[e] = x_low
                    open_y[e] = part_low
    for i in range(n_active):
        e = active[i]
        if open_sign[e] != 0.0:
            table, n_out = _append(table, n_out, open_x[e], open_y[e], edges[e, 2], edges[e, 3], open_sign[e])
    return table, n_out


@njit(cache=True)
def _ordered_or_cut(edges: Array, active: Ints, n_active: int, position: Array, low: float, high: float) -> Array:
    """Sort `active` from left to right; return the heights at which the strip must be cut for the order to hold."""
    for i in range(n_active):
        e = active[i]
        position[i] = _x_at(edges, e, low) + _x_at(edges, e, high)
    _sort_by(active, n_active, position)
    for i in range(n_active - 1):
        a, b = active[i], active[i + 1]
        if _x_at(edges, a, low) > _x_at(edges, b, low) or _x_at(edges, a, high) > _x_at(edges, b, high):
            return _crossing_heights(edges, active, n_active, low, high)
    return np.empty(0)


@njit(cache=True)
def even_odd_edges(x: Array, y: Array, contour_starts: Ints, plane_starts: Ints) -> tuple[Array, Ints]:
    """Signed edges of the even-odd region of each plane.

    x, y: (n,) vertex coordinates of all contours, mm; contour_starts: (c + 1,) first vertex of each contour;
    plane_starts: (p + 1,) first contour of each plane. Contours close themselves (the last vertex joins the first).
    Returns the edge table, (m, 5) in the order of EDGE_COLUMNS, and (p + 1,) first edge of each plane.
    """
    table = np.empty((max(16, x.shape[0]), EDGE_COLUMNS))
    edge_starts = np.zeros(plane_starts.shape[0], np.int64)
    n_out = 0
    for plane in range(plane_starts.shape[0] - 1):
        edges = _upward_edges(x, y, contour_starts, plane_starts[plane], plane_starts[plane + 1])
        if edges.shape[0] > 0:
            table, n_out = _sweep_plane(edges, table, n_out)
        edge_starts[plane + 1] = n_out
    return table[:n_out].copy(), edge_starts


@njit(cache=True)
def area_moments(edges: Array, edge_starts: Ints) -> Array:
    """Area (mm2) and first moments (mm3, about the origin) of each plane's region: (p, 3)."""
    moments = np.zeros((edge_starts.shape[0] - 1, 3))
    for plane in range(moments.shape[0]):
        begin, end = edge_starts[plane], edge_starts[plane + 1]
        if begin == end:
            continue
        # about a vertex of the region, so that large coordinates cost no digits
        x_ref, y_ref = edges[begin, 0], edges[begin, 1]
        area = 0.0
        mx = 0.0
        my = 0.0
        for e in range(begin, end):
            xa, ya = edges[e, 0] - x_ref, edges[e, 1] - y_ref
            xb, yb = edges[e, 2] - x_ref, edges[e, 3] - y_ref
            w = -edges[e, 4] * (yb - ya)
            area += w * 0.5 * (xa + xb)
            mx += w * (xa * xa + xa * xb + xb * xb) / 6.0
            my += w * (ya * (2.0 * xa + xb) + yb * (xa + 2.0 * xb)) / 6.0
        moments[plane, 0] = area
        moments[plane, 1] = mx + area * x_ref
        moments[plane, 2] = my + area * y_ref
    return moments


@njit(cache=True)
def is_inside(edges: Array, begin: int, end: int, x: float, y: float) -> bool:
    """Whether the point lies in the region of edges `begin` .. `end` - 1; left and lower borders belong to it."""
    winding = 0.0
    for e in range(begin, end):
        if edges[e, 1] <= y < edges[e, 3]:
            crossing = edges[e, 0] + (edges[e, 2] - edges[e, 0]) * ((y - edges[e, 1]) / (edges[e, 3] - edges[e, 1]))
            if crossing <= x:
                winding += edges[e, 4]
    return winding > 0.5

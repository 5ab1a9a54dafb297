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
from numpy.typing import NDArray

from rtpipeline.kernels import kernel

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

EDGE_COLUMNS = 5
"""Columns of an edge table: x_lower, y_lower, x_upper, y_upper, sign (+1 opens a span, -1 closes it)."""

ZERO_WIDTH_MM = 1e-9
"""Two edges nearer than this at both ends of a strip enclose nothing and are left out (keyhole channels)."""


@kernel()
def last_not_above(ascending: Array, value: float) -> int:
    """Index of the last of the ascending numbers that is not above `value`; -1 where the first one is.

    What `np.searchsorted` finds, which in compiled code brings numba's whole array library with it at each start.
    """
    low, high = 0, ascending.shape[0]
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low - 1


@kernel()
def _x_at(edges: Array, e: int, y: float) -> float:
    # the end points are returned exactly, so edges that share a vertex agree there to the last bit
    if y <= edges[e, 1]:
        return edges[e, 0]
    if y >= edges[e, 3]:
        return edges[e, 2]
    return edges[e, 0] + (edges[e, 2] - edges[e, 0]) * ((y - edges[e, 1]) / (edges[e, 3] - edges[e, 1]))


@kernel()
def _write(table: Array, n: int, x0: float, y0: float, x1: float, y1: float, sign: float) -> int:
    if y1 <= y0 or sign == 0.0:
        return n
    table[n, 0], table[n, 1], table[n, 2], table[n, 3], table[n, 4] = x0, y0, x1, y1, sign
    return n + 1


@kernel()
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


@kernel()
def _place(edges: Array, active: Ints, n_active: int, low: float, high: float, x_low: Array, x_high: Array) -> None:
    """Where each active edge stands at both ends of a strip, and `active` sorted by the middle of the two.

    Insertion sort, because the order hardly changes from strip to strip.
    """
    for i in range(n_active):
        e = active[i]
        a, b = _x_at(edges, e, low), _x_at(edges, e, high)
        j = i - 1
        while j >= 0 and x_low[j] + x_high[j] > a + b:
            active[j + 1], x_low[j + 1], x_high[j + 1] = active[j], x_low[j], x_high[j]
            j -= 1
        active[j + 1], x_low[j + 1], x_high[j + 1] = e, a, b


@kernel()
def _is_ordered(n_active: int, x_low: Array, x_high: Array) -> bool:
    ordered = True
    for i in range(n_active - 1):
        ordered &= x_low[i] <= x_low[i + 1] and x_high[i] <= x_high[i + 1]
    return ordered


@kernel()
def _crossing_heights(n_active: int, low: float, high: float, x_low: Array, x_high: Array) -> Array:
    """Heights inside (low, high) where two active edges change places, ascending; none for a simple polygon."""
    heights = np.empty(n_active * (n_active - 1) // 2)
    n = 0
    for i in range(n_active):
        for j in range(i + 1, n_active):
            below, above = x_low[j] - x_low[i], x_high[j] - x_high[i]
            if (below < 0.0 and above > 0.0) or (below > 0.0 and above < 0.0):
                heights[n] = low + (high - low) * (below / (below - above))
                n += 1
    return np.sort(heights[:n])


@kernel()
def _follow(
    active: Ints, n_active: int, low: float, x_low: Array, x_high: Array, pieces: Array, table: Array, n_out: int
) -> int:
    """Give every active edge its sign in a strip in which none cross; close the piece of an edge whose sign changes.

    pieces: (edges, 3) sign, x and y at the lower end of the piece of each edge that is being followed; sign 0: none.
    """
    for i in range(n_active):
        sign = 1.0 if i % 2 == 0 else -1.0
        partner = i + 1 if i % 2 == 0 else i - 1
        if abs(x_low[i] - x_low[partner]) <= ZERO_WIDTH_MM and abs(x_high[i] - x_high[partner]) <= ZERO_WIDTH_MM:
            sign = 0.0
        e = active[i]
        if sign != pieces[e, 0]:
            n_out = _write(table, n_out, pieces[e, 1], pieces[e, 2], x_low[i], low, pieces[e, 0])
            pieces[e, 0], pieces[e, 1], pieces[e, 2] = sign, x_low[i], low
    return n_out


@kernel()
def _with_room(table: Array, needed: int) -> Array:
    if needed <= table.shape[0]:
        return table
    grown = np.empty((2 * needed, EDGE_COLUMNS))
    grown[: table.shape[0]] = table
    return grown


@kernel()
def _sweep_plane(edges: Array, table: Array, n_out: int) -> tuple[Array, int]:
    """Signed even-odd boundary of one plane's edges, appended to `table`."""
    n_edges = edges.shape[0]
    order = np.argsort(edges[:, 1])
    heights = np.sort(edges[:, 1:4:2].copy().ravel())
    active = np.empty(n_edges, np.int64)
    x_low = np.empty(n_edges)
    x_high = np.empty(n_edges)
    pieces = np.zeros((n_edges, 3))
    n_active = 0
    upcoming = 0
    for strip in range(heights.shape[0]):
        low = heights[strip]
        if n_out + 2 * n_edges > table.shape[0]:
            table = _with_room(table, n_out + 2 * n_edges)
        kept = 0
        for i in range(n_active):
            e = active[i]
            if edges[e, 3] > low:
                active[kept] = e
                kept += 1
            else:
                n_out = _write(table, n_out, pieces[e, 1], pieces[e, 2], edges[e, 2], edges[e, 3], pieces[e, 0])
        n_active = kept
        while upcoming < n_edges and edges[order[upcoming], 1] <= low:
            active[n_active] = order[upcoming]
            n_active += 1
            upcoming += 1
        if n_active == 0 or heights[strip + 1] == low:
            continue
        high = heights[strip + 1]
        _place(edges, active, n_active, low, high, x_low, x_high)
        if _is_ordered(n_active, x_low, x_high):
            n_out = _follow(active, n_active, low, x_low, x_high, pieces, table, n_out)
            continue
        cuts = _crossing_heights(n_active, low, high, x_low, x_high)
        for part in range(cuts.shape[0] + 1):
            part_low = low if part == 0 else cuts[part - 1]
            part_high = high if part == cuts.shape[0] else cuts[part]
            if part_high > part_low:
                table = _with_room(table, n_out + 2 * n_edges)
                _place(edges, active, n_active, part_low, part_high, x_low, x_high)
                n_out = _follow(active, n_active, part_low, x_low, x_high, pieces, table, n_out)
    return table, n_out


@kernel()
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


@kernel()
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


@kernel()
def is_inside(edges: Array, begin: int, end: int, x: float, y: float) -> bool:
    """Whether the point lies in the region of edges `begin` .. `end` - 1; left and lower borders belong to it."""
    winding = 0.0
    for e in range(begin, end):
        if edges[e, 1] <= y < edges[e, 3]:
            crossing = edges[e, 0] + (edges[e, 2] - edges[e, 0]) * ((y - edges[e, 1]) / (edges[e, 3] - edges[e, 1]))
            if crossing <= x:
                winding += edges[e, 4]
    return winding > 0.5

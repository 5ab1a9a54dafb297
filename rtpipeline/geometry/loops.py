"""Contours as simple loops: the boundary of each plane's even-odd region, cut where it crosses itself.

Whatever way a region was drawn (holes as contours of their own or through a keyhole, islands, crossing contours), it
has one set of loops, so that what is interpolated between planes does not depend on it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rtpipeline.geometry.even_odd import Array, Ints
from rtpipeline.kernels import kernel

SAME_PLACE_MM = 1e-6
"""End points of edges this near are one: a crossing is computed from either edge."""

LEAST_SHARE = 1e-6
"""A loop with less than this share of its plane's area is a sliver of rounding."""

EDGES_PER_LOOP = 32
"""Edges are cut into parts no longer than the perimeter divided by this, so that a corner can become round."""

INWARD = 1e-5
"""Distance of a point just inside an edge, in lengths of the edge."""

SAME_AREA = 1e-6
"""Share by which the loops' areas may miss that of the region: rounding, and slivers left out."""


class Loops(NamedTuple):
    """Loops of all planes, each a simple polygon counter-clockwise, in the order of the planes.

    points: (n, 2) in u, v, mm; starts: (c + 1,) first point of each loop; first: (p + 1,) first loop of each plane.
    area_mm2 (c,), centre (c, 2) of the area, is_star: whether every ray from the centre meets the loop once. depth:
    number of loops around it in its plane, those of odd depth are holes; parent: the innermost of them, -1 without.
    is_sound: (p,) whether the loops of the plane are all of its region.
    """

    points: Array
    starts: Ints
    first: Ints
    area_mm2: Array
    centre: Array
    is_star: np.ndarray
    depth: Ints
    parent: Ints
    is_sound: np.ndarray


@kernel()
def loop_moments(points: Array, begin: int, end: int) -> tuple[float, float, float, float]:
    """Signed area (mm2), centre of the area and perimeter (mm) of points `begin` .. `end` - 1."""
    x0, y0 = points[begin, 0], points[begin, 1]
    area, mx, my, perimeter = 0.0, 0.0, 0.0, 0.0
    xa, ya = points[end - 1, 0] - x0, points[end - 1, 1] - y0
    for i in range(begin, end):
        xb, yb = points[i, 0] - x0, points[i, 1] - y0
        cross = xa * yb - xb * ya
        area += 0.5 * cross
        mx += cross * (xa + xb) / 6.0
        my += cross * (ya + yb) / 6.0
        perimeter += np.sqrt((xb - xa) * (xb - xa) + (yb - ya) * (yb - ya))
        xa, ya = xb, yb
    if area == 0.0:
        return 0.0, x0, y0, perimeter
    return area, x0 + mx / area, y0 + my / area, perimeter


@kernel()
def _is_star(points: Array, begin: int, end: int, cx: float, cy: float, sign: float) -> bool:
    """Whether the loop, seen from (cx, cy), turns in the direction of `sign` all along and once around."""
    turns = 0
    xa, ya = points[end - 1, 0] - cx, points[end - 1, 1] - cy
    for i in range(begin, end):
        xb, yb = points[i, 0] - cx, points[i, 1] - cy
        if (xa * yb - xb * ya) * sign <= 0.0 and not (xa == xb and ya == yb):
            return False
        turns += (ya < 0.0) != (yb < 0.0)
        xa, ya = xb, yb
    return turns == 2


@kernel()
def is_in_loop(points: Array, begin: int, end: int, x: float, y: float) -> bool:
    """Whether (x, y) lies in the closed polygon of points `begin` .. `end` - 1."""
    inside = False
    xa, ya = points[end - 1, 0], points[end - 1, 1]
    for i in range(begin, end):
        xb, yb = points[i, 0], points[i, 1]
        if (ya <= y) != (yb <= y) and x > xa + (xb - xa) * ((y - ya) / (yb - ya)):
            inside = not inside
        xa, ya = xb, yb
    return inside


@kernel()
def _next_edges(edges: Array, begin: int, end: int) -> tuple[Ints, bool]:
    """The edge after each edge of a plane, the region kept on the left; False where the ends of edges do not match.

    Edges that close a span run up, those that open one run down. At each height the spans above and below differ by
    intervals between the first and second, third and fourth ... end of an edge: there the boundary runs level.
    """
    n = end - begin
    follows = np.full(n, -1, np.int64)
    y = np.empty(2 * n)
    x = np.empty(2 * n)
    arrives = np.empty(2 * n, np.bool_)
    for e in range(n):
        x[2 * e], y[2 * e], x[2 * e + 1], y[2 * e + 1] = edges[begin + e, :4]
        arrives[2 * e] = edges[begin + e, 4] > 0.0
        arrives[2 * e + 1] = edges[begin + e, 4] < 0.0
    order = np.argsort(y)
    low = 0
    while low < 2 * n:
        high = low + 1
        while high < 2 * n and y[order[high]] == y[order[low]]:
            high += 1
        level = order[low:high]
        level = level[np.argsort(x[level])]
        for i in range(0, level.shape[0] - 1, 2):
            # ends at one place may stand in any order; an arrival and a departure belong together
            found = i + 1
            while found < level.shape[0] and arrives[level[found]] == arrives[level[i]]:
                found += 1
                if found < level.shape[0] and x[level[found]] - x[level[i + 1]] > SAME_PLACE_MM:
                    return follows, False
            if found == level.shape[0]:
                return follows, False
            level[i + 1], level[found] = level[found], level[i + 1]
            a, b = level[i] // 2, level[i + 1] // 2
            if arrives[level[i]]:
                follows[a] = b
            else:
                follows[b] = a
        if level.shape[0] % 2 == 1:
            return follows, False
        low = high
    return follows, True


@kernel()
def _add_point(points: Array, begin: int, n: int, x: float, y: float) -> int:
    if n > begin and abs(points[n - 1, 0] - x) <= SAME_PLACE_MM and abs(points[n - 1, 1] - y) <= SAME_PLACE_MM:
        return n
    points[n, 0], points[n, 1] = x, y
    return n + 1


@kernel()
def _trace(edges: Array, begin: int, end: int, least_mm2: float) -> tuple[Array, Ints, bool]:
    """Loops of one plane's signed edges: points, first point of each loop, and whether the edges made loops."""
    follows, is_sound = _next_edges(edges, begin, end)
    points = np.empty((2 * (end - begin), 2))
    starts = np.zeros(end - begin + 1, np.int64)
    n, loops = 0, 0
    if not is_sound:
        return points[:0], starts[:1], False
    used = np.zeros(end - begin, np.bool_)
    for first in range(end - begin):
        if used[first]:
            continue
        start, e = n, first
        while not used[e]:
            used[e] = True
            x0, y0, x1, y1, sign = edges[begin + e]
            if sign < 0.0:
                n = _add_point(points, start, n, x0, y0)
                n = _add_point(points, start, n, x1, y1)
            else:
                n = _add_point(points, start, n, x1, y1)
                n = _add_point(points, start, n, x0, y0)
            e = follows[e]
        if e != first:
            return points[:0], starts[:1], False
        if n - start > 3 and _add_point(points, n - 1, n, points[start, 0], points[start, 1]) == n:
            n -= 1
        if n - start < 3 or abs(loop_moments(points, start, n)[0]) < least_mm2:
            n = start
            continue
        loops += 1
        starts[loops] = n
    return points[:n], starts[: loops + 1], True


@kernel()
def _append(out: Array, n: int, points: Array, begin: int, end: int, reverse: bool, longest_mm: float) -> int:
    """Copy a loop to `out` from row n on, its edges cut into parts no longer than this; returns the next row."""
    for i in range(end - begin):
        a = end - 1 - i if reverse else begin + i
        b = a - 1 if reverse else a + 1
        if b < begin:
            b = end - 1
        elif b == end:
            b = begin
        dx, dy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        parts = max(1, int(np.ceil(np.sqrt(dx * dx + dy * dy) / longest_mm - 1e-6)))
        for part in range(parts):
            out[n, 0], out[n, 1] = points[a, 0] + dx * part / parts, points[a, 1] + dy * part / parts
            n += 1
    return n


@kernel()
def _nest(points: Array, starts: Ints, area: Array, first: int, last: int, depth: Ints, parent: Ints) -> None:
    """Depth and parent of loops `first` .. `last` - 1, which touch at most."""
    for i in range(first, last):
        # just inside the middle of an edge, so that it lies on no loop that touches this one
        a, b = starts[i], starts[i] + 1
        dx, dy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        x, y = points[a, 0] + 0.5 * dx - INWARD * dy, points[a, 1] + 0.5 * dy + INWARD * dx
        for j in range(first, last):
            if area[j] > area[i] and is_in_loop(points, starts[j], starts[j + 1], x, y):
                depth[i] += 1
                if parent[i] < 0 or area[j] < area[parent[i]]:
                    parent[i] = j


@kernel()
def planar_loops(
    points: Array, contour_starts: Ints, plane_starts: Ints, edges: Array, edge_starts: Ints, areas: Array
) -> Loops:
    """Loops of a solid's planes; all arguments as in `PrismSolid`, areas: (p,) of the regions, mm2.

    A plane whose edges make no loops has none and is not sound.
    """
    n_planes = plane_starts.shape[0] - 1
    most_loops = contour_starts.shape[0] + edges.shape[0] // 2
    out = np.empty((points.shape[0] + 2 * edges.shape[0] + (EDGES_PER_LOOP + 1) * most_loops, 2))
    starts = np.zeros(most_loops + 1, np.int64)
    first = np.zeros(n_planes + 1, np.int64)
    area = np.empty(most_loops)
    centre = np.empty((most_loops, 2))
    is_star = np.zeros(most_loops, np.bool_)
    is_hole = np.zeros(most_loops, np.bool_)
    depth = np.zeros(most_loops, np.int64)
    parent = np.full(most_loops, -1, np.int64)
    is_sound = np.ones(n_planes, np.bool_)
    n, loops = 0, 0
    for plane in range(n_planes):
        begin, end = contour_starts[plane_starts[plane]], contour_starts[plane_starts[plane] + 1]
        source, source_starts = points, contour_starts[plane_starts[plane] : plane_starts[plane] + 2]
        signed, cx, cy, _ = loop_moments(points, begin, end)
        is_one_star = plane_starts[plane + 1] - plane_starts[plane] == 1
        is_one_star = is_one_star and _is_star(points, begin, end, cx, cy, np.sign(signed))
        if not is_one_star:
            source, source_starts, is_sound[plane] = _trace(
                edges, edge_starts[plane], edge_starts[plane + 1], LEAST_SHARE * areas[plane]
            )
        for s in range(source_starts.shape[0] - 1):
            begin, end = source_starts[s], source_starts[s + 1]
            signed, cx, cy, perimeter = loop_moments(source, begin, end)
            area[loops], centre[loops, 0], centre[loops, 1] = abs(signed), cx, cy
            is_hole[loops] = signed < 0.0 and not is_one_star
            n = _append(out, n, source, begin, end, signed < 0.0, perimeter / EDGES_PER_LOOP)
            is_star[loops] = _is_star(out, starts[loops], n, cx, cy, 1.0)
            loops += 1
            starts[loops] = n
        first[plane + 1] = loops
        _nest(out, starts, area, first[plane], loops, depth, parent)
        total = 0.0
        for c in range(first[plane], loops):
            total += -area[c] if is_hole[c] else area[c]
            is_sound[plane] = is_sound[plane] and is_hole[c] == (depth[c] % 2 == 1)
        if not is_sound[plane] or abs(total - areas[plane]) > SAME_AREA * areas[plane]:
            is_sound[plane] = False
            loops = first[plane]
            n = starts[loops]
            depth[loops:], parent[loops:] = 0, -1
            first[plane + 1] = loops
    return Loops(
        out[:n].copy(), starts[: loops + 1], first, area[:loops], centre[:loops], is_star[:loops], depth[:loops],
        parent[:loops], is_sound,
    )  # fmt: skip

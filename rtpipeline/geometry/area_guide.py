"""How large a cross-section is between and beyond its planes: the area along the normal, guided by the planes' areas.

Between two planes the area is the cubic (Hermite) whose slope at each plane is that of the parabola through three
planes. Beyond the last plane that parabola goes on. So every body whose cross-section is a quadratic of the height
(ellipsoids, cones, cylinders; Cavalieri) is met exactly, wherever the planes cut it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rtpipeline.geometry.even_odd import Array
from rtpipeline.geometry.loop_links import DOWN, ENDS, UP, Links
from rtpipeline.geometry.loops import Loops
from rtpipeline.kernels import kernel

LARGEST_BULGE = np.pi / 4.0
"""Area by which a sphere's section between two planes can exceed both, in squares of their distance."""

LEAST_DIP, LARGEST_RISE = 0.5, 1.15
"""Between two planes the area stays between these factors of the smaller and the larger of theirs, or of a sphere."""

LARGEST_END = 2.0
"""A cap grows to at most this share of its plane's area (the base of a cone)."""


AREA, SLOPE, BEND, REACH = 0, 1, 2, 3
"""Columns of a cap: area (mm2) of a loop without the holes that end with it, its slope (mm2 per mm) and half its second
derivative outward, and how far the cap reaches (mm)."""


FRUSTUM_BELOW, BALL_ABOVE = 0.35, 0.5
"""Two planes are those of a frustum when the smaller is less wide than this share of the larger, of a ball from there
on (a ball cut at random by two planes is rarely below, a cone as wide as it is high mostly)."""

LARGEST_BALL = 0.8
"""A ball is larger in the middle between its two planes by at most this share of their area: farther apart they are
rather those of something long."""

NO_END_BEYOND = 1.5
"""An end that the area points to more than this many times farther off than a cap may reach is no sign of an end."""


SHARP, SHARP_MM = 4.0, 1.0
"""Half the second derivative of the area at a plane is a bend in it when it is more than the first times the least
beside it, and the second (mm2 per mm2) on top."""


class Guide(NamedTuple):
    """Area along the normal.

    height: (c,) of each loop's plane, mm; slope: (c,) of its area there, mm2 per mm. cap: (c, 2, 4) for the sides DOWN
    and UP, of loops that are roots.
    """

    height: Array
    slope: Array
    cap: Array


@kernel()
def _one_sided(heights: Array, areas: Array, n: int, is_whole: bool) -> tuple[float, float]:
    """Slope into the solid at the first of n = 1, 2 or 3 planes, and half the second derivative.

    Two planes leave the curvature open. They are those of a frustum; where they are all there is (`is_whole`) and about
    as large as each other, those of a ball.
    """
    if n == 1:
        return 0.0, 0.0
    h1 = heights[1] - heights[0]
    if n == 2:
        by = (np.sqrt(areas[1]) - np.sqrt(areas[0])) / h1
        slope, bend = 2.0 * np.sqrt(areas[0]) * by, by * by
        if not is_whole:
            return slope, bend
        likeness = np.sqrt(min(areas[0], areas[1]) / max(areas[0], areas[1]))
        weight = min(max((likeness - FRUSTUM_BELOW) / (BALL_ABOVE - FRUSTUM_BELOW), 0.0), 1.0)
        ball = max(-np.pi, -2.0 * LARGEST_BALL * (areas[0] + areas[1]) / (h1 * h1))
        of_ball = (areas[1] - areas[0]) / h1 - ball * h1
        return slope + weight * (of_ball - slope), bend + weight * (ball - bend)
    first = (areas[1] - areas[0]) / h1
    curvature = ((areas[2] - areas[1]) / (heights[2] - heights[1]) - first) / (heights[2] - heights[0])
    return first - curvature * h1, curvature


@kernel()
def _chain(loops: Loops, links: Links, planes: Array, i: int, side: int, heights: Array, areas: Array) -> int:
    """Distance and area of a loop and up to two that follow it on a side; returns how many there are."""
    n = 0
    at = i
    while at >= 0 and n < 3:
        heights[n], areas[n] = abs(planes[at] - planes[i]), loops.area_mm2[at]
        n += 1
        at = links.to[at, side]
    return n


@kernel()
def cap_reach(area: float, slope: float, curvature: float, half_gap: float, limit: float) -> float:
    """How far (mm) a cap reaches beyond its plane: to where its area comes to nothing, if that is before `limit`.

    Further off there is no sign of an end: then half the gap, which a cap whose end lies only just beyond the limit
    does not jump to.
    """
    if slope >= 0.0 and curvature >= 0.0:
        return half_gap
    root = np.inf
    disc = max(slope * slope - 4.0 * area * curvature, 0.0)
    if -slope + np.sqrt(disc) > 0.0:
        root = 2.0 * area / (-slope + np.sqrt(disc))
    if root <= limit:
        return root
    if root >= NO_END_BEYOND * limit:
        return half_gap
    return half_gap + (limit - half_gap) * (NO_END_BEYOND - root / limit) / (NO_END_BEYOND - 1.0)


@kernel()
def _parabola(loops: Loops, links: Links, planes: Array, i: int) -> tuple[float, float, bool]:
    """Slope at loop i and half the second derivative of the parabola through it and the loops below and above it;
    False where there are not both."""
    if i < 0:
        return 0.0, 0.0, False
    below, above = links.to[i, DOWN], links.to[i, UP]
    if below < 0 or above < 0:
        return 0.0, 0.0, False
    h0, h1 = planes[i] - planes[below], planes[above] - planes[i]
    d0 = (loops.area_mm2[i] - loops.area_mm2[below]) / h0
    d1 = (loops.area_mm2[above] - loops.area_mm2[i]) / h1
    return (d0 * h1 + d1 * h0) / (h0 + h1), (d1 - d0) / (h0 + h1), True


@kernel()
def _slope_between(loops: Loops, links: Links, planes: Array, i: int) -> tuple[float, bool]:
    """Slope at a loop that goes on to both sides, and whether the area has a bend there that it has not beside it.

    It is that of the parabola about the loop; at such a bend that of the parabola on the side with less of one.
    """
    slope, bend, _ = _parabola(loops, links, planes, i)
    least = np.inf
    found = slope
    for side in (DOWN, UP):
        j = links.to[i, side]
        beside, other, is_there = _parabola(loops, links, planes, j)
        if is_there and abs(other) < least:
            least = abs(other)
            found = beside + 2.0 * other * (planes[i] - planes[j])
    if abs(bend) > SHARP * least + SHARP_MM:
        return found, True
    return slope, False


@kernel()
def area_guide(loops: Loops, links: Links, planes: Array, half_gaps: Array, limits: Array) -> Guide:
    """Guide of the loops of a solid.

    planes: (c,) position of each loop's plane along the normal, mm. half_gaps: (c, 2) from each loop's plane to the end
    of its prism; limits: (c, 2) farthest that a cap may reach, mm.
    """
    n_loops = planes.shape[0]
    slope = np.zeros(n_loops)
    curvature = np.zeros((n_loops, 2))
    out = np.zeros((n_loops, 2))
    heights, areas = np.empty(3), np.empty(3)
    for i in range(n_loops):
        below, above = links.to[i, DOWN], links.to[i, UP]
        if below >= 0 and above >= 0:
            slope[i] = _slope_between(loops, links, planes, i)[0]
            continue
        inner = UP if above >= 0 else DOWN
        n = _chain(loops, links, planes, i, inner, heights, areas)
        is_whole = n == 2 and links.to[i, 1 - inner] == ENDS and links.to[links.to[i, inner], inner] == ENDS
        inward, half_second = _one_sided(heights, areas, n, is_whole)
        if n == 3 and _slope_between(loops, links, planes, links.to[i, inner])[1]:
            # the bend is at the next plane: nothing tells how the area runs between that and this one
            inward, half_second = (areas[1] - areas[0]) / heights[1], 0.0
        slope[i] = inward if inner == UP else -inward
        out[i, 1 - inner], curvature[i, 1 - inner] = -inward, half_second
    return Guide(planes, slope, _caps(loops, links, out, curvature, half_gaps, limits))


@kernel()
def _caps(loops: Loops, links: Links, slope: Array, bend: Array, half_gaps: Array, limits: Array) -> Array:
    """(c, 2, 4) caps of the loops that end; slope, bend: (c, 2) of the loops on their own, outward."""
    n_loops = slope.shape[0]
    caps = np.zeros((n_loops, 2, 4))
    for side in (DOWN, UP):
        for i in range(n_loops):
            if links.to[i, side] == ENDS:
                root = links.root[i, side]
                sign = 1.0 if (loops.depth[i] - loops.depth[root]) % 2 == 0 else -1.0
                caps[root, side, AREA] += sign * loops.area_mm2[i]
                caps[root, side, SLOPE] += sign * slope[i, side]
                caps[root, side, BEND] += sign * bend[i, side]
        for i in range(n_loops):
            if links.to[i, side] == ENDS and links.root[i, side] == i:
                cap = caps[i, side]
                if cap[SLOPE] < 0.0:
                    # a cone comes to its tip, no cap opens again behind it
                    cap[BEND] = min(cap[BEND], cap[SLOPE] * cap[SLOPE] / (4.0 * cap[AREA]))
                cap[REACH] = cap_reach(cap[AREA], cap[SLOPE], cap[BEND], half_gaps[i, side], limits[i, side])
    return caps


@kernel()
def cap_share(cap: Array, low: float, high: float) -> float:
    """Mean area of a cap between two distances from its plane (mm), as a share of the plane's area."""
    end = min(high, cap[REACH])
    if end <= low or cap[AREA] <= 0.0:
        return 0.0
    middle = 0.5 * (low + end)
    total = 0.0
    for s, weight in ((low, 1.0), (middle, 4.0), (end, 1.0)):
        total += weight * min(max(1.0 + (cap[SLOPE] * s + cap[BEND] * s * s) / cap[AREA], 0.0), LARGEST_END)
    return total / 6.0 * (end - low) / (high - low)


@kernel()
def area_between(a0: float, a1: float, s0: float, s1: float, gap: float, low: float, high: float) -> float:
    """Mean area (mm2) between two heights above the lower of two planes `gap` apart.

    a0, a1: areas of the planes; s0, s1: slopes there, mm2 per mm.
    """
    bulge = LARGEST_BULGE * gap * gap
    least, most = LEAST_DIP * min(a0, a1), max(LARGEST_RISE * max(a0, a1), max(a0, a1) + bulge)
    total = 0.0
    for h, weight in ((low, 1.0), (0.5 * (low + high), 4.0), (high, 1.0)):
        t = h / gap
        area = (1.0 - t) * (1.0 - t) * ((1.0 + 2.0 * t) * a0 + t * gap * s0)
        area += t * t * ((3.0 - 2.0 * t) * a1 - (1.0 - t) * gap * s1)
        total += weight * min(max(area, least), most)
    return total / 6.0

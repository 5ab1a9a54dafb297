"""Thin prisms in place of one prism for each plane: each with the outline and the mean area of its height.

The prism of a plane is cut into one layer around the plane, which keeps the contours as they were drawn, and `n` on
either side, half as many as the outline needs on its way to the next plane. A layer takes the outline at its middle and
is scaled about its centre to the mean area that the guide gives for its height; so the layers have the guided volume
exactly, however few they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rtpipeline.geometry.area_guide import REACH, Guide, area_between, cap_share
from rtpipeline.geometry.even_odd import Array, Ints
from rtpipeline.geometry.loop_links import BLENDS, DOWN, ENDS, UP, Links
from rtpipeline.geometry.loops import Loops, loop_moments
from rtpipeline.kernels import kernel

STEP_SHARE = 0.08
"""Way of the outline from layer to layer, as a share of the radius of a circle with the largest section's area."""

MOST_LAYERS = 6
"""Layers on either side of the one around the plane."""

LEAST_THICKNESS = 0.02
"""Thinnest layer, as a share of the same radius."""

BLEND_LAYERS = 2
"""Layers on a side where loops merge or part."""

SAME_SCALE = 1e-9
"""A layer that needs less scaling keeps the points as they are."""

SIMILAR_SCALE = 0.03
"""A loop that is no star about its centre is scaled by no more than this in a cap; else its border moves inward."""

STEEPEST = 1.0
"""Tangent of the largest tilt that a cap goes on with."""


class Layers(NamedTuple):
    """Layers of a solid, ascending.

    ends: (k, 2) along the normal, mm; plane: (k,) that the layer belongs to; area_mm2: (k,) that its contours should
    enclose. points: (n, 2); starts: (c + 1,) first point of each contour; layer: (c,) of each contour, ascending.
    missing: (m, 4) columns layer, loop, side and share of the plane's area: what single loops do not make (blends, caps
    of loops that are no stars). used: points, contours and rows of `missing` in use.
    """

    ends: Array
    plane: Ints
    area_mm2: Array
    points: Array
    starts: Ints
    layer: Ints
    missing: Array
    used: Ints


@kernel()
def _edge_share(cap: Array, at: float) -> float:
    """Share of its plane's area that a cap has just below a distance from the plane (mm)."""
    return float(cap_share(cap, 0.999 * at, at))


@kernel()
def _way(loops: Loops, links: Links, guide: Guide, farthest: Array, half_gap: float, i: int, side: int) -> float:
    """How far (mm) the outline of a loop moves between its plane and the end of its layers on a side."""
    if links.to[i, side] >= 0:
        return float(0.5 * farthest[i, side])
    cap = guide.cap[links.root[i, side], side]
    share = _edge_share(cap, min(cap[REACH], half_gap))
    return float(abs(1.0 - np.sqrt(share)) * np.sqrt(loops.area_mm2[i] / np.pi))


@kernel()
def _guest_way(loops: Loops, links: Links, guide: Guide, half_gap: float, i: int, side: int) -> float:
    """How far (mm) the outline of loop i moves in its cap beyond half the gap."""
    if not _reaches_over(links, guide, half_gap, i, side):
        return 0.0
    cap = guide.cap[links.root[i, side], side]
    shrinks = np.sqrt(_edge_share(cap, half_gap)) - np.sqrt(_edge_share(cap, cap[REACH]))
    return float(abs(shrinks) * np.sqrt(loops.area_mm2[i] / np.pi))


@kernel()
def _reaches_over(links: Links, guide: Guide, half_gap: float, i: int, side: int) -> bool:
    """Whether the cap of loop i goes on among the layers of the next plane."""
    return bool(links.to[i, side] == ENDS and guide.cap[links.root[i, side], side, REACH] > half_gap)


@kernel()
def plan_layers(
    loops: Loops, links: Links, guide: Guide, half_gaps: Array, is_end: np.ndarray, farthest: Array
) -> tuple[Array, Ints]:
    """How far the layers of each plane reach down and up (p, 2; mm), and how many there are on each side (p, 2).

    half_gaps: (p, 2) from each plane to the ends of its prism, mm; is_end: (p, 2) whether nothing touches it there.
    farthest: from `partners`.
    """
    reach = half_gaps.copy()
    counts = np.zeros(half_gaps.shape, np.int64)
    if loops.area_mm2.shape[0] == 0:
        return reach, counts
    largest_mm2 = 0.0
    for i in range(loops.area_mm2.shape[0]):
        largest_mm2 = max(largest_mm2, loops.area_mm2[i])
    radius = np.sqrt(largest_mm2 / np.pi)
    for plane in range(half_gaps.shape[0]):
        first, last = loops.first[plane], loops.first[plane + 1]
        for side in (DOWN, UP):
            if is_end[plane, side] and last > first:
                reach[plane, side] = 0.0
                for i in range(first, last):
                    reach[plane, side] = max(reach[plane, side], guide.cap[links.root[i, side], side, REACH])
            way, least = 0.0, 0
            for i in range(first, last):
                if links.to[i, side] == BLENDS:
                    least = BLEND_LAYERS
                else:
                    way = max(way, _way(loops, links, guide, farthest, reach[plane, side], i, side))
            if not is_end[plane, side]:
                other = plane + 1 if side == UP else plane - 1
                for i in range(loops.first[other], loops.first[other + 1]):
                    way = max(way, _guest_way(loops, links, guide, half_gaps[plane, side], i, 1 - side))
            needed = int(np.ceil(way / (STEP_SHARE * radius) - 0.5))
            fitting = int(reach[plane, side] / (LEAST_THICKNESS * radius) - 0.5)
            counts[plane, side] = min(max(least, min(needed, fitting)), MOST_LAYERS)
    return reach, counts


@kernel()
def _mean_area(loops: Loops, links: Links, guide: Guide, i: int, side: int, low: float, high: float) -> float:
    """Mean area (mm2) of loop i between two distances from its plane on a side."""
    j = links.to[i, side]
    if j == ENDS:
        return loops.area_mm2[i] * cap_share(guide.cap[links.root[i, side], side], low, high)
    if j == BLENDS:
        return loops.area_mm2[i]
    gap = abs(guide.height[j] - guide.height[i])
    below, above = (i, j) if side == UP else (j, i)
    if side == DOWN:
        low, high = gap - high, gap - low
    return area_between(
        loops.area_mm2[below], loops.area_mm2[above], guide.slope[below], guide.slope[above], gap, low, high
    )


@kernel()
def _keep(out: Layers, loops: Loops, k: int, i: int, area_mm2: float) -> None:
    """Count the points just written for loop i, in layer k, as a contour that encloses an area."""
    out.used[0] += loops.starts[i + 1] - loops.starts[i]
    out.layer[out.used[1]] = k
    out.used[1] += 1
    out.starts[out.used[1]] = out.used[0]
    out.area_mm2[k] += area_mm2 if loops.depth[i] % 2 == 0 else -area_mm2


@kernel()
def _leave_out(out: Layers, k: int, i: int, side: int, share: float) -> None:
    """Note that loop i stands for something in layer k that single loops do not make."""
    row = out.missing[out.used[2]]
    row[0], row[1], row[2], row[3] = k, i, side, share
    out.used[2] += 1


@kernel()
def _scale(points: Array, begin: int, end: int, target_mm2: float) -> None:
    """Scale a loop about its centre to an area."""
    area, cx, cy, _ = loop_moments(points, begin, end)
    if area <= 0.0:
        return
    factor = np.sqrt(target_mm2 / area)
    if abs(factor - 1.0) > SAME_SCALE:
        for p in range(begin, end):
            points[p, 0] = cx + (points[p, 0] - cx) * factor
            points[p, 1] = cy + (points[p, 1] - cy) * factor


@kernel()
def _write_around(out: Layers, k: int, loops: Loops, links: Links, guide: Guide, i: int, thick: Array) -> None:
    """Loop i as it was drawn, in the layer around its plane."""
    below = _mean_area(loops, links, guide, i, DOWN, 0.0, 0.5 * thick[DOWN])
    above = _mean_area(loops, links, guide, i, UP, 0.0, 0.5 * thick[UP])
    target = (below * thick[DOWN] + above * thick[UP]) / (thick[DOWN] + thick[UP])
    begin, end, n = loops.starts[i], loops.starts[i + 1], out.used[0]
    out.points[n : n + end - begin] = loops.points[begin:end]
    _scale(out.points, n, n + end - begin, target)
    _keep(out, loops, k, i, target)


@kernel()
def _write_between(
    out: Layers, k: int, loops: Loops, links: Links, guide: Guide, partner: Array, i: int, side: int, low: float,
    high: float,
) -> None:  # fmt: skip
    """Loop i on its way to the loop that it is linked to, between two distances from its plane."""
    j = links.to[i, side]
    target = _mean_area(loops, links, guide, i, side, low, high)
    t = 0.5 * (low + high) / abs(guide.height[j] - guide.height[i])
    begin, size, n = loops.starts[i], loops.starts[i + 1] - loops.starts[i], out.used[0]
    for p in range(size):
        for axis in (0, 1):
            other = loops.centre[j, axis] + partner[begin + p, side, axis]
            out.points[n + p, axis] = (1.0 - t) * loops.points[begin + p, axis] + t * other
    _scale(out.points, n, n + size, target)
    _keep(out, loops, k, i, target)


@kernel()
def _drift(loops: Loops, links: Links, guide: Guide, i: int, side: int) -> tuple[float, float]:
    """Way of the centre for each mm beyond the plane on a side, as it came from the other side."""
    j = links.to[i, 1 - side]
    if j < 0:
        return 0.0, 0.0
    gap = abs(guide.height[j] - guide.height[i])
    dx, dy = (loops.centre[i, 0] - loops.centre[j, 0]) / gap, (loops.centre[i, 1] - loops.centre[j, 1]) / gap
    steepness = np.sqrt(dx * dx + dy * dy)
    factor = STEEPEST / steepness if steepness > STEEPEST else 1.0
    return dx * factor, dy * factor


@kernel()
def _write_cap(
    out: Layers, k: int, loops: Loops, links: Links, guide: Guide, i: int, side: int, low: float, high: float,
    weight: float,
) -> None:  # fmt: skip
    """Loop i in its cap, with its root about the root's centre, between two distances from its plane.

    weight: part of the layer that lies between them.
    """
    root = links.root[i, side]
    share = weight * cap_share(guide.cap[root, side], low, high)
    factor = np.sqrt(share)
    if share <= 0.0:
        return
    if not loops.is_star[root] and abs(factor - 1.0) > SIMILAR_SCALE:
        if root == i:
            _leave_out(out, k, i, side, share)
        return
    drift = _drift(loops, links, guide, root, side)
    begin, size, n = loops.starts[i], loops.starts[i + 1] - loops.starts[i], out.used[0]
    for axis in (0, 1):
        centre = loops.centre[root, axis]
        moved = centre + 0.5 * (low + high) * drift[axis]
        for p in range(size):
            out.points[n + p, axis] = moved + factor * (loops.points[begin + p, axis] - centre)
    _keep(out, loops, k, i, loops.area_mm2[i] * share)


@kernel()
def _is_first_of_group(links: Links, first: int, i: int, side: int) -> bool:
    """Whether no loop from `first` to before i is in the same group."""
    found = False
    for other in range(first, i):
        found |= links.group[other, side] == links.group[i, side]
    return not found


@kernel()
def _empty_layers(loops: Loops, counts: Ints) -> Layers:
    """Layers with room for everything that can be written."""
    layers, contours, points = 0, 0, 0
    for plane in range(counts.shape[0]):
        # the loops of the planes below and above may reach over into its layers
        first, last = loops.first[max(plane - 1, 0)], loops.first[min(plane + 2, counts.shape[0])]
        here = 1 + counts[plane, DOWN] + counts[plane, UP]
        layers += here
        contours += here * (last - first)
        points += here * (loops.starts[last] - loops.starts[first])
    return Layers(
        np.empty((layers, 2)),
        np.empty(layers, np.int64),
        np.zeros(layers),
        np.empty((points, 2)),
        np.zeros(contours + 1, np.int64),
        np.empty(contours, np.int64),
        np.empty((contours, 4)),
        np.zeros(3, np.int64),
    )


@kernel()
def _write_guests(
    out: Layers, k: int, loops: Loops, links: Links, guide: Guide, plane: int, side: int, half_gap: float, low: float,
    high: float, weight: float,
) -> None:  # fmt: skip
    """Caps that reach over from the next plane on a side, between two distances from this plane."""
    other = plane + 1 if side == UP else plane - 1
    for i in range(loops.first[other], loops.first[other + 1]):
        if _reaches_over(links, guide, half_gap, i, 1 - side):
            gap = 2.0 * half_gap
            _write_cap(out, k, loops, links, guide, i, 1 - side, gap - high, gap - low, weight)


@kernel()
def write_layers(
    loops: Loops, links: Links, guide: Guide, planes: Array, reach: Array, counts: Ints, is_end: np.ndarray,
    partner: Array,
) -> Layers:  # fmt: skip
    """All layers that single loops make.

    planes: (p,) along the normal, mm; reach, counts: of `plan_layers`, is_end: as there; partner: of `partners`.
    """
    out = _empty_layers(loops, counts)
    k = 0
    for plane in range(planes.shape[0]):
        first, last = loops.first[plane], loops.first[plane + 1]
        thick = reach[plane] / (counts[plane] + 0.5)
        for number in range(-counts[plane, DOWN], counts[plane, UP] + 1):
            side, way = (UP, 1.0) if number > 0 else (DOWN, -1.0)
            low, high = (abs(number) - 0.5) * thick[side], (abs(number) + 0.5) * thick[side]
            out.plane[k] = plane
            if number == 0:
                out.ends[k, 0], out.ends[k, 1] = planes[plane] - 0.5 * thick[DOWN], planes[plane] + 0.5 * thick[UP]
            else:
                out.ends[k, 0] = planes[plane] + min(way * low, way * high)
                out.ends[k, 1] = planes[plane] + max(way * low, way * high)
            for i in range(first, last):
                if number == 0:
                    _write_around(out, k, loops, links, guide, i, thick)
                elif links.to[i, side] >= 0:
                    _write_between(out, k, loops, links, guide, partner, i, side, low, high)
                elif links.to[i, side] == ENDS:
                    _write_cap(out, k, loops, links, guide, i, side, low, high, 1.0)
                elif _is_first_of_group(links, first, i, side):
                    _leave_out(out, k, i, side, 0.0)
            for at in (DOWN, UP):
                if is_end[plane, at] or (number != 0 and at != side):
                    continue
                if number == 0:
                    weight = thick[at] / (thick[DOWN] + thick[UP])
                    _write_guests(
                        out, k, loops, links, guide, plane, at, reach[plane, at], 0.0, 0.5 * thick[at], weight
                    )
                else:
                    _write_guests(out, k, loops, links, guide, plane, at, reach[plane, at], low, high, 1.0)
            k += 1
    n, contours, left_out = out.used
    return Layers(
        out.ends, out.plane, out.area_mm2, out.points[:n], out.starts[: contours + 1], out.layer[:contours],
        out.missing[:left_out], out.used,
    )  # fmt: skip

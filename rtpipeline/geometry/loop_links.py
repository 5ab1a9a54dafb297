"""Which loops of neighbouring planes are one body: those of the same depth whose areas overlap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rtpipeline.geometry.even_odd import Array, Ints, is_inside
from rtpipeline.geometry.loops import INWARD, Loops, is_in_loop
from rtpipeline.kernels import kernel

DOWN, UP = 0, 1
"""Columns of whatever a loop has on both sides."""

ENDS = -1
"""A loop that goes on nowhere on this side: it is closed by a cap."""

BLENDS = -2
"""A loop that goes on as more or fewer loops on this side: they are blended as one region."""


class Links(NamedTuple):
    """What becomes of each loop below and above its plane; columns DOWN and UP.

    to: (c, 2) the loop of the next plane that it goes on in, ENDS or BLENDS. group: (c, 2) number of the group of loops
    that it is blended with; loops of one group lie in the two planes of one gap. root: (c, 2) of a loop that ENDS, the
    outermost loop around it that ends with it, or itself.
    """

    to: Ints
    group: Ints
    root: Ints
    n_groups: int


@kernel()
def _overlap(loops: Loops, i: int, j: int, is_alone: bool) -> bool:
    """Whether two loops overlap when laid on one plane.

    is_alone: each is the only one in its plane. Then they may also just touch: a thin tilted structure.
    """
    points, starts = loops.points, loops.starts
    for a, b in ((i, j), (j, i)):
        x, y = loops.centre[a]
        if is_in_loop(points, starts[b], starts[b + 1], x, y) and is_in_loop(points, starts[a], starts[a + 1], x, y):
            return True
    if is_alone:
        dx, dy = loops.centre[i, 0] - loops.centre[j, 0], loops.centre[i, 1] - loops.centre[j, 1]
        reach = np.sqrt(loops.area_mm2[i] / np.pi) + np.sqrt(loops.area_mm2[j] / np.pi)
        if dx * dx + dy * dy <= reach * reach:
            return True
    for a, b in ((i, j), (j, i)):
        x_low, x_high, y_low, y_high = np.inf, -np.inf, np.inf, -np.inf
        for p in range(starts[b], starts[b + 1]):
            x_low, x_high = min(x_low, points[p, 0]), max(x_high, points[p, 0])
            y_low, y_high = min(y_low, points[p, 1]), max(y_high, points[p, 1])
        for p in range(starts[a], starts[a + 1]):
            x, y = points[p]
            if x_low <= x <= x_high and y_low <= y <= y_high and is_in_loop(points, starts[b], starts[b + 1], x, y):
                return True
    return False


@kernel()
def _find(leader: Ints, i: int) -> int:
    while leader[i] != i:
        i = leader[i]
    return i


@kernel()
def _closes_within(loops: Loops, i: int, edges: Array, begin: int, end: int) -> bool:
    """Whether the region of edges `begin` .. `end` - 1 in the next plane covers hole i: then it may close there."""
    for p in range(loops.starts[i], loops.starts[i + 1]):
        q = p + 1 if p + 1 < loops.starts[i + 1] else loops.starts[i]
        dx, dy = loops.points[q, 0] - loops.points[p, 0], loops.points[q, 1] - loops.points[p, 1]
        x, y = loops.points[p, 0] + 0.5 * dx - INWARD * dy, loops.points[p, 1] + 0.5 * dy + INWARD * dx
        if not is_inside(edges, begin, end, x, y):
            return False
    return True


@kernel()
def _blend_gap(loops: Loops, plane: int, to: Ints, group: Ints, n_groups: int) -> int:
    """Make all loops of a plane and the next one a single group; returns the number of groups."""
    for i in range(loops.first[plane], loops.first[plane + 1]):
        to[i, UP], group[i, UP] = BLENDS, n_groups
    for i in range(loops.first[plane + 1], loops.first[plane + 2]):
        to[i, DOWN], group[i, DOWN] = BLENDS, n_groups
    return n_groups + 1


@kernel()
def _link_gap(loops: Loops, plane: int, edges: Array, edge_starts: Ints, to: Ints, group: Ints, n_groups: int) -> int:
    """Link the loops of a plane to those of the next one; returns the number of groups."""
    first, middle, last = loops.first[plane], loops.first[plane + 1], loops.first[plane + 2]
    leader = np.arange(last - first)
    is_alone = middle - first == 1 and last - middle == 1
    for i in range(first, middle):
        for j in range(middle, last):
            if loops.depth[i] == loops.depth[j] and _overlap(loops, i, j, is_alone):
                leader[_find(leader, j - first)] = _find(leader, i - first)
    for head in range(last - first):
        if leader[head] != head:
            continue
        below, above, one_below, one_above = 0, 0, -1, -1
        for i in range(first, last):
            if _find(leader, i - first) == head:
                if i < middle:
                    below, one_below = below + 1, i
                else:
                    above, one_above = above + 1, i
        if below == 1 and above == 1:
            to[one_below, UP], to[one_above, DOWN] = one_above, one_below
        elif below > 0 and above > 0:
            for i in range(first, last):
                if _find(leader, i - first) == head:
                    side = UP if i < middle else DOWN
                    to[i, side], group[i, side] = BLENDS, n_groups
            n_groups += 1
    for i in range(first, last):
        side, other = (UP, plane + 1) if i < middle else (DOWN, plane)
        if loops.depth[i] % 2 == 0 or to[i, side] != ENDS:
            continue
        if not _closes_within(loops, i, edges, edge_starts[other], edge_starts[other + 1]):
            # a hole that opens to the outside: not a matter of single loops
            return _blend_gap(loops, plane, to, group, n_groups)
    return n_groups


@kernel()
def link_loops(loops: Loops, is_joined: np.ndarray, is_blended: np.ndarray, edges: Array, edge_starts: Ints) -> Links:
    """Links of the loops of a solid. is_joined: (p - 1,) whether a plane's prism touches the next one's; is_blended:
    (p - 1,) whether the planes are to be one group. edges, edge_starts: as in `PrismSolid`."""
    n = loops.depth.shape[0]
    to = np.full((n, 2), ENDS, np.int64)
    group = np.full((n, 2), -1, np.int64)
    n_groups = 0
    for plane in range(loops.first.shape[0] - 2):
        if not is_joined[plane]:
            continue
        if is_blended[plane] or not (loops.is_sound[plane] and loops.is_sound[plane + 1]):
            n_groups = _blend_gap(loops, plane, to, group, n_groups)
        else:
            n_groups = _link_gap(loops, plane, edges, edge_starts, to, group, n_groups)
    root = np.empty((n, 2), np.int64)
    for side in (DOWN, UP):
        for i in range(n):
            root[i, side] = i
            above = loops.parent[i]
            while above >= 0 and to[above, side] == ENDS:
                root[i, side] = above
                above = loops.parent[above]
    return Links(to, group, root, n_groups)

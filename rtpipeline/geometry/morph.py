"""From one loop to another: which point of the next plane's loop belongs to each point of a loop.

Both loops are laid centre on centre. Where both are stars about their centres, points on one ray belong together, so
that circles, ellipses and whatever is only larger, smaller or moved go over into each other exactly. Else a dynamic
programme finds the order-keeping pairing with the least sum of squared distances (Fuchs, Kedem and Uselton, Commun ACM
20:693, 1977, for outlines cut into parts of equal length).
"""

from __future__ import annotations

import numpy as np

from rtpipeline.geometry.even_odd import Array, last_not_above
from rtpipeline.geometry.loop_links import DOWN, UP, Links
from rtpipeline.geometry.loops import Loops
from rtpipeline.kernels import kernel

N_PARTS = 96
"""Parts that both outlines are cut into for the dynamic programme."""


@kernel()
def _along_rays(loops: Loops, i: int, j: int, out: Array) -> None:
    """For each point of star i, the point of star j in the same direction from the centre, relative to j's centre."""
    begin, n = loops.starts[j], loops.starts[j + 1] - loops.starts[j]
    cx, cy = loops.centre[i]
    dx, dy = loops.centre[j]
    at = 0
    for row, p in enumerate(range(loops.starts[i], loops.starts[i + 1])):
        x, y = loops.points[p, 0] - cx, loops.points[p, 1] - cy
        tried = 0
        while True:
            q = begin + (at + 1 if at + 1 < n else 0)
            ax, ay = loops.points[begin + at, 0] - dx, loops.points[begin + at, 1] - dy
            bx, by = loops.points[q, 0] - dx, loops.points[q, 1] - dy
            from_a, to_b = ax * y - ay * x, x * by - y * bx
            # the ray lies between both ends of this edge, and not behind
            if (from_a >= 0.0 and to_b >= 0.0 and x * (ax + bx) + y * (ay + by) > 0.0) or tried > n:
                break
            at = at + 1 if at + 1 < n else 0
            tried += 1
        across, turning = ax * (by - ay) - ay * (bx - ax), x * (by - ay) - y * (bx - ax)
        if turning > 0.0:
            out[row, 0], out[row, 1] = x * across / turning, y * across / turning
        else:
            out[row, 0], out[row, 1] = ax, ay


@kernel()
def _lengths(points: Array, begin: int, end: int) -> Array:
    """Length of the outline up to each of its points, and in all: (n + 1,)."""
    found = np.zeros(end - begin + 1)
    for i in range(end - begin):
        q = begin if begin + i + 1 == end else begin + i + 1
        dx, dy = points[q, 0] - points[begin + i, 0], points[q, 1] - points[begin + i, 1]
        found[i + 1] = found[i] + np.sqrt(dx * dx + dy * dy)
    return found


@kernel()
def _at_length(points: Array, begin: int, lengths: Array, s: float) -> tuple[float, float]:
    """The point at a length along the outline, which goes around again after the whole."""
    n = lengths.shape[0] - 1
    s = s % lengths[n]
    i = min(last_not_above(lengths, s), n - 1)
    part = lengths[i + 1] - lengths[i]
    t = (s - lengths[i]) / part if part > 0.0 else 0.0
    q = begin + (i + 1 if i + 1 < n else 0)
    p = begin + i
    x = points[p, 0] + (points[q, 0] - points[p, 0]) * t
    return x, points[p, 1] + (points[q, 1] - points[p, 1]) * t


@kernel()
def _sampled(loops: Loops, i: int, lengths: Array) -> Array:
    """N_PARTS points evenly along a loop, relative to its centre."""
    found = np.empty((N_PARTS, 2))
    for k in range(N_PARTS):
        x, y = _at_length(loops.points, loops.starts[i], lengths, k * lengths[-1] / N_PARTS)
        found[k, 0], found[k, 1] = x - loops.centre[i, 0], y - loops.centre[i, 1]
    return found


@kernel()
def _best_turn(a: Array, b: Array) -> int:
    """How many parts b has to be turned on for the least sum of squared distances to a."""
    best, turn = np.inf, 0
    for shift in range(N_PARTS):
        total = 0.0
        for k in range(N_PARTS):
            m = k + shift if k + shift < N_PARTS else k + shift - N_PARTS
            dx, dy = a[k, 0] - b[m, 0], a[k, 1] - b[m, 1]
            total += dx * dx + dy * dy
        if total < best:
            best, turn = total, shift
    return turn


@kernel()
def _paired_parts(a: Array, b: Array, turn: int) -> Array:
    """For each part of a, and its end, how far along b (parts, from `turn` on) it belongs: (N_PARTS + 1,) ascending."""
    n = N_PARTS + 1
    cost = np.empty((n, n))
    step = np.zeros((n, n), np.int8)
    for i in range(n):
        for j in range(n):
            dx = a[i % N_PARTS, 0] - b[(j + turn) % N_PARTS, 0]
            dy = a[i % N_PARTS, 1] - b[(j + turn) % N_PARTS, 1]
            here = dx * dx + dy * dy
            if i == 0 and j == 0:
                cost[0, 0] = here
                continue
            best, way = np.inf, 0
            if i > 0 and j > 0:
                best, way = cost[i - 1, j - 1], 0
            if i > 0 and cost[i - 1, j] < best:
                best, way = cost[i - 1, j], 1
            if j > 0 and cost[i, j - 1] < best:
                best, way = cost[i, j - 1], 2
            cost[i, j], step[i, j] = best + here, way
    total, count = np.zeros(n), np.zeros(n)
    i, j = N_PARTS, N_PARTS
    while True:
        total[i] += j
        count[i] += 1.0
        if i == 0 and j == 0:
            break
        way = step[i, j]
        if way != 2:
            i -= 1
        if way != 1:
            j -= 1
    return total / count


@kernel()
def _by_programme(loops: Loops, i: int, j: int, out: Array) -> None:
    """For each point of loop i the point of loop j that belongs to it, relative to j's centre."""
    own, other = (
        _lengths(loops.points, loops.starts[i], loops.starts[i + 1]),
        _lengths(loops.points, loops.starts[j], loops.starts[j + 1]),
    )
    a, b = _sampled(loops, i, own), _sampled(loops, j, other)
    turn = _best_turn(a, b)
    along = _paired_parts(a, b, turn)
    for row in range(loops.starts[i + 1] - loops.starts[i]):
        part = own[row] / own[-1] * N_PARTS
        k = min(int(part), N_PARTS - 1)
        at = along[k] + (along[k + 1] - along[k]) * (part - k)
        x, y = _at_length(loops.points, loops.starts[j], other, (turn + at) * other[-1] / N_PARTS)
        out[row, 0], out[row, 1] = x - loops.centre[j, 0], y - loops.centre[j, 1]


@kernel()
def partners(loops: Loops, links: Links) -> tuple[Array, Array]:
    """What each point of each loop goes over into below and above.

    Returns (n, 2, 2): for the sides DOWN and UP u, v of the partner relative to the centre of its loop, where the loop
    is linked; and (c, 2) the farthest way (mm) that a point of the loop has to its partner.
    """
    found = np.zeros((loops.points.shape[0], 2, 2))
    farthest = np.zeros((loops.area_mm2.shape[0], 2))
    for i in range(loops.area_mm2.shape[0]):
        for side in (DOWN, UP):
            j = links.to[i, side]
            if j < 0:
                continue
            begin, end = loops.starts[i], loops.starts[i + 1]
            out = np.empty((end - begin, 2))
            if loops.is_star[i] and loops.is_star[j]:
                _along_rays(loops, i, j, out)
            else:
                _by_programme(loops, i, j, out)
            found[begin:end, side] = out
            most = 0.0
            for row in range(end - begin):
                dx = out[row, 0] + loops.centre[j, 0] - loops.points[begin + row, 0]
                dy = out[row, 1] + loops.centre[j, 1] - loops.points[begin + row, 1]
                most = max(most, dx * dx + dy * dy)
            farthest[i, side] = np.sqrt(most)
    return found, farthest

"""Signed distances on a lattice, and outlines of the levels of a field, for regions that no single loops make."""

from __future__ import annotations

import numpy as np

from rtpipeline.geometry.even_odd import Array, Ints
from rtpipeline.geometry.loops import loop_moments
from rtpipeline.kernels import kernel

LEVEL_STEPS, SAME_AREA = 30, 1e-7
"""Steps of the search for the level that encloses an area, and the relative error that it may end with."""


@kernel()
def _crossing(a: float, b: float) -> float:
    return a / (a - b)


@kernel()
def zero_level(field: Array) -> tuple[Array, Ints]:
    """Closed outlines of where a field on a lattice is negative: points (n, 2) as (column, row), first of each outline.

    The field is linear along the lattice's lines; its border must not be negative. Negative values lie on the left.
    """
    rows, columns = field.shape
    n_level = rows * columns
    follows = np.full(2 * n_level, -1, np.int64)
    n_crossings = 0
    for r in range(rows - 1):
        for c in range(columns - 1):
            a, b, d, e = field[r, c] < 0.0, field[r, c + 1] < 0.0, field[r + 1, c + 1] < 0.0, field[r + 1, c] < 0.0
            if a == b and b == d and d == e:
                continue
            # edges of the cell: below, right, above, left; crossed outward where it goes from negative to not
            low, right, top, left = (
                r * columns + c,
                n_level + r * columns + c + 1,
                (r + 1) * columns + c,
                (n_level + r * columns + c),
            )
            n_in = int(a) + int(b) + int(d) + int(e)
            if n_in == 2 and a == d:
                middle = field[r, c] + field[r, c + 1] + field[r + 1, c] + field[r + 1, c + 1] < 0.0
                if a:
                    if middle:
                        follows[low], follows[top] = right, left
                    else:
                        follows[low], follows[top] = left, right
                elif middle:
                    follows[right], follows[left] = top, low
                else:
                    follows[right], follows[left] = low, top
                n_crossings += 2
                continue
            # with the negative side on the left the outline enters where, going around the cell, negative ends
            enter, leave = -1, -1
            if a and not b:
                enter = low
            elif b and not a:
                leave = low
            if b and not d:
                enter = right
            elif d and not b:
                leave = right
            if d and not e:
                enter = top
            elif e and not d:
                leave = top
            if e and not a:
                enter = left
            elif a and not e:
                leave = left
            follows[enter] = leave
            n_crossings += 1
    points = np.empty((n_crossings, 2))
    starts = np.zeros(n_crossings // 3 + 2, np.int64)
    n, outlines = 0, 0
    for first in range(2 * n_level):
        if follows[first] < 0:
            continue
        at = first
        while follows[at] >= 0:
            upright = at >= n_level
            r, c = (at - n_level if upright else at) // columns, (at - n_level if upright else at) % columns
            if upright:
                points[n, 0], points[n, 1] = c, r + _crossing(field[r, c], field[r + 1, c])
            else:
                points[n, 0], points[n, 1] = c + _crossing(field[r, c], field[r, c + 1]), r
            n += 1
            after = follows[at]
            follows[at] = -1
            at = after
        outlines += 1
        starts[outlines] = n
    return points[:n], starts[: outlines + 1]


@kernel()
def _segment_distance2(points: Array, p: int, q: int, x: float, y: float) -> float:
    dx, dy = points[q, 0] - points[p, 0], points[q, 1] - points[p, 1]
    length2 = dx * dx + dy * dy
    t = ((x - points[p, 0]) * dx + (y - points[p, 1]) * dy) / length2 if length2 > 0.0 else 0.0
    t = min(max(t, 0.0), 1.0)
    ex, ey = points[p, 0] + t * dx - x, points[p, 1] + t * dy - y
    return ex * ex + ey * ey


@kernel()
def signed_distance(field: Array) -> Array:
    """Distance of each lattice point from the field's zero level, in cells; negative where the field is.

    The nearest part of the outline is handed on from neighbour to neighbour in four sweeps.
    """
    points, starts = zero_level(field)
    rows, columns = field.shape
    nearest = np.full((rows, columns), -1, np.int64)
    distance2 = np.full((rows, columns), np.inf)
    after = np.empty(points.shape[0], np.int64)
    for outline in range(starts.shape[0] - 1):
        for p in range(starts[outline], starts[outline + 1]):
            after[p] = p + 1 if p + 1 < starts[outline + 1] else starts[outline]
    for p in range(points.shape[0]):
        r, c = int(points[p, 1]), int(points[p, 0])
        for j in range(max(r - 1, 0), min(r + 3, rows)):
            for i in range(max(c - 1, 0), min(c + 3, columns)):
                d2 = _segment_distance2(points, p, after[p], float(i), float(j))
                if d2 < distance2[j, i]:
                    distance2[j, i], nearest[j, i] = d2, p
    for sweep in range(4):
        for rr in range(rows):
            j = rr if sweep < 2 else rows - 1 - rr
            for cc in range(columns):
                i = cc if sweep % 2 == 0 else columns - 1 - cc
                for dj in (-1, 0, 1):
                    for di in (-1, 0, 1):
                        if 0 <= j + dj < rows and 0 <= i + di < columns and nearest[j + dj, i + di] >= 0:
                            p = nearest[j + dj, i + di]
                            if p == nearest[j, i]:
                                continue
                            d2 = _segment_distance2(points, p, after[p], float(i), float(j))
                            if d2 < distance2[j, i]:
                                distance2[j, i], nearest[j, i] = d2, p
    return np.where(field < 0.0, -np.sqrt(distance2), np.sqrt(distance2))


@kernel()
def _enclosed(points: Array, starts: Ints) -> tuple[float, float]:
    """Area and perimeter of outlines, holes counted off."""
    area, perimeter = 0.0, 0.0
    for outline in range(starts.shape[0] - 1):
        if starts[outline + 1] > starts[outline]:
            own, _, _, length = loop_moments(points, starts[outline], starts[outline + 1])
            area += own
            perimeter += length
    return area, perimeter


@kernel()
def level_of_area(distance: Array, target: float) -> tuple[Array, Ints, float]:
    """Outlines of the level of a distance field that encloses an area (cells); and that area, as it was reached."""
    low, high = distance.min(), distance.max()
    for r in range(distance.shape[0]):
        high = min(high, distance[r, 0], distance[r, -1])
    for c in range(distance.shape[1]):
        high = min(high, distance[0, c], distance[-1, c])
    level = min(0.0, 0.5 * (low + high)) if high <= 0.0 else 0.0
    points, starts = zero_level(distance - level)
    area, perimeter = _enclosed(points, starts)
    for _ in range(LEVEL_STEPS):
        if abs(area - target) <= SAME_AREA * target:
            break
        if area > target:
            high = level
        else:
            low = level
        step = (target - area) / perimeter if perimeter > 0.0 else 0.0
        level = level + step if low < level + step < high and step != 0.0 else 0.5 * (low + high)
        points, starts = zero_level(distance - level)
        area, perimeter = _enclosed(points, starts)
    return points, starts, area


@kernel()
def labelled(mask: np.ndarray) -> tuple[Ints, int]:
    """Number of the connected part (corners connect) of each point of a mask, from 1 on, 0 outside; and how many."""
    rows, columns = mask.shape
    labels = np.zeros((rows, columns), np.int64)
    stack = np.empty((rows * columns, 2), np.int64)
    count = 0
    for r in range(rows):
        for c in range(columns):
            if not mask[r, c] or labels[r, c] > 0:
                continue
            count += 1
            labels[r, c] = count
            stack[0, 0], stack[0, 1] = r, c
            n = 1
            while n > 0:
                n -= 1
                y, x = stack[n, 0], stack[n, 1]
                for j in range(max(y - 1, 0), min(y + 2, rows)):
                    for i in range(max(x - 1, 0), min(x + 2, columns)):
                        if mask[j, i] and labels[j, i] == 0:
                            labels[j, i] = count
                            stack[n, 0], stack[n, 1] = j, i
                            n += 1
    return labels, count

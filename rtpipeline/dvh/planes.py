"""A dose along whole planes and lines of a lattice whose axes are parallel to those of the dose's grid.

With weights along each axis that many cells share, the cubic spline costs hardly more than the linear dose. `u` and `v`
are the axes of the lattice in the plane; the dose's columns run along one of them and its rows along the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rtpipeline.dvh.interpolation import index_weights, lower_index
from rtpipeline.geometry.even_odd import Array, Ints
from rtpipeline.kernels import kernel


@kernel(error_model="numpy")
def overlap(position: float, width: float, low: float, high: float) -> tuple[float, float]:
    """Share of the interval of this width about position that lies in [low, high], and the middle of that part."""
    begin, end = position - 0.5 * width, position + 0.5 * width
    if low <= begin and end <= high:
        return 1.0, position
    begin, end = max(begin, low), min(end, high)
    if end < begin or width <= 0.0:
        return 0.0, position
    return (end - begin) / width, 0.5 * (begin + end)


@kernel(error_model="numpy")
def interpolate_plane(
    coefficients: Array,
    k: int,
    weights: Array,
    u_is_column: bool,
    first_u: int,
    first_v: int,
    level: Array,
    slope: Array,
) -> None:
    """Coefficients of the dose (`level`) and of its derivative by t (`slope`) in a plane: a window, axes (v, u)."""
    w0, w1, w2, w3 = weights[0, 0], weights[0, 1], weights[0, 2], weights[0, 3]
    d0, d1, d2, d3 = weights[1, 0], weights[1, 1], weights[1, 2], weights[1, 3]
    for q in range(level.shape[0]):
        for p in range(level.shape[1]):
            j, i = (q + first_v, p + first_u) if u_is_column else (p + first_u, q + first_v)
            a, b = coefficients[k, j, i], coefficients[k + 1, j, i]
            c, e = coefficients[k + 2, j, i], coefficients[k + 3, j, i]
            level[q, p] = w0 * a + w1 * b + w2 * c + w3 * e
            slope[q, p] = d0 * a + d1 * b + d2 * c + d3 * e


@kernel(error_model="numpy")
def interpolate_line(level: Array, slope: Array, q: int, weights: Array, r: int, lines: Array) -> None:
    """Coefficients of the dose, of its derivative by the v index and by t along a line: the columns of `lines`."""
    w0, w1, w2, w3 = weights[r, 0, 0], weights[r, 0, 1], weights[r, 0, 2], weights[r, 0, 3]
    d0, d1, d2, d3 = weights[r, 1, 0], weights[r, 1, 1], weights[r, 1, 2], weights[r, 1, 3]
    for p in range(level.shape[1]):
        a, b, c, e = level[q, p], level[q + 1, p], level[q + 2, p], level[q + 3, p]
        lines[p, 0] = w0 * a + w1 * b + w2 * c + w3 * e
        lines[p, 1] = d0 * a + d1 * b + d2 * c + d3 * e
        lines[p, 2] = w0 * slope[q, p] + w1 * slope[q + 1, p] + w2 * slope[q + 2, p] + w3 * slope[q + 3, p]


@kernel(error_model="numpy")
def dose_in_line(lines: Array, p: int, weights: Array, c: int) -> tuple[float, float, float, float]:
    """Dose and its derivatives by the u index, the v index and t, from lines as of `interpolate_line`."""
    w0, w1, w2, w3 = weights[c, 0, 0], weights[c, 0, 1], weights[c, 0, 2], weights[c, 0, 3]
    d0, d1, d2, d3 = weights[c, 1, 0], weights[c, 1, 1], weights[c, 1, 2], weights[c, 1, 3]
    v0, v1, v2, v3 = lines[p, 0], lines[p + 1, 0], lines[p + 2, 0], lines[p + 3, 0]
    return (
        w0 * v0 + w1 * v1 + w2 * v2 + w3 * v3,
        d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3,
        w0 * lines[p, 1] + w1 * lines[p + 1, 1] + w2 * lines[p + 2, 1] + w3 * lines[p + 3, 1],
        w0 * lines[p, 2] + w1 * lines[p + 1, 2] + w2 * lines[p + 2, 2] + w3 * lines[p + 3, 2],
    )


@kernel(error_model="numpy")
def dose_in_plane(
    level: Array, slope: Array, p: int, q: int, along_u: Array, along_v: Array
) -> tuple[float, float, float, float]:
    """The same from a plane, at a point of its own; along_u, along_v: weights (2, 4)."""
    value, by_u, by_v, by_t = 0.0, 0.0, 0.0, 0.0
    for b in range(4):
        line, line_by_u, line_by_t = 0.0, 0.0, 0.0
        for m in range(4):
            line += along_u[0, m] * level[q + b, p + m]
            line_by_u += along_u[1, m] * level[q + b, p + m]
            line_by_t += along_u[0, m] * slope[q + b, p + m]
        value += along_v[0, b] * line
        by_u += along_v[0, b] * line_by_u
        by_v += along_v[1, b] * line
        by_t += along_v[0, b] * line_by_t
    return value, by_u, by_v, by_t


class LatticeLine(NamedTuple):
    """The columns or the rows of cells of a window: covered share of their width and place (index along the dose's
    axis) of the middle of that part, (n,); first coefficient there, (n,); and the weights, (n, 2, 4)."""

    share: Array
    place: Array
    lower: Ints
    weights: Array


@kernel(error_model="numpy")
def cells_in_line(at: float, step: float, begin: int, end: int, limits: Array, n: int, is_cubic: bool) -> LatticeLine:
    """Cells `begin` .. `end` - 1; at: index of the middle of cell 0 along an axis of n voxels, step: per cell."""
    share, place = np.empty(end - begin), np.empty(end - begin)
    lower = np.empty(end - begin, np.int64)
    weights = np.empty((end - begin, 2, 4))
    for c in range(end - begin):
        share[c], place[c] = overlap(at + (begin + c) * step, abs(step), limits[0], limits[1])
        lower[c] = lower_index(place[c], n)
        index_weights(is_cubic, place[c], lower[c], n, weights[c])
    return LatticeLine(share, place, lower, weights)


@kernel(error_model="numpy")
def span(line: LatticeLine, step: float, n: int) -> tuple[int, int]:
    """First coefficient that any point in the cells of a line needs, and the last + 1."""
    ends = line.place[0], line.place[-1]
    low, high = min(ends) - 0.5 * abs(step), max(ends) + 0.5 * abs(step)
    return lower_index(low, n), lower_index(high, n) + 4


@kernel(error_model="numpy")
def interpolate_level(coefficients: Array, k: int, weights: Array, first_j: int, first_i: int, level: Array) -> None:
    """Coefficients of the dose in a plane: a window, axes (row, column)."""
    w0, w1, w2, w3 = weights[0, 0], weights[0, 1], weights[0, 2], weights[0, 3]
    for j in range(level.shape[0]):
        for i in range(level.shape[1]):
            a, b = coefficients[k, j + first_j, i + first_i], coefficients[k + 1, j + first_j, i + first_i]
            c, e = coefficients[k + 2, j + first_j, i + first_i], coefficients[k + 3, j + first_j, i + first_i]
            level[j, i] = w0 * a + w1 * b + w2 * c + w3 * e


@kernel(error_model="numpy")
def value_in_level(level: Array, j: int, i: int, along_rows: Array, along_columns: Array) -> float:
    """Dose at a point of such a window."""
    w0, w1, w2, w3 = along_columns[0, 0], along_columns[0, 1], along_columns[0, 2], along_columns[0, 3]
    value = 0.0
    for b in range(4):
        line = w0 * level[j + b, i] + w1 * level[j + b, i + 1] + w2 * level[j + b, i + 2] + w3 * level[j + b, i + 3]
        value += along_rows[0, b] * line
    return value

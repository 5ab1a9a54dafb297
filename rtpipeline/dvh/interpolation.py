"""Dose at a point, its derivatives, and whether it is known there: compiled, for the other kernels to call.

Points are given as (offset along the dose grid's normal in mm, row index, column index); planes may be spaced unevenly.
Along each axis the dose is a sum of four coefficients, times weights that depend on the point's place between its two
voxel centres: those of the cubic spline (`spline`), or, for the linear dose, the values themselves with two weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rtpipeline.dvh.spline import Bools
from rtpipeline.geometry.even_odd import Array
from rtpipeline.kernels import kernel

NO_WEIGHT = 1e-9
"""A voxel with less interpolation weight takes no part, so it need not be known."""

ON_NODE = 1e-7
"""A point nearer to a voxel centre than this share of the spacing lies on it."""


class Field(NamedTuple):
    """An interpolated dose.

    coefficients: (z + 2, y + 2, x + 2); of the voxel centres k and k + 1 those with the indices k .. k + 3 take part.
    Linear: the values, with a border that plays no part. offsets: (z,) ascending planes, mm. table: (z - 1, 4, 4)
    weights between planes, see `interval_table`; unused when linear. floor_gy: dose below which the spline is held.
    """

    coefficients: Array
    offsets: Array
    table: Array
    floor_gy: float
    is_cubic: bool


@kernel(error_model="numpy")
def lower_plane(offsets: Array, t: float, hint: int) -> int:
    """Index of the plane below offset t, walking from the previous answer; clamped to the first and last gap."""
    k = hint
    while k > 0 and t < offsets[k]:
        k -= 1
    while k < offsets.shape[0] - 2 and t >= offsets[k + 1]:
        k += 1
    return k


@kernel(error_model="numpy")
def lower_index(position: float, n: int) -> int:
    """Index of the voxel at or before a position; clamped so that there is a next one."""
    return min(max(int(np.floor(position)), 0), n - 2)


@kernel(error_model="numpy")
def plane_below(offsets: Array, t: float) -> int:
    """The same without a previous answer: planes are evenly spaced as a rule, so that the walk is short."""
    n_gaps = offsets.shape[0] - 1
    guess = lower_index((t - offsets[0]) / (offsets[n_gaps] - offsets[0]) * n_gaps, n_gaps + 1)
    return lower_plane(offsets, t, guess)


@kernel(error_model="numpy")
def tie(share: float, lower: int, n: int) -> int:
    """Step to the neighbouring interval that a point at this share of its interval also belongs to; 0: none."""
    if share < ON_NODE and lower > 0:
        return -1
    if share > 1.0 - ON_NODE and lower < n - 2:
        return 1
    return 0


@kernel(error_model="numpy")
def _linear_weights(s: float, gap: float, side: int, other_gap: float, weights: Array) -> None:
    """Weights of the value (row 0) and of the derivative (row 1); s: share of the interval below the point.

    side: where the derivative jumps at a voxel centre, see `tie`, it is the mean of its two sides, so that the result
    does not depend on the direction in which rows, columns and planes are listed.
    """
    s = min(max(s, 0.0), 1.0)
    own, other = (1.0 / gap, 0.0) if side == 0 else (0.5 / gap, 0.5 / other_gap)
    weights[0, 0], weights[0, 1], weights[0, 2], weights[0, 3] = 0.0, 1.0 - s, s, 0.0
    weights[1, 0], weights[1, 1], weights[1, 2], weights[1, 3] = 0.0, -own, own, 0.0
    if side < 0:
        weights[1, 0] -= other
        weights[1, 1] += other
    elif side > 0:
        weights[1, 2] -= other
        weights[1, 3] += other


@kernel(error_model="numpy")
def plane_weights(field: Field, k: int, t: float, weights: Array) -> None:
    """Weights (2, 4) of the planes' coefficients k .. k + 3 in the dose at offset t and in its derivative per mm."""
    offsets = field.offsets
    gap = offsets[k + 1] - offsets[k]
    s = (t - offsets[k]) / gap
    if field.is_cubic:
        table = field.table
        for m in range(4):
            c1, c2, c3 = table[k, m, 1], table[k, m, 2], table[k, m, 3]
            weights[0, m] = table[k, m, 0] + s * (c1 + s * (c2 + s * c3))
            weights[1, m] = (c1 + s * (2.0 * c2 + s * 3.0 * c3)) / gap
        return
    side = tie(s, k, offsets.shape[0])
    _linear_weights(s, gap, side, offsets[k + side + 1] - offsets[k + side], weights)


@kernel(error_model="numpy")
def index_weights(is_cubic: bool, position: float, lower: int, n: int, weights: Array) -> None:
    """The same along rows or columns, of the coefficients lower .. lower + 3; derivative per index."""
    s = position - lower
    if not is_cubic:
        _linear_weights(s, 1.0, tie(s, lower, n), 1.0, weights)
        return
    r = 1.0 - s
    weights[0, 0] = r * r * r / 6.0
    weights[0, 1] = 2.0 / 3.0 - s * s * (1.0 - 0.5 * s)
    weights[0, 2] = 2.0 / 3.0 - r * r * (1.0 - 0.5 * r)
    weights[0, 3] = s * s * s / 6.0
    weights[1, 0] = -0.5 * r * r
    weights[1, 1] = s * (1.5 * s - 2.0)
    weights[1, 2] = r * (2.0 - 1.5 * r)
    weights[1, 3] = 0.5 * s * s


@kernel(error_model="numpy")
def dose_at(
    field: Field, k: int, t: float, row: float, column: float, weights: Array
) -> tuple[float, float, float, float]:
    """Dose (Gy) between planes k and k + 1 and its derivatives by t (per mm), row and column index.

    weights: work space (3, 2, 4).
    """
    n_rows, n_columns = field.coefficients.shape[1] - 2, field.coefficients.shape[2] - 2
    j, i = lower_index(row, n_rows), lower_index(column, n_columns)
    plane_weights(field, k, t, weights[0])
    index_weights(field.is_cubic, row, j, n_rows, weights[1])
    index_weights(field.is_cubic, column, i, n_columns, weights[2])
    coefficients = field.coefficients
    w0, w1, w2, w3 = weights[2, 0, 0], weights[2, 0, 1], weights[2, 0, 2], weights[2, 0, 3]
    d0, d1, d2, d3 = weights[2, 1, 0], weights[2, 1, 1], weights[2, 1, 2], weights[2, 1, 3]
    value, by_t, by_row, by_column = 0.0, 0.0, 0.0, 0.0
    for a in range(4):
        level, level_by_row, level_by_column = 0.0, 0.0, 0.0
        for b in range(4):
            e, f = coefficients[k + a, j + b, i], coefficients[k + a, j + b, i + 1]
            g, h = coefficients[k + a, j + b, i + 2], coefficients[k + a, j + b, i + 3]
            line = w0 * e + w1 * f + w2 * g + w3 * h
            level += weights[1, 0, b] * line
            level_by_row += weights[1, 1, b] * line
            level_by_column += weights[1, 0, b] * (d0 * e + d1 * f + d2 * g + d3 * h)
        value += weights[0, 0, a] * level
        by_t += weights[0, 1, a] * level
        by_row += weights[0, 0, a] * level_by_row
        by_column += weights[0, 0, a] * level_by_column
    if value < field.floor_gy:
        return field.floor_gy, 0.0, 0.0, 0.0
    return value, by_t, by_row, by_column


@kernel(error_model="numpy")
def is_known(known: Bools, offsets: Array, k: int, t: float, row: float, column: float) -> bool:
    """Whether every voxel between which the point lies is known."""
    j, i = lower_index(row, known.shape[1]), lower_index(column, known.shape[2])
    a, b, c = (t - offsets[k]) / (offsets[k + 1] - offsets[k]), row - j, column - i
    for dk in range(2):
        for dj in range(2):
            for di in range(2):
                weight = (a if dk else 1.0 - a) * (b if dj else 1.0 - b) * (c if di else 1.0 - c)
                if weight > NO_WEIGHT and not known[k + dk, j + dj, i + di]:
                    return False
    return True

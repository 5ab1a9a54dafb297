"""Trilinear dose at a point, its derivatives, and whether it is known there: compiled, for the other kernels to call.

Points are given as (offset along the dose grid's normal in mm, row index, column index); planes may be spaced unevenly.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rtpipeline.geometry.even_odd import Array

Bools = NDArray[np.bool_]

NO_WEIGHT = 1e-9
"""A voxel with less interpolation weight takes no part, so it need not be known."""

ON_NODE = 1e-7
"""A point nearer to a voxel centre than this share of the spacing lies on it."""


@njit(cache=True, error_model="numpy")
def lower_plane(offsets: Array, t: float, hint: int) -> int:
    """Index of the plane below offset t, walking from the previous answer; clamped to the first and last gap."""
    k = hint
    while k > 0 and t < offsets[k]:
        k -= 1
    while k < offsets.shape[0] - 2 and t >= offsets[k + 1]:
        k += 1
    return k


@njit(cache=True, error_model="numpy")
def lower_index(position: float, n: int) -> int:
    """Index of the voxel at or before a position; clamped so that there is a next one."""
    return min(max(int(np.floor(position)), 0), n - 2)


@njit(cache=True, error_model="numpy")
def _linear_in_cell(
    dose: Array, offsets: Array, k: int, j: int, i: int, t: float, row: float, column: float
) -> tuple[float, float, float, float]:
    """Trilinear dose between the voxels (k, j, i) and (k + 1, j + 1, i + 1) and its derivatives, see `linear_dose`."""
    gap = offsets[k + 1] - offsets[k]
    a = min(max((t - offsets[k]) / gap, 0.0), 1.0)
    b = min(max(row - j, 0.0), 1.0)
    c = min(max(column - i, 0.0), 1.0)
    d000, d001, d010, d011 = dose[k, j, i], dose[k, j, i + 1], dose[k, j + 1, i], dose[k, j + 1, i + 1]
    d100, d101, d110, d111 = (
        dose[k + 1, j, i],
        dose[k + 1, j, i + 1],
        dose[k + 1, j + 1, i],
        dose[k + 1, j + 1, i + 1],
    )
    e00, e01 = d000 + (d100 - d000) * a, d001 + (d101 - d001) * a
    e10, e11 = d010 + (d110 - d010) * a, d011 + (d111 - d011) * a
    f0, f1 = e00 + (e10 - e00) * b, e01 + (e11 - e01) * b
    by_column = f1 - f0
    by_row = (e10 - e00) * (1.0 - c) + (e11 - e01) * c
    low = (d100 - d000) * (1.0 - b) + (d110 - d010) * b
    high = (d101 - d001) * (1.0 - b) + (d111 - d011) * b
    return f0 + by_column * c, (low + (high - low) * c) / gap, by_row, by_column


@njit(cache=True, error_model="numpy")
def tie(share: float, lower: int, n: int) -> int:
    """Step to the neighbouring interval that a point at this share of its interval also belongs to; 0: none."""
    if share < ON_NODE and lower > 0:
        return -1
    if share > 1.0 - ON_NODE and lower < n - 2:
        return 1
    return 0


@njit(cache=True, error_model="numpy")
def linear_dose(
    dose: Array, offsets: Array, k: int, t: float, row: float, column: float, both_sides: bool
) -> tuple[float, float, float, float]:
    """Trilinear dose between planes k and k + 1 and its derivatives by t (per mm), row and column index.

    both_sides: where the derivative jumps at a voxel centre, the mean of its two sides, so that the result does not
    depend on the direction in which rows, columns and planes are listed.
    """
    j, i = lower_index(row, dose.shape[1]), lower_index(column, dose.shape[2])
    if both_sides:
        dk = tie((t - offsets[k]) / (offsets[k + 1] - offsets[k]), k, dose.shape[0])
        dj, di = tie(row - j, j, dose.shape[1]), tie(column - i, i, dose.shape[2])
        if dk != 0 or dj != 0 or di != 0:
            value, by_t, by_row, by_column = 0.0, 0.0, 0.0, 0.0
            for side in range(8):
                kk, jj, ii = k + dk * (side & 1), j + dj * (side >> 1 & 1), i + di * (side >> 2 & 1)
                v, gt, gr, gc = _linear_in_cell(dose, offsets, kk, jj, ii, t, row, column)
                value += 0.125 * v
                by_t += 0.125 * gt
                by_row += 0.125 * gr
                by_column += 0.125 * gc
            return value, by_t, by_row, by_column
    return _linear_in_cell(dose, offsets, k, j, i, t, row, column)


@njit(cache=True, error_model="numpy")
def is_known(known: Bools, offsets: Array, k: int, t: float, row: float, column: float) -> bool:
    """Whether every voxel that takes part in the interpolation is known."""
    j, i = lower_index(row, known.shape[1]), lower_index(column, known.shape[2])
    a, b, c = (t - offsets[k]) / (offsets[k + 1] - offsets[k]), row - j, column - i
    for dk in range(2):
        for dj in range(2):
            for di in range(2):
                weight = (a if dk else 1.0 - a) * (b if dj else 1.0 - b) * (c if di else 1.0 - c)
                if weight > NO_WEIGHT and not known[k + dk, j + dj, i + di]:
                    return False
    return True

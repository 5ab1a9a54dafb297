"""Exact share of every cell of a lattice that an even-odd region covers, with the centroid and spread of that share.

The signed edges of `even_odd` make this a single pass: each piece of an edge inside a cell adds the part of the cell
to its right, and a running sum along the row adds the whole cells beyond. All integrands are polynomials of degree
three or less along an edge, so two Gauss points integrate them exactly.
"""

from __future__ import annotations

import numpy as np

from rtpipeline.geometry.even_odd import Array
from rtpipeline.kernels import kernel

N_ACCUMULATORS = 9
"""Per cell: six moments of the part to the right of the edges inside it, three that run on along the row."""

N_MOMENTS = 6
"""Per cell: covered share, centroid x and y from the cell's centre, variances xx, xy, yy (all in cell units)."""

EMPTY_SHARE = 1e-10
"""A share below this is rounding of the running sum, not coverage."""

GAUSS_OFFSET = 0.5 / np.sqrt(3.0)
"""Distance of the two Gauss-Legendre points from the middle of a unit interval."""


@kernel(error_model="numpy")
def _add_piece(acc: Array, row: int, column: int, xa: float, ya: float, xb: float, yb: float, sign: float) -> None:
    """A piece of an edge inside one cell. Left of the lattice it opens the whole row; right of it, nothing."""
    n_columns = acc.shape[1] - 1
    if column >= n_columns:
        return
    weight = 0.5 * sign * abs(yb - ya)
    for q in range(2):
        t = 0.5 - GAUSS_OFFSET if q == 0 else 0.5 + GAUSS_OFFSET
        v = ya + t * (yb - ya) - row - 0.5
        if column < 0:
            acc[row, 0, 6] += weight
            acc[row, 0, 7] += weight * v
            acc[row, 0, 8] += weight * v * v
            continue
        u = xa + t * (xb - xa) - column - 0.5
        first = weight * (0.5 - u)
        second = weight * 0.5 * (0.25 - u * u)
        acc[row, column, 0] += first
        acc[row, column, 1] += second
        acc[row, column, 2] += v * first
        acc[row, column, 3] += weight * (0.125 - u * u * u) / 3.0
        acc[row, column, 4] += v * second
        acc[row, column, 5] += v * v * first
        acc[row, column + 1, 6] += weight
        acc[row, column + 1, 7] += weight * v
        acc[row, column + 1, 8] += weight * v * v


@kernel(error_model="numpy")
def _add_row_piece(acc: Array, row: int, xa: float, ya: float, xb: float, yb: float, sign: float) -> None:
    """A piece of an edge inside one row, cut at the columns."""
    n_columns = acc.shape[1] - 1
    if xa > xb:
        xa, ya, xb, yb = xb, yb, xa, ya
    if xb <= 0.0:
        _add_piece(acc, row, -1, xa, ya, xb, yb, sign)
        return
    if xa >= n_columns:
        return
    slope = (yb - ya) / (xb - xa) if xb > xa else 0.0
    if xa < 0.0:
        y_border = ya - xa * slope
        _add_piece(acc, row, -1, xa, ya, 0.0, y_border, sign)
        xa, ya = 0.0, y_border
    column = int(np.floor(xa))
    while True:
        if xb <= column + 1.0:
            _add_piece(acc, row, column, xa, ya, xb, yb, sign)
            return
        if column >= n_columns:
            return
        y_border = yb - (xb - (column + 1.0)) * slope
        _add_piece(acc, row, column, xa, ya, column + 1.0, y_border, sign)
        xa, ya = column + 1.0, y_border
        column += 1


@kernel(error_model="numpy")
def cell_moments(
    edges: Array, begin: int, end: int, x0: float, y0: float, hx: float, hy: float, acc: Array, cells: Array
) -> None:
    """Fill `cells` (rows, columns, N_MOMENTS) for the region of edges `begin` .. `end` - 1.

    x0, y0: lower corner of cell (0, 0), mm; hx, hy: cell size, mm. acc: work space (rows, columns + 1,
    N_ACCUMULATORS). Parts of the region outside the lattice are cut off exactly.
    """
    n_rows, n_columns = cells.shape[0], cells.shape[1]
    acc[:] = 0.0
    for e in range(begin, end):
        xa, ya = (edges[e, 0] - x0) / hx, (edges[e, 1] - y0) / hy
        xb, yb = (edges[e, 2] - x0) / hx, (edges[e, 3] - y0) / hy
        if yb <= 0.0 or ya >= n_rows or yb <= ya:
            continue
        slope = (xb - xa) / (yb - ya)
        sign = edges[e, 4]
        row = 0
        x, y = xa, ya
        if ya < 0.0:
            x, y = xa - ya * slope, 0.0
        else:
            row = int(np.floor(ya))
        while row < n_rows:
            if yb <= row + 1.0:
                _add_row_piece(acc, row, x, y, xb, yb, sign)
                break
            x_next = xb - (yb - (row + 1.0)) * slope
            _add_row_piece(acc, row, x, y, x_next, row + 1.0, sign)
            x, y = x_next, row + 1.0
            row += 1
    for row in range(n_rows):
        run0 = 0.0
        run1 = 0.0
        run2 = 0.0
        for column in range(n_columns):
            run0 += acc[row, column, 6]
            run1 += acc[row, column, 7]
            run2 += acc[row, column, 8]
            share = run0 + acc[row, column, 0]
            if share <= EMPTY_SHARE:
                cells[row, column, 0] = 0.0
                continue
            cx, cy = acc[row, column, 1] / share, (run1 + acc[row, column, 2]) / share
            cells[row, column, 0] = share
            cells[row, column, 1] = min(max(cx, -0.5), 0.5)
            cells[row, column, 2] = min(max(cy, -0.5), 0.5)
            cells[row, column, 3] = max((run0 / 12.0 + acc[row, column, 3]) / share - cx * cx, 0.0)
            cells[row, column, 4] = acc[row, column, 4] / share - cx * cy
            cells[row, column, 5] = max((run2 + acc[row, column, 5]) / share - cy * cy, 0.0)


def coverage_lattice(
    edges: np.ndarray, x0_mm: float, y0_mm: float, hx_mm: float, hy_mm: float, shape_yx: tuple[int, int]
) -> np.ndarray:
    """Covered share of each cell, (rows, columns) in 0 .. 1, of one plane's region given by its signed edges."""
    acc = np.empty((shape_yx[0], shape_yx[1] + 1, N_ACCUMULATORS))
    cells = np.empty((*shape_yx, N_MOMENTS))
    cell_moments(edges, 0, len(edges), x0_mm, y0_mm, hx_mm, hy_mm, acc, cells)
    return np.clip(cells[:, :, 0], 0.0, 1.0)

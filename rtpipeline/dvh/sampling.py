"""Cells of a prism solid sampled in a dose grid.

A 3 x 4 matrix takes a point of the solid's frame (u, v, w; mm) to the dose grid's (offset along its normal in mm, row
index, column index), so every orientation is served. Where the contour planes and the axes in them are parallel to the
dose's, as nearly always and in all eight patient positions, a second path interpolates whole planes and lines first:
with weights along each axis that many cells share, the cubic spline costs little more than the linear dose.

Each cell is represented by the dose at the centroid of its covered part and by the spread of the dose over that part,
from the gradient and the exact second moments of the part. In a linear dose mean and variance are exact. The shape of
the spread is that of a box seen along the gradient, a sum of even spreads: of two, the widest and one for the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from rtpipeline.dvh.interpolation import (
    Field,
    dose_at,
    index_weights,
    is_known,
    lower_index,
    lower_plane,
    plane_weights,
)
from rtpipeline.dvh.spline import Bools
from rtpipeline.geometry.coverage import EMPTY_SHARE, N_ACCUMULATORS, N_MOMENTS, cell_moments
from rtpipeline.geometry.even_odd import Array, Ints

SAMPLE_COLUMNS = 4
"""Columns of a sample table: dose (Gy), full widths of its wider and its narrower even spread (Gy), volume (mm3)."""

FULL_SHARE = 1.0 - 1e-9
"""A cell with at least this share is covered whole; its moments are those of a box."""


@njit(cache=True, error_model="numpy")
def _overlap(position: float, width: float, low: float, high: float) -> tuple[float, float]:
    """Share of the interval of this width about position that lies in [low, high], and the middle of that part."""
    begin, end = position - 0.5 * width, position + 0.5 * width
    if low <= begin and end <= high:
        return 1.0, position
    begin, end = max(begin, low), min(end, high)
    if end < begin or width <= 0.0:
        return 0.0, position
    return (end - begin) / width, 0.5 * (begin + end)


@njit(cache=True, error_model="numpy")
def _with_room(samples: Array, needed: int) -> Array:
    if needed <= samples.shape[0]:
        return samples
    grown = np.empty((max(needed, 2 * samples.shape[0]), SAMPLE_COLUMNS))
    grown[: samples.shape[0]] = samples
    return grown


@njit(cache=True, error_model="numpy")
def _window(edges: Array, begin: int, end: int, origin: Array, cell: Array, shape: Ints) -> tuple[int, int, int, int]:
    """First and last + 1 column and row of the lattice that the region of edges `begin` .. `end` - 1 reaches."""
    x_low, x_high, y_low, y_high = np.inf, -np.inf, np.inf, -np.inf
    for e in range(begin, end):
        x_low, x_high = min(x_low, edges[e, 0], edges[e, 2]), max(x_high, edges[e, 0], edges[e, 2])
        y_low, y_high = min(y_low, edges[e, 1]), max(y_high, edges[e, 3])
    c0, r0 = max(int((x_low - origin[0]) / cell[0]), 0), max(int((y_low - origin[1]) / cell[1]), 0)
    c1 = min(int((x_high - origin[0]) / cell[0]) + 1, shape[0])
    r1 = min(int((y_high - origin[1]) / cell[1]) + 1, shape[1])
    return c0, c1, r0, r1


@njit(cache=True, error_model="numpy")
def _write_cell(
    samples: Array,
    n: int,
    cells: Array,
    r: int,
    c: int,
    value: float,
    along_u: float,
    along_v: float,
    along_w: float,
    volume: float,
) -> None:
    """A cell covered whole or in part; along_u, along_v, along_w: change of the dose across the whole cell (Gy)."""
    if cells[r, c, 0] < FULL_SHARE:
        # an even spread of width b has the variance b^2 / 12
        variance = along_u * along_u * cells[r, c, 3] + along_v * along_v * cells[r, c, 5]
        variance += 2.0 * along_u * along_v * cells[r, c, 4]
        along_u, along_v = np.sqrt(12.0 * max(variance, 0.0)), 0.0
    along_u, along_v, along_w = along_u * along_u, along_v * along_v, along_w * along_w
    wide = max(along_u, along_v, along_w)
    narrow = along_u + along_v + along_w - wide
    samples[n, 0] = value
    samples[n, 1] = np.sqrt(max(wide, narrow))
    samples[n, 2] = np.sqrt(max(min(wide, narrow), 0.0))
    samples[n, 3] = volume


@njit(cache=True, error_model="numpy")
def note_extremes(found: Array, value: float, u: float, v: float, w: float) -> None:
    """Keep a value and its place when it is the least (row 0) or the greatest (row 1) so far; found: (2, 4)."""
    if value < found[0, 0]:
        found[0, 0], found[0, 1], found[0, 2], found[0, 3] = value, u, v, w
    if value > found[1, 0]:
        found[1, 0], found[1, 1], found[1, 2], found[1, 3] = value, u, v, w


@njit(cache=True, error_model="numpy")
def nothing_found() -> Array:
    """A table for `note_extremes`."""
    found = np.zeros((2, 4))
    found[0, 0], found[1, 0] = np.inf, -np.inf
    return found


@njit(cache=True, error_model="numpy")
def sample_cells(
    edges: Array,
    edge_starts: Ints,
    slabs: Array,
    n_layers: Ints,
    origin: Array,
    cell: Array,
    shape: Ints,
    matrix: Array,
    field: Field,
    known: Bools,
    box: Array,
    inside_box: bool,
    capacity: int,
) -> tuple[Array, int, float, Array]:
    """Dose samples of every covered cell, (>= n, SAMPLE_COLUMNS), their number n, the volume (mm3) of the cells without
    known dose, and the least and the greatest sample with its place, see `note_extremes`.

    edges, edge_starts, slabs: the solid, see `PrismSolid`. n_layers: (p,) layers that each slab is cut into. origin,
    cell: (2,) corner and size (mm) of the lattice in u, v; shape: its (columns, rows). matrix: (3, 4), see the module.
    known: (z, y, x), or (0, 0, 0) when all is known. box: (3, 2), where interpolation is possible; inside_box: the
    whole solid lies in it. capacity: number of samples to expect.
    """
    samples = np.empty((capacity, SAMPLE_COLUMNS))
    found = nothing_found()
    weights = np.empty((3, 2, 4))
    n = 0
    unknown = 0.0
    k = 0
    all_known = known.shape[0] == 0
    for plane in range(slabs.shape[0]):
        begin, end = edge_starts[plane], edge_starts[plane + 1]
        if begin == end:
            continue
        c0, c1, r0, r1 = _window(edges, begin, end, origin, cell, shape)
        u0, v0 = origin[0] + c0 * cell[0], origin[1] + r0 * cell[1]
        acc = np.empty((r1 - r0, c1 - c0 + 1, N_ACCUMULATORS))
        cells = np.empty((r1 - r0, c1 - c0, N_MOMENTS))
        cell_moments(edges, begin, end, u0, v0, cell[0], cell[1], acc, cells)
        hu, hv, hw = cell[0], cell[1], (slabs[plane, 1] - slabs[plane, 0]) / n_layers[plane]
        widths = np.abs(matrix[:, 0]) * hu + np.abs(matrix[:, 1]) * hv + np.abs(matrix[:, 2]) * hw
        for layer in range(n_layers[plane]):
            w = slabs[plane, 0] + (layer + 0.5) * hw
            samples = _with_room(samples, n + cells.shape[0] * cells.shape[1])
            for r in range(r1 - r0):
                for c in range(c1 - c0):
                    share = cells[r, c, 0]
                    if share <= EMPTY_SHARE:
                        continue
                    u, v = u0 + (c + 0.5 + cells[r, c, 1]) * hu, v0 + (r + 0.5 + cells[r, c, 2]) * hv
                    volume = share * hu * hv * hw
                    t = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2] * w + matrix[0, 3]
                    row = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2] * w + matrix[1, 3]
                    column = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2] * w + matrix[2, 3]
                    if not inside_box:
                        share_t, t = _overlap(t, widths[0], box[0, 0], box[0, 1])
                        share_r, row = _overlap(row, widths[1], box[1, 0], box[1, 1])
                        share_c, column = _overlap(column, widths[2], box[2, 0], box[2, 1])
                        share = share_t * share_r * share_c
                        unknown += volume * (1.0 - share)
                        volume *= share
                        if volume <= 0.0:
                            continue
                    k = lower_plane(field.offsets, t, k)
                    if not all_known and not is_known(known, field.offsets, k, t, row, column):
                        unknown += volume
                        continue
                    value, by_t, by_row, by_column = dose_at(field, k, t, row, column, weights)
                    gu = by_t * matrix[0, 0] + by_row * matrix[1, 0] + by_column * matrix[2, 0]
                    gv = by_t * matrix[0, 1] + by_row * matrix[1, 1] + by_column * matrix[2, 1]
                    gw = by_t * matrix[0, 2] + by_row * matrix[1, 2] + by_column * matrix[2, 2]
                    _write_cell(samples, n, cells, r, c, value, gu * hu, gv * hv, gw * hw, volume)
                    note_extremes(found, value, u, v, w)
                    n += 1
    return samples, n, unknown, found


@njit(cache=True, error_model="numpy")
def _interpolate_plane(
    coefficients: Array, k: int, weights: Array, u_is_column: bool, first: Ints, level: Array, slope: Array
) -> None:
    """Coefficients of the dose (`level`) and of its derivative by t (`slope`) in a plane: a window, axes (v, u)."""
    w, d = weights[0], weights[1]
    for q in range(level.shape[0]):
        for p in range(level.shape[1]):
            j, i = (q + first[1], p + first[0]) if u_is_column else (p + first[0], q + first[1])
            a, b = coefficients[k, j, i], coefficients[k + 1, j, i]
            c, e = coefficients[k + 2, j, i], coefficients[k + 3, j, i]
            level[q, p] = w[0] * a + w[1] * b + w[2] * c + w[3] * e
            slope[q, p] = d[0] * a + d[1] * b + d[2] * c + d[3] * e


@njit(cache=True, error_model="numpy")
def _interpolate_line(level: Array, slope: Array, q: int, weights: Array, lines: Array) -> None:
    """Coefficients of the dose, of its derivative by the v index and by t along a line: the three rows of `lines`."""
    w, d = weights[0], weights[1]
    for p in range(level.shape[1]):
        a, b, c, e = level[q, p], level[q + 1, p], level[q + 2, p], level[q + 3, p]
        lines[0, p] = w[0] * a + w[1] * b + w[2] * c + w[3] * e
        lines[1, p] = d[0] * a + d[1] * b + d[2] * c + d[3] * e
        lines[2, p] = w[0] * slope[q, p] + w[1] * slope[q + 1, p] + w[2] * slope[q + 2, p] + w[3] * slope[q + 3, p]


@njit(cache=True, error_model="numpy")
def _dose_in_line(lines: Array, p: int, weights: Array) -> tuple[float, float, float, float]:
    """Dose and its derivatives by the u index, the v index and t, from lines as of `_interpolate_line`."""
    value, by_u, by_v, by_t = 0.0, 0.0, 0.0, 0.0
    for m in range(4):
        value += weights[0, m] * lines[0, p + m]
        by_u += weights[1, m] * lines[0, p + m]
        by_v += weights[0, m] * lines[1, p + m]
        by_t += weights[0, m] * lines[2, p + m]
    return value, by_u, by_v, by_t


@njit(cache=True, error_model="numpy")
def _dose_in_plane(
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


class _Line(NamedTuple):
    """The columns or the rows of cells of a window: covered share of their width and place (index along the dose's
    axis) of the middle of that part, (n,); first coefficient there, (n,); and the weights, (n, 2, 4)."""

    share: Array
    place: Array
    lower: Ints
    weights: Array


@njit(cache=True, error_model="numpy")
def _line(at: float, step: float, begin: int, end: int, limits: Array, n: int, is_cubic: bool) -> _Line:
    """Cells `begin` .. `end` - 1; at: index of the middle of cell 0 along an axis of n voxels, step: per cell."""
    share, place = np.empty(end - begin), np.empty(end - begin)
    lower = np.empty(end - begin, np.int64)
    weights = np.empty((end - begin, 2, 4))
    for c in range(end - begin):
        share[c], place[c] = _overlap(at + (begin + c) * step, abs(step), limits[0], limits[1])
        lower[c] = lower_index(place[c], n)
        index_weights(is_cubic, place[c], lower[c], n, weights[c])
    return _Line(share, place, lower, weights)


@njit(cache=True, error_model="numpy")
def _span(line: _Line, step: float, n: int) -> tuple[int, int]:
    """First coefficient that any point in the cells of a line needs, and the last + 1."""
    ends = line.place[0], line.place[-1]
    low, high = min(ends) - 0.5 * abs(step), max(ends) + 0.5 * abs(step)
    return lower_index(low, n), lower_index(high, n) + 4


@njit(cache=True, error_model="numpy")
def sample_cells_parallel(
    edges: Array,
    edge_starts: Ints,
    slabs: Array,
    n_layers: Ints,
    origin: Array,
    cell: Array,
    shape: Ints,
    matrix: Array,
    field: Field,
    known: Bools,
    box: Array,
    u_is_column: bool,
    capacity: int,
) -> tuple[Array, int, float, Array]:
    """The same as `sample_cells` for a dose whose axes are parallel to the solid's.

    The matrix has one entry in each row: t depends on w alone; u_is_column: the column on u and the row on v, else the
    column on v and the row on u.
    """
    samples = np.empty((capacity, SAMPLE_COLUMNS))
    found = nothing_found()
    n = 0
    unknown = 0.0
    k = 0
    axis_u, axis_v = (2, 1) if u_is_column else (1, 2)
    n_u, n_v = field.coefficients.shape[axis_u] - 2, field.coefficients.shape[axis_v] - 2
    # index along the dose's axes: at the solid's origin, per mm, and per cell
    base_u, base_v, base_t = matrix[axis_u, 3], matrix[axis_v, 3], matrix[0, 3]
    rate_u, rate_v, rate_t = matrix[axis_u, 0], matrix[axis_v, 1], matrix[0, 2]
    step_u, step_v = rate_u * cell[0], rate_v * cell[1]
    first = np.empty(2, np.int64)
    along = np.empty((3, 2, 4))
    for plane in range(slabs.shape[0]):
        begin, end = edge_starts[plane], edge_starts[plane + 1]
        if begin == end:
            continue
        c0, c1, r0, r1 = _window(edges, begin, end, origin, cell, shape)
        u0, v0 = origin[0] + c0 * cell[0], origin[1] + r0 * cell[1]
        acc = np.empty((r1 - r0, c1 - c0 + 1, N_ACCUMULATORS))
        cells = np.empty((r1 - r0, c1 - c0, N_MOMENTS))
        cell_moments(edges, begin, end, u0, v0, cell[0], cell[1], acc, cells)
        at_u, at_v = base_u + rate_u * (u0 + 0.5 * cell[0]), base_v + rate_v * (v0 + 0.5 * cell[1])
        columns = _line(at_u, step_u, 0, c1 - c0, box[axis_u], n_u, field.is_cubic)
        rows = _line(at_v, step_v, 0, r1 - r0, box[axis_v], n_v, field.is_cubic)
        first[0], last_u = _span(columns, step_u, n_u)
        first[1], last_v = _span(rows, step_v, n_v)
        level = np.empty((last_v - first[1], last_u - first[0]))
        slope = np.empty_like(level)
        lines = np.empty((3, level.shape[1]))
        hw = (slabs[plane, 1] - slabs[plane, 0]) / n_layers[plane]
        whole, step_t = cell[0] * cell[1] * hw, rate_t * hw
        for layer in range(n_layers[plane]):
            w = slabs[plane, 0] + (layer + 0.5) * hw
            share_t, t = _overlap(base_t + rate_t * w, abs(step_t), box[0, 0], box[0, 1])
            k = lower_plane(field.offsets, t, k)
            plane_weights(field, k, t, along[0])
            _interpolate_plane(field.coefficients, k, along[0], u_is_column, first, level, slope)
            samples = _with_room(samples, n + cells.shape[0] * cells.shape[1])
            for r in range(r1 - r0):
                _interpolate_line(level, slope, rows.lower[r] - first[1], rows.weights[r], lines)
                for c in range(c1 - c0):
                    covered = cells[r, c, 0]
                    if covered <= EMPTY_SHARE:
                        continue
                    share_u, share_v, iu, iv = columns.share[c], rows.share[r], columns.place[c], rows.place[r]
                    is_whole = covered >= FULL_SHARE
                    if not is_whole:
                        u, v = u0 + (c + 0.5 + cells[r, c, 1]) * cell[0], v0 + (r + 0.5 + cells[r, c, 2]) * cell[1]
                        share_u, iu = _overlap(base_u + rate_u * u, abs(step_u), box[axis_u, 0], box[axis_u, 1])
                        share_v, iv = _overlap(base_v + rate_v * v, abs(step_v), box[axis_v, 0], box[axis_v, 1])
                    share = share_t * share_u * share_v
                    volume = covered * whole * share
                    unknown += covered * whole * (1.0 - share)
                    if volume <= 0.0:
                        continue
                    if known.shape[0] > 0:
                        row, column = (iv, iu) if u_is_column else (iu, iv)
                        if not is_known(known, field.offsets, k, t, row, column):
                            unknown += volume
                            continue
                    if is_whole:
                        value, by_u, by_v, by_t = _dose_in_line(lines, columns.lower[c] - first[0], columns.weights[c])
                    else:
                        p, q = lower_index(iu, n_u), lower_index(iv, n_v)
                        index_weights(field.is_cubic, iu, p, n_u, along[1])
                        index_weights(field.is_cubic, iv, q, n_v, along[2])
                        p, q = p - first[0], q - first[1]
                        value, by_u, by_v, by_t = _dose_in_plane(level, slope, p, q, along[1], along[2])
                    if value < field.floor_gy:
                        value, by_u, by_v, by_t = field.floor_gy, 0.0, 0.0, 0.0
                    _write_cell(samples, n, cells, r, c, value, by_u * step_u, by_v * step_v, by_t * step_t, volume)
                    n += 1
                    if value < found[0, 0] or value > found[1, 0]:
                        u, v, w_known = (iu - base_u) / rate_u, (iv - base_v) / rate_v, (t - base_t) / rate_t
                        note_extremes(found, value, u, v, w_known)
    return samples, n, unknown, found


@njit(cache=True, error_model="numpy")
def totals(samples: Array) -> tuple[float, float]:
    """Volume (mm3) and volume times dose (mm3 Gy) of a sample table."""
    volume, dose_volume = 0.0, 0.0
    for s in range(samples.shape[0]):
        volume += samples[s, 3]
        dose_volume += samples[s, 3] * samples[s, 0]
    return volume, dose_volume

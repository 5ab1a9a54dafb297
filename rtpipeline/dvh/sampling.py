"""Cells of a prism solid sampled in a dose grid.

A 3 x 4 matrix takes a point of the solid's frame (u, v, w; mm) to the dose grid's (offset along its normal in mm, row
index, column index), so every orientation is served. Where the contour planes and the axes in them are parallel to the
dose's, as nearly always and in all eight patient positions, a second path interpolates whole planes and lines first.

Each cell is represented by the dose at the centroid of its covered part and by the spread of the dose over that part,
from the gradient and the exact second moments of the part. In a linear dose mean and variance are exact. The shape of
the spread is that of a box seen along the gradient, a sum of even spreads: of two, the widest and one for the rest.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rtpipeline.dvh.interpolation import Bools, is_known, linear_dose, lower_index, lower_plane, tie
from rtpipeline.geometry.coverage import EMPTY_SHARE, N_ACCUMULATORS, N_MOMENTS, cell_moments
from rtpipeline.geometry.even_odd import Array, Ints

SAMPLE_COLUMNS = 4
"""Columns of a sample table: dose (Gy), full widths of its wider and its narrower even spread (Gy), volume (mm3)."""

FULL_SHARE = 1.0 - 1e-9
"""A cell with at least this share is covered whole; its moments are those of a box."""


@njit(cache=True, error_model="numpy")
def _overlap(position: float, width: float, low: float, high: float) -> tuple[float, float]:
    """Share of the interval of this width about position that lies in [low, high], and the middle of that part."""
    begin, end = max(position - 0.5 * width, low), min(position + 0.5 * width, high)
    if end < begin:
        return 0.0, position
    if width <= 0.0:
        return 1.0, position
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
def _write_box(
    samples: Array, n: int, value: float, along_u: float, along_v: float, along_w: float, volume: float
) -> None:
    """A cell covered whole; along_u, along_v, along_w: change of the dose across it (Gy)."""
    along_u, along_v, along_w = along_u * along_u, along_v * along_v, along_w * along_w
    wide = max(along_u, along_v, along_w)
    narrow = along_u + along_v + along_w - wide
    samples[n, 0] = value
    samples[n, 1] = np.sqrt(max(wide, narrow))
    samples[n, 2] = np.sqrt(max(min(wide, narrow), 0.0))
    samples[n, 3] = volume


@njit(cache=True, error_model="numpy")
def _write_cell(
    samples: Array,
    n: int,
    cells: Array,
    r: int,
    c: int,
    size: tuple[float, float, float],
    matrix: Array,
    dose: Array,
    offsets: Array,
    point: tuple[int, float, float, float],
    volume: float,
    both_sides: bool,
) -> None:
    """A cell covered whole or in part. point: plane below, offset, row and column of its centroid."""
    hu, hv, hw = size
    k, t, row, column = point
    value, by_t, by_row, by_column = linear_dose(dose, offsets, k, t, row, column, both_sides)
    gu = by_t * matrix[0, 0] + by_row * matrix[1, 0] + by_column * matrix[2, 0]
    gv = by_t * matrix[0, 1] + by_row * matrix[1, 1] + by_column * matrix[2, 1]
    gw = by_t * matrix[0, 2] + by_row * matrix[1, 2] + by_column * matrix[2, 2]
    if cells[r, c, 0] >= FULL_SHARE:
        _write_box(samples, n, value, gu * hu, gv * hv, gw * hw, volume)
        return
    gu, gv = gu * hu, gv * hv
    variance = gu * gu * cells[r, c, 3] + 2.0 * gu * gv * cells[r, c, 4] + gv * gv * cells[r, c, 5]
    # an even spread of width b has the variance b^2 / 12
    _write_box(samples, n, value, np.sqrt(12.0 * max(variance, 0.0)), 0.0, gw * hw, volume)


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
    dose: Array,
    offsets: Array,
    known: Bools,
    box: Array,
    inside_box: bool,
    capacity: int,
) -> tuple[Array, int, float]:
    """Dose samples of every covered cell, (>= n, SAMPLE_COLUMNS), their number n, and the volume (mm3) of the cells
    without known dose.

    edges, edge_starts, slabs: the solid, see `PrismSolid`. n_layers: (p,) layers that each slab is cut into. origin,
    cell: (2,) corner and size (mm) of the lattice in u, v; shape: its (columns, rows). matrix: (3, 4), see the module.
    dose, offsets: ascending planes. known: (z, y, x), or (0, 0, 0) when all is known. box: (3, 2), where interpolation
    is possible; inside_box: the whole solid lies in it. capacity: number of samples to expect.
    """
    samples = np.empty((capacity, SAMPLE_COLUMNS))
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
        size = (cell[0], cell[1], (slabs[plane, 1] - slabs[plane, 0]) / n_layers[plane])
        widths = np.abs(matrix[:, 0]) * size[0] + np.abs(matrix[:, 1]) * size[1] + np.abs(matrix[:, 2]) * size[2]
        for layer in range(n_layers[plane]):
            w = slabs[plane, 0] + (layer + 0.5) * size[2]
            samples = _with_room(samples, n + cells.shape[0] * cells.shape[1])
            for r in range(r1 - r0):
                for c in range(c1 - c0):
                    share = cells[r, c, 0]
                    if share <= EMPTY_SHARE:
                        continue
                    u, v = u0 + (c + 0.5 + cells[r, c, 1]) * size[0], v0 + (r + 0.5 + cells[r, c, 2]) * size[1]
                    volume = share * size[0] * size[1] * size[2]
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
                    k = lower_plane(offsets, t, k)
                    if not all_known and not is_known(known, offsets, k, t, row, column):
                        unknown += volume
                        continue
                    point = (k, t, row, column)
                    _write_cell(samples, n, cells, r, c, size, matrix, dose, offsets, point, volume, all_known)
                    n += 1
    return samples, n, unknown


@njit(cache=True, error_model="numpy")
def _interpolate_plane(
    dose: Array, offsets: Array, k: int, t: float, u_is_column: bool, first: Ints, level: Array, slope: Array
) -> None:
    """Dose (`level`) and its derivative by t (`slope`) on the voxels of a window, axes (v, u), at offset t."""
    gap = offsets[k + 1] - offsets[k]
    a = (t - offsets[k]) / gap
    other = k + tie(a, k, dose.shape[0])
    other_gap = offsets[other + 1] - offsets[other]
    for q in range(level.shape[0]):
        for p in range(level.shape[1]):
            j, i = (q + first[1], p + first[0]) if u_is_column else (p + first[0], q + first[1])
            low, high = dose[k, j, i], dose[k + 1, j, i]
            level[q, p] = low + (high - low) * a
            slope[q, p] = 0.5 * ((high - low) / gap + (dose[other + 1, j, i] - dose[other, j, i]) / other_gap)


@njit(cache=True, error_model="numpy")
def _interpolate_line(level: Array, slope: Array, q: int, b: float, neighbour: int, lines: Array) -> None:
    """Dose, its derivative by the v index and by t, on the voxels along u: the three rows of `lines`."""
    other = q + neighbour
    for p in range(level.shape[1]):
        lines[0, p] = level[q, p] + (level[q + 1, p] - level[q, p]) * b
        lines[1, p] = 0.5 * (level[q + 1, p] - level[q, p] + level[other + 1, p] - level[other, p])
        lines[2, p] = slope[q, p] + (slope[q + 1, p] - slope[q, p]) * b


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
    dose: Array,
    offsets: Array,
    u_is_column: bool,
    capacity: int,
) -> tuple[Array, int]:
    """The samples of `sample_cells` for a solid inside a dose that is known everywhere and has parallel axes.

    The matrix has one entry in each row: t depends on w alone; u_is_column: the column on u and the row on v, else the
    column on v and the row on u.
    """
    samples = np.empty((capacity, SAMPLE_COLUMNS))
    n = 0
    k = 0
    axis_u, axis_v = (2, 1) if u_is_column else (1, 2)
    n_u, n_v = dose.shape[axis_u], dose.shape[axis_v]
    # index along the dose's axes of the centre of lattice cell (0, 0), and per cell
    at_u, step_u = matrix[axis_u, 0] * (origin[0] + 0.5 * cell[0]) + matrix[axis_u, 3], matrix[axis_u, 0] * cell[0]
    at_v, step_v = matrix[axis_v, 1] * (origin[1] + 0.5 * cell[1]) + matrix[axis_v, 3], matrix[axis_v, 1] * cell[1]
    first = np.empty(2, np.int64)
    last = np.empty(2, np.int64)
    for plane in range(slabs.shape[0]):
        begin, end = edge_starts[plane], edge_starts[plane + 1]
        if begin == end:
            continue
        c0, c1, r0, r1 = _window(edges, begin, end, origin, cell, shape)
        u0, v0 = origin[0] + c0 * cell[0], origin[1] + r0 * cell[1]
        acc = np.empty((r1 - r0, c1 - c0 + 1, N_ACCUMULATORS))
        cells = np.empty((r1 - r0, c1 - c0, N_MOMENTS))
        cell_moments(edges, begin, end, u0, v0, cell[0], cell[1], acc, cells)
        # voxels around the window, and one more on each side for the derivative at a voxel centre
        u_ends, v_ends = (at_u + c0 * step_u, at_u + c1 * step_u), (at_v + r0 * step_v, at_v + r1 * step_v)
        first[0], last[0] = max(int(min(u_ends)) - 2, 0), min(int(max(u_ends)) + 4, n_u)
        first[1], last[1] = max(int(min(v_ends)) - 2, 0), min(int(max(v_ends)) + 4, n_v)
        level = np.empty((last[1] - first[1], last[0] - first[0]))
        slope = np.empty_like(level)
        lines = np.empty((3, level.shape[1]))
        size = (cell[0], cell[1], (slabs[plane, 1] - slabs[plane, 0]) / n_layers[plane])
        whole = size[0] * size[1] * size[2]
        across_w = matrix[0, 2] * size[2]
        for layer in range(n_layers[plane]):
            w = slabs[plane, 0] + (layer + 0.5) * size[2]
            t = matrix[0, 2] * w + matrix[0, 3]
            k = lower_plane(offsets, t, k)
            _interpolate_plane(dose, offsets, k, t, u_is_column, first, level, slope)
            samples = _with_room(samples, n + cells.shape[0] * cells.shape[1])
            for r in range(r1 - r0):
                position = at_v + (r0 + r) * step_v
                q = lower_index(position, n_v)
                _interpolate_line(level, slope, q - first[1], position - q, tie(position - q, q, n_v), lines)
                for c in range(c1 - c0):
                    share = cells[r, c, 0]
                    if share <= EMPTY_SHARE:
                        continue
                    if share < FULL_SHARE:
                        u, v = u0 + (c + 0.5 + cells[r, c, 1]) * size[0], v0 + (r + 0.5 + cells[r, c, 2]) * size[1]
                        iu, iv = matrix[axis_u, 0] * u + matrix[axis_u, 3], matrix[axis_v, 1] * v + matrix[axis_v, 3]
                        point = (k, t, iv, iu) if u_is_column else (k, t, iu, iv)
                        _write_cell(samples, n, cells, r, c, size, matrix, dose, offsets, point, share * whole, True)
                    else:
                        position = at_u + (c0 + c) * step_u
                        i = lower_index(position, n_u)
                        b = position - i
                        neighbour = tie(b, i, n_u)
                        p = i - first[0]
                        rise = lines[0, p + 1] - lines[0, p]
                        value = lines[0, p] + rise * b
                        if neighbour != 0:
                            rise = 0.5 * (rise + lines[0, p + neighbour + 1] - lines[0, p + neighbour])
                        by_v = lines[1, p] + (lines[1, p + 1] - lines[1, p]) * b
                        by_t = lines[2, p] + (lines[2, p + 1] - lines[2, p]) * b
                        _write_box(samples, n, value, rise * step_u, by_v * step_v, by_t * across_w, share * whole)
                    n += 1
    return samples, n


@njit(cache=True, error_model="numpy")
def totals(samples: Array) -> tuple[float, float, float, float]:
    """Volume (mm3), volume times dose (mm3 Gy), least and greatest dose (Gy) of a sample table."""
    volume, dose_volume, least, greatest = 0.0, 0.0, np.inf, -np.inf
    for s in range(samples.shape[0]):
        volume += samples[s, 3]
        dose_volume += samples[s, 3] * samples[s, 0]
        least, greatest = min(least, samples[s, 0]), max(greatest, samples[s, 0])
    return volume, dose_volume, least, greatest

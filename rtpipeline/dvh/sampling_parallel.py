"""The samples of `sampling` where the axes of the solid are parallel to the dose's: as nearly always, and in all eight
patient positions. Whole planes and lines are interpolated first."""

from __future__ import annotations

import numpy as np

from rtpipeline.dvh.interpolation import Field, index_weights, is_known, lower_index, lower_plane, plane_weights
from rtpipeline.dvh.planes import (
    cells_in_line,
    dose_in_line,
    dose_in_plane,
    interpolate_line,
    interpolate_plane,
    overlap,
    span,
)
from rtpipeline.dvh.sampling import (
    FULL_SHARE,
    SAMPLE_COLUMNS,
    note_extremes,
    nothing_found,
    parts_of_steep,
    sample_parts,
    spread_in_part,
    window,
    with_room,
    write,
)
from rtpipeline.dvh.spline import Bools
from rtpipeline.geometry.coverage import EMPTY_SHARE, N_ACCUMULATORS, N_MOMENTS, cell_moments
from rtpipeline.geometry.even_odd import Array, Ints
from rtpipeline.kernels import kernel


@kernel(error_model="numpy")
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
    steep_gy: float,
    capacity: int,
) -> tuple[Array, int, float, float, Array]:
    """The same as `sample_cells` for a dose whose axes are parallel to the solid's.

    The matrix has one entry in each row: t depends on w alone; u_is_column: the column on u and the row on v, else the
    column on v and the row on u.
    """
    samples = np.empty((capacity, SAMPLE_COLUMNS))
    found = nothing_found()
    n = 0
    unknown, shift = 0.0, 0.0
    k = 0
    axis_u, axis_v = (2, 1) if u_is_column else (1, 2)
    n_u, n_v = field.coefficients.shape[axis_u] - 2, field.coefficients.shape[axis_v] - 2
    # index along the dose's axes: at the solid's origin, per mm, and per cell
    base_u, base_v, base_t = matrix[axis_u, 3], matrix[axis_v, 3], matrix[0, 3]
    rate_u, rate_v, rate_t = matrix[axis_u, 0], matrix[axis_v, 1], matrix[0, 2]
    step_u, step_v = rate_u * cell[0], rate_v * cell[1]
    along_t, along_u, along_v = np.empty((2, 4)), np.empty((2, 4)), np.empty((2, 4))
    weights = np.empty((3, 2, 4))
    is_cubic, floor_gy, all_known = field.is_cubic, field.floor_gy, known.shape[0] == 0
    least, greatest = np.inf, -np.inf
    for plane in range(slabs.shape[0]):
        begin, end = edge_starts[plane], edge_starts[plane + 1]
        if begin == end:
            continue
        c0, c1, r0, r1 = window(edges, begin, end, origin, cell, shape)
        u0, v0 = origin[0] + c0 * cell[0], origin[1] + r0 * cell[1]
        acc = np.empty((r1 - r0, c1 - c0 + 1, N_ACCUMULATORS))
        cells = np.empty((r1 - r0, c1 - c0, N_MOMENTS))
        cell_moments(edges, begin, end, u0, v0, cell[0], cell[1], acc, cells)
        at_u, at_v = base_u + rate_u * (u0 + 0.5 * cell[0]), base_v + rate_v * (v0 + 0.5 * cell[1])
        columns = cells_in_line(at_u, step_u, 0, c1 - c0, box[axis_u], n_u, is_cubic)
        rows = cells_in_line(at_v, step_v, 0, r1 - r0, box[axis_v], n_v, is_cubic)
        share_u, place_u, lower_u = columns.share, columns.place, columns.lower
        column_weights, row_weights = columns.weights, rows.weights
        first_u, last_u = span(columns, step_u, n_u)
        first_v, last_v = span(rows, step_v, n_v)
        level = np.empty((last_v - first_v, last_u - first_u))
        slope = np.empty_like(level)
        lines = np.empty((level.shape[1], 3))
        hw = (slabs[plane, 1] - slabs[plane, 0]) / n_layers[plane]
        whole, step_t = cell[0] * cell[1] * hw, rate_t * hw
        for layer in range(n_layers[plane]):
            w = slabs[plane, 0] + (layer + 0.5) * hw
            share_t, t = overlap(base_t + rate_t * w, abs(step_t), box[0, 0], box[0, 1])
            k = lower_plane(field.offsets, t, k)
            plane_weights(field, k, t, along_t)
            interpolate_plane(field.coefficients, k, along_t, u_is_column, first_u, first_v, level, slope)
            samples = with_room(samples, n + cells.shape[0] * cells.shape[1])
            for r in range(r1 - r0):
                interpolate_line(level, slope, rows.lower[r] - first_v, row_weights, r, lines)
                share_tv, place_v = share_t * rows.share[r], rows.place[r]
                for c in range(c1 - c0):
                    covered = cells[r, c, 0]
                    if covered <= EMPTY_SHARE:
                        continue
                    share, iu, iv = share_tv * share_u[c], place_u[c], place_v
                    is_whole = covered >= FULL_SHARE
                    if not is_whole:
                        u, v = u0 + (c + 0.5 + cells[r, c, 1]) * cell[0], v0 + (r + 0.5 + cells[r, c, 2]) * cell[1]
                        part_u, iu = overlap(base_u + rate_u * u, abs(step_u), box[axis_u, 0], box[axis_u, 1])
                        part_v, iv = overlap(base_v + rate_v * v, abs(step_v), box[axis_v, 0], box[axis_v, 1])
                        share = share_t * part_u * part_v
                    volume = covered * whole
                    if share < 1.0:
                        unknown += volume * (1.0 - share)
                        volume *= share
                        if volume <= 0.0:
                            continue
                    if not all_known:
                        row, column = (iv, iu) if u_is_column else (iu, iv)
                        if not is_known(known, field.offsets, k, t, row, column):
                            unknown += volume
                            continue
                    if is_whole:
                        value, by_u, by_v, by_t = dose_in_line(lines, lower_u[c] - first_u, column_weights, c)
                        by_u, by_v = by_u * step_u, by_v * step_v
                        if share == 1.0 and abs(by_u) + abs(by_v) + abs(by_t * step_t) > steep_gy:
                            parts = parts_of_steep(by_u, by_v, by_t * step_t, steep_gy)
                            samples = with_room(samples, n + cells.shape[0] * cells.shape[1] + parts**3)
                            middle = (u0 + (c + 0.5) * cell[0], v0 + (r + 0.5) * cell[1], w)
                            size = (cell[0], cell[1], hw)
                            n, missed, sampled = sample_parts(
                                samples, n, parts, middle, size, matrix, field, known, weights, found
                            )
                            unknown += missed
                            shift += volume * value - sampled if missed == 0.0 else 0.0
                            least, greatest = found[0, 0], found[1, 0]
                            continue
                    else:
                        p, q = lower_index(iu, n_u), lower_index(iv, n_v)
                        index_weights(is_cubic, iu, p, n_u, along_u)
                        index_weights(is_cubic, iv, q, n_v, along_v)
                        p, q = p - first_u, q - first_v
                        value, by_u, by_v, by_t = dose_in_plane(level, slope, p, q, along_u, along_v)
                        by_u, by_v = spread_in_part(cells, r, c, by_u * step_u, by_v * step_v), 0.0
                    if value < floor_gy:
                        value, by_u, by_v, by_t = floor_gy, 0.0, 0.0, 0.0
                    write(samples, n, value, by_u, by_v, by_t * step_t, volume)
                    n += 1
                    if value < least or value > greatest:
                        least, greatest = min(value, least), max(value, greatest)
                        note_extremes(
                            found, value, (iu - base_u) / rate_u, (iv - base_v) / rate_v, (t - base_t) / rate_t
                        )
    return samples, n, unknown, shift, found

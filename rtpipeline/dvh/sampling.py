"""Cells of a prism solid sampled in a dose grid.

A 3 x 4 matrix takes a point of the solid's frame (u, v, w; mm) to the dose grid's (offset along its normal in mm, row
index, column index), so every orientation is served; `sampling_parallel` is the faster way where axes are parallel.

Each cell is represented by the dose at the centroid of its covered part and by the spread of the dose over that part,
from the gradient and the exact second moments of the part. In a linear dose mean and variance are exact. The shape of
the spread is that of a box seen along the gradient, a sum of even spreads: of two, the widest and one for the rest.
Where the dose changes much across a whole cell, beside a stereotactic target in a large organ, the cell is cut further.
"""

from __future__ import annotations

import numpy as np

from rtpipeline.dvh.interpolation import Field, dose_at, is_known, lower_plane, plane_below
from rtpipeline.dvh.planes import overlap
from rtpipeline.dvh.spline import Bools
from rtpipeline.geometry.coverage import EMPTY_SHARE, N_ACCUMULATORS, N_MOMENTS, cell_moments
from rtpipeline.geometry.even_odd import Array, Ints
from rtpipeline.kernels import kernel

SAMPLE_COLUMNS = 4
"""Columns of a sample table: dose (Gy), full widths of its wider and its narrower even spread (Gy), volume (mm3)."""

MAX_PARTS = 4
"""A cell in a steep dose is cut into as many parts along each axis at most."""

FULL_SHARE = 1.0 - 1e-9
"""A cell with at least this share is covered whole; its moments are those of a box."""


@kernel(error_model="numpy")
def with_room(samples: Array, needed: int) -> Array:
    """The table, or a longer copy when `needed` rows do not fit into it."""
    if needed <= samples.shape[0]:
        return samples
    grown = np.empty((max(needed, 2 * samples.shape[0]), SAMPLE_COLUMNS))
    grown[: samples.shape[0]] = samples
    return grown


@kernel(error_model="numpy")
def window(edges: Array, begin: int, end: int, origin: Array, cell: Array, shape: Ints) -> tuple[int, int, int, int]:
    """First and last + 1 column and row of the lattice that the region of edges `begin` .. `end` - 1 reaches."""
    x_low, x_high, y_low, y_high = np.inf, -np.inf, np.inf, -np.inf
    for e in range(begin, end):
        x_low, x_high = min(x_low, edges[e, 0], edges[e, 2]), max(x_high, edges[e, 0], edges[e, 2])
        y_low, y_high = min(y_low, edges[e, 1]), max(y_high, edges[e, 3])
    c0, r0 = max(int((x_low - origin[0]) / cell[0]), 0), max(int((y_low - origin[1]) / cell[1]), 0)
    c1 = min(int((x_high - origin[0]) / cell[0]) + 1, shape[0])
    r1 = min(int((y_high - origin[1]) / cell[1]) + 1, shape[1])
    return c0, c1, r0, r1


@kernel(error_model="numpy")
def spread_in_part(cells: Array, r: int, c: int, along_u: float, along_v: float) -> float:
    """Full width (Gy) of the even spread with the variance that the dose has in the covered part of a cell; along_u,
    along_v: its change across the whole cell."""
    variance = along_u * along_u * cells[r, c, 3] + along_v * along_v * cells[r, c, 5]
    variance += 2.0 * along_u * along_v * cells[r, c, 4]
    # an even spread of width b has the variance b^2 / 12
    return np.sqrt(12.0 * max(variance, 0.0))


@kernel(error_model="numpy")
def write(samples: Array, n: int, value: float, along_u: float, along_v: float, along_w: float, volume: float) -> None:
    """A sample with three even spreads of these widths (Gy)."""
    along_u, along_v, along_w = along_u * along_u, along_v * along_v, along_w * along_w
    wide = max(along_u, along_v, along_w)
    narrow = along_u + along_v + along_w - wide
    samples[n, 0] = value
    samples[n, 1] = np.sqrt(max(wide, narrow))
    samples[n, 2] = np.sqrt(max(min(wide, narrow), 0.0))
    samples[n, 3] = volume


@kernel(error_model="numpy")
def note_extremes(found: Array, value: float, u: float, v: float, w: float) -> None:
    """Keep a value and its place when it is the least (row 0) or the greatest (row 1) so far; found: (2, 4)."""
    if value < found[0, 0]:
        found[0, 0], found[0, 1], found[0, 2], found[0, 3] = value, u, v, w
    if value > found[1, 0]:
        found[1, 0], found[1, 1], found[1, 2], found[1, 3] = value, u, v, w


@kernel(error_model="numpy")
def nothing_found() -> Array:
    """A table for `note_extremes`."""
    found = np.zeros((2, 4))
    found[0, 0], found[1, 0] = np.inf, -np.inf
    return found


@kernel(error_model="numpy")
def parts_of_steep(along_u: float, along_v: float, along_w: float, steep_gy: float) -> int:
    """Number of parts along each axis that a cell is cut into if the dose changes this much across it; 1: not cut."""
    change = abs(along_u) + abs(along_v) + abs(along_w)
    return 1 if change <= steep_gy else min(int(np.ceil(change / steep_gy)), MAX_PARTS)


@kernel(error_model="numpy")
def sample_parts(
    samples: Array,
    n: int,
    parts: int,
    middle: tuple[float, float, float],
    size: tuple[float, float, float],
    matrix: Array,
    field: Field,
    known: Bools,
    weights: Array,
    found: Array,
) -> tuple[int, float, float]:
    """A whole cell cut into parts^3, each a sample: the number of samples then, the volume without known dose, and the
    sum of volume times dose.

    middle, size: of the cell in u, v, w, mm; weights: work space of `dose_at`.
    """
    hu, hv, hw = size[0] / parts, size[1] / parts, size[2] / parts
    unknown, dose_volume = 0.0, 0.0
    for index in range(parts * parts * parts):
        u = middle[0] + (index % parts - 0.5 * (parts - 1)) * hu
        v = middle[1] + (index // parts % parts - 0.5 * (parts - 1)) * hv
        w = middle[2] + (index // (parts * parts) - 0.5 * (parts - 1)) * hw
        t = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2] * w + matrix[0, 3]
        row = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2] * w + matrix[1, 3]
        column = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2] * w + matrix[2, 3]
        k = plane_below(field.offsets, t)
        if known.shape[0] > 0 and not is_known(known, field.offsets, k, t, row, column):
            unknown += hu * hv * hw
            continue
        value, by_t, by_row, by_column = dose_at(field, k, t, row, column, weights)
        gu = by_t * matrix[0, 0] + by_row * matrix[1, 0] + by_column * matrix[2, 0]
        gv = by_t * matrix[0, 1] + by_row * matrix[1, 1] + by_column * matrix[2, 1]
        gw = by_t * matrix[0, 2] + by_row * matrix[1, 2] + by_column * matrix[2, 2]
        write(samples, n, value, gu * hu, gv * hv, gw * hw, hu * hv * hw)
        note_extremes(found, value, u, v, w)
        dose_volume += value * hu * hv * hw
        n += 1
    return n, unknown, dose_volume


@kernel(error_model="numpy")
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
    steep_gy: float,
    capacity: int,
) -> tuple[Array, int, float, float, Array]:
    """Dose samples of every covered cell, (>= n, SAMPLE_COLUMNS); their number n; the volume (mm3) of the cells without
    known dose; what is missing in the samples' sum of volume times dose (mm3 Gy) to that of the cells; and the least
    and the greatest sample with its place, see `note_extremes`.

    On the regular lattice the errors of the cells' doses cancel, so that its mean is better than that of a mixture.

    edges, edge_starts, slabs: the solid, see `PrismSolid`. n_layers: (p,) layers that each slab is cut into. origin,
    cell: (2,) corner and size (mm) of the lattice in u, v; shape: its (columns, rows). matrix: (3, 4), see the module.
    known: (z, y, x), or (0, 0, 0) when all is known. box: (3, 2), where interpolation is possible; inside_box: the
    whole solid lies in it. steep_gy: change across a cell from which on it is cut further. capacity:
    number of samples to expect.
    """
    samples = np.empty((capacity, SAMPLE_COLUMNS))
    found = nothing_found()
    weights = np.empty((3, 2, 4))
    n = 0
    unknown, shift = 0.0, 0.0
    k = 0
    all_known = known.shape[0] == 0
    for plane in range(slabs.shape[0]):
        begin, end = edge_starts[plane], edge_starts[plane + 1]
        if begin == end:
            continue
        c0, c1, r0, r1 = window(edges, begin, end, origin, cell, shape)
        u0, v0 = origin[0] + c0 * cell[0], origin[1] + r0 * cell[1]
        acc = np.empty((r1 - r0, c1 - c0 + 1, N_ACCUMULATORS))
        cells = np.empty((r1 - r0, c1 - c0, N_MOMENTS))
        cell_moments(edges, begin, end, u0, v0, cell[0], cell[1], acc, cells)
        hu, hv, hw = cell[0], cell[1], (slabs[plane, 1] - slabs[plane, 0]) / n_layers[plane]
        widths = np.abs(matrix[:, 0]) * hu + np.abs(matrix[:, 1]) * hv + np.abs(matrix[:, 2]) * hw
        for layer in range(n_layers[plane]):
            w = slabs[plane, 0] + (layer + 0.5) * hw
            samples = with_room(samples, n + cells.shape[0] * cells.shape[1])
            for r in range(r1 - r0):
                for c in range(c1 - c0):
                    share = cells[r, c, 0]
                    if share <= EMPTY_SHARE:
                        continue
                    u, v = u0 + (c + 0.5 + cells[r, c, 1]) * hu, v0 + (r + 0.5 + cells[r, c, 2]) * hv
                    volume = share * hu * hv * hw
                    share = 1.0
                    t = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2] * w + matrix[0, 3]
                    row = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2] * w + matrix[1, 3]
                    column = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2] * w + matrix[2, 3]
                    if not inside_box:
                        share_t, t = overlap(t, widths[0], box[0, 0], box[0, 1])
                        share_r, row = overlap(row, widths[1], box[1, 0], box[1, 1])
                        share_c, column = overlap(column, widths[2], box[2, 0], box[2, 1])
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
                    along_u, along_v = gu * hu, gv * hv
                    if cells[r, c, 0] >= FULL_SHARE and share == 1.0:
                        parts = parts_of_steep(along_u, along_v, gw * hw, steep_gy)
                        if parts > 1:
                            middle = (u0 + (c + 0.5) * hu, v0 + (r + 0.5) * hv, w)
                            samples = with_room(samples, n + cells.shape[0] * cells.shape[1] + parts**3)
                            size = (hu, hv, hw)
                            n, missed, sampled = sample_parts(
                                samples, n, parts, middle, size, matrix, field, known, weights, found
                            )
                            unknown += missed
                            shift += volume * value - sampled if missed == 0.0 else 0.0
                            continue
                    if cells[r, c, 0] < FULL_SHARE:
                        along_u, along_v = spread_in_part(cells, r, c, along_u, along_v), 0.0
                    write(samples, n, value, along_u, along_v, gw * hw, volume)
                    note_extremes(found, value, u, v, w)
                    n += 1
    return samples, n, unknown, shift, found


@kernel(error_model="numpy")
def totals(samples: Array) -> tuple[float, float]:
    """Volume (mm3) and volume times dose (mm3 Gy) of a sample table."""
    volume, dose_volume = 0.0, 0.0
    for s in range(samples.shape[0]):
        volume += samples[s, 3]
        dose_volume += samples[s, 3] * samples[s, 0]
    return volume, dose_volume

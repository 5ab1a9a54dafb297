"""The inner loops: cells of a prism solid sampled in a dose grid, and the extremes of the dose in the solid.

One path serves every orientation. A 3 x 4 matrix takes a point of the solid's frame (u, v, w; mm) to the dose grid's
(offset along its normal in mm, row index, column index); planes of the dose may be spaced unevenly.

Each cell is represented by the dose at the centroid of its covered part and by the spread of the dose over that part,
from the gradient and the exact second moments of the part. In a linear dose mean and variance are exact. The shape of
the spread is that of a box seen along the gradient, a sum of even spreads: of two, the widest and one for the rest.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rtpipeline.geometry.coverage import EMPTY_SHARE, N_ACCUMULATORS, N_MOMENTS, cell_moments
from rtpipeline.geometry.even_odd import Array, Ints, is_inside

Bools = NDArray[np.bool_]

SAMPLE_COLUMNS = 4
"""Columns of a sample table: dose (Gy), full widths of its wider and its narrower even spread (Gy), volume (mm3)."""

NO_WEIGHT = 1e-9
"""A voxel with less interpolation weight takes no part, so it need not be known."""

ON_NODE = 1e-7
"""A point nearer to a voxel centre than this share of the spacing lies on it."""

FULL_SHARE = 1.0 - 1e-9
"""A cell with at least this share is covered whole; its moments are those of a box."""


@njit(cache=True, error_model="numpy")
def _lower_plane(offsets: Array, t: float, hint: int) -> int:
    """Index of the plane below offset t, walking from the previous answer; clamped to the first and last gap."""
    k = hint
    while k > 0 and t < offsets[k]:
        k -= 1
    while k < offsets.shape[0] - 2 and t >= offsets[k + 1]:
        k += 1
    return k


@njit(cache=True, error_model="numpy")
def _lower_index(position: float, n: int) -> int:
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
def _tie(share: float, lower: int, n: int) -> int:
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
    j, i = _lower_index(row, dose.shape[1]), _lower_index(column, dose.shape[2])
    if both_sides:
        dk = _tie((t - offsets[k]) / (offsets[k + 1] - offsets[k]), k, dose.shape[0])
        dj, di = _tie(row - j, j, dose.shape[1]), _tie(column - i, i, dose.shape[2])
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
def _is_known(known: Bools, offsets: Array, k: int, t: float, row: float, column: float) -> bool:
    """Whether every voxel that takes part in the interpolation is known."""
    j, i = _lower_index(row, known.shape[1]), _lower_index(column, known.shape[2])
    a, b, c = (t - offsets[k]) / (offsets[k + 1] - offsets[k]), row - j, column - i
    for dk in range(2):
        for dj in range(2):
            for di in range(2):
                weight = (a if dk else 1.0 - a) * (b if dj else 1.0 - b) * (c if di else 1.0 - c)
                if weight > NO_WEIGHT and not known[k + dk, j + dj, i + di]:
                    return False
    return True


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
) -> tuple[Array, float]:
    """Dose samples of every covered cell, (n, SAMPLE_COLUMNS), and the volume (mm3) of the cells without known dose.

    edges, edge_starts, slabs: the solid, see `PrismSolid`. n_layers: (p,) layers that each slab is cut into. origin,
    cell: (2,) corner and size (mm) of the lattice in u, v; shape: its (columns, rows). matrix: (3, 4), see the module.
    dose, offsets: ascending planes. known: (z, y, x), or (0, 0, 0) when all is known. box: (3, 2), where interpolation
    is possible; inside_box: the whole solid lies in it.
    """
    samples = np.empty((4096, SAMPLE_COLUMNS))
    n = 0
    unknown = 0.0
    hu, hv = cell[0], cell[1]
    k = 0
    for plane in range(slabs.shape[0]):
        begin, end = edge_starts[plane], edge_starts[plane + 1]
        if begin == end:
            continue
        x_low, x_high, y_low, y_high = np.inf, -np.inf, np.inf, -np.inf
        for e in range(begin, end):
            x_low = min(x_low, edges[e, 0], edges[e, 2])
            x_high = max(x_high, edges[e, 0], edges[e, 2])
            y_low = min(y_low, edges[e, 1])
            y_high = max(y_high, edges[e, 3])
        c0, r0 = max(int((x_low - origin[0]) / hu), 0), max(int((y_low - origin[1]) / hv), 0)
        c1, r1 = min(int((x_high - origin[0]) / hu) + 1, shape[0]), min(int((y_high - origin[1]) / hv) + 1, shape[1])
        u0, v0 = origin[0] + c0 * hu, origin[1] + r0 * hv
        acc = np.empty((r1 - r0, c1 - c0 + 1, N_ACCUMULATORS))
        cells = np.empty((r1 - r0, c1 - c0, N_MOMENTS))
        cell_moments(edges, begin, end, u0, v0, hu, hv, acc, cells)

        hw = (slabs[plane, 1] - slabs[plane, 0]) / n_layers[plane]
        widths = np.abs(matrix[:, 0]) * hu + np.abs(matrix[:, 1]) * hv + np.abs(matrix[:, 2]) * hw
        for layer in range(n_layers[plane]):
            w = slabs[plane, 0] + (layer + 0.5) * hw
            for r in range(r1 - r0):
                for c in range(c1 - c0):
                    covered = cells[r, c, 0]
                    if covered <= EMPTY_SHARE:
                        continue
                    u, v = u0 + (c + 0.5) * hu, v0 + (r + 0.5) * hv
                    suu, suv, svv = 0.0, 0.0, 0.0
                    if covered < FULL_SHARE:
                        u += cells[r, c, 1] * hu
                        v += cells[r, c, 2] * hv
                        suu, suv, svv = cells[r, c, 3] * hu * hu, cells[r, c, 4] * hu * hv, cells[r, c, 5] * hv * hv
                    volume = covered * hu * hv * hw
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
                    k = _lower_plane(offsets, t, k)
                    if known.shape[0] > 0 and not _is_known(known, offsets, k, t, row, column):
                        unknown += volume
                        continue
                    value, by_t, by_row, by_column = linear_dose(dose, offsets, k, t, row, column, known.shape[0] == 0)
                    gu = by_t * matrix[0, 0] + by_row * matrix[1, 0] + by_column * matrix[2, 0]
                    gv = by_t * matrix[0, 1] + by_row * matrix[1, 1] + by_column * matrix[2, 1]
                    gw = by_t * matrix[0, 2] + by_row * matrix[1, 2] + by_column * matrix[2, 2]
                    # 12 x the variance of an even spread is the square of its width
                    along_w = gw * gw * hw * hw
                    if covered < FULL_SHARE:
                        across = 12.0 * max(gu * gu * suu + 2.0 * gu * gv * suv + gv * gv * svv, 0.0)
                        wide, narrow = max(across, along_w), min(across, along_w)
                    else:
                        along_u, along_v = gu * gu * hu * hu, gv * gv * hv * hv
                        wide = max(along_u, along_v, along_w)
                        narrow = along_u + along_v + along_w - wide
                    if n == samples.shape[0]:
                        grown = np.empty((2 * n, SAMPLE_COLUMNS))
                        grown[:n] = samples
                        samples = grown
                    samples[n, 0] = value
                    samples[n, 1] = np.sqrt(max(wide, narrow))
                    samples[n, 2] = np.sqrt(max(min(wide, narrow), 0.0))
                    samples[n, 3] = volume
                    n += 1
    return samples[:n].copy(), unknown


@njit(cache=True, error_model="numpy")
def surface_extremes(
    points: Array,
    contour_starts: Ints,
    plane_starts: Ints,
    slabs: Array,
    n_layers: Ints,
    pitch: float,
    matrix: Array,
    dose: Array,
    offsets: Array,
    known: Bools,
    box: Array,
) -> tuple[float, float]:
    """Least and greatest known dose on the walls of the prisms: every vertex, and points between at most `pitch` apart.

    points: (n, 2) contour vertices in u, v. Returns (inf, -inf) where no such point has a known dose.
    """
    least, greatest = np.inf, -np.inf
    k = 0
    for plane in range(slabs.shape[0]):
        for level in range(n_layers[plane] + 1):
            w = slabs[plane, 0] + (slabs[plane, 1] - slabs[plane, 0]) * level / n_layers[plane]
            for contour in range(plane_starts[plane], plane_starts[plane + 1]):
                begin, end = contour_starts[contour], contour_starts[contour + 1]
                for p in range(begin, end):
                    q = p + 1 if p + 1 < end else begin
                    du, dv = points[q, 0] - points[p, 0], points[q, 1] - points[p, 1]
                    n_parts = max(1, int(np.ceil(np.sqrt(du * du + dv * dv) / pitch)))
                    for part in range(n_parts):
                        u, v = points[p, 0] + du * part / n_parts, points[p, 1] + dv * part / n_parts
                        t = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2] * w + matrix[0, 3]
                        row = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2] * w + matrix[1, 3]
                        column = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2] * w + matrix[2, 3]
                        if not (
                            box[0, 0] <= t <= box[0, 1]
                            and box[1, 0] <= row <= box[1, 1]
                            and box[2, 0] <= column <= box[2, 1]
                        ):
                            continue
                        k = _lower_plane(offsets, t, k)
                        if known.shape[0] > 0 and not _is_known(known, offsets, k, t, row, column):
                            continue
                        value = linear_dose(dose, offsets, k, t, row, column, False)[0]
                        least, greatest = min(least, value), max(greatest, value)
    return least, greatest


@njit(cache=True, error_model="numpy")
def node_extremes(
    edges: Array,
    edge_starts: Ints,
    slabs: Array,
    bounds: Array,
    inverse: Array,
    window: Ints,
    dose: Array,
    offsets: Array,
    known: Bools,
    least: float,
    greatest: float,
) -> tuple[float, float]:
    """`least` and `greatest` widened by the voxels whose centre lies in the solid.

    Interpolated dose has its peaks at voxel centres, which cells straddle. bounds: (2, 3) of the solid in u, v, w;
    inverse: (3, 4) from (offset, row, column) to u, v, w; window: (3, 2) first and last voxel + 1 to look at.
    """
    for k in range(window[0, 0], window[0, 1]):
        for j in range(window[1, 0], window[1, 1]):
            for i in range(window[2, 0], window[2, 1]):
                value = dose[k, j, i]
                if least <= value <= greatest or (known.shape[0] > 0 and not known[k, j, i]):
                    continue
                t = offsets[k]
                u = inverse[0, 0] * t + inverse[0, 1] * j + inverse[0, 2] * i + inverse[0, 3]
                v = inverse[1, 0] * t + inverse[1, 1] * j + inverse[1, 2] * i + inverse[1, 3]
                w = inverse[2, 0] * t + inverse[2, 1] * j + inverse[2, 2] * i + inverse[2, 3]
                if not (
                    bounds[0, 0] <= u <= bounds[1, 0]
                    and bounds[0, 1] <= v <= bounds[1, 1]
                    and bounds[0, 2] <= w <= bounds[1, 2]
                ):
                    continue
                plane = np.searchsorted(slabs[:, 0], w, side="right") - 1
                if w <= slabs[plane, 1] and is_inside(edges, edge_starts[plane], edge_starts[plane + 1], u, v):
                    least, greatest = min(least, value), max(greatest, value)
    return least, greatest

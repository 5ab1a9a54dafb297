"""Least and greatest dose in a solid, its surface included.

A sum over cells sees neither the corners of the solid, where a linear dose has its extremes, nor the voxel centres,
where an interpolated one has its peaks. Frames and matrices as in `sampling`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rtpipeline.dvh.interpolation import Bools, is_known, linear_dose, lower_plane
from rtpipeline.geometry.even_odd import Array, Ints, is_inside


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
                        k = lower_plane(offsets, t, k)
                        if known.shape[0] > 0 and not is_known(known, offsets, k, t, row, column):
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

"""Least and greatest dose in a solid, its surface included.

A sum over cells sees neither the corners of the solid, where a linear dose has its extremes, nor the voxel centres,
where a trilinear one has its peaks, nor the peaks of a cubic one between them. So walls and voxel centres are looked at
too, and from the best point of each kind a search climbs on. Frames and matrices as in `sampling`.
"""

from __future__ import annotations

import numpy as np

from rtpipeline.dvh.interpolation import (
    Field,
    dose_at,
    index_weights,
    is_known,
    lower_index,
    plane_below,
    plane_weights,
)
from rtpipeline.dvh.planes import interpolate_level, value_in_level
from rtpipeline.dvh.sampling import note_extremes, nothing_found
from rtpipeline.dvh.spline import Bools
from rtpipeline.geometry.even_odd import Array, Ints, is_inside, last_not_above
from rtpipeline.kernels import kernel

LEVEL_MM = 1e-9
"""A row of voxels that climbs less than this through the solid stays in one of its prisms, but for rounding."""

N_HALVINGS = 30
"""A climb ends when its step is this many times halved: 1e-9 of a cell."""


@kernel(error_model="numpy")
def _known_dose(
    matrix: Array, field: Field, known: Bools, box: Array, u: float, v: float, w: float, weights: Array
) -> tuple[bool, float, float, float, float]:
    """Whether the dose at a point of the solid's frame is known, the dose, and its derivatives by u, v, w."""
    t = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2] * w + matrix[0, 3]
    row = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2] * w + matrix[1, 3]
    column = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2] * w + matrix[2, 3]
    if not (box[0, 0] <= t <= box[0, 1] and box[1, 0] <= row <= box[1, 1] and box[2, 0] <= column <= box[2, 1]):
        return False, 0.0, 0.0, 0.0, 0.0
    k = plane_below(field.offsets, t)
    if known.shape[0] > 0 and not is_known(known, field.offsets, k, t, row, column):
        return False, 0.0, 0.0, 0.0, 0.0
    value, by_t, by_row, by_column = dose_at(field, k, t, row, column, weights)
    return (
        True,
        value,
        by_t * matrix[0, 0] + by_row * matrix[1, 0] + by_column * matrix[2, 0],
        by_t * matrix[0, 1] + by_row * matrix[1, 1] + by_column * matrix[2, 1],
        by_t * matrix[0, 2] + by_row * matrix[1, 2] + by_column * matrix[2, 2],
    )


@kernel(error_model="numpy")
def _wall_points(points: Array, contour_starts: Ints, first: int, last: int, pitch: float) -> Array:
    """(m, 2) vertices of contours `first` .. `last` - 1, and points between them at most `pitch` apart."""
    begin, end = contour_starts[first], contour_starts[last]
    n_points = 0
    n_parts = np.empty(end - begin, np.int64)
    following = np.empty(end - begin, np.int64)
    for contour in range(first, last):
        for p in range(contour_starts[contour], contour_starts[contour + 1]):
            q = p + 1 if p + 1 < contour_starts[contour + 1] else contour_starts[contour]
            following[p - begin] = q
            length = np.hypot(points[q, 0] - points[p, 0], points[q, 1] - points[p, 1])
            n_parts[p - begin] = max(1, int(np.ceil(length / pitch)))
            n_points += n_parts[p - begin]
    found = np.empty((n_points, 2))
    n = 0
    for p in range(begin, end):
        q, parts = following[p - begin], n_parts[p - begin]
        for part in range(parts):
            for axis in range(2):
                found[n, axis] = points[p, axis] + (points[q, axis] - points[p, axis]) * part / parts
            n += 1
    return found


@kernel(error_model="numpy")
def surface_extremes(
    points: Array,
    contour_starts: Ints,
    plane_starts: Ints,
    slabs: Array,
    n_layers: Ints,
    pitch: float,
    matrix: Array,
    field: Field,
    known: Bools,
    box: Array,
    is_parallel: bool,
) -> Array:
    """Least and greatest known dose on the walls of the prisms and where, see `note_extremes`: on every border between
    layers every vertex, and points between at most `pitch` apart.

    points: (n, 2) contour vertices in u, v; is_parallel: t depends on w alone, so that whole planes can be interpolated
    first.
    """
    found = nothing_found()
    weights = np.empty((3, 2, 4))
    for plane in range(slabs.shape[0]):
        walls = _wall_points(points, contour_starts, plane_starts[plane], plane_starts[plane + 1], pitch)
        for border in range(n_layers[plane] + 1):
            w = slabs[plane, 0] + (slabs[plane, 1] - slabs[plane, 0]) * border / n_layers[plane]
            if is_parallel:
                _extremes_at_height(walls, w, matrix, field, known, box, weights, found)
                continue
            for p in range(walls.shape[0]):
                u, v = walls[p, 0], walls[p, 1]
                has_dose, value, _, _, _ = _known_dose(matrix, field, known, box, u, v, w, weights)
                if has_dose:
                    note_extremes(found, value, u, v, w)
    return found


@kernel(error_model="numpy")
def _extremes_at_height(
    walls: Array, w: float, matrix: Array, field: Field, known: Bools, box: Array, weights: Array, found: Array
) -> None:
    """The part of `surface_extremes` at one height, for parallel axes."""
    t = matrix[0, 2] * w + matrix[0, 3]
    if not (box[0, 0] <= t <= box[0, 1]):
        return
    n_rows, n_columns = field.coefficients.shape[1] - 2, field.coefficients.shape[2] - 2
    places = np.empty((walls.shape[0], 2))
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for p in range(walls.shape[0]):
        for axis in range(2):
            place = matrix[axis + 1, 0] * walls[p, 0] + matrix[axis + 1, 1] * walls[p, 1] + matrix[axis + 1, 3]
            places[p, axis] = place
            low[axis], high[axis] = min(low[axis], place), max(high[axis], place)
    k = plane_below(field.offsets, t)
    plane_weights(field, k, t, weights[0])
    first_j, first_i = lower_index(low[0], n_rows), lower_index(low[1], n_columns)
    level = np.empty((lower_index(high[0], n_rows) + 4 - first_j, lower_index(high[1], n_columns) + 4 - first_i))
    interpolate_level(field.coefficients, k, weights[0], first_j, first_i, level)
    along_rows, along_columns = weights[1], weights[2]
    for p in range(walls.shape[0]):
        row, column = places[p, 0], places[p, 1]
        if not (box[1, 0] <= row <= box[1, 1] and box[2, 0] <= column <= box[2, 1]):
            continue
        if known.shape[0] > 0 and not is_known(known, field.offsets, k, t, row, column):
            continue
        j, i = lower_index(row, n_rows), lower_index(column, n_columns)
        index_weights(field.is_cubic, row, j, n_rows, along_rows)
        index_weights(field.is_cubic, column, i, n_columns, along_columns)
        value = max(value_in_level(level, j - first_j, i - first_i, along_rows, along_columns), field.floor_gy)
        if value < found[0, 0] or value > found[1, 0]:
            note_extremes(found, value, walls[p, 0], walls[p, 1], w)


@kernel(error_model="numpy")
def _slab_at(slabs: Array, bounds: Array, u: float, v: float, w: float) -> int:
    """The prism at this height; -1 beside the solid's box and in a gap."""
    if not (
        bounds[0, 0] <= u <= bounds[1, 0] and bounds[0, 1] <= v <= bounds[1, 1] and bounds[0, 2] <= w <= bounds[1, 2]
    ):
        return -1
    plane = last_not_above(slabs[:, 0], w)
    return plane if w <= slabs[plane, 1] else -1


@kernel(error_model="numpy")
def _keep_edges(edges: Array, begin: int, end: int, low: float, high: float, kept: Array) -> int:
    """Copy the edges `begin` .. `end` - 1 that reach between two heights to `kept`; their number."""
    n = 0
    for e in range(begin, end):
        if edges[e, 1] <= high and edges[e, 3] >= low:
            kept[n] = edges[e]
            n += 1
    return n


@kernel(error_model="numpy")
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
) -> Array:
    """Voxels whose centre lies in the solid and whose dose is not between `least` and `greatest`, see `note_extremes`.

    bounds: (2, 3) of the solid in u, v, w; inverse: (3, 4) from (offset, row, column) to u, v, w; window: (3, 2) first
    and last voxel + 1 to look at.
    """
    found = nothing_found()
    kept = np.empty((edges.shape[0], edges.shape[1]))
    first, last = window[2, 0], window[2, 1]
    stays_level = abs(inverse[2, 2]) * max(last - first, 0) < LEVEL_MM
    for k in range(window[0, 0], window[0, 1]):
        for j in range(window[1, 0], window[1, 1]):
            t = offsets[k]
            u0 = inverse[0, 0] * t + inverse[0, 1] * j + inverse[0, 3]
            v0 = inverse[1, 0] * t + inverse[1, 1] * j + inverse[1, 3]
            w0 = inverse[2, 0] * t + inverse[2, 1] * j + inverse[2, 3]
            n_kept, kept_plane = 0, -1
            for i in range(first, last):
                value = dose[k, j, i]
                if least <= value <= greatest or (known.shape[0] > 0 and not known[k, j, i]):
                    continue
                u, v, w = u0 + inverse[0, 2] * i, v0 + inverse[1, 2] * i, w0 + inverse[2, 2] * i
                plane = _slab_at(slabs, bounds, u, v, w)
                if plane < 0:
                    continue
                if not stays_level:
                    is_in = is_inside(edges, edge_starts[plane], edge_starts[plane + 1], u, v)
                else:
                    if plane != kept_plane:  # a row of voxels meets few edges; they are looked for once
                        ends = v0 + inverse[1, 2] * first, v0 + inverse[1, 2] * (last - 1)
                        begin, end = edge_starts[plane], edge_starts[plane + 1]
                        n_kept, kept_plane = _keep_edges(edges, begin, end, min(ends), max(ends), kept), plane
                    is_in = is_inside(kept, 0, n_kept, u, v)
                if is_in:
                    note_extremes(found, value, u, v, w)
                    least, greatest = min(least, value), max(greatest, value)
    return found


@kernel(error_model="numpy")
def climb(
    edges: Array,
    edge_starts: Ints,
    slabs: Array,
    bounds: Array,
    matrix: Array,
    field: Field,
    known: Bools,
    box: Array,
    start: Array,
    step: float,
    sign: float,
) -> float:
    """Greatest dose (sign 1) or least (-1) near a point of the solid; `start` (4,): its dose and place, see
    `note_extremes`; step: mm, at first.

    Steps along u, v and w up the slope, halved when none leads higher inside the solid and the known dose.
    """
    weights = np.empty((3, 2, 4))
    best, place = start[0], start[1:].copy()
    trial = np.empty(3)
    has_dose, _, gu, gv, gw = _known_dose(matrix, field, known, box, place[0], place[1], place[2], weights)
    if not has_dose:
        return best
    for _ in range(N_HALVINGS):
        is_higher = True
        while is_higher:
            is_higher = False
            for axis in range(3):
                trial[:] = place
                slope = sign * (gu if axis == 0 else gv if axis == 1 else gw)
                trial[axis] += step if slope > 0.0 else -step
                has_dose, value, hu, hv, hw = _known_dose(
                    matrix, field, known, box, trial[0], trial[1], trial[2], weights
                )
                if not has_dose or sign * value <= sign * best:
                    continue
                plane = _slab_at(slabs, bounds, trial[0], trial[1], trial[2])
                if plane >= 0 and is_inside(edges, edge_starts[plane], edge_starts[plane + 1], trial[0], trial[1]):
                    best, gu, gv, gw, is_higher = value, hu, hv, hw, True
                    place[:] = trial
        step *= 0.5
    return best

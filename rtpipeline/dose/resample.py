"""Values of one grid at the voxel centres of another: cubic for doses, linear for what must not overshoot.

The cubic spline passes through every value, reproduces a dose that is linear up to its borders, and keeps the integral
of a dose that has faded before them. Linear interpolation keeps neither peaks (between nodes h apart it loses h^2/8 of
the curvature) nor, on a lattice that is no multiple of its own, the integral. But the spline swings beside a hard edge,
such as the skin, beyond which planning systems write 0 Gy. Cutting off what falls below 0 there would leave what rises
on the other side, and add dose; so the surroundings of such an edge are interpolated linearly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.ndimage import map_coordinates, maximum_filter, spline_filter

from rtpipeline.dose.union import ON_NODE, spacings_along
from rtpipeline.geometry.grid import Grid

PARALLEL_TOLERANCE = 1e-6
"""Of the products of two grids' directions with 0: below it their axes are parallel."""

PADDING = 20
"""Voxels by which a grid is continued for the spline: each weighs a quarter of the one before it, so that its end is
felt by less than 1e-11 of the value there."""

SWING = 1e-3
"""Share of the largest dose by which the spline falls below 0 beside a hard edge; less is rounding and is cut off."""

REACH = 3.0
"""Voxels of the dose around such a place: two lobes further a swing has faded to a fiftieth."""

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Axes = tuple[Float, Float, Float]


def resample(values: Float, source: Grid, grid: Grid, *, cubic: bool) -> tuple[Float, Bool]:
    """(values, inside the box that the centres of `source` span), both (z, y, x) on `grid`.

    cubic: by the spline, where the grid is uniform or its axes are parallel to the other's; else trilinear.
    """
    axes = _separable_indices(source, grid)
    if axes is not None:
        return _separable(values, source, axes, cubic=cubic)
    return _oblique(values, source, grid, cubic=cubic and source.is_uniform)


def resample_dose(dose_gy: Float, source: Grid, grid: Grid) -> tuple[Float, Bool]:
    """As `resample`, by the spline; linear beside hard edges and nowhere below 0, where the dose is not below it."""
    values, inside = resample(dose_gy, source, grid, cubic=True)
    if values.min() >= 0.0 or dose_gy.min() < 0.0:
        return values, inside
    swings = values < -SWING * dose_gy.max()
    if swings.any():
        reach = np.ceil(REACH * spacings_along(grid, source) / spacings_along(grid, grid))
        beside = maximum_filter(
            swings, size=[int(2 * min(n, m) + 1) for n, m in zip(reach, grid.shape_zyx, strict=True)]
        )
        values = np.where(beside, resample(dose_gy, source, grid, cubic=False)[0], values)
    return np.maximum(values, 0.0), inside


def _snapped(index: Float, count: int) -> tuple[Float, Bool]:
    """Indices within ON_NODE of a node moved onto it, and whether they lie in 0 .. count - 1."""
    near = np.rint(index)
    index = np.where(np.abs(index - near) <= ON_NODE, near, index)
    return index, (index >= 0) & (index <= count - 1)


def _separable_indices(source: Grid, grid: Grid) -> Axes | None:
    """Index in `source` of each plane, row and column of `grid`; None where the axes are not parallel one by one."""
    own = np.stack([source.normal, source.column_direction, source.row_direction])
    other = np.stack([grid.normal, grid.column_direction, grid.row_direction])
    products = own @ other.T
    if np.abs(products - np.diag(np.diag(products))).max() > PARALLEL_TOLERANCE:
        return None
    planes, rows, columns = grid.shape_zyx
    indices = []
    for axis, count in enumerate((planes, rows, columns)):
        steps = np.zeros((count, 3))
        steps[:, axis] = np.arange(count)
        indices.append(source.patient_to_index_zyx(grid.index_zyx_to_patient(steps))[:, axis])
    return indices[0], indices[1], indices[2]


def _separable(values: Float, source: Grid, axes: Axes, *, cubic: bool) -> tuple[Float, Bool]:
    """One axis after the other: the same as at each voxel, without an index for each. 0 outside."""
    nodes = (source.plane_offsets_mm, np.arange(float(source.rows)), np.arange(float(source.columns)))
    inside: list[Bool] = []
    for axis, (index, places) in enumerate(zip(axes, nodes, strict=True)):
        index, seen = _snapped(index, len(places))
        inside.append(seen)
        whole = index == np.rint(index)
        if whole[seen].all():  # nodes on nodes: the stored values, to the last bit
            taken = np.take(values, np.where(seen, index, 0).astype(np.int64), axis)
            values = taken * seen.reshape([-1 if a == axis else 1 for a in range(3)])
        else:
            weights = _weights(np.clip(index, 0, len(places) - 1), places, cubic=cubic) * seen[:, None]
            values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return values, inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None, :]


def _weights(index: Float, nodes: Float, *, cubic: bool) -> Float:
    """(m, n) weights of the values at n nodes in the interpolated ones at m indices; rows of whole indices pick one.

    Not-a-knot ends, as in the dose engine; along fewer than four nodes the polynomial through them.
    """
    count = len(nodes)
    below = np.minimum(np.floor(index).astype(np.int64), max(count - 2, 0))
    share = index - below
    weights = np.zeros((len(index), count))
    weights[np.arange(len(index)), below] = 1.0 - share
    if count > 1:
        weights[np.arange(len(index)), below + 1] += share
    between = share * (1.0 - share) != 0.0
    if cubic and count > 2 and between.any():
        ascending = nodes if nodes[-1] > nodes[0] else -nodes
        spline = make_interp_spline(ascending, np.eye(count), k=min(3, count - 1))
        weights[between] = spline(np.interp(index[between], np.arange(count), ascending))
    return weights


def _oblique(values: Float, source: Grid, grid: Grid, *, cubic: bool) -> tuple[Float, Bool]:
    """Between grids whose axes are not parallel, plane by plane."""
    result, inside = np.empty(grid.shape_zyx), np.empty(grid.shape_zyx, bool)
    table, shift = values, 0
    if cubic:
        # continued point-symmetrically, so that a dose that is linear at the border stays so
        table, shift = spline_filter(np.pad(values, PADDING, "reflect", reflect_type="odd"), mode="mirror"), PADDING
    rows, columns = np.meshgrid(np.arange(grid.rows), np.arange(grid.columns), indexing="ij")
    for plane in range(grid.shape_zyx[0]):
        index = np.stack([np.full(rows.shape, plane), rows, columns], axis=-1).astype(float)
        found = source.patient_to_index_zyx(grid.index_zyx_to_patient(index))
        seen = np.ones(rows.shape, bool)
        for axis in range(3):
            found[..., axis], within = _snapped(found[..., axis], values.shape[axis])
            found[..., axis] = np.clip(found[..., axis], 0, values.shape[axis] - 1) + shift
            seen &= within
        at = np.moveaxis(found, -1, 0)
        result[plane] = map_coordinates(table, at, order=3 if cubic else 1, mode="mirror", prefilter=False)
        inside[plane] = seen
    return np.where(inside, result, 0.0), inside

"""Sums of dose grids in patient coordinates, on the union of their extents, with a mask of what is known.

A voxel is known where every part is known: what lies outside a part's grid is unknown, not 0 Gy. Grids that match are
added voxel by voxel; others are interpolated linearly (trilinear) at the voxels of the finest one's lattice, which is
carried on to the extent of all. Values are float64 throughout, and parts are added in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.rigid import is_identity, moved

ON_NODE = 1e-4
"""An index this close to a whole number is that grid node: no interpolation, and no loss at the borders (0.3 um at
3 mm; positions are written with two to four decimals)."""

PARALLEL_TOLERANCE = 1e-6
"""Of the products of two grids' directions with 0: below it their axes are parallel."""

MAX_UNION_VOXELS = 60_000_000
"""A larger union (a fine grid inside a wide coarse one) is cut to the extent that all parts share: nothing beyond is
known, so no number changes."""

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class DoseGrid:
    """dose_gy: (z, y, x) float64 on `grid`. known: the same shape; None where all of it is known."""

    grid: Grid
    dose_gy: Float
    known: Bool | None = None

    def scaled(self, factor: float) -> DoseGrid:
        """`factor` times the dose."""
        return self if factor == 1 else replace(self, dose_gy=self.dose_gy * factor)

    def carried(self, matrix: Float) -> DoseGrid:
        """The dose in the frame of reference that a rigid (4, 4) matrix leads to; its values stay as they are."""
        return self if is_identity(matrix) else replace(self, grid=moved(self.grid, matrix))

    @property
    def max_gy(self) -> float | None:
        """Largest known dose; None where nothing is known."""
        values = self.dose_gy if self.known is None else self.dose_gy[self.known]
        return float(values.max()) if values.size else None


def accumulate(parts: Sequence[DoseGrid], weights: Sequence[float] | None = None) -> DoseGrid:
    """The weighted sum of doses in one frame of reference.

    Parameters
    ----------
    weights: one factor for each part, 1 by default. Parts are added in the order given: callers sort them.

    Raises
    ------
    ValueError: there is no part, or another number of weights.
    """
    if not parts:
        raise ValueError("no dose to add")
    factors = [1.0] * len(parts) if weights is None else [float(w) for w in weights]
    if len(factors) != len(parts):
        raise ValueError(f"{len(factors)} weights for {len(parts)} doses")
    grid = parts[0].grid if all(p.grid.matches(parts[0].grid) for p in parts) else union_grid([p.grid for p in parts])
    total, known = np.zeros(grid.shape_zyx), np.ones(grid.shape_zyx, bool)
    for part, factor in zip(parts, factors, strict=True):
        dose, seen = sample(part, grid)
        total += factor * dose
        known &= seen
    return DoseGrid(grid, total, None if known.all() else known)


def union_grid(grids: Sequence[Grid]) -> Grid:
    """The lattice of the finest grid, carried on with its end spacings until it holds every grid's voxel centres.

    Of several grids with the finest voxels the one with the most voxels is taken, then the one with the lowest origin:
    the result does not depend on the order.
    """
    base = min(grids, key=_fineness)
    low, high = _extent(grids, base, widest=True)
    if _count(base, low, high) > MAX_UNION_VOXELS:
        low, high = _extent(grids, base, widest=False)
    return _carried_on(base, low, high)


def _fineness(grid: Grid) -> tuple[float, int, tuple[float, ...]]:
    voxel_mm3 = (grid.plane_spacing_mm or np.inf) * grid.row_spacing_mm * grid.column_spacing_mm
    return round(float(voxel_mm3), 6), -int(np.prod(grid.shape_zyx)), tuple(grid.origin_xyz_mm.tolist())


def _extent(grids: Sequence[Grid], base: Grid, *, widest: bool) -> tuple[Float, Float]:
    """Lowest and highest (plane, row, column) index of the base lattice over all grids, or over what they share."""
    lows, highs = [], []
    for grid in grids:
        planes, rows, columns = grid.shape_zyx
        corners = np.array([[k, j, i] for k in (0, planes - 1) for j in (0, rows - 1) for i in (0, columns - 1)])
        index = base.patient_to_index_zyx(grid.index_zyx_to_patient(corners))
        lows.append(index.min(axis=0))
        highs.append(index.max(axis=0))
    if widest:
        return np.min(lows, axis=0), np.max(highs, axis=0)
    low, high = np.max(lows, axis=0), np.min(highs, axis=0)
    return low, np.maximum(low, high)


def _whole(low: Float, high: Float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.floor(low + ON_NODE).astype(np.int64), np.ceil(high - ON_NODE).astype(np.int64)


def _count(base: Grid, low: Float, high: Float) -> int:
    first, last = _whole(low, high)
    return int(np.prod((last - first + 1).astype(float)))


def _carried_on(base: Grid, low: Float, high: Float) -> Grid:
    """The base lattice from index `low` to `high`, both rounded outwards to whole indices."""
    first, last = _whole(low, high)
    origin = base.index_zyx_to_patient(first.astype(float))
    # with the index running on linearly, planes beyond the ends have the spacing of the end gaps
    along = base.index_zyx_to_patient(np.c_[np.arange(first[0], last[0] + 1), np.zeros(last[0] - first[0] + 1),
                                            np.zeros(last[0] - first[0] + 1)].astype(float))  # fmt: skip
    offsets = (along - along[0]) @ base.normal
    return Grid(
        origin_xyz_mm=origin,
        row_direction=base.row_direction,
        column_direction=base.column_direction,
        column_spacing_mm=base.column_spacing_mm,
        row_spacing_mm=base.row_spacing_mm,
        plane_offsets_mm=offsets - offsets[0],
        rows=int(last[1] - first[1] + 1),
        columns=int(last[2] - first[2] + 1),
    )


def sample(dose: DoseGrid, grid: Grid) -> tuple[Float, Bool]:
    """(dose in Gy, known), both (z, y, x) on `grid`; 0 Gy where it is not known."""
    if dose.grid.matches(grid):
        seen = np.ones(grid.shape_zyx, bool) if dose.known is None else dose.known
        return np.where(seen, dose.dose_gy, 0.0), seen
    axes = _separable_indices(dose.grid, grid)
    if axes is not None:
        values, inside = _interpolate_separable(dose.dose_gy, axes)
        unknown = None if dose.known is None else _interpolate_separable((~dose.known).astype(float), axes)[0]
    else:
        values, inside = _interpolate(dose.dose_gy, dose.grid, grid)
        unknown = None if dose.known is None else _interpolate((~dose.known).astype(float), dose.grid, grid)[0]
    if unknown is not None:
        inside &= unknown == 0.0
    return np.where(inside, values, 0.0), inside


def _snapped(index: Float, count: int) -> tuple[Float, Bool]:
    """Indices within ON_NODE of a node moved onto it, and whether they lie in 0 .. count - 1."""
    near = np.rint(index)
    index = np.where(np.abs(index - near) <= ON_NODE, near, index)
    return index, (index >= 0) & (index <= count - 1)


def _separable_indices(source: Grid, grid: Grid) -> tuple[Float, Float, Float] | None:
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


def _interpolate_separable(values: NDArray[np.float64], axes: tuple[Float, Float, Float]) -> tuple[Float, Bool]:
    """Linear interpolation one axis after the other: the same as trilinear, without an index for each voxel."""
    inside: list[Bool] = []
    for axis, index in enumerate(axes):
        index, seen = _snapped(index, values.shape[axis])
        below = np.clip(np.floor(index).astype(np.int64), 0, max(values.shape[axis] - 2, 0))
        above = np.minimum(below + 1, values.shape[axis] - 1)
        share = np.clip(index - below, 0.0, 1.0).reshape([-1 if a == axis else 1 for a in range(3)])
        lower, upper = np.take(values, below, axis), np.take(values, above, axis)
        values = lower + share * (upper - lower)
        inside.append(seen)
    return values, inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None, :]


def _interpolate(values: NDArray[np.float64], source: Grid, grid: Grid) -> tuple[Float, Bool]:
    """Trilinear interpolation between grids whose axes are not parallel, plane by plane."""
    result, inside = np.empty(grid.shape_zyx), np.empty(grid.shape_zyx, bool)
    rows, columns = np.meshgrid(np.arange(grid.rows), np.arange(grid.columns), indexing="ij")
    for plane in range(grid.shape_zyx[0]):
        index = np.stack([np.full(rows.shape, plane), rows, columns], axis=-1).astype(float)
        found = source.patient_to_index_zyx(grid.index_zyx_to_patient(index))
        seen = np.ones(rows.shape, bool)
        for axis in range(3):
            found[..., axis], within = _snapped(found[..., axis], values.shape[axis])
            seen &= within
        result[plane] = map_coordinates(values, np.moveaxis(found, -1, 0), order=1, mode="nearest")
        inside[plane] = seen
    return result, inside

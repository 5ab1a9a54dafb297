"""One lattice for several dose grids: it holds the voxel centres of all, and is as fine as any of them along each axis.

Sampled on a lattice that is coarser than itself, even along one axis alone, a dose loses what lies between the nodes,
and its integral with it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rtpipeline.geometry.grid import Grid

ON_NODE = 1e-4
"""An index this close to a whole number is that grid node: no interpolation, and no loss at the borders (0.3 um at
3 mm; positions are written with two to four decimals)."""

FINER = 1.05
"""A grid that is finer by less than this does not divide the lattice: spacings are often rounded."""

MAX_UNION_VOXELS = 60_000_000
"""A larger union (a fine grid inside a wide coarse one) is cut to the extent that all parts share: nothing beyond is
known, so no number changes. Should that still be too large, the finest grid's own lattice is not divided."""

Float = NDArray[np.float64]


def union_grid(grids: Sequence[Grid]) -> Grid:
    """The lattice of the finest grid, carried on with its end spacings until it holds every grid's voxel centres.

    Of several grids with the finest voxels the one with the most voxels is taken, of those the first. Its own nodes
    stay nodes; along an axis where another grid is finer, each of its steps is divided.
    """
    base = min(grids, key=_fineness)
    fine = _divided(base, grids)
    for lattice, widest in ((fine, True), (fine, False), (base, False)):
        low, high = _extent(grids, lattice, widest=widest)
        if _count(lattice, low, high) <= MAX_UNION_VOXELS:
            break
    return _carried_on(lattice, low, high)


def _fineness(grid: Grid) -> tuple[float, int]:
    voxel_mm3 = (grid.plane_spacing_mm or np.inf) * grid.row_spacing_mm * grid.column_spacing_mm
    return round(float(voxel_mm3), 6), -int(np.prod(grid.shape_zyx))


def _divided(base: Grid, grids: Sequence[Grid]) -> Grid:
    """The base lattice with each step divided into as many equal ones as no grid is finer along its direction."""
    finest = np.min([spacings_along(base, grid) for grid in grids], axis=0)
    offsets = base.plane_offsets_mm
    planes = [
        np.linspace(start, end, _parts(abs(end - start), finest[0]), endpoint=False)
        for start, end in itertools.pairwise(offsets)
    ]
    rows, columns = _parts(base.row_spacing_mm, finest[1]), _parts(base.column_spacing_mm, finest[2])
    return replace(
        base,
        plane_offsets_mm=np.r_[*planes, offsets[-1]],
        row_spacing_mm=base.row_spacing_mm / rows,
        column_spacing_mm=base.column_spacing_mm / columns,
        rows=(base.rows - 1) * rows + 1,
        columns=(base.columns - 1) * columns + 1,
    )


def _parts(step_mm: float, finest_mm: float) -> int:
    return max(1, math.ceil(step_mm / finest_mm / FINER))


def spacings_along(base: Grid, grid: Grid) -> Float:
    """(3,) spacing in mm of a grid along the plane, row and column direction of the base: of its most parallel axis."""
    axes = [np.stack([g.normal, g.column_direction, g.row_direction]) for g in (base, grid)]
    spacings = np.array([grid.plane_spacing_mm or np.inf, grid.row_spacing_mm, grid.column_spacing_mm])
    return spacings[np.abs(axes[0] @ axes[1].T).argmax(axis=1)]


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

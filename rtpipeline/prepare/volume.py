"""Planes to a canonical volume: gaps filled, sheared planes put upright, irregular planes resampled, all linearly.

Everything here takes arrays and numbers. Linear interpolation is exact for values that change linearly in space, which
is what the tests ask of each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtpipeline.dicom.series import PlaneStack
from rtpipeline.dicom.spacing import PlanePlan
from rtpipeline.geometry.grid import Grid

Array = NDArray[Any]

SHIFT_SNAP_PIXELS = 1e-3
"""A displacement this near to whole pixels is whole: positions are written with few decimals."""

INT16 = np.iinfo(np.int16)


class PlaneArray:
    """Planes that arrive in any order: int16 as long as that loses nothing, float32 from the first value it would lose.

    The array is allocated once; a change to float32 copies it once.
    """

    def __init__(self, shape_zyx: tuple[int, int, int]) -> None:
        self.values: Array = np.zeros(shape_zyx, np.int16)

    def put(self, plane: int, values: Array) -> None:
        """Store one plane (rows, columns). Raises ValueError for another shape."""
        if values.shape != self.values.shape[1:]:
            raise ValueError(f"plane has shape {values.shape}, the series {self.values.shape[1:]}")
        if self.values.dtype == np.int16 and not _fits_int16(values):
            self.values = self.values.astype(np.float32)
        self.values[plane] = values


def _fits_int16(values: Array) -> bool:
    if values.size and (values.min() < INT16.min or values.max() > INT16.max):
        return False
    return values.dtype.kind in "iu" or bool(np.all(values == np.rint(values)))


@dataclass(frozen=True)
class Canonical:
    """A volume on a uniform rectangular grid, and where the planes it was made from lie.

    values: (z, y, x) int16 or float32 on `voxel`. planes: the original planes, on the same in-plane pixels.
    plane_of_voxel: (m,) index of the original plane that plane k of the volume is a copy of, -1 where interpolated.
    straightened: the planes were moved within themselves, so that no voxel is a stored pixel.
    """

    values: Array
    voxel: Grid
    planes: Grid
    plane_of_voxel: NDArray[np.int64]
    straightened: bool

    @property
    def is_resampled(self) -> bool:
        """Whether any value was interpolated."""
        return self.straightened or bool(self.interpolated)

    @property
    def interpolated(self) -> tuple[int, ...]:
        """Planes of the volume that lie between original planes."""
        return tuple(int(k) for k in np.flatnonzero(self.plane_of_voxel < 0))


def canonical_volume(values: Array, stack: PlaneStack, plan: PlanePlan, fill: float) -> Canonical:
    """The volume of a stack of planes.

    values: (planes, rows, columns) in the stack's order. fill: value of voxels that no plane covers after shear
    correction. The origin of the grids is the first pixel of the first plane, moved back along rows and columns by
    whole pixels where straightening needs more room there.
    """
    first_row = first_column = 0
    if stack.is_sheared:
        shifts = stack.shifts_mm / np.array(stack.pixel_spacing_mm[::-1])
        values, first_row, first_column = straightened(values, shifts, fill)
    resampled = resampled_planes(values, plan)
    between_rows, between_columns = stack.pixel_spacing_mm
    origin = (
        stack.origin_mm
        + first_column * between_columns * stack.row_direction
        + first_row * between_rows * stack.column_direction
    )
    orientation = [*stack.row_direction.tolist(), *stack.column_direction.tolist()]
    _, rows, columns = resampled.shape

    def grid(offsets_mm: Array) -> Grid:
        return Grid.from_dicom_like(orientation, origin.tolist(), stack.pixel_spacing_mm, offsets_mm, rows, columns)

    return Canonical(
        values=resampled,
        voxel=grid(plan.voxel_offsets_mm),
        planes=grid(stack.offsets_mm),
        plane_of_voxel=np.where(plan.weight > 0.0, -1, plan.lower).astype(np.int64),
        straightened=stack.is_sheared,
    )


def resampled_planes(values: Array, plan: PlanePlan) -> Array:
    """(m, rows, columns): each plane of the plan, copied or interpolated linearly between its two neighbours.

    Uniform planes come back as they are; else float32, since an interpolated value is no whole number.
    """
    if plan.kind == "uniform":
        return values
    out = np.empty((len(plan.weight), *values.shape[1:]), np.float32)
    for k, (lower, weight) in enumerate(zip(plan.lower, plan.weight, strict=True)):
        if weight == 0.0:
            out[k] = values[lower]
        else:
            out[k] = (1.0 - weight) * values[lower].astype(np.float64) + weight * values[lower + 1]
    return out


def straightened(values: Array, shifts_pixels: Array, fill: float) -> tuple[Array, int, int]:
    """Planes moved within themselves so that equal indices lie above each other along the normal.

    values: (n, rows, columns). shifts_pixels: (n, 2) where the first pixel of each plane lies, in pixels along the rows
    (columns) and along the columns (rows) from that of the first plane. Returns float32 (n, rows', columns') that hold
    every plane whole, and the row and column at which the result starts, counted from the first plane's first pixel.
    Voxels outside a plane get `fill`; nothing is extrapolated.
    """
    shifts = np.asarray(shifts_pixels, float)
    shifts = np.where(np.abs(shifts - np.rint(shifts)) <= SHIFT_SNAP_PIXELS, np.rint(shifts), shifts)
    first = np.floor(shifts.min(axis=0)).astype(int)
    extra = np.ceil(shifts.max(axis=0)).astype(int) - first
    out = np.full((len(values), values.shape[1] + extra[1], values.shape[2] + extra[0]), fill, np.float32)
    for k, plane in enumerate(values):
        (columns, across), (rows, down) = (_split(s - f) for s, f in zip(shifts[k], first, strict=True))
        moved = _between(_between(plane.astype(np.float64), across, axis=1), down, axis=0)
        # a fractional shift leaves one line fewer, between the original ones
        row, column = rows + (down > 0), columns + (across > 0)
        out[k, row : row + moved.shape[0], column : column + moved.shape[1]] = moved
    return out, int(first[1]), int(first[0])


def _split(shift: float) -> tuple[int, float]:
    whole = int(np.floor(shift))
    return whole, float(shift - whole)


def _between(plane: Array, fraction: float, axis: int) -> Array:
    """Values at whole indices of a plane that was moved on by a fraction of a pixel along an axis."""
    if fraction == 0.0:
        return plane
    ahead = np.delete(plane, 0, axis)
    behind = np.delete(plane, -1, axis)
    # the pixel that lay at i now lies at i + fraction: index i + 1 is between pixels i and i + 1
    return fraction * behind + (1.0 - fraction) * ahead

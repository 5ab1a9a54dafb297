"""Regular grids in patient coordinates (DICOM LPS: +x left, +y posterior, +z head) and how they are stored.

Stored arrays have the order (plane, row, column), as DICOM keeps them. The anatomy never moves: a patient position only
changes the direction in which a grid's rows, columns and planes run (PS3.3 C.7.3.1.1.2 and C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Xyz = tuple[float, float, float]

ORIENTATION_OF_POSITION: dict[str, tuple[float, ...]] = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
}
"""ImageOrientationPatient of a scanner's axial image in each position: along a row, then along a column."""


@dataclass(frozen=True)
class GridGeometry:
    """A stack of parallel planes with equal pixels.

    origin_mm: centre of the first pixel of the first plane. orientation: direction cosines along a row (increasing
    column index), then along a column. pixel_spacing_mm: between rows, between columns (the order of PixelSpacing).
    plane_offsets_mm: of each plane from the first, along the cross product of row and column direction.
    """

    origin_mm: Xyz
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, float]
    plane_offsets_mm: tuple[float, ...]
    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows, columns."""
        return len(self.plane_offsets_mm), self.rows, self.columns

    @property
    def row_direction(self) -> NDArray[np.float64]:
        """Unit vector of increasing column index."""
        return np.array(self.orientation[:3], float)

    @property
    def column_direction(self) -> NDArray[np.float64]:
        """Unit vector of increasing row index."""
        return np.array(self.orientation[3:], float)

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector along which plane offsets count."""
        return np.cross(self.row_direction, self.column_direction)

    def plane_positions_mm(self) -> NDArray[np.float64]:
        """(planes, 3) ImagePositionPatient of every plane."""
        return np.array(self.origin_mm) + np.outer(self.plane_offsets_mm, self.normal)

    def axes_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Displacements from the origin of every plane, row and column: (planes, 3), (rows, 3), (columns, 3)."""
        rows = np.outer(np.arange(self.rows) * self.pixel_spacing_mm[0], self.column_direction)
        columns = np.outer(np.arange(self.columns) * self.pixel_spacing_mm[1], self.row_direction)
        return np.outer(self.plane_offsets_mm, self.normal), rows, columns

    def points_mm(self) -> NDArray[np.float64]:
        """(planes, rows, columns, 3) centre of every voxel."""
        planes, rows, columns = self.axes_mm()
        return np.array(self.origin_mm) + planes[:, None, None] + rows[None, :, None] + columns[None, None, :]

    def bounds_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Smallest and largest voxel centre along x, y, z."""
        ends = [axis[[0, -1]] for axis in self.axes_mm()]
        corners = np.array(self.origin_mm) + (
            ends[0][:, None, None] + ends[1][None, :, None] + ends[2][None, None, :]
        ).reshape(-1, 3)
        return corners.min(axis=0), corners.max(axis=0)

    def reversed_planes(self) -> GridGeometry:
        """The same planes in the opposite order: with offsets that descend from 0."""
        positions = self.plane_positions_mm()
        offsets = np.array(self.plane_offsets_mm)[::-1]
        x, y, z = (float(v) for v in positions[-1])
        return replace(self, origin_mm=(x, y, z), plane_offsets_mm=tuple(float(v) for v in offsets - offsets[0]))


@dataclass(frozen=True)
class Volume:
    """Voxel values (plane, row, column) with the grid they lie on."""

    values: NDArray[np.generic]
    geometry: GridGeometry

    def __post_init__(self) -> None:
        if self.values.shape != self.geometry.shape:
            raise ValueError(f"values have shape {self.values.shape}, the grid {self.geometry.shape}")


def axial_grid(
    *, lower_mm: ArrayLike, shape_xyz: Sequence[int], spacing_xyz_mm: Sequence[float], position: str = "HFS"
) -> GridGeometry:
    """The grid whose voxel centres are `lower_mm + index * spacing`, stored as a scanner does in `position`.

    lower_mm: centre of the voxel with the smallest x, y and z.
    """
    orientation = ORIENTATION_OF_POSITION[position]
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(row, column)
    counts, steps = np.array(shape_xyz), np.array(spacing_xyz_mm, float)
    # along an axis that is stored backwards the first voxel is the one with the largest coordinate
    backwards = (row + column + normal) < 0
    x, y, z = (float(v) for v in np.array(lower_mm, float) + np.where(backwards, (counts - 1) * steps, 0.0))
    row_axis, column_axis = int(np.argmax(np.abs(row))), int(np.argmax(np.abs(column)))
    return GridGeometry(
        origin_mm=(x, y, z),
        orientation=orientation,
        pixel_spacing_mm=(float(steps[column_axis]), float(steps[row_axis])),
        plane_offsets_mm=tuple(float(v) for v in np.arange(counts[2]) * steps[2]),
        rows=int(counts[column_axis]),
        columns=int(counts[row_axis]),
    )


def store(values_xyz: NDArray[np.generic], geometry: GridGeometry) -> Volume:
    """An array indexed by increasing x, y, z, laid out in the order of the axial grid `geometry` of the same extent."""
    row, column, normal = geometry.row_direction, geometry.column_direction, geometry.normal
    axes = [int(np.argmax(np.abs(v))) for v in (normal, column, row)]
    flips = tuple(i for i, v in enumerate((normal, column, row)) if v.sum() < 0)
    return Volume(np.ascontiguousarray(np.flip(np.transpose(values_xyz, axes), flips)), geometry)

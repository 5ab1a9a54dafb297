"""A dose that is linear in patient coordinates: trilinear interpolation reproduces it, and a DVH has a closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtpipeline.demo.grid import GridGeometry, Xyz


@dataclass(frozen=True)
class LinearDose:
    """`offset_gy` at the origin of patient coordinates, growing by `gradient_gy_per_mm` along x, y, z."""

    offset_gy: float
    gradient_gy_per_mm: Xyz

    @classmethod
    def through(cls, dose_gy: float, at_mm: ArrayLike, gradient_gy_per_mm: Xyz) -> LinearDose:
        """The linear dose that has `dose_gy` at the point `at_mm` (LPS)."""
        return cls(dose_gy - float(np.dot(gradient_gy_per_mm, np.asarray(at_mm, float))), gradient_gy_per_mm)

    def at(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Dose in Gy at points (..., 3)."""
        return self.offset_gy + np.asarray(points_mm, float) @ np.array(self.gradient_gy_per_mm)

    def on(self, grid: GridGeometry) -> NDArray[np.float64]:
        """(plane, row, column) dose in Gy at every voxel centre of `grid`; raises ValueError where it is negative."""
        gradient = np.array(self.gradient_gy_per_mm)
        planes, rows, columns = (axis @ gradient for axis in grid.axes_mm())
        dose_gy = self.at(grid.origin_mm) + planes[:, None, None] + rows[None, :, None] + columns[None, None, :]
        if dose_gy.min() < 0:
            raise ValueError(f"the linear dose falls to {dose_gy.min():.3f} Gy on this grid; a dose cannot be negative")
        return dose_gy

    def scaled(self, factor: float) -> LinearDose:
        """`factor` times this dose."""
        x, y, z = self.gradient_gy_per_mm
        return LinearDose(self.offset_gy * factor, (x * factor, y * factor, z * factor))

    def __add__(self, other: LinearDose) -> LinearDose:
        x, y, z = (a + b for a, b in zip(self.gradient_gy_per_mm, other.gradient_gy_per_mm, strict=True))
        return LinearDose(self.offset_gy + other.offset_gy, (x, y, z))

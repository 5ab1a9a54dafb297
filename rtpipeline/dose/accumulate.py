"""Sums of dose grids in patient coordinates, on the union of their extents, with a mask of what is known.

A voxel is known where every part is known: what lies outside a part's grid is unknown, not 0 Gy. Grids that match are
added voxel by voxel; others are interpolated by cubic splines (`dose.resample`) on one lattice that is as fine as the
finest of them along each axis (`dose.union`), so that the integral dose of every part is kept. Values are float64
throughout, and parts are added in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rtpipeline.dose.resample import resample, resample_dose
from rtpipeline.dose.union import union_grid
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.rigid import is_identity, moved

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
    def cropped(self) -> DoseGrid:
        """The smallest grid that holds what is known; `known` is None where that is a whole box, as it is of grids with
        parallel axes."""
        if self.known is None or not self.known.any():
            return self
        ends = [np.flatnonzero(self.known.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
        box = tuple(slice(first, last + 1) for first, last in ends)
        offsets = self.grid.plane_offsets_mm[box[0]]
        grid = replace(
            self.grid,
            origin_xyz_mm=self.grid.index_zyx_to_patient([float(first) for first, _ in ends]),
            plane_offsets_mm=offsets - offsets[0],
            rows=box[1].stop - box[1].start,
            columns=box[2].stop - box[2].start,
        )
        known = self.known[box]
        return DoseGrid(grid, self.dose_gy[box], None if known.all() else known)

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
    grid = parts[0].grid
    if not all(part.grid.matches(grid) for part in parts):
        grid = union_grid([part.grid for part in sorted(parts, key=_rank)])
    total, known = np.zeros(grid.shape_zyx), np.ones(grid.shape_zyx, bool)
    for part, factor in zip(parts, factors, strict=True):
        dose, seen = sample(part, grid)
        total += factor * dose
        known &= seen
    return DoseGrid(grid, total, None if known.all() else known)


def _rank(part: DoseGrid) -> tuple[float, ...]:
    """Which of several equally fine grids gives the lattice: neither the order nor how the patient lay decides."""
    place = np.r_[part.grid.origin_xyz_mm, part.grid.row_direction, part.grid.column_direction]
    return -round(part.max_gy or 0.0, 6), *place.tolist()


def sample(dose: DoseGrid, grid: Grid) -> tuple[Float, Bool]:
    """(dose in Gy, known), both (z, y, x) on `grid`; 0 Gy where it is not known."""
    if dose.grid.matches(grid):
        seen = np.ones(grid.shape_zyx, bool) if dose.known is None else dose.known
        return np.where(seen, dose.dose_gy, 0.0), seen
    dose = dose.cropped
    if dose.known is None:
        values, inside = resample_dose(dose.dose_gy, dose.grid, grid)
    else:  # beside what is not known a spline would feel it
        values, inside = resample(dose.dose_gy, dose.grid, grid, cubic=False)
        inside &= resample((~dose.known).astype(float), dose.grid, grid, cubic=False)[0] == 0.0
    return np.where(inside, values, 0.0), inside

"""A dose on its grid, prepared once for many structures: ascending planes, float64, and where it is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rtpipeline.dvh.interpolation import Field
from rtpipeline.dvh.spline import fill_unknown, interval_table, spline_coefficients
from rtpipeline.geometry.even_odd import Array
from rtpipeline.geometry.grid import Grid

Interpolation = Literal["linear", "cubic"]

BOX_TOLERANCE_MM = 1e-6
"""A structure that ends on the outermost voxel centres but for rounding counts as inside the grid."""


@dataclass(frozen=True, eq=False)
class DoseVolume:
    """Dose values at the voxel centres of a grid.

    dose_gy: (z, y, x) in the order of `grid`, Gy. known: (z, y, x) bool, False where the dose is not known (a sum of
    doses whose grids end at different places); None when it is known everywhere. Values that are not finite count as
    unknown. Between voxel centres the dose is interpolated; outside the box that the known voxel centres span it is
    unknown, not 0 Gy. The spline is that of the whole grid, so that the dose at a point does not depend on the
    structure that asks for it. Raises ValueError when the shapes do not fit.
    """

    grid: Grid
    dose_gy: NDArray[np.floating]
    known: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        for name, values in (("dose_gy", self.dose_gy), ("known", self.known)):
            if values is not None and np.shape(values) != self.grid.shape_zyx:
                raise ValueError(f"{name} has shape {np.shape(values)}; the grid has {self.grid.shape_zyx}")

    @cached_property
    def offsets_mm(self) -> Array:
        """(z,) plane offsets along the grid's normal, ascending whatever the order in the file."""
        return np.ascontiguousarray(np.sort(self.grid.plane_offsets_mm))

    @property
    def _planes(self) -> slice:
        offsets = self.grid.plane_offsets_mm
        return slice(None, None, -1 if offsets[-1] < offsets[0] else 1)

    @cached_property
    def ascending_gy(self) -> Array:
        """(z, y, x) float64 dose with ascending planes, 0 where it is unknown."""
        dose = np.ascontiguousarray(np.asarray(self.dose_gy)[self._planes], dtype=np.float64)
        known = self.ascending_known
        return dose if known is None else np.where(known, dose, 0.0)

    @cached_property
    def ascending_known(self) -> NDArray[np.bool_] | None:
        """(z, y, x) bool with ascending planes, or None when every voxel is known."""
        finite = np.isfinite(np.asarray(self.dose_gy)[self._planes])
        if self.known is not None:
            finite &= np.asarray(self.known, bool)[self._planes]
        return None if finite.all() else np.ascontiguousarray(finite)

    @cached_property
    def extremes_gy(self) -> tuple[float, float]:
        """Least and greatest known value of the grid. Raises ValueError when none is known."""
        known = self.ascending_known
        values = self.ascending_gy if known is None else self.ascending_gy[known]
        return float(values.min()), float(values.max())

    @cached_property
    def _filled_gy(self) -> Array:
        """`ascending_gy`, continued into the unknown, so that what is known can be interpolated up to its border."""
        known = self.ascending_known
        return self.ascending_gy if known is None else fill_unknown(self.ascending_gy, known, self.offsets_mm)

    def interpolated(self, interpolation: Interpolation) -> Field:
        """The dose between the voxel centres, of a grid with two planes, rows and columns at least; made once.

        'linear' is trilinear. 'cubic' is the interpolating spline, held at 0 from below where the grid has no negative
        values (a difference of doses has them); a peak above the grid's values is not cut off, since true peaks lie
        between the voxel centres too. Raises ValueError for another name.
        """
        if interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation {interpolation!r}; need one of {', '.join(get_args(Interpolation))}")
        return self._cubic if interpolation == "cubic" else self._linear

    @cached_property
    def _linear(self) -> Field:
        return Field(np.pad(self._filled_gy, 1), self.offsets_mm, np.empty((0, 4, 4)), -np.inf, False)

    @cached_property
    def _cubic(self) -> Field:
        coefficients = spline_coefficients(self._filled_gy, self.offsets_mm)
        floor_gy = 0.0 if self.extremes_gy[0] >= 0.0 else -np.inf
        return Field(coefficients, self.offsets_mm, interval_table(self.offsets_mm), floor_gy, True)

    @cached_property
    def known_box(self) -> Array | None:
        """(3, 2) first and last known voxel centre along (plane offset in mm, row index, column index).

        None when fewer than two known centres lie along any axis: nothing can be interpolated.
        """
        known = self.ascending_known
        if known is None:
            ends = [[0, n - 1] for n in self.grid.shape_zyx]
        elif not known.any():
            return None
        else:
            along = [np.flatnonzero(known.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
            ends = [[int(a[0]), int(a[-1])] for a in along]
        if any(first == last for first, last in ends):
            return None
        box = np.array(ends, dtype=np.float64)
        box[0] = self.offsets_mm[ends[0]]
        slack = np.array(
            [
                BOX_TOLERANCE_MM,
                BOX_TOLERANCE_MM / self.grid.row_spacing_mm,
                BOX_TOLERANCE_MM / self.grid.column_spacing_mm,
            ]
        )
        return box + slack[:, None] * np.array([-1.0, 1.0])

    @property
    def finest_spacing_mm(self) -> float:
        """Least distance between neighbouring voxel centres along any axis (median one along the planes)."""
        planes = self.grid.plane_spacing_mm
        in_plane = min(self.grid.row_spacing_mm, self.grid.column_spacing_mm)
        return in_plane if planes is None else min(in_plane, planes)

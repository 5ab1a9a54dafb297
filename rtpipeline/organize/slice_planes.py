"""Whether contours lie on the slices of an image: what tells where a set was drawn whose references lead nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ON_SLICE_MM = 0.1
"""Contours drawn on an image lie on its slices; their coordinates are written to 0.01 mm or better."""
ROUNDING_MM = 0.001
"""One unit of coordinates with three decimals."""
CLEARLY_NEARER = 3.0
"""An image is told from others in the same frame by lying this many times nearer to the contours."""
POINTS_ON_SLICES = 0.9
"""The part of the sampled contours that has to lie on slices."""


@dataclass(frozen=True)
class SlicePlanes:
    """Where the pixels of a stack of parallel slices lie, in patient mm."""

    axes: np.ndarray
    """(3, 3): unit vectors along a row, along a column, and along the normal, as rows"""
    offsets_mm: np.ndarray
    """(n,) slice positions along the normal, ascending"""
    lower_mm: np.ndarray
    """(2,) smallest coordinate along row and column, at the pixels' edge"""
    upper_mm: np.ndarray
    """(2,) largest coordinate along row and column, at the pixels' edge"""

    @classmethod
    def of(
        cls, positions_mm: np.ndarray, orientation: np.ndarray, spacing_mm: np.ndarray, rows: float, columns: float
    ) -> SlicePlanes | None:
        """From ImagePositionPatient (n, 3), ImageOrientationPatient (6,), PixelSpacing (2,); None where unknown."""
        known = positions_mm[np.isfinite(positions_mm).all(axis=1)]
        if not len(known) or not np.isfinite([*orientation, *spacing_mm, rows, columns]).all():
            return None
        row, column = orientation[:3], orientation[3:]
        axes = np.stack([row, column, np.cross(row, column)])
        placed = known @ axes.T
        # pixel spacing is (between rows, between columns); columns follow one another along the row
        pixel = np.array([spacing_mm[1], spacing_mm[0]])
        extent = pixel * (np.array([columns, rows]) - 0.5)
        lower, upper = placed[:, :2].min(axis=0) - pixel / 2, placed[:, :2].max(axis=0) + extent
        return cls(axes, np.sort(placed[:, 2]), lower, upper)

    def distance_mm(self, points_xyz_mm: np.ndarray) -> np.ndarray:
        """(k,) distance of points (k, 3) to the nearest slice along the normal; inf beside the slices."""
        placed = points_xyz_mm @ self.axes.T
        after = np.clip(np.searchsorted(self.offsets_mm, placed[:, 2]), 0, len(self.offsets_mm) - 1)
        before = np.clip(after - 1, 0, len(self.offsets_mm) - 1)
        distance = np.minimum(
            np.abs(placed[:, 2] - self.offsets_mm[after]), np.abs(placed[:, 2] - self.offsets_mm[before])
        )
        inside = ((placed[:, :2] >= self.lower_mm) & (placed[:, :2] <= self.upper_mm)).all(axis=1)
        return np.where(inside, distance, np.inf)


def misfit_mm(planes: SlicePlanes | None, points_xyz_mm: np.ndarray) -> float:
    """Median distance of points (k, 3) to the slices; inf where most do not lie on slices or nothing is known."""
    if planes is None or not len(points_xyz_mm):
        return float("inf")
    ranked = np.sort(planes.distance_mm(points_xyz_mm))
    most = ranked[int(np.ceil(POINTS_ON_SLICES * len(ranked))) - 1]
    return float(np.median(ranked)) if most <= ON_SLICE_MM else float("inf")


def drawn_on(misfits_mm: Sequence[float]) -> int | None:
    """Index of the one image that contours lie on, given `misfit_mm` for each; None when none or several fit."""
    order = np.argsort(misfits_mm, kind="stable")
    if not len(order) or not np.isfinite(misfits_mm[order[0]]):
        return None
    if len(order) > 1 and misfits_mm[order[1]] <= CLEARLY_NEARER * misfits_mm[order[0]] + ROUNDING_MM:
        return None
    return int(order[0])

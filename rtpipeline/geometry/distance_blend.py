"""Regions between planes where loops merge, part or open: signed distances to both borders, interpolated.

The distances stand on a lattice. Where regions of the two planes do not overlap there is nothing to go over into, and
each ends half way, as prisms do.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rtpipeline.geometry.coverage import coverage_lattice
from rtpipeline.geometry.distance_field import labelled, level_of_area, signed_distance
from rtpipeline.geometry.even_odd import Array
from rtpipeline.geometry.polygon import signed_edges

CELLS_ACROSS = 48.0
"""Cells of the lattice across a square of the region's area ..."""

MOST_CELLS = 320
"""... and at most along one side of it."""

MARGIN_CELLS = 3
"""Cells around the regions."""

LEAST_CELLS = 2.0
"""A region of less than this many cells is not traced: it has come to nothing."""


@dataclass(frozen=True)
class Outlines:
    """Closed outlines (n, 2) in mm and the area that they enclose, mm2."""

    contours: list[Array]
    area_mm2: float

    def __add__(self, other: Outlines) -> Outlines:
        return Outlines(self.contours + other.contours, self.area_mm2 + other.area_mm2)


NOTHING = Outlines([], 0.0)


class _Lattice:
    """Lattice over regions given by their contours (even-odd)."""

    def __init__(self, *regions: list[Array]) -> None:
        points = np.concatenate([c for region in regions for c in region])
        low, high = points.min(axis=0), points.max(axis=0)
        edges = [signed_edges(region) if region else np.empty((0, 5)) for region in regions]
        areas = [
            float(np.sum(-e[:, 4] * (e[:, 3] - e[:, 1]) * 0.5 * (e[:, 0] + e[:, 2] - 2.0 * low[0]))) for e in edges
        ]
        self.pitch_mm = max(np.sqrt(max(areas)) / CELLS_ACROSS, float((high - low).max()) / MOST_CELLS)
        self.low = low - (MARGIN_CELLS + 0.5) * self.pitch_mm
        columns, rows = np.ceil((high - self.low) / self.pitch_mm).astype(int) + MARGIN_CELLS + 1
        self.shares = [
            coverage_lattice(e, self.low[0], self.low[1], self.pitch_mm, self.pitch_mm, (int(rows), int(columns)))
            for e in edges
        ]

    def traced(self, distance: Array, area_mm2: float) -> Outlines:
        """Outlines of the level that encloses an area."""
        target = area_mm2 / self.pitch_mm**2
        if target < LEAST_CELLS:
            return NOTHING
        points, starts, area = level_of_area(distance, target)
        points = self.low + (points + 0.5) * self.pitch_mm
        found = [points[a:b] for a, b in pairwise(starts.tolist()) if b - a >= 3]
        return Outlines(found, float(area) * self.pitch_mm**2)


class Shrinking:
    """A region whose border moves inward or outward evenly, to any area."""

    def __init__(self, contours: list[Array]) -> None:
        self._lattice = _Lattice(contours)
        self._distance = signed_distance(0.5 - self._lattice.shares[0])

    def at(self, area_mm2: float) -> Outlines:
        """The region at an area; nothing where that is too small to be traced."""
        return self._lattice.traced(self._distance, area_mm2)


@dataclass(frozen=True, eq=False)
class _Part:
    """What is connected when both regions are laid on one plane: distances to the border of each region there, None
    where it has nothing; and the areas, mm2."""

    below: Array | None
    above: Array | None
    areas_mm2: tuple[float, float]


class Blend:
    """From the region of one plane to that of the next."""

    def __init__(self, below: list[Array], above: list[Array]) -> None:
        self._lattice = _Lattice(below, above)
        shares = self._lattice.shares
        labels, count = labelled((shares[0] >= 0.5) | (shares[1] >= 0.5))
        whole = np.array([share.sum() for share in shares])
        own = np.array([[share[labels == n].sum() for share in shares] for n in range(1, count + 1)])
        # cells that are covered by less than half belong to no part; each part gets its share of them
        own *= self._lattice.pitch_mm**2 * whole / np.maximum(own.sum(axis=0), np.finfo(float).tiny)
        self._parts = []
        for n in range(1, count + 1):
            first, second = (self._distance(share, labels, n) for share in shares)
            self._parts.append(_Part(first, second, (float(own[n - 1, 0]), float(own[n - 1, 1]))))

    @staticmethod
    def _distance(share: Array, labels: np.ndarray, number: int) -> Array | None:
        if not (share[labels == number] >= 0.5).any():
            return None
        return signed_distance(0.5 - np.where((labels == number) | (labels == 0), share, 0.0))

    def at(self, t: float) -> Outlines:
        """The region at the share t (0 to 1) of the way; its area goes over evenly."""
        found = NOTHING
        for part in self._parts:
            if part.below is not None and part.above is not None:
                area_mm2 = (1.0 - t) * part.areas_mm2[0] + t * part.areas_mm2[1]
                found += self._lattice.traced((1.0 - t) * part.below + t * part.above, area_mm2)
            elif part.below is not None and t < 0.5:
                found += self._lattice.traced(part.below, part.areas_mm2[0])
            elif part.above is not None and t >= 0.5:
                found += self._lattice.traced(part.above, part.areas_mm2[1])
        return found

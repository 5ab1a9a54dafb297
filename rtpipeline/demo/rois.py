"""Structures drawn from solids: one contour set on each image plane that cuts them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from rtpipeline.demo.headers import DECIMAL_PLACES
from rtpipeline.demo.solids import Polygon, Solid

MINIMUM_AREA_MM2 = 1.0
"""Smaller sections (near a pole) are left out, as a person who draws leaves them out."""

COLOURS = ((255, 0, 0), (0, 160, 0), (0, 90, 255), (255, 160, 0), (160, 0, 200), (0, 180, 180), (120, 80, 40))


@dataclass(frozen=True)
class Roi:
    """A region of interest as it is written: `contours` are (n, 3) points x, y, z in mm, rounded as in the file."""

    number: int
    name: str
    interpreted_type: str
    contours: tuple[NDArray[np.float64], ...]
    solid: Solid | None = None
    geometric_type: str = "CLOSED_PLANAR"

    @property
    def colour(self) -> tuple[int, int, int]:
        """ROIDisplayColor."""
        return COLOURS[self.number % len(COLOURS)]


def area_mm2(polygon: Polygon) -> float:
    """Signed area by the shoelace formula, positive when counter-clockwise in x, y; (n, 2) or (n, 3) vertices."""
    x, y = polygon[:, 0], polygon[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def draw(number: int, name: str, interpreted_type: str, solid: Solid, planes_z_mm: Iterable[float]) -> Roi:
    """The ROI that `solid` leaves on the given planes."""
    contours = []
    for z in sorted(planes_z_mm):
        for polygon in solid.section(z):
            if abs(area_mm2(polygon)) >= MINIMUM_AREA_MM2:
                points = np.column_stack([polygon, np.full(len(polygon), z)])
                contours.append(np.round(points, DECIMAL_PLACES))
    return Roi(number, name, interpreted_type, tuple(contours), solid)


def planes_z_mm(images: Sequence[Dataset]) -> list[float]:
    """The z of every axial image, ascending."""
    return sorted(float(ds.ImagePositionPatient[2]) for ds in images)


def inside_polygon(points_xy_mm: NDArray[np.float64], polygon: Polygon) -> NDArray[np.bool_]:
    """(n,) whether each of (n, 2) points has an odd number of the polygon's edges on one side of it."""
    x, y = points_xy_mm[:, 0], points_xy_mm[:, 1]
    inside = np.zeros(len(points_xy_mm), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        if crosses.any():
            inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside

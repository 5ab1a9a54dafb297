"""Volume and dose-volume metrics of contours read literally, in a linear dose: exact, without any sampling.

Each contour is the base of a prism that reaches half the gap to its neighbours, and half a gap beyond the ends; on one
plane the even-odd rule holds. Where two neighbours are more than 1.5 times the median gap apart the solid ends on both
sides, half a median gap further.

Let t be the dose's growth across the plane and u the perpendicular coordinate, scaled so that dx dy = dt du. The area
of a polygon where t >= T is then, by Green's theorem, minus the sum over its edges of the integral of u dt over the
part of the edge above T: a quadratic in T between vertices. A prism's volume above a dose is the integral of that over
T: a cubic. Both are evaluated in closed form for all edges at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.rois import area_mm2, inside_polygon
from rtpipeline.demo.solids import CC_PER_MM3, Polygon

Floats = NDArray[np.float64]

WIDE_GAP = 1.5
FLAT_GY_PER_MM = 1e-12
"""A slope below this is none: over a metre it makes 1e-9 Gy."""

DOSE_AT_VOLUME = {"d98_gy": 0.98, "d95_gy": 0.95, "d50_gy": 0.50, "d2_gy": 0.02}
ROOT_GY = 1e-10
"""How closely a dose level is solved for."""


@dataclass(frozen=True)
class PrismStack:
    """Edges of all contours, outer ones counter-clockwise and holes clockwise, with the slab of each.

    start_mm, end_mm: (edges, 2) x, y. slab_mm: (edges, 2) lower and upper z.
    """

    start_mm: Floats
    end_mm: Floats
    slab_mm: Floats

    @classmethod
    def from_contours(
        cls, contours: Sequence[NDArray[np.float64]], single_plane_thickness_mm: float | None = None
    ) -> PrismStack:
        """From (n, 3) contours on planes of constant z, which may be nested but do not cross.

        Raises ValueError without contours, and for a single plane without `single_plane_thickness_mm`.
        """
        planes: dict[float, list[Polygon]] = {}
        for points in contours:
            planes.setdefault(round(float(points[0, 2]), 4), []).append(points[:, :2])
        heights = sorted(planes)
        starts, ends, slabs = [], [], []
        for z, (lower, upper) in zip(heights, slab_bounds_mm(heights, single_plane_thickness_mm), strict=True):
            for polygon in oriented_by_nesting(planes[z]):
                starts.append(polygon)
                ends.append(np.roll(polygon, -1, axis=0))
                slabs.append(np.tile([lower, upper], (len(polygon), 1)))
        return cls(np.vstack(starts), np.vstack(ends), np.vstack(slabs))

    def volume_cc(self) -> float:
        """Sum of area times thickness."""
        return float(np.sum(self._edge_area() * self._thickness())) * CC_PER_MM3

    def volume_above_cc(self, dose: LinearDose, level_gy: float) -> float:
        """Volume that receives at least `level_gy`."""
        gx, gy, gz = dose.gradient_gy_per_mm
        across = float(np.hypot(gx, gy))
        lower, upper = self.slab_mm.T
        if across < FLAT_GY_PER_MM:  # the level cuts a slab horizontally
            return (
                float(np.sum(self._edge_area() * _height_above(dose.offset_gy, gz, lower, upper, level_gy)))
                * CC_PER_MM3
            )
        t0, u0 = _along_and_across(self.start_mm, gx, gy)
        t1, u1 = _along_and_across(self.end_mm, gx, gy)
        # in a plane of height z the level is reached where t is at least level - offset - gz z
        needed_low, needed_high = (level_gy - dose.offset_gy - gz * z for z in (lower, upper))
        if abs(gz) < FLAT_GY_PER_MM:
            mm3 = _edge_integral(t0, u0, t1, u1, needed_low, order=1) * (upper - lower)
        else:
            first, last = np.minimum(needed_low, needed_high), np.maximum(needed_low, needed_high)
            twice = [_edge_integral(t0, u0, t1, u1, level, order=2) for level in (first, last)]
            mm3 = (twice[0] - twice[1]) / abs(gz)
        return float(np.sum(mm3)) * CC_PER_MM3

    def mean_gy(self, dose: LinearDose) -> float:
        """The dose at the centroid, which for a linear dose is the mean."""
        (x0, y0), (x1, y1) = self.start_mm.T, self.end_mm.T
        cross = x0 * y1 - x1 * y0
        weight = self._edge_area() * self._thickness()
        volume = np.sum(weight)
        x = np.sum((x0 + x1) * cross * self._thickness()) / 6 / volume
        y = np.sum((y0 + y1) * cross * self._thickness()) / 6 / volume
        z = np.sum(weight * self.slab_mm.mean(axis=1)) / volume
        return float(dose.at([x, y, z]))

    def extremes_gy(self, dose: LinearDose) -> tuple[float, float]:
        """Minimum and maximum, at vertices on the faces of the slabs."""
        both = [dose.at(np.column_stack([self.start_mm, self.slab_mm[:, i]])) for i in range(2)]
        return float(np.min(both)), float(np.max(both))

    def dose_at_volume_gy(self, dose: LinearDose, fraction: float) -> float:
        """The highest dose that at least `fraction` (between 0 and 1) of the volume receives."""
        low, high = self.extremes_gy(dose)
        if high - low < ROOT_GY:
            return low
        wanted = fraction * self.volume_cc()
        return float(brentq(lambda level: self.volume_above_cc(dose, level) - wanted, low, high, xtol=ROOT_GY))

    def metrics(self, dose: LinearDose) -> dict[str, float]:
        """dmin_gy, dmax_gy, dmean_gy, d98_gy, d95_gy, d50_gy, d2_gy."""
        dmin, dmax = self.extremes_gy(dose)
        levels = {name: self.dose_at_volume_gy(dose, fraction) for name, fraction in DOSE_AT_VOLUME.items()}
        return {"dmin_gy": dmin, "dmax_gy": dmax, "dmean_gy": self.mean_gy(dose), **levels}

    def _edge_area(self) -> Floats:
        """Each edge's term of the shoelace formula in mm2."""
        (x0, y0), (x1, y1) = self.start_mm.T, self.end_mm.T
        return (x0 * y1 - x1 * y0) / 2

    def _thickness(self) -> Floats:
        return self.slab_mm[:, 1] - self.slab_mm[:, 0]


def slab_bounds_mm(
    heights_mm: Sequence[float], single_plane_thickness_mm: float | None = None
) -> list[tuple[float, float]]:
    """Lower and upper face of the slab of each plane; `heights_mm` ascend."""
    if len(heights_mm) == 0:
        raise ValueError("a structure without contours has no volume")
    if len(heights_mm) == 1:
        if single_plane_thickness_mm is None:
            raise ValueError("contours on a single plane have a volume only with single_plane_thickness_mm")
        half = single_plane_thickness_mm / 2
        return [(heights_mm[0] - half, heights_mm[0] + half)]
    gaps = np.diff(heights_mm)
    nominal = float(np.median(gaps))
    reach = np.where(gaps > WIDE_GAP * nominal, nominal, gaps) / 2
    below, above = np.concatenate([reach[:1], reach]), np.concatenate([reach, reach[-1:]])
    return [(float(z - b), float(z + a)) for z, b, a in zip(heights_mm, below, above, strict=True)]


def oriented_by_nesting(polygons: Sequence[Polygon]) -> list[Polygon]:
    """Counter-clockwise where an even number of the others contain the polygon, clockwise where an odd number do."""
    oriented = []
    for i, polygon in enumerate(polygons):
        depth = sum(inside_polygon(polygon[:1], other)[0] for j, other in enumerate(polygons) if j != i)
        counter_clockwise = area_mm2(polygon) > 0
        oriented.append(polygon if counter_clockwise == (depth % 2 == 0) else polygon[::-1])
    return oriented


def _height_above(offset_gy: float, gz: float, lower: Floats, upper: Floats, level_gy: float) -> Floats:
    """Length of lower .. upper in which offset + gz z reaches the level."""
    if abs(gz) < FLAT_GY_PER_MM:
        return np.where(offset_gy >= level_gy, upper - lower, 0.0)
    cut = np.clip((level_gy - offset_gy) / gz, lower, upper)
    return upper - cut if gz > 0 else cut - lower


def _along_and_across(points_mm: Floats, gx: float, gy: float) -> tuple[Floats, Floats]:
    """t in Gy and u in mm2/Gy of points, with dx dy = dt du."""
    x, y = points_mm.T
    return gx * x + gy * y, (gx * y - gy * x) / (gx * gx + gy * gy)


def _edge_integral(t0: Floats, u0: Floats, t1: Floats, u1: Floats, level: Floats, *, order: int) -> Floats:
    """Each edge's share of the area above `level` (order 1), or of that area's integral from `level` up (order 2)."""
    rising = t1 > t0
    low, high = np.minimum(t0, t1), np.maximum(t0, t1)
    u_low, u_high = np.where(rising, u0, u1), np.where(rising, u1, u0)
    span = high - low
    slope = np.divide(u_high - u_low, span, out=np.zeros_like(span), where=span > 0)
    s = np.clip(high - level, 0, span)  # how far the part above the level reaches down from the edge's upper end
    first = u_high * s - slope * s**2 / 2
    if order == 1:
        return np.where(rising, -first, first)
    below_edge = np.clip(low - level, 0, None)
    second = u_high * s**2 / 2 - slope * s**3 / 6 + first * below_edge
    return np.where(rising, -second, second)

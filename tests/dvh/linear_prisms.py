"""Closed forms by another route than the engine's: prisms cut by the planes of equal dose in a linear dose.

The dose is `dose0 + gradient . p`. The part of a polygon above a threshold is a half-plane cut, whose area is a sum
over the clipped edges; along the stack it is integrated by Gauss points. No cells, no even-odd sweep, no histogram.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

GAUSS_POINTS, GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(16)


def signed_area(polygon: np.ndarray) -> float:
    following = np.roll(polygon, -1, axis=0)
    return float(0.5 * np.sum(polygon[:, 0] * following[:, 1] - following[:, 0] * polygon[:, 1]))


def area_above(polygon: np.ndarray, gradient: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Area of the polygon where gradient . p >= threshold, for each threshold; |area| whatever the direction."""
    strength = np.hypot(*gradient)
    along = polygon @ gradient / strength
    across = polygon @ np.array([-gradient[1], gradient[0]]) / strength
    x0, y0 = across[None, :], along[None, :] - thresholds[:, None] / strength
    x1, y1 = np.roll(across, -1)[None, :], np.roll(y0, -1, axis=1)
    rise = np.where(y1 == y0, 1.0, y1 - y0)
    cut = x0 - y0 * (np.broadcast_to(x1, y0.shape) - x0) / rise
    # the origin lies on the line of equal dose, so the edge that closes the cut has no moment about it
    xa, ya = np.where(y0 < 0, cut, x0), np.maximum(y0, 0.0)
    xb, yb = np.where(y1 < 0, cut, x1), np.maximum(y1, 0.0)
    return np.abs(0.5 * np.sum(xa * yb - xb * ya, axis=1))


@dataclass
class LinearPrisms:
    """slabs: (low, high) along z; polygons: per slab, [(sign, (n, 2) points)]: outer +1, hole -1; all in mm."""

    slabs: list[tuple[float, float]]
    polygons: list[list[tuple[float, np.ndarray]]]
    dose0: float
    gradient: np.ndarray

    @property
    def volume_cc(self) -> float:
        return (
            sum(
                (high - low) * sign * abs(signed_area(polygon))
                for (low, high), layer in zip(self.slabs, self.polygons, strict=True)
                for sign, polygon in layer
            )
            / 1000.0
        )

    def _vertex_doses(self) -> np.ndarray:
        return np.concatenate(
            [
                self.dose0 + polygon @ self.gradient[:2] + z * self.gradient[2]
                for (low, high), layer in zip(self.slabs, self.polygons, strict=True)
                for _, polygon in layer
                for z in (low, high)
            ]
        )

    @property
    def dmin_gy(self) -> float:
        return float(self._vertex_doses().min())

    @property
    def dmax_gy(self) -> float:
        return float(self._vertex_doses().max())

    def volume_at_dose_cc(self, dose: float) -> float:
        total = 0.0
        along, across = self.gradient[2], np.hypot(*self.gradient[:2])
        for (low, high), layer in zip(self.slabs, self.polygons, strict=True):
            if across == 0.0:
                ends = sorted(((dose - self.dose0) / along, np.copysign(np.inf, along)))
                height = max(0.0, min(high, ends[1]) - max(low, ends[0]))
                total += height * sum(sign * abs(signed_area(polygon)) for sign, polygon in layer)
                continue
            n_parts = 4
            edges = np.linspace(low, high, n_parts + 1)
            z = (0.5 * (edges[1:] + edges[:-1])[:, None] + 0.5 * np.diff(edges)[:, None] * GAUSS_POINTS).ravel()
            weights = (0.5 * np.diff(edges)[:, None] * GAUSS_WEIGHTS).ravel()
            thresholds = dose - self.dose0 - self.gradient[2] * z
            for sign, polygon in layer:
                total += sign * float(area_above(polygon, self.gradient[:2], thresholds) @ weights)
        return total / 1000.0

    def dose_at_volume_cc(self, volume: float) -> float:
        return brentq(lambda d: self.volume_at_dose_cc(d) - volume, self.dmin_gy, self.dmax_gy, xtol=1e-6)


def circle(radius: float, centre: tuple[float, float] = (0.0, 0.0), n: int = 90, start: float = 0.1) -> np.ndarray:
    angle = start + np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    return np.c_[centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)]


def rotation(axis: np.ndarray, degrees: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross

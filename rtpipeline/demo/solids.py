"""Solids whose sections and volumes have closed forms, for contours and for the truth about them.

Millimetres in patient coordinates (LPS); a section is taken by a plane of constant z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtpipeline.demo.grid import Xyz

Polygon = NDArray[np.float64]
"""(n, 2) vertices x, y in mm, not repeated at the end."""

VERTICES = 96
"""Of a circle or ellipse: its inscribed polygon has 0.07 % less area."""

CC_PER_MM3 = 1e-3


class Solid(Protocol):
    """What a structure is drawn from."""

    @property
    def z_range_mm(self) -> tuple[float, float]:
        """Lowest and highest z of the solid."""
        ...

    def section(self, z_mm: float) -> list[Polygon]:
        """Its contours at z (even-odd), empty where it is not cut."""
        ...

    def volume_cc(self) -> float:
        """Volume of the ideal solid."""
        ...


def ellipse(centre_xy_mm: Sequence[float], semi_axes_xy_mm: Sequence[float], vertices: int = VERTICES) -> Polygon:
    """An inscribed polygon, counter-clockwise."""
    angle = 2 * np.pi * np.arange(vertices) / vertices
    return np.array(centre_xy_mm) + np.array(semi_axes_xy_mm) * np.column_stack([np.cos(angle), np.sin(angle)])


@dataclass(frozen=True)
class Ellipsoid:
    """Axes along x, y, z."""

    centre_mm: Xyz
    semi_axes_mm: Xyz

    @property
    def z_range_mm(self) -> tuple[float, float]:
        """Its poles."""
        return self.centre_mm[2] - self.semi_axes_mm[2], self.centre_mm[2] + self.semi_axes_mm[2]

    def section(self, z_mm: float) -> list[Polygon]:
        """An ellipse, scaled by the distance from the centre."""
        scale2 = 1 - ((z_mm - self.centre_mm[2]) / self.semi_axes_mm[2]) ** 2
        if scale2 <= 0:
            return []
        return [ellipse(self.centre_mm[:2], np.sqrt(scale2) * np.array(self.semi_axes_mm[:2]))]

    def volume_cc(self) -> float:
        """4/3 pi a b c."""
        return float(4 / 3 * np.pi * np.prod(self.semi_axes_mm)) * CC_PER_MM3


def sphere(centre_mm: Xyz, radius_mm: float) -> Ellipsoid:
    """An ellipsoid with three equal axes."""
    return Ellipsoid(centre_mm, (radius_mm, radius_mm, radius_mm))


@dataclass(frozen=True)
class Box:
    """Sides along x, y, z."""

    centre_mm: Xyz
    half_sides_mm: Xyz

    @property
    def z_range_mm(self) -> tuple[float, float]:
        """Its lower and upper face."""
        return self.centre_mm[2] - self.half_sides_mm[2], self.centre_mm[2] + self.half_sides_mm[2]

    def section(self, z_mm: float) -> list[Polygon]:
        """A rectangle with four vertices."""
        if abs(z_mm - self.centre_mm[2]) > self.half_sides_mm[2]:
            return []
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
        return [np.array(self.centre_mm[:2]) + corners * np.array(self.half_sides_mm[:2])]

    def volume_cc(self) -> float:
        """Product of the sides."""
        return float(np.prod(2 * np.array(self.half_sides_mm))) * CC_PER_MM3


@dataclass(frozen=True)
class Cylinder:
    """Axis along z; elliptic when the two radii differ."""

    centre_mm: Xyz
    radii_xy_mm: tuple[float, float]
    half_height_mm: float

    @property
    def z_range_mm(self) -> tuple[float, float]:
        """Its lower and upper face."""
        return self.centre_mm[2] - self.half_height_mm, self.centre_mm[2] + self.half_height_mm

    def section(self, z_mm: float) -> list[Polygon]:
        """The same ellipse at every height."""
        if abs(z_mm - self.centre_mm[2]) > self.half_height_mm:
            return []
        return [ellipse(self.centre_mm[:2], self.radii_xy_mm)]

    def volume_cc(self) -> float:
        """pi a b h."""
        return float(np.pi * np.prod(self.radii_xy_mm) * 2 * self.half_height_mm) * CC_PER_MM3


@dataclass(frozen=True)
class Capsule:
    """A cylinder along z between two half spheres; `bottom_mm` and `top_mm` are the spheres' centres."""

    centre_xy_mm: tuple[float, float]
    bottom_mm: float
    top_mm: float
    radius_mm: float

    @property
    def z_range_mm(self) -> tuple[float, float]:
        """Its poles."""
        return self.bottom_mm - self.radius_mm, self.top_mm + self.radius_mm

    def section(self, z_mm: float) -> list[Polygon]:
        """A circle."""
        beyond = max(self.bottom_mm - z_mm, z_mm - self.top_mm, 0.0)
        if beyond >= self.radius_mm:
            return []
        radius = float(np.sqrt(self.radius_mm**2 - beyond**2))
        return [ellipse(self.centre_xy_mm, (radius, radius))]

    def volume_cc(self) -> float:
        """Cylinder plus sphere."""
        r = self.radius_mm
        return float(np.pi * r**2 * (self.top_mm - self.bottom_mm) + 4 / 3 * np.pi * r**3) * CC_PER_MM3


@dataclass(frozen=True)
class EllipticTube:
    """Elliptic sections whose semi-axes are linear in z between knots: a body outline.

    z_knots_mm ascend and reach over `bottom_mm` .. `top_mm`, where the tube ends.
    """

    centre_xy_mm: tuple[float, float]
    z_knots_mm: tuple[float, ...]
    semi_axes_x_mm: tuple[float, ...]
    semi_axes_y_mm: tuple[float, ...]
    bottom_mm: float
    top_mm: float

    @property
    def z_range_mm(self) -> tuple[float, float]:
        """Where it is cut off."""
        return self.bottom_mm, self.top_mm

    def _axes_at(self, z_mm: NDArray[np.float64] | float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        a = np.interp(z_mm, self.z_knots_mm, self.semi_axes_x_mm)
        return np.asarray(a), np.asarray(np.interp(z_mm, self.z_knots_mm, self.semi_axes_y_mm))

    def section(self, z_mm: float) -> list[Polygon]:
        """An ellipse."""
        if not self.bottom_mm <= z_mm <= self.top_mm:
            return []
        a, b = self._axes_at(z_mm)
        return [ellipse(self.centre_xy_mm, (float(a), float(b)))]

    def volume_cc(self) -> float:
        """pi times the integral of a b: a parabola between knots, so that Simpson's rule is exact there."""
        inside = [z for z in self.z_knots_mm if self.bottom_mm < z < self.top_mm]
        z = np.array([self.bottom_mm, *inside, self.top_mm])

        def area(at: NDArray[np.float64]) -> NDArray[np.float64]:
            a, b = self._axes_at(at)
            return np.pi * a * b

        simpson = (area(z[:-1]) + 4 * area((z[:-1] + z[1:]) / 2) + area(z[1:])) / 6
        return float(np.sum(simpson * np.diff(z))) * CC_PER_MM3


@dataclass(frozen=True)
class Shell:
    """`outer` without `inner`, which lies wholly inside it.

    keyhole: draw each plane as a single contour that reaches the hole through a cut of no width, as systems without
    inner contours do (PS3.3 C.8.8.6.3); otherwise the hole is a second contour.
    """

    outer: Solid
    inner: Solid
    keyhole: bool = False

    @property
    def z_range_mm(self) -> tuple[float, float]:
        """Of the outer solid."""
        return self.outer.z_range_mm

    def section(self, z_mm: float) -> list[Polygon]:
        """Outer contour and hole."""
        outside, hole = self.outer.section(z_mm), self.inner.section(z_mm)
        if not (self.keyhole and hole):
            return outside + hole
        ring, island = outside[0], hole[0][::-1]
        island = np.roll(island, 1, axis=0)  # both start at angle 0, so that the cut runs straight between them
        return [np.vstack([ring, ring[:1], island, island[:1]])]

    def volume_cc(self) -> float:
        """Difference of the two."""
        return self.outer.volume_cc() - self.inner.volume_cc()

"""Shapes of one person, ready to be painted: a bounding box, a test of points, HU and a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rtpipeline.demo.canvas import Floats, Inside, Mask
from rtpipeline.demo.labels import LABEL_IDS
from rtpipeline.demo.nominal import Limits, NominalCapsule, NominalEllipsoid
from rtpipeline.demo.torso import Torso, Variation

EVERYWHERE = np.full(3, 1e4)
UNLABELLED = 0


class Shape(Protocol):
    """What a canvas needs."""

    @property
    def hu(self) -> float:
        """Painted value."""
        ...

    @property
    def label(self) -> int | None:
        """Painted class; None keeps the labels that are there."""
        ...

    def bounds_mm(self) -> tuple[Floats, Floats]:
        """Lower and upper corner of a box around the shape."""
        ...

    def inside(self, x: Floats, y: Floats, z: Floats) -> Mask:
        """Whether points in patient mm lie in it."""
        ...


@dataclass(frozen=True)
class Region:
    """Any test of points, tried in a box (everywhere by default)."""

    test: Inside
    hu: float
    label: int | None = None
    lower_mm: Floats | None = None
    upper_mm: Floats | None = None

    def bounds_mm(self) -> tuple[Floats, Floats]:
        """The box that was given."""
        if self.lower_mm is None or self.upper_mm is None:
            return -EVERYWHERE, EVERYWHERE
        return self.lower_mm, self.upper_mm

    def inside(self, x: Floats, y: Floats, z: Floats) -> Mask:
        """The test that was given."""
        return self.test(x, y, z)


@dataclass(frozen=True)
class EllipsoidShape:
    """An ellipsoid, rotated about y by `tilt_rad` and ended by `limits`."""

    torso: Torso
    centre_mm: Floats
    semi_axes_mm: Floats
    tilt_rad: float
    limits: Limits
    hu: float
    label: int | None

    @classmethod
    def drawn(cls, nominal: NominalEllipsoid, torso: Torso, vary: Variation) -> EllipsoidShape:
        """This person's version; draws centre, axes and HU, in this order."""
        centre_mm = torso.point(nominal.centre_mm) + vary.shift_mm(nominal.jitter_mm)
        semi_axes_mm = np.array(nominal.semi_axes_mm) * torso.scale * vary.scales()
        label = UNLABELLED if nominal.label is None else LABEL_IDS[nominal.label]
        hu = vary.hu(nominal.hu)
        return cls(torso, centre_mm, semi_axes_mm, nominal.tilt_rad, nominal.limits, hu, label)

    def bounds_mm(self) -> tuple[Floats, Floats]:
        """Of the ellipsoid without its limits; a cube around it when it is tilted."""
        reach = np.full(3, self.semi_axes_mm.max()) if self.tilt_rad else self.semi_axes_mm
        return self.centre_mm - reach, self.centre_mm + reach

    def inside(self, x: Floats, y: Floats, z: Floats) -> Mask:
        """Inside the ellipsoid and its limits."""
        dx, dy, dz = x - self.centre_mm[0], y - self.centre_mm[1], z - self.centre_mm[2]
        if self.tilt_rad:
            cosine, sine = np.cos(self.tilt_rad), np.sin(self.tilt_rad)
            dx, dz = cosine * dx + sine * dz, -sine * dx + cosine * dz
        a, b, c = self.semi_axes_mm
        return self._within_limits((dx / a) ** 2 + (dy / b) ** 2 + (dz / c) ** 2 <= 1, x, y, z)

    def _within_limits(self, mask: Mask, x: Floats, y: Floats, z: Floats) -> Mask:
        torso, limits = self.torso, self.limits
        if limits.below_diaphragm:
            mask = mask & torso.below_dome(x, y, z)
        if limits.wall_mm is not None:
            mask = mask & (torso.radius2(x, y, z, torso.fat_mm + limits.wall_mm) <= 1)
        if limits.z_from_mm is not None:
            mask = mask & (z >= torso.height(limits.z_from_mm))
        if limits.z_to_mm is not None:
            mask = mask & (z < torso.height(limits.z_to_mm))
        if limits.lateral_mm is not None:
            side = np.sign(self.centre_mm[0] - torso.offset_mm[0])
            mask = mask & (side * (x - torso.offset_mm[0]) < limits.lateral_mm * torso.scale[0])
        return mask


@dataclass(frozen=True)
class CapsuleShape:
    """All points within `radius_mm` of a segment."""

    start_mm: Floats
    end_mm: Floats
    radius_mm: float
    hu: float
    label: int | None

    @classmethod
    def drawn(cls, nominal: NominalCapsule, torso: Torso, vary: Variation) -> CapsuleShape:
        """This person's version; draws displacement, radius and HU, in this order."""
        shift_mm = vary.shift_mm(nominal.jitter_mm)
        start_mm, end_mm = torso.point(nominal.start_mm) + shift_mm, torso.point(nominal.end_mm) + shift_mm
        radius_mm = nominal.radius_mm * vary.scale(0.07)
        return cls(start_mm, end_mm, radius_mm, vary.hu(nominal.hu), LABEL_IDS[nominal.label])

    def bounds_mm(self) -> tuple[Floats, Floats]:
        """Around both end spheres."""
        lower = np.minimum(self.start_mm, self.end_mm) - self.radius_mm
        return lower, np.maximum(self.start_mm, self.end_mm) + self.radius_mm

    def inside(self, x: Floats, y: Floats, z: Floats) -> Mask:
        """Near enough to the nearest point of the segment."""
        a, d = self.start_mm, self.end_mm - self.start_mm
        length2 = float(d @ d) + 1e-9
        t = np.clip(((x - a[0]) * d[0] + (y - a[1]) * d[1] + (z - a[2]) * d[2]) / length2, 0, 1)
        distance2 = (x - a[0] - t * d[0]) ** 2 + (y - a[1] - t * d[1]) ** 2 + (z - a[2] - t * d[2]) ** 2
        return distance2 <= self.radius_mm**2

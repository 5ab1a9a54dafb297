"""One person's size and shape: the outline of the torso, the diaphragm and the lungs, all in closed form.

The nominal anatomy is written for a person of average size; `Torso` scales it, and `Variation` draws what differs.
Each draw takes the next values of one sequence, so the order in which an anatomy is built is part of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtpipeline.demo.canvas import Floats, Mask

OUTLINE_Z_MM = np.array([-60, 0, 60, 120, 200, 280, 360, 430, 465, 490, 515, 600])
OUTLINE_X_MM = np.array([140, 146, 150, 146, 136, 142, 148, 148, 136, 96, 58, 54])
OUTLINE_Y_MM = np.array([96, 100, 104, 100, 94, 100, 104, 102, 96, 76, 56, 54])
"""Semi-axes of the body's elliptic sections, from the thighs (z = 0 is near the lesser trochanter) to the neck."""

LUNG_APEX_MM = 486.0
DIAPHRAGM_MM = 312.0


class Variation:
    """What differs from the nominal anatomy, drawn uniformly and in order."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)  # the legacy generator: its sequence never changes

    def shift_mm(self, largest_mm: float) -> Floats:
        """A displacement of up to `largest_mm` along each of x, y, z."""
        return largest_mm * self.random.uniform(-1, 1, 3)

    def scale(self, largest: float) -> float:
        """A factor 1 ± `largest`."""
        return 1 + largest * self.random.uniform(-1, 1)

    def scales(self, largest: float = 0.07) -> Floats:
        """Three factors 1 ± `largest`."""
        return 1 + largest * self.random.uniform(-1, 1, 3)

    def hu(self, nominal: float, largest: float = 10.0) -> float:
        """`nominal` ± `largest` HU."""
        return float(nominal + largest * self.random.uniform(-1, 1))


@dataclass
class Torso:
    """Scale (x, y, z), offset (mm) and fat thickness of one person; `diaphragm_mm` is the dome's height in z."""

    scale: Floats
    offset_mm: Floats
    fat_mm: float
    diaphragm_mm: float = np.nan

    @classmethod
    def drawn(cls, vary: Variation) -> Torso:
        """A person's size; the diaphragm is drawn later, after the abdomen."""
        scale = np.array([vary.scale(0.06), vary.scale(0.06), vary.scale(0.03)])
        offset_mm = np.array([4.0, 4.0, 6.0]) * vary.random.uniform(-1, 1, 3)
        return cls(scale, offset_mm, 12.0 * vary.scale(0.3))

    def point(self, nominal_mm: tuple[float, float, float]) -> Floats:
        """The patient coordinates of a point of the nominal anatomy."""
        return np.array(nominal_mm, float) * self.scale + self.offset_mm

    def height(self, nominal_z_mm: float) -> float:
        """The patient z of a nominal z."""
        return float(nominal_z_mm * self.scale[2] + self.offset_mm[2])

    def outline_knots(self) -> tuple[Floats, Floats, Floats]:
        """z, semi-axis along x, semi-axis along y, between which the body's outline is linear."""
        return (
            OUTLINE_Z_MM * self.scale[2] + self.offset_mm[2],
            OUTLINE_X_MM * self.scale[0],
            OUTLINE_Y_MM * self.scale[1],
        )

    def semi_axes_mm(self, z: Floats) -> tuple[Floats, Floats]:
        """Of the outline at z."""
        knots, along_x, along_y = self.outline_knots()
        return np.interp(z, knots, along_x), np.interp(z, knots, along_y)

    def radius2(self, x: Floats, y: Floats, z: Floats, inset_mm: float) -> Floats:
        """Squared elliptic radius, 1 on the outline moved inwards by `inset_mm`."""
        a, b = self.semi_axes_mm(z)
        return ((x - self.offset_mm[0]) / (a - inset_mm)) ** 2 + ((y - self.offset_mm[1]) / (b - inset_mm)) ** 2

    def dome(self, x: Floats, y: Floats) -> Floats:
        """Height of the diaphragm: two domes, one under each lung."""
        q = ((np.abs(x - self.offset_mm[0]) - 72) / 60) ** 2 + ((y - self.offset_mm[1]) / 80) ** 2
        return self.diaphragm_mm + 26 * np.clip(1 - q, -1.2, 1)

    def below_dome(self, x: Floats, y: Floats, z: Floats) -> Mask:
        """Under the diaphragm."""
        return z <= self.dome(x, y)

    def thorax(self, x: Floats, y: Floats, z: Floats) -> Mask:
        """The cavity inside the chest wall, narrowing to the apex."""
        top = self.height(LUNG_APEX_MM)
        narrowing = np.clip((top - z) / 60, 0, 1) ** 0.5
        a, b = self.semi_axes_mm(z)
        a = (a - self.fat_mm - 20) * narrowing + 1e-3
        b = (b - self.fat_mm - 20) * narrowing + 1e-3
        return (((x - self.offset_mm[0]) / a) ** 2 + ((y - self.offset_mm[1]) / b) ** 2 <= 1) & (z < top)

    def lung(self, side: int, x: Floats, y: Floats, z: Floats) -> Mask:
        """The left (side = 1) or right (-1) lung: thorax above the dome, beside the mediastinum."""
        return self.thorax(x, y, z) & (z > self.dome(x, y)) & (side * (x - self.offset_mm[0]) > 22)

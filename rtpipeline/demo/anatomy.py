"""One synthetic person: the nominal tables, varied by a seed, as a list of shapes in painting order.

The order of draws and of painting is fixed: the tiny networks of the demo were trained on what it produces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtpipeline.demo import nominal
from rtpipeline.demo.canvas import Floats, Mask
from rtpipeline.demo.labels import LABEL_IDS
from rtpipeline.demo.shapes import CapsuleShape, EllipsoidShape, Region, Shape
from rtpipeline.demo.torso import DIAPHRAGM_MM, Torso, Variation

COUCH_HALF_WIDTH_MM, COUCH_THICKNESS_MM, COUCH_HU = 160.0, 8.0, -350.0
TEXTURE_SHAPE = (10, 8, 14)


@dataclass(frozen=True)
class Lesion:
    """A bumpy soft-tissue ball; only what of it lies in a lung is painted."""

    centre_mm: Floats
    radius_mm: float
    stretch: Floats
    phases_rad: Floats
    hu: float

    def bounds_mm(self) -> tuple[Floats, Floats]:
        """Half as large again as the ball."""
        return self.centre_mm - self.radius_mm * 1.5, self.centre_mm + self.radius_mm * 1.5

    def inside(self, x: Floats, y: Floats, z: Floats) -> Mask:
        """Within the radius, which varies by direction."""
        dx, dy, dz = (
            (v - c) / s for v, c, s in zip((x, y, z), self.centre_mm, self.stretch, strict=True)
        )  # fmt: skip
        r = np.sqrt(dx**2 + dy**2 + dz**2) + 1e-6
        p = self.phases_rad
        bump = 0.06 * (np.sin(4 * dx / r + p[0]) + np.sin(5 * dy / r + p[1]) + np.sin(4 * dz / r + p[2]))
        return r <= self.radius_mm * (1 + bump)


@dataclass(frozen=True)
class Anatomy:
    """Shapes in painting order, the lesion that is painted last, and the coarse texture of soft tissue.

    cord_xy_mm: middle of the spinal canal at each vertebra, by its name.
    """

    seed: int
    torso: Torso
    shapes: tuple[Shape, ...]
    lesion: Lesion
    texture: np.ndarray
    cord_xy_mm: dict[str, tuple[float, float]]

    def ellipsoid(self, label: str) -> EllipsoidShape:
        """The first ellipsoid with this label."""
        found = (s for s in self.shapes if isinstance(s, EllipsoidShape) and s.label == LABEL_IDS[label])
        return next(found)


def build_anatomy(seed: int) -> Anatomy:
    """The person with this seed."""
    vary = Variation(seed)
    torso = Torso.drawn(vary)
    shapes: list[Shape] = _wall(torso, vary)
    shapes += _drawn(nominal.ABDOMEN, torso, vary)
    torso.diaphragm_mm = torso.height(DIAPHRAGM_MM) + float(vary.shift_mm(6)[2])
    shapes += _drawn(nominal.UNDER_THE_DIAPHRAGM, torso, vary)
    shapes += _lungs(torso)
    shapes += _drawn(nominal.MEDIASTINUM, torso, vary)
    spine, cord_xy_mm = _spine(torso, vary)
    shapes += spine
    shapes += _drawn(nominal.OTHER_BONES, torso, vary)
    lesion = _lesion(torso, vary)
    texture = vary.random.normal(0, 1, TEXTURE_SHAPE).astype(np.float32)
    return Anatomy(seed, torso, tuple(shapes), lesion, texture, cord_xy_mm)


def _drawn(table: tuple[nominal.Nominal, ...], torso: Torso, vary: Variation) -> list[Shape]:
    return [
        EllipsoidShape.drawn(row, torso, vary)
        if isinstance(row, nominal.NominalEllipsoid)
        else CapsuleShape.drawn(row, torso, vary)
        for row in table
    ]


def _wall(torso: Torso, vary: Variation) -> list[Shape]:
    """Couch, subcutaneous fat, muscle, visceral fat, ribs."""
    fat_mm, off = torso.fat_mm, torso.offset_mm
    couch_top_mm = off[1] + 108 * torso.scale[1] + 6

    def couch(x: Floats, y: Floats, z: Floats) -> Mask:
        on_it = (y >= couch_top_mm) & (y < couch_top_mm + COUCH_THICKNESS_MM)
        return on_it & (np.abs(x) < COUCH_HALF_WIDTH_MM) & np.isfinite(z)

    def within(inset_mm: float, hu: float) -> Region:
        return Region(lambda x, y, z: torso.radius2(x, y, z, inset_mm) <= 1, hu)

    def ribs(x: Floats, y: Floats, z: Floats) -> Mask:
        ring = (torso.radius2(x, y, z, fat_mm + 3) <= 1) & (torso.radius2(x, y, z, fat_mm + 11) > 1)
        slanted = ((z - off[2] - 0.25 * (y - off[1])) / torso.scale[2]) % 17.5 < 7.5
        cage = (z > torso.height(285)) & (z < torso.height(468)) & (np.abs(x - off[0]) > 12)
        return ring & slanted & cage

    return [
        Region(couch, COUCH_HU),
        within(0, -100.0),
        within(fat_mm, 52.0),
        within(fat_mm + 16, vary.hu(-75)),
        Region(ribs, 330.0),
    ]


def _lungs(torso: Torso) -> list[Shape]:
    """Upper lobes fill each lung; the oblique and the horizontal fissure cut the other lobes out of them."""
    fissure_mm, y0 = torso.height(376), torso.offset_mm[1]

    def whole(side: int, label: str) -> Region:
        return Region(lambda x, y, z: torso.lung(side, x, y, z), -830.0, LABEL_IDS[label])

    def lower(side: int, label: str) -> Region:
        def inside(x: Floats, y: Floats, z: Floats) -> Mask:
            return torso.lung(side, x, y, z) & (z - fissure_mm < 0.9 * (y - y0))

        return Region(inside, -810.0, LABEL_IDS[label])

    def middle(x: Floats, y: Floats, z: Floats) -> Mask:
        return torso.lung(-1, x, y, z) & (z < fissure_mm + 24) & (y - y0 < 20)

    return [
        whole(1, "lung_upper_lobe_left"),
        whole(-1, "lung_upper_lobe_right"),
        lower(1, "lung_lower_lobe_left"),
        Region(middle, -845.0, LABEL_IDS["lung_middle_lobe_right"]),
        lower(-1, "lung_lower_lobe_right"),
    ]


def _spine(torso: Torso, vary: Variation) -> tuple[list[Shape], dict[str, tuple[float, float]]]:
    shapes: list[Shape] = []
    cord_xy_mm = {}
    bottom_mm = nominal.SPINE_BOTTOM_MM
    for name, height_mm, radius_mm in nominal.VERTEBRAE:
        bounds = (torso.height(bottom_mm), torso.height(bottom_mm + height_mm))
        shift = np.array([1.0, 1.0, 0]) * vary.random.uniform(-1, 1, 3)
        x = torso.offset_mm[0] + shift[0]
        y = nominal.SPINE_Y_MM * torso.scale[1] + torso.offset_mm[1] + shift[1]
        shapes += _vertebra(LABEL_IDS[name], (x, y), radius_mm, bounds, vary.hu(330, 40))
        cord_xy_mm[name] = (float(x), float(y + radius_mm + nominal.CORD_BEHIND_BODY_MM))
        bottom_mm += height_mm
    return shapes, cord_xy_mm


def _vertebra(
    label: int, centre_xy_mm: tuple[float, float], radius_mm: float, z_range_mm: tuple[float, float], hu: float
) -> list[Shape]:
    """Body, arch with spinous and transverse processes, and the piece of spinal cord behind the body."""
    (cx, cy), (bottom, top) = centre_xy_mm, z_range_mm
    canal_y = cy + radius_mm + nominal.CORD_BEHIND_BODY_MM
    disc_mm = 2.0

    def bone_height(z: Floats) -> Mask:
        return (z >= bottom + disc_mm) & (z < top - disc_mm)

    def body(x: Floats, y: Floats, z: Floats) -> Mask:
        return ((x - cx) ** 2 + (y - cy) ** 2 <= radius_mm**2) & bone_height(z)

    def arch(x: Floats, y: Floats, z: Floats) -> Mask:
        ring = (x - cx) ** 2 + (y - canal_y) ** 2 <= 14**2
        spinous = (np.abs(x - cx) < 4.5) & (y > canal_y + 8) & (y < canal_y + 24)
        transverse = (np.abs(y - canal_y) < 5) & (np.abs(x - cx) < radius_mm + 14)
        return (ring | spinous | transverse) & bone_height(z)

    def cord(x: Floats, y: Floats, z: Floats) -> Mask:
        round_ = (x - cx) ** 2 + (y - canal_y) ** 2 <= nominal.CORD_RADIUS_MM**2
        return round_ & (z >= bottom) & (z < top)

    lower, upper = np.array([cx - 40, cy - 30, bottom]), np.array([cx + 40, cy + 60, top])
    return [
        Region(body, hu, label, lower, upper),
        Region(arch, hu + 60, label, lower, upper),
        Region(cord, 38.0, LABEL_IDS["spinal_cord"], lower, upper),
    ]


def _lesion(torso: Torso, vary: Variation) -> Lesion:
    random = vary.random
    side = 1 if random.rand() < 0.5 else -1
    place = (side * random.uniform(62, 92), random.uniform(-20, 40), random.uniform(366, 432))
    centre_mm = torso.point(place) + vary.shift_mm(2)
    radius_mm = float(random.uniform(11, 19))
    stretch = vary.scales(0.12)
    phases_rad = random.uniform(0, 2 * np.pi, 3)
    return Lesion(centre_mm, radius_mm, stretch, phases_rad, vary.hu(45, 15))

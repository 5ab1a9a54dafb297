"""The nominal anatomy as tables: ellipsoids and capsules in mm, in the order in which they are painted.

x grows to the patient's left, y to the back, z to the head. HU are those of a portal-venous chest and abdomen CT.
Heights of vertebrae, and what limits a shape (the diaphragm, the wall), are nominal too.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtpipeline.demo.grid import Xyz


@dataclass(frozen=True)
class Limits:
    """Where a shape ends, besides its own surface.

    wall_mm: at this distance inside the fat. z_from_mm, z_to_mm: heights. lateral_mm: distance from the midline,
    towards the side given by the shape's centre.
    """

    below_diaphragm: bool = False
    wall_mm: float | None = None
    z_from_mm: float | None = None
    z_to_mm: float | None = None
    lateral_mm: float | None = None


@dataclass(frozen=True)
class NominalEllipsoid:
    """tilt_rad: rotation about y. jitter_mm: how far the centre may be displaced. label None: painted unlabelled."""

    label: str | None
    centre_mm: Xyz
    semi_axes_mm: Xyz
    hu: float
    tilt_rad: float = 0.0
    jitter_mm: float = 3.0
    limits: Limits = Limits()


@dataclass(frozen=True)
class NominalCapsule:
    """All points within `radius_mm` of a segment."""

    label: str
    start_mm: Xyz
    end_mm: Xyz
    radius_mm: float
    hu: float
    jitter_mm: float = 2.0


Nominal = NominalEllipsoid | NominalCapsule
SIDES = ((1, "left"), (-1, "right"))


def _back_muscles(s: int, side: str) -> list[Nominal]:
    return [
        NominalCapsule(f"autochthon_{side}", (s * 28, 78, 96), (s * 26, 80, 462), 15, 60, 1.5),
        NominalCapsule(f"iliopsoas_{side}", (s * 36, 42, 228), (s * 58, 8, 96), 15, 58, 1.5),
    ]


ABDOMEN: tuple[Nominal, ...] = (
    NominalEllipsoid("gluteus_maximus_left", (66, 66, 62), (46, 21, 52), 56),
    NominalEllipsoid("gluteus_maximus_right", (-66, 66, 62), (46, 21, 52), 56),
    *_back_muscles(1, "left"),
    *_back_muscles(-1, "right"),
    NominalEllipsoid("small_bowel", (0, -30, 168), (64, 42, 46), 38),
    NominalCapsule("colon", (-94, 0, 132), (-96, -6, 226), 18, 10),
    NominalCapsule("colon", (94, 4, 112), (98, -2, 236), 17, 10),
    NominalCapsule("colon", (-84, -52, 226), (84, -54, 232), 15, 10),
    NominalCapsule("colon", (0, 36, 44), (4, 38, 88), 13, 10),
    NominalEllipsoid("urinary_bladder", (0, -28, 76), (35, 28, 26), 6),
    NominalEllipsoid("prostate", (0, -10, 41), (21, 17, 15), 48),
    NominalEllipsoid("kidney_left", (57, 44, 244), (23, 21, 46), 185),
    NominalEllipsoid("kidney_right", (-57, 44, 232), (23, 21, 46), 185),
    NominalEllipsoid("pancreas", (12, -4, 250), (48, 12, 12), 85),
)

UNDER_THE_DIAPHRAGM: tuple[Nominal, ...] = (
    NominalEllipsoid("liver", (-58, -6, 292), (72, 74, 62), 110, limits=Limits(below_diaphragm=True, wall_mm=16)),
    NominalEllipsoid("stomach", (58, -34, 284), (40, 36, 40), 24, limits=Limits(below_diaphragm=True)),
    NominalEllipsoid("spleen", (90, 36, 292), (26, 34, 40), 132, limits=Limits(below_diaphragm=True, wall_mm=14)),
    NominalEllipsoid("gallbladder", (-46, -50, 242), (13, 16, 20), 8),
)

MEDIASTINUM: tuple[Nominal, ...] = (
    NominalEllipsoid("heart", (22, -26, 352), (48, 40, 46), 145),
    NominalCapsule("trachea", (0, 18, 408), (0, 14, 506), 9, -990, 1.5),
    NominalCapsule("trachea", (0, 18, 408), (30, 14, 392), 6, -990, 1.0),
    NominalCapsule("trachea", (0, 18, 408), (-30, 14, 392), 6, -990, 1.0),
    NominalCapsule("esophagus", (0, 31, 330), (-2, 32, 500), 8, 35, 1.0),
    NominalCapsule("aorta", (16, 26, 170), (20, 30, 412), 11, 215, 1.0),
    NominalCapsule("aorta", (20, 30, 412), (-2, -8, 420), 11, 215, 1.0),
    NominalCapsule("aorta", (-2, -8, 420), (-2, -10, 388), 12, 215, 1.0),
    NominalCapsule("inferior_vena_cava", (-17, 24, 168), (-16, 16, 326), 11, 165, 1.0),
)

SPINE_BOTTOM_MM = 140.0
SPINE_Y_MM = 50.0
VERTEBRAE: tuple[tuple[str, float, float], ...] = (
    *((f"vertebrae_L{i}", 26.0, 18.0) for i in range(5, 0, -1)),
    *((f"vertebrae_T{i}", 17.5, 14.5) for i in range(12, 0, -1)),
    ("vertebrae_C7", 14.0, 11.0),
    ("vertebrae_C6", 14.0, 11.0),
)
"""Name, height and radius in mm, from the lowest up."""

CORD_RADIUS_MM = 7.5
CORD_BEHIND_BODY_MM = 8.0
"""Between the back of a vertebral body and the middle of the spinal canal."""


def _limb(s: int, side: str) -> list[Nominal]:
    hip, femur = f"hip_{side}", f"femur_{side}"
    return [
        NominalEllipsoid(hip, (s * 74, 26, 112), (11, 38, 46), 360, tilt_rad=s * 0.45, jitter_mm=1.5),
        NominalEllipsoid(hip, (s * 74, 4, 54), (27, 27, 27), 380, jitter_mm=1.0, limits=Limits(lateral_mm=88)),
        NominalEllipsoid(hip, (s * 50, -38, 46), (28, 9, 10), 340, jitter_mm=1.0),
        NominalEllipsoid(None, (s * 84, 4, 52), (24, 24, 24), -20, jitter_mm=0.0),  # joint space
        NominalEllipsoid(femur, (s * 84, 4, 52), (21, 21, 21), 420, jitter_mm=0.5),
        NominalCapsule(femur, (s * 88, 4, 46), (s * 112, 8, 26), 12, 420, 0.5),
        NominalCapsule(femur, (s * 112, 8, 26), (s * 108, 6, -60), 15, 480, 0.5),
        NominalCapsule(f"clavicula_{side}", (s * 16, -58, 462), (s * 92, -8, 482), 7, 380, 1.5),
        NominalEllipsoid(f"scapula_{side}", (s * 100, 62, 420), (8, 26, 46), 330, tilt_rad=s * 0.12, jitter_mm=1.5),
    ]


OTHER_BONES: tuple[Nominal, ...] = (
    NominalEllipsoid("sacrum", (0, 62, 104), (36, 20, 34), 300, jitter_mm=1.0, limits=Limits(z_to_mm=120)),
    NominalEllipsoid(
        "vertebrae_S1", (0, 58, 118), (40, 20, 22), 320, jitter_mm=1.0, limits=Limits(z_from_mm=120, z_to_mm=139)
    ),
    *_limb(1, "left"),
    *_limb(-1, "right"),
    NominalEllipsoid("sternum", (0, -76, 400), (17, 8, 62), 260, jitter_mm=1.5),
)

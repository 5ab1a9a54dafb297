from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.demo.rois import area_mm2
from rtpipeline.demo.solids import VERTICES, Box, Capsule, Cylinder, Ellipsoid, EllipticTube, Shell, Solid, sphere

POLYGON_DEFICIT = 1 - np.sin(2 * np.pi / VERTICES) / (2 * np.pi / VERTICES)
"""An inscribed regular n-gon has n/2 sin(2 pi/n) r2 of the circle's pi r2."""

SLICING = 2e-4
"""Relative error of the midpoint rule with 2000 planes on a solid with vertical tangents or faces."""

SOLIDS: list[Solid] = [
    sphere((3, -4, 50), 17.0),
    Ellipsoid((3, -4, 50), (10, 20, 15)),
    Cylinder((3, -4, 50), (9.0, 14.0), 12.0),
    Capsule((3, -4), 40.0, 70.0, 7.5),
    EllipticTube((0, 0), (0, 40, 100), (100, 150, 60), (80, 90, 50), 13.0, 88.0),
    Shell(sphere((3, -4, 50), 20.0), sphere((3, -4, 50), 12.0)),
    Shell(sphere((3, -4, 50), 20.0), sphere((3, -4, 50), 12.0), keyhole=True),
]


def _volume_by_slicing_cc(solid: Solid) -> float:
    low, high = solid.z_range_mm
    step = (high - low) / 2000
    planes = low + step * (np.arange(2000) + 0.5)
    mm3 = 0.0
    for z in planes:
        areas = [abs(area_mm2(p)) for p in solid.section(float(z))]
        mm3 += (areas[0] - sum(areas[1:])) * step if areas else 0.0
    return mm3 / 1000


@pytest.mark.parametrize("solid", SOLIDS, ids=lambda s: type(s).__name__)
def test_the_sections_of_a_round_solid_add_up_to_its_volume(solid: Solid) -> None:
    inscribed = solid.volume_cc() * (1 - POLYGON_DEFICIT)
    assert _volume_by_slicing_cc(solid) == pytest.approx(inscribed, rel=SLICING)


def test_the_sections_of_a_box_add_up_to_its_volume() -> None:
    box = Box((3, -4, 50), (11.0, 12.0, 13.0))
    assert box.volume_cc() == pytest.approx(22 * 24 * 26 / 1000)
    assert _volume_by_slicing_cc(box) == pytest.approx(box.volume_cc())


def test_a_sphere_has_four_thirds_pi_r_cubed() -> None:
    assert sphere((0, 0, 0), 10.0).volume_cc() == pytest.approx(4.18879, rel=1e-5)


@pytest.mark.parametrize("solid", SOLIDS, ids=lambda s: type(s).__name__)
def test_nothing_is_cut_beyond_the_ends(solid: Solid) -> None:
    low, high = solid.z_range_mm
    assert solid.section(low - 0.01) == [] and solid.section(high + 0.01) == []
    assert solid.section((low + high) / 2)


def test_a_hole_is_a_second_contour_and_a_keyhole_a_single_one_of_the_same_area() -> None:
    outer, inner = sphere((0, 0, 0), 20.0), sphere((0, 0, 0), 12.0)
    ring, hole = Shell(outer, inner).section(2.0)
    (keyhole,) = Shell(outer, inner, keyhole=True).section(2.0)
    assert abs(area_mm2(keyhole)) == pytest.approx(abs(area_mm2(ring)) - abs(area_mm2(hole)))


def test_the_cut_of_a_keyhole_has_no_width() -> None:
    (keyhole,) = Shell(sphere((0, 0, 0), 20.0), sphere((0, 0, 0), 12.0), keyhole=True).section(2.0)
    edges = {tuple(np.round([*a, *b], 9)) for a, b in zip(keyhole, np.roll(keyhole, -1, axis=0), strict=True)}
    doubled = [e for e in edges if (e[2], e[3], e[0], e[1]) in edges]
    assert len(doubled) == 2  # one segment, walked in and out


def test_above_the_hole_a_keyhole_is_an_ordinary_contour() -> None:
    (contour,) = Shell(sphere((0, 0, 0), 20.0), sphere((0, 0, 0), 12.0), keyhole=True).section(15.0)
    assert len(contour) == VERTICES

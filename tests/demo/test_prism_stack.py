"""The exact route is checked against closed forms where there are any, and against random points elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.prism_stack import PrismStack, slab_bounds_mm
from rtpipeline.demo.rois import draw
from rtpipeline.demo.solids import Box, Cylinder, Shell, Solid, sphere

PLANES_MM = np.arange(0.0, 100.0, 3.0)
EXACT = 1e-9
"""Relative: what double precision leaves of a closed form."""

SPHERE_STACK = 0.004
"""Relative: a sphere of 20 mm radius in 3 mm slabs with 96-gons (-0.07 % area, +- of the slabs near the poles)."""

POINTS = 200_000
SAMPLED_GY = 0.03
"""Four standard errors of quantiles of 1e5 points spread over about 6 Gy, in the tails' density."""


def _stack(solid: Solid) -> PrismStack:
    return PrismStack.from_contours(draw(1, "roi", "ORGAN", solid, PLANES_MM).contours)


def test_a_box_between_planes_has_its_exact_volume() -> None:
    # planes 36 .. 63 are cut: the stack reaches from 34.5 to 64.5
    assert _stack(Box((10, 20, 49.5), (11, 12, 14))).volume_cc() == pytest.approx(22 * 24 * 30 / 1000, rel=EXACT)


def test_a_sphere_is_near_to_four_thirds_pi_r_cubed() -> None:
    assert _stack(sphere((10, 20, 50), 20.0)).volume_cc() == pytest.approx(4 / 3 * np.pi * 8, rel=SPHERE_STACK)


def test_a_symmetric_structure_has_the_dose_of_its_centre_as_mean_and_median() -> None:
    dose = LinearDose.through(50.0, (10, 20, 49.5), (0.1, -0.06, 0.08))
    stack = _stack(sphere((10, 20, 49.5), 20.0))
    # the centre lies midway between two planes, so that the stack is symmetric too
    metrics = stack.metrics(dose)
    assert metrics["dmean_gy"] == pytest.approx(50.0, abs=1e-5)  # contours are rounded to 1e-4 mm
    assert metrics["d50_gy"] == pytest.approx(50.0, abs=1e-5)
    assert metrics["d98_gy"] + metrics["d2_gy"] == pytest.approx(100.0, abs=1e-5)


@pytest.mark.parametrize(("axis", "low_mm", "high_mm"), [(0, -1.0, 21.0), (1, 8.0, 32.0), (2, 34.5, 64.5)])
def test_along_a_side_of_a_box_each_dose_level_is_a_linear_function_of_volume(
    axis: int, low_mm: float, high_mm: float
) -> None:
    gradient = [0.0, 0.0, 0.0]
    gradient[axis] = 0.1
    dose = LinearDose(30.0, (gradient[0], gradient[1], gradient[2]))
    metrics = _stack(Box((10, 20, 49.5), (11, 12, 14))).metrics(dose)
    for name, fraction in (("dmax_gy", 0), ("d2_gy", 0.02), ("d50_gy", 0.5), ("d95_gy", 0.95), ("dmin_gy", 1)):
        expected_gy = 30 + 0.1 * (high_mm - fraction * (high_mm - low_mm))
        assert metrics[name] == pytest.approx(expected_gy, rel=1e-8), name


def test_a_corner_of_a_box_cut_off_obliquely_is_a_tetrahedron() -> None:
    stack = _stack(Box((10, 20, 49.5), (11, 12, 14)))
    dose = LinearDose(0.0, (0.2, 0.1, 0.05))
    corner_gy = float(dose.at((21.0, 32.0, 64.5)))
    below_gy = 0.3
    # the plane of `corner - 0.3 Gy` meets the three edges at 1.5, 3 and 6 mm
    assert stack.volume_above_cc(dose, corner_gy - below_gy) == pytest.approx(1.5 * 3 * 6 / 6 / 1000, rel=1e-6)


def test_a_half_cylinder_lies_above_the_dose_of_its_axis() -> None:
    stack = _stack(Cylinder((10, 20, 49.5), (8.0, 8.0), 14.0))
    for gradient in ((0.1, 0.0, 0.0), (0.07, -0.05, 0.0), (0.07, -0.05, 1e-9)):
        dose = LinearDose.through(40.0, (10, 20, 49.5), gradient)
        assert stack.volume_above_cc(dose, 40.0) == pytest.approx(stack.volume_cc() / 2, rel=1e-6)


def test_a_uniform_dose_is_every_metric() -> None:
    metrics = _stack(sphere((10, 20, 50), 20.0)).metrics(LinearDose(12.5, (0.0, 0.0, 0.0)))
    assert set(metrics.values()) == {12.5}


def test_hole_and_keyhole_are_the_same_solid() -> None:
    outer, inner = sphere((0, 0, 50), 30.0), sphere((0, 0, 50), 20.0)
    dose = LinearDose.through(50.0, (0, 0, 50), (0.1, -0.05, 0.08))
    hole, keyhole = _stack(Shell(outer, inner)), _stack(Shell(outer, inner, keyhole=True))
    assert hole.volume_cc() == pytest.approx(keyhole.volume_cc(), rel=EXACT)
    assert hole.volume_cc() == pytest.approx(_stack(outer).volume_cc() - _stack(inner).volume_cc(), rel=EXACT)
    assert hole.metrics(dose) == pytest.approx(keyhole.metrics(dose), rel=1e-8)


@pytest.mark.parametrize("gradient", [(0.1, -0.05, 0.08), (0.0, 0.0, 0.1), (0.1, 0.02, 0.0), (-0.03, 0.09, -0.02)])
def test_random_points_in_a_shell_find_the_same_doses(gradient: tuple[float, float, float]) -> None:
    centre = np.array([4.0, -7.0, 50.0])
    stack = _stack(Shell(sphere((4, -7, 50), 30.0), sphere((4, -7, 50), 20.0)))
    dose = LinearDose.through(50.0, centre, gradient)
    points = np.random.default_rng(5).uniform(centre - 32, centre + 32, (POINTS, 3))
    # in the stack the radius at a point is the one at its slab's plane
    plane = np.round(points[:, 2] / 3.0) * 3.0
    radius2 = np.sum((points[:, :2] - centre[:2]) ** 2, axis=1) + (plane - 50.0) ** 2
    sampled = dose.at(points[(radius2 < 30**2) & (radius2 >= 20**2)])
    metrics = stack.metrics(dose)
    assert metrics["dmean_gy"] == pytest.approx(sampled.mean(), abs=SAMPLED_GY)
    for name, fraction in (("d98_gy", 0.02), ("d95_gy", 0.05), ("d50_gy", 0.5), ("d2_gy", 0.98)):
        assert metrics[name] == pytest.approx(np.quantile(sampled, fraction), abs=SAMPLED_GY), name
    assert metrics["dmin_gy"] <= sampled.min() + 1e-3 and metrics["dmax_gy"] >= sampled.max() - 1e-3


def test_the_order_of_contours_and_the_sense_of_rotation_do_not_matter() -> None:
    roi = draw(1, "ring", "ORGAN", Shell(sphere((0, 0, 50), 30.0), sphere((0, 0, 50), 20.0)), PLANES_MM)
    shuffled = [points[::-1] if i % 3 else points for i, points in enumerate(reversed(roi.contours))]
    assert PrismStack.from_contours(shuffled).volume_cc() == pytest.approx(
        PrismStack.from_contours(roi.contours).volume_cc(), rel=EXACT
    )


def test_slabs_reach_half_the_gap_to_each_neighbour() -> None:
    assert slab_bounds_mm([0.0, 3.0, 5.0]) == [(-1.5, 1.5), (1.5, 4.0), (4.0, 6.0)]


def test_a_wide_gap_ends_the_solid_on_both_sides() -> None:
    assert slab_bounds_mm([0.0, 3.0, 6.0, 15.0, 18.0])[2:4] == [(4.5, 7.5), (13.5, 16.5)]


def test_a_single_plane_needs_a_thickness() -> None:
    assert slab_bounds_mm([7.0], 2.0) == [(6.0, 8.0)]
    with pytest.raises(ValueError, match="single_plane_thickness_mm"):
        slab_bounds_mm([7.0])
    with pytest.raises(ValueError, match="without contours"):
        slab_bounds_mm([])

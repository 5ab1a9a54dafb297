from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.demo.rois import MINIMUM_AREA_MM2, area_mm2, draw, inside_polygon
from rtpipeline.demo.solids import Shell, ellipse, sphere


def test_an_area_is_positive_when_counter_clockwise() -> None:
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 3.0], [0.0, 3.0]])
    assert area_mm2(square) == 6.0 and area_mm2(square[::-1]) == -6.0


def test_points_are_inside_an_ellipse_by_its_equation() -> None:
    points = np.random.default_rng(3).uniform(-12, 12, (500, 2))
    radius2 = (points[:, 0] / 10) ** 2 + (points[:, 1] / 6) ** 2
    clear = np.abs(radius2 - 1) > 0.01  # the inscribed polygon departs from the ellipse by less
    inside = inside_polygon(points, ellipse((0, 0), (10, 6)))
    np.testing.assert_array_equal(inside[clear], radius2[clear] < 1)


def test_every_plane_that_cuts_the_solid_gets_its_contour_in_ascending_order() -> None:
    roi = draw(4, "GTV", "GTV", sphere((0, 0, 10.0), 6.0), [15.0, 0.0, 12.0, 9.0, 6.0, 3.0])
    assert [points[0, 2] for points in roi.contours] == [6.0, 9.0, 12.0, 15.0]
    assert all((points[:, 2] == points[0, 2]).all() for points in roi.contours)


def test_specks_at_the_poles_and_in_holes_are_left_out() -> None:
    shell = Shell(sphere((0, 0, 0), 10.0), sphere((0, 0, 0), 5.0))
    roi = draw(1, "Shell", "ORGAN", shell, [0.0, 4.999, 9.999])
    assert [len([p for p in roi.contours if p[0, 2] == z]) for z in (0.0, 4.999, 9.999)] == [2, 1, 0]
    assert min(abs(area_mm2(points)) for points in roi.contours) >= MINIMUM_AREA_MM2


def test_points_are_rounded_as_they_are_written() -> None:
    roi = draw(1, "GTV", "GTV", sphere((0.123456, 0, 0), 10 / 3), [0.0])
    for value in roi.contours[0].ravel():
        assert float(f"{value:.4f}") == pytest.approx(value, abs=1e-12)

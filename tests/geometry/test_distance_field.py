"""Levels and distances on a lattice, against circles and squares."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rtpipeline.geometry.distance_blend import Blend, Shrinking
from rtpipeline.geometry.distance_field import labelled, level_of_area, signed_distance, zero_level
from rtpipeline.geometry.polygon import even_odd_area_mm2

CURVED = 0.02
"""Distance (cells) of a circle from the straight parts between its crossings of the lattice."""


def from_circle(radius: float, centre: tuple[float, float], shape: tuple[int, int] = (60, 70)) -> np.ndarray:
    r, c = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(c - centre[0], r - centre[1]) - radius


def circle(radius: float, centre: tuple[float, float] = (0.0, 0.0), n: int = 90) -> np.ndarray:
    angle = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    return np.c_[centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)]


def test_the_zero_level_of_a_circle_is_that_circle_with_the_negative_side_on_the_left() -> None:
    field = from_circle(17.3, (33.2, 29.7))
    points, starts = zero_level(field)
    assert len(starts) == 2
    assert np.hypot(points[:, 0] - 33.2, points[:, 1] - 29.7) == pytest.approx(np.full(len(points), 17.3), abs=CURVED)
    x, y = points.T
    assert 0.5 * (x @ np.roll(y, -1) - y @ np.roll(x, -1)) == pytest.approx(np.pi * 17.3**2, rel=1e-3)
    holes = zero_level(np.maximum(field, -from_circle(6.0, (33.2, 29.7))))
    assert len(holes[1]) == 3


def test_two_corners_that_meet_are_joined_by_what_lies_between() -> None:
    for middle, count in ((-0.2, 1), (0.2, 2)):
        field = np.full((4, 4), 1.0)
        field[1, 1] = field[2, 2] = -1.0
        field[1, 2] = field[2, 1] = 1.0 + 4.0 * middle
        assert len(zero_level(field)[1]) - 1 == count


def test_distances_are_those_from_the_circle() -> None:
    truth = from_circle(17.3, (33.2, 29.7))
    assert signed_distance(np.sign(truth) * truth**2 / 10.0) == pytest.approx(truth, abs=0.3)
    assert signed_distance(truth) == pytest.approx(truth, abs=3 * CURVED)


@pytest.mark.parametrize("target", [20.0, 400.0, 940.0, 1400.0])
def test_the_level_that_encloses_an_area_is_found(target: float) -> None:
    points, starts, area = level_of_area(from_circle(17.3, (33.2, 29.7)), target)
    assert area == pytest.approx(target, rel=1e-6)
    assert even_odd_area_mm2([points[a:b] for a, b in pairwise(starts)]) == pytest.approx(area)


def test_parts_that_meet_in_a_corner_are_one() -> None:
    mask = np.zeros((6, 6), bool)
    mask[0, :2] = mask[1, 2] = mask[4, 4] = True
    labels, count = labelled(mask)
    assert count == 2
    assert labels[0, 0] == labels[1, 2] == 1 and labels[4, 4] == 2 and labels[3, 0] == 0


def test_a_ring_shrinks_from_both_borders() -> None:
    ring = [circle(20.0), circle(12.0)]
    at = Shrinking(ring).at(np.pi * (18.0**2 - 14.0**2))
    radii = [np.hypot(*contour.T).mean() for contour in at.contours]
    assert sorted(radii) == pytest.approx([14.0, 18.0], abs=0.1)
    assert at.area_mm2 == pytest.approx(np.pi * (18.0**2 - 14.0**2), rel=1e-6)
    assert Shrinking(ring).at(0.01).contours == []


def test_a_blend_goes_from_one_region_to_the_other() -> None:
    below, above = [circle(6.0, (-8.0, 0.0)), circle(6.0, (8.0, 0.0))], [circle(16.0)]
    blend = Blend(below, above)
    first, last = (sum(even_odd_area_mm2([c]) for c in region) for region in (below, above))
    for t in (0.0, 0.25, 0.5, 1.0):
        at = blend.at(t)
        assert at.area_mm2 == pytest.approx((1 - t) * first + t * last, rel=1e-5)
        assert even_odd_area_mm2(at.contours) == pytest.approx(at.area_mm2, rel=1e-9)
    assert len(blend.at(0.0).contours) == 2 and len(blend.at(1.0).contours) == 1


def test_regions_apart_end_half_way() -> None:
    blend = Blend([circle(6.0)], [circle(5.0, (40.0, 0.0))])
    for t, centre, radius in ((0.3, 0.0, 6.0), (0.49, 0.0, 6.0), (0.51, 40.0, 5.0)):
        at = blend.at(t)
        assert len(at.contours) == 1
        assert at.contours[0].mean(axis=0) == pytest.approx([centre, 0.0], abs=0.1)
        assert at.area_mm2 == pytest.approx(np.pi * radius**2, rel=2e-3)

"""Which point of the next outline belongs to a point: what is only larger, smaller or moved goes over as it is."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.geometry.loop_links import DOWN, UP, link_loops
from rtpipeline.geometry.loops import planar_loops
from rtpipeline.geometry.morph import partners
from rtpipeline.geometry.polygon import even_odd_area_mm2
from rtpipeline.geometry.solid import PrismSolid

SMALL_MM = 0.35
"""Half a part of the dynamic programme's outlines, on the shapes here."""


def linked(below: np.ndarray, above: np.ndarray):
    solid = PrismSolid.from_contours(
        [np.c_[c, np.full(len(c), z)] for z, c in ((0.0, below), (2.0, above))], single_plane_thickness_mm=None
    )
    loops = planar_loops(
        solid.points_uv_mm, solid.contour_starts, solid.plane_starts, solid.edges, solid.edge_starts, solid.areas_mm2
    )
    links = link_loops(loops, np.array([True]), np.array([False]), solid.edges, solid.edge_starts)
    return loops, links, *partners(loops, links)


def ellipse(a: float, b: float, centre: tuple[float, float], n: int) -> np.ndarray:
    angle = np.linspace(0.1, 2.0 * np.pi + 0.1, n, endpoint=False)
    return np.c_[centre[0] + a * np.cos(angle), centre[1] + b * np.sin(angle)]


def horseshoe(scale: float, centre: tuple[float, float]) -> np.ndarray:
    angle = np.linspace(0.7, 2.0 * np.pi - 0.7, 60)
    arc = np.c_[np.cos(angle), np.sin(angle)]
    return np.concatenate([20.0 * arc, 12.0 * arc[::-1]]) * scale + centre


def test_stars_meet_along_rays() -> None:
    loops, links, partner, farthest = linked(ellipse(9, 6, (0, 0), 80), ellipse(12, 8, (3, 1), 200))
    assert links.to[0, UP] == 1 and links.to[1, DOWN] == 0
    begin, end = loops.starts[0], loops.starts[1]
    own = loops.points[begin:end] - loops.centre[0]
    assert partner[begin:end, UP] == pytest.approx(own * 4 / 3, rel=2e-3, abs=2e-3)
    assert farthest[0, UP] == pytest.approx(np.hypot(3 + 3, 1), abs=0.3)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, (0.0, 0.0)), (1.0, (6.0, -2.0)), (1.15, (1.0, 2.0))])
def test_a_horseshoe_meets_itself_moved_and_larger(scale: float, shift: tuple[float, float]) -> None:
    below = horseshoe(1.0, (0.0, 0.0))
    loops, _, partner, _ = linked(below, np.roll(horseshoe(scale, shift), 17, axis=0)[::-1])
    assert not loops.is_star.any()
    begin, end = loops.starts[0], loops.starts[1]
    own, other = loops.points[begin:end] - loops.centre[0], partner[begin:end, UP]
    if scale == 1.0:
        assert np.abs(other - own).max() < SMALL_MM
    half_way = even_odd_area_mm2([0.5 * (own + other)])
    assert half_way == pytest.approx((0.5 * (1.0 + scale)) ** 2 * loops.area_mm2[0], rel=0.01)


def test_the_same_outline_does_not_move() -> None:
    for outline in (ellipse(9, 6, (0, 0), 80), horseshoe(1.0, (0.0, 0.0))):
        *_, farthest = linked(outline, outline)
        assert farthest.max() < 1e-9

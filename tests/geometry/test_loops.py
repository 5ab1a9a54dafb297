"""Contours as simple loops: the same ones however a region was drawn, and never others than its area."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.geometry.loops import Loops, loop_moments, planar_loops
from rtpipeline.geometry.solid import EmptySolidError, PrismSolid

ROUNDING = 1e-9


def circle(radius: float, centre: tuple[float, float] = (0.0, 0.0), n: int = 72) -> np.ndarray:
    angle = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    return np.c_[centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)]


def loops_of(*contours: np.ndarray) -> tuple[Loops, PrismSolid]:
    solid = PrismSolid.from_contours([np.c_[c, np.zeros(len(c))] for c in contours], single_plane_thickness_mm=1.0)
    found = planar_loops(
        solid.points_uv_mm, solid.contour_starts, solid.plane_starts, solid.edges, solid.edge_starts, solid.areas_mm2
    )
    return found, solid


def net_area(loops: Loops) -> float:
    return float(np.sum(np.where(loops.depth % 2 == 0, 1.0, -1.0) * loops.area_mm2))


def test_a_star_keeps_its_points_and_long_edges_are_cut() -> None:
    loops, _ = loops_of(circle(10.0)[::-1])
    assert len(loops.points) == 72
    assert bool(loops.is_star[0])
    square, solid = loops_of(np.array([[0, 0], [8, 0], [8, 8], [0, 8.0]]))
    assert len(square.points) == 32
    assert square.area_mm2 == pytest.approx([64.0], rel=ROUNDING)
    assert square.centre[0] == pytest.approx([4.0, 4.0])
    assert solid.areas_mm2 == pytest.approx(square.area_mm2)


def test_a_ring_has_two_loops_as_two_contours_and_as_a_keyhole() -> None:
    outer, inner = circle(12.0), np.roll(circle(6.0, (1.0, 0.0))[::-1], 1, axis=0)
    drawn = [(outer, inner), (np.concatenate([outer, outer[:1], inner, inner[:1]]),)]
    for contours in drawn:
        loops, _ = loops_of(*contours)
        assert sorted(loops.area_mm2) == pytest.approx(
            sorted([72 / 2 * r * r * np.sin(2 * np.pi / 72) for r in (6, 12)])
        )
        outside = int(np.argmax(loops.area_mm2))
        assert loops.depth[outside] == 0 and loops.depth[1 - outside] == 1
        assert loops.parent[1 - outside] == outside
        # every loop runs counter-clockwise, holes too
        for i in range(2):
            assert loop_moments(loops.points, loops.starts[i], loops.starts[i + 1])[0] > 0


def test_crossing_contours_are_what_one_of_them_covers() -> None:
    """Two crescents that touch in two points; their loops may be joined there."""
    loops, solid = loops_of(circle(10.0), circle(10.0, (12.0, 0.0)))
    lens = 2 * 100 * np.arccos(0.6) - 6 * np.sqrt(400 - 144)
    assert net_area(loops) == pytest.approx(solid.areas_mm2[0], rel=ROUNDING)
    assert net_area(loops) == pytest.approx(2 * (np.pi * 100 - lens), rel=5e-3)
    assert loops.area_mm2 @ loops.centre[:, 0] / net_area(loops) == pytest.approx(6.0, abs=1e-6)


@pytest.mark.parametrize("shift", [(4.0, 0.0), (4.0, 4.0), (2.0, 2.0), (4.0, 2.0), (0.0, 4.0)])
def test_squares_that_touch_or_overlap_have_their_even_odd_area(shift: tuple[float, float]) -> None:
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4.0]])
    loops, solid = loops_of(square, square + shift)
    assert loops.is_sound.all()
    assert net_area(loops) == pytest.approx(solid.areas_mm2[0], rel=ROUNDING)


CORNERS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=8)


@settings(max_examples=150, deadline=None)
@given(st.lists(CORNERS, min_size=1, max_size=3))
def test_loops_are_the_region_or_the_plane_is_called_unsound(corners: list[list[tuple[int, int]]]) -> None:
    """Tangles on a lattice of integers, where everything touches everything."""
    try:
        loops, solid = loops_of(*[np.array(c, float) for c in corners])
    except EmptySolidError:
        return
    if loops.is_sound[0]:
        assert net_area(loops) == pytest.approx(solid.areas_mm2[0], rel=1e-5)
    else:
        assert len(loops.area_mm2) == 0

"""Areas by the even-odd rule against areas known beforehand, and the tests for badly drawn contours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.geometry.even_odd import area_moments, is_inside
from rtpipeline.geometry.polygon import (
    contour_quality,
    even_odd_area_mm2,
    fit_plane,
    signed_area_mm2,
    signed_edges,
)

AREA_RTOL = 1e-12
"""The sweep is exact; only rounding is left."""

SQUARE = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])


def moved(dx: float, dy: float) -> np.ndarray:
    return SQUARE + np.array([dx, dy])


def regular(radius: float, n: int = 97, centre: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    angle = np.linspace(0.3, 0.3 + 2.0 * np.pi, n, endpoint=False)
    return np.c_[centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)]


def regular_area(radius: float, n: int = 97) -> float:
    return 0.5 * n * radius**2 * np.sin(2.0 * np.pi / n)


@pytest.mark.parametrize(
    ("contours", "area"),
    [
        ([SQUARE], 100.0),
        ([SQUARE[::-1]], 100.0),
        ([SQUARE, SQUARE * 0.5 + 2.0], 75.0),  # hole, same direction
        ([SQUARE * 0.5 + 2.0, SQUARE[::-1]], 75.0),  # hole first, other direction
        ([SQUARE, SQUARE * 0.6 + 2.0, SQUARE * 0.2 + 4.0], 68.0),  # island inside a hole
        ([SQUARE, moved(30.0, 2.0)], 200.0),  # islands side by side
        ([SQUARE, moved(10.0, 0.0)], 200.0),  # touching along an edge
        ([SQUARE, moved(10.0, 10.0)], 200.0),  # touching in a corner
        ([SQUARE, moved(5.0, 5.0)], 150.0),  # overlapping: what lies in both is out
        ([SQUARE, SQUARE * 0.5], 75.0),  # hole with two common edges
        ([SQUARE, SQUARE, SQUARE], 100.0),  # drawn three times
        ([np.array([[0, 0], [10, 10], [10, 0], [0, 10.0]])], 50.0),  # bow-tie: both lobes
        ([np.array([[0, 0], [10, 0], [10, 10], [0, 10], [0, 0], [10, 0.0]])], 100.0),  # edges drawn back and forth
    ],
)
def test_even_odd_area_of_known_figures(contours: list[np.ndarray], area: float) -> None:
    assert even_odd_area_mm2(contours) == pytest.approx(area, rel=AREA_RTOL)


def test_ring_keyhole_and_difference_of_discs_are_equal() -> None:
    outer, inner = regular(20.0), regular(10.0)
    start = np.roll(inner[::-1], 40, axis=0)
    keyhole = np.concatenate([outer, outer[:1], start, start[:1]])
    expected = regular_area(20.0) - regular_area(10.0)
    for contours in ([outer, inner], [outer, inner[::-1]], [keyhole], [keyhole[::-1]]):
        assert even_odd_area_mm2(contours) == pytest.approx(expected, rel=1e-12)


def test_two_overlapping_discs_leave_out_their_lens() -> None:
    n, r, distance = 4000, 10.0, 12.0
    lens = 2 * r * r * np.arccos(distance / (2 * r)) - 0.5 * distance * np.sqrt(4 * r * r - distance**2)
    expected = 2.0 * np.pi * r * r - 2.0 * lens
    got = even_odd_area_mm2([regular(r, n), regular(r, n, (distance, 0.0))])
    assert got == pytest.approx(expected, rel=1e-5)  # 4000 corners instead of a circle: 4e-7


def test_a_pentagram_has_an_empty_heart() -> None:
    angle = np.pi / 2 + np.arange(5) * 4.0 * np.pi / 5.0
    star = 10.0 * np.c_[np.cos(angle), np.sin(angle)]
    inner = 10.0 * np.cos(2.0 * np.pi / 5.0) / np.cos(np.pi / 5.0)
    # outline of the star by the radii of its ten corners, less the pentagon inside
    outline = 10 * 0.5 * 10.0 * inner * np.sin(np.pi / 5.0)
    heart = 5 * 0.5 * inner**2 * np.sin(2.0 * np.pi / 5.0)
    assert even_odd_area_mm2([star]) == pytest.approx(outline - heart, rel=1e-12)
    edges = signed_edges([star])
    assert not is_inside(edges, 0, len(edges), 0.0, 0.0)
    assert is_inside(edges, 0, len(edges), 0.0, 9.0)


polygons = st.lists(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=3, max_size=9), min_size=1, max_size=4
)


@settings(deadline=None)
@given(contours=polygons, x=st.floats(-60, 60), y=st.floats(-60, 60))
def test_the_signed_edges_agree_with_counting_crossings(
    contours: list[list[tuple[float, float]]], x: float, y: float
) -> None:
    # any polygons at all, crossing themselves and each other: parity of the edges to the left, edge by edge
    arrays = [np.array(c) for c in contours]
    crossings, nearest = 0, np.inf
    for polygon in arrays:
        for p, q in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if (p[1] <= y) != (q[1] <= y):
                at = p[0] + (q[0] - p[0]) * (y - p[1]) / (q[1] - p[1])
                nearest = min(nearest, abs(at - x))
                crossings += at < x
    edges = signed_edges(arrays)
    if nearest > 1e-6:
        assert is_inside(edges, 0, len(edges), x, y) == (crossings % 2 == 1)


@settings(deadline=None)
@given(contours=polygons, seed=st.integers(0, 100))
def test_area_does_not_depend_on_order_start_or_direction(contours: list[list[tuple[float, float]]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [np.array(c) for c in contours]
    shuffled = []
    for i in rng.permutation(len(arrays)):
        turned = np.roll(arrays[i], int(rng.integers(9)), axis=0)
        shuffled.append(turned[:: rng.choice([-1, 1])])
    assert even_odd_area_mm2(shuffled) == pytest.approx(even_odd_area_mm2(arrays), abs=1e-7)


def test_the_centroid_of_a_half_disc_is_where_it_should_be() -> None:
    angle = np.linspace(0.0, np.pi, 2000)
    half_disc = np.c_[500.0 + 9.0 * np.cos(angle), -300.0 + 9.0 * np.sin(angle)]
    edges = signed_edges([half_disc])
    area, mx, my = area_moments(edges, np.array([0, len(edges)]))[0]
    assert area == pytest.approx(0.5 * np.pi * 81.0, rel=1e-5)
    assert mx / area == pytest.approx(500.0, abs=1e-9)
    assert my / area == pytest.approx(-300.0 + 4.0 * 9.0 / (3.0 * np.pi), abs=1e-4)


def test_signed_area_knows_the_direction() -> None:
    assert signed_area_mm2(SQUARE) == 100.0
    assert signed_area_mm2(SQUARE[::-1]) == -100.0


def test_a_plane_fits_an_oblique_bow_tie_and_measures_a_lifted_vertex() -> None:
    u, v = np.array([0.8, 0.0, 0.6]), np.array([0.0, 1.0, 0.0])
    bow_tie = np.array([[0, 0], [10, 10], [10, 0], [0, 10.0]]) @ np.array([u, v]) + [100.0, -50.0, 7.0]
    flat = fit_plane(bow_tie)
    assert flat.residual_mm < 1e-9
    assert abs(flat.normal @ np.cross(u, v)) == pytest.approx(1.0, abs=1e-9)
    ring = regular(20.0) @ np.array([u, v])
    ring[10] += 0.8 * np.cross(u, v)
    assert fit_plane(ring).residual_mm == pytest.approx(0.8, abs=0.06)  # the fit follows the vertex a little
    with pytest.raises(ValueError, match="2 points; need at least 3"):
        fit_plane(bow_tie[:2])


def test_self_crossings_are_counted_and_keyholes_are_not() -> None:
    assert contour_quality(SQUARE).n_self_crossings == 0
    assert contour_quality(np.array([[0, 0], [10, 10], [10, 0], [0, 10.0]])).n_self_crossings == 1
    outer, inner = regular(20.0), regular(10.0)[::-1]
    keyhole = np.round(np.concatenate([outer, outer[:1], inner, inner[:1]]), 2)
    assert contour_quality(keyhole).n_self_crossings == 0
    # a channel whose two sides were rounded differently
    rough = np.concatenate([outer, outer[:1] + 0.004, inner - 0.004, inner[:1]])
    assert contour_quality(rough).n_self_crossings == 0
    loop = np.array([[0, 0], [10, 0], [10, 10], [5, -2], [0, 10.0]])
    assert contour_quality(loop).n_self_crossings == 2


def test_contours_that_enclose_nothing_are_degenerate() -> None:
    assert contour_quality(SQUARE[:2]).is_degenerate
    assert contour_quality(np.array([[0, 0], [0, 0], [4, 1], [4, 1.0]])).is_degenerate
    assert contour_quality(np.array([[0, 0], [2, 1], [4, 2.0]])).is_degenerate
    assert not contour_quality(SQUARE * 0.01).is_degenerate

"""Cells against brute force: the share that is covered, its centroid and its spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.geometry.coverage import N_ACCUMULATORS, N_MOMENTS, cell_moments, coverage_lattice
from rtpipeline.geometry.polygon import even_odd_area_mm2, signed_edges

ROUNDING = 1e-9
"""Both sides are exact sums; what is left is rounding in coordinates of some tens of mm."""


def clip_to_cell(polygon: np.ndarray, x: float, y: float, hx: float, hy: float) -> np.ndarray:
    """Sutherland-Hodgman against the four sides of a cell."""
    for axis, low, bound in ((0, True, x), (0, False, x + hx), (1, True, y), (1, False, y + hy)):
        kept: list[np.ndarray] = []
        for p, q in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            p_in, q_in = ((a[axis] >= bound) if low else (a[axis] <= bound) for a in (p, q))
            if p_in:
                kept.append(p)
            if p_in != q_in:
                kept.append(p + (q - p) * (bound - p[axis]) / (q[axis] - p[axis]))
        polygon = np.array(kept).reshape(-1, 2)
        if len(polygon) == 0:
            break
    return polygon


def polygon_moments(polygon: np.ndarray) -> np.ndarray:
    """Area, integrals of x, y, xx, xy, yy over a simple polygon, from triangles with the origin."""
    total = np.zeros(6)
    for p, q in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        a = 0.5 * (p[0] * q[1] - q[0] * p[1])
        total += a * np.array(
            [
                1.0,
                (p[0] + q[0]) / 3.0,
                (p[1] + q[1]) / 3.0,
                (p[0] ** 2 + p[0] * q[0] + q[0] ** 2) / 6.0,
                (2 * p[0] * p[1] + p[0] * q[1] + q[0] * p[1] + 2 * q[0] * q[1]) / 12.0,
                (p[1] ** 2 + p[1] * q[1] + q[1] ** 2) / 6.0,
            ]
        )
    return total


def star(rng: np.random.Generator, n: int = 11) -> np.ndarray:
    angle = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    radius = rng.uniform(2.0, 9.0, n)
    return np.c_[radius * np.cos(angle), radius * np.sin(angle)]


@pytest.mark.parametrize("seed", range(6))
def test_share_centroid_and_spread_of_every_cell_match_clipping(seed: int) -> None:
    polygon = star(np.random.default_rng(seed))
    x0, y0, hx, hy, shape = -9.3, -9.1, 1.7, 1.3, (14, 11)
    edges = signed_edges([polygon])
    acc, cells = np.empty((14, 12, N_ACCUMULATORS)), np.empty((*shape, N_MOMENTS))
    cell_moments(edges, 0, len(edges), x0, y0, hx, hy, acc, cells)
    covered = 0
    for r in range(shape[0]):
        for c in range(shape[1]):
            centre = np.array([x0 + (c + 0.5) * hx, y0 + (r + 0.5) * hy])
            clipped = clip_to_cell(polygon, x0 + c * hx, y0 + r * hy, hx, hy)
            m = polygon_moments((clipped - centre) / [hx, hy]) if len(clipped) else np.zeros(6)
            assert cells[r, c, 0] == pytest.approx(m[0], abs=ROUNDING)
            if m[0] > 1e-3:
                covered += 1
                cx, cy = m[1] / m[0], m[2] / m[0]
                spread = [m[3] / m[0] - cx * cx, m[4] / m[0] - cx * cy, m[5] / m[0] - cy * cy]
                assert np.allclose(cells[r, c, 1:], [cx, cy, *spread], atol=1e-6)
    assert covered > 20


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    hx=st.floats(0.2, 7.0),
    hy=st.floats(0.2, 7.0),
    shift=st.floats(0.0, 1.0),
)
def test_the_cells_add_up_to_the_even_odd_area(seed: int, hx: float, hy: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    contours = [star(rng), star(rng) + np.array([4.0, 1.0]), star(rng) * 0.3]
    x0, y0 = -10.0 - shift, -10.0 - shift
    shape = (int(23 / hy) + 2, int(27 / hx) + 2)
    covered = coverage_lattice(signed_edges(contours), x0, y0, hx, hy, shape)
    assert covered.sum() * hx * hy == pytest.approx(even_odd_area_mm2(contours), rel=1e-9)
    assert covered.min() >= 0.0 and covered.max() <= 1.0


def test_what_lies_outside_the_lattice_is_cut_off_exactly() -> None:
    square = np.array([[-5.0, -5.0], [5.0, -5.0], [5.0, 5.0], [-5.0, 5.0]])
    diamond = np.array([[0.0, -7.0], [7.0, 0.0], [0.0, 7.0], [-7.0, 0.0]])
    edges = signed_edges([square @ np.array([[0.6, 0.8], [-0.8, 0.6]])])
    whole = coverage_lattice(edges, -10.0, -10.0, 1.0, 1.0, (20, 20))
    window = coverage_lattice(edges, -2.0, -4.0, 1.0, 1.0, (5, 3))
    assert np.allclose(window, whole[6:11, 8:11], atol=ROUNDING)
    far = coverage_lattice(signed_edges([diamond]), 100.0, 0.0, 1.0, 1.0, (3, 3))
    assert not far.any()
    left = coverage_lattice(signed_edges([diamond]), -100.0, 0.0, 1.0, 1.0, (3, 3))
    assert not left.any()

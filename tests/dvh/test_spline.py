"""The spline against those of scipy, axis after axis, and against the polynomials that it must reproduce."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import make_interp_spline

from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.interpolation import Field, dose_at, lower_plane
from rtpipeline.dvh.spline import FILLED_LAYERS, fill_unknown
from rtpipeline.geometry.grid import Grid

ROUNDING = 1e-12
"""Relative to the largest value; some hundred float64 operations."""

FADED = 1e-6
"""What is left at the border of the known of a jump of the dose FILLED_LAYERS voxels away from it, relative."""


def volume(values: np.ndarray, offsets: np.ndarray | None = None, known: np.ndarray | None = None) -> DoseVolume:
    planes = np.arange(values.shape[0]) * 1.0 if offsets is None else offsets - offsets[0]
    grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [0, 0, 0], [1.0, 1.0], planes, *values.shape[1:])
    return DoseVolume(grid, values, known)


def at(field: Field, point: tuple[float, float, float]) -> tuple[float, float, float, float]:
    """Dose and derivatives at (offset, row, column)."""
    return dose_at(field, lower_plane(field.offsets, point[0], 0), *point, np.empty((3, 2, 4)))


def uneven(n: int) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(np.random.default_rng(n).uniform(0.8, 4.0, n - 1))])


@pytest.mark.parametrize("shape", [(4, 5, 9), (12, 4, 6), (7, 11, 5)])
def test_it_is_the_not_a_knot_spline_of_each_axis_on_uneven_planes_too(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    offsets, values = uneven(shape[0]), rng.normal(size=shape) - 5.0
    field = volume(values, offsets).interpolated("cubic")
    nodes = [offsets, np.arange(shape[1]), np.arange(shape[2])]
    for point in rng.uniform([0, 0, 0], [n[-1] for n in nodes], (40, 3)):
        expected = []
        for order in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
            part = values
            for axis_nodes, x, derivative in zip(nodes, point, order, strict=True):
                part = make_interp_spline(axis_nodes, part, k=3, axis=0)(x, nu=derivative)
            expected.append(float(part))
        assert at(field, tuple(point)) == pytest.approx(expected, abs=100 * ROUNDING)


def test_a_polynomial_of_the_third_degree_is_exact_up_to_the_border() -> None:
    rng = np.random.default_rng(1)
    coefficients = rng.normal(size=(4, 4, 4))
    offsets = uneven(9)
    z, y, x = np.meshgrid(offsets / 10.0, np.arange(8) / 8.0, np.arange(6) / 6.0, indexing="ij")
    field = volume(np.polynomial.polynomial.polyval3d(z, y, x, coefficients) + 50.0, offsets).interpolated("cubic")
    for point in [*rng.uniform([0, 0, 0], [offsets[-1], 7, 5], (60, 3)), (0.0, 0.0, 5.0), (offsets[-1], 7.0, 0.0)]:
        expected = np.polynomial.polynomial.polyval3d(point[0] / 10.0, point[1] / 8.0, point[2] / 6.0, coefficients)
        assert at(field, tuple(point))[0] == pytest.approx(expected + 50.0, rel=ROUNDING)


@pytest.mark.parametrize("n", [2, 3])
def test_few_planes_have_the_line_or_the_parabola_through_them(n: int) -> None:
    offsets = uneven(n)
    polynomial = np.polynomial.Polynomial([30.0, -2.0, 0.7][:n])
    values = polynomial(offsets)[:, None, None] + np.arange(5.0)[:, None] + np.zeros((n, 5, 2))
    field = volume(values, offsets).interpolated("cubic")
    for t in np.linspace(0.0, offsets[-1], 7):
        value, by_t, by_row, by_column = at(field, (t, 1.3, 0.4))
        assert (value, by_t) == (pytest.approx(polynomial(t) + 1.3), pytest.approx(polynomial.deriv()(t)))
        assert (by_row, by_column) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-12))


def test_a_linear_dose_is_exact_up_to_the_border_of_the_known() -> None:
    rng = np.random.default_rng(4)
    offsets = uneven(12)
    j, i = np.meshgrid(np.arange(12), np.arange(14), indexing="ij")
    values = 40.0 + 2.0 * offsets[:, None, None] - 0.5 * j + 1.5 * i
    known = np.ones(values.shape, bool)
    known[7:], known[:, :, :3], known[2, 5, 8] = False, False, False
    garbage = np.where(known, values, rng.choice([-1e4, 1e4, np.nan], values.shape))
    field = volume(garbage, offsets, known).interpolated("cubic")
    for t, row, column in rng.uniform([0, 0, 3], [offsets[6], 11, 13], (200, 3)):
        expected = (40.0 + 2.0 * t - 0.5 * row + 1.5 * column, 2.0, -0.5, 1.5)
        assert at(field, (t, row, column)) == pytest.approx(expected, abs=40.0 * FADED)


def test_the_fill_does_not_depend_on_the_direction_in_which_an_axis_is_listed() -> None:
    rng = np.random.default_rng(6)
    values, known = rng.normal(size=(9, 10, 11)), rng.random((9, 10, 11)) < 0.2
    offsets = np.arange(9.0)
    filled = fill_unknown(values, known, offsets)
    for axis in range(3):
        mirrored = fill_unknown(np.flip(values, axis).copy(), np.flip(known, axis).copy(), offsets)
        assert np.flip(mirrored, axis) == pytest.approx(filled, rel=1e-9)
    swapped = fill_unknown(values.transpose(0, 2, 1).copy(), known.transpose(0, 2, 1).copy(), offsets)
    assert swapped.transpose(0, 2, 1) == pytest.approx(filled, rel=1e-9)
    assert np.array_equal(filled[known], values[known])


def test_the_fill_reaches_as_far_as_the_spline_feels() -> None:
    values, known = np.zeros((1, 1, 40)), np.zeros((1, 1, 40), bool)
    values[..., :3], known[..., :3] = [1.0, 2.0, 3.0], True
    filled = fill_unknown(values, known, np.zeros(1))[0, 0]
    assert filled[: 3 + FILLED_LAYERS] == pytest.approx(np.arange(1.0, 4.0 + FILLED_LAYERS))
    assert not filled[3 + FILLED_LAYERS :].any()

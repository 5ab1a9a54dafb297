from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.demo.grid import axial_grid
from rtpipeline.demo.linear_dose import LinearDose

ROUNDING_GY = 1e-9


@pytest.mark.parametrize("position", ["HFS", "FFDR"])
def test_a_dose_on_a_grid_is_the_dose_at_each_of_its_points(position: str) -> None:
    grid = axial_grid(lower_mm=(-9, 4, 30), shape_xyz=(4, 3, 5), spacing_xyz_mm=(2, 3, 4), position=position)
    dose = LinearDose.through(20.0, (1.0, 2.0, 3.0), (0.1, -0.2, 0.3))
    np.testing.assert_allclose(dose.on(grid), dose.at(grid.points_mm()), atol=ROUNDING_GY)


def test_it_has_the_dose_that_was_asked_for_at_the_point_that_was_asked_for() -> None:
    dose = LinearDose.through(20.0, (1.0, 2.0, 3.0), (0.1, -0.2, 0.3))
    assert dose.at((1.0, 2.0, 3.0)) == pytest.approx(20.0)
    assert dose.at((2.0, 2.0, 3.0)) - dose.at((1.0, 2.0, 3.0)) == pytest.approx(0.1)


def test_sums_and_multiples_hold_at_every_point() -> None:
    a = LinearDose.through(20.0, (1, 2, 3), (0.1, -0.2, 0.3))
    b = LinearDose.through(5.0, (-4, 0, 9), (0.0, 0.2, -0.1))
    points = np.random.default_rng(1).normal(0, 50, (20, 3))
    np.testing.assert_allclose((a + b.scaled(3)).at(points), a.at(points) + 3 * b.at(points), atol=ROUNDING_GY)


def test_a_negative_dose_is_refused() -> None:
    grid = axial_grid(lower_mm=(0, 0, 0), shape_xyz=(20, 2, 2), spacing_xyz_mm=(5, 5, 5))
    with pytest.raises(ValueError, match="negative"):
        LinearDose.through(1.0, (0, 0, 0), (-0.1, 0, 0)).on(grid)

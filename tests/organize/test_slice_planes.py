"""Distances of contour points to slices, in closed form, for any orientation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtpipeline.organize.slice_planes import SlicePlanes, drawn_on, misfit_mm

ROUNDING_MM = 1e-9
"""Double precision at coordinates of some hundred mm."""


def oblique_stack(rotation: Rotation, shift: np.ndarray) -> SlicePlanes:
    """Ten slices of 40 rows x 60 columns, 3 mm apart, pixels 2 mm between rows and 1 mm between columns."""
    local = np.stack([np.zeros(10), np.zeros(10), 3.0 * np.arange(10)], axis=1)
    orientation = np.concatenate([rotation.apply([1.0, 0, 0]), rotation.apply([0, 1.0, 0])])
    positions = rotation.apply(local) + shift
    planes = SlicePlanes.of(positions[::-1], orientation, np.array([2.0, 1.0]), 40, 60)
    assert planes is not None
    return planes


@pytest.mark.parametrize("seed", range(5))
def test_distances_follow_the_stack_wherever_it_is_turned(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rotation, shift = Rotation.random(rng=rng), rng.uniform(-200, 200, 3)
    local = np.array([[5.0, 7.0, 6.0], [5.0, 7.0, 7.0], [59.4, 78.9, 0.0], [61.0, 7.0, 6.0], [5.0, 80.0, 6.0]])
    distance = oblique_stack(rotation, shift).distance_mm(rotation.apply(local) + shift)
    assert distance == pytest.approx([0.0, 1.0, 0.0, math.inf, math.inf], abs=ROUNDING_MM)


def test_a_tenth_of_the_points_may_lie_off_the_slices() -> None:
    planes = oblique_stack(Rotation.identity(), np.zeros(3))
    on = [[5.0, 5.0, 3.0 * n] for n in range(9)]
    assert misfit_mm(planes, np.array([*on, [5.0, 5.0, 1.5]])) == 0.0
    assert misfit_mm(planes, np.array([*on[:8], [5.0, 5.0, 1.5], [5.0, 5.0, 1.5]])) == math.inf


@pytest.mark.parametrize(
    ("misfits", "chosen"),
    [
        ([], None),
        ([math.inf], None),
        ([0.0], 0),
        ([0.02, 0.0], 1),
        ([0.0, 0.0], None),
        ([0.0005, 0.002], None),
        ([0.0002, 0.0018], 0),
        ([math.inf, 0.05, math.inf], 1),
    ],
)
def test_one_image_is_chosen_only_when_it_is_clearly_nearest(misfits: list[float], chosen: int | None) -> None:
    assert drawn_on(misfits) == chosen


def test_a_stack_without_geometry_fits_nothing() -> None:
    nothing = SlicePlanes.of(np.full((3, 3), np.nan), np.full(6, np.nan), np.array([1.0, 1.0]), 10, 10)
    assert nothing is None
    assert misfit_mm(nothing, np.zeros((1, 3))) == math.inf

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.demo.grid import ORIENTATION_OF_POSITION, Volume, axial_grid, store

POSITIONS = sorted(ORIENTATION_OF_POSITION)
ROUNDING_MM = 1e-9
SHAPE_XYZ = (3, 4, 5)
LOWER_MM = (-7.0, 11.0, 100.0)
SPACING_MM = (2.0, 3.0, 2.5)


@pytest.mark.parametrize("position", POSITIONS)
def test_every_voxel_keeps_its_place_in_the_patient_in_every_position(position: str) -> None:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE_XYZ), indexing="ij"), axis=-1)
    place = np.array(LOWER_MM) + index * np.array(SPACING_MM)
    grid = axial_grid(lower_mm=LOWER_MM, shape_xyz=SHAPE_XYZ, spacing_xyz_mm=SPACING_MM, position=position)
    for axis in range(3):
        stored = np.asarray(store(place[..., axis], grid).values, float)
        np.testing.assert_allclose(stored, grid.points_mm()[..., axis], atol=ROUNDING_MM)


@pytest.mark.parametrize("position", POSITIONS)
def test_head_first_planes_run_to_the_head_and_feet_first_planes_to_the_feet(position: str) -> None:
    grid = axial_grid(lower_mm=LOWER_MM, shape_xyz=SHAPE_XYZ, spacing_xyz_mm=SPACING_MM, position=position)
    z = grid.plane_positions_mm()[:, 2]
    assert np.all(np.diff(z) > 0) == position.startswith("HF")
    assert np.all(np.diff(z) < 0) == position.startswith("FF")


@pytest.mark.parametrize(
    ("position", "down_xyz"),
    [
        ("HFS", (0, 1, 0)),
        ("FFS", (0, 1, 0)),
        ("HFP", (0, -1, 0)),
        ("FFP", (0, -1, 0)),
        ("HFDL", (1, 0, 0)),
        ("FFDL", (1, 0, 0)),
        ("HFDR", (-1, 0, 0)),
        ("FFDR", (-1, 0, 0)),
    ],
)
def test_image_rows_go_down_to_the_side_on_which_the_patient_lies(position: str, down_xyz: tuple[int, ...]) -> None:
    assert ORIENTATION_OF_POSITION[position][3:] == down_xyz


@pytest.mark.parametrize("position", POSITIONS)
def test_bounds_are_those_of_the_voxel_centres(position: str) -> None:
    grid = axial_grid(lower_mm=LOWER_MM, shape_xyz=SHAPE_XYZ, spacing_xyz_mm=SPACING_MM, position=position)
    lower, upper = grid.bounds_mm()
    np.testing.assert_allclose(lower, LOWER_MM, atol=ROUNDING_MM)
    np.testing.assert_allclose(upper, [-3.0, 20.0, 110.0], atol=ROUNDING_MM)


def test_reversed_planes_are_the_same_planes_with_descending_offsets() -> None:
    grid = axial_grid(lower_mm=LOWER_MM, shape_xyz=SHAPE_XYZ, spacing_xyz_mm=SPACING_MM, position="HFDL")
    backwards = grid.reversed_planes()
    assert backwards.plane_offsets_mm == (0.0, -2.5, -5.0, -7.5, -10.0)
    np.testing.assert_allclose(backwards.points_mm()[::-1], grid.points_mm(), atol=ROUNDING_MM)


def test_values_of_another_shape_are_refused() -> None:
    grid = axial_grid(lower_mm=LOWER_MM, shape_xyz=SHAPE_XYZ, spacing_xyz_mm=SPACING_MM)
    with pytest.raises(ValueError, match="shape"):
        Volume(np.zeros(SHAPE_XYZ), grid)

"""Rigid motions: grids carried along keep their voxels' places in the body, and small turns are told from none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.rigid import carried, corners_xyz_mm, is_identity, moved, turn_deg

ROUNDING_MM = 1e-9
"""float64 at coordinates of some hundred mm."""

FOUR_DECIMALS_MM = 5e-3
"""A rotation written with four decimals is off by 0.5e-4 per element: at 100 mm that is 5 micrometres."""


def motion(angles_deg=(0.0, 0.0, 0.0), shift_mm=(0.0, 0.0, 0.0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def oblique_grid(offsets=(0.0, -2.0, -5.0, -5.5)) -> Grid:
    turn = Rotation.from_euler("zyx", (20.0, -35.0, 10.0), degrees=True).as_matrix()
    orientation = (*turn[:, 0], *turn[:, 1])
    return Grid.from_dicom_like(orientation, (-80.0, 35.0, 410.0), (2.0, 3.5), offsets, 5, 7)


def every_voxel(grid: Grid) -> np.ndarray:
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape_zyx], indexing="ij"), axis=-1)
    return grid.index_zyx_to_patient(index.astype(float))


angles = st.tuples(*[st.floats(-180.0, 180.0)] * 3)
shifts = st.tuples(*[st.floats(-300.0, 300.0)] * 3)


@settings(max_examples=40, deadline=None)
@given(angles, shifts)
def test_a_moved_grid_has_every_voxel_where_the_matrix_takes_it(angles_deg, shift_mm):
    matrix = motion(angles_deg, shift_mm)
    grid = oblique_grid()
    there = moved(grid, matrix)
    assert np.abs(every_voxel(there) - carried(matrix, every_voxel(grid))).max() <= ROUNDING_MM
    back = moved(there, np.linalg.inv(matrix))
    assert np.abs(every_voxel(back) - every_voxel(grid)).max() <= ROUNDING_MM


def test_a_matrix_of_four_decimals_neither_stretches_nor_displaces_the_grid():
    matrix = np.round(motion((3.0, -2.0, 7.0), (12.0, 5.0, -300.0)), 4)
    grid = oblique_grid()
    there = moved(grid, matrix)
    for direction in (there.row_direction, there.column_direction):
        assert np.linalg.norm(direction) == pytest.approx(1.0, abs=1e-12)
    assert there.row_direction @ there.column_direction == pytest.approx(0.0, abs=1e-12)
    assert np.abs(every_voxel(there) - carried(matrix, every_voxel(grid))).max() <= FOUR_DECIMALS_MM


@pytest.mark.parametrize("degrees", [1e-6, 0.01, 5.0, 90.0, 179.999])
def test_the_angle_of_a_turn_is_found_however_small(degrees):
    axis = np.array([1.0, -2.0, 0.5]) / np.linalg.norm([1.0, -2.0, 0.5])
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix()
    assert turn_deg(matrix) == pytest.approx(degrees, rel=1e-6)


def test_the_identity_is_told_from_a_shift_and_from_a_turn_that_leaves_a_corner():
    assert is_identity(np.eye(4)) and is_identity(motion(shift_mm=(1e-4, 0.0, 0.0)))
    assert not is_identity(motion(shift_mm=(0.0, 2e-3, 0.0)))
    turn = motion((0.0, 0.0, 0.1))
    corner = np.array([1000.0, 1000.0, 1000.0])
    turn[:3, 3] = corner - turn[:3, :3] @ corner
    assert not is_identity(turn)


def test_the_corners_are_those_of_the_box():
    grid, voxels = oblique_grid(), every_voxel(oblique_grid()).reshape(-1, 3)
    axes = np.stack([grid.normal, grid.column_direction, grid.row_direction])
    assert np.allclose((corners_xyz_mm(grid) @ axes.T).min(0), (voxels @ axes.T).min(0))
    assert np.allclose((corners_xyz_mm(grid) @ axes.T).max(0), (voxels @ axes.T).max(0))

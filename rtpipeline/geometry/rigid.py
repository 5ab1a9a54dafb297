"""Rigid motions between frames of reference: 4 x 4 matrices that take (x, y, z, 1) in mm, and grids carried along.

A grid that is moved keeps its values: its origin and directions turn with it, and nothing is resampled.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtpipeline.geometry.grid import Grid

IDENTITY_TOLERANCE_MM = 1e-3
"""A matrix that moves no point of a metre-sized body by more than this is the identity."""

BODY_END_MM = 1000.0
"""Half the edge of that body: a single point may lie on the axis of a rotation, the corners do not."""

Array = NDArray[np.float64]


def is_identity(matrix: Array) -> bool:
    """Whether both frames hold the same coordinates."""
    ends = (-BODY_END_MM, BODY_END_MM)
    corners = np.array([[x, y, z] for x in ends for y in ends for z in ends])
    return bool(np.abs(carried(matrix, corners) - corners).max() <= IDENTITY_TOLERANCE_MM)


def carried(matrix: Array, points_xyz_mm: ArrayLike) -> Array:
    """Points (..., 3) in the frame that the matrix leads to."""
    return np.asarray(points_xyz_mm, float) @ matrix[:3, :3].T + matrix[:3, 3]


def inverse(matrix: Array) -> Array:
    """The way back."""
    return np.linalg.inv(matrix).astype(np.float64)


def turn_deg(matrix: Array) -> float:
    """Angle of the rotation; by its sine and cosine, since the cosine alone cannot tell small angles apart."""
    rotation = matrix[:3, :3]
    skew = rotation - rotation.T
    sine = 0.5 * np.linalg.norm([skew[2, 1], skew[0, 2], skew[1, 0]])
    return float(np.degrees(np.arctan2(sine, 0.5 * (np.trace(rotation) - 1.0))))


def corners_xyz_mm(grid: Grid) -> Array:
    """(8, 3) patient positions of the outermost voxel centres."""
    planes, rows, columns = grid.shape_zyx
    index = [[k, j, i] for k in (0, planes - 1) for j in (0, rows - 1) for i in (0, columns - 1)]
    return grid.index_zyx_to_patient(np.array(index, float))


def moved(grid: Grid, matrix: Array) -> Grid:
    """The grid where a rigid matrix takes it.

    Matrices are written with few decimals, so that their rotation may stretch by a little. The nearest proper rotation
    (polar decomposition) turns the grid about its centre, which lands where the matrix takes it.
    """
    centre = corners_xyz_mm(grid).mean(axis=0)
    left, _, right = np.linalg.svd(matrix[:3, :3])
    rotation = left @ right
    return replace(
        grid,
        origin_xyz_mm=carried(matrix, centre) + rotation @ (grid.origin_xyz_mm - centre),
        row_direction=rotation @ grid.row_direction,
        column_direction=rotation @ grid.column_direction,
    )

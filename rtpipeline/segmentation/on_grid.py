"""A label map as a program wrote it, brought to the image's grid by exchanging and turning axes, never resampled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtpipeline.geometry.grid import Grid

AXIS_TOLERANCE = 1e-3
"""Deviation of an axis, in voxels, that float32 headers explain."""

POSITION_TOLERANCE_MM = 0.02
"""Of the first voxel: positions of some 1000 mm in float32, by a quaternion, may be off by 0.01 mm."""


class GridMismatchError(ValueError):
    """The label map does not lie on the image's voxels."""


def read_on_grid(path: Path, grid: Grid) -> NDArray[np.uint8]:
    """(z, y, x) uint8 of a NIfTI label map on `grid`, whichever way its axes run.

    Raises
    ------
    GridMismatchError: its voxels are not those of the grid, or it cannot be read.
    """
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError:
        raise GridMismatchError("the label map cannot be read as NIfTI") from None
    values = SimpleITK.GetArrayFromImage(image)
    if values.ndim != 3:
        raise GridMismatchError(f"the label map has {values.ndim} dimensions; need 3")
    steps = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return on_grid(values, np.array(image.GetOrigin()), steps, grid).astype(np.uint8)


def on_grid(values: NDArray[Any], origin_xyz_mm: NDArray[Any], steps_mm: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Values in the order of the grid.

    Parameters
    ----------
    values: (k, j, i). origin_xyz_mm: (3,) patient position of [0, 0, 0], LPS. steps_mm: (3, 3), columns are the steps
    of i, j, k in patient mm.

    Raises
    ------
    GridMismatchError: other voxels than the grid's.
    """
    planes = grid.shape_zyx[0]
    step_z = float(grid.plane_offsets_mm[-1]) / max(planes - 1, 1)
    wanted = np.column_stack(
        [
            grid.row_direction * grid.column_spacing_mm,
            grid.column_direction * grid.row_spacing_mm,
            grid.normal * step_z,
        ]
    )
    # in units of the grid's own steps: a permutation with signs when only the order of the axes differs
    relation = np.linalg.solve(wanted, steps_mm)
    signs = np.rint(relation)
    is_permutation = np.array_equal(np.abs(signs) @ np.abs(signs).T, np.eye(3))
    if not is_permutation or np.abs(relation - signs).max() > AXIS_TOLERANCE:
        raise GridMismatchError("the label map's axes are not those of the image")
    # axis of the file for each of x, y, z of the grid
    source = [int(np.flatnonzero(signs[axis])[0]) for axis in range(3)]
    reverse = [signs[axis, source[axis]] < 0 for axis in range(3)]
    ijk = np.transpose(values, (2, 1, 0))
    first = np.zeros(3)
    for axis in range(3):
        if reverse[axis]:
            first[source[axis]] = ijk.shape[source[axis]] - 1
    xyz = np.transpose(ijk, source)
    xyz = xyz[tuple(slice(None, None, -1) if turned else slice(None) for turned in reverse)]
    found = np.ascontiguousarray(np.transpose(xyz, (2, 1, 0)))
    if found.shape != grid.shape_zyx:
        raise GridMismatchError(f"the label map has {found.shape} voxels (z, y, x), the image {grid.shape_zyx}")
    off_mm = float(np.linalg.norm(origin_xyz_mm + steps_mm @ first - grid.origin_xyz_mm))
    if off_mm > POSITION_TOLERANCE_MM:
        raise GridMismatchError(f"the label map lies {off_mm:.3g} mm off the image")
    return found

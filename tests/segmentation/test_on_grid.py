"""A label map that lists the voxels in another order lands on the image's; one on other voxels is refused."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from rtpipeline.geometry.grid import Grid
from rtpipeline.segmentation.on_grid import GridMismatchError, on_grid, read_on_grid

TURN = np.deg2rad(20.0)
GRIDS = {
    "head first supine": Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [-30, 12, 7], [2.0, 1.5], np.arange(4) * 2.5, 3, 5),
    "head first prone": Grid.from_dicom_like([-1, 0, 0, 0, -1, 0], [30, 12, 7], [2.0, 1.5], np.arange(4) * 2.5, 3, 5),
    "descending": Grid.from_dicom_like([0, 1, 0, -1, 0, 0], [3, -2, 70], [2.0, 1.5], np.arange(4) * -2.5, 3, 5),
    "oblique": Grid.from_dicom_like(
        [1, 0, 0, 0, np.cos(TURN), np.sin(TURN)], [-30, 12, 7], [2.0, 1.5], np.arange(4) * 2.5, 3, 5
    ),
}
FILE_TOLERANCE_MM = 0.05
"""Beyond what float32 headers may lose, below what would move a voxel."""


def steps(grid: Grid) -> NDArray[np.float64]:
    """Columns: the step of column, row and plane index in patient mm, by the grid's own positions."""
    corner = grid.index_zyx_to_patient([0, 0, 0])
    return np.column_stack([grid.index_zyx_to_patient(one) - corner for one in ([0, 0, 1], [0, 1, 0], [1, 0, 0])])


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_order_and_direction_of_axes_gives_the_same_voxels(name: str, order: tuple[int, ...]) -> None:
    grid = GRIDS[name]
    values = np.arange(60).reshape(grid.shape_zyx)
    step = steps(grid)
    for turned in product([False, True], repeat=3):
        ijk = values.transpose(2, 1, 0).transpose(order)
        columns = step[:, list(order)]
        # the first voxel of the file, by where the grid says that this voxel is
        slices = tuple(slice(None, None, -1) if t else slice(None) for t in turned)
        first = np.argwhere(values == ijk[slices][0, 0, 0])[0]
        file_steps = columns * np.where(turned, -1.0, 1.0)
        found = on_grid(ijk[slices].transpose(2, 1, 0), grid.index_zyx_to_patient(first), file_steps, grid)
        np.testing.assert_array_equal(found, values)


def test_other_spacing_is_refused() -> None:
    grid = GRIDS["head first supine"]
    with pytest.raises(GridMismatchError, match="axes"):
        on_grid(np.zeros(grid.shape_zyx), grid.origin_xyz_mm, steps(grid) * 1.01, grid)


def test_another_place_is_refused() -> None:
    grid = GRIDS["head first supine"]
    with pytest.raises(GridMismatchError, match=r"lies 0\.5 mm off"):
        on_grid(np.zeros(grid.shape_zyx), grid.origin_xyz_mm + np.array([0.5, 0, 0]), steps(grid), grid)


def test_another_shape_is_refused() -> None:
    grid = GRIDS["head first supine"]
    with pytest.raises(GridMismatchError, match="voxels"):
        on_grid(np.zeros((4, 3, 6)), grid.origin_xyz_mm, steps(grid), grid)


@pytest.mark.parametrize("name", GRIDS)
def test_a_file_of_another_library_is_read_in_place(name: str, tmp_path: Path) -> None:
    grid = GRIDS[name]
    values = np.arange(60, dtype=np.uint8).reshape(grid.shape_zyx)
    image = SimpleITK.GetImageFromArray(values)
    step = steps(grid)
    length = np.linalg.norm(step, axis=0)
    image.SetSpacing(length.tolist())
    image.SetDirection((step / length).ravel().tolist())
    image.SetOrigin(grid.origin_xyz_mm.tolist())
    reoriented = SimpleITK.DICOMOrient(image, "LPS")  # what TotalSegmentator's canonical order would leave
    SimpleITK.WriteImage(reoriented, str(tmp_path / "labels.nii.gz"))
    np.testing.assert_array_equal(read_on_grid(tmp_path / "labels.nii.gz", grid), values)
    moved = Grid.from_dicom_like(
        [*grid.row_direction, *grid.column_direction],
        grid.origin_xyz_mm + FILE_TOLERANCE_MM,  # type: ignore[arg-type]
        [2.0, 1.5],
        grid.plane_offsets_mm,
        3,
        5,
    )
    with pytest.raises(GridMismatchError):
        read_on_grid(tmp_path / "labels.nii.gz", moved)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.nii.gz").write_bytes(b"no image")
    with pytest.raises(GridMismatchError, match="cannot be read"):
        read_on_grid(tmp_path / "labels.nii.gz", GRIDS["oblique"])

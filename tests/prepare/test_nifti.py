"""The volume file against ITK's reader, on grids of any direction."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from rtpipeline.geometry.grid import Grid
from rtpipeline.prepare.nifti import read_nifti_values, write_nifti

ITK_TOLERANCE_MM = 1e-4
"""NIfTI stores its matrix in float32: seven digits of a few hundred mm."""


def grid(turn: Rotation, *, step_mm: float = 2.5, planes: int = 3) -> Grid:
    row, column, _ = turn.as_matrix().T
    return Grid(np.array([-120.3, 45.6, 300.1]), row, column, 0.9, 1.1, np.arange(planes) * step_mm, 4, 5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("step_mm", [2.5, -2.5])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_itk_finds_every_voxel_where_the_grid_has_it(tmp_path: Path, seed: int, step_mm: float, dtype: str) -> None:
    turn = Rotation.identity() if seed == 0 else Rotation.random(random_state=seed)
    placed = grid(turn, step_mm=step_mm)
    values = np.random.default_rng(seed).integers(-900, 900, placed.shape_zyx).astype(dtype)
    write_nifti(tmp_path / "v.nii.gz", values, placed)
    image = SimpleITK.ReadImage(str(tmp_path / "v.nii.gz"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), values)
    assert np.array_equal(read_nifti_values(tmp_path / "v.nii.gz"), values)
    for index in np.ndindex(*placed.shape_zyx):
        expected = placed.index_zyx_to_patient(np.array(index, float))
        found = image.TransformIndexToPhysicalPoint([int(v) for v in index[::-1]])
        assert found == pytest.approx(expected, abs=ITK_TOLERANCE_MM)


def test_what_a_volume_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    placed = grid(Rotation.identity())
    uneven = Grid(placed.origin_xyz_mm, [1, 0, 0], [0, 1, 0], 1, 1, [0.0, 1.0, 3.0], 4, 5)  # type: ignore[arg-type]
    for values, target in (
        (np.zeros((3, 4, 5)), placed),
        (np.zeros((3, 5, 4), np.int16), placed),
        (np.zeros((3, 4, 5), np.int16), uneven),
    ):
        with pytest.raises(ValueError, match="values"):
            write_nifti(tmp_path / "v.nii.gz", values, target)


def test_a_file_that_is_none_or_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.nii.gz"
    write_nifti(path, np.zeros((3, 4, 5), np.int16), grid(Rotation.identity()))
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[:-1]))
    with pytest.raises(ValueError, match="last voxel"):
        read_nifti_values(path)
    path.write_bytes(gzip.compress(b"not a volume"))
    with pytest.raises(ValueError, match="NIfTI"):
        read_nifti_values(path)

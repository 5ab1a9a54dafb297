"""Volumes inside isodoses: planes and spheres whose volume is known."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.isodose import isodose_volume_cc
from rtpipeline.geometry.grid import Grid


def grid_of(n: int = 33, spacing: float = 2.0, offsets: np.ndarray | None = None) -> Grid:
    planes = np.arange(n) * spacing if offsets is None else offsets
    half = 0.5 * (n - 1) * spacing
    return Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [-half, -half, -half], [spacing, spacing], planes, n, n)


def points_of(grid: Grid) -> np.ndarray:
    return grid.index_zyx_to_patient(np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape_zyx], indexing="ij"), -1))


@pytest.mark.parametrize("level", [8.0, 11.3, 20.0, 37.7])
def test_an_octahedron_of_linear_faces(level: float) -> None:
    # |x| + |y| + |z| is linear in each octant and the creases lie on voxel centres, so interpolation reproduces it
    grid = grid_of()
    dose = DoseVolume(grid, np.maximum(60.0 - 2.0 * np.abs(points_of(grid)).sum(axis=-1), 0.0))
    half_diagonal = (60.0 - level) / 2.0
    expected = 4.0 / 3.0 * half_diagonal**3 / 1000.0
    assert isodose_volume_cc(dose, level) == pytest.approx(expected, rel=5e-4)


def test_a_sphere_on_uneven_and_descending_planes() -> None:
    offsets = np.cumsum(np.r_[0.0, np.tile([1.0, 3.0, 2.0, 2.0], 8)])
    for planes in (offsets, offsets[::-1] - offsets[-1]):
        grid = grid_of(offsets=planes)
        origin = np.array([-32.0, -32.0, -32.0 if planes[1] > 0 else 32.0])
        grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], origin.tolist(), [2.0, 2.0], planes, 33, 33)
        distance = np.linalg.norm(points_of(grid), axis=-1)
        dose = DoseVolume(grid, np.maximum(50.0 - distance, 0.0))
        assert isodose_volume_cc(dose, 30.0) == pytest.approx(4.0 / 3.0 * np.pi * 8.0, rel=0.01)


def test_an_isodose_at_the_border_or_beside_the_unknown_is_open() -> None:
    grid = grid_of()
    values = np.maximum(50.0 - np.linalg.norm(points_of(grid), axis=-1), 0.0)
    assert isodose_volume_cc(DoseVolume(grid, values), 19.0) is not None  # radius 31 of 32 mm
    assert isodose_volume_cc(DoseVolume(grid, values), 17.0) is None
    known = np.ones(grid.shape_zyx, bool)
    known[:, :, 30:] = False  # from x = 28 mm on
    assert isodose_volume_cc(DoseVolume(grid, values, known), 30.0) == isodose_volume_cc(DoseVolume(grid, values), 30.0)
    assert isodose_volume_cc(DoseVolume(grid, values, known), 23.5) is None  # radius 26.5, next to the unknown


def test_no_dose_at_that_level_is_a_volume_of_zero() -> None:
    grid = grid_of(9)
    assert isodose_volume_cc(DoseVolume(grid, np.full(grid.shape_zyx, 5.0)), 6.0) == 0.0
    with pytest.raises(ValueError, match="level is 0"):
        isodose_volume_cc(DoseVolume(grid, np.zeros(grid.shape_zyx)), 0.0)

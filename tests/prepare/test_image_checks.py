"""Air, range and the edge of the field, on drawn planes."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.prepare.image_checks import planes_cut_off, value_range

AIR, BODY = -1000, 40


def disc(radius_mm: float, centre_mm: tuple[float, float], size: int = 120, pixel_mm: float = 1.5) -> np.ndarray:
    """(rows, columns) HU of a body of a radius around (row, column) in mm from the middle."""
    rows, columns = (np.mgrid[0:size, 0:size] - (size - 1) / 2) * pixel_mm
    return np.where(np.hypot(rows - centre_mm[0], columns - centre_mm[1]) <= radius_mm, BODY, AIR)


def volume(plane: np.ndarray, planes: int = 6) -> np.ndarray:
    return np.repeat(plane[None], planes, axis=0).astype(np.int16)


def test_a_body_in_the_middle_is_whole() -> None:
    assert planes_cut_off(volume(disc(70.0, (0.0, 0.0))), (1.5, 1.5)) == (0, 6)


@pytest.mark.parametrize("towards", [(0.0, 40.0), (0.0, -40.0), (40.0, 0.0), (-40.0, 0.0)])
def test_a_body_that_leaves_the_matrix_is_cut_off(towards: tuple[float, float]) -> None:
    assert planes_cut_off(volume(disc(70.0, towards)), (1.5, 1.5)) == (6, 6)


def test_an_arm_that_leaves_the_field_is_cut_off() -> None:
    plane = disc(50.0, (0.0, 0.0))
    plane[52:68, 60:] = BODY  # 24 mm wide at the edge
    assert planes_cut_off(volume(plane), (1.5, 1.5)) == (6, 6)
    plane[52:68, 110:] = AIR
    assert planes_cut_off(volume(plane), (1.5, 1.5)) == (0, 6)


def test_a_body_one_grid_step_from_the_edge_is_whole() -> None:
    assert planes_cut_off(volume(disc(70.0, (0.0, 16.0))), (1.5, 1.5))[0] == 0


def test_a_body_that_leaves_the_reconstructed_circle_is_cut_off() -> None:
    field = disc(88.0, (0.0, 0.0)) == BODY
    body = np.where(field, disc(60.0, (0.0, 40.0)), -1024)
    assert planes_cut_off(volume(body), (1.5, 1.5), fill=-1024) == (6, 6)
    inside = np.where(field, disc(60.0, (0.0, 10.0)), -1024)
    assert planes_cut_off(volume(inside), (1.5, 1.5), fill=-1024) == (0, 6)


def test_shells_of_a_table_are_no_body() -> None:
    plane = disc(50.0, (0.0, 0.0))
    plane[100:102, :] = 100
    plane[110:112, :] = 100
    assert planes_cut_off(volume(plane), (1.5, 1.5))[0] == 0


def test_only_the_planes_that_are_cut_count() -> None:
    planes = np.concatenate([volume(disc(70.0, (0.0, 0.0)), 4), volume(disc(70.0, (0.0, 40.0)), 2)])
    assert planes_cut_off(planes, (1.5, 1.5)) == (2, 6)


@pytest.mark.parametrize("air", [-1000, -985, -1024])
def test_air_is_the_median_of_what_looks_like_air(air: int) -> None:
    values = volume(disc(50.0, (0.0, 0.0)))
    noise = np.random.default_rng(1).integers(-9, 10, values.shape)
    values = np.where(values == AIR, air + noise, values + noise).astype(np.int16)
    found = value_range(values, is_hu=True)
    assert found.air == pytest.approx(air, abs=1)
    assert (found.lowest, found.highest) == (values.min(), values.max())


def test_voxels_that_were_not_measured_are_no_air() -> None:
    values = volume(disc(50.0, (0.0, 0.0)))
    values[:, :40] = -1024
    assert value_range(values, is_hu=True, fill=-1024).air == -1000


def test_without_air_or_hounsfield_units_there_is_no_estimate() -> None:
    assert value_range(np.zeros((2, 5, 5), np.int16), is_hu=True).air is None
    assert value_range(volume(disc(50.0, (0.0, 0.0))), is_hu=False).air is None

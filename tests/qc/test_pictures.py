"""Pixels: gray values, doses and their colours against closed forms."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from rtpipeline.geometry.grid import Grid
from rtpipeline.qc.colours import colours
from rtpipeline.qc.pictures import (
    WASH_FROM,
    WASH_LEVELS,
    Window,
    gray_png,
    sample_dose,
    sample_image,
    wash_colour,
    wash_png,
    window_of,
)
from rtpipeline.qc.views import grid_box, views

ROUNDING_GY = 1e-9
GRADIENT = np.array([0.3, -0.2, 0.15])


def tilted_grid(offsets=(0, 2.5, 5, 7.5, 12.0)) -> Grid:
    turn = Rotation.from_euler("zxy", [40, 10, -15], degrees=True)
    iop = [*turn.apply((1, 0, 0)), *turn.apply((0, 1, 0))]
    return Grid.from_dicom_like(iop, (-10.0, 30.0, 5.0), (2.0, 3.0), offsets, 15, 12)


def linear(grid: Grid) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape_zyx), indexing="ij"), axis=-1)
    return grid.index_zyx_to_patient(index) @ GRADIENT + 40.0


@pytest.mark.parametrize("offsets", [(0, 2.5, 5, 7.5, 12.0), (0, -2.5, -5, -7.5, -12.0)])
def test_a_linear_dose_is_sampled_exactly_on_uneven_and_descending_planes(offsets):
    grid = tilted_grid(offsets)
    middle = grid.index_zyx_to_patient(np.array([2.3, 7.1, 5.2]))
    for view in views(grid_box(grid), middle):
        dose = sample_dose(linear(grid), None, grid, view)
        truth = view.centres_xyz_mm() @ GRADIENT + 40.0
        inside = np.isfinite(dose)
        assert 0.3 < inside.mean() < 1.0
        np.testing.assert_allclose(dose[inside], truth[inside], atol=ROUNDING_GY)


def test_outside_the_voxel_centres_and_next_to_unknown_voxels_there_is_no_dose():
    grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], (0, 0, 0), (2, 2), np.arange(6) * 2.0, 10, 10)
    known = np.ones(grid.shape_zyx, bool)
    known[:, :, 5:] = False
    view = views(grid_box(grid), np.array([8.0, 8.0, 4.0]))[0]
    dose = sample_dose(linear(grid), known, grid, view)
    x, y = np.moveaxis(view.centres_xyz_mm()[..., :2], -1, 0)
    np.testing.assert_array_equal(np.isfinite(dose), (x >= 0) & (x <= 8) & (y >= 0) & (y <= 18))


def test_an_image_ends_at_the_faces_of_its_voxels():
    grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], (0, 0, 0), (2, 2), np.arange(6) * 2.0, 10, 10)
    view = views(grid_box(grid).around(np.array([[30.0, 5.0, 5.0]]), 0.0), np.array([8.0, 8.0, 4.0]))[0]
    _, inside = sample_image(linear(grid), grid, view)
    x, y = np.moveaxis(view.centres_xyz_mm()[..., :2], -1, 0)
    np.testing.assert_array_equal(inside, (x >= -1) & (x <= 19) & (y >= -1) & (y <= 19))


def test_gray_is_black_below_the_window_white_above_and_linear_between():
    values = np.array([[-500.0, -160.0, 40.0, 240.0, 900.0, 40.0]])
    png = gray_png(values, np.array([[True] * 5 + [False]]), Window(-160.0, 240.0, "HU"))
    found = np.asarray(Image.open(BytesIO(png))).astype(int)[0]
    np.testing.assert_array_equal(found[[0, 1, 3, 4, 5]], [0, 0, 255, 255, 0])
    assert abs(found[2] - 127.5) <= 1.5  # half, in steps of two gray levels


def test_hu_have_the_soft_tissue_window_and_other_values_their_percentiles():
    values = np.r_[np.zeros(900), np.arange(1, 101)].astype(np.int16).reshape(10, 10, 10)
    hu = window_of(values, "HU", calibrated=True)
    assert (hu.low, hu.high, hu.words) == (-160.0, 240.0, "level 40, width 400 HU")
    mr = window_of(values, "arbitrary", calibrated=False)
    assert (mr.low, mr.high) == pytest.approx(tuple(np.percentile(np.arange(1, 101), [1.0, 99.5])))
    flat = window_of(np.full((3, 3, 3), 7, np.int16), "arbitrary", calibrated=False)
    assert flat.high > flat.low


def test_a_dose_has_the_colour_of_the_scale_and_low_or_unknown_ones_none():
    shares = np.array([[0.0, 0.5 * WASH_FROM, 0.999 * WASH_FROM, 0.51, 0.999, 1.0, 1.7, np.nan]])
    picture = np.asarray(Image.open(BytesIO(wash_png(shares * 60.0, 60.0))).convert("RGBA")).astype(int)[0]
    assert (picture[[0, 1, 2, 7], 3] == 0).all()
    assert (np.diff(picture[[3, 4], 3]) > 0).all()  # more dose, more colour
    np.testing.assert_array_equal(picture[4], picture[5])
    np.testing.assert_array_equal(picture[4], picture[6])  # the last colour stands for all above
    for place, share in ((3, 0.51), (4, 0.999)):
        middle = (np.floor(share * WASH_LEVELS) + 0.5) / WASH_LEVELS
        np.testing.assert_array_equal(picture[place, :3], wash_colour(middle))


def test_a_name_has_one_colour_whatever_its_case_and_targets_are_warm():
    assert colours("Lung_L", target=False) == colours("lung l", target=False)
    assert colours("Lung_L", target=False) != colours("Lung_R", target=False)
    names = [f"Structure {n}" for n in range(200)]

    def parts(name: str, target: bool) -> tuple[int, int, int]:
        text = colours(name, target=target)[0]
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)

    assert all(red == max(red, green, blue) for red, green, blue in (parts(n, True) for n in names))
    assert len({colours(n, target=False)[0] for n in names}) > 150

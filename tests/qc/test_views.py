"""Planes of display for grids of any orientation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtpipeline.geometry.grid import Grid
from rtpipeline.qc.views import (
    MAX_PIXELS,
    MIN_PIXELS,
    direction_letters,
    display_axes,
    grid_box,
    nearest_voxel_xyz_mm,
    patient_box,
    views,
)

ROUNDING = 1e-9

ORIENTATIONS = {
    "HFS": ((1, 0, 0), (0, 1, 0)),
    "HFP": ((-1, 0, 0), (0, -1, 0)),
    "HFDL": ((0, -1, 0), (1, 0, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
}


def grid(row=(1, 0, 0), column=(0, 1, 0), offsets=(0, 3, 6, 9, 12), shape=(20, 30)) -> Grid:
    return Grid.from_dicom_like([*row, *column], (7.0, -40.0, 100.0), (2.0, 1.5), offsets, *shape)


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("sign", [1, -1])
def test_pictures_show_the_patient_the_same_way_whatever_the_layout_of_the_image(name, sign):
    made = views(grid_box(grid(*ORIENTATIONS[name], offsets=sign * np.arange(5) * 3.0)), np.zeros(3))
    letters = {v.name: "".join(v.letters[e] for e in ("left", "right", "top", "bottom")) for v in made}
    assert letters == {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}


def test_axes_of_an_oblique_image_are_its_own_and_letters_name_both_parts():
    turn = Rotation.from_euler("x", 30, degrees=True)
    axes = display_axes(grid(turn.apply((1, 0, 0)), turn.apply((0, 1, 0))))
    np.testing.assert_allclose(axes, turn.apply(np.eye(3)), atol=ROUNDING)
    assert [direction_letters(a) for a in axes] == ["L", "PS", "SA"]


def test_a_slight_tilt_keeps_one_letter():
    assert direction_letters(np.array([0.0, np.sin(np.radians(10)), np.cos(np.radians(10))])) == "S"
    assert direction_letters(np.array([0.0, -np.sin(np.radians(20)), np.cos(np.radians(20))])) == "SA"


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_pixel_centres_come_back_as_half_numbers(name):
    for view in views(grid_box(grid(*ORIENTATIONS[name])), np.array([3.0, -2.0, 5.0])):
        back = view.to_picture(view.centres_xyz_mm().reshape(-1, 3)).reshape(view.rows, view.columns, 2)
        np.testing.assert_allclose(
            back[..., 0], np.arange(view.columns)[None] + np.full((view.rows, 1), 0.5), atol=1e-8
        )
        np.testing.assert_allclose(back[..., 1], np.arange(view.rows)[:, None] + np.full(view.columns, 0.5), atol=1e-8)


def test_every_view_holds_the_whole_box_and_the_centre_and_has_one_scale():
    centre = np.array([20.0, -30.0, 105.0])
    frame = grid_box(grid())
    made = views(frame, centre)
    assert {v.pixel_mm for v in made} == {float((frame.high_mm - frame.low_mm).max()) / MAX_PIXELS}
    for view in made:
        assert abs((view.origin_xyz_mm - centre) @ view.normal) < ROUNDING
        corners = np.array([[x, y, z] for x in (6.25, 50.5) for y in (-41.0, -1.0) for z in (98.5, 113.5)])
        seen = view.to_picture(corners)
        assert seen.min() > -1e-6 and (seen.max(axis=0) <= np.array([view.columns, view.rows]) + 1e-6).all()


def test_a_thin_stack_gets_room_on_both_sides():
    coronal = views(grid_box(grid(offsets=(0, 3), shape=(60, 200))), np.array([50.0, 0.0, 101.5]))[1]
    assert coronal.rows in (MIN_PIXELS, MIN_PIXELS + 1)
    middle = coronal.to_picture(np.array([[50.0, 0.0, 101.5]]))[0, 1]
    assert abs(middle - coronal.rows / 2) <= 1.0


def test_the_nearest_voxel_is_one_of_the_grid_also_for_points_outside():
    descending = grid(offsets=-np.arange(5) * 3.0)
    np.testing.assert_allclose(nearest_voxel_xyz_mm(descending, np.array([8.0, -39.2, 95.0])), [8.5, -40.0, 94.0])
    np.testing.assert_allclose(nearest_voxel_xyz_mm(descending, np.array([-500.0, -500.0, 500.0])), [7.0, -40.0, 100.0])


def test_a_box_grows_around_points_and_never_shrinks():
    box = patient_box(np.array([[0.0, 0.0, 0.0], [10.0, 20.0, 30.0]]), 5.0)
    np.testing.assert_allclose(box.low_mm, [-5, -5, -5])
    grown = box.around(np.array([[40.0, 1.0, 1.0]]), 2.0)
    np.testing.assert_allclose(grown.high_mm, [42, 25, 35])
    np.testing.assert_allclose(grown.low_mm, box.low_mm)
    assert box.around(np.empty((0, 3)), 2.0) is box

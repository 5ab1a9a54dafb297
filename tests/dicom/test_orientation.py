"""Axes in the patient and the stated position."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.demo.grid import ORIENTATION_OF_POSITION
from rtpipeline.dicom.orientation import axis_code, obliquity_deg, plane_class, position_conflict, unusual_view

TURNED = (np.cos(np.radians(20)), np.sin(np.radians(20)), 0, -np.sin(np.radians(20)), np.cos(np.radians(20)), 0)


@pytest.mark.parametrize(("position", "orientation"), ORIENTATION_OF_POSITION.items())
def test_every_position_agrees_with_its_own_cosines_only(position: str, orientation: tuple[float, ...]) -> None:
    assert plane_class(orientation) == "axial"
    assert obliquity_deg(orientation) == pytest.approx(0.0)
    assert position_conflict(orientation, position) is None
    assert unusual_view(orientation, position) is None
    for other in ORIENTATION_OF_POSITION:
        same_side_down = other[2:] == position[2:]
        assert (position_conflict(orientation, other) is None) == same_side_down
        if same_side_down and other != position:
            assert unusual_view(orientation, other)


@pytest.mark.parametrize(
    ("orientation", "plane", "code"),
    [
        ((1, 0, 0, 0, 1, 0), "axial", "LPS"),
        ((1, 0, 0, 0, 0, -1), "coronal", "LIP"),
        ((0, 1, 0, 0, 0, -1), "sagittal", "PIR"),
        ((-1, 0, 0, 0, -1, 0), "axial", "RAS"),
        (TURNED, "oblique", "LPS"),
    ],
)
def test_planes_and_axes_have_their_names(orientation: tuple[float, ...], plane: str, code: str) -> None:
    assert plane_class(orientation) == plane
    assert axis_code(orientation) == code


def test_obliquity_is_the_angle_to_the_nearest_patient_axis() -> None:
    assert obliquity_deg(TURNED) == pytest.approx(20.0)


@pytest.mark.parametrize("position", ["", "SITTING", "HF", "XXS"])
def test_no_position_or_an_unknown_one_contradicts_nothing(position: str) -> None:
    assert position_conflict((1, 0, 0, 0, 1, 0), position) is None

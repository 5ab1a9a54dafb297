"""Sides in names, and the middle of a body."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.geometry.grid import Grid
from rtpipeline.segmentation.laterality import body_midline_x_mm, midline_x_mm, partner_of, side_of


@pytest.mark.parametrize(("name", "side"), [
    ("kidney_left", "left"), ("rib_right_12", "right"), ("left_lung", "left"), ("Femur_Right", "right"),
    ("lung_upper_lobe_left", "left"), ("ventricle_body_left", "left"), ("atrial_appendage_left", "left"),
    ("liver", None), ("leftover", None), ("copyright_mark", None), ("left_right_shunt", None),
    ("heart_atrium_left", None), ("heart_ventricle_right", None), ("left_ventricular_outflow_tract", None),
    ("left_coronary_cusp", None),
])  # fmt: skip
def test_a_side_is_a_word_of_the_name_and_not_that_of_the_blood(name: str, side: str | None) -> None:
    assert side_of(name) == side


def test_partners_differ_in_that_word_only() -> None:
    assert partner_of("rib_left_4") == "rib_right_4"
    assert partner_of(partner_of("left_lung")) == "left_lung"
    assert partner_of("liver") == "liver"


def test_the_middle_is_a_median_so_one_wrong_pair_does_not_move_it() -> None:
    at = {"kidney_left": 130.0, "kidney_right": 30.0, "hip_left": 150.0, "hip_right": 12.0, "vertebrae_L1": 80.5,
          "femur_left": 0.0, "femur_right": -90.0, "liver": 20.0}  # fmt: skip
    # middles: 80, 81, 80.5 and, of the wrong pair, -45
    assert midline_x_mm({n: np.array([x, 0.0, 0.0]) for n, x in at.items()}) == pytest.approx(80.25)
    assert midline_x_mm({"liver": np.zeros(3), "femur_left": np.zeros(3)}) is None


@pytest.mark.parametrize("iop", [[1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, -1, 0], [0, 1, 0, -1, 0, 0]])
def test_the_middle_of_a_body_is_found_beside_a_couch_in_every_position(iop: list[float]) -> None:
    n, mm = 100, 3.0
    normal = np.cross(iop[:3], iop[3:])
    origin = np.array([33.0, 5.0, -40.0]) - (np.array(iop[:3]) + np.array(iop[3:])) * mm * n / 2
    grid = Grid.from_dicom_like(iop, tuple(origin), (mm, mm), np.arange(12) * mm, n, n)
    k, j, i = np.meshgrid(*[np.arange(m) for m in grid.shape_zyx], indexing="ij")
    points = (
        grid.origin_xyz_mm
        + (k * mm)[..., None] * normal
        + (j * mm)[..., None] * np.array(iop[3:])
        + (i * mm)[..., None] * np.array(iop[:3])
    )
    x, y = points[..., 0] - 33.0, points[..., 1] - 5.0
    values = np.full(grid.shape_zyx, -1000.0)
    values[(x / 90) ** 2 + (y / 60) ** 2 < 1] = 40.0
    values[((x - 30) / 30) ** 2 + (y / 25) ** 2 < 1] = -800.0  # a lung, on one side only
    values[(np.abs(y - 90) < 9) & (x > -20)] = 100.0  # a couch that is not in the middle
    assert body_midline_x_mm(values, grid) == pytest.approx(33.0, abs=mm)


def test_air_has_no_middle() -> None:
    grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], (0, 0, 0), (3, 3), np.arange(5) * 3.0, 8, 8)
    assert body_midline_x_mm(np.full((5, 8, 8), -1000.0), grid) is None

"""A body whose sides, front and head are told apart by patient coordinates alone, however its voxels are listed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rtpipeline.geometry.grid import Grid
from rtpipeline.segmentation.label_map import LabelMap
from rtpipeline.segmentation.orientation_check import centres_xyz_mm, orientation_votes

BODY = {
    "lung_upper_lobe_left": (70, 0, 300),
    "lung_upper_lobe_right": (-70, 0, 300),
    "kidney_left": (60, 40, 120),
    "kidney_right": (-60, 40, 110),
    "heart": (25, -20, 260),
    "liver": (-60, -10, 190),
    "spleen": (85, 30, 190),
    "urinary_bladder": (0, -20, 0),
    "vertebrae_L5": (0, 60, 60),
    "vertebrae_L1": (0, 60, 180),
    "vertebrae_T8": (0, 60, 250),
    "vertebrae_T4": (0, 60, 310),
}
"""Centres in patient mm: left, posterior, superior are positive."""

POSITIONS = {
    "HFS": [1, 0, 0, 0, 1, 0],
    "HFP": [-1, 0, 0, 0, -1, 0],
    "HFDL": [0, 1, 0, -1, 0, 0],
    "FFS": [-1, 0, 0, 0, 1, 0],
}
STEP_MM = 10.0


def body(orientation: list[float], mirror: tuple[int, int, int] = (1, 1, 1), *, descending: bool = False) -> LabelMap:
    """A map with a cube of 27 voxels at each centre; `mirror` turns patient axes of the anatomy, not of the grid."""
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(row, column) * (-1 if descending else 1)
    middle = np.array([0.0, 0.0, 160.0])
    corner = middle - 150 * row - 150 * column - 230 * normal
    offsets = np.arange(47) * STEP_MM * (-1 if descending else 1)
    grid = Grid.from_dicom_like(orientation, corner.tolist(), [STEP_MM, STEP_MM], offsets, 31, 31)
    values = np.zeros(grid.shape_zyx, np.uint8)
    names = dict(enumerate(BODY, start=1))
    for number, name in names.items():
        point = middle + (np.array(BODY[name]) - middle) * mirror
        k, j, i = np.rint(grid.patient_to_index_zyx(point)).astype(int)
        values[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2] = number
    return LabelMap("ct-01", "totalsegmentator", "total", values, grid, names, 6.0, True)


def mirrored_axes(label_map: LabelMap) -> list[str]:
    return [votes.axis for votes in orientation_votes(centres_xyz_mm(label_map)) if votes.is_mirrored]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("descending", [False, True])
def test_a_right_map_passes_in_every_position(position: str, descending: bool) -> None:
    right = body(POSITIONS[position], descending=descending)
    centres = centres_xyz_mm(right)
    assert centres.keys() == BODY.keys()
    for name, expected in BODY.items():
        assert np.abs(centres[name] - expected).max() <= STEP_MM / 2 + 1e-9, name
    votes = orientation_votes(centres)
    assert [v.wrong for v in votes] == [(), (), ()]
    assert all(v.right >= 3 for v in votes)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(("axis", "name"), list(enumerate(["left and right", "front and back", "head and foot"])))
def test_each_mirrored_axis_is_found_in_every_position(position: str, axis: int, name: str) -> None:
    mirror = tuple(-1 if a == axis else 1 for a in range(3))
    assert mirrored_axes(body(POSITIONS[position], mirror)) == [name]  # type: ignore[arg-type]


def test_axes_of_the_array_that_were_turned_are_found() -> None:
    right = body(POSITIONS["HFS"])
    for axis, name in ((2, "left and right"), (1, "front and back"), (0, "head and foot")):
        assert mirrored_axes(with_values(right, np.flip(right.values, axis))) == [name]


def test_one_confused_pair_is_not_a_mirrored_map() -> None:
    right = body(POSITIONS["HFS"])
    left, other = (n for n, name in right.names.items() if name.startswith("kidney"))
    values = right.values.copy()
    values[right.values == left], values[right.values == other] = other, left
    votes = orientation_votes(centres_xyz_mm(with_values(right, values)))[0]
    assert votes.wrong == ("kidney",) and not votes.is_mirrored


def test_specks_do_not_vote() -> None:
    right = body(POSITIONS["HFS"])
    values = np.zeros_like(right.values)
    values[20, 10, 10] = next(n for n, name in right.names.items() if name == "liver")
    speck = with_values(right, values)
    assert centres_xyz_mm(speck).keys() == {"liver"}  # 1 cc
    fine = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [0, 0, 0], [7.0, 7.0], np.arange(47) * 7.0, 31, 31)
    assert not centres_xyz_mm(LabelMap("ct-01", "totalsegmentator", "total", values, fine, right.names, 6.0, True))


def with_values(label_map: LabelMap, values: NDArray[np.uint8]) -> LabelMap:
    return LabelMap("ct-01", "totalsegmentator", "total", values, label_map.grid, label_map.names, 6.0, True)

"""Measures of label maps against closed forms, wherever the patient lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtpipeline.contracts.tables import SEGMENTATION
from rtpipeline.geometry.grid import Grid
from rtpipeline.segmentation.label_map import LabelMap
from rtpipeline.segmentation.measure import FACES, image_faces, measure_label_map

SPACING_MM = (4.0, 3.0, 2.5)
"""Planes, rows, columns."""

POSITIONS = {
    "HFS": ([1, 0, 0, 0, 1, 0], 1),
    "HFS, planes towards the feet": ([1, 0, 0, 0, 1, 0], -1),
    "FFS": ([-1, 0, 0, 0, 1, 0], 1),
    "HFP": ([-1, 0, 0, 0, -1, 0], 1),
    "FFP": ([1, 0, 0, 0, -1, 0], 1),
    "HFDL": ([0, -1, 0, 1, 0, 0], 1),
    "HFDR": ([0, 1, 0, -1, 0, 0], 1),
    "coronal": ([1, 0, 0, 0, 0, -1], 1),
    "sagittal": ([0, 1, 0, 0, 0, -1], 1),
}
"""Direction cosines of rows and columns, and whether planes run along their normal or against it."""

KEYS = {"cohort": "c", "patient_id": "p", "course_id": "p-c01", "stage_key": "k", "rtpipeline_version": "1"}


def centred_grid(name: str = "HFS", n: int = 41, centre_mm: tuple[float, float, float] = (80.0, -35.0, 12.0)) -> Grid:
    """A cube of n voxels a side whose middle voxel is at `centre_mm`."""
    iop, sign = POSITIONS[name]
    offsets = np.arange(n) * SPACING_MM[0] * sign
    normal = np.cross(iop[:3], iop[3:])
    half = n // 2
    origin = (
        np.array(centre_mm)
        - half * SPACING_MM[1] * np.array(iop[3:], float)
        - half * SPACING_MM[2] * np.array(iop[:3], float)
        - offsets[half] * normal
    )
    return Grid.from_dicom_like(iop, tuple(origin), SPACING_MM[1:], offsets, n, n)


def label_map(values: np.ndarray, grid: Grid, names: dict[int, str], **facts: Any) -> LabelMap:
    return LabelMap("ct-01", "totalsegmentator", "total", values, grid, names, 1.5, False, **facts)


def painted(grid: Grid, boxes_xyz_mm: dict[str, tuple[tuple[float, float, float], float]]) -> LabelMap:
    """Cubes (centre, half edge) painted by the patient position of voxel centres, by the standard's formula."""
    k, j, i = np.meshgrid(*[np.arange(n) for n in grid.shape_zyx], indexing="ij")
    points = (
        grid.origin_xyz_mm
        + grid.plane_offsets_mm[k][..., None] * np.cross(grid.row_direction, grid.column_direction)
        + j[..., None] * grid.row_spacing_mm * grid.column_direction
        + i[..., None] * grid.column_spacing_mm * grid.row_direction
    )
    values = np.zeros(grid.shape_zyx, np.uint8)
    for label, (centre, half) in enumerate(boxes_xyz_mm.values(), start=1):
        values[(np.abs(points - np.array(centre)) <= half).all(axis=-1)] = label
    return label_map(values, grid, dict(enumerate(boxes_xyz_mm, start=1)))


def rows_of(label_map: LabelMap, **options: Any) -> dict[str, dict[str, Any]]:
    return {row["structure_name"]: row for row in measure_label_map(label_map, modality="CT", **options)}


def test_a_box_has_its_volume_centroid_and_one_piece() -> None:
    grid = centred_grid()
    values = np.zeros(grid.shape_zyx, np.uint8)
    values[5:9, 10:20, 12:18] = 3
    row = rows_of(label_map(values, grid, {3: "liver"}))["liver"]
    assert row["status"] == "ok"
    assert row["voxels"] == 4 * 10 * 6
    assert row["volume_cc"] == pytest.approx(240 * 4.0 * 3.0 * 2.5 / 1000, rel=1e-14)
    assert (row["components"], row["largest_component_pct"], row["touches_edge"]) == (1, 100.0, None)
    centroid = [row[f"centroid_{axis}_mm"] for axis in "xyz"]
    # middle of the box in voxels from the middle voxel of the image, which lies at (80, -35, 12)
    expected = [80 + (14.5 - 20) * 2.5, -35 + (14.5 - 20) * 3.0, 12 + (6.5 - 20) * 4.0]
    assert centroid == pytest.approx(expected, abs=1e-9)


def test_pieces_that_meet_in_a_corner_are_one_and_others_count() -> None:
    values = np.zeros((41, 41, 41), np.uint8)
    values[10, 10, 10] = values[11, 11, 11] = 1  # touch in a corner: one piece of 2
    values[10:12, 20:22, 20] = 1  # 4 voxels
    row = rows_of(label_map(values, centred_grid(), {1: "rib"}))["rib"]
    assert (row["components"], row["voxels"]) == (2, 6)
    assert row["largest_component_pct"] == pytest.approx(100 * 4 / 6, rel=1e-14)


def test_what_was_not_found_is_a_row_without_numbers() -> None:
    row = rows_of(label_map(np.zeros((41, 41, 41), np.uint8), centred_grid(), {1: "liver", 300: "spleen"}))["spleen"]
    assert (row["status"], row["voxels"], row["components"]) == ("not_found", 0, 0)
    for name in ("volume_cc", "largest_component_pct", "touches_edge", "centroid_x_mm", "laterality"):
        assert row.get(name) is None


@pytest.mark.parametrize("plane", [0, 40])
def test_what_reaches_the_last_plane_is_cut_off_and_has_no_volume(plane: int) -> None:
    values = np.zeros((41, 41, 41), np.uint8)
    values[plane, 20:22, 20:22] = 1
    row = rows_of(label_map(values, centred_grid(), {1: "lung"}))["lung"]
    assert (row["status"], row["volume_cc"], row["voxels"]) == ("cut_off", None, 4)
    assert row["touches_edge"] == ("inferior" if plane == 0 else "superior")


@pytest.mark.parametrize("name", POSITIONS)
def test_faces_are_named_by_the_patient_in_every_position(name: str) -> None:
    """A cube painted at a face of the image, by patient coordinates, touches that face and no other."""
    grid = centred_grid(name)
    reach = np.array(grid.shape_zyx) // 2 * np.array(SPACING_MM)  # planes, rows, columns
    axes = np.abs(np.array([grid.normal, grid.column_direction, grid.row_direction]))
    half_xyz = reach @ axes
    for axis, (low, high) in enumerate((("right", "left"), ("anterior", "posterior"), ("inferior", "superior"))):
        for face, sign in ((low, -1), (high, 1)):
            centre = np.array([80.0, -35.0, 12.0])
            centre[axis] += sign * half_xyz[axis]
            row = rows_of(painted(grid, {"organ": (tuple(centre), 8.0)}))["organ"]
            assert row["touches_edge"] == face
            on_planes = abs(grid.normal[axis]) > 0.5
            assert row["status"] == ("cut_off" if on_planes else "ok")


def test_faces_of_an_oblique_image_are_six_different_ones() -> None:
    for angle in np.deg2rad([10.0, 44.9, 45.0, 45.1, 80.0]):
        iop = [np.cos(angle), np.sin(angle), 0, 0, 0, -1]
        grid = Grid.from_dicom_like(iop, (0, 0, 0), (1, 1), np.arange(3), 3, 3)
        assert sorted(face for pair in image_faces(grid) for face in pair) == sorted(FACES)


def test_a_structure_that_fills_the_image_touches_all_faces_in_their_order() -> None:
    row = rows_of(label_map(np.ones((41, 41, 41), np.uint8), centred_grid("FFS"), {1: "body"}))["body"]
    assert row["touches_edge"] == "superior+inferior+left+right+anterior+posterior"


ORGANS = {
    "kidney_left": ((80.0 + 30, -20.0, 12.0), 9.0),
    "kidney_right": ((80.0 - 30, -20.0, 12.0), 9.0),
    "rib_left_7": ((80.0 + 38, -50.0, 40.0), 6.0),
    "vertebrae_L1": ((80.0, -20.0, 0.0), 8.0),
    "heart_ventricle_right": ((80.0 + 15, -60.0, 20.0), 7.0),
    "liver": ((80.0 - 25, -60.0, 10.0), 10.0),
}
"""Around the middle of the body at x = 80 mm; left is +x (LPS)."""


@pytest.mark.parametrize("name", POSITIONS)
def test_sides_are_those_of_the_patient_in_every_position(name: str) -> None:
    rows = rows_of(painted(centred_grid(name), ORGANS))
    expected = {"kidney_left": "ok", "kidney_right": "ok", "rib_left_7": "ok"}
    assert {n: row["laterality"] for n, row in rows.items()} == {n: expected.get(n) for n in ORGANS}


@pytest.mark.parametrize("name", POSITIONS)
def test_swapped_sides_are_seen_in_every_position(name: str) -> None:
    """A mirrored map swaps every pair; the middle of a pair is the same, so it cannot hide its swap."""
    mirrored = {n: ((160.0 - x, y, z), half) for n, ((x, y, z), half) in ORGANS.items()}
    rows = rows_of(painted(centred_grid(name), mirrored))
    expected = {"kidney_left": "swapped", "kidney_right": "swapped", "rib_left_7": "swapped"}
    assert {n: row["laterality"] for n, row in rows.items()} == {n: expected.get(n) for n in ORGANS}


@pytest.mark.parametrize(("x_mm", "expected"), [(71.0, "ok"), (69.0, "swapped")])
def test_ten_mm_beyond_the_middle_is_still_the_same_side(x_mm: float, expected: str) -> None:
    values = np.zeros((3, 3, 400), np.uint8)
    grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], (0, 0, 0), (1, 0.5), np.arange(3) * 1.0, 3, 400)
    values[1, 1, int(80.0 / 0.5)] = 1
    values[1, 1, int(x_mm / 0.5)] = 2
    assert rows_of(label_map(values, grid, {1: "sternum", 2: "hip_left"}))["hip_left"]["laterality"] == expected


def test_a_single_sided_structure_needs_the_middle_of_the_body() -> None:
    one = painted(centred_grid(), {"femur_left": ((60.0, -35.0, 12.0), 8.0)})
    assert rows_of(one)["femur_left"]["laterality"] is None
    assert rows_of(one, body_midline=lambda: 80.0)["femur_left"]["laterality"] == "swapped"
    assert rows_of(one, body_midline=lambda: 50.0)["femur_left"]["laterality"] == "ok"
    assert rows_of(one, body_midline=lambda: None)["femur_left"]["laterality"] is None


def test_the_body_is_not_looked_for_when_nobody_needs_it() -> None:
    def never() -> float | None:
        raise AssertionError("asked for the body")

    rows_of(painted(centred_grid(), ORGANS), body_midline=never)
    rows_of(painted(centred_grid(), {"liver": ORGANS["liver"]}), body_midline=never)


def test_rows_with_their_keys_are_the_declared_table() -> None:
    made = label_map(np.ones((41, 41, 41), np.uint8), centred_grid(), {1: "body", 2: "liver"}, device="cuda")
    rows = [KEYS | row for row in measure_label_map(made, modality="CT")]
    frame = SEGMENTATION.frame(rows)
    assert frame["structure_id"].tolist() == ["totalsegmentator-ct-01-total-body", "totalsegmentator-ct-01-total-liver"]
    assert frame["segmentation_resolution_mm"].tolist() == [1.5, 1.5]
    assert frame["phantom_weights"].tolist() == [False, False]
    assert frame["device"].tolist() == ["cuda", "cuda"]

"""Grids: indices and patient positions, whatever the orientation and the order of the planes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.geometry.grid import Grid

ROUNDING_MM = 1e-9
"""Positions are sums of a few products of numbers below 1000."""


def make_grid(**changes: object) -> Grid:
    values: dict[str, object] = {
        "origin_xyz_mm": np.array([-120.5, 33.25, 410.125]),
        "row_direction": np.array([0.0, -1.0, 0.0]),
        "column_direction": np.array([0.0, 0.0, -1.0]),
        "column_spacing_mm": 1.25,
        "row_spacing_mm": 2.5,
        "plane_offsets_mm": np.array([0.0, -3.0, -5.0, -11.0]),
        "rows": 5,
        "columns": 7,
    }
    return Grid(**(values | changes))  # type: ignore[arg-type]


def test_a_voxel_lies_where_the_standard_says_it_does() -> None:
    # PS3.3 C.7.6.2.1.1: P = S + column index x X x spacing between columns + row index x Y x spacing between rows
    grid = make_grid()
    got = grid.index_zyx_to_patient([[2, 3, 4]])[0]
    normal = np.cross([0, -1, 0], [0, 0, -1])
    expected = grid.origin_xyz_mm + 4 * 1.25 * np.array([0, -1, 0]) + 3 * 2.5 * np.array([0, 0, -1]) - 5.0 * normal
    assert np.allclose(got, expected, atol=ROUNDING_MM)


@settings(deadline=None)
@given(
    offsets=st.lists(st.floats(0.3, 7.0), min_size=1, max_size=6),
    descending=st.booleans(),
    angle=st.floats(0.0, 6.28),
    index=st.tuples(st.floats(-2.0, 8.0), st.floats(-5.0, 20.0), st.floats(-5.0, 20.0)),
)
def test_patient_and_index_are_inverse_to_each_other(
    offsets: list[float], descending: bool, angle: float, index: tuple[float, float, float]
) -> None:
    c, s = np.cos(angle), np.sin(angle)
    planes = np.r_[0.0, np.cumsum(offsets)] * (-1.0 if descending else 1.0)
    grid = make_grid(
        row_direction=np.array([c, 0.6 * s, 0.8 * s]),
        column_direction=np.array([-s, 0.6 * c, 0.8 * c]),
        plane_offsets_mm=planes,
    )
    back = grid.patient_to_index_zyx(grid.index_zyx_to_patient([index]))[0]
    assert np.allclose(back, index, atol=1e-8)


def test_between_uneven_planes_the_index_runs_linearly() -> None:
    grid = make_grid()
    middle = 0.5 * (grid.plane_origins_xyz_mm[2] + grid.plane_origins_xyz_mm[3])
    assert np.allclose(grid.patient_to_index_zyx([middle])[0], [2.5, 0, 0], atol=ROUNDING_MM)


def test_layers_meet_half_way_between_planes_in_either_order() -> None:
    descending = make_grid().plane_bounds_mm()
    assert descending.tolist() == [[-1.5, 1.5], [-4.0, -1.5], [-8.0, -4.0], [-14.0, -8.0]]
    ascending = make_grid(plane_offsets_mm=np.array([0.0, 3.0, 5.0, 11.0])).plane_bounds_mm()
    assert np.allclose(np.sort(-ascending, axis=1), descending)


def test_json_gives_back_the_same_bits() -> None:
    third = 1.0 / 3.0
    grid = make_grid(origin_xyz_mm=np.array([third, -1e-17, 1e6 * third]), column_spacing_mm=0.9765625 * third)
    back = Grid.from_json(json.loads(json.dumps(grid.to_json())))
    for name in ("origin_xyz_mm", "row_direction", "column_direction", "plane_offsets_mm"):
        assert getattr(back, name).tobytes() == getattr(grid, name).tobytes()
    assert back.column_spacing_mm == grid.column_spacing_mm
    assert back.shape_zyx == grid.shape_zyx == (4, 5, 7)


def test_grids_are_equal_within_the_tolerance_and_not_beyond() -> None:
    grid = make_grid()
    assert grid == make_grid(origin_xyz_mm=grid.origin_xyz_mm + 5e-4)
    assert grid != make_grid(origin_xyz_mm=grid.origin_xyz_mm + 5e-3)
    assert grid != make_grid(plane_offsets_mm=np.array([0.0, -3.0, -5.01, -11.0]))
    assert grid != make_grid(column_direction=np.array([0.0, 0.0, 1.0]))
    assert grid != make_grid(columns=8)
    assert not make_grid().is_uniform
    assert make_grid(plane_offsets_mm=np.arange(4) * 2.5).is_uniform


def test_pixel_spacing_is_row_spacing_first_as_in_dicom() -> None:
    grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [0, 0, 0], [2.0, 3.0], [0.0, 4.0], 10, 20)
    assert np.allclose(grid.index_zyx_to_patient([[1, 1, 1]]), [[3.0, 2.0, 4.0]])
    assert grid.shape_zyx == (2, 10, 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row_direction": np.array([0.0, -1.1, 0.0])}, "length 1.1; need 1"),
        ({"row_direction": np.array([0.0, -0.8, 0.6])}, "product -0.6; need 0"),
        ({"origin_xyz_mm": np.array([0.0, np.nan, 0.0])}, "need 3 finite numbers"),
        ({"column_spacing_mm": 0.0}, "column_spacing_mm is 0.0; need a positive"),
        ({"plane_offsets_mm": np.array([0.0, 3.0, 2.0])}, "from 3 to 2 at plane 2; need strictly"),
        ({"plane_offsets_mm": np.array([0.0, 0.0, 2.0])}, "from 0 to 0 at plane 1; need strictly"),
        ({"plane_offsets_mm": np.array([40.0, 43.0])}, "starts at 40; need 0"),
        ({"plane_offsets_mm": np.array([])}, "need \\(n,\\) finite"),
        ({"rows": 0}, "rows is 0; need at least 1"),
    ],
)
def test_an_impossible_geometry_is_refused_with_what_was_found(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_grid(**changes)


def test_a_point_off_a_single_plane_has_no_index() -> None:
    grid = make_grid(plane_offsets_mm=np.array([0.0]))
    assert np.allclose(grid.patient_to_index_zyx([grid.origin_xyz_mm]), 0.0)
    with pytest.raises(ValueError, match="off the only plane by 2 mm"):
        grid.patient_to_index_zyx([grid.origin_xyz_mm + 2.0 * grid.normal])
    with pytest.raises(ValueError, match="no thickness"):
        grid.plane_bounds_mm()

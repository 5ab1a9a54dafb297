"""Planes to a volume, on numbers alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.dicom.spacing import plan_planes
from rtpipeline.prepare.volume import PlaneArray, resampled_planes, straightened

FILL = -1024.0

RAMP_TOLERANCE = 1e-3
"""float32 of values below a few hundred, through two linear interpolations."""

shifts = st.floats(-7.0, 7.0).map(lambda v: round(v, 2))


def ramp(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return 3.0 * rows - 2.0 * columns + 10.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(shifts, shifts), min_size=1, max_size=6))
def test_planes_moved_by_any_shift_lie_on_one_ramp_and_none_is_cut(moves: list[tuple[float, float]]) -> None:
    moves = [(0.0, 0.0), *moves]
    r, c = np.mgrid[0:9, 0:11]
    planes = np.stack([ramp(r + down, c + across) for across, down in moves])
    out, first_row, first_column = straightened(planes, np.array(moves), FILL)
    rows, columns = np.mgrid[first_row : first_row + out.shape[1], first_column : first_column + out.shape[2]]
    inside = out != FILL
    assert np.abs(out - ramp(rows, columns))[inside].max() < RAMP_TOLERANCE
    for k, (across, down) in enumerate(moves):
        # all whole places between the first and the last pixel of the plane, and no other
        expected = (rows >= down) & (rows <= down + 8) & (columns >= across) & (columns <= across + 10)
        assert np.array_equal(inside[k], expected)


def test_uniform_planes_come_back_unchanged() -> None:
    values = np.arange(24, dtype=np.int16).reshape(4, 2, 3)
    assert resampled_planes(values, plan_planes(np.arange(4) * 2.0, 10.0)) is values


def test_filled_planes_are_the_mean_by_distance() -> None:
    values = np.array([0, 10, 40], np.int16)[:, None, None] * np.ones((1, 2, 2), np.int16)
    filled = resampled_planes(values, plan_planes([0.0, 1.0, 4.0], 10.0))
    assert filled.dtype == np.float32
    assert filled[:, 0, 0] == pytest.approx([0, 10, 20, 30, 40])


def test_planes_stay_int16_until_a_value_does_not_fit() -> None:
    for value, kind in ((32767, "int16"), (-32768, "int16"), (32768, "float32"), (0.5, "float32"), (7.0, "int16")):
        planes = PlaneArray((2, 1, 1))
        planes.put(0, np.array([[-5]]))
        planes.put(1, np.array([[value]]))
        assert planes.values.dtype.name == kind
        assert planes.values.ravel().tolist() == [-5, value]


def test_a_plane_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        PlaneArray((2, 3, 3)).put(0, np.zeros((1, 3)))

"""What the distances between planes say, and the uniform planes that follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpipeline.dicom.spacing import LATTICE_TOLERANCE_MM, plan_planes

MAX_GAP_MM = 10.0
EXACT = 1e-9


def heights(plan: object, offsets: np.ndarray) -> np.ndarray:
    """Where the plan's planes lie when they are made of the original ones: exact for anything linear."""
    upper = np.minimum(plan.lower + 1, len(offsets) - 1)  # type: ignore[attr-defined]
    return (1 - plan.weight) * offsets[plan.lower] + plan.weight * offsets[upper]  # type: ignore[attr-defined]


@given(st.integers(2, 80), st.floats(0.1, 8.0))
def test_equal_steps_are_taken_as_they_are(count: int, step_mm: float) -> None:
    plan = plan_planes(np.arange(count) * step_mm, MAX_GAP_MM)
    assert plan.kind == "uniform"
    assert plan.step_mm == pytest.approx(step_mm)
    assert plan.filled == ()
    assert plan.lower.tolist() == list(range(count))


@pytest.mark.parametrize("step_mm", [0.625, 1.25, 2.344, 3.27])
def test_positions_written_with_one_decimal_are_still_equal_steps(step_mm: float) -> None:
    plan = plan_planes(np.round(np.arange(120) * step_mm, 1), MAX_GAP_MM)
    assert plan.kind == "uniform"
    assert plan.step_mm == pytest.approx(step_mm, abs=LATTICE_TOLERANCE_MM / 100)


@given(st.sets(st.integers(1, 28), min_size=1, max_size=3))
def test_single_missing_slices_are_filled_where_they_were(missing: set[int]) -> None:
    offsets = np.delete(np.arange(30) * 2.0, sorted(missing))
    plan = plan_planes(offsets, MAX_GAP_MM)
    assert plan.kind == "missing"
    assert plan.missing == len(missing)
    assert plan.filled == tuple(sorted(missing))
    assert plan.voxel_offsets_mm == pytest.approx(np.arange(30) * 2.0)
    assert heights(plan, offsets) == pytest.approx(plan.voxel_offsets_mm, abs=EXACT)


def test_a_gap_beyond_the_limit_is_not_filled() -> None:
    offsets = np.delete(np.arange(30) * 3.0, [10, 11, 12])
    plan = plan_planes(offsets, MAX_GAP_MM)
    assert (plan.kind, plan.missing, plan.largest_gap_mm) == ("gap_too_large", 3, 12.0)
    assert plan_planes(offsets, 12.0).kind == "missing"


def test_a_gap_that_is_no_multiple_of_the_step_is_not_filled_either_beyond_the_limit() -> None:
    assert plan_planes([0.0, 3.0, 6.0, 18.5, 21.5], MAX_GAP_MM).kind == "gap_too_large"


def test_wide_equal_steps_are_no_gap() -> None:
    assert plan_planes(np.arange(8) * 15.0, MAX_GAP_MM).kind == "uniform"


@pytest.mark.parametrize(
    "steps",
    [[3.0, 6.0] * 8, [3.0] * 10 + [6.0] * 6, [5.0] * 12 + [2.0] * 12, [3.0] * 40 + [6.0] * 4, [2.0, 2.7, 3.1, 2.2] * 4],
)
def test_zones_of_several_spacings_are_resampled_to_the_finest(steps: list[float]) -> None:
    offsets = np.concatenate([[0.0], np.cumsum(steps)])
    plan = plan_planes(offsets, MAX_GAP_MM)
    assert plan.kind == "nonuniform"
    assert min(steps) * 0.9 < plan.step_mm <= min(steps) + EXACT
    assert np.diff(plan.voxel_offsets_mm) == pytest.approx(plan.step_mm)
    assert (plan.voxel_offsets_mm[0], plan.voxel_offsets_mm[-1]) == pytest.approx((0.0, offsets[-1]))
    assert heights(plan, offsets) == pytest.approx(plan.voxel_offsets_mm, abs=EXACT)


def test_planes_that_lie_on_the_finer_lattice_are_copied_not_interpolated() -> None:
    offsets = np.concatenate([[0.0], np.cumsum([3.0, 6.0] * 8)])
    plan = plan_planes(offsets, MAX_GAP_MM)
    copied = plan.voxel_offsets_mm[plan.weight == 0.0]
    assert copied == pytest.approx(offsets)


def test_one_tiny_step_does_not_multiply_the_planes() -> None:
    steps = [3.0] * 20
    steps[7] = 0.05
    plan = plan_planes(np.concatenate([[0.0], np.cumsum(steps)]), MAX_GAP_MM)
    assert len(plan.voxel_offsets_mm) <= 8 * len(steps) + 1


def test_offsets_that_do_not_ascend_are_no_stack() -> None:
    for offsets in ([0.0], [0.0, 0.0], [0.0, 3.0, 2.0]):
        with pytest.raises(ValueError, match="ascending"):
            plan_planes(offsets, MAX_GAP_MM)

"""Sums of dose grids: exact where grids match, linear doses reproduced where they do not, unknown where a part ends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.demo.grid import ORIENTATION_OF_POSITION, axial_grid
from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.dose import accumulate as module
from rtpipeline.dose.accumulate import DoseGrid, accumulate, sample, union_grid
from rtpipeline.geometry.grid import Grid

ROUNDING_GY = 1e-9
"""Trilinear interpolation reproduces a linear dose up to float64 rounding of positions of some hundred mm."""

D1 = LinearDose(40.0, (0.10, -0.06, 0.08))
D2 = LinearDose(12.0, (-0.03, 0.05, 0.02))


def grid(lower=(-30.0, -24.0, 10.0), shape=(11, 9, 8), spacing=(3.0, 4.0, 2.5), position="HFS", offsets=None) -> Grid:
    demo = axial_grid(lower_mm=lower, shape_xyz=shape, spacing_xyz_mm=spacing, position=position)
    planes = demo.plane_offsets_mm if offsets is None else offsets
    return Grid.from_dicom_like(
        demo.orientation, demo.origin_mm, demo.pixel_spacing_mm, planes, demo.rows, demo.columns
    )


def points(g: Grid) -> np.ndarray:
    planes, rows, columns = g.shape_zyx
    index = np.stack(np.meshgrid(np.arange(planes), np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    return g.index_zyx_to_patient(index.astype(float))


def linear(dose: LinearDose, g: Grid) -> DoseGrid:
    return DoseGrid(g, dose.at(points(g)))


def inside(g: Grid, at: np.ndarray) -> np.ndarray:
    """Whether points lie within the centres of a grid's outermost voxels, by projections alone."""
    relative = at - g.origin_xyz_mm
    along = [relative @ g.normal, relative @ g.column_direction, relative @ g.row_direction]
    ends = [
        (min(g.plane_offsets_mm), max(g.plane_offsets_mm)),
        (0.0, (g.rows - 1) * g.row_spacing_mm),
        (0.0, (g.columns - 1) * g.column_spacing_mm),
    ]
    slack_mm = 1e-3
    return np.all(
        [(a >= low - slack_mm) & (a <= high + slack_mm) for a, (low, high) in zip(along, ends, strict=True)], 0
    )


def test_matching_grids_are_added_voxel_by_voxel_without_rounding():
    values = np.random.default_rng(1).random((3, *grid().shape_zyx))
    total = accumulate([DoseGrid(grid(), v) for v in values])
    assert np.array_equal(total.dose_gy, values[0] + values[1] + values[2])
    assert total.known is None
    assert total.grid == grid()


def test_weights_count_delivered_fractions():
    total = accumulate([linear(D1, grid()), linear(D2, grid())], [12 / 25, 0.5])
    expected = 12 / 25 * D1.at(points(grid())) + 0.5 * D2.at(points(grid()))
    assert np.allclose(total.dose_gy, expected, atol=ROUNDING_GY, rtol=0)


def test_a_lattice_shifted_by_whole_voxels_needs_no_interpolation():
    """The shared voxels hold the exact sum of the stored values, whatever they are."""
    values = np.random.default_rng(2).random((2, *grid().shape_zyx))
    shifted = grid(lower=(-30.0 + 2 * 3.0, -24.0 + 4.0, 10.0 + 3 * 2.5))
    total = accumulate([DoseGrid(grid(), values[0]), DoseGrid(shifted, values[1])])
    assert total.grid.shape_zyx == (8 + 3, 9 + 1, 11 + 2)
    assert total.known.sum() == (8 - 3) * (9 - 1) * (11 - 2)
    assert np.array_equal(total.dose_gy[3:8, 1:9, 2:11], values[0][3:, 1:, 2:] + values[1][:5, :8, :9])
    assert total.known[3:8, 1:9, 2:11].all()


PAIRS = {
    "fine inside coarse": (grid(), grid((-18.0, -16.0, 15.0), (7, 5, 5), (1.5, 2.0, 1.0))),
    "overlapping, other spacing": (grid(), grid((-20.0, -30.0, 3.0), (9, 9, 9), (2.0, 3.3, 2.9))),
    "descending planes": (
        grid(),
        grid((-28.0, -20.0, 12.0), (6, 6, 6), (2.0, 2.0, 2.0), offsets=(0.0, -2.0, -4.0, -6.0, -8.0)),
    ),
    "irregular planes": (grid(offsets=(0.0, 2.0, 3.5, 9.0, 10.0)), grid((-28.0, -20.0, 11.0), (6, 6, 6))),
    **{
        f"HFS and {p}": (grid(), grid((-21.0, -20.0, 13.0), (5, 6, 7), (2.1, 2.7, 1.9), p))
        for p in ORIENTATION_OF_POSITION
    },
}


@pytest.mark.parametrize("case", PAIRS)
def test_the_sum_of_linear_doses_is_linear_wherever_both_are_known(case):
    first, second = PAIRS[case]
    total = accumulate([linear(D1, first), linear(D2, second)])
    at = points(total.grid)
    known = inside(first, at) & inside(second, at)
    assert known.any()
    assert np.array_equal(known, total.known)
    error = np.abs(total.dose_gy - D1.at(at) - D2.at(at))[known]
    assert error.max() <= ROUNDING_GY


@pytest.mark.parametrize("case", PAIRS)
def test_the_union_holds_every_voxel_of_every_part(case):
    union = union_grid(PAIRS[case])
    for part in PAIRS[case]:
        assert inside(union, points(part)).all()


def oblique(angle_deg: float, spacing: float) -> Grid:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    orientation = (c, s, 0.0, -s, c, 0.0)
    return Grid.from_dicom_like(orientation, (-18.0, -16.0, 12.0), (spacing, spacing), np.arange(6) * 2.0, 12, 13)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_oblique_grid_is_sampled_where_it_lies(order):
    parts = [linear(D1, grid()), linear(D2, oblique(20.0, 1.7))]
    total = accumulate([parts[i] for i in order])
    at = points(total.grid)
    assert np.array_equal(total.known, inside(grid(), at) & inside(oblique(20.0, 1.7), at))
    assert np.abs(total.dose_gy - D1.at(at) - D2.at(at))[total.known].max() <= ROUNDING_GY


def test_order_of_the_parts_changes_nothing_but_rounding():
    parts = [linear(D1, grid()), linear(D2, PAIRS["fine inside coarse"][1]), linear(D1, grid((-33.0, -28.0, 7.0)))]
    totals = [accumulate(p) for p in itertools.permutations(parts)]
    for total in totals[1:]:
        assert total.grid == totals[0].grid
        assert np.array_equal(total.known, totals[0].known)
        assert np.allclose(total.dose_gy, totals[0].dose_gy, atol=ROUNDING_GY, rtol=0)


def test_what_one_part_does_not_know_the_sum_does_not_know():
    known = np.ones(grid().shape_zyx, bool)
    known[:, :, :4] = False
    part = DoseGrid(grid(), D1.at(points(grid())), known)
    same = accumulate([part, linear(D2, grid())])
    assert np.array_equal(same.known, known)
    fine = grid((-29.0, -23.0, 10.5), (40, 20, 10), (0.7, 1.0, 1.0))
    values, seen = sample(part, fine)
    columns_mm = points(fine)[..., 0]
    first_known_mm = -30.0 + 4 * 3.0
    assert not seen[columns_mm < first_known_mm - 1e-3].any()
    assert seen[(columns_mm >= first_known_mm + 1e-3) & inside(grid(), points(fine))].all()
    assert np.abs(values - D1.at(points(fine)))[seen].max() <= ROUNDING_GY


def test_parts_that_do_not_meet_know_nothing_together():
    total = accumulate([linear(D1, grid()), linear(D2, grid((200.0, 200.0, 200.0)))])
    assert not total.known.any()
    assert total.max_gy is None


def test_a_union_too_large_is_cut_to_what_the_parts_share(monkeypatch):
    parts = [linear(D1, grid()), linear(D2, PAIRS["fine inside coarse"][1])]
    whole = accumulate(parts)
    monkeypatch.setattr(module, "MAX_UNION_VOXELS", 1000)
    cut = accumulate(parts)
    assert cut.grid.shape_zyx == parts[1].grid.shape_zyx
    assert int(cut.known.sum() if cut.known is not None else cut.dose_gy.size) == int(whole.known.sum())
    assert np.abs(cut.dose_gy - D1.at(points(cut.grid)) - D2.at(points(cut.grid))).max() <= ROUNDING_GY


def test_the_integral_dose_is_conserved_on_a_finer_lattice():
    """A smooth dose that vanishes at the borders: the sum over voxels times their volume, before and after."""

    def bump(g: Grid) -> DoseGrid:
        at = points(g) - np.array([0.0, 0.0, 20.0])
        return DoseGrid(g, 60.0 * np.exp(-(at**2).sum(-1) / (2 * 8.0**2)))

    coarse = grid((-40.0, -40.0, -20.0), (33, 33, 33), (2.5, 2.5, 2.5))
    fine = grid((-39.0, -39.0, -19.0), (79, 79, 79), (1.0, 1.0, 1.0))
    total = accumulate([bump(coarse), DoseGrid(fine, np.zeros(fine.shape_zyx))])
    integral = total.dose_gy.sum() * 1.0**3
    # 0.1 %: the limit that sums of plans are held to
    assert integral == pytest.approx(bump(coarse).dose_gy.sum() * 2.5**3, rel=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    lower=st.tuples(*[st.floats(-25.0, 5.0)] * 3),
    spacing=st.tuples(*[st.floats(0.8, 4.0)] * 3),
    shape=st.tuples(*[st.integers(2, 6)] * 3),
    position=st.sampled_from(sorted(ORIENTATION_OF_POSITION)),
)
def test_any_axial_grid_is_sampled_linearly(lower, spacing, shape, position):
    target = grid(lower, shape, spacing, position)
    values, seen = sample(linear(D1, grid()), target)
    assert np.array_equal(seen, inside(grid(), points(target)))
    assert not values[~seen].any()
    if seen.any():
        assert np.abs(values - D1.at(points(target)))[seen].max() <= 1e-4 * 3.0 * 0.15 + ROUNDING_GY


def test_nothing_to_add_and_weights_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match="no dose"):
        accumulate([])
    with pytest.raises(ValueError, match="2 weights for 1"):
        accumulate([linear(D1, grid())], [1.0, 1.0])

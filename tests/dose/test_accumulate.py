"""Sums of dose grids: exact where grids match, linear doses reproduced where they do not, unknown where a part ends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rtpipeline.demo.grid import ORIENTATION_OF_POSITION, axial_grid
from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.dose import union
from rtpipeline.dose.accumulate import DoseGrid, accumulate, sample
from rtpipeline.dose.union import union_grid
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.rigid import moved

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
    lattice = union_grid(PAIRS[case])
    for part in PAIRS[case]:
        assert inside(lattice, points(part)).all()


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


@pytest.mark.parametrize("turn_deg", [(90.0, 0.0, 0.0), (0.0, 180.0, 0.0), (0.0, 0.0, -90.0), (25.0, -40.0, 170.0)])
def test_turning_the_patient_turns_the_sum_and_changes_no_value(turn_deg):
    """Two grids of one spacing that do not match: which of them gives the lattice must not depend on where they lie."""
    middles = (np.array([2.0, -1.0, 3.0]), np.array([-3.0, 4.0, -2.0]))
    parts = [bump_on(around(m, (2.5, 2.5, 2.5), 30.0), m, 6.0) for m in middles]
    parts[1] = DoseGrid(parts[1].grid, 0.4 * parts[1].dose_gy)
    total = accumulate(parts)
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix(), (12.0, 300.0, -45.0)
    turned = accumulate([part.carried(turn) for part in reversed(parts)])
    assert turned.grid.matches(moved(total.grid, turn), tolerance_mm=1e-6)
    assert np.array_equal(turned.known, total.known)
    assert np.abs(turned.dose_gy - total.dose_gy).max() <= 1e-6 * PEAK_GY


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
    monkeypatch.setattr(union, "MAX_UNION_VOXELS", 1000)
    cut = accumulate(parts)
    assert cut.grid.shape_zyx == parts[1].grid.shape_zyx
    assert int(cut.known.sum() if cut.known is not None else cut.dose_gy.size) == int(whole.known.sum())
    assert np.abs(cut.dose_gy - D1.at(points(cut.grid)) - D2.at(points(cut.grid))).max() <= ROUNDING_GY


CONSERVED = 1e-3
"""The limit that sums of plans are held to: 0.1 % of a part's integral dose."""

PEAK_GY = 60.0


def integral(dose: DoseGrid) -> float:
    """Gy x cc: every voxel's dose by its volume, planes half way to their neighbours."""
    thickness_mm = np.diff(dose.grid.plane_bounds_mm(), axis=1)[:, :, None]
    return float((dose.dose_gy * thickness_mm).sum() * dose.grid.row_spacing_mm * dose.grid.column_spacing_mm) / 1000.0


def bump_on(g: Grid, middle, width_mm: float) -> DoseGrid:
    """A Gaussian dose."""
    return DoseGrid(g, PEAK_GY * np.exp(-((points(g) - middle) ** 2).sum(-1) / (2 * width_mm**2)))


def around(middle, spacing_zyx, half_mm: float, turn_deg=(0.0, 0.0, 0.0), gaps=(1.0,)) -> Grid:
    """A grid about a point, turned any way; gaps: of the planes, repeated, in parts of the plane spacing."""
    turn = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    planes, rows, columns = (int(np.ceil(2 * half_mm / s)) + 1 for s in spacing_zyx)
    offsets = np.r_[0.0, np.cumsum(spacing_zyx[0] * np.resize(gaps, planes - 1))]
    ends = np.array([(columns - 1) * spacing_zyx[2], (rows - 1) * spacing_zyx[1], offsets[-1]])
    origin = np.array(middle) - turn @ ends / 2
    return Grid.from_dicom_like((*turn[:, 0], *turn[:, 1]), origin, spacing_zyx[1:], offsets, rows, columns)


spacings = st.tuples(*[st.floats(1.5, 4.0)] * 3)
middles = st.tuples(*[st.floats(-6.0, 6.0)] * 3)
turns = st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(*[st.floats(-180.0, 180.0)] * 3))


@settings(max_examples=15, deadline=None)
@given(st.tuples(middles, middles), st.tuples(spacings, spacings), st.tuples(turns, turns), st.floats(4.5, 7.0))
def test_the_integral_dose_of_each_part_is_conserved(at, spacing, turn, width_mm):
    """Each on its own grid of any spacing and orientation, the other as large as it likes."""
    parts = [bump_on(around(m, s, 6 * width_mm, t), m, width_mm) for m, s, t in zip(at, spacing, turn, strict=True)]
    for weights, part in (((1.0, 0.0), parts[0]), ((0.0, 1.0), parts[1])):
        assert integral(accumulate(parts, weights)) == pytest.approx(integral(part), rel=CONSERVED)
    both = sum(integral(part) for part in parts)
    assert integral(accumulate(parts)) == pytest.approx(both, rel=CONSERVED)


@pytest.mark.parametrize("gaps", [(1.0, 1.25, 0.8), (1.0,) * 9 + (1.5,) * 9])
def test_the_integral_of_a_dose_on_irregular_planes_is_that_of_the_closed_form(gaps):
    """Where gaps change, half gaps to the neighbours are no exact integral: the lattice of the sum is regular."""
    width_mm = 8.0
    parts = [
        bump_on(around((0.0, 0.0, 0.0), (2.0, 2.5, 2.5), 50.0, gaps=gaps), (0.0, 0.0, 0.0), width_mm),
        bump_on(around((3.0, -4.0, 5.0), (3.0, 2.0, 2.0), 50.0), (3.0, -4.0, 5.0), width_mm),
    ]
    closed_form = PEAK_GY * (2 * np.pi) ** 1.5 * width_mm**3 / 1000.0
    for weights in ((1.0, 0.0), (0.0, 1.0)):
        assert integral(accumulate(parts, weights)) == pytest.approx(closed_form, rel=CONSERVED)


def test_a_small_fine_boost_in_a_large_coarse_dose_adds_what_it_holds_and_cuts_nothing():
    """The dose of a whole body and of a box in it: 4 mm and 1 mm."""
    large = bump_on(around((0.0, 0.0, 0.0), (4.0, 4.0, 4.0), 90.0), (0.0, 0.0, 0.0), 15.0)
    small = bump_on(around((20.0, 10.0, -15.0), (1.0, 1.0, 1.0), 26.0), (20.0, 10.0, -15.0), 4.5)
    total = accumulate([large, small])
    assert integral(total) == pytest.approx(integral(large) + integral(small), rel=1e-4)
    known_cc = float(total.known.sum()) * 1e-3
    assert known_cc == pytest.approx(53.0**3 * 1e-3, rel=1e-9)  # only the box: beyond it the boost is not known


@pytest.mark.parametrize("edge_mm", [0.0, 4.0])
def test_a_hard_edge_neither_gains_nor_loses(edge_mm):
    """The skin, beyond which the planning system writes 0 Gy; here a ball. A spline swings there by 7 %."""
    g = around((0.0, 0.0, 0.0), (3.0, 3.0, 3.0), 60.0)
    distance_mm = np.linalg.norm(points(g), axis=-1)
    inside_share = np.clip((40.0 - distance_mm) / (edge_mm or 1e-9) + 0.5, 0.0, 1.0)
    ball = DoseGrid(g, 20.0 * inside_share)
    fine = around((1.1, -0.7, 0.3), (2.0, 2.2, 1.7), 66.0)
    total = accumulate([ball, DoseGrid(fine, np.zeros(fine.shape_zyx))])
    assert integral(total) == pytest.approx(integral(ball), rel=CONSERVED)
    assert total.dose_gy.min() == 0.0
    assert total.dose_gy.max() <= 20.0 * (1.0 + 0.07 / 50)  # nor swings up inside the skin but for a fiftieth of that


def test_a_dose_that_has_values_below_0_keeps_them():
    """Noise of a Monte Carlo calculation: cut off, it would add dose."""
    g = grid()
    noisy = DoseGrid(g, np.random.default_rng(3).normal(0.0, 0.1, g.shape_zyx))
    values, _ = sample(noisy, grid((-28.3, -21.7, 11.1), (20, 20, 15), (1.3, 1.1, 0.9)))
    assert values.min() < -0.1


@pytest.mark.parametrize("turn_deg", [(0.0, 0.0, 0.0), (10.0, -20.0, 35.0)])
def test_a_peak_between_voxels_is_not_flattened(turn_deg):
    """A linear interpolation loses 1.1 Gy of this one."""
    width_mm, middle = 7.0, np.array([1.5, 1.5, 1.5])
    source = around((0.0, 0.0, 0.0), (3.0, 3.0, 3.0), 45.0, turn_deg)
    here = sample(bump_on(source, middle, width_mm), around((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 10.0))[0]
    truth = bump_on(around((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 10.0), middle, width_mm).dose_gy
    spline_error = 0.005 * PEAK_GY  # of h = 3 mm at 7 mm: some thousandths
    assert np.abs(here - truth).max() <= spline_error


@pytest.mark.parametrize(("planes", "degree"), [(8, 3), (4, 3), (3, 2), (2, 1)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_polynomial_is_reproduced_up_to_the_border_on_uneven_planes(planes, degree, sign):
    """The spline has not-a-knot ends: a cubic along an axis of four or more voxels, less along fewer."""
    offsets = sign * np.cumsum(np.r_[0.0, np.resize((2.0, 3.5, 1.25), planes - 1)])
    source = Grid.from_dicom_like((1, 0, 0, 0, 1, 0), (-10.0, -8.0, 5.0), (2.0, 2.5), offsets, 7, 6)

    def dose_at(at):
        x, y, z = np.moveaxis((at - (0.0, 0.0, 5.0)) / 10.0, -1, 0)
        return 20.0 + 5.0 * x**3 - 4.0 * y**3 + 3.0 * z**degree + 2.0 * x * y * z

    ends = sorted((5.0, 5.0 + offsets[-1]))
    target = Grid.from_dicom_like(
        (1, 0, 0, 0, 1, 0), (-10.0, -8.0, ends[0]), (1.1, 0.9), np.linspace(0.0, ends[1] - ends[0], 9), 11, 14
    )
    values, inside_box = sample(DoseGrid(source, dose_at(points(source))), target)
    assert inside_box.all()
    assert np.abs(values - dose_at(points(target))).max() <= ROUNDING_GY


def test_the_lattice_is_as_fine_as_any_part_along_each_axis_and_keeps_the_finest_parts_own_nodes():
    thick, cube = around((0, 0, 0), (5.0, 1.0, 1.0), 20.0), around((0.7, 0.2, 0.0), (2.0, 2.0, 2.0), 24.0)
    lattice = union_grid([thick, cube])
    assert (lattice.row_spacing_mm, lattice.column_spacing_mm) == (1.0, 1.0)
    assert lattice.plane_spacing_mm == pytest.approx(5.0 / 3)
    nodes = lattice.patient_to_index_zyx(points(thick))
    assert np.abs(nodes - np.rint(nodes)).max() <= 1e-9
    assert union_grid([cube, thick]) == lattice


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

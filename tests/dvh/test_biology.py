"""EQD2, BED and gEUD against values worked out by hand and integrals of a linear dose."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.dose.accumulate import DoseGrid
from rtpipeline.dvh.biology import Biological, Part, bed_gy, eqd2_gy, of_bed, of_one_plan, sum_parts
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import Interpolation, compute_dvh
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.solid import PrismSolid

ROUNDING = 1e-9
SAMPLED = 2e-4
"""Relative: cells and 4096 steps against an integral."""
CHORD = 2e-3
"""Relative: the square of a dose on a grid, interpolated linearly, lies above the square between voxel centres."""


def grid(
    spacing_mm: float = 2.0, half_mm: float = 40.0, centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Grid:
    n = int(2 * half_mm / spacing_mm) + 1
    return Grid(
        origin_xyz_mm=np.array(centre_mm) - half_mm, row_direction=np.array([1.0, 0, 0]),
        column_direction=np.array([0, 1.0, 0]), column_spacing_mm=spacing_mm, row_spacing_mm=spacing_mm,
        plane_offsets_mm=np.arange(n) * spacing_mm, rows=n, columns=n,
    )  # fmt: skip


def linear(on: Grid, at_origin_gy: float, per_mm: float) -> np.ndarray:
    """Dose that rises along x."""
    x = on.origin_xyz_mm[0] + np.arange(on.columns) * on.column_spacing_mm
    return np.broadcast_to(at_origin_gy + per_mm * x, on.shape_zyx).copy()


def box(half_mm: float = 15.0) -> PrismSolid:
    """A cube about the origin: the dose along x is spread evenly from end to end."""
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half_mm
    planes = np.arange(-half_mm + 1.5, half_mm, 3.0)
    return PrismSolid.from_contours([np.c_[square, np.full(4, z)] for z in planes], single_plane_thickness_mm=None)


def one_plan(d0: float, slope: float, fractions: float, alpha_beta: float) -> Biological:
    on = grid()
    return of_one_plan(compute_dvh(box(), DoseVolume(on, linear(on, d0, slope))), fractions, alpha_beta)


@pytest.mark.parametrize(
    ("dose", "fractions", "alpha_beta", "bed", "eqd2"),
    [
        (60.0, 30, 10.0, 72.0, 60.0),  # 2 Gy a fraction is its own EQD2
        (60.0, 30, 3.0, 100.0, 60.0),
        (20.0, 4, 3.0, 160.0 / 3.0, 32.0),
        (54.0, 3, 10.0, 151.2, 126.0),
        (0.0, 5, 3.0, 0.0, 0.0),
    ],
)
def test_the_formulae_give_what_a_hand_gets(
    dose: float, fractions: int, alpha_beta: float, bed: float, eqd2: float
) -> None:
    assert bed_gy(dose, fractions, alpha_beta) == pytest.approx(bed, rel=ROUNDING)
    assert eqd2_gy(dose, fractions, alpha_beta) == pytest.approx(eqd2, rel=ROUNDING)


@pytest.mark.parametrize(("fractions", "alpha_beta"), [(0, 3.0), (5, 0.0), (-1, 3.0), (float("nan"), 3.0)])
def test_without_fractions_or_alpha_beta_there_is_no_formula(fractions: float, alpha_beta: float) -> None:
    with pytest.raises(ValueError, match="need more than 0"):
        bed_gy(10.0, fractions, alpha_beta)


def test_a_uniform_dose_has_one_eqd2() -> None:
    found = one_plan(60.0, 0.0, 20, 3.0)
    expected = 60.0 * (3.0 + 3.0) / (3.0 + 2.0)  # D (d + alpha/beta) / (2 + alpha/beta)
    for value in (found.eqd2.dmin_gy, found.eqd2.dmean_gy, found.eqd2.dmax_gy, found.eqd2.dose_at_volume_pct(95.0)):
        assert value == pytest.approx(expected, rel=1e-6)
    assert found.bed.dmean_gy == pytest.approx(60.0 * 2.0, rel=1e-6)


def test_a_linear_dose_has_the_eqd2_of_its_integral() -> None:
    low, high, n, ab = 20.0, 50.0, 25, 3.0
    found = one_plan(35.0, 1.0, n, ab)
    # mean of D + D^2 / (n ab) for D even from low to high
    bed = (low + high) / 2 + (high**3 - low**3) / (3 * (high - low)) / (n * ab)
    assert found.bed.dmean_gy == pytest.approx(bed, rel=SAMPLED)
    assert found.eqd2.dmean_gy == pytest.approx(bed / (1 + 2 / ab), rel=SAMPLED)
    d95 = low + 0.05 * (high - low)
    assert found.eqd2.dose_at_volume_pct(95.0) == pytest.approx(d95 * (d95 / n + ab) / (2 + ab), rel=SAMPLED)
    assert found.eqd2.volume_at_dose_pct(float(eqd2_gy(40.0, n, ab))) == pytest.approx(100 / 3, rel=2 * SAMPLED)
    assert found.eqd2.volume_cc == found.bed.volume_cc == pytest.approx(27.0)


def test_a_large_alpha_beta_leaves_the_dose_and_bed_is_never_below_it() -> None:
    found = one_plan(35.0, 1.0, 25, 1e9)
    assert found.bed.dmean_gy == pytest.approx(35.0, rel=SAMPLED)
    assert one_plan(35.0, 1.0, 25, 10.0).bed.dmin_gy >= 20.0  # type: ignore[operator]


def test_geud_of_eqd2_with_exponent_one_is_its_mean() -> None:
    found = one_plan(35.0, 1.0, 10, 3.0).eqd2
    assert found.geud_gy(1.0) == pytest.approx(found.dmean_gy, rel=SAMPLED)
    assert found.dmin_gy < found.geud_gy(-10.0) < found.dmean_gy < found.geud_gy(8.0) < found.dmax_gy  # type: ignore[operator]


def test_a_dose_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="need 0 or more"):
        one_plan(10.0, 1.0, 25, 3.0)


def test_a_structure_outside_the_grid_stays_without_numbers() -> None:
    far = grid(centre_mm=(500.0, 0.0, 0.0))
    found = of_one_plan(compute_dvh(box(), DoseVolume(far, linear(far, 10.0, 0.0))), 25, 3.0)
    assert found.eqd2.dmean_gy is None and found.bed.dmax_gy is None


def parts_in_box(parts: list[Part], on: Grid, alpha_beta: float, interpolation: Interpolation = "linear") -> Biological:
    bed = sum_parts(parts, on).bed(alpha_beta)
    return of_bed(compute_dvh(box(), bed, interpolation=interpolation), alpha_beta)


def test_50_gy_in_25_and_20_gy_in_4_are_82_and_not_what_the_physical_total_would_give() -> None:
    coarse, fine = grid(3.0, 45.0), grid(2.0, 40.0)
    parts = [
        Part(DoseGrid(coarse, linear(coarse, 50.0, 0.0)), 25),
        Part(DoseGrid(fine, linear(fine, 20.0, 0.0)), 4),
    ]
    found = parts_in_box(parts, fine, 3.0)
    assert found.eqd2.dmean_gy == pytest.approx(82.0, rel=ROUNDING)
    assert float(eqd2_gy(70.0, 29, 3.0)) == pytest.approx(75.8, abs=0.05)
    assert parts_in_box(parts[::-1], fine, 3.0).eqd2.dmean_gy == pytest.approx(82.0, rel=ROUNDING)


@pytest.mark.parametrize(("interpolation", "tolerance"), [("linear", CHORD), ("cubic", SAMPLED)])
def test_two_linear_plans_on_different_grids_add_up_to_the_integral_of_both(
    interpolation: Interpolation, tolerance: float
) -> None:
    first, second = grid(3.0, 45.0), grid(2.0, 40.0, (1.0, 0.5, -0.5))
    ab, n1, n2 = 3.0, 25, 5
    parts = [
        Part(DoseGrid(first, linear(first, 35.0, 1.0)), n1),
        Part(DoseGrid(second, linear(second, 20.0, -0.8)), n2),
    ]
    found = parts_in_box(parts, second, ab, interpolation)
    x = np.linspace(-15.0, 15.0, 300_001)
    bed = (35 + x) * (1 + (35 + x) / (n1 * ab)) + (20 - 0.8 * x) * (1 + (20 - 0.8 * x) / (n2 * ab))
    assert found.bed.dmean_gy == pytest.approx(bed.mean(), rel=tolerance)
    assert found.bed.dmax_gy == pytest.approx(bed.max(), rel=tolerance)
    assert found.bed.dose_at_volume_pct(90.0) == pytest.approx(np.quantile(bed, 0.1), rel=tolerance)


def test_one_part_on_a_grid_is_the_histogram_of_its_plan() -> None:
    on = grid()
    part = Part(DoseGrid(on, linear(on, 35.0, 1.0)), 25)
    alone = one_plan(35.0, 1.0, 25, 3.0)
    summed = parts_in_box([part], on, 3.0)
    assert summed.eqd2.dmean_gy == pytest.approx(alone.eqd2.dmean_gy, rel=CHORD)
    assert summed.eqd2.dose_at_volume_pct(2.0) == pytest.approx(alone.eqd2.dose_at_volume_pct(2.0), rel=CHORD)


def test_a_stopped_plan_counts_with_the_fractions_it_gave() -> None:
    on = grid()
    planned = DoseGrid(on, linear(on, 60.0, 0.0))
    found = parts_in_box([Part(planned, 20, weight=0.4)], on, 3.0)
    assert found.eqd2.dmean_gy == pytest.approx(24.0 * (3.0 + 3.0) / 5.0, rel=ROUNDING)  # 8 fractions of 3 Gy


def test_a_plan_in_two_halves_of_its_fractions_is_the_plan() -> None:
    on = grid(5.0)
    values = linear(on, 50.0, 0.7)
    whole = sum_parts([Part(DoseGrid(on, values), 25)], on).bed(3.0)
    halves = sum_parts([Part(DoseGrid(on, 0.4 * values), 10), Part(DoseGrid(on, 0.6 * values), 15)], on).bed(3.0)
    assert np.allclose(whole.dose_gy, halves.dose_gy, rtol=ROUNDING)


def test_what_one_part_does_not_know_is_unknown() -> None:
    on, small = grid(), grid(2.0, 20.0)
    summed = sum_parts(
        [Part(DoseGrid(on, linear(on, 50.0, 0.0)), 25), Part(DoseGrid(small, linear(small, 9.0, 0.0)), 3)], on
    )
    assert summed.known is not None
    assert int(summed.known.sum()) == int(np.prod(small.shape_zyx))
    with pytest.raises(ValueError, match="need more than 0"):
        sum_parts([Part(DoseGrid(on, linear(on, 50.0, 0.0)), 0)], on)

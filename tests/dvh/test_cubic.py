"""Curved doses by the cubic spline, against closed forms where the trilinear dose has a floor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import brentq

from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import Interpolation, Sampling, compute_dvh
from rtpipeline.dvh.isodose import isodose_volume_cc
from rtpipeline.geometry.solid import PrismSolid
from tests.dvh.linear_prisms import circle, rotation
from tests.dvh.test_engine import contours_of, dose_on, grid_around, sphere_layers, uniform_planes

GAUSSIAN_PCT = 0.05
"""Promised: 0.2 % where the trilinear dose is off by 0.4, 1.6 and 3.6 % on 1, 2 and 3 mm. Measured: 0.037 % with the
default cells, 0.006 % with three times as many."""

CONTINUED_RTOL = 1e-4
"""The spline feels, one or two voxels from the border of the known, that the dose goes on in a straight line there."""

PEAK_GY, SIGMA_MM = 60.0, 9.7
"""A dose whose curvature is that of a target's: the trilinear one loses 1.6 % of it on a 2 mm grid."""

Point = tuple[float, float, float]


def gaussian(centre: Point, sigma_mm: float = SIGMA_MM) -> Callable[[np.ndarray], np.ndarray]:
    return lambda p: PEAK_GY * np.exp(-0.5 * np.sum((p - np.array(centre)) ** 2, axis=-1) / sigma_mm**2)


def disc_stack(radius_mm: float, spacing_mm: float) -> list[tuple[float, float, float]]:
    """(low, high, radius) of the prisms of a sphere at the origin, contoured every spacing_mm."""
    return [
        (z - 0.5 * spacing_mm, z + 0.5 * spacing_mm, float(np.sqrt(radius_mm**2 - z * z)))
        for z in sphere_layers(radius_mm, spacing_mm, 0.5)
    ]


def volume_within_cc(discs: list[tuple[float, float, float]], distance_mm: float) -> float:
    """Volume of the stack nearer to the origin than distance_mm, by quadrature along z."""
    total = 0.0
    for low, high, radius in discs:
        z = low + (np.arange(400) + 0.5) / 400 * (high - low)
        total += float(np.mean(np.clip(distance_mm**2 - z * z, 0.0, radius**2))) * np.pi * (high - low)
    return total / 1000.0


def sphere_of_discs(radius_mm: float, spacing_mm: float) -> dict[float, list[tuple[float, np.ndarray]]]:
    """Contours of `disc_stack`, with points enough to be circles to 0.002 % of their area."""
    return {
        0.5 * (low + high): [(1.0, circle(radius, n=600))] for low, high, radius in disc_stack(radius_mm, spacing_mm)
    }


def moved(layers: dict[float, list[tuple[float, np.ndarray]]], centre: Point) -> PrismSolid:
    contours = [c + np.array(centre) for c in contours_of(layers)]
    return PrismSolid.from_contours(contours, single_plane_thickness_mm=None)


@pytest.mark.parametrize(("grid_mm", "trilinear_loss_pct"), [(1.0, 0.15), (2.0, 0.7), (3.0, 1.5)])
def test_a_gaussian_dose(grid_mm: float, trilinear_loss_pct: float) -> None:
    centre = (0.37 * grid_mm, 0.21 * grid_mm, -0.4 * grid_mm)
    discs = disc_stack(10.0, 1.0)
    solid = moved(sphere_of_discs(10.0, 1.0), centre)
    dose = dose_on(grid_around(30.0, (grid_mm, grid_mm), uniform_planes(30.0, grid_mm)), gaussian(centre))
    total_cc = volume_within_cc(discs, 20.0)
    worst: dict[Interpolation, float] = {}
    for interpolation in ("cubic", "linear"):
        dvh = compute_dvh(solid, dose, interpolation=interpolation)
        assert dvh.volume_cc == pytest.approx(total_cc, rel=1e-4)
        errors = []
        for pct in (98, 95, 50, 5, 2):
            distance = brentq(lambda d, v=pct / 100.0 * total_cc: volume_within_cc(discs, d) - v, 0.1, 20.0)
            expected = PEAK_GY * np.exp(-0.5 * (distance / SIGMA_MM) ** 2)
            errors.append(100.0 * abs(dvh.dose_at_volume_pct(pct) / expected - 1.0))
        worst[interpolation] = max(errors)
    assert worst["cubic"] < GAUSSIAN_PCT
    assert worst["linear"] > trilinear_loss_pct


@pytest.mark.parametrize("radius_mm", [1.5, 2.0, 3.0, 5.0])
def test_a_stereotactic_gradient_keeps_its_volumes(radius_mm: float) -> None:
    """18 Gy per mm on a 1 mm grid: the trilinear dose loses 2 to 22 % of V20Gy here, the spline less than 2 %."""
    centre = (0.37, 0.22, -0.37)

    def dose_at(p: np.ndarray) -> np.ndarray:
        return 40.0 / (1.0 + np.exp((np.linalg.norm(p - np.array(centre), axis=-1) - radius_mm) * 72.0 / 40.0))

    dose = dose_on(grid_around(20.0, (1.0, 1.0), uniform_planes(20.0, 1.0)), dose_at)
    solid = moved(sphere_layers(9.0, 1.0, 0.5), centre)
    expected_cc = 4.0 / 3.0 * np.pi * radius_mm**3 / 1000.0
    got = compute_dvh(solid, dose, interpolation="cubic").volume_at_dose_cc(20.0)
    assert got == pytest.approx(expected_cc, rel=0.02)
    assert compute_dvh(solid, dose).volume_at_dose_cc(20.0) < expected_cc * (1.0 - 0.018)


def test_a_small_target_in_a_large_organ_needs_no_finer_cells_everywhere() -> None:
    """Cells of half a millimetre beside a gradient of 18 Gy per mm: those there are cut further, the others are not."""
    radius_mm, centre = 2.0, (0.37, 0.22, -0.37)

    def dose_at(p: np.ndarray) -> np.ndarray:
        return 40.0 / (1.0 + np.exp((np.linalg.norm(p - np.array(centre), axis=-1) - radius_mm) * 72.0 / 40.0))

    dose = dose_on(grid_around(26.0, (1.0, 1.0), uniform_planes(26.0, 1.0)), dose_at)
    solid = moved(sphere_layers(22.0, 2.0, 0.5), centre)
    usual = compute_dvh(solid, dose, sampling=Sampling(dose_fraction=0.8), interpolation="cubic")
    fine = compute_dvh(solid, dose, sampling=Sampling(dose_fraction=0.3, max_cells=4_000_000), interpolation="cubic")
    assert fine.n_samples > 10 * usual.n_samples
    for level in (5.0, 12.0, 20.0):
        assert usual.volume_at_dose_cc(level) == pytest.approx(fine.volume_at_dose_cc(level), rel=0.003)
        distance = radius_mm + 40.0 / 72.0 * np.log(40.0 / level - 1.0)
        assert usual.volume_at_dose_cc(level) == pytest.approx(4.0 / 3.0 * np.pi * distance**3 / 1000.0, rel=0.01)
    assert usual.dmean_gy == pytest.approx(fine.dmean_gy, rel=0.001)


@pytest.mark.parametrize("tilt_deg", [0.0, 25.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_peaks_between_voxel_centres_are_found(tilt_deg: float, sign: float) -> None:
    turn = rotation(np.array([1.0, 0.4, 0.2]), tilt_deg)
    grid = grid_around(30.0, (2.0, 2.0), uniform_planes(30.0, 2.0), tuple(np.r_[turn[:, 0], turn[:, 1]].tolist()))
    inside, beyond = (3.1, -2.9, 1.13), (3.1, -2.9, 14.0)
    solid = moved({z: [(1.0, circle(9.0))] for z in (-6.0, -3.0, 0.0, 3.0, 6.0)}, (3.0, -2.0, 0.0))
    for centre, peak_gy in (
        (inside, PEAK_GY),
        # the top of the stack at 7.5 mm is flat: its hottest point is no vertex and no voxel centre
        (beyond, PEAK_GY * np.exp(-0.5 * (6.5 / SIGMA_MM) ** 2)),
    ):
        dose = DoseVolume(grid, 70.0 * (sign < 0) + sign * dose_on(grid, gaussian(centre)).dose_gy)
        dvh = compute_dvh(solid, dose, interpolation="cubic")
        found = dvh.dmax_gy if sign > 0 else dvh.dmin_gy
        assert found == pytest.approx(70.0 * (sign < 0) + sign * peak_gy, abs=2e-4 * PEAK_GY)


def test_the_spline_is_held_at_zero_where_the_grid_has_nothing_below() -> None:
    grid = grid_around(20.0, (2.0, 2.0), uniform_planes(20.0, 2.0))
    values = np.zeros(grid.shape_zyx)
    values[:, :, grid.columns // 2 :] = 50.0
    solid = moved(sphere_layers(12.0, 2.0, 0.5), (0.3, 0.2, 0.1))
    stepped = compute_dvh(solid, DoseVolume(grid, values), interpolation="cubic")
    assert stepped.dmin_gy == 0.0
    assert stepped.dmax_gy == pytest.approx(1.108 * 50.0, rel=0.001)  # the swing of one step, not cut off
    # a difference of doses may be negative; there the spline swings to both sides of the step alike
    difference = compute_dvh(solid, DoseVolume(grid, values - 25.0), interpolation="cubic")
    assert difference.dmin_gy == pytest.approx(-1.108 * 50.0 + 25.0, abs=0.2)
    assert difference.dmax_gy == pytest.approx(1.108 * 50.0 - 25.0, abs=0.2)


def test_the_dose_of_the_known_part_does_not_feel_what_lies_beyond() -> None:
    grid = grid_around(24.0, (2.0, 2.0), uniform_planes(24.0, 2.0))
    known = np.ones(grid.shape_zyx, bool)
    known[:, :, grid.columns // 2 + 4 :] = False
    centre = (-4.3, 1.1, 0.7)
    solid = moved({z: [(1.0, circle(9.0))] for z in (-6.0, -3.0, 0.0, 3.0, 6.0)}, (-3.0, 0.0, 0.0))
    doses = dose_on(grid, gaussian(centre)).dose_gy
    whole = compute_dvh(solid, DoseVolume(grid, doses), interpolation="cubic")
    cut = compute_dvh(solid, DoseVolume(grid, np.where(known, doses, 9e4), known), interpolation="cubic")
    assert cut.coverage_pct == 100.0
    assert (cut.dmin_gy, cut.dmax_gy) == (
        pytest.approx(whole.dmin_gy, rel=CONTINUED_RTOL),
        pytest.approx(whole.dmax_gy),
    )
    for pct in (95, 50, 5):
        assert cut.dose_at_volume_pct(pct) == pytest.approx(whole.dose_at_volume_pct(pct), rel=CONTINUED_RTOL)


@pytest.mark.parametrize("level_gy", [10.0, 30.0, 50.0])
def test_the_volume_inside_an_isodose(level_gy: float) -> None:
    centre = (0.74, 0.42, -0.8)
    dose = dose_on(grid_around(26.0, (2.0, 2.0), uniform_planes(26.0, 2.0)), gaussian(centre))
    distance = SIGMA_MM * np.sqrt(2.0 * np.log(PEAK_GY / level_gy))
    expected_cc = 4.0 / 3.0 * np.pi * distance**3 / 1000.0
    assert isodose_volume_cc(dose, level_gy, "cubic") == pytest.approx(expected_cc, rel=0.003)
    if level_gy > 10.0:
        assert abs(isodose_volume_cc(dose, level_gy, "linear") / expected_cc - 1.0) > 0.01

"""Reading doses and volumes from a curve, gEUD, and the curve that is stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.dvh.curve import (
    CURVE_TOLERANCE_PCT,
    MAX_REGULAR_POINTS,
    N_BINS,
    Dvh,
    graded_edges,
    volume_above,
)


def even_spreads(rows: np.ndarray) -> np.ndarray:
    """(dose, half width, volume) as a sample table with one spread each."""
    return np.c_[rows[:, 0], 2.0 * rows[:, 1], np.zeros(len(rows)), rows[:, 2]]


def dvh_of(samples: np.ndarray) -> Dvh:
    """Histogram of even spreads (dose, half width, volume in cc), all known."""
    dmin, dmax = float((samples[:, 0] - samples[:, 1]).min()), float((samples[:, 0] + samples[:, 1]).max())
    edges, scale = graded_edges(dmin, dmax)
    volumes = volume_above(even_spreads(samples), edges, scale)
    total = float(samples[:, 2].sum())
    return Dvh(
        volume_cc=total, coverage_pct=100.0, dmin_gy=dmin, dmax_gy=dmax,
        dmean_gy=float(samples[:, 0] @ samples[:, 2]) / total, dose_edges_gy=edges, volume_edges_cc=volumes,
        sampling_mm=1.0, n_samples=len(samples), interpolation="linear", end_cap="prism",
    )  # fmt: skip


def ramp_dvh(low: float, high: float, volume: float = 10.0) -> Dvh:
    """Dose spread evenly from low to high."""
    return dvh_of(np.array([[0.5 * (low + high), 0.5 * (high - low), volume]]))


sample_lists = st.lists(
    st.tuples(st.floats(0.0, 80.0), st.floats(0.0, 3.0), st.floats(0.001, 2.0)), min_size=2, max_size=30
)


@settings(deadline=None, max_examples=50)
@given(rows=sample_lists)
def test_every_edge_holds_the_exact_volume_of_evenly_spread_samples(rows: list[tuple[float, float, float]]) -> None:
    samples = np.array(rows)
    low, high = (samples[:, 0] - samples[:, 1]).min(), (samples[:, 0] + samples[:, 1]).max()
    if high - low < 0.1:
        return
    edges, scale = graded_edges(float(low), float(high))
    got = volume_above(even_spreads(samples), edges, scale)
    wide = samples[samples[:, 1] > 1e-5]
    share = np.clip((wide[:, 0] + wide[:, 1] - edges[:, None]) / (2.0 * wide[:, 1]), 0.0, 1.0)
    narrow = samples[samples[:, 1] <= 1e-5]
    # a narrow sample falls within one step; it may be counted at the edge it lies on
    steps_low = (narrow[:, 0] - 1e-4 >= edges[:, None]) @ narrow[:, 2]
    steps_high = (narrow[:, 0] + 1e-4 >= edges[:, None]) @ narrow[:, 2]
    expected = share @ wide[:, 2]
    assert np.all(got >= expected + steps_low - 1e-7) and np.all(got <= expected + steps_high + 1e-7)
    assert np.all(np.diff(got) <= 0.0)


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(st.tuples(st.floats(25.0, 60.0), st.floats(0.1, 6.0), st.floats(0.06, 1.0)), min_size=1, max_size=20)
)
def test_sums_of_two_even_spreads_are_exact_too(rows: list[tuple[float, float, float]]) -> None:
    dose, wide, ratio = np.array(rows).T
    narrow = wide * ratio
    edges, scale = graded_edges(10.0, 80.0)
    got = volume_above(np.c_[dose, wide, narrow, np.ones(len(rows))], edges, scale)
    # the second spread as 200 thin slices of the first
    t = (np.arange(200) + 0.5) / 200.0 - 0.5
    shifted = dose[:, None] + narrow[:, None] * t
    share = np.clip((shifted + 0.5 * wide[:, None] - edges[:, None, None]) / wide[:, None], 0.0, 1.0).mean(axis=2)
    assert np.allclose(got, share.sum(axis=1), atol=2e-5 * len(rows))


def test_the_edges_run_from_minimum_to_maximum_and_are_finest_at_low_dose() -> None:
    edges, _ = graded_edges(0.0, 60.0)
    assert (edges[0], edges[-1], len(edges)) == (0.0, 60.0, N_BINS + 1)
    steps = np.diff(edges)
    assert np.all(steps > 0.0)
    assert steps[0] < 0.002 and steps[-1] < 0.04
    homogeneous, _ = graded_edges(59.0, 61.0)
    assert np.diff(homogeneous).max() < 0.0006


def test_an_even_spread_reads_as_a_straight_line() -> None:
    dvh = ramp_dvh(20.0, 60.0)
    assert dvh.dose_at_volume_pct(100) == 20.0
    assert dvh.dose_at_volume_pct(0) == 60.0
    assert dvh.dose_at_volume_pct(75) == pytest.approx(30.0, abs=1e-6)
    assert dvh.dose_at_volume_cc(2.5) == pytest.approx(50.0, abs=1e-6)
    assert dvh.volume_at_dose_pct(30.0) == pytest.approx(75.0, abs=1e-5)
    assert dvh.volume_at_dose_cc(60.0) == 0.0
    assert dvh.volume_at_dose_cc(19.9) == 10.0
    assert dvh.volume_at_dose_cc(61.0) == 0.0


def test_a_volume_larger_than_the_structure_has_no_dose() -> None:
    dvh = ramp_dvh(20.0, 60.0, volume=0.5)
    assert dvh.dose_at_volume_cc(0.5) == 20.0
    assert dvh.dose_at_volume_cc(1.0) is None
    assert dvh.dose_at_volume_pct(101.0) is None
    with pytest.raises(ValueError, match="volume is -1"):
        dvh.dose_at_volume_cc(-1.0)


@settings(deadline=None)
@given(volume_pct=st.floats(0.5, 99.5))
def test_dose_at_volume_and_volume_at_dose_are_inverse(volume_pct: float) -> None:
    rng = np.random.default_rng(1)
    dvh = dvh_of(np.c_[rng.gamma(3.0, 8.0, 300), rng.uniform(0.1, 2.0, 300), rng.uniform(0.1, 1.0, 300)])
    dose = dvh.dose_at_volume_pct(volume_pct)
    assert dose is not None
    assert dvh.volume_at_dose_pct(dose) == pytest.approx(volume_pct, abs=1e-9)


@pytest.mark.parametrize("a", [-20.0, -1.0, 0.5, 1.0, 3.0, 8.0])
def test_geud_of_an_even_spread_is_the_integral_of_the_power(a: float) -> None:
    low, high = 20.0, 60.0
    if a == -1.0:
        mean_power = np.log(high / low) / (high - low)
    else:
        mean_power = (high ** (a + 1) - low ** (a + 1)) / ((a + 1) * (high - low))
    assert ramp_dvh(low, high).geud_gy(a) == pytest.approx(mean_power ** (1.0 / a), rel=1e-6)


def test_geud_lies_between_minimum_and_maximum_and_grows_with_a() -> None:
    dvh = ramp_dvh(10.0, 70.0)
    values = [dvh.geud_gy(a) for a in (-200.0, -10.0, -1.0, 1.0, 10.0, 200.0)]
    assert values == sorted(values)  # type: ignore[type-var]
    assert values[3] == pytest.approx(dvh.dmean_gy, rel=1e-6)
    assert ramp_dvh(0.0, 70.0).geud_gy(-5.0) == 0.0
    with pytest.raises(ValueError, match="other than 0"):
        dvh.geud_gy(0.0)


CURVES = {
    "bath and target": np.r_[np.c_[np.geomspace(0.05, 40, 400), np.geomspace(0.02, 1, 400), np.ones(400)],
                             np.c_[np.linspace(58, 62, 300), np.full(300, 0.05), np.full(300, 2.0)]],
    "homogeneous": np.c_[59 + np.sin(np.arange(500)), np.full(500, 0.01), np.ones(500)],
    "brachytherapy": np.c_[np.geomspace(2.0, 3000.0, 800), np.geomspace(0.1, 60.0, 800), np.geomspace(5.0, 0.01, 800)],
    "two levels": np.array([[5.0, 0.0, 3.0], [50.0, 0.0, 1.0], [50.0, 0.2, 1.0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", CURVES)
def test_the_stored_curve_gives_back_the_full_one(name: str) -> None:
    dvh = dvh_of(CURVES[name])
    dose, volume = dvh.compact_curve(0.1)
    assert len(dose) <= 1.6 * MAX_REGULAR_POINTS
    assert (dose[0], dose[-1]) == (dvh.dmin_gy, dvh.dmax_gy)
    assert np.all(np.diff(dose) > 0.0) and np.all(np.diff(volume) <= 0.0)
    everywhere = np.linspace(dvh.dmin_gy or 0.0, dvh.dmax_gy or 0.0, 20_011)
    stored = np.interp(everywhere, dose, volume)
    full = np.array([dvh.volume_at_dose_cc(d) for d in everywhere])
    assert np.abs(stored - full).max() <= CURVE_TOLERANCE_PCT / 100.0 * dvh.volume_cc * (1.0 + 1e-9)


def test_the_stored_curve_has_its_regular_points_unless_there_are_too_many() -> None:
    dose, volume = ramp_dvh(20.03, 60.0).compact_curve(0.5)
    assert np.isin(np.arange(41, 120) * 0.5, dose).all()
    assert len(dose) == 81  # a straight line needs no other points
    assert volume[0] == 10.0
    hot = ramp_dvh(0.0, 900.0).compact_curve(0.1)[0]
    assert np.allclose(np.diff(hot), 2.0)  # 0.1, 0.2, 0.5, 1, 2 Gy: 450 points
    with pytest.raises(ValueError, match="step is 0"):
        ramp_dvh(1.0, 2.0).compact_curve(0.0)

"""Intraclass correlations against published tables and by other routes; CoV and QCD by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rtpipeline.robustness.statistics import cov_pct, icc_1_1, icc_a_1, icc_c_1, qcd, quartiles

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)[
    :, :, None
]
"""Table 2 of Shrout and Fleiss 1979: four judges, six targets."""

PUBLISHED_DIGITS = 0.005
"""The paper prints two decimals."""

ROUNDING = 1e-10
"""Relative; the same sums by another route in float64."""

COVERAGE_TOLERANCE = 0.02
"""Four standard errors of a share of 0.95 over 2000 simulated tables."""


@pytest.mark.parametrize(("icc", "printed"), [(icc_1_1, 0.17), (icc_a_1, 0.29), (icc_c_1, 0.71)])
def test_the_table_of_shrout_and_fleiss_gives_the_printed_values(icc, printed):
    assert icc(SHROUT_FLEISS).value[0] == pytest.approx(printed, abs=PUBLISHED_DIGITS)


@pytest.mark.parametrize(
    ("icc", "low", "high"),
    [(icc_1_1, -0.13, 0.72), (icc_a_1, 0.02, 0.76), (icc_c_1, 0.34, 0.95)],
)
def test_its_intervals_are_those_that_the_psych_package_of_r_documents(icc, low, high):
    """Revelle W, psych, manual page of ICC, which prints this very table with two decimals."""
    found = icc(SHROUT_FLEISS)
    assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=PUBLISHED_DIGITS)


def test_the_bounds_are_where_the_f_test_of_the_true_value_is_just_rejected():
    """ICC(1,1) and ICC(C,1): under a true value r the ratio of mean squares is F times (1 + k r / (1 - r))."""
    y = SHROUT_FLEISS[:, :, 0]
    n, k = y.shape
    between = k * y.mean(axis=1).var(ddof=1)
    within = y.var(axis=1, ddof=1).mean()
    residual = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    error = (residual**2).sum() / ((n - 1) * (k - 1))
    for icc, noise, freedom in ((icc_1_1, within, n * (k - 1)), (icc_c_1, error, (n - 1) * (k - 1))):
        found = icc(SHROUT_FLEISS)
        for bound, tail in ((found.low[0], 0.975), (found.high[0], 0.025)):
            scaled = between / noise / (1 + k * bound / (1 - bound))
            assert stats.f.cdf(scaled, n - 1, freedom) == pytest.approx(tail, abs=1e-9)


@pytest.mark.parametrize("icc", [icc_1_1, icc_a_1, icc_c_1])
def test_the_interval_holds_the_true_value_in_95_percent_of_simulated_tables(icc):
    """Two-way random effects with variances 4 (subjects), 1 (states) and 2 (rest); each feature is one table."""
    rng = np.random.default_rng(5)
    n, k, tables = 30, 12, 2000
    states = rng.normal(0, 1, (1, k, tables)) if icc is icc_a_1 else np.zeros((1, k, tables))
    values = rng.normal(0, 2, (n, 1, tables)) + states + rng.normal(0, np.sqrt(2), (n, k, tables))
    truth = 4 / 7 if icc is icc_a_1 else 4 / 6
    found = icc(values)
    inside = ((found.low <= truth) & (truth <= found.high)).mean()
    assert inside == pytest.approx(0.95, abs=COVERAGE_TOLERANCE)
    assert found.value.mean() == pytest.approx(truth, abs=0.03)


@pytest.mark.parametrize("icc", [icc_1_1, icc_a_1, icc_c_1])
def test_states_that_change_nothing_give_one_without_width(icc):
    values = np.repeat(np.random.default_rng(1).normal(100, 20, (5, 1, 3)), 7, axis=1)
    found = icc(values)
    assert np.array_equal([found.value, found.low, found.high], np.ones((3, 3)))


@pytest.mark.parametrize("icc", [icc_1_1, icc_a_1, icc_c_1])
def test_subjects_that_do_not_differ_give_about_zero(icc):
    values = np.random.default_rng(2).normal(10, 1, (200, 8, 5))
    found = icc(values)
    assert found.value == pytest.approx(np.zeros(5), abs=4 * np.sqrt(2 / (200 * 8 * 7)))  # four standard errors
    assert np.all(found.low < found.value)
    assert np.all(found.value < found.high)


def test_a_shift_that_all_subjects_share_is_seen_by_all_but_consistency():
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, (40, 1, 1)) + rng.normal(0, 0.05, (40, 6, 1))
    shifted = values + np.linspace(0, 4, 6)[None, :, None]
    assert icc_c_1(shifted).value[0] == pytest.approx(icc_c_1(values).value[0], rel=ROUNDING)
    assert icc_c_1(shifted).value[0] > 0.99
    assert icc_1_1(values).value[0] > 0.99
    assert icc_1_1(shifted).value[0] < 0.5
    assert icc_a_1(shifted).value[0] < 0.5


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-6, 1.0, -3.0, 1e9]))
def test_unit_and_origin_of_a_feature_change_no_icc(seed, scale):
    values = np.random.default_rng(seed).normal(0, 1, (6, 4, 2)) + np.arange(6)[:, None, None]
    for icc in (icc_1_1, icc_a_1, icc_c_1):
        plain, other = icc(values), icc(scale * (values + 7))
        for name in ("value", "low", "high"):
            assert getattr(other, name) == pytest.approx(getattr(plain, name), rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_estimate_lies_in_its_interval_and_the_order_of_states_and_subjects_is_nothing(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (7, 5, 3)) + rng.normal(0, 2, (7, 1, 3))
    for icc in (icc_1_1, icc_a_1, icc_c_1):
        found = icc(values)
        assert np.all((found.low <= found.value) & (found.value <= found.high))
        shuffled = icc(values[rng.permutation(7)][:, rng.permutation(5)])
        assert shuffled.value == pytest.approx(found.value, rel=ROUNDING, abs=ROUNDING)


@pytest.mark.parametrize("icc", [icc_1_1, icc_a_1, icc_c_1])
@pytest.mark.parametrize("shape", [(0, 4, 2), (1, 4, 2), (5, 1, 2)])
def test_one_subject_or_one_state_gives_nothing(icc, shape):
    found = icc(np.ones(shape))
    assert np.isnan(found.value).all()
    assert found.low.shape == (2,)


@pytest.mark.parametrize("icc", [icc_1_1, icc_a_1, icc_c_1])
def test_a_feature_that_is_the_same_everywhere_has_no_icc_but_for_rounding(icc):
    values = np.full((4, 3, 2), 0.1)
    values[2, 1, 1] = 0.1 + 2e-17 + 1e-15
    assert np.isnan(icc(values).value).all()


def test_cov_and_qcd_by_hand():
    values = np.array([[1.0, 2.0, 3.0, 4.0]])[:, :, None] + 10
    mean, sd = 12.5, np.sqrt(5 / 3)
    assert cov_pct(values)[0, 0] == pytest.approx(100 * sd / mean, rel=ROUNDING)
    assert qcd(values)[0, 0] == pytest.approx((13.25 - 11.75) / (13.25 + 11.75), rel=ROUNDING)
    assert cov_pct(-values)[0, 0] == pytest.approx(100 * sd / mean, rel=ROUNDING)
    assert qcd(-values)[0, 0] == pytest.approx(qcd(values)[0, 0], rel=ROUNDING)


@pytest.mark.parametrize("row", [[-1.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], [0.01, 0.01, 0.01, 5.0], [0.0] * 4])
def test_values_around_zero_or_near_it_have_neither(row):
    values = np.array([row])[:, :, None]
    assert np.isnan(cov_pct(values)[0, 0])
    assert np.isnan(qcd(values)[0, 0])


def test_a_feature_that_does_not_move_has_no_dispersion():
    values = np.full((2, 5, 1), -3.5)
    assert cov_pct(values).tolist() == [[0.0], [0.0]]
    assert qcd(values).tolist() == [[0.0], [0.0]]


def test_quartiles_leave_out_subjects_without_a_value():
    by_subject = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    first, median, third = quartiles(by_subject)
    assert (first[0], median[0], third[0]) == (1.5, 2.0, 2.5)
    assert np.isnan([first[1], median[1], third[1]]).all()

"""Agreement of a feature between perturbation states: intraclass correlations with their intervals, CoV and QCD.

Arrays are (n subjects, k states, f features) without gaps: complete cases are chosen before. All of it is vectorised
over the features.

Sources: Shrout PE, Fleiss JL. Intraclass correlations: uses in assessing rater reliability. Psychol Bull 86 (1979)
420-428; McGraw KO, Wong SP. Forming inferences about some intraclass correlation coefficients. Psychol Methods 1 (1996)
30-46, Tables 4 and 7 (named ICC(1), ICC(A,1) and ICC(C,1) there).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

Array = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of the intervals, two-sided."""

CONSTANT_RELATIVE = 1e-12
"""A feature whose values all agree to this share of their size is a constant: what is left is rounding."""

MIN_MEAN_OVER_RANGE = 0.5
"""A subject's CoV and QCD need a mean of at least this part of the range of its values: below, zero lies so near that
the ratio says where zero is, not how far the feature moves."""


@dataclass(frozen=True)
class Icc:
    """An intraclass correlation of every feature.

    value, low, high: (f,) estimate and its interval; NaN where it is not defined, which is for fewer than two subjects
    or states and for a feature that is the same in all of them.
    """

    value: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class _MeanSquares:
    """Of the two-way layout without replicates: between subjects, within them, between states, and the rest, (f,)."""

    n: int
    k: int
    subjects: Array
    within: Array
    states: Array
    error: Array


def icc_1_1(values: Array) -> Icc:
    """ICC(1,1): one-way random effects. Every difference between states counts as error."""
    found = _mean_squares(values)
    if found is None:
        return _undefined(values)
    n, k = found.n, found.k
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (found.subjects - found.within) / (found.subjects + (k - 1) * found.within)
        ratio = found.subjects / found.within
        return _bounded(values, value, *_by_ratio(ratio, k, n - 1, n * (k - 1)))


def icc_c_1(values: Array) -> Icc:
    """ICC(C,1), Shrout and Fleiss's ICC(3,1): consistency. Blind to a shift that all subjects share."""
    found = _mean_squares(values)
    if found is None:
        return _undefined(values)
    n, k = found.n, found.k
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (found.subjects - found.error) / (found.subjects + (k - 1) * found.error)
        ratio = found.subjects / found.error
        return _bounded(values, value, *_by_ratio(ratio, k, n - 1, (n - 1) * (k - 1)))


def icc_a_1(values: Array) -> Icc:
    """ICC(A,1), Shrout and Fleiss's ICC(2,1): absolute agreement, states as a random sample of states."""
    found = _mean_squares(values)
    if found is None:
        return _undefined(values)
    n, k = found.n, found.k
    rows, states, error = found.subjects, found.states, found.error
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (rows - error) / (rows + (k - 1) * error + k / n * (states - error))
        # Satterthwaite's degrees of freedom of the denominator (McGraw and Wong, Table 7, case 2A)
        a = k * value / (n * (1 - value))
        b = 1 + k * value * (n - 1) / (n * (1 - value))
        freedom = (a * states + b * error) ** 2 / ((a * states) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
        rest = k * states + (k * n - k - n) * error
        f_low = _f_quantile(n - 1, freedom)
        f_high = _f_quantile(freedom, n - 1)
        low = n * (rows - f_low * error) / (f_low * rest + n * rows)
        high = n * (f_high * rows - error) / (rest + n * f_high * rows)
    return _bounded(values, value, low, high)


def _mean_squares(values: Array) -> _MeanSquares | None:
    n, k, _ = values.shape
    if n < 2 or k < 2:
        return None
    centred = values - values.mean(axis=(0, 1))
    by_subject, by_state = centred.mean(axis=1), centred.mean(axis=0)
    within = centred - by_subject[:, None]
    return _MeanSquares(
        n,
        k,
        subjects=k * (by_subject**2).sum(axis=0) / (n - 1),
        within=(within**2).sum(axis=(0, 1)) / (n * (k - 1)),
        states=n * (by_state**2).sum(axis=0) / (k - 1),
        error=((within - by_state) ** 2).sum(axis=(0, 1)) / ((n - 1) * (k - 1)),
    )


def _f_quantile(numerator: Array | float, denominator: Array | float) -> Array:
    return np.asarray(fdtri(numerator, denominator, 0.5 + CONFIDENCE / 2), float)


def _by_ratio(ratio: Array, k: int, above: float, below: float) -> tuple[Array, Array]:
    """Bounds from an F ratio with (above, below) degrees of freedom."""
    low, high = ratio / _f_quantile(above, below), ratio * _f_quantile(below, above)
    return (low - 1) / (low + k - 1), (high - 1) / (high + k - 1)


def _bounded(values: Array, value: Array, low: Array, high: Array) -> Icc:
    """The estimate, 1 with no width where only subjects differ, and NaN for a constant feature."""
    size = np.abs(values).max(axis=(0, 1))
    within = (values.max(axis=1) - values.min(axis=1)).max(axis=0)
    perfect = within <= CONSTANT_RELATIVE * size
    constant = np.ptp(values, axis=(0, 1)) <= CONSTANT_RELATIVE * size
    columns = [np.where(constant, np.nan, np.where(perfect, 1.0, column)) for column in (value, low, high)]
    return Icc(*columns)


def _undefined(values: Array) -> Icc:
    nothing = np.full(values.shape[2], np.nan)
    return Icc(nothing, nothing.copy(), nothing.copy())


def relative_spread_defined(values: Array) -> NDArray[np.bool_]:
    """(n, f) bool: whether CoV and QCD of a subject's feature mean anything.

    False where its values change sign or include zero, and where zero lies near them, see `MIN_MEAN_OVER_RANGE`. True
    for a feature that is the same in every state, unless that is zero.
    """
    lowest, highest = values.min(axis=1), values.max(axis=1)
    one_sign = (lowest > 0) | (highest < 0)
    return one_sign & (np.abs(values.mean(axis=1)) >= MIN_MEAN_OVER_RANGE * (highest - lowest))


def cov_pct(values: Array) -> Array:
    """(n, f) within-subject coefficient of variation, percent: 100 sd / |mean|, sd with k - 1; NaN where undefined."""
    if values.shape[1] < 2:
        return np.full((values.shape[0], values.shape[2]), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 100 * values.std(axis=1, ddof=1) / np.abs(values.mean(axis=1))
    return np.where(relative_spread_defined(values), ratio, np.nan)


def qcd(values: Array) -> Array:
    """(n, f) within-subject quartile coefficient of dispersion, |(Q3 - Q1) / (Q3 + Q1)|; NaN where undefined.

    Bonett DG. Confidence interval for a coefficient of quartile variation. Comput Stat Data Anal 50 (2006) 2953-2957.
    """
    if values.shape[1] < 2:
        return np.full((values.shape[0], values.shape[2]), np.nan)
    first, third = np.percentile(values, [25, 75], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs((third - first) / (third + first))
    return np.where(relative_spread_defined(values), ratio, np.nan)


def quartiles(by_subject: Array) -> tuple[Array, Array, Array]:
    """First quartile, median and third quartile over the subjects that have a value, (f,) each; NaN without any."""
    found = np.full((3, by_subject.shape[1]), np.nan)
    any_value = np.isfinite(by_subject).any(axis=0)
    if any_value.any():
        found[:, any_value] = np.nanpercentile(by_subject[:, any_value], [25, 50, 75], axis=0)
    return found[0], found[1], found[2]

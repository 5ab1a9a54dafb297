"""The dose-volume histogram of one structure: the cumulative curve, and the doses and volumes read from it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rtpipeline.dvh.dose_volume import Interpolation
from rtpipeline.geometry.even_odd import Array
from rtpipeline.kernels import kernel

N_BINS = 4096
"""Steps of the internal curve."""

GRADING = 1e-3
"""The steps grow with the root of the dose above this share of the structure's dose range: low doses get finer ones."""

STEP_SHARE = 1e-7
"""A spread narrower than this share of the structure's dose range is a step."""

NARROW_SHARE = 0.05
"""A second spread narrower than this share of the first only widens it (its own shape would cost digits)."""

SHAPED_SHARE = 1e-4
"""So does any second spread of a sample that is narrower than this share of the structure's dose range."""

CURVE_TOLERANCE_PCT = 0.01
"""A stored curve, read by linear interpolation, is off by no more than this share of the structure's volume."""

MAX_REGULAR_POINTS = 500
"""A stored curve has at most this many points at multiples of its step; the step is coarsened until it holds."""


@dataclass(frozen=True, eq=False)
class Dvh:
    """Cumulative dose-volume histogram of one solid in one dose.

    volume_cc: of the whole solid, whether its dose is known or not. coverage_pct: share of it with known dose. dmin_gy,
    dmax_gy, dmean_gy: of the known part, surface included; None when no dose is known. dose_edges_gy: (n,) ascending,
    from dmin_gy to dmax_gy; volume_edges_cc: (n,) volume that receives at least that dose. Volumes in percent refer to
    volume_cc; where a part is unknown, D and V are therefore lower bounds.
    """

    volume_cc: float
    coverage_pct: float
    dmin_gy: float | None
    dmax_gy: float | None
    dmean_gy: float | None
    dose_edges_gy: Array
    volume_edges_cc: Array
    sampling_mm: float
    n_samples: int
    interpolation: Interpolation
    end_cap: str

    def dose_at_volume_cc(self, volume_cc: float) -> float | None:
        """Dose (Gy) that the hottest `volume_cc` receive at least; None when the known part is smaller than that.

        Raises ValueError for a negative volume.
        """
        if not volume_cc >= 0.0:
            raise ValueError(f"volume is {volume_cc} cc; need 0 or more")
        if len(self.dose_edges_gy) == 0 or volume_cc > self.volume_edges_cc[0]:
            return None
        return float(np.interp(-volume_cc, -self.volume_edges_cc, self.dose_edges_gy))

    def dose_at_volume_pct(self, volume_pct: float) -> float | None:
        """Dose (Gy) that the hottest `volume_pct` percent of the structure receive at least; see dose_at_volume_cc."""
        # the whole volume is the end of the curve itself, not that plus the rounding of a product
        return self.dose_at_volume_cc(min(volume_pct / 100.0, 1.0) * self.volume_cc if volume_pct <= 100.0 else np.inf)

    def volume_at_dose_cc(self, dose_gy: float) -> float:
        """Volume (cc) that is known to receive at least `dose_gy`; 0 where it is truly 0."""
        if len(self.dose_edges_gy) == 0:
            return 0.0
        return float(np.interp(dose_gy, self.dose_edges_gy, self.volume_edges_cc, right=0.0))

    def volume_at_dose_pct(self, dose_gy: float) -> float:
        """Share (%) of the structure that is known to receive at least `dose_gy`."""
        return 100.0 * self.volume_at_dose_cc(dose_gy) / self.volume_cc

    def geud_gy(self, a: float) -> float | None:
        """Generalised equivalent uniform dose (sum of v_i D_i^a)^(1/a) of the known part; None when none is known.

        Niemierko, Med Phys 26:1100 (1999). a = 1 is the mean dose; negative a is used for targets, where a part
        without dose gives 0. Raises ValueError for a = 0.
        """
        if a == 0.0 or not np.isfinite(a):
            raise ValueError(f"gEUD exponent is {a}; need a finite number other than 0")
        if self.dmax_gy is None or self.dmin_gy is None:
            return None
        if self.dmin_gy < 0.0:
            raise ValueError(f"dose goes down to {self.dmin_gy:.6g} Gy; gEUD needs 0 or more")
        if self.dmax_gy == 0.0 or (a < 0.0 and self.dmin_gy == 0.0):
            return 0.0
        # the dose spreads evenly between neighbouring edges; Simpson's rule per step, relative to the maximum
        d = self.dose_edges_gy / self.dmax_gy
        low, high = d[:-1], d[1:]
        volume = self.volume_edges_cc[:-1] - self.volume_edges_cc[1:]
        power = (low**a + 4.0 * (0.5 * (low + high)) ** a + high**a) / 6.0
        total = float(power @ volume) + float(d[-1] ** a * self.volume_edges_cc[-1])
        return float(self.dmax_gy * (total / self.volume_edges_cc[0]) ** (1.0 / a))

    def compact_curve(self, step_gy: float = 0.25) -> tuple[Array, Array]:
        """Doses (Gy) and volumes (cc) of a curve for storage, a few hundred points.

        Points at every multiple of `step_gy` (coarsened 2, 5, 10 ... times until MAX_REGULAR_POINTS suffice) and, where
        those would not do, in between, until linear interpolation gives back the full curve to CURVE_TOLERANCE_PCT of
        the volume. Begins at the minimum and ends at the maximum dose. Raises ValueError for a step that is not > 0.
        """
        if not step_gy > 0.0:
            raise ValueError(f"step is {step_gy} Gy; need more than 0")
        if self.dmin_gy is None or self.dmax_gy is None:
            return np.empty(0), np.empty(0)
        step = _coarsened(step_gy, self.dmax_gy - self.dmin_gy)
        first, last = int(np.floor(self.dmin_gy / step)) + 1, int(np.ceil(self.dmax_gy / step)) - 1
        regular = np.arange(first, last + 1) * step
        dose = np.unique(np.r_[self.dmin_gy, regular, self.dmax_gy])
        full_dose = np.unique(np.r_[self.dose_edges_gy, regular])
        full_volume = np.interp(full_dose, self.dose_edges_gy, self.volume_edges_cc)
        keep = np.isin(full_dose, dose)
        _refine(full_dose, full_volume, keep, CURVE_TOLERANCE_PCT / 100.0 * self.volume_cc)
        return full_dose[keep], full_volume[keep]


def _coarsened(step_gy: float, range_gy: float) -> float:
    factors = (m * 10.0**e for e in range(12) for m in (1.0, 2.0, 5.0))
    return next(step_gy * f for f in factors if range_gy <= step_gy * f * MAX_REGULAR_POINTS)


def _refine(dose: Array, volume: Array, keep: np.ndarray, tolerance: float) -> None:
    """Mark more points in `keep` until linear interpolation between marked ones is within tolerance (Douglas-Peucker
    by the vertical distance)."""
    marked = np.flatnonzero(keep)
    pending = [(a, b) for a, b in pairwise(marked.tolist()) if b - a > 1]
    while pending:
        a, b = pending.pop()
        inner = slice(a + 1, b)
        chord = volume[a] + (volume[b] - volume[a]) * (dose[inner] - dose[a]) / (dose[b] - dose[a])
        off = np.abs(volume[inner] - chord)
        worst = int(np.argmax(off))
        if off[worst] <= tolerance:
            continue
        middle = a + 1 + worst
        keep[middle] = True
        pending.extend((p, q) for p, q in ((a, middle), (middle, b)) if q - p > 1)


def graded_edges(dmin_gy: float, dmax_gy: float) -> tuple[Array, float]:
    """(N_BINS + 1,) doses from minimum to maximum in steps that grow with dose, and the dose scale of that growth."""
    width = dmax_gy - dmin_gy
    scale = max(dmin_gy, GRADING * width)
    root = 1.0 + np.linspace(0.0, 1.0, N_BINS + 1) * (np.sqrt(1.0 + width / scale) - 1.0)
    edges = dmin_gy + scale * (root * root - 1.0)
    edges[0], edges[-1] = dmin_gy, dmax_gy
    return edges, scale


@kernel()
def _step_of(edges: Array, scale: float, steps_per_root: float, dose: float) -> int:
    """Index of the step that holds `dose`; the number of steps for the maximum itself."""
    n = edges.shape[0] - 1
    i = min(max(int((np.sqrt(1.0 + (dose - edges[0]) / scale) - 1.0) * steps_per_root), 0), n)
    while i > 0 and dose < edges[i]:
        i -= 1
    while i < n and dose >= edges[i + 1]:
        i += 1
    return i


@kernel()
def volume_above(samples: Array, edges: Array, scale: float) -> Array:
    """Volume at or above each edge, in the samples' unit; samples as in `sampling.SAMPLE_COLUMNS`.

    The volume of a sample below a dose e is a sum of powers of (e - p) over the corners p of its distribution that lie
    below e: first powers for an even spread, second powers for the sum of two. So a few running sums over the corners
    give all samples at every edge, exactly, and the cost does not grow with the width of a sample.
    """
    n = edges.shape[0] - 1
    low, high = edges[0], edges[n]
    width = high - low
    steps_per_root = n / (np.sqrt(1.0 + width / scale) - 1.0)
    # coefficients of e^0, e^1 and e^2, in shares of the width above the minimum
    powers = np.zeros((n + 1, 3))
    total = 0.0
    for s in range(samples.shape[0]):
        dose, wide, narrow, volume = samples[s, 0], samples[s, 1], samples[s, 2], samples[s, 3]
        total += volume
        outer, inner = 0.5 * (wide + narrow), 0.5 * (wide - narrow)
        if (
            narrow > NARROW_SHARE * wide
            and wide > SHAPED_SHARE * width
            and low <= dose - outer
            and dose + outer <= high
        ):
            strength = volume * width * width / (2.0 * wide * narrow)
            for corner in range(4):
                p = dose + (-outer if corner == 0 else -inner if corner == 1 else inner if corner == 2 else outer)
                k = strength if corner == 0 or corner == 3 else -strength
                i = _step_of(edges, scale, steps_per_root, p)
                share = (p - low) / width
                powers[i, 0] += k * share * share
                powers[i, 1] -= 2.0 * k * share
                powers[i, 2] += k
            continue
        half = 0.5 * np.sqrt(wide * wide + narrow * narrow)
        begin, end = min(max(dose - half, low), high), min(max(dose + half, low), high)
        if end - begin <= STEP_SHARE * width:
            powers[_step_of(edges, scale, steps_per_root, min(max(dose, low), high)), 0] += volume
            continue
        strength = volume * width / (end - begin)
        i = _step_of(edges, scale, steps_per_root, begin)
        powers[i, 0] -= strength * (begin - low) / width
        powers[i, 1] += strength
        i = _step_of(edges, scale, steps_per_root, end)
        powers[i, 0] += strength * (end - low) / width
        powers[i, 1] -= strength
    above = np.empty(n + 1)
    above[0] = total
    c0 = 0.0
    c1 = 0.0
    c2 = 0.0
    for i in range(1, n + 1):
        c0 += powers[i - 1, 0]
        c1 += powers[i - 1, 1]
        c2 += powers[i - 1, 2]
        share = (edges[i] - low) / width
        above[i] = min(max(total - (c0 + share * (c1 + share * c2)), 0.0), above[i - 1])
    return above

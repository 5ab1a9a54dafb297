"""Values of measures, and what they say about constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rtpipeline.dvh.biology import Biological
from rtpipeline.dvh.constraints import Constraint, Result
from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.fractionation import REASONS
from rtpipeline.dvh.measures import NAMES, Measure


@dataclass(frozen=True)
class Histograms:
    """All that a structure's measures are read from, in one dose.

    dvh: None without a volume. coverage_limit_pct: below this part of it inside the known dose only the maximum is
    reported. biological: EQD2 and BED, None for `biological_status`, a key of `fractionation.REASONS`, or '' where no
    alpha/beta is declared. indices: `hi_icru83`, `ci_paddick`, `gi_paddick` as the row of `dvh_metrics` has them.
    """

    dvh: Dvh | None
    coverage_limit_pct: float
    rx_gy: float | None = None
    geud_a: float | None = None
    biological: Biological | None = None
    biological_status: str = ""
    indices: Mapping[str, float | None] | None = None

    @property
    def is_covered(self) -> bool:
        """Whether enough of the dose is known."""
        return self.dvh is not None and self.dvh.coverage_pct >= self.coverage_limit_pct

    def of(self, quantity: str) -> Dvh | None:
        """The histogram of the dose, EQD2 or BED."""
        if quantity == "dose":
            return self.dvh
        return None if self.biological is None else getattr(self.biological, quantity)


@dataclass(frozen=True)
class Reading:
    """A measure's value, or why there is none."""

    value: float | None = None
    reason: str = ""


def read_measure(measure: Measure, histograms: Histograms) -> Reading:
    """The measure's value in its unit (a volume at a dose without unit: %)."""
    if histograms.dvh is None:
        return Reading(reason="no volume")
    if measure.kind == "volume":
        return Reading(histograms.dvh.volume_cc)
    if not histograms.is_covered and measure.kind != "dmax":
        return Reading(reason=f"dose known in {histograms.dvh.coverage_pct:.2f} % of the volume")
    if measure.kind in NAMES:
        return _index(NAMES[measure.kind], histograms)
    dvh = histograms.of(measure.quantity)
    if dvh is None:
        status = histograms.biological_status
        return Reading(reason=REASONS.get(status, status) if status else "no alpha/beta declared")
    return _from_curve(measure, dvh, histograms)


def _index(name: str, histograms: Histograms) -> Reading:
    value = (histograms.indices or {}).get(name)
    if value is not None:
        return Reading(value)
    if histograms.rx_gy is None:
        return Reading(reason="no prescription")
    return Reading(reason="not defined here" if name == "hi_icru83" else "isodose not closed inside the grid, or empty")


def _from_curve(measure: Measure, dvh: Dvh, histograms: Histograms) -> Reading:
    at = measure.at or 0.0
    if measure.kind in ("dmean", "dmax", "dmin"):
        value = getattr(dvh, f"{measure.kind}_gy")
        return Reading(value, "" if value is not None else "outside the dose grid")
    if measure.kind == "geud":
        return _geud(dvh, histograms.geud_a)
    if measure.kind in ("d_pct", "d_cc"):
        value = dvh.dose_at_volume_pct(at) if measure.kind == "d_pct" else dvh.dose_at_volume_cc(at)
        return Reading(value, "" if value is not None else f"smaller than {at:g} cc" if measure.kind == "d_cc" else
                       "dose of the last part not known")  # fmt: skip
    if measure.kind == "v_rx":
        if histograms.rx_gy is None:
            return Reading(reason="no prescription")
        at = at / 100.0 * histograms.rx_gy
    in_cc = dvh.volume_at_dose_cc(at)
    if measure.kind == "cv_gy":
        return Reading(dvh.volume_cc - in_cc)
    return Reading(in_cc if measure.unit == "cc" else dvh.volume_at_dose_pct(at))


def _geud(dvh: Dvh, a: float | None) -> Reading:
    if a is None:
        return Reading(reason="no exponent of gEUD declared")
    if dvh.dmin_gy is not None and dvh.dmin_gy < 0.0:
        return Reading(reason=REASONS["negative_dose"])
    return Reading(dvh.geud_gy(a))


@dataclass(frozen=True)
class Judgement:
    """value: in the limit's unit; None where there is none. reason: '' unless it is not evaluable."""

    result: Result
    value: float | None
    reason: str = ""


def judge(constraint: Constraint, histograms: Histograms, doubt: str = "") -> Judgement:
    """Whether a structure keeps to a constraint.

    Parameters
    ----------
    doubt: why the dose is not the dose that the constraint is meant for, '' where it is.
    """
    reading = read_measure(constraint.measure, histograms)
    value, reason = reading.value, reading.reason
    if value is not None and constraint.unit == "% of Rx":
        reason = "" if histograms.rx_gy else "no prescription"
        value = 100.0 * value / histograms.rx_gy if histograms.rx_gy else None
    if value is None:
        return Judgement("not_evaluable", None, reason)
    if doubt:
        return Judgement("not_evaluable", value, doubt)
    holds = constraint.holds(value)
    if constraint.measure.kind == "dmax" and not histograms.is_covered and (holds or not constraint.is_upper):
        # what is not known may be higher: the maximum of the known part can only prove that a limit is exceeded
        coverage = histograms.dvh.coverage_pct if histograms.dvh else 0.0
        return Judgement("not_evaluable", value, f"maximum of the known {coverage:.2f} % of the volume")
    return Judgement("pass" if holds else "fail", value)

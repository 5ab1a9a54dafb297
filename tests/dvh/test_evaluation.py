"""Values and verdicts of an even spread of dose, 20 to 60 Gy in 100 cc, all worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rtpipeline.dvh.biology import of_one_plan
from rtpipeline.dvh.constraints import Constraint
from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.evaluation import Histograms, Judgement, judge, read_measure
from rtpipeline.dvh.measures import parse_measure

EDGES = np.linspace(20.0, 60.0, 401)
EVEN = Dvh(
    volume_cc=100.0, coverage_pct=100.0, dmin_gy=20.0, dmax_gy=60.0, dmean_gy=40.0, dose_edges_gy=EDGES,
    volume_edges_cc=np.linspace(100.0, 0.0, 401), sampling_mm=1.0, n_samples=1, interpolation="linear", end_cap="prism",
)  # fmt: skip
FULL = Histograms(
    EVEN, 99.5, rx_gy=50.0, geud_a=1.0, biological=of_one_plan(EVEN, 20, 3.0), biological_status="ok",
    indices={"hi_icru83": 0.1, "ci_paddick": None, "gi_paddick": 3.0},
)  # fmt: skip
PARTLY = replace(FULL, dvh=replace(EVEN, coverage_pct=97.0))


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("mean", 40.0), ("max", 60.0), ("min", 20.0), ("D95%", 22.0), ("D25cc", 50.0), ("V30Gy[%]", 75.0),
        ("V30Gy[cc]", 75.0), ("V100%", 25.0), ("V90%[cc]", 37.5), ("CV30Gy", 25.0), ("volume", 100.0), ("gEUD", 40.0),
        ("HI", 0.1), ("GI", 3.0), ("EQD2 max", 60.0 * (3.0 + 3.0) / 5.0), ("BED min", 20.0 * (1 + 1 / 3)),
        ("EQD2 V72Gy[cc]", 0.0), ("EQD2 V16Gy", 100.0),
    ],
)  # fmt: skip
def test_measures_of_an_even_spread(metric: str, value: float) -> None:
    assert read_measure(parse_measure(metric), FULL).value == pytest.approx(value, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("metric", "histograms", "reason"),
    [
        ("mean", Histograms(None, 99.5), "no volume"),
        ("mean", PARTLY, "dose known in 97.00 % of the volume"),
        ("EQD2 mean", PARTLY, "dose known in 97.00 % of the volume"),
        ("D200cc", FULL, "smaller than 200 cc"),
        ("V95%", replace(FULL, rx_gy=None), "no prescription"),
        ("HI", replace(FULL, rx_gy=None, indices={}), "no prescription"),
        ("CI", FULL, "isodose not closed inside the grid, or empty"),
        ("gEUD", replace(FULL, geud_a=None), "no exponent of gEUD declared"),
        ("gEUD", replace(FULL, dvh=replace(EVEN, dmin_gy=-0.1)), "doses below 0"),
        ("EQD2 mean", replace(FULL, biological=None, biological_status=""), "no alpha/beta declared"),
        ("BED max", replace(FULL, biological=None, biological_status="permanent_implant"), "permanent implant"),
    ],
)
def test_what_cannot_be_read_has_a_reason(metric: str, histograms: Histograms, reason: str) -> None:
    found = read_measure(parse_measure(metric), histograms)
    assert (found.value, found.reason) == (None, reason)


def bound(metric: str, sign: str, limit: float, unit: str = "Gy") -> Constraint:
    return Constraint(1, "PTV", parse_measure(metric), sign, limit, unit)  # type: ignore[arg-type]


def test_a_constraint_passes_or_fails_with_its_value() -> None:
    assert judge(bound("mean", "<", 41.0), FULL) == Judgement("pass", 40.0)
    assert judge(bound("mean", "<", 40.0), FULL) == Judgement("fail", 40.0)
    assert judge(bound("V30Gy[%]", ">=", 75.0, "%"), FULL) == Judgement("pass", pytest.approx(75.0))


def test_a_dose_in_percent_is_a_share_of_the_prescription() -> None:
    assert judge(bound("max", "<=", 107.0, "% of Rx"), FULL) == Judgement("fail", pytest.approx(120.0))
    unknown = judge(bound("max", "<=", 107.0, "% of Rx"), replace(FULL, rx_gy=None))
    assert unknown == Judgement("not_evaluable", None, "no prescription")


def test_a_dose_of_a_part_of_the_course_is_shown_and_not_judged() -> None:
    assert judge(bound("mean", "<", 41.0), FULL, "ambiguous") == Judgement("not_evaluable", 40.0, "ambiguous")


def test_the_known_maximum_can_only_prove_that_a_limit_is_exceeded() -> None:
    assert judge(bound("max", "<", 55.0), PARTLY) == Judgement("fail", 60.0)
    for constraint in (bound("max", "<", 65.0), bound("max", ">", 65.0), bound("max", ">", 55.0)):
        found = judge(constraint, PARTLY)
        assert (found.result, found.value) == ("not_evaluable", 60.0)
        assert "97.00 %" in found.reason

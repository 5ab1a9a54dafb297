"""Doses of one fraction and doses in cGy are told by the plan's prescription."""

from __future__ import annotations

import pytest

from rtpipeline.dose.scale import Prescribed, check_scale


def plan(rx: float | None = 50.0, fractions: int | None = 25, beams: float | None = None, brachy: bool = False):
    return Prescribed(rx, fractions, beams, brachy)


CASES = {
    "a plan that fits": (53.0, plan(), 1, "fits"),
    "a stereotactic plan prescribed to 60 % of its maximum": (33.0, plan(20.0, 1), 1, "fits"),
    "one fraction of 25": (2.12, plan(), 1, "per_fraction"),
    "one fraction of 2": (10.6, plan(20.0, 2), 1, "per_fraction"),
    "one fraction of 1 is the whole": (21.0, plan(20.0, 1), 1, "fits"),
    "half the prescription and 25 fractions fit neither way": (25.0, plan(), 1, "implausible"),
    "centigray": (5300.0, plan(), 1, "centigray"),
    "three times the prescription": (170.0, plan(), 1, "implausible"),
    "Pinnacle: FRACTION with the total, BeamDose nonsense": (61.45, plan(None, 10, 10.8), 1, "unknown"),
    "no prescription, beam doses fit": (49.9, plan(None, 25, 39.9), 1, "unknown"),
    "no prescription, beam doses say one fraction": (2.1, plan(None, 25, 50.0), 1, "per_fraction"),
    "no prescription, few fractions: beam doses prove nothing": (20.0, plan(None, 3, 60.0), 1, "unknown"),
    "no prescription, centigray against beam doses": (5300.0, plan(None, 25, 50.0), 1, "centigray"),
    "nothing known": (53.0, plan(None, None, None), 1, "unknown"),
    "nothing known, 5300": (5300.0, plan(None, None, None), 1, "centigray"),
    "centigray beside a prescription in centigray": (5300.0, plan(5000.0), 1, "centigray"),
    "fractions unknown": (2.12, plan(50.0, None), 1, "implausible"),
    "brachytherapy, next to a source": (2043.0, plan(16.0, 1, 16.0, True), 1, "unknown"),
    "session, multiplied": (53.0, plan(), 25, "fits"),
    "session with the total, multiplied": (1325.0, plan(), 25, "session_total"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict(case):
    max_gy, prescribed, factor, verdict = CASES[case]
    found = check_scale(max_gy, prescribed, factor=factor)
    assert found.verdict == verdict
    assert found.refused == (verdict in ("per_fraction", "centigray", "session_total"))


@pytest.mark.parametrize("rx", [5.0, 20.0, 50.0, 78.0])
@pytest.mark.parametrize("fractions", [2, 5, 25, 39])
@pytest.mark.parametrize("hot", [0.95, 1.07, 1.3])
def test_the_whole_dose_fits_and_its_fraction_and_centigray_do_not(rx, fractions, hot):
    """The law behind the cases, for any prescription with a maximum of 95 to 130 % of it."""
    prescribed = plan(rx, fractions)
    assert check_scale(rx * hot, prescribed).verdict == "fits"
    assert check_scale(rx * hot / fractions, prescribed).verdict == "per_fraction"
    assert check_scale(rx * hot * 100, prescribed).verdict == "centigray"

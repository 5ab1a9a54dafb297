"""Histograms that planning systems stored with real doses: ours differ by reasons that can be named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import tps_dvh

LARGE_CC = 100.0
AGREEMENT_PCT = 1.5
"""Of organs of more than 100 cc: volume and doses between mean and maximum, whatever closes their ends."""


@pytest.mark.data
def test_organs_agree_and_every_other_difference_has_a_reason(shared_data: Path, monkeypatch):
    monkeypatch.setattr(tps_dvh, "print", lambda *_: None, raising=False)
    cases = list(tps_dvh.cases(shared_data / "dicompyler-core"))
    assert len(cases) == 9
    for case in cases:
        for quantity, theirs, literal, shaped, why in tps_dvh.compare(case):
            assert why != "unexplained", (case.name, quantity)
            is_steady = quantity in ("volume cc", "Dmean Gy", "D5 Gy", "D2 Gy", "Dmax Gy")
            if case.ours["prism linear"].volume_cc > LARGE_CC and literal is not None and is_steady:
                if why:  # BODY: the system leaves out what receives less than half a bin
                    assert case.name == "BODY"
                    continue
                for ours in (literal, shaped):
                    assert ours == pytest.approx(theirs, rel=AGREEMENT_PCT / 100.0), (case.name, quantity)

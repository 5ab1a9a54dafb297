from __future__ import annotations

import pytest

from rtpipeline.contracts.findings import Finding, Severity, catalogue, finding, worst


@pytest.mark.parametrize("code", list(catalogue()))
def test_every_code_says_what_is_expected_what_happens_and_what_to_do(code):
    entry = catalogue()[code]
    assert entry.code == code
    assert all((entry.title, entry.expected, entry.action, entry.remedy))


def test_an_undeclared_code_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        finding("NO_SUCH_CODE", "x", 1)


def test_a_finding_survives_its_row():
    made = (
        finding("SS_TINY", "rs-01 ROI 3 'Eye'", "0.05 cc", severity="I")
        .for_course("p1-c01", "p1")
        .from_stage("structures")
    )
    assert Finding.from_row(made.row()) == made
    assert made.severity is Severity.INFO
    assert made.from_stage("dvh").stage == "structures"


def test_the_worst_severity():
    assert worst([]) is None
    assert worst([finding("SS_HOLE", "x", 1), finding("SS_TINY", "x", 1)]) is Severity.WARNING

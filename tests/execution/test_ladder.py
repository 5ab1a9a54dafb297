"""What follows from the way an attempt ended."""

from __future__ import annotations

import signal

import pytest

from rtpipeline.config import parse_config
from rtpipeline.contracts.findings import catalogue
from rtpipeline.execution.ladder import (
    FINDING_CODES,
    Again,
    Ending,
    GivenUp,
    after,
    expected_mib,
    items_end_s,
    timeout_s,
)
from rtpipeline.stages import STAGES, Resources, Retry, Stage

STAGE = Stage(
    "s", "course", "course", "m:f", 1, Resources(1, 1, (100, 300), 60.0), retry=Retry(limit=3, backoff_s=2, factor=3)
)
CONFIG = parse_config({"execution": {"retries": 3}})
KILLED = Ending(signal=signal.SIGKILL)


@pytest.mark.parametrize(
    ("ending", "cause"),
    [
        (Ending(exit_code=0, has_record=True), None),
        (Ending(exit_code=3, has_record=True), None),
        (Ending(exit_code=70, has_record=True), None),
        (Ending(exit_code=0), "fault"),
        (Ending(exit_code=70), "fault"),
        (Ending(exit_code=1, has_record=True), "fault"),
        (Ending(exit_code=2), "fault"),
        (Ending(exit_code=75, note="memory"), "memory"),
        (Ending(exit_code=75, note="transient"), "transient"),
        (Ending(exit_code=75), "transient"),
        (KILLED, "memory"),
        (Ending(signal=signal.SIGBUS), "transient"),
        (Ending(signal=signal.SIGTERM), "transient"),
        (Ending(signal=signal.SIGSEGV), "fault"),
        (Ending(signal=signal.SIGKILL, timed_out=True), "timeout"),
        (Ending(lost=True), "transient"),
    ],
)
def test_the_cause_of_an_ending(ending, cause):
    assert ending.cause == cause


def test_an_attempt_after_memory_ran_out_waits_longer_each_time_and_climbs():
    assert after(STAGE, CONFIG, 1, 0, KILLED) == Again(2.0, 1)
    assert after(STAGE, CONFIG, 2, 1, KILLED) == Again(6.0, 2)
    assert after(STAGE, CONFIG, 3, 2, KILLED) == Again(18.0, 3)
    assert after(STAGE, CONFIG, 4, 3, KILLED) == GivenUp(
        "memory", "failed", "memory ran out (killed by SIGKILL; 1200 MiB expected, 4 attempts)"
    )


def test_a_transient_failure_stays_on_its_rung():
    assert after(STAGE, CONFIG, 1, 1, Ending(exit_code=75)) == Again(2.0, 1)


def test_the_smaller_of_table_and_configuration_limits_the_attempts():
    assert isinstance(after(STAGE, parse_config({"execution": {"retries": 9}}), 4, 0, KILLED), GivenUp)
    assert isinstance(after(STAGE, parse_config({"execution": {"retries": 1}}), 2, 0, KILLED), GivenUp)


@pytest.mark.parametrize("ending", [Ending(exit_code=1), Ending(signal=signal.SIGKILL, timed_out=True, wall_s=60)])
def test_faults_and_time_limits_are_not_tried_again(ending):
    verdict = after(STAGE, CONFIG, 1, 0, ending)
    assert isinstance(verdict, GivenUp)
    assert verdict.status == ("timeout" if ending.timed_out else "failed")


def test_the_ladder_doubles_beyond_its_top():
    assert [expected_mib(STAGE, rung) for rung in range(5)] == [100, 300, 600, 1200, 2400]


def test_the_configuration_sets_a_time_limit():
    assert timeout_s(STAGES["dvh"], parse_config({})) == STAGES["dvh"].resources.timeout_s
    assert timeout_s(STAGES["dvh"], parse_config({"timeouts": {"stage_s": {"dvh": 5}}})) == 5.0


def test_items_end_before_their_stage():
    stage = STAGES["segmentation"]
    assert items_end_s(stage.name, parse_config({}), 50.0) == 50.0 + timeout_s(stage, parse_config({})) - 600.0
    assert items_end_s(stage.name, parse_config({"timeouts": {"stage_s": {"segmentation": 100}}}), 50.0) == 140.0


def test_every_cause_has_a_finding():
    assert set(FINDING_CODES.values()) <= set(catalogue())

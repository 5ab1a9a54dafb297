"""Who may start: slots, CPUs, pools, memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtpipeline.config import parse_config
from rtpipeline.execution.admission import FLOOR_MIB, MACHINE, POOL, Admission, Grant, Limits, ends_at_once
from rtpipeline.stages import STAGES, Resources, Stage

ONE = Stage("one", "course", "course", "m:f", 1, Resources(cpu=1, threads=1, memory_mib=(1000, 2000), timeout_s=1))
MANY = replace(ONE, name="many", resources=Resources(cpu=4, threads=1, memory_mib=(1000, 2000), timeout_s=1))
NETWORK = replace(
    ONE, name="network", pool="seg_workers", resources=Resources(cpu=4, threads=4, memory_mib=(4000,), timeout_s=1)
)


def admission(slots=8, cpus=8, memory_mib=100_000, free_mib=100_000, pools=None) -> Admission:
    return Admission(Limits(slots, cpus, memory_mib, pools or {"seg_workers": 1}), lambda: free_mib)


def start(to: Admission, *stages: Stage, threads: int | None = None, rung: int = 0, waiting: int = 1):
    return [to.start(i, s, threads or s.resources.threads, rung, waiting) for i, s in enumerate(stages, to.running)]


def test_no_more_stages_than_slots():
    gate = admission(slots=2)
    assert start(gate, ONE, ONE, ONE)[2] == MACHINE
    gate.end(0)
    assert isinstance(gate.start("next", ONE, 1, 0), Grant)


def test_no_more_cpus_than_there_are():
    granted = start(admission(cpus=3), ONE, ONE, ONE, ONE)
    assert [g if isinstance(g, str) else g.cpus for g in granted] == [1, 1, 1, MACHINE]


def test_one_stage_always_runs_however_little_there_is():
    gate = admission(slots=1, cpus=1, memory_mib=100, free_mib=10)
    assert start(gate, NETWORK) == [Grant(cpus=1, workers=1, memory_mib=4000)]
    assert start(gate, ONE) == [MACHINE]


def test_what_is_promised_to_all_stays_under_the_memory_of_the_container():
    assert start(admission(memory_mib=2500), ONE, ONE, ONE)[2] == MACHINE


def test_memory_that_others_use_is_not_given_away():
    assert start(admission(free_mib=900), ONE, ONE)[1] == MACHINE


def test_a_pool_is_full_before_the_machine_is():
    gate = admission(cpus=16, pools={"seg_workers": 2})
    assert start(gate, NETWORK, NETWORK, NETWORK, ONE)[2:3] == [POOL]
    assert gate.running == 3


def test_a_stage_with_processes_of_its_own_takes_what_would_lie_idle():
    assert start(admission(cpus=16), MANY) == [Grant(16, 16, 1000)]
    assert start(admission(cpus=16), MANY, waiting=2) == [Grant(8, 8, 1000)]
    assert start(admission(cpus=16), MANY, waiting=100) == [Grant(4, 4, 1000)]


def test_a_stage_with_processes_of_its_own_makes_do_with_half_but_not_with_less():
    gate = admission(cpus=4)
    assert start(gate, ONE, ONE, MANY)[2] == Grant(2, 2, 1000)
    gate = admission(cpus=4)
    assert start(gate, ONE, ONE, ONE, MANY)[3] == MACHINE


def test_processes_times_threads_never_exceed_the_cpus():
    assert start(admission(cpus=16), MANY, threads=4) == [Grant(4, 1, 1000)]
    wide = replace(MANY, resources=replace(MANY.resources, cpu=8))
    assert start(admission(cpus=16), wide, threads=3) == [Grant(16, 5, 1000)]


def test_a_stage_of_one_process_gets_its_threads_and_no_more():
    assert start(admission(cpus=16), NETWORK) == [Grant(4, 1, 4000)]
    assert start(admission(cpus=16), NETWORK, threads=8) == [Grant(8, 1, 4000)]


def test_peaks_of_the_cohort_replace_the_ladder_once_there_are_enough():
    gate = admission()
    for _ in range(2):
        gate.observe("one", 4000)
    assert gate.expected(ONE, 0) == 1000
    gate.observe("one", 2000)
    assert gate.expected(ONE, 0) == 5000, "a quarter above the largest"
    assert gate.expected(MANY, 0) == 1000, "of another stage"


def test_a_small_peak_is_raised_to_the_floor_and_never_lowers_a_rung_after_memory_ran_out():
    gate = admission()
    for _ in range(3):
        gate.observe("one", 10)
    assert gate.expected(ONE, 0) == FLOOR_MIB
    assert gate.expected(ONE, 1) == 2000
    assert gate.expected(ONE, 2) == 4000, "beyond the ladder it doubles"


def test_a_pool_is_hungry_until_one_more_waits_than_it_has_places():
    gate = admission(pools={"seg_workers": 1})
    assert [gate.is_hungry("seg_workers", queued) for queued in range(3)] == [True, True, False]
    start(gate, NETWORK)
    assert [gate.is_hungry("seg_workers", queued) for queued in range(2)] == [True, False]


def test_a_disabled_stage_needs_neither_pool_nor_cpus():
    gate = admission(cpus=8)
    start(gate, NETWORK)
    assert gate.start("light", NETWORK, 1, 0, light=True) == Grant(1, 1, FLOOR_MIB)


@pytest.mark.parametrize("stage", ["dvh", "segmentation", "custom_models", "radiomics", "qc"])
def test_a_stage_switched_off_in_the_configuration_ends_at_once(stage):
    off = parse_config({stage: {"enabled": False}})
    assert ends_at_once(replace(STAGES[stage], entry="m:f"), off)
    assert not ends_at_once(replace(STAGES[stage], entry="m:f"), parse_config({}))


def test_robustness_is_switched_off_by_its_own_section():
    stage = replace(STAGES["robustness"], entry="m:f")
    assert ends_at_once(stage, parse_config({"radiomics_robustness": {"enabled": False}}))
    assert not ends_at_once(stage, parse_config({"radiomics": {"enabled": False}}))


def test_the_limits_are_those_of_container_and_configuration(monkeypatch):
    from rtpipeline.execution import environment

    monkeypatch.setattr(environment, "available_cpus", lambda: 16)
    monkeypatch.setattr(environment, "memory_limit_mib", lambda: 32_000)
    limits = Limits.of(parse_config({"workers": 8, "execution": {"memory_limit_mib": 8000}}))
    assert (limits.slots, limits.cpus, limits.memory_mib) == (8, 16, 8000)
    assert Limits.of(parse_config({"execution": {"memory_limit_mib": 64_000}})).memory_mib == 32_000

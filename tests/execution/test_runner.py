"""The runner with toy stages: order, failures, retries, limits."""

from __future__ import annotations

import os
import signal

import pytest

from rtpipeline.errors import ExitCode
from rtpipeline.execution import environment
from rtpipeline.stages import STAGES

COURSES = ("p1-c01", "p2-c01")
EVERY_STAGE = ("prepare_images", "prepare_rt", "segmentation", "structures", "dvh", "radiomics", "qc")
DONE = dict.fromkeys(EVERY_STAGE, "done")


def test_every_course_stage_runs_once_and_after_what_it_waits_for(toys):
    summary = toys.run()
    assert summary.exit_code == ExitCode.DONE
    assert dict(toys.attempts()) == {f"{c}/{s}": 1 for c in COURSES for s in EVERY_STAGE}
    at = {(e["task"], e["what"]): e["at"] for e in toys.trace()}
    for course in COURSES:
        for name in EVERY_STAGE:
            for before in STAGES[name].upstream:
                assert at[f"{course}/{before}", "end"] <= at[f"{course}/{name}", "start"]


def test_running_again_computes_nothing_but_the_tables(toys):
    first = toys.run()
    again = toys.run()
    assert dict(toys.attempts(cohort_stages=True)) == {"/aggregation": 1}
    assert toys.digests(again) == toys.digests(first)
    assert again.run_id > first.run_id


def test_the_number_of_workers_changes_no_result(toys, tmp_path):
    several = toys.digests(toys.run({"workers": 2}))
    (tmp_path / "store").rename(tmp_path / "first")
    one = toys.run({"workers": 1})
    running = 0
    for event in toys.trace():
        running += 1 if event["what"] == "start" else -1
        assert running <= 1
    assert toys.digests(one) == several


def test_each_stage_has_a_process_group_of_its_own_and_no_descriptor_of_the_server(toys):
    toys.run()
    starts = [e for e in toys.trace() if e["what"] == "start"]
    assert all(e["group"] == e["pid"] for e in starts)
    assert len({e["pid"] for e in starts}) == len(starts)
    assert max(e["descriptors"] for e in starts) <= 5, "stdin, stdout, stderr, the trace and the listing itself"


def test_a_failed_soft_dependency_costs_nothing_behind_it(toys):
    toys.behave(p1__segmentation=["fault"])
    summary = toys.run()
    assert summary.exit_code == ExitCode.SOME_COURSES_FAILED
    assert toys.statuses(summary, "p1-c01") == {**DONE, "segmentation": "fault"}
    assert toys.statuses(summary, "p2-c01") == DONE
    assert [(f.course_id, f.stage, f.status) for f in summary.failures] == [("p1-c01", "segmentation", "fault")]
    assert summary.results is not None


def test_without_a_hard_dependency_a_stage_is_omitted_with_the_reason(toys):
    toys.behave(p1__prepare_rt=["fault"])
    summary = toys.run()
    plan = toys.plan(summary)
    assert plan["p1-c01", "structures"] | {"key": "", "folder": ""} == {
        "key": "",
        "folder": "",
        "status": "omitted",
        "reason": "prepare_rt fault",
    }
    omitted = dict.fromkeys(("structures", "dvh", "radiomics"), "omitted")
    assert toys.statuses(summary, "p1-c01") == {**DONE, "prepare_rt": "fault", **omitted}
    assert toys.statuses(summary, "p2-c01") == DONE
    assert summary.courses == {"total": 2, "done": 1, "failed": 1, "not_reached": 0, "incomplete": 0}


@pytest.mark.parametrize("ending", ["not_applicable", "not_run"])
def test_structures_run_although_the_course_has_no_image(toys, ending):
    toys.behave(p1__prepare_images=[ending])
    summary = toys.run()
    statuses = toys.statuses(summary, "p1-c01")
    assert statuses.pop("prepare_images") == ending
    assert set(statuses.values()) == {"done"}
    assert summary.exit_code == ExitCode.DONE


@pytest.mark.parametrize("ending", ["data", "data_error"])
def test_behind_a_data_error_hard_dependants_are_omitted_and_the_other_courses_go_on(toys, ending):
    toys.behave(p1__prepare_images=[ending])
    summary = toys.run()
    statuses = toys.statuses(summary, "p1-c01")
    assert statuses["prepare_images"] == "data_error"
    assert {statuses[name] for name in ("structures", "dvh", "radiomics")} == {"omitted"}
    assert statuses["prepare_rt"] == "done"
    assert toys.statuses(summary, "p2-c01") == DONE
    assert summary.exit_code == ExitCode.SOME_COURSES_FAILED


def test_a_killed_stage_is_tried_again_one_rung_up_the_memory_ladder(toys):
    toys.behave(p1__dvh=["kill", "kill"])
    summary = toys.run()
    assert summary.exit_code == ExitCode.DONE
    assert toys.attempts()["p1-c01/dvh"] == 3
    events = [e for e in toys.ledger(summary) if e.get("course") == "p1-c01" and e.get("stage") == "dvh"]
    assert [e["event"] for e in events] == ["started", "retried", "started", "retried", "started", "ended"]
    assert [e["memory_mib"] for e in events if e["event"] == "started"] == [600, 1200, 2400]
    assert [e["ending"] for e in events if "ending" in e] == ["killed by SIGKILL", "killed by SIGKILL", "exit 0"]


def test_a_stage_that_says_it_is_transient_stays_on_its_rung(toys):
    toys.behave(p1__dvh=["transient", "memory"])
    summary = toys.run()
    started = [e for e in toys.ledger(summary) if (e["event"], e.get("stage")) == ("started", "dvh")]
    assert [e["memory_mib"] for e in started if e["course"] == "p1-c01"] == [600, 600, 1200]


@pytest.mark.parametrize(
    ("action", "code"), [("kill", "RES_MEMORY"), ("memory", "RES_MEMORY"), ("transient", "RES_TRANSIENT")]
)
def test_when_the_attempts_are_used_up_the_reason_is_a_finding(toys, action, code):
    toys.behave(p1__structures=[action] * 9)
    summary = toys.run()
    entry = toys.plan(summary)["p1-c01", "structures"]
    assert toys.attempts()["p1-c01/structures"] == 3
    assert (entry["status"], entry["finding"]["code"]) == ("failed", code)
    assert entry["finding"] | {"measured": ""} == entry["finding"] | {
        "measured": "",
        "course_id": "p1-c01",
        "patient_id": "p1",
        "stage": "structures",
        "severity": "E",
    }
    assert toys.statuses(summary, "p1-c01")["dvh"] == "omitted"
    assert summary.findings["E"] == 1


def test_what_was_given_up_is_tried_again_by_the_next_run(toys):
    toys.behave(p1__structures=["kill"] * 3)
    assert toys.run().exit_code == ExitCode.SOME_COURSES_FAILED
    toys.behave()
    summary = toys.run()
    assert summary.exit_code == ExitCode.DONE
    assert set(toys.attempts()) == {f"p1-c01/{s}" for s in ("structures", "dvh", "radiomics", "qc")}


def test_the_configuration_limits_the_retries(toys):
    toys.behave(p1__dvh=["kill"] * 9)
    toys.run({"execution": {"retries": 0}})
    assert toys.attempts()["p1-c01/dvh"] == 1


@pytest.mark.parametrize("action", ["fault", "data"])
def test_faults_and_data_errors_are_not_tried_again(toys, action):
    toys.behave(p1__dvh=[action])
    toys.run()
    assert toys.attempts()["p1-c01/dvh"] == 1


def test_a_process_that_ends_without_a_record_is_a_fault(toys):
    toys.behave(p1__dvh=["exit:0"], p2__dvh=[f"kill:{int(signal.SIGSEGV)}"])
    summary = toys.run()
    plan = toys.plan(summary)
    for course, reason in (("p1-c01", "exit 0"), ("p2-c01", "killed by SIGSEGV")):
        entry = plan[course, "dvh"]
        assert (entry["status"], entry["reason"], entry["finding"]["code"]) == ("failed", reason, "STAGE_FAULT")
    assert toys.attempts()["p1-c01/dvh"] == toys.attempts()["p2-c01/dvh"] == 1


def test_a_stage_over_its_time_limit_is_killed_with_all_it_started(toys):
    toys.behave(p1__dvh=["grandchild:30"])
    summary = toys.run({"timeouts": {"stage_s": {"dvh": 1.0}}})
    entry = toys.plan(summary)["p1-c01", "dvh"]
    assert (entry["status"], entry["finding"]["code"]) == ("timeout", "RES_TIMEOUT")
    assert toys.attempts()["p1-c01/dvh"] == 1
    pids = [e["pid"] for e in toys.trace() if e["task"] == "p1-c01/dvh"]
    assert not any(is_alive(pid) for pid in [*pids, *toys.grandchildren()])
    assert not list(toys.folder.root.glob("courses/*/*/.partial-*"))


def test_what_an_ended_stage_left_running_is_killed(toys):
    toys.behave(p1__dvh=["grandchild:0"])
    assert toys.run().exit_code == ExitCode.DONE
    assert len(toys.grandchildren()) == 1
    assert not any(map(is_alive, toys.grandchildren()))


def test_a_pool_limits_how_many_run_at_once(toys):
    toys.behave(any__segmentation=["sleep:0.5"])
    toys.run({"workers": 2, "segmentation": {"workers": 1}})
    spans = sorted((e["at"], e["what"]) for e in toys.trace() if e["task"].endswith("/segmentation"))
    assert [what for _, what in spans] == ["start", "end"] * 2


def test_stages_that_need_a_gpu_are_spread_over_those_there_are(toys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(environment, "available_cpus", lambda: 2)
    toys.behave(any__segmentation=["sleep:1.5"])
    toys.run({"workers": 2, "segmentation": {"workers": 2}})
    starts = {e["task"]: e["gpu"] for e in toys.trace() if e["what"] == "start"}
    assert {starts[f"{course}/segmentation"] for course in COURSES} == {"3", "5"}


def test_when_memory_runs_out_the_kernel_chooses_a_stage_before_the_runner(toys):
    toys.run(only=("prepare_rt",))
    assert {e["oom_score_adj"] for e in toys.trace()} == {500}


def test_a_server_that_is_killed_costs_one_attempt(toys, shared_servers):
    toys.run(only=("prepare_rt",))  # the server runs
    (server,) = shared_servers._servers.values()
    toys.behave(p1__dvh=["kill_parent"])
    summary = toys.run()
    assert server.process.poll() == -signal.SIGKILL
    assert summary.exit_code == ExitCode.DONE
    assert toys.attempts()["p1-c01/dvh"] == 2


def test_nothing_outside_private_holds_the_text_of_an_error_or_a_path_of_the_export(toys):
    toys.behave(p1__dvh=["fault"], p2__prepare_rt=["data"])
    toys.run()
    for path in toys.folder.root.rglob("*"):
        if path.is_file() and "private" not in path.relative_to(toys.folder.root).parts:
            content = path.read_bytes()
            assert b"Doe^John" not in content, path
            assert str(toys.export).encode() not in content, path
    assert "Doe^John" not in toys.text
    log = next(toys.folder.root.glob("runs/*/logs/p1-c01/dvh.log")).read_text()
    assert "toy_stages.py:" in log
    assert "ValueError" in log


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

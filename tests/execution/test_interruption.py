"""A run that is interrupted or killed: nothing survives it, and the next one goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtpipeline.execution.interruption import SIGNALS

HERE = Path(__file__).parent
PATIENCE_S = 60.0
"""Far more than a loaded machine needs to start a process and to import what the toys use."""

PROMPT_S = 15.0
"""In which everything has to be gone."""


def as_from_a_terminal() -> None:
    """Signals do what they do in a terminal, also where the tests run in the background: Ctrl-C is ignored there, and a
    process goes on ignoring what it was started to ignore."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_DFL)


@pytest.fixture
def command(toys):
    """The `rtpipeline` command with toy stages, in a process of its own."""
    processes = []

    def start(*arguments: str, **options) -> subprocess.Popen:
        place = ["--output", str(toys.folder.store), "--cohort", "toys"]
        process = subprocess.Popen(
            [sys.executable, str(HERE / "toy_run.py"), *arguments, *place],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=as_from_a_terminal,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(condition, what: str, patience_s: float = PATIENCE_S):
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {patience_s} s for {what}")


def started(toys, task: str):
    return [e["pid"] for e in toys.trace() if e["task"] == task and e["what"] == "start"]


def descendants(pid: int) -> set[int]:
    """Processes below one, as the kernel sees them."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for children in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            new = set(map(int, children.read_text().split())) - found
            found |= new
            waiting += new
    return found


def alive(pids) -> list[int]:
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


def is_done(toys, task: str) -> bool:
    course, stage = task.split("/")
    return any(toys.folder.root.glob(f"courses/{course}/{stage}/*/stage.json"))


def test_nothing_survives_a_killed_runner_and_the_next_run_goes_on(toys, command):
    toys.behave(p1__dvh=["grandchild:60"], p2__dvh=["sleep:60"])
    run = command("run", "--input", str(toys.export), "--workers", "2")
    wait_for(lambda: toys.grandchildren() and is_done(toys, "p1-c01/structures"), "the stage and its child")
    below = descendants(run.pid) | set(toys.grandchildren())
    assert len(below) >= 3, "a server, a stage and what the stage started"
    run.kill()
    run.wait()
    wait_for(lambda: not alive(below), "everything to end", PROMPT_S)

    done = [task for task in ("p1-c01/prepare_images", "p1-c01/prepare_rt", "p1-c01/structures") if is_done(toys, task)]
    assert len(done) == 3
    toys.behave()
    summary = toys.run()
    assert summary.exit_code == 0
    assert not set(done) & set(toys.attempts())
    assert toys.attempts()["p1-c01/dvh"] == 1
    assert not list(toys.folder.root.rglob(".partial-*"))


def test_ctrl_c_stops_the_stages_says_how_to_go_on_and_keeps_what_has_ended(toys, command):
    toys.behave(p1__dvh=["sleep:60"])
    run = command("run", "--input", str(toys.export), "--workers", "1", "--json")
    (pid,) = wait_for(lambda: started(toys, "p1-c01/dvh"), "the stage")
    below = descendants(run.pid)
    assert pid in below
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130
    assert not alive(below)
    summary = json.loads(out)
    assert (summary["status"], summary["exit_code"]) == ("interrupted", 130)
    assert "the same command goes on" in summary["message"]
    assert "stopping" in err
    assert not list(toys.folder.root.rglob(".partial-*"))

    status = command("status", "--json")
    seen = json.loads(status.communicate(timeout=PATIENCE_S)[0])
    assert seen["state"] == "interrupted"
    first = next(c for c in seen["courses"] if c["course_id"] == "p1-c01")
    assert (first["stages"]["structures"]["status"], first["stages"]["dvh"]["status"]) == ("done", "missing")

    toys.behave()
    toys.run()
    assert "p1-c01/structures" not in toys.attempts()
    assert toys.attempts()["p1-c01/dvh"] == 1


def test_a_second_ctrl_c_does_not_wait_for_a_stage_that_will_not_end(toys, command):
    toys.behave(p1__dvh=["stubborn:60"])
    run = command("run", "--input", str(toys.export), "--workers", "1")
    wait_for(lambda: started(toys, "p1-c01/dvh"), "the stage")
    time.sleep(0.5)  # it ignores SIGTERM from here on
    below = descendants(run.pid)
    run.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert run.poll() is None
    before = time.monotonic()
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - before < 4.0, "less than the grace of a first Ctrl-C"
    assert run.returncode == 130
    assert not alive(below)


def test_a_runner_that_dies_with_its_terminal_takes_everything_along(toys, command):
    toys.behave(p1__dvh=["sleep:60"])
    run = command("run", "--input", str(toys.export), "--workers", "1", start_new_session=True)
    wait_for(lambda: started(toys, "p1-c01/dvh"), "the stage")
    below = descendants(run.pid)
    os.killpg(run.pid, signal.SIGHUP)
    run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130
    assert not alive(below)


def test_a_run_of_the_command_ends_with_the_summary_and_retry_does_the_rest(toys, command):
    toys.behave(p1__dvh=["fault"])
    run = command("run", "--input", str(toys.export), "--workers", "2", "--json")
    out, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1, err
    summary = json.loads(out)
    assert summary["failures"] == [
        {"course_id": "p1-c01", "stage": "dvh", "status": "fault", "reason": "ValueError in stage dvh"}
    ]
    assert Path(summary["results"], "table.txt").is_file()
    assert "p1-c01 dvh fault (ValueError in stage dvh)" in err

    toys.forget_trace()
    toys.behave()
    retry = command("retry")
    out, err = retry.communicate(timeout=PATIENCE_S)
    assert retry.returncode == 0, err
    assert set(toys.attempts()) == {"p1-c01/dvh", "p1-c01/qc"}
    assert "2 courses, 0 failed" in out
    assert "Results: " in out

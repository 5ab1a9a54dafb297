"""Why a program ended, from real texts of torch and nnU-Net; what it started does not outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rtpipeline.segmentation.failures import NO_GPU_EXIT, Ended, run_program, without_paths


@pytest.mark.parametrize(
    ("code", "output", "failure"),
    [
        (0, "RuntimeError: Background workers died", None),
        (-9, "", "memory"),
        (137, "", "memory"),
        (1, "RuntimeError: Background workers died. Look for the error message further up!", "memory"),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "memory"),
        (1, "RuntimeError: [enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory", "memory"),
        (1, "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 GiB", "memory"),
        (1, "unable to allocate shared memory(shm) for file </torch_1>\nBackground workers died", "shared_memory"),
        (-7, "", "shared_memory"),
        (NO_GPU_EXIT, "torch 2 sees no GPU", "no_gpu"),
        (1, "ValueError: Unknown task: x", "other"),
        (2, "usage: TotalSegmentator", "other"),
    ],
)  # fmt: skip
def test_memory_shared_memory_and_other_failures_are_told_apart(code: int, output: str, failure: str | None) -> None:
    assert Ended(code, output).failure == failure


def test_time_is_the_reason_whatever_the_exit_code_says() -> None:
    assert Ended(-9, "Background workers died", timed_out=True).failure == "timeout"


def test_the_reason_is_the_last_line_that_says_something() -> None:
    output = (
        "Predicting...\n  0%|  | 0/2 [00:00<?, ?it/s]\n"
        'Traceback (most recent call last):\n  File "/home/anna/x.py", line 3\n    ^^^^\n'
        "FileNotFoundError: [Errno 2] No such file: '/data/Mueller^Anna/ct.nii.gz'\n\n"
    )
    assert Ended(1, output).reason == "exit code 1: FileNotFoundError: [Errno 2] No such file: '...'"
    assert Ended(-11, "").reason == "signal 11: no message"


def test_paths_are_cut_and_fractions_are_not() -> None:
    assert without_paths("3/4 of C:\\x\\y (label 7)") == "3/4 of ... (label 7)"
    assert without_paths("cannot copy '/a/b' to '/c/d': disk full") == "cannot copy '...': disk full"


@pytest.mark.parametrize("folder", ["Anna Maria Mueller", "Mueller, Anna", "O'Hara", "Mueller (Anna)", "Mueller:Anna"])
@pytest.mark.parametrize("quote", ["", "'"])
def test_no_part_of_a_folder_with_a_name_is_left(folder: str, quote: str) -> None:
    text = without_paths(f"No such file: {quote}/data/{folder}/ct.nii.gz{quote}")
    assert text == f"No such file: {quote}...{quote}"


def test_output_of_both_streams_is_kept(tmp_path: Path) -> None:
    program = "import sys; print('one', flush=True); sys.stderr.write('two'); sys.exit(5)"
    ended = run_program([sys.executable, "-c", program], os.environ, 30, tmp_path / "output")
    assert (ended.code, ended.output.split(), ended.timed_out) == (5, ["one", "two"], False)


STARTS_A_CHILD = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); {then}"


@pytest.mark.parametrize("then", ["time.sleep(60)", "sys.exit(1)"])
def test_what_a_program_started_ends_with_it(tmp_path: Path, then: str) -> None:
    started = time.monotonic()
    program = [sys.executable, "-c", STARTS_A_CHILD.format(then=then)]
    ended = run_program(program, os.environ, 2.0, tmp_path / "output")
    assert ended.timed_out == ("sleep" in then)
    assert time.monotonic() - started < 20
    child = int(ended.output.split()[0])
    assert _comes_true(lambda: not _runs(child))


STAGE = """
import os, sys
from pathlib import Path
from rtpipeline.segmentation.failures import run_program
run_program([sys.executable, "-c", {program!r}], os.environ, 60.0, Path({output!r}))
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_and_its_workers_end_with_a_stage_that_is_killed(tmp_path: Path, signum: signal.Signals) -> None:
    """Also without a runner that looks for what a stage has left, and with workers that live in another process."""
    output = tmp_path / "output"
    program = "import os; print(os.getpid(), flush=True); " + STARTS_A_CHILD.format(then="time.sleep(60)")
    stage = subprocess.Popen([sys.executable, "-c", STAGE.format(program=program, output=str(output))])
    assert _comes_true(lambda: output.is_file() and output.read_text().count("\n") == 2)
    started = [int(pid) for pid in output.read_text().split()]
    assert all(map(_runs, started))
    stage.send_signal(signum)
    assert stage.wait(10) == -signum
    assert _comes_true(lambda: not any(map(_runs, started)))


@pytest.mark.parametrize("code", [0, 7, -signal.SIGKILL, -signal.SIGSEGV, -signal.SIGTERM])
def test_the_guard_ends_as_the_program_does(tmp_path: Path, code: int) -> None:
    then = f"sys.exit({code})" if code >= 0 else f"os.kill(os.getpid(), {-code})"
    ended = run_program([sys.executable, "-c", f"import os, sys; {then}"], os.environ, 30, tmp_path / "output")
    assert (ended.code, ended.timed_out) == (code, False)


def test_a_program_that_ignores_the_request_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtpipeline.segmentation.failures.GRACE_S", 0.3)
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    ended = run_program([sys.executable, "-c", program], os.environ, 2.0, tmp_path / "output")
    assert (ended.code, ended.failure) == (-signal.SIGKILL, "timeout")


def _comes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

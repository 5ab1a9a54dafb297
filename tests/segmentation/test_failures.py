"""Why a program ended, from real texts of torch and nnU-Net; what it started does not outlive it."""

from __future__ import annotations

import os
import signal
import sys
import time
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
    assert without_paths("read /data/a b, 3/4 of C:\\x\\y (/tmp/z)") == "read ... b, 3/4 of ... (...)"


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
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(child)


def test_a_program_that_ignores_the_request_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtpipeline.segmentation.failures.GRACE_S", 0.3)
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    ended = run_program([sys.executable, "-c", program], os.environ, 2.0, tmp_path / "output")
    assert (ended.code, ended.failure) == (-signal.SIGKILL, "timeout")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

"""Run the program of a network with a time limit, and tell from what it leaves behind why it ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rtpipeline.execution.guarded import command_guarded

Failure = Literal["memory", "shared_memory", "no_gpu", "timeout", "other"]

NO_GPU_EXIT = 69
"""Exit code by which our child programs say that torch sees no such GPU (EX_UNAVAILABLE of sysexits.h)."""

OUTPUT_KEPT = 64 * 1024
"""Bytes of the end of the output that are looked at."""

GRACE_S = 10.0
"""Between asking a process to end and killing it."""

SHARED_MEMORY = (
    "unable to allocate shared memory",
    "unable to open shared memory",
    "unable to mmap",
    "/dev/shm",
    "bus error",
    "insufficient shared memory",
)
MEMORY = (
    "cuda out of memory",
    "outofmemoryerror",
    "memoryerror",
    "cannot allocate memory",
    "can't allocate memory",
    "not enough memory",
    "std::bad_alloc",
    "background workers died",
)
"""Texts of torch, nnU-Net, numpy and libc. `Background workers died` is what nnU-Net says when a worker was killed."""

KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
SHARED_MEMORY_FULL = (-signal.SIGBUS, 128 + signal.SIGBUS)

NOISE = re.compile(
    r"^\s*($|\^|~|File \"|Traceback|warnings\.warn|During handling|If you use this tool)|it/s\]|Warning:"
)


@dataclass(frozen=True)
class Ended:
    """How a program ended. code: exit code, negative for a signal; output: the end of stdout and stderr together."""

    code: int
    output: str
    timed_out: bool = False

    @property
    def failure(self) -> Failure | None:
        """Why it failed; None when it did not."""
        if self.timed_out:
            return "timeout"
        if self.code == 0:
            return None
        text = self.output.lower()
        # before memory: torch says both when /dev/shm is full, and nnU-Net then that its workers died
        if self.code in SHARED_MEMORY_FULL or any(words in text for words in SHARED_MEMORY):
            return "shared_memory"
        if self.code in KILLED or any(words in text for words in MEMORY):
            return "memory"
        return "no_gpu" if self.code == NO_GPU_EXIT else "other"

    @property
    def reason(self) -> str:
        """The last line that says something, without paths: fit for a finding."""
        lines = [line.strip() for line in self.output.splitlines() if not NOISE.search(line)]
        said = without_paths(lines[-1]) if lines else "no message"
        how = f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"
        return f"{how}: {said[:200]}"


def without_paths(text: str) -> str:
    """The text without absolute paths, since folders may name people: from the first one to the end of the last.

    Names have spaces, commas and apostrophes, so that nobody can tell where a path ends and the next words begin.
    """
    return re.sub(r"(?<![\w.])(?:[A-Za-z]:\\|/)(?:.*[/\\])?[^\s'\",:;()\]]+", "...", text)


def run_program(command: Sequence[str], environment: Mapping[str, str], timeout_s: float, output: Path) -> Ended:
    """Run a program to its end, or end it and all it started when the time is up, or when this process is killed.

    Parameters
    ----------
    output: file that receives stdout and stderr; a file, so that orphaned workers cannot keep a pipe open.
    """
    with output.open("wb") as sink:
        # a group of its own, so that its workers are reached too; guarded, since it then does not get our signals
        process = subprocess.Popen(
            command_guarded(list(command)),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        timed_out = False
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
            code = _end(process)
        finally:
            _signal_group(process, signal.SIGKILL)  # also workers that outlive a process which died
            process.wait()
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - OUTPUT_KEPT), os.SEEK_SET)
        text = file.read().decode("utf-8", "replace")
    return Ended(code, text.replace("\r", "\n"), timed_out)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Ask the group to end, then kill it."""
    _signal_group(process, signal.SIGTERM)
    try:
        return process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGKILL)
        return process.wait()


def _signal_group(process: subprocess.Popen[bytes], signum: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signum)

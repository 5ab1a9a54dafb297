"""What runner and warm server say to each other: pickles over a pipe between two processes of one user."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rtpipeline.execution.stage_entry import StageRequest


@dataclass(frozen=True)
class Run:
    """To the server: run a stage in a fresh process."""

    task: int
    request: StageRequest
    log: Path
    """receives what the stage writes to stdout and stderr"""
    environment: dict[str, str] = field(default_factory=dict)
    """variables set in the new process"""


@dataclass(frozen=True)
class Kill:
    """To the server: signal the process group of a task, if it still runs."""

    task: int
    signal: int


@dataclass(frozen=True)
class Ready:
    """From the server: imports are done."""

    seconds: float
    threads: int
    """threads of the server process: 1, or forking is not safe"""


@dataclass(frozen=True)
class Started:
    """From the server: the process of a task."""

    task: int
    pid: int


@dataclass(frozen=True)
class Ended:
    """From the server: a process has ended, by exit code or by signal."""

    task: int
    exit_code: int | None
    signal: int | None
    peak_memory_mib: float
    cpu_s: float


Message = Ready | Started | Ended

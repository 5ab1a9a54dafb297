"""What follows from the way an attempt ended: done, tried again on which rung of the memory ladder, or given up."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal

from rtpipeline.config import Config
from rtpipeline.errors import ExitCode
from rtpipeline.stages import STAGES, Stage

Cause = Literal["memory", "transient", "timeout", "fault"]

FINDING_CODES: dict[Cause, str] = {
    "memory": "RES_MEMORY",
    "transient": "RES_TRANSIENT",
    "timeout": "RES_TIMEOUT",
    "fault": "STAGE_FAULT",
}

WITH_RECORD = frozenset({ExitCode.DONE, ExitCode.DATA, ExitCode.FAULT})
"""Exit codes after which `stage.json` says how the stage ended."""

MACHINE_SIGNALS = frozenset({signal.SIGBUS, signal.SIGTERM, signal.SIGHUP})
"""Shared memory full, node shutting down: it may work next time. SIGKILL stands for memory that ran out."""

RESERVE_S = 600.0
"""At most so much of a stage's time is kept for writing its output."""


@dataclass(frozen=True)
class Ending:
    """How the process of one attempt ended."""

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    lost: bool = False
    """its server has ended, and the process with it"""
    note: str = ""
    """`memory` or `transient`, as the stage itself says for exit 75"""
    has_record: bool = False
    """`stage.json` of this attempt exists"""
    peak_memory_mib: float = 0.0
    wall_s: float = 0.0

    @property
    def cause(self) -> Cause | None:
        """Why there is no output; None when there is one."""
        if self.timed_out:
            return "timeout"
        if self.lost:
            return "transient"
        if self.signal is not None:
            if self.signal == signal.SIGKILL:
                return "memory"
            return "transient" if self.signal in MACHINE_SIGNALS else "fault"
        if self.exit_code == ExitCode.TRANSIENT:
            return "memory" if self.note == "memory" else "transient"
        return None if self.exit_code in WITH_RECORD and self.has_record else "fault"

    def __str__(self) -> str:
        if self.timed_out:
            return f"stopped after {self.wall_s:.0f} s"
        if self.lost:
            return "the server of the stage processes ended"
        if self.signal is not None:
            return f"killed by {signal.Signals(self.signal).name}"
        return f"exit {self.exit_code}"


@dataclass(frozen=True)
class Again:
    """Try once more."""

    delay_s: float
    rung: int
    """of the stage's memory ladder"""


@dataclass(frozen=True)
class GivenUp:
    """No output, and no further attempt."""

    cause: Cause
    status: Literal["failed", "timeout"]
    reason: str


def timeout_s(stage: Stage, config: Config) -> float:
    """Time limit of one attempt: the configuration's, else the table's."""
    return config.timeouts.stage_s.get(stage.name, stage.resources.timeout_s)


def items_end_s(stage: str, config: Config, started_s: float) -> float:
    """When the work items of a stage that began then must have ended, so that its own limit does not cost them all.

    A tenth of the limit, at most RESERVE_S, is left for what follows the last item.
    """
    limit_s = timeout_s(STAGES[stage], config)
    return started_s + limit_s - min(0.1 * limit_s, RESERVE_S)


def expected_mib(stage: Stage, rung: int) -> int:
    """Memory of a rung; beyond the top it is doubled, so that a last attempt has the machine to itself."""
    ladder = stage.resources.memory_mib
    return ladder[rung] if rung < len(ladder) else ladder[-1] * 2 ** (rung - len(ladder) + 1)


def after(stage: Stage, config: Config, attempt: int, rung: int, ending: Ending) -> Again | GivenUp | None:
    """What to do after attempt number `attempt` (from 1); None when the stage has left its output."""
    cause = ending.cause
    if cause is None:
        return None
    retries = min(stage.retry.limit, config.execution.retries)
    if cause in ("memory", "transient") and attempt <= retries:
        delay_s = stage.retry.backoff_s * stage.retry.factor ** (attempt - 1)
        return Again(delay_s, rung + 1 if cause == "memory" else rung)
    tried = f", {attempt} attempts" if attempt > 1 else ""
    if cause == "memory":
        reason = f"memory ran out ({ending}; {expected_mib(stage, rung)} MiB expected{tried})"
    else:
        reason = f"{ending}{tried}"
    return GivenUp(cause, "timeout" if cause == "timeout" else "failed", reason)

"""Attempts of stages on the warm servers: admission, time limits, retries with back-off, one rung up after memory."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

from rtpipeline.config import Config
from rtpipeline.execution.admission import MACHINE, Admission, Grant, ends_at_once
from rtpipeline.execution.environment import gpus, one_gpu, stage_threads
from rtpipeline.execution.ladder import Again, Ending, GivenUp, after, timeout_s
from rtpipeline.execution.ledger import Ledger
from rtpipeline.execution.messages import Ended, Ready
from rtpipeline.execution.outputs import Output, read_output
from rtpipeline.execution.processes import session_memory_mib
from rtpipeline.execution.servers import Lost, Servers
from rtpipeline.execution.stage_entry import StageRequest
from rtpipeline.stages import STAGES, Stage
from rtpipeline.store.folder import TEMPORARY_PREFIX

SAMPLE_EVERY_S = 2.0
"""How often the memory of stages with several processes is looked at."""

GRACE_S = 5.0
"""Between asking a stage to end and killing it."""


@dataclass(frozen=True)
class Task:
    """One stage to run; `workers` and `note` of the request are set for each attempt."""

    request: StageRequest
    log: Path

    @property
    def stage(self) -> Stage:
        """Its row of the table."""
        return STAGES[self.request.stage]

    @property
    def key(self) -> tuple[str, str]:
        """Course ('' for the cohort) and stage."""
        return self.request.course_id or "", self.request.stage


@dataclass
class Attempt:
    """One try of a task."""

    task: Task
    number: int
    """from 1"""
    rung: int
    grant: Grant
    started_s: float
    deadline_s: float
    record_before: tuple[int, int] | None
    """of an older output in the same folder"""
    timed_out: bool = False
    peak_memory_mib: float = 0.0
    gpu: str | None = None


@dataclass(frozen=True)
class Finished:
    """A task that needs nothing more: it has left an output, or was given up."""

    task: Task
    output: Output | None
    given_up: GivenUp | None
    wall_s: float
    attempts: int


@dataclass(frozen=True)
class _Waiting:
    task: Task
    number: int
    rung: int
    due_s: float


class Attempts:
    """Runs tasks; the caller decides which and in which order."""

    def __init__(self, servers: Servers, admission: Admission, config: Config, ledger: Ledger) -> None:
        self._servers = servers
        self._admission = admission
        self._config = config
        self._ledger = ledger
        self._numbers = count(1)
        self._running: dict[int, Attempt] = {}
        self._waiting: list[_Waiting] = []
        self._sampled_s = 0.0
        self._gpus = gpus()

    @property
    def running(self) -> list[Attempt]:
        """Attempts under way, the oldest first."""
        return list(self._running.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits for another try."""
        return not self._running and not self._waiting

    def start(self, task: Task, waiting: int = 1) -> str | None:
        """Start a task; None when it has, else what it has to wait for (`pool` or `machine`).

        A task that waits for another try comes first: it may be the one that needs the memory.
        """
        now = time.monotonic()
        if any(w.due_s <= now for w in self._waiting):
            return MACHINE
        return self._start(task, 1, 0, waiting)

    def poll(self, limit_s: float) -> list[Finished]:
        """Wait for something to happen, for at most so long; the tasks that have finished."""
        self._restart()
        self._check_deadlines()
        finished = [f for _, f in self._handled(self._servers.poll(self._wait_s(limit_s))) if f is not None]
        self._sample()
        return finished

    def stop(self, *, at_once: bool = False) -> None:
        """End every attempt: first asked to, then killed."""
        self._waiting.clear()
        for signum in (signal.SIGKILL,) if at_once else (signal.SIGTERM, signal.SIGKILL):
            for number in self._running:
                self._servers.kill(number, signum)
            end = time.monotonic() + GRACE_S
            while self._running and time.monotonic() < end:
                for _, message in self._servers.poll(0.1):
                    for number in message.tasks if isinstance(message, Lost) else _ended(message):
                        self._sweep(self._running.pop(number).task)

    def _start(self, task: Task, number: int, rung: int, waiting: int = 1) -> str | None:
        light = ends_at_once(task.stage, self._config)
        threads = 1 if light else stage_threads(task.stage.name, self._config)
        grant = self._admission.start(task.key, task.stage, threads, rung, waiting, light=light)
        if isinstance(grant, str):
            return grant
        note = task.log.with_suffix(".note")
        note.unlink(missing_ok=True)
        now, identity = time.monotonic(), next(self._numbers)
        deadline = now + timeout_s(task.stage, self._config)
        self._running[identity] = Attempt(task, number, rung, grant, now, deadline, _record_identity(task.request.out))
        request = replace(task.request, workers=grant.workers, note=note)
        image = "cpu" if light else task.stage.image
        gpu = self._free_gpu() if task.stage.resources.gpu and not light else None
        self._running[identity].gpu = gpu
        self._servers.run(identity, image, threads, request, task.log, one_gpu(gpu) if gpu is not None else None)
        course, stage = task.key
        self._ledger.write(
            "started",
            course=course or None,
            stage=stage,
            attempt=number,
            workers=grant.workers,
            memory_mib=grant.memory_mib,
        )
        return None

    def _free_gpu(self) -> str | None:
        """The GPU that the fewest attempts use; None without any, or where the configuration names a device."""
        if not self._gpus or self._config.segmentation.device not in ("auto", "gpu"):
            return None
        used = Counter(attempt.gpu for attempt in self._running.values())
        return min(self._gpus, key=lambda gpu: used[gpu])

    def _restart(self) -> None:
        """Start what has waited long enough, as far as it is admitted."""
        now = time.monotonic()
        for waiting in [w for w in self._waiting if w.due_s <= now]:
            if self._start(waiting.task, waiting.number, waiting.rung) is None:
                self._waiting.remove(waiting)

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        for identity, attempt in self._running.items():
            if now >= attempt.deadline_s and not attempt.timed_out:
                attempt.timed_out = True
                self._servers.kill(identity, signal.SIGKILL)

    def _wait_s(self, limit_s: float) -> float:
        now = time.monotonic()
        times = [a.deadline_s for a in self._running.values() if not a.timed_out]
        times += [w.due_s for w in self._waiting if w.due_s > now]
        return max(0.0, min([limit_s, *(t - now for t in times)]))

    def _handled(self, messages: Sequence[tuple[str, object]]) -> list[tuple[int, Finished | None]]:
        done: list[tuple[int, Finished | None]] = []
        for server, message in messages:
            if isinstance(message, Ready):
                self._ledger.write("server_started", server=server, wall_s=message.seconds, threads=message.threads)
            elif isinstance(message, Ended):
                ending = Ending(message.exit_code, message.signal, peak_memory_mib=message.peak_memory_mib)
                done.append((message.task, self._end(message.task, ending)))
            elif isinstance(message, Lost):
                done += [(task, self._end(task, Ending(lost=True))) for task in message.tasks]
        return done

    def _end(self, identity: int, ending: Ending) -> Finished | None:
        """Account for an attempt that has ended; the finished task unless it is tried again."""
        attempt = self._running.pop(identity)
        self._admission.end(attempt.task.key)
        ending, output = _completed(attempt, ending)
        verdict = after(attempt.task.stage, self._config, attempt.number, attempt.rung, ending)
        if verdict is not None:
            self._sweep(attempt.task)
            output = None
        elif output is not None and output.has_result:
            self._admission.observe(attempt.task.stage.name, ending.peak_memory_mib)
        if isinstance(verdict, Again):
            due_s = time.monotonic() + verdict.delay_s
            self._waiting.append(_Waiting(attempt.task, attempt.number + 1, verdict.rung, due_s))
            self._record("retried", attempt, ending, None)
            return None
        status = verdict.status if verdict else output.status if output else None
        self._record("ended", attempt, ending, status)
        return Finished(attempt.task, output, verdict, ending.wall_s, attempt.number)

    def _record(self, event: Literal["retried", "ended"], attempt: Attempt, ending: Ending, status: str | None) -> None:
        course, stage = attempt.task.key
        self._ledger.write(
            event,
            course=course or None,
            stage=stage,
            attempt=attempt.number,
            status=status,
            ending=str(ending),
            wall_s=round(ending.wall_s, 3),
            peak_memory_mib=round(ending.peak_memory_mib),
        )

    def _sweep(self, task: Task) -> None:
        """Remove what a process that was killed has left of its output."""
        for path in task.request.out.parent.glob(f"{TEMPORARY_PREFIX}{task.request.out.name}-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _sample(self) -> None:
        several = {n: a for n, a in self._running.items() if a.grant.workers > 1}
        if not several or time.monotonic() - self._sampled_s < SAMPLE_EVERY_S:
            return
        self._sampled_s = time.monotonic()
        memory = session_memory_mib()
        for identity, attempt in several.items():
            pid = self._servers.pid(identity)
            if pid is not None:
                attempt.peak_memory_mib = max(attempt.peak_memory_mib, memory.get(pid, 0.0))


def _completed(attempt: Attempt, ending: Ending) -> tuple[Ending, Output | None]:
    """The ending with what lies on disk, and the output that this attempt has left."""
    task = attempt.task
    fresh = _record_identity(task.request.out) not in (None, attempt.record_before)
    note = task.log.with_suffix(".note")
    completed = replace(
        ending,
        timed_out=attempt.timed_out and ending.signal is not None,
        note=note.read_text() if note.is_file() else "",
        has_record=fresh,
        peak_memory_mib=max(ending.peak_memory_mib, attempt.peak_memory_mib),
        wall_s=time.monotonic() - attempt.started_s,
    )
    note.unlink(missing_ok=True)
    return completed, read_output(task.request.out) if fresh else None


def _record_identity(folder: Path) -> tuple[int, int] | None:
    """Tells one `stage.json` from another under the same name; None without one."""
    try:
        status = (folder / "stage.json").stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _ended(message: object) -> tuple[int, ...]:
    return (message.task,) if isinstance(message, Ended) else ()

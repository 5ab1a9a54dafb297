"""Work items of a stage in processes of their own, each with its own time limit: what fails is lost alone.

An item that runs over its time, dies or has no memory costs that item. Items that died of memory are tried again among
themselves with half the workers, down to one, after the others have ended; whatever was finished or in flight beside
them is not touched.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Generic, Literal, TypeVar

from rtpipeline.errors import TransientError
from rtpipeline.execution.environment import process_environment

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
Status = Literal["ok", "timeout", "out_of_memory", "failed"]

START_LIMIT_S = 300.0
"""A worker only imports modules until it is ready; a file system that takes longer is no fault of an item."""
START_ATTEMPTS = 3


@dataclass(frozen=True)
class ItemResult(Generic[R]):
    """How an item ended. value: what the function gave when the status is ok. seconds: of its last attempt."""

    status: Status
    value: R | None
    reason: str
    seconds: float


def run_items(
    function: Callable[[T], R],
    items: Mapping[str, T],
    *,
    workers: int,
    timeout_s: float,
    threads: int = 1,
) -> dict[str, ItemResult[R]]:
    """Results by name, in the order of `items`.

    Parameters
    ----------
    function: of a module (it is sent by name); must give the same value wherever and whenever it runs. Items and values
        are sent as pickles.
    workers: processes at once. Also one worker is a process, which can be ended at the limit.
    timeout_s: limit of one item in seconds, from when a worker that is ready gets it.
    threads: of every numerical library in a worker.

    Raises
    ------
    TransientError: a worker cannot be started.
    """
    results: dict[str, ItemResult[R]] = {}
    pending, limit = list(items), max(1, workers)
    while pending:
        pool: _Pool[T, R] = _Pool(function, min(limit, len(pending)), timeout_s, threads)
        try:
            results |= pool.run({name: items[name] for name in pending})
        finally:
            pool.close()
        if limit == 1:
            break
        pending = [name for name in pending if results[name].status == "out_of_memory"]
        limit = max(1, limit // 2)
        if pending:
            log.warning("%d work items ran out of memory; once more with workers=%d", len(pending), limit)
    return {name: results[name] for name in items}


class _Worker:
    """One process and what it is doing."""

    def __init__(self, function: bytes, threads: int) -> None:
        self.connection, theirs = Pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rtpipeline.execution.item_worker", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=process_environment(threads) | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        theirs.close()
        self.name: str | None = None
        self.since = time.monotonic()
        self.is_ready = False
        try:
            self.connection.send(sys.path)
            self.connection.send_bytes(function)
        except ConnectionError:  # it has died already, which the end of the pipe will tell
            return

    def give(self, name: str, item: object) -> None:
        self.name, self.since = name, time.monotonic()
        try:
            self.connection.send(item)
        except ConnectionError:
            return

    def kill(self) -> int:
        """End the process; its exit code, negative for a signal."""
        self.process.kill()
        self.connection.close()
        return self.process.wait()


class _Pool(Generic[T, R]):
    """Workers for one round: every item is tried once."""

    def __init__(self, function: Callable[[T], R], workers: int, timeout_s: float, threads: int) -> None:
        self._function = pickle.dumps(function)
        self._timeout_s, self._threads, self._size = timeout_s, threads, workers
        self._workers: list[_Worker] = []
        self._failed_starts = 0

    def run(self, items: Mapping[str, T]) -> dict[str, ItemResult[R]]:
        queue, results = deque(items), dict[str, ItemResult[R]]()
        while len(results) < len(items):
            while len(self._workers) < min(self._size, len(items) - len(results)):
                self._workers.append(_Worker(self._function, self._threads))
            for worker in self._workers:
                if worker.is_ready and worker.name is None and queue:
                    name = queue.popleft()
                    worker.give(name, items[name])
            heard = wait([w.connection for w in self._workers], self._patience_s())
            for worker in list(self._workers):
                if worker.connection in heard:
                    self._listen(worker, results)
                elif time.monotonic() - worker.since >= self._limit_s(worker):
                    self._overdue(worker, results)
        return results

    def close(self) -> None:
        """End every worker."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _limit_s(self, worker: _Worker) -> float:
        if worker.name is not None:
            return self._timeout_s
        return math.inf if worker.is_ready else START_LIMIT_S

    def _patience_s(self) -> float | None:
        now = time.monotonic()
        left = min((w.since + self._limit_s(w) - now for w in self._workers), default=math.inf)
        return None if left == math.inf else max(0.0, left)

    def _listen(self, worker: _Worker, results: dict[str, ItemResult[R]]) -> None:
        try:
            answer = worker.connection.recv()
        except (EOFError, OSError):
            self._died(worker, results)
            return
        if not worker.is_ready:
            worker.is_ready, self._failed_starts = True, 0
            return
        assert worker.name is not None
        status, value = answer
        seconds = round(time.monotonic() - worker.since, 3)
        if status == "ok":
            results[worker.name] = ItemResult("ok", value, "", seconds)
        else:
            results[worker.name] = ItemResult(status, None, str(value), seconds)
        worker.name = None
        if status == "out_of_memory":  # what it still holds would be missing for the next item
            self._drop(worker)

    def _overdue(self, worker: _Worker, results: dict[str, ItemResult[R]]) -> None:
        self._drop(worker)
        if worker.name is None:
            self._start_failed(f"not ready after {START_LIMIT_S:g} s")
            return
        seconds = time.monotonic() - worker.since
        reason = f"{seconds:.0f} s, limit {self._timeout_s:g} s"
        results[worker.name] = ItemResult("timeout", None, reason, round(seconds, 3))

    def _died(self, worker: _Worker, results: dict[str, ItemResult[R]]) -> None:
        worker.connection.close()
        code = worker.process.wait()
        self._workers.remove(worker)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if worker.name is None:
            self._start_failed(how)
            return
        # the kernel ends with SIGKILL whatever has no memory left, and nobody else sends it to one worker
        status: Status = "out_of_memory" if code == -signal.SIGKILL else "failed"
        seconds = round(time.monotonic() - worker.since, 3)
        results[worker.name] = ItemResult(status, None, f"its process ended with {how}", seconds)

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.kill()

    def _start_failed(self, how: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= START_ATTEMPTS:
            raise TransientError(f"a worker process cannot be started ({how}); see the stage's log.")

"""Processes that read files, a few tasks ahead, so that memory stays bounded."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event

from rtpipeline.dicom import scan_tasks
from rtpipeline.dicom.scan_tasks import ScanBatch, ScanTask, read_task, start_worker
from rtpipeline.errors import TransientError

QUEUED_PER_WORKER = 4


class ScanPool:
    """Runs tasks in `workers` processes, or in this one for 1."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None
        self._stop: Event | None = None

    def __enter__(self) -> ScanPool:
        if self._workers > 1:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([scan_tasks.__name__])
            self._stop = context.Event()
            # the server of forks may be of an earlier pool, and its environment of that time
            first = (self._stop, dict(os.environ))
            self._executor = ProcessPoolExecutor(self._workers, context, start_worker, first)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._executor is not None and self._stop is not None:
            self._stop.set()
            self._executor.shutdown(wait=True, cancel_futures=True)

    def run(self, tasks: Iterable[ScanTask], take: Callable[[ScanBatch], None]) -> None:
        """Calls `take` with every batch, and reads the parts of large zips that batches leave."""
        queue = deque(tasks)
        if self._executor is None:
            while queue:
                batch = read_task(queue.popleft())
                queue.extend(batch.parts)
                take(batch)
            return
        running: set[Future[ScanBatch]] = set()
        try:
            while queue or running:
                while queue and len(running) < QUEUED_PER_WORKER * self._workers:
                    running.add(self._executor.submit(read_task, queue.popleft()))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    batch = future.result()
                    queue.extend(batch.parts)
                    take(batch)
        except BrokenProcessPool as error:
            raise TransientError(
                "A process that reads DICOM headers ended unexpectedly, perhaps for lack of memory. "
                "Run again with fewer workers or more memory."
            ) from error

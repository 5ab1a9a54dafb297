"""A warm server: imports the heavy modules once, then forks one process for each stage it is asked to run.

Started by the runner with the thread limits in its environment, before anything is imported. It is single-threaded and
starts no pool of torch, ITK or numba, so that forking is safe. It ends with the runner, and everything it has forked
ends with it.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from pathlib import Path

from rtpipeline.errors import ExitCode, RTpipelineError
from rtpipeline.execution.messages import Ended, Kill, Ready, Run, Started
from rtpipeline.execution.processes import adopt_orphans, die_first, die_with, kill, kill_descendants, kill_orphans
from rtpipeline.execution.stage_entry import run_stage
from rtpipeline.execution.stage_log import open_stage_log
from rtpipeline.stages import STAGES

log = logging.getLogger(__name__)

HEAVY_MODULES: dict[str, tuple[str, ...]] = {
    "cpu": ("numpy", "pandas", "pyarrow.parquet", "scipy.ndimage", "pydicom", "SimpleITK", "numba"),
    "gpu": ("numpy", "pandas", "pyarrow.parquet", "SimpleITK", "torch", "nnunetv2", "totalsegmentator"),
}
"""Imported where installed."""

WARM_MODULES: dict[str, tuple[str, ...]] = {"cpu": ("rtpipeline.dvh.warm",), "gpu": ()}
"""Modules with a function `warm()` that loads compiled kernels and starts no thread."""

MIB_OF_KIB = 1 / 1024


def main(arguments: list[str]) -> None:
    """Serve until the runner goes away.

    Arguments: descriptor of the pipe, process id of the runner, image class, set-up function or ''.
    """
    descriptor, parent, image, setup = arguments
    server = Server(Connection(int(descriptor)))
    signal.signal(signal.SIGTERM, server.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(int(parent), signal.SIGTERM)
    adopt_orphans()
    started = time.perf_counter()
    if setup:
        module, function = setup.split(":")
        getattr(import_module(module), function)()
    preload(image)
    server.serve(time.perf_counter() - started)


def preload(image: str) -> None:
    """Import what the stages of an image class use, and load compiled kernels."""
    stages = [s.entry.split(":")[0] for s in STAGES.values() if s.image == image and s.entry is not None]
    for name in (*HEAVY_MODULES[image], "rtpipeline.contracts.tables", "rtpipeline.contracts.finding_codes", *stages):
        if find_spec(name.partition(".")[0]) is None:
            continue
        try:
            import_module(name)
        except ImportError as error:  # the stage that needs it fails with this reason, the others do not
            log.warning("module %s cannot be imported: %s", name, error)
    for name in WARM_MODULES[image]:
        import_module(name).warm()
    gc.collect()
    gc.freeze()  # collections in the forked processes then leave these pages shared


class Server:
    """Forks and reaps; one instance for each process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pid = os.getpid()
        self._running: dict[int, int] = {}
        """task by process id"""
        self._wakeup, self._woken = socket.socketpair()
        self._wakeup.setblocking(False)
        self._woken.setblocking(False)

    def serve(self, seconds: float) -> None:
        """Answer requests until the runner closes its end."""
        signal.signal(signal.SIGCHLD, _noted)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        try:
            self._connection.send(Ready(round(seconds, 3), len(list(Path("/proc/self/task").glob("*")))))
            while True:
                ready = wait([self._connection, self._woken])
                if self._woken in ready:
                    self._drain()
                    self._reap()
                if self._connection in ready:
                    self._answer(self._connection.recv())
        except (EOFError, ConnectionError):
            self.stop()

    def stop(self, *_: object) -> None:
        """Kill what runs, and end."""
        if os.getpid() != self._pid:  # a forked process that has not put its own handlers in place yet
            os._exit(128 + signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kill_descendants()
        os._exit(0)

    def _drain(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _answer(self, message: Run | Kill) -> None:
        if isinstance(message, Kill):
            for pid, task in self._running.items():
                if task == message.task:
                    kill(pid, message.signal)
            return
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _child(message, parent, self._leave)
        self._running[pid] = message.task
        self._connection.send(Started(message.task, pid))

    def _leave(self) -> None:
        """In a forked process: give back what belongs to the server."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for end in (self._connection, self._wakeup, self._woken):
            end.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            task = self._running.pop(pid, None)
            if task is not None:
                kill(pid, signal.SIGKILL)  # the rest of its group
            kill_orphans(self._running)  # also of orphans that were killed
            if task is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            self._connection.send(
                Ended(
                    task,
                    exit_code=code if code >= 0 else None,
                    signal=-code if code < 0 else None,
                    peak_memory_mib=usage.ru_maxrss * MIB_OF_KIB,
                    cpu_s=usage.ru_utime + usage.ru_stime,
                )
            )


def _noted(*_: object) -> None:
    """Handler of SIGCHLD: the wake-up descriptor does the work."""


def _child(message: Run, server: int, leave: Callable[[], None]) -> None:
    """The process of one stage; does not return."""
    code = int(ExitCode.FAULT)
    try:
        os.setsid()
        die_with(server)
        leave()
        die_first()
        os.environ.update(message.environment)
        open_stage_log(message.log)
        code = int(run_stage(message.request))
    except RTpipelineError as error:
        log.error("%s", error)
        code = int(error.exit_code)
    finally:
        if sys.exc_info()[0] is not None:
            log.error("stage process failed", exc_info=True)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

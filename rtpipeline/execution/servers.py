"""The runner's side of the warm servers: one for each image class and number of threads, started when first needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path

from rtpipeline.execution.environment import process_environment
from rtpipeline.execution.messages import Ended, Kill, Message, Run, Started
from rtpipeline.execution.processes import kill
from rtpipeline.execution.stage_entry import StageRequest

COMMAND = "import sys; from rtpipeline.execution.server import main; main(sys.argv[1:])"
STOP_GRACE_S = 2.0


@dataclass(frozen=True)
class Lost:
    """A server has gone away, and the processes of these tasks with it."""

    tasks: tuple[int, ...]
    server: str


@dataclass
class _Server:
    process: subprocess.Popen[bytes]
    connection: Connection
    name: str
    tasks: dict[int, int | None]
    """process id by task; None until it is known"""


class Servers:
    """All warm servers of a run.

    Parameters
    ----------
    logs: folder for what the servers themselves write.
    setup: `module:function` that each server calls before it imports the stages; for other stage tables.
    """

    def __init__(self, logs: Path, setup: str = "") -> None:
        self._logs = logs
        self._setup = setup
        self._servers: dict[tuple[str, int], _Server] = {}

    def run(
        self,
        task: int,
        image: str,
        threads: int,
        request: StageRequest,
        log: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Run a stage in a process forked from the server of its image class and number of threads."""
        server = self._servers.get((image, threads)) or self._start(image, threads)
        server.tasks[task] = None
        try:
            server.connection.send(Run(task, request, log, environment or {}))
        except (BrokenPipeError, ConnectionError):
            return  # `poll` meets the closed end and reports the task as lost

    def kill(self, task: int, signum: signal.Signals) -> None:
        """Signal the process group of a task, if it still runs."""
        for server in self._servers.values():
            if task in server.tasks:
                try:
                    server.connection.send(Kill(task, int(signum)))
                except (BrokenPipeError, ConnectionError):
                    continue

    def pid(self, task: int) -> int | None:
        """Process id of a task; None before it has started or after it has ended."""
        return next((s.tasks[task] for s in self._servers.values() if task in s.tasks), None)

    def poll(self, timeout_s: float) -> list[tuple[str, Message | Lost]]:
        """What the servers have reported, waiting for at most so long; each with the server's name."""
        found: list[tuple[str, Message | Lost]] = []
        by_connection = {server.connection: (key, server) for key, server in self._servers.items()}
        for connection in wait(list(by_connection), timeout_s):
            key, server = by_connection[connection]  # type: ignore[index]
            try:
                while server.connection.poll():
                    message: Message = server.connection.recv()
                    if isinstance(message, Started):
                        server.tasks[message.task] = message.pid
                    elif isinstance(message, Ended):
                        del server.tasks[message.task]
                    found.append((server.name, message))
            except (EOFError, ConnectionError):
                found.append((server.name, self._lost(key)))
        return found

    def close(self) -> None:
        """End the servers and whatever they still run."""
        for server in self._servers.values():
            server.connection.close()
        for server in self._servers.values():
            try:
                server.process.wait(STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                _kill_with_tasks(server)
        self._servers.clear()

    def _start(self, image: str, threads: int) -> _Server:
        ours, theirs = Pipe()
        name = f"{image}-{threads}"
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"server-{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, str(theirs.fileno()), str(os.getpid()), image, self._setup],
                env=process_environment(threads),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the runner, which stops its stages in order
            )
        theirs.close()
        server = self._servers[image, threads] = _Server(process, ours, name, {})
        return server

    def _lost(self, key: tuple[str, int]) -> Lost:
        server = self._servers.pop(key)
        server.connection.close()
        _kill_with_tasks(server)
        return Lost(tuple(server.tasks), server.name)


def _kill_with_tasks(server: _Server) -> None:
    for pid in server.tasks.values():
        if pid is not None:
            kill(pid, signal.SIGKILL)
    server.process.kill()
    server.process.wait()

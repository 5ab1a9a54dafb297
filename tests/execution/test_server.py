"""The warm server with the real stages, and what a forked process inherits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtpipeline.config import parse_config
from rtpipeline.execution.messages import Ended, Ready, Started
from rtpipeline.execution.servers import Lost, Servers
from rtpipeline.execution.stage_entry import StageRequest

PATIENCE_S = 120.0


def first(servers: Servers, kind: type):
    """The first message of a kind."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for _, message in servers.poll(1.0):
            if isinstance(message, kind):
                return message
    raise AssertionError(f"no {kind.__name__} within {PATIENCE_S} s")


@pytest.fixture
def servers(tmp_path):
    found = Servers(tmp_path / "logs")
    yield found
    found.close()


def request(tmp_path: Path, **changes) -> StageRequest:
    values = {"stage": "dvh", "cohort": "c", "out": tmp_path / "out", "config": parse_config({}), **changes}
    return StageRequest(**values)


def test_a_server_with_every_real_stage_loaded_has_one_thread_and_reports_wrong_use(servers, tmp_path):
    """With threads in it, a fork could leave a lock held for ever; one started by a library would show here."""
    servers.run(1, "cpu", 1, request(tmp_path), tmp_path / "logs" / "dvh.log")
    assert first(servers, Ready).threads == 1
    ended = first(servers, Ended)
    assert (ended.exit_code, ended.signal) == (2, None)
    assert "stage dvh works on one course" in (tmp_path / "logs" / "dvh.log").read_text()
    assert (tmp_path / "logs" / "server-cpu-1.log").read_text() == ""


def test_more_threads_for_the_stages_are_no_threads_of_the_server(servers, tmp_path):
    servers.run(1, "cpu", 4, request(tmp_path), tmp_path / "logs" / "dvh.log")
    assert first(servers, Ready).threads == 1


def test_a_server_that_cannot_start_is_reported_as_lost(tmp_path, toy_environment):
    servers = Servers(tmp_path / "logs", setup="no_such_module:install")
    servers.run(7, "cpu", 1, request(tmp_path), tmp_path / "logs" / "dvh.log")
    assert first(servers, Lost).tasks == (7,)
    assert "no_such_module" in (tmp_path / "logs" / "server-cpu-1.log").read_text()
    servers.close()


def test_closing_ends_servers_and_what_they_run(toys, tmp_path):
    servers = Servers(tmp_path / "logs", setup="toy_stages:install")
    toys.behave()
    (toys.trace_home / "behaviour.json").write_text('{"/organize": ["grandchild:60"]}')
    wanted = request(tmp_path, stage="organize", sources=(toys.export,))
    servers.run(1, "cpu", 1, wanted, tmp_path / "logs" / "organize.log")
    pid = first(servers, Started).pid
    end = time.monotonic() + PATIENCE_S
    while not toys.grandchildren() and time.monotonic() < end:
        time.sleep(0.05)
    (server,) = [s.process.pid for s in servers._servers.values()]
    servers.close()
    for process in (pid, server, *toys.grandchildren()):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_process_ends_with_its_parent():
    """Killed, a process has no time to tell its children: the kernel does."""
    child = "import os, time; from rtpipeline.execution.processes import die_with; die_with(os.getppid()); "
    child += "print(os.getpid(), flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 10.0
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
    process.stdout.close()


def test_a_process_whose_parent_has_gone_already_ends_at_once():
    code = "from rtpipeline.execution.processes import die_with; die_with(1 << 22); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (128 + signal.SIGKILL, "")

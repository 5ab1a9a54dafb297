"""Processes that do not outlive the one that started them (Linux: prctl and child subreaper)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def die_with(parent: int, signum: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent ends; ends it at once when the parent is gone already.

    The kernel watches the thread that forked: it has to be one that lives as long as its process.
    """
    _prctl(PR_SET_PDEATHSIG, int(signum))
    if os.getppid() != parent:
        os._exit(128 + int(signum))


def die_first(badness: int = 500) -> None:
    """Have the kernel choose this process before others when memory runs out: the runner tries a stage again.

    badness: added to the kernel's own score of 0 to 1000; a stage's workers give more than the stage.
    """
    try:
        Path("/proc/self/oom_score_adj").write_text(str(badness))
    except OSError:  # not Linux, or not permitted here: then the kernel chooses by size alone
        return


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends, so that `kill_orphans` finds them."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def kill_orphans(known: Iterable[int]) -> None:
    """Kill every child of this process that is not known: what an ended stage process has left behind."""
    kept = set(known)
    for pid in _children():
        if pid not in kept:
            kill(pid, signal.SIGKILL)


def kill_descendants(patience_s: float = 5.0) -> None:
    """Kill every child, then the children they leave to this process, until there are none."""
    end = time.monotonic() + patience_s
    while (children := _children()) and time.monotonic() < end:
        for pid in children:
            kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def kill(pid: int, signum: int) -> None:
    """Signal a process that leads its own group, and its group."""
    for send in (os.killpg, os.kill):
        try:
            send(pid, signum)
        except (ProcessLookupError, PermissionError):  # ended meanwhile, or has not made its group yet
            continue


def _children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue
    return found


def _prctl(option: int, value: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value})")


def session_memory_mib() -> dict[int, float]:
    """Resident memory of all processes by session, MiB. What forked processes share counts for each of them."""
    page_mib = os.sysconf("SC_PAGE_SIZE") / 2**20
    found: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            session = os.getsid(int(entry.name))
            resident = int((entry / "statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            continue
        found[session] = found.get(session, 0.0) + resident * page_mib
    return found

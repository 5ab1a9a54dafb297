"""Work items that end in every way an item can end."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path


def square(number: int) -> int:
    return number * number


def act(order: str) -> str:
    """What the order says: `ok`, `hang`, `raise`, `memory`, `bad_alloc`, `kill`, `crash`, `hog`, `lone:FOLDER`."""
    match order.partition(":"):
        case ("hang", _, _):
            time.sleep(600)
        case ("raise", _, _):
            raise ValueError("Doe^Jane")
        case ("memory", _, _):
            raise MemoryError
        case ("bad_alloc", _, _):
            raise RuntimeError("std::bad_alloc")
        case ("kill", _, _):
            os.kill(os.getpid(), signal.SIGKILL)
        case ("crash", _, _):
            os.kill(os.getpid(), signal.SIGSEGV)
        case ("hog", _, _):
            resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
            return str(len(bytearray(4 << 30)))
        case ("lone", _, folder):
            return _alone(Path(folder))
        case ("badness", _, _):
            return Path("/proc/self/oom_score_adj").read_text().strip()
        case ("note", _, file):
            with Path(file).open("a") as notes:
                notes.write("x")
    return f"{order.partition(':')[0]} in {os.environ['OMP_NUM_THREADS']} threads"


def _alone(folder: Path) -> str:
    """Dies of memory while another process works in the folder."""
    mine = folder / str(os.getpid())
    mine.touch()
    time.sleep(0.5)
    others = [p for p in folder.iterdir() if p != mine and Path("/proc", p.name).exists()]
    if others:
        os.kill(os.getpid(), signal.SIGKILL)
    mine.unlink()
    return "alone"


def no_memory() -> None:
    raise MemoryError


class Huge:
    """Has no room in the process that unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return no_memory, ()


def pid_then_hang(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)

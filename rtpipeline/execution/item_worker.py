"""A worker process of `work_items`: computes one item after the other, as its parent sends them.

Started with the thread limits in its environment, before anything is imported, and with its own interpreter: nothing is
forked from a process in which a library may have started threads.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rtpipeline.execution.processes import die_first, die_with

MEMORY_WORDS = ("bad_alloc", "failed to allocate", "unable to allocate", "out of memory", "cannot allocate memory")
"""How C++ libraries and CUDA say what Python says with MemoryError."""
WORKER_BADNESS = 700
"""Above a stage's 500: without memory the kernel ends a worker, which costs one item, and not the stage."""
OWN_CODE = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> None:
    """Serve until the parent closes its end. Arguments: descriptor of the pipe, process id of the parent."""
    descriptor, parent = (int(a) for a in arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    die_with(parent)
    die_first(WORKER_BADNESS)
    connection = Connection(descriptor)
    try:
        sys.path[:] = connection.recv()
        function: Callable[[Any], Any] = pickle.loads(connection.recv_bytes())
        connection.send("ready")
        while True:
            answer = _compute(function, connection.recv_bytes())
            connection.send_bytes(answer)
    except (EOFError, ConnectionError):
        return


def _compute(function: Callable[[Any], Any], item: bytes) -> bytes:
    """Pickled (status, value or reason). A reason names a place in the program and no value: values may be the data."""
    try:
        return pickle.dumps(("ok", function(pickle.loads(item))))
    except MemoryError:
        return pickle.dumps(("out_of_memory", "MemoryError"))
    except Exception as error:  # noqa: BLE001 - the boundary of one item: whatever happens to it is its own
        if any(word in str(error).lower() for word in MEMORY_WORDS):
            return pickle.dumps(("out_of_memory", f"{type(error).__name__} of an allocation"))
        reason = f"{type(error).__name__}{_place(error)}"
        return pickle.dumps(("failed", reason))


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(OWN_CODE) and not f.filename.endswith("item_worker.py")]
    last = (own or frames)[-1]
    path = Path(last.filename)
    name = path.relative_to(OWN_CODE.parent) if path.is_relative_to(OWN_CODE) else path.name
    return f" at {name}:{last.lineno}"


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # libraries that wait for their threads at the end would keep the parent waiting

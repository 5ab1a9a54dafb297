"""A program that ends with the process that asked for it: `python -m rtpipeline.execution.guarded PID COMMAND...`.

The command runs in the group of this process. When the process of that id ends, also by SIGKILL, the whole group is
killed; when the command ends, this process ends in the same way. A program with libraries of its own cannot be told to
watch its parent, nor can the workers that it starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from rtpipeline.execution.processes import die_with

PARENT_ENDED = signal.SIGUSR1
"""What the kernel sends here when the parent ends; nobody else sends it."""


def command_guarded(command: list[str]) -> list[str]:
    """The command as a child of this process that ends with it; to be started as the leader of its own group.

    It has to be started by a thread that lives as long as this process.
    """
    return [sys.executable, "-m", "rtpipeline.execution.guarded", str(os.getpid()), *command]


def main(arguments: list[str]) -> None:
    """Run the command to its end, which becomes the end of this process."""
    signal.signal(PARENT_ENDED, _end_group)
    # a request to end the group is the command's to answer; a handler, since what is ignored would stay ignored in it
    signal.signal(signal.SIGTERM, lambda *_: None)
    die_with(int(arguments[0]), PARENT_ENDED)
    code = subprocess.Popen(arguments[1:]).wait()
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def _end_group(*_: object) -> None:
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])

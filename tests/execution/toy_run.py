"""The `rtpipeline` command with the toy stages, as a process of its own: `python toy_run.py run --input ...`."""

from __future__ import annotations

import functools
import sys

import toy_stages

from rtpipeline import cli
from rtpipeline.execution import cohort_run
from rtpipeline.execution.servers import Servers


def use_toys() -> None:
    """Run toy stages in this process and in the servers it starts."""
    toy_stages.install()
    cohort_run.Servers = functools.partial(Servers, setup="toy_stages:install")  # type: ignore[misc,assignment]


if __name__ == "__main__":
    use_toys()
    sys.exit(cli.main())

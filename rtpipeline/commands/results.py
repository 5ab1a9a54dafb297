"""The results folder that a command works on. Imports nothing heavy at the top."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rtpipeline.commands import options
from rtpipeline.errors import UsageError


def add_run(parser: Any) -> None:
    """`--run`."""
    parser.add_argument("--run", metavar="ID", default="latest", help="run whose tables are used (%(default)s)")


def results_folder(args: argparse.Namespace) -> Path:
    """Folder with the tables of `--run` of the cohort.

    Raises
    ------
    UsageError: there is no such cohort, run, or no tables of it.
    """
    results = options.existing_cohort(args).results
    folder = results / args.run
    if args.run in ("", ".", "..") or folder.parent != results or not (folder / "run.json").is_file():
        runs = sorted(p.parent.name for p in results.glob("*/run.json") if not p.parent.is_symlink())
        listed = f"there are {', '.join(runs)}" if runs else "there are none yet; use `rtpipeline run`"
        raise UsageError(f"no results of run {args.run} of cohort {args.cohort} ({listed}).")
    return folder.resolve()

"""`rtpipeline run`: an export becomes tables."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from rtpipeline.commands import options

if TYPE_CHECKING:
    from rtpipeline.execution.cohort_run import RunOptions


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "run",
        "turn an export into tables",
        "What is done already is kept: running again goes on where an earlier run ended.",
    )
    options.add_cohort_run(parser)


def handle(args: argparse.Namespace) -> int:
    """Run the cohort."""
    return run_and_report(options.run_options(args), as_json=args.json)


def run_and_report(run_options: RunOptions, *, as_json: bool) -> int:
    """Run, show what happens on stderr, and write the summary to stdout; the exit code."""
    from rtpipeline.execution.cohort_run import run_cohort
    from rtpipeline.execution.display import display_for

    summary = run_cohort(run_options, display_for(sys.stderr))
    if as_json:
        options.write_json(summary.as_json())
    else:
        options.write_text(summary.text())
    return summary.exit_code

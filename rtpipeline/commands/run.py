"""`rtpipeline run`: an export becomes tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtpipeline.commands import options
from rtpipeline.errors import UsageError

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
    options.add_cohort_run(parser, in_bucket=True)
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="with --output s3://: folder that keeps the store here (user's cache)"
    )


def handle(args: argparse.Namespace) -> int:
    """Run the cohort."""
    if isinstance(args.output, Path):
        if args.cache is not None:
            raise UsageError("--cache is for a store in a bucket: --output s3://bucket/prefix.")
        return run_and_report(options.run_options(args), as_json=args.json)
    if args.secret_file is None:
        raise UsageError("--output s3:// needs --secret-file: a cohort's secret is never in a bucket.")
    from rtpipeline.execution.bucket_store import BucketStore, cache_folder
    from rtpipeline.store.bucket import Bucket
    from rtpipeline.store.folder import CohortFolder

    url = args.output
    args.output = (args.cache or cache_folder(url)).absolute()
    with BucketStore(Bucket.open(url), CohortFolder(args.output, args.cohort)).kept():
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

"""`rtpipeline retry`: what failed or stayed incomplete, once more."""

from __future__ import annotations

import argparse
from typing import Any

from rtpipeline.commands import options
from rtpipeline.commands.run import run_and_report


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "retry",
        "compute again what failed or stayed partial, then what depends on it, and the tables",
        "Uses the export and the configuration of the last run.",
    )
    data = parser.add_argument_group("data")
    options.add_store(data)
    processing = parser.add_argument_group("processing")
    processing.add_argument(
        "--include-data-errors", action="store_true", help="also those whose data could not be used"
    )
    processing.add_argument("--workers", type=options.positive, metavar="N", help="stages at once")
    processing.add_argument("--courses", type=options.names, default=(), metavar="ID,...", help="only these courses")
    options.add_json(parser.add_argument_group("output"))


def handle(args: argparse.Namespace) -> int:
    """Run the cohort again."""
    from rtpipeline.execution.cohort_run import RunOptions
    from rtpipeline.execution.run_files import remembered_inputs

    remembered = remembered_inputs(options.existing_cohort(args))
    config = remembered.config
    if args.workers is not None:
        config = config.model_copy(update={"workers": args.workers})
    redo = {"partial", "fault"} | ({"data_error"} if args.include_data_errors else set())
    return run_and_report(
        RunOptions(
            inputs=remembered.inputs,
            store=args.output,
            cohort=args.cohort,
            config=config,
            courses=args.courses,
            redo=frozenset(redo),
        ),
        as_json=args.json,
    )

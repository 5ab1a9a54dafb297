"""`rtpipeline report`: the cohort's page again, from its tables alone."""

from __future__ import annotations

import argparse
from typing import Any

from rtpipeline.commands import options
from rtpipeline.commands.results import add_run, results_folder


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "report",
        "write report/index.html again from the tables of a run",
        "Nothing is computed; the page is one file that opens from disk.",
    )
    options.add_store(parser)
    add_run(parser)
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Write the page."""
    from rtpipeline.aggregation.ro_crate import refresh
    from rtpipeline.report.build import INDEX, write_report

    results = results_folder(args)
    path = write_report(results)
    refresh(results, INDEX)
    if args.json:
        options.write_json({"report": str(path)})
    else:
        options.write_text(str(path))
    return 0

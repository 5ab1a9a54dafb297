"""`rtpipeline validate`: whether a run can start, without computing anything."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rtpipeline.commands import options
from rtpipeline.errors import ExitCode


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "validate",
        "check configuration, inputs, space and weights before a run",
        "Computes nothing. Ends with 2 when something would stop the run.",
    )
    options.add_input(parser)
    options.add_config(parser)
    parser.add_argument("--output", type=Path, metavar="STORE", help="also check the space there")
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Print the checks."""
    from rtpipeline.execution.checks import run_checks

    config = options.configuration(args)
    checks = run_checks(options.sources(args.input), config, args.output)
    if args.json:
        options.write_json({"ok": all(c.ok for c in checks), "checks": [c.as_json() for c in checks]})
    else:
        options.write_text("\n".join(["ok   configuration", *(check.line() for check in checks)]))
    return int(ExitCode.DONE if all(c.ok for c in checks) else ExitCode.USAGE)

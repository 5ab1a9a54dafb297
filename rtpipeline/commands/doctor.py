"""`rtpipeline doctor`: what this machine and installation can do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rtpipeline.commands import options


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "doctor",
        "check this machine and installation",
        "Ends with 0 also when something is missing; what is missing is named.",
    )
    parser.add_argument("--output", type=Path, metavar="STORE", help="also check the space there")
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Print the checks."""
    from rtpipeline.execution.checks import machine_checks

    checks = machine_checks(args.output)
    if args.json:
        options.write_json({"checks": [check.as_json() for check in checks]})
    else:
        options.write_text("\n".join(check.line() for check in checks))
    return 0

"""`rtpipeline weights`: which networks are there, whether they are whole, and how they get there."""

from __future__ import annotations

import argparse
from typing import Any

from rtpipeline.commands import options
from rtpipeline.errors import UsageError

DETAILS = """\
  list     which networks the tasks need, and which are there
  verify   read them; compare with SHA256SUMS of their folder, --record writes it
  fetch    download what is missing with TotalSegmentator's own function, then record its sha256

The folder is TOTALSEG_WEIGHTS_PATH, else ~/.totalsegmentator/nnunet/results. Tasks that need a licence take its number
from TOTALSEG_LICENSE. The phantom's networks of the demo are part of the package and are not listed here.
"""


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs, "weights", "list, verify or fetch the networks of TotalSegmentator", epilog=DETAILS
    )
    parser.add_argument("action", choices=("list", "verify", "fetch"), help="what to do")
    parser.add_argument(
        "--task", action="append", default=[], metavar="TASK", help="task, may be given several times (total)"
    )
    speed = parser.add_mutually_exclusive_group()
    speed.add_argument("--fast", action="store_true", help="3 mm models, where a task has one")
    speed.add_argument("--fastest", action="store_true", help="6 mm models, where a task has one")
    parser.add_argument("--record", action="store_true", help="verify: write the sha256 of what is there to SHA256SUMS")
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Do it; exit code 1 when something of what was asked for is missing or damaged."""
    from rtpipeline.segmentation import catalogue
    from rtpipeline.segmentation.fetch import fetch, status_of

    if args.record and args.action != "verify":
        raise UsageError(f"--record belongs to verify: rtpipeline weights verify --record; not to {args.action}")
    if not catalogue.is_installed():
        raise UsageError("TotalSegmentator is not installed: pip install 'rtpipeline[segmentation]'")
    tasks = [_task(name, args) for name in args.task or ["total"]]
    if args.action == "fetch":
        fetch(tasks)
    found = [status for task in tasks for status in status_of(task, record=args.record)]
    if args.json:
        options.write_json({"networks": [status.as_json() for status in found]})
    else:
        options.write_text("\n".join(status.line() for status in found))
    return 0 if args.action == "list" or all(status.state == "ok" for status in found) else 1


def _task(name: str, args: argparse.Namespace) -> Any:
    import difflib

    from rtpipeline.segmentation import catalogue

    if name not in catalogue.task_names():
        near = difflib.get_close_matches(name, catalogue.task_names(), n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"--task {name}: TotalSegmentator has no such task{hint}")
    return catalogue.task(name, catalogue.best_mode(name, fast=args.fast, fastest=args.fastest))

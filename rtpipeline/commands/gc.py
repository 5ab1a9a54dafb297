"""`rtpipeline gc`: outputs that no current key names are removed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtpipeline.commands import options
from rtpipeline.errors import UsageError

if TYPE_CHECKING:
    from rtpipeline.store.collect import Removable

MIB = 1024 * 1024

IN_BUCKET = """\
of a store in a bucket:
  No run or submission of the cohort may be under way, here or on another machine or cluster. One that has written
  within 15 minutes is noticed. What the folder of `run --cache` has besides goes as well; that of another machine
  keeps its own, and its next run sends it again.
"""


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "gc",
        "remove outputs that no current key names, after showing them",
        "Current are the keys of the latest runs. Tables in results/ and everything in private/ stay.",
        epilog=IN_BUCKET,
    )
    options.add_bucket_store(parser)
    parser.add_argument(
        "--keep-runs", type=options.positive, default=1, metavar="N", help="runs whose outputs stay (%(default)s)"
    )
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Show, ask, remove."""
    return _in_folder(args) if isinstance(args.output, Path) else _in_bucket(args)


def _in_folder(args: argparse.Namespace) -> int:
    from rtpipeline.execution.run_files import read_plan, runs
    from rtpipeline.store.collect import removable, remove

    options.refuse_bucket_options(args)
    folder = options.existing_cohort(args)
    with folder.lock():
        kept = _kept(runs(folder), args)
        found = removable(folder, (read_plan(folder, run_id) for run_id in kept))
        removed = _agreed(found, args)
        if removed:
            remove(folder, found)
    _say(found, str(folder.store), removed, args)
    return 0


def _in_bucket(args: argparse.Namespace) -> int:
    from rtpipeline.execution.bucket_cohort import BucketCohort
    from rtpipeline.execution.under_way import plans
    from rtpipeline.store.collect import removable, removable_objects, remove, remove_objects

    cohort = BucketCohort.existing(args.output, args.cohort, args.cache)
    with cohort.held(stopped=args.stopped):
        kept = [json.loads(cohort.bucket.get(key)) for key in _kept(plans(cohort.bucket), args)]
        found = removable_objects(cohort.store, cohort.name, kept)
        removed = _agreed(found, args)
        if removed:
            remove_objects(cohort.store, found)
            if cohort.cache is not None:
                remove(cohort.cache, removable(cohort.cache, kept))
        note = cohort.old_versions() if removed else ""
    _say(found, cohort.store.url, removed, args, note)
    return 0


def _kept(runs: list[str], args: argparse.Namespace) -> list[str]:
    if not runs:
        raise UsageError(f"cohort {args.cohort} has no run with a plan, so no key is current; nothing was removed.")
    return runs[-args.keep_runs :]


def _agreed(found: list[Removable], args: argparse.Namespace) -> bool:
    if not args.json:
        options.write_text(_text(found))
    return bool(found) and options.confirmed(f"Remove these {len(found)} folders?", args)


def _text(found: list[Removable]) -> str:
    lines = [f"{i.path}  {i.size_bytes / MIB:.1f} MiB  {i.why}" for i in found]
    total = sum(i.size_bytes for i in found) / MIB
    return "\n".join([*lines, f"{len(found)} folders, {total:.1f} MiB"])


def _say(found: list[Removable], root: str, removed: bool, args: argparse.Namespace, note: str = "") -> None:
    if args.json:
        listed = [{"path": f"{root}/{i.path}", "bytes": i.size_bytes, "why": i.why} for i in found]
        options.write_json({"removed": removed, "outputs": listed} | ({"note": note} if note else {}))
    elif removed:
        options.write_text(f"{len(found)} folders removed. {note}".strip())

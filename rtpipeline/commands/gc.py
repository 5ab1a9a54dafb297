"""`rtpipeline gc`: outputs that no current key names are removed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rtpipeline.commands import options
from rtpipeline.errors import UsageError

if TYPE_CHECKING:
    from rtpipeline.store.collect import Removable

MIB = 1024 * 1024


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "gc",
        "remove outputs that no current key names, after showing them",
        "Current are the keys of the latest runs. Tables in results/ and everything in private/ stay.",
    )
    options.add_store(parser)
    parser.add_argument(
        "--keep-runs", type=options.positive, default=1, metavar="N", help="runs whose outputs stay (%(default)s)"
    )
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Show, ask, remove."""
    import shutil

    from rtpipeline.execution.run_files import read_plan, runs
    from rtpipeline.store.collect import removable, remove_empty_parents

    folder = options.existing_cohort(args)
    with folder.lock():
        kept = runs(folder)[-args.keep_runs :]
        if not kept:
            raise UsageError(f"cohort {args.cohort} has no run with a plan, so no key is current; nothing was removed.")
        found = removable(folder, (read_plan(folder, run_id) for run_id in kept))
        if not args.json:
            options.write_text(_text(found, args))
        removed = bool(found) and options.confirmed(f"Remove these {len(found)} folders?", args)
        for item in found if removed else ():
            shutil.rmtree(item.path) if item.path.is_dir() else item.path.unlink()
            remove_empty_parents(item.path, folder.root)
    if args.json:
        listed = [{"path": str(i.path), "bytes": i.size_bytes, "why": i.why} for i in found]
        options.write_json({"removed": removed, "outputs": listed})
    elif removed:
        options.write_text(f"{len(found)} folders removed")
    return 0


def _text(found: list[Removable], args: argparse.Namespace) -> str:
    root = args.output.absolute()
    lines = [f"{i.path.relative_to(root)}  {i.size_bytes / MIB:.1f} MiB  {i.why}" for i in found]
    total = sum(i.size_bytes for i in found) / MIB
    return "\n".join([*lines, f"{len(found)} folders, {total:.1f} MiB"])

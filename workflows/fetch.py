"""`python -m workflows.fetch`: the results of a run as a folder here, which appears whole or not at all."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rtpipeline.commands import options
from rtpipeline.errors import ExitCode, TransientError, UsageError
from workflows import command

if TYPE_CHECKING:
    from workflows.standing import CohortStore

THREADS = 8


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command.parser_of("fetch", "Copy the tables and the report of a run from the bucket to a folder here.")
    parser.add_argument("run", metavar="RUN", help="a run's id, or `latest`")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder that does not exist yet, or is empty")
    parser.add_argument("--cohort", type=options.cohort_name, metavar="NAME", help="cohort of the run")
    command.add_place(parser)
    command.add_json(parser)
    return parser


def handle(args: argparse.Namespace) -> int:
    """Fetch."""
    from workflows.finding_runs import cohort_store, run_in_store

    run_id = command.one_run(args.run)
    if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
        raise UsageError(f"{args.folder} is not an empty folder; give one that does not exist yet.")
    cohort, store = _place(args, run_id)
    bucket = command.store_bucket(args.store, store)
    with tempfile.TemporaryDirectory(prefix="rtpipeline-") as mirror:
        kept = cohort_store(bucket, cohort, Path(mirror))
        run_id = run_in_store(kept, run_id, with_results=True)
        if not kept.has_results(run_id, kept.plan_of(run_id)):
            raise UsageError(f"run {run_id} has no tables (yet); see python -m workflows.status {run_id}.")
        count = fetch_results(kept, run_id, args.folder)
    if args.json:
        options.write_json({"run_id": run_id, "cohort": cohort, "folder": str(args.folder), "files": count})
    else:
        options.write_text(f"{count} files of run {run_id} in {args.folder}; start with report/index.html")
    return int(ExitCode.DONE)


def _place(args: argparse.Namespace, run_id: str) -> tuple[str, str]:
    """The cohort, and the store that the cluster says; the cluster is asked only for what is not given."""
    from workflows.creating import labels_of
    from workflows.finding_runs import installed_store, workflows_of
    from workflows.kube import connect
    from workflows.names import LABEL_COHORT

    known = args.store or os.environ.get(command.STORE_VARIABLE)
    if args.cohort and known:
        return args.cohort, ""
    cluster = connect(args.namespace)
    store = "" if known else installed_store(cluster)
    if args.cohort:
        return args.cohort, store
    found = workflows_of(cluster, run_id, "") if run_id != "latest" else []
    if not found:
        raise UsageError(f"run {run_id} of which cohort? Give --cohort NAME.")
    return labels_of(found[0])[LABEL_COHORT], store


def fetch_results(store: CohortStore, run_id: str, folder: Path) -> int:
    """Download the results of a run; the number of files.

    Raises
    ------
    TransientError: the results change while they are read.
    """
    from rtpipeline.store.folder import staged
    from rtpipeline.store.transfers import in_order

    bucket = store.store.child(store.cohort, "results", run_id)
    names = sorted(entry.key for entry in bucket.list())
    try:
        with staged(folder.absolute()) as scratch:

            def one(name: str) -> None:
                parts = PurePosixPath(name).parts
                if ".." in parts or name.startswith("/"):
                    raise UsageError("the results hold a name that leads out of their folder; nothing was fetched.")
                bucket.download(name, scratch / name)

            for _ in in_order(one, names, threads=THREADS):
                pass
            json.loads((scratch / "stage.json").read_bytes())
    except KeyError:
        raise TransientError(f"the results of run {run_id} changed while they were fetched; try again.") from None
    return len(names)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return command.run_command(handle, build_parser(), list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())

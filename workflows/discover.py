"""`python -m workflows.discover`: submits what is new in an inbox; runs in a pod of the cluster from time to time.

A cohort is a folder of the inbox, `<inbox>/<cohort>/...`, that whoever fills it marks as ready with the object
`<inbox>/<cohort>/cohort.ready`. New data are submitted with all that was there before; what failed is not tried again
until there is something new. Nothing is waited for: what needs another step gets it the next time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rtpipeline.commands import options
from rtpipeline.dicom.bucket_sources import READY
from rtpipeline.errors import ExitCode, RTpipelineError, UsageError
from rtpipeline.store.bucket import Bucket, is_url
from workflows import command

if TYPE_CHECKING:
    from rtpipeline.config import Config
    from workflows.answer import Answer
    from workflows.submission import Place

INBOX = "inbox"
CONFIGURATIONS = "configurations"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command.parser_of(
        "discover", f"Submit the cohorts of an inbox that are new or have new data and are marked with {READY}."
    )
    parser.add_argument("--inbox", metavar="s3://...", help=f"folder of the cohorts (STORE/{INBOX} otherwise)")
    parser.add_argument("--configuration", default="default", metavar="NAME", help="configuration by its name")
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="put this configuration into the store as --configuration NAME, for every cohort of the inbox, and end",
    )
    command.add_place(parser)
    command.add_json(parser)
    return parser


def handle(args: argparse.Namespace) -> int:
    """Look, and submit."""
    from workflows.installation import check_objects, installation
    from workflows.kube import connect
    from workflows.submission import Place

    if args.save is not None:
        return _save(args)
    cluster = connect(args.namespace)
    installed = installation(cluster)
    store = command.store_bucket(args.store or None, installed.store)
    check_objects(cluster, installed, store.name)
    inbox = _inbox(args.inbox, store)
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="rtpipeline-") as mirror:
        for cohort in ready_cohorts(inbox):
            place = Place(cluster, installed, store, Path(mirror) / cohort)
            found.append(_one(place, inbox, cohort, args.configuration))
    if args.json:
        options.write_json({"cohorts": found})
    else:
        lines = [f"{entry['cohort']}: {entry['status']} {entry['detail']}".rstrip() for entry in found]
        options.write_text("\n".join(lines or [f"no cohort in {inbox.url} is marked with {READY}"]))
    return int(ExitCode.SOME_COURSES_FAILED if any(entry["status"] == "error" for entry in found) else ExitCode.DONE)


def ready_cohorts(inbox: Bucket) -> list[str]:
    """The marked folders of an inbox. One whose name is no cohort's is left alone: its name may be a patient's."""
    named = sorted(name for name in inbox.folders() if options.COHORT_NAME.fullmatch(name))
    return [name for name in named if inbox.entry(f"{name}/{READY}") is not None]


def _one(place: Place, inbox: Bucket, cohort: str, configuration: str) -> dict[str, object]:
    """Submit one cohort; what is wrong with it does not keep the others."""
    from workflows.asked import Asked
    from workflows.submission import Manner, Submission

    try:
        asked = Asked(
            cohort,
            (f"{inbox.url}/{cohort}",),
            configuration_of(place.store, cohort, configuration, place.mirror),
            configuration,
            incremental=True,
        )
        answer: Answer = Submission(place, asked, Manner(leave=True)).run()
    except RTpipelineError as error:
        return {"cohort": cohort, "status": "error", "detail": str(error), "run_id": ""}
    detail = answer.run_id if answer.status in ("submitted", "already submitted") else f"(run {answer.run_id})"
    return {"cohort": cohort, "status": answer.status, "detail": detail, "run_id": answer.run_id}


def configuration_of(store: Bucket, cohort: str, name: str, mirror: Path) -> Config:
    """The configuration of this name: the cohort's own, else the store's; `default` may be neither.

    Raises
    ------
    UsageError: there is none of this name.
    """
    from rtpipeline.config import parse_config
    from rtpipeline.store.configuration import DEFAULT, unbundle

    for key in (f"{cohort}/private/{CONFIGURATIONS}/{name}.tgz", f"{CONFIGURATIONS}/{name}.tgz"):
        try:
            archive = mirror / "configuration.tgz"
            store.download(key, archive)
        except KeyError:
            continue
        return unbundle(archive, mirror / "configuration")
    if name == DEFAULT:
        return parse_config({})
    raise UsageError(
        f"there is no configuration {name} in {store.url}/{CONFIGURATIONS}; put it there: "
        f"python -m workflows.discover --configuration {name} --save FILE"
    )


def _save(args: argparse.Namespace) -> int:
    from rtpipeline.config import load_config
    from rtpipeline.store.configuration import bundle
    from workflows.finding_runs import installed_store
    from workflows.kube import connect

    options.cohort_name(args.configuration)
    archive = bundle(load_config(args.save))
    store = command.store_bucket(args.store, "" if args.store else installed_store(connect(args.namespace)))
    store.put(f"{CONFIGURATIONS}/{args.configuration}.tgz", archive)
    options.write_text(f"{args.save} is {store.url}/{CONFIGURATIONS}/{args.configuration}.tgz")
    return int(ExitCode.DONE)


def _inbox(given: str | None, store: Bucket) -> Bucket:
    """The inbox by its URL, or by a folder of the store."""
    if not given:
        return store.child(INBOX)
    return Bucket.open(given) if is_url(given) else store.child(given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return command.run_command(handle, build_parser(), list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())

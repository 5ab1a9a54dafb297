"""`python -m workflows.discover`: look once into an inbox of the bucket, and submit what is new there or has grown.

Every folder of the inbox is a cohort of that name. What was submitted before and failed is not tried again, so a broken
export does not run every half hour. Needs no right to write into the bucket: what was tried is told by the workflows
that are still there, and by the plans that runs leave.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rtpipeline.commands import options
from rtpipeline.config import Config
from rtpipeline.errors import ExitCode, RTpipelineError, UsageError
from rtpipeline.execution.cluster_plan import facts_id
from rtpipeline.execution.run_files import make_run_id
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.configuration import DEFAULT, named_configuration
from workflows import command
from workflows.asked import Asked, request_digest, workflow_name
from workflows.bodies import Run, whole_cohort
from workflows.creating import live_workflows
from workflows.installation import Installation, installation
from workflows.kube import Cluster, connect
from workflows.messages import AlreadyExistsError
from workflows.record import MOST_IN_ONE
from workflows.sources import Holding, holding
from workflows.standing import CohortStore, Planned, Unplanned

SETTLED = "15m"
"""Age of the youngest file of an export from which on it counts as complete."""


@dataclass(frozen=True)
class Place:
    """Where cohorts come from and go to."""

    cluster: Cluster
    installed: Installation
    inbox: Bucket
    store: Bucket
    configuration: str
    settled_s: float
    scratch: Path
    dry_run: bool = False


def discover(place: Place) -> Iterator[tuple[str, str, bool]]:
    """Each folder of the inbox: its name, what came of it, and whether that was an error."""
    for name in sorted(place.inbox.folders()):
        try:
            yield name, _one(place, options.cohort_name(name)), False
        except argparse.ArgumentTypeError as error:
            yield name, f"not a name of a cohort: {error}", True
        except RTpipelineError as error:
            yield name, str(error), True


def _one(place: Place, cohort: str) -> str:
    """What came of one cohort."""
    source = place.inbox.child(cohort)
    age_s = time.time() - max((entry.modified_ns for entry in source.list()), default=0) / 1e9
    if age_s < place.settled_s:
        return f"still growing: its youngest file is {age_s / 60:.0f} minutes old"
    live = live_workflows(place.cluster, cohort)
    if live:
        return f"is being worked on by {live[0]['metadata']['name']}"
    store = CohortStore(place.store, cohort, place.scratch)
    asked = Asked(
        cohort=cohort,
        sources=(source.url,),
        config=_config(place, cohort),
        configuration=place.configuration,
        incremental=True,
    )
    if asked.config.identity == "keep":
        raise UsageError("the configuration says `identity: keep`: patient ids would become names of pods and keys.")
    images = place.installed
    facts = facts_id(asked.config, cpu_image=images.cpu_image, gpu_image=images.gpu_image, weights=images.weights)
    held = holding(asked.sources)
    settled = _settled(store, store.look(asked, held.digest, facts), held)
    return settled or _submit(place, asked, request_digest(asked, held.digest, facts))


def _config(place: Place, cohort: str) -> Config:
    archive = place.scratch / f"{cohort}.tgz"
    at = f"{cohort}/private/configurations/{place.configuration}.tgz"
    if place.store.entry(at) is not None:
        place.store.download(at, archive)
    return named_configuration(place.configuration, archive, place.scratch / f"{cohort}-configuration")


def _settled(store: CohortStore, standing: Planned | Unplanned, held: Holding) -> str:
    """Why there is nothing to submit; '' when there is."""
    if isinstance(standing, Unplanned):
        if standing.failed:
            return f"not tried again: {standing.failed}"
        if held.courses_guess > MOST_IN_ONE:
            return "too large for one workflow: start it with `python -m workflows.submit`"
        return ""
    latest = store.latest()
    plan = store.plan_of(latest) if latest else None
    if not standing.items:
        return "nothing new" if plan is not None and store.current_results(standing) else ""
    same = plan is not None and (plan.get("organize_key"), plan.get("settings")) == (
        standing.plan.organize_key,
        dict(standing.plan.settings),
    )
    if same:
        return f"not tried again: run {latest} had the same data and settings"
    if len(standing.items) > MOST_IN_ONE:
        return "too large for one workflow: start it with `python -m workflows.submit`"
    return ""


def _submit(place: Place, asked: Asked, request: str) -> str:
    run = Run(
        cohort=asked.cohort,
        run_id=make_run_id(request, datetime.now(UTC)),
        request=request,
        configuration=asked.configuration,
        store=place.store.url,
        source=str(asked.sources[0]),
        namespace=place.cluster.namespace,
    )
    name = workflow_name(asked.cohort, request)
    if place.dry_run:
        return f"would be submitted as {name}"
    try:
        place.cluster.create_workflow(whole_cohort(run).body(run, name))
    except AlreadyExistsError:
        return f"not tried again: {name} had the same data and settings"
    return f"submitted as {name}, run {run.run_id}"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command.parser_of("discover", "Submit the folders of an inbox that are new or have grown, and end.")
    parser.add_argument("--inbox", required=True, metavar="s3://...", help="its folders are cohorts, each of its name")
    parser.add_argument("--configuration", default=DEFAULT, metavar="NAME", help="in each cohort (%(default)s)")
    parser.add_argument(
        "--settled",
        type=command.duration_s,
        default=command.duration_s(SETTLED),
        metavar="TIME",
        help=f"leave a folder alone until its youngest file is so old ({SETTLED})",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be submitted; submit nothing")
    command.add_place(parser)
    return parser


def handle(args: argparse.Namespace) -> int:
    """Look once; 1 when a cohort could not be looked at."""
    cluster = connect(args.namespace)
    installed = installation(cluster)
    store = command.store_bucket(args.store, installed.store)
    failed = False
    with tempfile.TemporaryDirectory(prefix="rtpipeline-") as scratch:
        place = Place(
            cluster=cluster,
            installed=installed,
            inbox=Bucket.open(args.inbox),
            store=store,
            configuration=args.configuration,
            settled_s=args.settled,
            scratch=Path(scratch),
            dry_run=args.dry_run,
        )
        for name, said, is_error in discover(place):
            failed |= is_error
            options.write_text(f"{name}: {said}\n")
    return int(ExitCode.SOME_COURSES_FAILED if failed else ExitCode.DONE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return command.run_command(handle, build_parser(), list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())

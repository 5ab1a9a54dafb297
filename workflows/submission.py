"""One submission, from the question what is left to run to the tables.

Organize done and its facts known: the courses are planned here and submitted in shards, then aggregation. Otherwise a
cohort of up to 150 courses goes as one workflow whose first pod plans; of a larger one, and where only a part is asked
for, organize goes first and alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from rtpipeline.errors import ExitCode, UsageError
from rtpipeline.execution.cluster_plan import facts_id
from rtpipeline.execution.interruption import Interrupted
from rtpipeline.execution.run_files import make_run_id
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.configuration import bundle, configuration_name
from workflows import messages
from workflows.answer import Answer, Status, how_to_follow, how_to_read_logs
from workflows.asked import Asked, request_digest, workflow_name
from workflows.bodies import Piece, Run
from workflows.creating import AnotherRunError, Creator, is_of_request, labels_of, live_workflows
from workflows.following import Follower, StoppedWaitingError
from workflows.installation import Installation
from workflows.kube import Cluster
from workflows.names import LABEL_RUN
from workflows.outcome import outcome
from workflows.progress import display_for
from workflows.record import MOST_IN_ONE, Record, read_record
from workflows.settled import Settled, nothing_to_do, tried_before
from workflows.sources import Holding, holding, managed_url, uploaded
from workflows.standing import CohortStore, Planned, Standing, Unplanned, dry_plan, key_of_aggregation


@dataclass(frozen=True)
class Place:
    """Where a submission goes."""

    cluster: Cluster
    installed: Installation
    store: Bucket
    mirror: Path
    """a temporary folder"""


@dataclass(frozen=True)
class Manner:
    """How it goes on once submitted."""

    dry_run: bool = False
    wait: bool = False
    leave: bool = False
    """wait for nothing at all: somebody comes again and goes on"""
    every_stage: bool = False
    timeout_s: float | None = None


class Submission:
    """The parts of a submission in their order."""

    def __init__(self, place: Place, asked: Asked, manner: Manner) -> None:
        if asked.config.identity == "keep":
            raise UsageError(
                "the configuration says `identity: keep`, which would bring patient ids into the names of pods and "
                "keys; use `pseudonymize`."
            )
        self._place, self._manner = place, manner
        self._archive = bundle(asked.config)
        self._asked = replace(asked, configuration=configuration_name(asked.configuration, self._archive))
        self._saved_as = (asked.configuration, self._asked.configuration)
        self._store = CohortStore(place.store, asked.cohort, place.mirror)
        self._facts = facts_id(
            asked.config,
            cpu_image=place.installed.cpu_image,
            gpu_image=place.installed.gpu_image,
            weights=place.installed.weights,
        )
        self._started, self._clock_s = datetime.now(UTC), time.monotonic()
        self._deadline_s = None if manner.timeout_s is None else self._clock_s + manner.timeout_s

    def run(self) -> Answer:
        """Submit what is left to run, and wait for it when asked to.

        Raises
        ------
        UsageError: something asked for does not exist, or the cohort is being worked on for another request.
        """
        held = holding(self._asked.sources)
        request = request_digest(self._asked, held.digest, self._facts)
        joined = self._run_on_its_way(request)
        if joined:
            return self._join(joined, request, held)
        standing = self._store.look(self._asked, held.digest, self._facts)
        before = read_record(self._store, request) if self._asked.incremental else None
        settled = nothing_to_do(self._store, standing) or tried_before(self._store, standing, before)
        if settled is not None:
            return self._answer_settled(settled)
        if before is not None and before.kind == "shards" and not self._manner.dry_run:
            # its courses have had their run: what is missing is the tables
            creator = Creator(self._place.cluster, before.run)
            return self._finish(before, held, creator, "submitted", before.pieces())
        if self._manner.dry_run:
            return self._show(self._record(self._new_run(held, request), held, standing))
        run = self._new_run(held, request, upload=True)
        self._put_configuration()
        record = self._record(run, held, standing)
        if "organize" in self._asked.forced:
            self._store.forget_organize()
        return self._submit(record, held)

    def _run_on_its_way(self, request: str) -> str:
        """The run of the same request that lives; '' when there is none."""
        live = live_workflows(self._place.cluster, self._asked.cohort)
        same = [labels_of(workflow).get(LABEL_RUN, "") for workflow in live if is_of_request(workflow, request)]
        if same:
            return max(same)
        if live and not self._manner.dry_run:
            name, run_id = live[0]["metadata"]["name"], labels_of(live[0]).get(LABEL_RUN, "")
            raise messages.busy(self._asked.cohort, name, run_id, self._place.cluster.namespace)
        return ""

    def _new_run(self, held: Holding, request: str, *, upload: bool = False) -> Run:
        """A run with its source in the bucket.

        Raises
        ------
        TransientError: files changed while they were uploaded.
        """
        bucket = self._place.store.child(self._asked.cohort)
        sources = self._asked.sources
        source = uploaded(sources, held, bucket, sys.stderr) if upload else managed_url(sources, held, bucket)
        return Run(
            cohort=self._asked.cohort,
            run_id=make_run_id(request, self._started),
            request=request,
            configuration=self._asked.configuration,
            store=self._place.store.url,
            source=source,
            namespace=self._place.cluster.namespace,
        )

    def _put_configuration(self) -> None:
        """Under the name that says its content, which runs use, and under the plain one, for the form of Argo."""
        for name in self._saved_as:
            self._store.put(self._archive, "private", "configurations", f"{name}.tgz")

    def _record(self, run: Run, held: Holding, standing: Standing) -> Record:
        """What is to be created."""
        if isinstance(standing, Unplanned):
            small = held.courses_guess <= MOST_IN_ONE
            return Record(run, "whole" if small and self._asked.is_whole else "organize")
        unattended = not self._manner.wait and self._asked.is_whole and len(standing.items) <= MOST_IN_ONE
        if standing.items and unattended:
            return Record(run, "whole", expected=standing.expected)
        return self._planned_record(run, standing)

    def _planned_record(self, run: Run, planned: Planned) -> Record:
        if self._manner.dry_run:
            plan = dry_plan(planned, run.run_id, self._started)
        else:
            self._store.drop_forced(planned)
            plan = self._store.put_plan(planned, run.run_id, self._started)
        return Record(
            run,
            "shards" if planned.items else "aggregate",
            organize_key=planned.plan.organize_key,
            settings={name: planned.plan.settings[name] for name in planned.course_stages},
            aggregation_key=key_of_aggregation(plan),
            items=tuple(planned.items),
            expected=planned.expected,
        )

    def _show(self, record: Record) -> Answer:
        """Print what would be created."""
        pieces = record.pieces()
        if record.kind == "shards" and self._manner.wait:
            pieces.append(record.aggregation())
        request = record.run.request
        named = [(workflow_name(record.run.cohort, request, piece.part), piece) for piece in pieces]
        bodies = [piece.body(record.run, name) for name, piece in named]
        sys.stdout.write(yaml.safe_dump_all(bodies, sort_keys=False, width=10**6, explicit_start=True))
        later = " Shards of courses follow when organize has found them." if record.kind == "organize" else ""
        message = f"Nothing was created or uploaded.{later}"
        return self._answer("dry run", 0, record.run.run_id, [name for name, _ in named], message=message)

    def _submit(self, record: Record, held: Holding) -> Answer:
        record.put(self._store)
        try:
            return self._create(record, held, Creator(self._place.cluster, record.run), "submitted")
        except AnotherRunError as other:  # somebody was faster by a moment
            record.take_back(self._store)
            return self._join(other.run_id, record.run.request, held)

    def _join(self, run_id: str, request: str, held: Holding) -> Answer:
        """Follow a run that is on its way, and create what its submitter did not get to."""
        record = read_record(self._store, request, run_id)
        if self._manner.dry_run:
            message = f"Already submitted as run {run_id}; nothing would be created."
            return self._answer("dry run", 0, run_id, message=message)
        creator = Creator(self._place.cluster, _stub(run_id, request, self._asked.cohort, self._place))
        if record is None:
            # started a moment ago by somebody whose record is not there yet: its workflows are, so they are followed
            selector = f"{LABEL_RUN}={run_id}"
            creator.names = [w["metadata"]["name"] for w in self._place.cluster.workflows(selector)]
            record = Record(creator.run, "whole")
            return self._finish(record, held, creator, "already submitted", [])
        creator.run = record.run
        return self._create(record, held, creator, "already submitted")

    def _create(self, record: Record, held: Holding, creator: Creator, status: Status) -> Answer:
        return self._finish(record, held, creator, status, record.pieces())

    def _finish(
        self, record: Record, held: Holding, creator: Creator, status: Status, pieces: Sequence[Piece]
    ) -> Answer:
        """Create and, when asked to, wait; organize alone is waited for in any case, since the rest follows from it."""
        run_id = record.run.run_id
        wait = self._manner.wait or (record.kind == "organize" and not self._manner.leave)
        creator.add(pieces)
        with Interrupted() as interrupted, display_for(sys.stderr, every_stage=self._manner.every_stage) as display:
            follower = Follower(
                self._place.cluster, run_id, display, interrupted, self._deadline_s, dict(record.expected)
            )
            try:
                if not wait:
                    follower.create_all(creator)
                    if record.kind == "shards" and not follower.live:
                        creator.add([record.aggregation()])
                        follower.create_all(creator)
                    return self._left(record, creator, status)
                display.say(f"run {run_id}: {status}; stop waiting with Ctrl-C, the run goes on")
                follower.follow(creator)
                if record.kind == "organize":
                    record = self._after_organize(record, held, creator.names[-1])
                    creator.add(record.pieces())
                    follower.expected = dict(record.expected)
                    if not self._manner.wait:
                        follower.create_all(creator)
                        return self._left(record, creator, status)
                    follower.follow(creator)
                if record.kind == "shards":
                    display.say("the courses have ended; aggregation writes the tables")
                    creator.add([record.aggregation()])
                    follower.follow(creator)
            except StoppedWaitingError as stop:
                return self._stopped(record, creator, interrupted=stop.interrupted)
        summary = outcome(self._store, run_id, list(follower.states.values()), time.monotonic() - self._clock_s)
        found: Status = "some_failed" if summary.status == "some_failed" else "done"
        if summary.status == "failed":
            summary.message += f" Logs: {how_to_read_logs(creator.names[-1], record.run.namespace)}"
        return self._answer(
            "failed" if summary.status == "failed" else found,
            summary.exit_code,
            run_id,
            creator.names,
            created=creator.created,
            summary=summary,
            results=summary.results,
        )

    def _after_organize(self, record: Record, held: Holding, workflow: str) -> Record:
        """The courses that organize has found, planned under the same run.

        Raises
        ------
        UsageError: organize has found nothing that can be planned.
        """
        asked = replace(self._asked, force=tuple(name for name in self._asked.force if name != "organize"))
        if "organize" in self._asked.forced:
            asked = replace(asked, force=("prepare_images", "prepare_rt"))
        standing = self._store.look(asked, held.digest, self._facts)
        if isinstance(standing, Unplanned):
            raise UsageError(
                f"organize ended without a list of courses ({standing.failed or standing.reason}); "
                f"its pod says why: {how_to_read_logs(workflow, record.run.namespace)}"
            )
        planned = self._planned_record(record.run, standing)
        planned.put(self._store)
        return planned

    def _left(self, record: Record, creator: Creator, status: Status) -> Answer:
        """Submitted, and left alone."""
        run_id, namespace = record.run.run_id, record.run.namespace
        lines = [f"{status.capitalize()}: run {run_id}. Follow it: {how_to_follow(run_id, namespace)}"]
        if record.kind == "shards":
            without = " without --force" if self._asked.force else ""
            lines.append(f"The tables are written when the same command is given{without} with --wait.")
        return self._answer(status, 0, run_id, creator.names, created=creator.created, message="\n".join(lines))

    def _stopped(self, record: Record, creator: Creator, *, interrupted: bool) -> Answer:
        run_id = record.run.run_id
        follow = how_to_follow(run_id, record.run.namespace)
        rest = f" {len(creator.waiting)} workflows are not created yet." if creator.waiting else ""
        message = (
            f"{'Interrupted' if interrupted else 'The time of --timeout is over'}; what runs goes on.{rest} "
            f"Look at it: {follow}. The same command goes on waiting, and creates what is missing."
        )
        code = ExitCode.INTERRUPTED if interrupted else ExitCode.TRANSIENT
        return self._answer(
            "waiting stopped", int(code), run_id, creator.names, created=creator.created, message=message
        )

    def _answer_settled(self, settled: Settled) -> Answer:
        """Nothing is submitted. Failed courses of the earlier run count where their end is waited for."""
        code = settled.exit_code if self._manner.wait or settled.status == "not tried again" else int(ExitCode.DONE)
        summary = settled.summary
        results = summary.results if summary else None
        return self._answer(
            settled.status, code, settled.run_id, message=settled.message, summary=summary, results=results
        )

    def _answer(
        self, status: Status, exit_code: int, run_id: str, workflows: Sequence[str] = (), **more: object
    ) -> Answer:
        return Answer(
            status,
            exit_code,
            self._asked.cohort,
            run_id,
            self._place.cluster.namespace,
            list(workflows),
            **more,  # type: ignore[arg-type]
        )


def _stub(run_id: str, request: str, cohort: str, place: Place) -> Run:
    """A run of which only its name is known."""
    return Run(cohort, run_id, request, "", place.store.url, "", place.cluster.namespace)

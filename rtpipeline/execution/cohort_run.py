"""One run of a cohort: organize, the stages of every course, aggregation, summary."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rtpipeline.config import Config
from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.dicom.sources import Source, absolute, listing_digest
from rtpipeline.errors import ExitCode, UsageError
from rtpipeline.execution.admission import Admission, Limits
from rtpipeline.execution.attempts import Attempts, Finished, Task
from rtpipeline.execution.cluster_plan import aggregation_key
from rtpipeline.execution.display import Display
from rtpipeline.execution.interruption import Interrupted
from rtpipeline.execution.ledger import Ledger
from rtpipeline.execution.outputs import Output, read_output
from rtpipeline.execution.plan import CohortPlan, all_settings, forced_stages, make_plan, organize_key, select
from rtpipeline.execution.reasons import Demands
from rtpipeline.execution.run_files import (
    earlier_failures,
    new_run,
    read_plan,
    remember_inputs,
    write_config,
    write_plan,
)
from rtpipeline.execution.runner import TICK_S, CourseRunner, Locations
from rtpipeline.execution.servers import Servers
from rtpipeline.execution.stage_entry import StageRequest
from rtpipeline.execution.summary import Failure, RunSummary, point_latest, summarize
from rtpipeline.store.folder import CohortFolder, sweep, write_atomically
from rtpipeline.store.identity import load_or_make_secret
from rtpipeline.store.keys import digest, stage_path
from rtpipeline.store.private_mark import MARKER, marked_key

COHORT_STAGES_LOGS = "cohort"


@dataclass(frozen=True)
class RunOptions:
    """What `run` and `retry` are asked for."""

    inputs: tuple[Source, ...]
    store: Path
    cohort: str
    config: Config
    courses: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    redo: frozenset[str] = frozenset()
    """statuses that are computed again although final"""
    secret_file: Path | None = None


def run_cohort(options: RunOptions, display: Display) -> RunSummary:
    """Run a cohort to its tables.

    Raises
    ------
    UsageError, ConfigError: the inputs, the store or the options cannot be used; nothing has run.
    """
    folder = CohortFolder(options.store.absolute(), options.cohort)
    check_inputs(options.inputs, options.store)
    with folder.lock():
        sweep(folder.root)
        load_or_make_secret(folder.private, options.secret_file)
        with Interrupted() as interrupted:
            return CohortRun(options, folder, display, interrupted).run()


def check_inputs(inputs: Sequence[Source], store: Path) -> None:
    """Refuse sources that do not exist, and a store that would be read as part of the export.

    Raises
    ------
    UsageError: one of these.
    TransientError: a bucket cannot be reached.
    """
    for path in inputs:
        if not isinstance(path, Path):
            path.check()
            continue
        if not path.exists():
            raise UsageError(f"--input {path} does not exist; give the folder or archive of the export.")
        if store.resolve().is_relative_to(path.resolve()):
            raise UsageError(f"--output {store} lies inside --input {path}; give a folder outside of the export.")


def organized(folder: CohortFolder, key: str) -> Output | None:
    """organize's output under a key, when `private/` still holds the index that was made with it."""
    marker = folder.private / MARKER
    if not marker.is_file() or marked_key(marker.read_bytes()) != key:
        return None
    output = read_output(folder.store / stage_path(folder.cohort, "organize", key))
    return output if output is not None and output.has_result else None


def aggregation_request(folder: CohortFolder, run_id: str, plan: dict[str, Any], config: Config) -> StageRequest:
    """What aggregation is told to write the tables of a run.

    Parameters
    ----------
    plan: the run's `plan.json`; aggregation hangs on all keys in it.
    """
    return StageRequest(
        stage="aggregation",
        cohort=folder.cohort,
        out=folder.results / run_id,
        config=config,
        stage_key=aggregation_key(plan),
        inputs={"organize": folder.store / stage_path(folder.cohort, "organize", plan["organize_key"])},
        store=folder.root,
        run_id=run_id,
    )


class CohortRun:
    """The parts of a run in their order."""

    def __init__(self, options: RunOptions, folder: CohortFolder, display: Display, interrupted: Interrupted) -> None:
        self._options = options
        self._folder = folder
        self._display = display
        self._interrupted = interrupted
        self._started = datetime.now(UTC)
        self._clock_s = time.monotonic()
        self._sources = tuple(map(absolute, options.inputs))
        self._forced = forced_stages(options.force, options.config)

    def run(self) -> RunSummary:
        """Everything; servers and their stages end with it, however it ends."""
        config = self._options.config
        key = organize_key(listing_digest(self._sources), config)
        run_id = new_run(self._folder, digest([key, all_settings(config)]), self._started)
        logs = self._folder.run(run_id) / "logs"
        remember_inputs(self._folder, self._sources, config)
        write_config(self._folder, run_id, config)
        servers = Servers(logs / COHORT_STAGES_LOGS)
        with Ledger(self._folder.run(run_id) / "ledger.jsonl") as ledger:
            admission = Admission(Limits.of(config))
            attempts = Attempts(servers, admission, config, ledger)
            ledger.write("run_started", run_id=run_id, organize=key, limits=str(admission.limits))
            try:
                with self._display:
                    summary = self._stages(run_id, key, logs, attempts, admission, ledger)
                ledger.write("run_ended", status=summary.status, exit_code=summary.exit_code)
            except KeyboardInterrupt:  # asked twice
                attempts.stop(at_once=True)
                ledger.write("interrupted", at_once=True)
                summary = self._interrupted_summary(run_id)
            finally:
                servers.close()
        return summary

    def _stages(
        self, run_id: str, key: str, logs: Path, attempts: Attempts, admission: Admission, ledger: Ledger
    ) -> RunSummary:
        organize = self._organize(run_id, key, logs, attempts)
        if isinstance(organize, RunSummary):
            return organize
        plan = self._plan(key, organize)
        self._display.expect(plan)
        started_utc = self._started.isoformat(timespec="seconds")
        write_plan(self._folder, run_id, plan, started_utc)
        where = Locations(self._folder.cohort, organize.folder, self._folder.private, self._sources, logs, run_id)
        runner = CourseRunner(plan, where, attempts, admission, ledger, self._display)
        try:
            completed = runner.run(self._interrupted)
        finally:
            # also when asked twice to stop: the plan then says what has ended
            write_plan(self._folder, run_id, plan, started_utc)
        if not completed:
            return self._stop(run_id, plan, organize, attempts, ledger)
        aggregation = self._aggregate(run_id, logs, attempts)
        summary = self._summary(run_id, plan, [organize, *([aggregation.output] if aggregation.output else [])])
        return self._with_results(summary, aggregation)

    def _organize(self, run_id: str, key: str, logs: Path, attempts: Attempts) -> Output | RunSummary:
        """organize's output, kept or made; a summary when there is none."""
        done = organized(self._folder, key) if "organize" not in self._forced else None
        if done is not None:
            return done
        self._display.say("organize: reading the export")
        marker = self._folder.private / MARKER
        marker.unlink(missing_ok=True)  # the index is another one from here on
        request = StageRequest(
            stage="organize",
            cohort=self._folder.cohort,
            out=self._folder.store / stage_path(self._folder.cohort, "organize", key),
            config=self._options.config,
            stage_key=key,
            sources=self._sources,
            private=self._folder.private,
            run_id=run_id,
        )
        finished = self._one(request, logs, attempts)
        if finished is None:
            attempts.stop()
            return self._interrupted_summary(run_id)
        output = finished.output
        if output is None or not output.has_result:
            return self._failed(run_id, "organize", finished)
        write_atomically(marker, f"{key}\n".encode())
        return output

    def _plan(self, key: str, organize: Output) -> CohortPlan:
        options = self._options
        manifest = CohortManifest.load(organize.folder)
        return make_plan(
            manifest,
            options.config,
            self._folder,
            key,
            selection=select(manifest, options.courses, options.only),
            demands=Demands(self._forced, options.redo),
            earlier=earlier_failures(self._folder),
        )

    def _aggregate(self, run_id: str, logs: Path, attempts: Attempts) -> Finished:
        self._display.say("aggregation: writing the cohort's tables")
        written = read_plan(self._folder, run_id)
        request = aggregation_request(self._folder, run_id, written, self._options.config)
        finished = self._one(request, logs, attempts)
        if finished is None:
            raise KeyboardInterrupt
        return finished

    def _one(self, request: StageRequest, logs: Path, attempts: Attempts) -> Finished | None:
        """Run one stage of the cohort by itself; None when interrupted."""
        attempts.start(Task(request, logs / COHORT_STAGES_LOGS / f"{request.stage}.log"))
        while not self._interrupted:
            for finished in attempts.poll(TICK_S):
                return finished
            self._display.tick(attempts.running)
        return None

    def _stop(self, run_id: str, plan: CohortPlan, organize: Output, attempts: Attempts, ledger: Ledger) -> RunSummary:
        self._display.say("stopping")
        attempts.stop()
        ledger.write("interrupted")
        summary = self._summary(run_id, plan, [organize], interrupted=True)
        summary.message = self._how_to_resume()
        return summary

    def _summary(
        self, run_id: str, plan: CohortPlan, cohort_outputs: list[Output], *, interrupted: bool = False
    ) -> RunSummary:
        wall_s = time.monotonic() - self._clock_s
        return summarize(plan, self._folder.cohort, run_id, cohort_outputs, interrupted=interrupted, wall_s=wall_s)

    def _with_results(self, summary: RunSummary, aggregation: Finished) -> RunSummary:
        output = aggregation.output
        if output is not None and output.has_result:
            point_latest(self._folder.results, summary.run_id)
            summary.results = str(self._folder.results / summary.run_id)
            return summary
        failed = self._failed(summary.run_id, "aggregation", aggregation)
        failed.courses, failed.stages, failed.findings = summary.courses, summary.stages, summary.findings
        failed.failures += summary.failures
        return failed

    def _failed(self, run_id: str, stage: str, finished: Finished) -> RunSummary:
        """A run that has no results because a stage of the cohort failed."""
        output, given_up = finished.output, finished.given_up
        status = output.status if output else given_up.status if given_up else "failed"
        reason = output.reason if output else given_up.reason if given_up else ""
        code = ExitCode.FAULT
        if status == "data_error" or (
            output is not None and output.status in ("not_applicable", "not_run", "disabled")
        ):
            code = ExitCode.DATA
        elif given_up is not None and given_up.cause in ("memory", "transient", "timeout"):
            code = ExitCode.TRANSIENT
        log = self._folder.run(run_id) / "logs" / COHORT_STAGES_LOGS / f"{stage}.log"
        return RunSummary(
            status="failed",
            exit_code=int(code),
            cohort=self._folder.cohort,
            run_id=run_id,
            message=f"{stage} ended without a result; no tables were written. Its log: {log}",
            failures=[Failure("", stage, status, reason)],
            wall_s=round(time.monotonic() - self._clock_s, 2),
        )

    def _interrupted_summary(self, run_id: str) -> RunSummary:
        return RunSummary(
            status="interrupted",
            exit_code=int(ExitCode.INTERRUPTED),
            cohort=self._folder.cohort,
            run_id=run_id,
            message=self._how_to_resume(),
            wall_s=round(time.monotonic() - self._clock_s, 2),
        )

    def _how_to_resume(self) -> str:
        return "Interrupted. What has ended is kept; the same command goes on from there."

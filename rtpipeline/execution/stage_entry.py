"""Run one stage in one folder: what the pod and the local runner both call.

The stage writes into a temporary sibling of its output folder, which is renamed when the stage has ended; `stage.json`
is written last. This is the one place where any exception is caught: a fault of ours is recorded with its traceback.
"""

from __future__ import annotations

import errno
import logging
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rtpipeline import __version__
from rtpipeline.config import Config
from rtpipeline.contracts.findings import finding
from rtpipeline.contracts.manifests import UNUSABLE_STATUSES, StageRecord, Upstream
from rtpipeline.errors import DataError, ExitCode, OutOfMemoryError, TransientError, UsageError
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.execution.environment import stage_threads
from rtpipeline.execution.stage_log import safe_traceback
from rtpipeline.stages import STAGES, Stage
from rtpipeline.store.folder import passing_folder, publish
from rtpipeline.store.keys import config_slice, library_version, output_digest, settings_digest

if TYPE_CHECKING:
    from rtpipeline.dicom.sources import Source

log = logging.getLogger(__name__)

MACHINE_ERRNOS = frozenset(
    {
        errno.ENOSPC,
        errno.EIO,
        errno.ESTALE,
        errno.EAGAIN,
        errno.ENOMEM,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.EMFILE,
    }
)


@dataclass(frozen=True)
class StageRequest:
    """Everything that `rtpipeline stage` is told on its command line."""

    stage: str
    cohort: str
    out: Path
    config: Config
    stage_key: str = ""
    course_id: str | None = None
    inputs: dict[str, Path] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    private: Path | None = None
    store: Path | None = None
    run_id: str = ""
    workers: int = 1
    fresh: bool = False
    """nothing of an earlier, partial output under the same key is used again"""
    note: Path | None = None
    """receives `memory` or `transient` before the process ends with the transient code"""


def run_stage(request: StageRequest) -> ExitCode:
    """Run the stage and publish its folder; the exit code says how it ended.

    Raises
    ------
    UsageError: the stage is not known, or the request lacks what it needs.
    OSError: the output folder cannot be written, for a reason that does not pass.
    """
    stage = _known_stage(request)
    try:
        with passing_folder(request.out) as scratch:
            return _run_and_publish(request, stage, scratch)
    except (TransientError, MemoryError, OSError) as error:
        kind = passing_kind(error)
        if kind is None:
            raise
        log.warning("%s %s: %s: %s", request.course_id or request.cohort, stage.name, kind, type(error).__name__)
        if request.note is not None:
            request.note.write_text(kind)
        return ExitCode.TRANSIENT


def _run_and_publish(request: StageRequest, stage: Stage, scratch: Path) -> ExitCode:
    context = StageContext(
        stage=stage.name,
        cohort=request.cohort,
        config=request.config,
        out=scratch,
        inputs={name: path for name, path in request.inputs.items() if _is_usable(path)},
        failed={name: path for name, path in request.inputs.items() if path.is_dir() and not _is_usable(path)},
        course_id=request.course_id,
        threads=stage_threads(stage.name, request.config),
        workers=request.workers,
        sources=request.sources,
        private=request.private,
        store=request.store,
        run_id=request.run_id,
        stage_key=request.stage_key,
        previous=_previous(request, stage),
    )
    started = datetime.now(UTC)
    clock, cpu = time.perf_counter(), _cpu_seconds()
    outcome, code, trace = _run_entry(stage, context)
    record = _record(request, stage, context, outcome).model_copy(
        update={
            "started_utc": started.isoformat(timespec="milliseconds"),
            "ended_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "wall_s": round(time.perf_counter() - clock, 4),
            "cpu_s": round(_cpu_seconds() - cpu, 4),
            "peak_memory_mib": round(_peak_mib(), 1),
            "exit_code": int(code),
            "traceback": trace,
        }
    )
    (scratch / "stage.json").write_text(record.model_dump_json(indent=1) + "\n")
    publish(scratch, request.out)
    log.info("%s %s: %s %s", request.course_id or request.cohort, stage.name, outcome.status, outcome.reason)
    return code


def _run_entry(stage: Stage, context: StageContext) -> tuple[StageOutcome, ExitCode, str]:
    """How the stage itself ended, its exit code, and where it failed. What may pass, and wrong usage, is raised."""
    try:
        outcome = _outcome(stage, context)
    except DataError as error:
        context.report(*error.findings)
        outcome = StageOutcome(status="data_error", reason=str(error))
    except (UsageError, TransientError, MemoryError):
        raise
    except Exception as error:
        if passing_kind(error) is not None:
            raise
        return _fault(context, error), ExitCode.FAULT, safe_traceback(error)
    return outcome, ExitCode.DATA if outcome.status == "data_error" else ExitCode.DONE, ""


def _known_stage(request: StageRequest) -> Stage:
    if request.stage not in STAGES:
        raise UsageError(f"no stage is called {request.stage!r}; stages are {', '.join(STAGES)}.")
    stage = STAGES[request.stage]
    if stage.scope == "course" and not request.course_id:
        raise UsageError(f"stage {stage.name} works on one course; give --course ID.")
    missing = [n for n in stage.needs if n not in request.inputs or not _is_usable(request.inputs[n])]
    if missing and stage.entry is not None:
        raise UsageError(f"stage {stage.name} needs the output of {', '.join(missing)}; give --in {missing[0]}=DIR.")
    return stage


def _previous(request: StageRequest, stage: Stage) -> Path | None:
    """The output that this one replaces, when it is the same work left incomplete: same key, same inputs."""
    if request.fresh or not request.stage_key or not request.out.is_dir():
        return None
    record = StageRecord.load(request.out)
    if record is None or record.status != "partial" or record.stage_key != request.stage_key:
        return None
    today = {name: upstream_state(request.inputs.get(name)) for name in stage.upstream}
    return request.out if record.upstream == today else None


def _is_usable(folder: Path) -> bool:
    """Whether a stage may read an upstream folder: one that ended in an error may hold half of its output."""
    if not folder.is_dir():
        return False
    record = StageRecord.load(folder)
    return record is None or record.status not in UNUSABLE_STATUSES


def _outcome(stage: Stage, context: StageContext) -> StageOutcome:
    """The stage's own outcome; stages whose hard inputs hold nothing do not apply."""
    if stage.entry is None:
        return StageOutcome(status="disabled", reason="not part of this version")
    if stage.scope == "course":
        course = context.course()
        if course.status == "excluded":
            return StageOutcome(status="not_applicable", reason=f"course excluded by {', '.join(course.excluded_by)}")
    module, function = stage.entry.split(":")
    run: Callable[[StageContext], StageOutcome] = getattr(import_module(module), function)
    return run(context)


def _fault(context: StageContext, error: BaseException) -> StageOutcome:
    """A fault of ours as an outcome. Its text may quote data, so only the kind of error enters the finding."""
    log.error("%s %s: %s", context.course_id or context.cohort, context.stage, type(error).__name__, exc_info=error)
    context.report(finding("STAGE_FAULT", f"stage {context.stage}", type(error).__name__))
    return StageOutcome(status="fault", reason=f"{type(error).__name__} in stage {context.stage}")


def passing_kind(error: BaseException) -> Literal["memory", "transient"] | None:
    """What an error of the machine may pass with: more memory, or time (a full disk, a remote file system that went
    away). None for one of the data or the program."""
    if isinstance(error, (MemoryError, OutOfMemoryError)):
        return "memory"
    is_transient = isinstance(error, TransientError) or getattr(error, "errno", None) in MACHINE_ERRNOS
    return "transient" if is_transient else None


def _record(request: StageRequest, stage: Stage, context: StageContext, outcome: StageOutcome) -> StageRecord:
    from rtpipeline.contracts.tables import FINDINGS

    path = context.out / "findings.parquet"
    if not path.exists():  # aggregation writes the findings of the whole cohort there, its own among them
        FINDINGS.write(FINDINGS.frame([{"cohort": request.cohort, **f.row()} for f in context.findings]), path)
    return StageRecord(
        stage=stage.name,
        stage_version=stage.version,
        stage_key=request.stage_key,
        cohort=request.cohort,
        course_id=request.course_id,
        status=outcome.status,
        reason=outcome.reason,
        output_digest=output_digest(context.out),
        upstream={name: upstream_state(request.inputs.get(name)) for name in stage.upstream},
        config=config_slice(stage, request.config),
        settings_digest=request.stage_key.rpartition("-")[2] or settings_digest(stage.name, request.config),
        versions={lib: library_version(lib) for lib in stage.libraries},
        weights=outcome.weights,
        device=outcome.device,
        threads=context.threads,
        seed=request.config.seed,
        findings=[f.row() for f in context.findings],
        counts=outcome.counts,
        host=platform.node(),
        rtpipeline_version=__version__,
    )


def upstream_state(folder: Path | None) -> Upstream:
    """How an upstream stage stands: from its `stage.json`, or absent."""
    record = StageRecord.load(folder) if folder is not None else None
    if record is None:
        return Upstream(key=None, status="absent", output_digest=None)
    return Upstream(key=record.stage_key, status=record.status, output_digest=record.output_digest)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_mib() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) / 1024

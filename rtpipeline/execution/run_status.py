"""How a run stands: from its plan and ledger, and from the outputs that lie under its keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rtpipeline.errors import UsageError
from rtpipeline.execution.ledger import read_ledger
from rtpipeline.execution.outputs import FAILED_STATUSES, read_output
from rtpipeline.execution.run_files import latest_run, read_plan
from rtpipeline.store.folder import CohortFolder


@dataclass(frozen=True)
class StageStatus:
    """One stage of one course."""

    status: str
    reason: str = ""


@dataclass(frozen=True)
class CourseStatus:
    """One course."""

    course_id: str
    stages: dict[str, StageStatus]


@dataclass(frozen=True)
class RunStatus:
    """One run."""

    run_id: str
    state: str
    """`done`, `some_failed`, `interrupted`, `failed`, or `running or killed`"""
    courses: list[CourseStatus]
    results: str | None

    @property
    def stage_names(self) -> list[str]:
        """Stages of a course, in their order."""
        return list(dict.fromkeys(name for course in self.courses for name in course.stages))

    def failures(self) -> Iterator[tuple[str, str, StageStatus]]:
        """Course, stage and how it failed."""
        for course in self.courses:
            for name, stage in course.stages.items():
                if stage.status in FAILED_STATUSES:
                    yield course.course_id, name, stage

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        failed = [{"course_id": c, "stage": n, **asdict(s)} for c, n, s in self.failures()]
        return asdict(self) | {"failures": failed}


def run_status(folder: CohortFolder, run_id: str | None = None) -> RunStatus:
    """The status of a run, the latest by default.

    Raises
    ------
    UsageError: there is no run.
    """
    run_id = run_id or latest_run(folder)
    if run_id is None:
        raise UsageError(f"cohort {folder.cohort} in {folder.store} has no run with a plan; use `rtpipeline run`.")
    plan = read_plan(folder, run_id)
    events = list(read_ledger(folder.run(run_id) / "ledger.jsonl"))
    ended = {(e.get("course"), e.get("stage")): e for e in events if e["event"] == "ended"}
    courses = [
        CourseStatus(
            course["course_id"],
            {
                name: _stage_status(folder, entry, ended.get((course["course_id"], name)))
                for name, entry in course["stages"].items()
            },
        )
        for course in plan["courses"]
    ]
    last = next((e for e in reversed(events) if e["event"] == "run_ended"), None)
    state = last["status"] if last else "running or killed"
    if last is None and any(e["event"] == "interrupted" for e in events):
        state = "interrupted"
    results = folder.results / run_id
    return RunStatus(run_id, state, courses, str(results) if results.is_dir() else None)


def _stage_status(folder: CohortFolder, entry: dict[str, Any], ended: dict[str, Any] | None) -> StageStatus:
    """What the plan says; of a run that was killed, what the ledger says, or the output that lies there."""
    if entry["status"] is not None:
        return StageStatus(entry["status"], entry["reason"])
    output = read_output(folder.root / entry["folder"])
    if ended is not None and ended.get("status") in ("failed", "timeout"):
        return StageStatus(ended["status"], ended["ending"])
    return StageStatus("missing") if output is None else StageStatus(output.status, output.reason)

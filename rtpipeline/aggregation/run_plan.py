"""The plan of a run as aggregation reads it, and how each stage of each course stands by it.

Only outputs with the run's current keys count. A stage that the run says has failed counts as failed even where an
older output lies under the same key, since that one was made from other inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rtpipeline.contracts.manifests import Course, StageRecord
from rtpipeline.errors import UsageError
from rtpipeline.stages import COURSE_STAGES

MISSING = "missing"
"""Status of a stage without an output for this run."""

WITH_TABLES = frozenset({"done", "partial"})
"""Statuses whose tables enter the results."""

FAILED = frozenset({"data_error", "fault", "failed", "timeout"})
"""Statuses of a stage that was tried and gave nothing."""

WITHOUT_OUTPUT = frozenset({"failed", "timeout", "omitted", MISSING})
"""Statuses of the plan that win over whatever lies in the folder."""


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class StagePlan(_Read):
    """One stage of one course in `plan.json`."""

    key: str | None = None
    folder: str | None = None
    """relative to the cohort's folder"""
    status: str | None = None
    reason: str | None = None
    finding: dict[str, Any] | None = None
    """row of the findings that the runner adds (RES_*)"""


class CoursePlan(_Read):
    """One course in `plan.json`."""

    course_id: str
    stages: dict[str, StagePlan] = Field(default_factory=dict)


class RunPlan(_Read):
    """`runs/<run_id>/plan.json`: which outputs make up the run."""

    run_id: str
    cohort: str
    config: dict[str, Any] = Field(default_factory=dict)
    organize_key: str = ""
    settings: dict[str, str] = Field(default_factory=dict)
    started_utc: str = ""
    courses: list[CoursePlan] = Field(default_factory=list)

    @classmethod
    def load(cls, cohort_folder: Path, run_id: str) -> RunPlan:
        """Read the plan of a run.

        Raises
        ------
        UsageError: there is no such run, or its plan cannot be read.
        """
        path = cohort_folder / "runs" / run_id / "plan.json"
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise UsageError(f"run {run_id} has no plan.json in the store; start it with `rtpipeline run`.") from None
        except ValidationError as error:
            raise UsageError(f"plan.json of run {run_id} is not valid: {error.errors()[0]['msg']}.") from None


@dataclass(frozen=True)
class StageState:
    """How one stage of one course stands in this run."""

    stage: str
    status: str
    reason: str = ""
    key: str | None = None
    folder: Path | None = None
    """complete output folder with the run's key; None when there is none"""
    record: StageRecord | None = None
    """its `stage.json`"""

    def table(self, name: str) -> Path | None:
        """Path of one of its tables, when the table enters the results."""
        if self.folder is None or self.status not in WITH_TABLES:
            return None
        path = self.folder / name
        return path if path.is_file() else None


@dataclass(frozen=True)
class CollectedCourse:
    """A course of the manifest with the state of each of its stages."""

    course: Course
    stages: dict[str, StageState]
    run_findings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def course_id(self) -> str:
        """Pseudonym of the course."""
        return self.course.course_id


def collect(plan: RunPlan, courses: Iterable[Course], cohort_folder: Path, threads: int) -> list[CollectedCourse]:
    """Every course of the manifest with its stages, by patient and course; courses the plan lacks are missing."""
    planned = {c.course_id: c for c in plan.courses}
    ordered = sorted(courses, key=lambda c: (c.patient_id, c.course_id))

    def one(course: Course) -> CollectedCourse:
        stages = planned[course.course_id].stages if course.course_id in planned else {}
        states = {name: _state(name, stages.get(name), cohort_folder) for name in COURSE_STAGES}
        return CollectedCourse(course, states, [s.finding for s in stages.values() if s.finding])

    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(one, ordered))


def _record(folder: Path) -> StageRecord | None:
    try:
        record = StageRecord.load(folder)
    except (OSError, ValidationError):
        return None
    # thousands are held at once: what no table shows is dropped
    return record.model_copy(update={"config": {}, "upstream": {}, "traceback": ""}) if record is not None else None


def _state(name: str, planned: StagePlan | None, cohort_folder: Path) -> StageState:
    if planned is None:
        return StageState(name, MISSING)
    status, reason = planned.status, planned.reason or ""
    if status in WITHOUT_OUTPUT:
        return StageState(name, status or MISSING, reason, planned.key)
    folder = cohort_folder / planned.folder if planned.folder else None
    record = _record(folder) if folder is not None else None
    if record is None or (record.stage_key and planned.key and record.stage_key != planned.key):
        return StageState(name, status if status in FAILED else MISSING, reason, planned.key)
    return StageState(name, record.status, record.reason or reason, planned.key, folder, record)

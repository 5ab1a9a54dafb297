"""Runs the course-stages of a plan: whatever is ready and admitted, until every one has ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rtpipeline.contracts.findings import Severity, finding
from rtpipeline.execution.admission import MACHINE, POOL, Admission
from rtpipeline.execution.attempts import Attempt, Attempts, Finished, Task
from rtpipeline.execution.ladder import FINDING_CODES, GivenUp
from rtpipeline.execution.ledger import Ledger
from rtpipeline.execution.outputs import Output
from rtpipeline.execution.plan import NOT_SELECTED, CohortPlan, Item
from rtpipeline.execution.ready_queue import ReadyQueue
from rtpipeline.execution.stage_entry import StageRequest
from rtpipeline.stages import STAGES

if TYPE_CHECKING:
    from rtpipeline.dicom.sources import Source

TICK_S = 0.5
"""The display is drawn and an interruption noticed at least this often."""


class Watcher(Protocol):
    """Is shown what happens: the live table of a terminal, or lines elsewhere."""

    def stage_ended(self, item: Item, *, reused: bool, wall_s: float) -> None:
        """A course-stage has ended."""

    def tick(self, running: list[Attempt]) -> None:
        """Called at least every half second."""


class Interruption(Protocol):
    """Tells whether the user has asked to stop."""

    def __bool__(self) -> bool: ...


@dataclass(frozen=True)
class Locations:
    """Where the stages of a run read and write."""

    cohort: str
    organize: Path
    """organize's output"""
    private: Path
    sources: tuple[Source, ...]
    logs: Path
    run_id: str


class CourseRunner:
    """Holds what is ready, running and ended."""

    def __init__(
        self,
        plan: CohortPlan,
        where: Locations,
        attempts: Attempts,
        admission: Admission,
        ledger: Ledger,
        watcher: Watcher,
    ) -> None:
        self._plan = plan
        self._where = where
        self._attempts = attempts
        self._admission = admission
        self._ledger = ledger
        self._watcher = watcher
        self._queue = ReadyQueue(plan)
        self._blockers = {task: set(item.stage.upstream) for task, item in plan.items.items()}
        self._pools = sorted({s.pool for s in STAGES.values() if s.pool is not None})
        for item in plan.items.values():
            if item.output is not None and item.output.has_result:
                admission.observe(item.name, item.output.peak_memory_mib)

    def run(self, interrupted: Interruption) -> bool:
        """Run everything; False when interrupted before the end."""
        for item in [i for i in self._plan.items.values() if not i.stage.upstream]:
            self._ready(item)
        while len(self._queue) or not self._attempts.is_idle:
            if interrupted:
                return False
            self._start_what_fits()
            for finished in self._attempts.poll(TICK_S):
                self._finish(finished)
            self._watcher.tick(self._attempts.running)
        return True

    def _start_what_fits(self) -> None:
        feed = any(self._admission.is_hungry(pool, self._queue.queued(pool)) for pool in self._pools)
        waiting = self._queue.waiting_with_processes()
        full: set[str] = set()
        started: list[Item] = []
        for course_id, stage in self._queue.in_order(feed=feed):
            pool = STAGES[stage].pool
            if pool in full:
                continue
            item = self._plan.items[course_id, stage]
            held_back = self._attempts.start(self._task(item), waiting)
            if held_back is None:
                started.append(item)
            elif held_back == POOL and pool is not None:
                full.add(pool)
            elif held_back == MACHINE:
                # nothing overtakes: what comes first gets the next CPUs and memory, however much it needs
                break
        for item in started:
            self._queue.remove(item)

    def _ready(self, item: Item) -> None:
        """All upstream stages of an item have ended: keep its output, leave it out, or queue it."""
        need = self._plan.missing_need(item)
        reason = self._plan.why(item)
        if item.selected and need:
            self._leave_out(item, "omitted", need)
        elif not need and reason is None:
            self._keep(item)
        elif not item.selected:
            self._leave_out(item, "missing", NOT_SELECTED)
        else:
            item.reason = str(reason)
            self._queue.add(item)

    def _leave_out(self, item: Item, status: str, reason: str) -> None:
        item.status, item.reason, item.output = status, reason, None
        self._ledger.write("omitted", course=item.course_id, stage=item.name, status=status, reason=reason)
        self._ended(item, reused=True)

    def _keep(self, item: Item) -> None:
        assert item.output is not None
        item.status, item.reason = item.output.status, item.output.reason
        self._ledger.write("reused", course=item.course_id, stage=item.name, status=item.status)
        self._ended(item, reused=True)

    def _finish(self, finished: Finished) -> None:
        item = self._plan.items[finished.task.key]
        item.output = finished.output
        if finished.output is not None:
            item.status, item.reason = finished.output.status, finished.output.reason
        elif finished.given_up is not None:
            item.status, item.reason = finished.given_up.status, finished.given_up.reason
            item.finding = run_finding(item.name, item.course_id, item.patient_id, finished.given_up)
        self._ended(item, reused=False, wall_s=finished.wall_s)

    def _ended(self, item: Item, *, reused: bool, wall_s: float = 0.0) -> None:
        self._watcher.stage_ended(item, reused=reused, wall_s=wall_s)
        for other in self._plan.course(item.course_id).values():
            blockers = self._blockers[other.course_id, other.name]
            if item.name in blockers:
                blockers.remove(item.name)
                if not blockers:
                    self._ready(other)

    def _task(self, item: Item) -> Task:
        """What a course-stage is told; readers also get the export and the private folder."""
        where, stage = self._where, item.stage
        course = self._plan.course(item.course_id)
        inputs = {name: course[name].folder for name in stage.upstream if course[name].output is not None}
        request = StageRequest(
            stage=stage.name,
            cohort=where.cohort,
            out=item.folder,
            config=self._plan.config,
            stage_key=item.key,
            course_id=item.course_id,
            inputs={"organize": where.organize, **inputs},
            sources=where.sources if stage.reader else (),
            private=where.private if stage.reader else None,
            run_id=where.run_id,
            fresh=item.name in self._plan.demands.forced,
        )
        return Task(request, where.logs / item.course_id / f"{item.name}.log")


def run_finding(stage: str, course_id: str, patient_id: str, given_up: GivenUp) -> dict[str, object]:
    """The row of the findings that says why a stage left no output."""
    row = finding(
        FINDING_CODES[given_up.cause],
        f"stage {stage}",
        given_up.reason,
        severity=Severity.ERROR,
        action="no output of this stage; the other stages and courses go on",
    )
    return row.for_course(course_id, patient_id).from_stage(stage).row()


def counts(plan: CohortPlan) -> dict[str, dict[str, int]]:
    """For each stage the number of courses by status; `missing` where it has not ended."""
    table: dict[str, Counter[str]] = {}
    for item in plan.items.values():
        table.setdefault(item.name, Counter())[item.status or "missing"] += 1
    return {name: dict(sorted(statuses.items())) for name, statuses in table.items()}


def findings_of(outputs: list[Output]) -> Counter[str]:
    """Number of findings by severity in the records of outputs."""
    total: Counter[str] = Counter()
    for output in outputs:
        total.update(output.severities)
    return total

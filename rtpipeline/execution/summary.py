"""What a run ends with: counts, failed courses with their reasons, and where the tables are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rtpipeline.errors import ExitCode
from rtpipeline.execution.display import clock
from rtpipeline.execution.outputs import Output
from rtpipeline.execution.plan import CohortPlan, is_failed, is_left_out
from rtpipeline.execution.runner import counts
from rtpipeline.stages import STAGES

SEVERITIES = {"E": "error", "W": "warning", "I": "note"}
SHOWN_FAILURES = 20

RunStatus = Literal["done", "some_failed", "interrupted", "failed"]


@dataclass(frozen=True)
class Failure:
    """One failed stage of one course ('' for the cohort)."""

    course_id: str
    stage: str
    status: str
    reason: str


@dataclass
class RunSummary:
    """The end of a run."""

    status: RunStatus
    exit_code: int
    cohort: str
    run_id: str = ""
    results: str | None = None
    """folder of the tables"""
    message: str = ""
    courses: dict[str, int] = field(default_factory=dict)
    """`total`, `done`, `failed`, `not_reached` of an interrupted run, `incomplete` of one that was asked for a part"""
    stages: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    """for each stage the courses that it was not asked for and has no output of"""
    findings: dict[str, int] = field(default_factory=dict)
    """by severity: E, W, I"""
    failures: list[Failure] = field(default_factory=list)
    wall_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return asdict(self)

    def text(self) -> str:
        """For people."""
        lines = [self.message] if self.message else []
        if self.courses:
            total, failed = self.courses["total"], self.courses["failed"]
            rest, part = self.courses["not_reached"], self.courses["incomplete"]
            lines.append(
                f"{_count(total, 'course')}, {failed} failed"
                + (f", {rest} not finished" if rest else "")
                + (f", {part} incomplete" if part else "")
                + f", {clock(self.wall_s)}"
            )
        if self.left_out:
            stages = ", ".join(f"{stage} of {_count(n, 'course')}" for stage, n in self.left_out.items())
            lines.append(
                f"The tables lack what was not asked for and has not run before: {stages}. "
                "Run without --only, --courses and --limit for the whole cohort."
            )
        if self.findings:
            lines.append("Findings: " + ", ".join(_count(self.findings.get(s, 0), w) for s, w in SEVERITIES.items()))
        lines += [f"  {f.course_id or self.cohort} {f.stage} {f.status}: {f.reason}" for f in self._shown()]
        if len(self.failures) > SHOWN_FAILURES:
            lines.append(f"  and {len(self.failures) - SHOWN_FAILURES} more; see `rtpipeline status`")
        if self.results:
            lines.append(f"Results: {self.results}")
        return "\n".join(lines)

    def _shown(self) -> list[Failure]:
        return self.failures[:SHOWN_FAILURES]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def summarize(
    plan: CohortPlan, cohort: str, run_id: str, cohort_outputs: list[Output], *, interrupted: bool, wall_s: float
) -> RunSummary:
    """The summary of the course-stages of a run.

    Parameters
    ----------
    cohort_outputs: those of organize and aggregation, as far as there are any.
    """
    items = list(plan.items.values())
    failures = [Failure(i.course_id, i.name, i.status or "", i.reason) for i in items if is_failed(i)]
    failed = {f.course_id for f in failures}
    unreached = {i.course_id for i in items if i.status is None} - failed
    total = len(plan.course_ids)
    left_out = [(i.course_id, i.name) for i in items if is_left_out(i.status, i.reason)]
    findings: Counter[str] = Counter()
    for output in [*cohort_outputs, *(i.output for i in items if i.output is not None)]:
        findings.update(output.severities)
    findings["E"] += sum(i.finding is not None for i in items)
    status: RunStatus = "interrupted" if interrupted else "some_failed" if failures else "done" if total else "failed"
    codes = {
        "done": ExitCode.DONE,
        "some_failed": ExitCode.SOME_COURSES_FAILED,
        "failed": ExitCode.DATA,
        "interrupted": ExitCode.INTERRUPTED,
    }
    return RunSummary(
        status=status,
        exit_code=int(codes[status]),
        cohort=cohort,
        run_id=run_id,
        message="" if total else "The export holds no course: nothing in it is an image, structure set, plan or dose.",
        courses=course_counts(total, failed, unreached, left_out),
        stages=counts(plan),
        left_out=by_stage(left_out),
        findings={s: findings[s] for s in SEVERITIES},
        failures=sorted(failures, key=lambda f: (f.course_id, f.stage)),
        wall_s=round(wall_s, 2),
    )


def course_counts(
    total: int, failed: Set[str], unreached: Set[str], left_out: Iterable[tuple[str, str]]
) -> dict[str, int]:
    """How many courses of a run ended how.

    Parameters
    ----------
    left_out: course and stage of what the run was not asked for.
    """
    incomplete = {course_id for course_id, _ in left_out} - failed - unreached
    return {
        "total": total,
        "done": total - len(failed) - len(unreached) - len(incomplete),
        "failed": len(failed),
        "not_reached": len(unreached),
        "incomplete": len(incomplete),
    }


def by_stage(left_out: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Number of courses for each stage, in the order of the stage table."""
    found = Counter(stage for _, stage in left_out)
    return {name: found[name] for name in STAGES if found[name]}


def point_latest(results: Path, run_id: str) -> None:
    """Make `results/latest` name a run; readers see the old link or the new one."""
    link = results / f".partial-latest-{run_id}"
    link.unlink(missing_ok=True)
    link.symlink_to(run_id, target_is_directory=True)
    link.replace(results / "latest")

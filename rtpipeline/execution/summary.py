"""What a run ends with: counts, failed courses with their reasons, and where the tables are."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rtpipeline.errors import ExitCode
from rtpipeline.execution.display import clock
from rtpipeline.execution.outputs import Output
from rtpipeline.execution.plan import CohortPlan, is_failed
from rtpipeline.execution.runner import counts

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
    """`total`, `done`, `failed`, and `not_reached` of an interrupted run"""
    stages: dict[str, dict[str, int]] = field(default_factory=dict)
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
            rest = self.courses["not_reached"]
            lines.append(
                f"{_count(total, 'course')}, {failed} failed"
                + (f", {rest} not finished" if rest else "")
                + f", {clock(self.wall_s)}"
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
        courses={
            "total": total,
            "done": total - len(failed) - len(unreached),
            "failed": len(failed),
            "not_reached": len(unreached),
        },
        stages=counts(plan),
        findings={s: findings[s] for s in SEVERITIES},
        failures=sorted(failures, key=lambda f: (f.course_id, f.stage)),
        wall_s=round(wall_s, 2),
    )


def point_latest(results: Path, run_id: str) -> None:
    """Make `results/latest` name a run; readers see the old link or the new one."""
    link = results / f".partial-latest-{run_id}"
    link.unlink(missing_ok=True)
    link.symlink_to(run_id, target_is_directory=True)
    link.replace(results / "latest")

"""`rtpipeline status`: how the latest run stands, course by course."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rtpipeline.commands import options

if TYPE_CHECKING:
    from rtpipeline.execution.run_status import CourseStatus, RunStatus

MARKS = {
    "done": "done",
    "partial": "PARTIAL",
    "not_applicable": "-",
    "disabled": "off",
    "not_run": "not run",
    "omitted": "omitted",
    "missing": ".",
    "data_error": "DATA",
    "fault": "FAULT",
    "failed": "FAILED",
    "timeout": "TIMEOUT",
}


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(verbs, "status", "show how the latest run stands, course by course")
    data = parser.add_argument_group("data")
    options.add_store(data)
    data.add_argument("--run", metavar="ID", help="another run than the latest")
    options.add_json(parser.add_argument_group("output"))


def handle(args: argparse.Namespace) -> int:
    """Print the table."""
    from rtpipeline.execution.run_status import run_status

    status = run_status(options.existing_cohort(args), args.run)
    if args.json:
        options.write_json(status.as_json())
    else:
        options.write_text(_text(status))
    return 0


def _text(status: RunStatus) -> str:
    names = status.stage_names
    rows = [["course", *names], *(_row(course, names) for course in status.courses)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [f"run {status.run_id}: {status.state}"]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{course} {stage} {s.status}: {s.reason}" for course, stage, s in status.failures()]
    lines.append(f"{len(status.courses)} courses, {len({c for c, _, _ in status.failures()})} failed")
    if status.results:
        lines.append(f"Results: {status.results}")
    return "\n".join(lines)


def _row(course: CourseStatus, names: list[str]) -> list[str]:
    statuses = [course.stages[name].status if name in course.stages else "missing" for name in names]
    return [course.course_id, *(MARKS.get(s, s) for s in statuses)]

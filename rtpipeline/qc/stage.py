"""Stage qc: checks on everything that the stages of a course left, and a page to look at."""

from __future__ import annotations

import logging
from collections import Counter

from rtpipeline import __version__
from rtpipeline.contracts.tables import QC
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.qc.checks import CheckRow, run_checks, worst
from rtpipeline.qc.outputs import PAGE, TABLE, CourseOutputs, Row
from rtpipeline.qc.page import course_html
from rtpipeline.qc.scenes import scenes

log = logging.getLogger(__name__)


def run(context: StageContext) -> StageOutcome:
    """Write `qc.parquet` and `course.html`, whatever the stages before have left."""
    if not context.config.qc.enabled:
        return StageOutcome(status="disabled", reason="qc.enabled is false")
    outputs = CourseOutputs.read(context)
    shown, problems = scenes(outputs)
    context.report(*problems)
    own = [f.row() for f in context.findings]
    checks = run_checks(outputs, context.config.qc, own)
    QC.write(QC.frame(_row(context, outputs, check) for check in checks), context.out / TABLE)
    html = course_html(outputs, context.cohort, checks, shown, [*outputs.findings, *own])
    (context.out / PAGE).write_text(html, encoding="utf-8")
    counts = Counter(check.status for check in checks)
    log.info("%s: %s of %d rows", context.course_id, worst(checks), len(checks))
    return StageOutcome(counts={"rows": len(checks), "pictures": 3 * len(shown), **dict(sorted(counts.items()))})


def _row(context: StageContext, outputs: CourseOutputs, check: CheckRow) -> Row:
    return {
        "cohort": context.cohort,
        "patient_id": outputs.course.patient_id,
        "course_id": outputs.course.course_id,
        **check.row(),
        "stage_key": context.stage_key,
        "rtpipeline_version": __version__,
    }

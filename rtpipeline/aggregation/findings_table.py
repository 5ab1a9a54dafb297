"""Findings of the whole run: of organize, of every stage of every course, of the runner, and of aggregation itself.

They are read from the `stage.json` of the stages, which is read anyway; `findings.parquet` beside it says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from rtpipeline.aggregation.collect import Broken
from rtpipeline.aggregation.run_plan import CollectedCourse
from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import StageRecord
from rtpipeline.contracts.tables import FINDINGS

ORDER = ["patient_id", "course_id", "severity", "code", "stage", "scope", "object", "measured", "expected"]
"""Order of the rows; those about no patient come first."""


def findings_frame(
    cohort: str, organize: StageRecord | None, courses: Sequence[CollectedCourse], own: Iterable[Finding]
) -> pd.DataFrame:
    """All findings as one sorted frame.

    Parameters
    ----------
    own: of aggregation.
    """
    rows = [_completed(row, "organize") for row in (organize.findings if organize else [])]
    for collected in courses:
        course = collected.course
        ids = (course.course_id, course.patient_id)
        for name, state in collected.stages.items():
            if state.record is not None:
                rows += [_completed(row, name, *ids) for row in state.record.findings]
        rows += [_completed(row, str(row.get("stage") or "run"), *ids) for row in collected.run_findings]
    rows += [f.row() for f in own]
    known = {c.name for c in FINDINGS.columns}
    frame = FINDINGS.frame([{k: v for k, v in {**row, "cohort": cohort}.items() if k in known} for row in rows])
    return frame.sort_values(ORDER, kind="stable", na_position="first", ignore_index=True) if len(frame) else frame


def broken_tables(broken: Iterable[tuple[str, Broken]]) -> list[Finding]:
    """A finding for each table of a course that could not enter the results."""
    return [
        finding(
            "STAGE_FAULT",
            f"table {table} of {item.part.course_id}",
            item.reason,
            expected="a table as declared",
            action="left out of the results, the other tables and courses go on",
            course_id=item.part.course_id or None,
            patient_id=item.part.envelope.get("patient_id"),
        )
        for table, item in broken
    ]


def _completed(
    row: dict[str, Any], stage: str, course_id: str | None = None, patient_id: str | None = None
) -> dict[str, Any]:
    return {
        **row,
        "stage": row.get("stage") or stage,
        "course_id": row.get("course_id") or course_id,
        "patient_id": row.get("patient_id") or patient_id,
    }

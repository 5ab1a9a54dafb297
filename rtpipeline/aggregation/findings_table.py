"""Findings of the whole run: of organize, of every stage of every course, and of the runner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from rtpipeline.aggregation.collect import Broken
from rtpipeline.aggregation.run_plan import CollectedCourse
from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.tables import FINDINGS

ORDER = ["patient_id", "course_id", "severity", "code", "stage", "scope", "object", "measured", "expected"]
"""Order of the rows; those about no patient come first."""


def findings_frame(
    cohort: str, organize: Path, courses: Sequence[CollectedCourse], extra: Iterable[Finding]
) -> tuple[pd.DataFrame, list[Finding]]:
    """All findings as one sorted frame, and a finding for each table of findings that could not be read."""
    rows: list[dict[str, Any]] = []
    unreadable: list[Finding] = []
    found, problem = _read(organize / "findings.parquet", "organize", None, None)
    rows += found
    unreadable += problem
    for collected in courses:
        course = collected.course
        for name, state in collected.stages.items():
            if state.folder is not None:
                path = state.folder / "findings.parquet"
                found, problem = _read(path, name, course.course_id, course.patient_id)
                rows += found
                unreadable += problem
        for row in collected.run_findings:
            rows.append(_completed(row, str(row.get("stage") or "run"), course.course_id, course.patient_id))
    rows += [f.row() for f in (*extra, *unreadable)]
    known = {c.name for c in FINDINGS.columns}
    frame = FINDINGS.frame([{k: v for k, v in {**row, "cohort": cohort}.items() if k in known} for row in rows])
    if len(frame):
        frame = frame.sort_values(ORDER, kind="stable", na_position="first", ignore_index=True)
    return frame, unreadable


def broken_tables(broken: Iterable[tuple[str, Broken]]) -> list[Finding]:
    """A finding for each table of a course that could not enter the results."""
    found = []
    for table, item in broken:
        course_id, patient_id = item.part.course_id, item.part.envelope.get("patient_id")
        found.append(
            finding(
                "STAGE_FAULT",
                f"table {table} of {course_id}",
                item.reason,
                expected="a table as declared",
                action="left out of the results, the other tables and courses go on",
                course_id=course_id or None,
                patient_id=patient_id,
            ).from_stage("aggregation")
        )
    return found


def _read(
    path: Path, stage: str, course_id: str | None, patient_id: str | None
) -> tuple[list[dict[str, Any]], list[Finding]]:
    if not path.is_file():
        return [], []
    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, ValueError) as error:
        lost = finding(
            "STAGE_FAULT",
            f"findings of {stage}",
            f"cannot be read ({type(error).__name__})",
            expected="a table as declared",
            action="its findings are not listed",
            course_id=course_id,
            patient_id=patient_id,
        )
        return [], [lost.from_stage("aggregation")]
    return [_completed(row, stage, course_id, patient_id) for row in rows], []


def _completed(row: dict[str, Any], stage: str, course_id: str | None, patient_id: str | None) -> dict[str, Any]:
    return {
        **row,
        "stage": row.get("stage") or stage,
        "course_id": row.get("course_id") or course_id,
        "patient_id": row.get("patient_id") or patient_id,
    }

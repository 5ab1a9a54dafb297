"""What the stages of a course left, as qc reads it: records, findings, tables and facts, also of stages that failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rtpipeline.contracts.manifests import Course, StageRecord
from rtpipeline.execution.context import StageContext
from rtpipeline.stages import STAGES

Row = dict[str, Any]

TABLE, PAGE = "qc.parquet", "course.html"
"""What qc writes."""

ABOUT_OTHER_COURSES = frozenset({"COURSE_MERGED", "COURSE_REIRRADIATION", "PATIENT_MISMATCH"})
"""Codes of organize that depend on what else the export holds. The key of qc hangs on the course alone, so that they
stand in the findings of the cohort and not here: another patient's export must not change this course's table."""

WITH_RESULT = frozenset({"done", "partial"})


@dataclass(frozen=True)
class CourseOutputs:
    """The course, and by stage its `stage.json` and the folder whose files may be used."""

    course: Course
    records: dict[str, StageRecord]
    folders: dict[str, Path]
    """of stages that ended well"""
    findings: list[Row]
    """of organize about this course and of every stage, in the order of the stage table"""

    @classmethod
    def read(cls, context: StageContext) -> CourseOutputs:
        """Everything that the stages before qc left for this course."""
        given = context.inputs | context.failed
        records = {}
        findings: list[Row] = []
        for name in ("organize", *STAGES["qc"].uses):
            record = StageRecord.load(given[name]) if name in given else None
            if record is None:
                continue
            records[name] = record
            own = [{**f, "stage": f.get("stage") or name} for f in record.findings]
            if name == "organize":
                own = [f for f in own if f["course_id"] == context.course_id and f["code"] not in ABOUT_OTHER_COURSES]
            findings += own
        folders = {n: path for n, path in context.inputs.items() if n in records or n == "organize"}
        return cls(context.course(), records, folders, findings)

    def status(self, stage: str) -> str:
        """How a stage ended; `absent` when it left nothing."""
        return self.records[stage].status if stage in self.records else "absent"

    def has_result(self, stage: str) -> bool:
        """Whether a stage has computed something."""
        return self.status(stage) in WITH_RESULT

    def reason(self, stage: str) -> str:
        """How a stage ended, in words."""
        record = self.records.get(stage)
        if record is None:
            return f"{stage}: no output"
        return f"{stage}: {record.status.replace('_', ' ')}" + (f" ({record.reason})" if record.reason else "")

    def file(self, stage: str, name: str) -> Path | None:
        """A file of a stage that has a result; None where there is none."""
        if stage not in self.folders or not self.has_result(stage):
            return None
        path = self.folders[stage] / name
        return path if path.exists() else None

    def rows(self, stage: str, name: str, columns: Sequence[str] | None = None) -> list[Row]:
        """Rows of a table, of those columns that it has; none where there is no such table."""
        path = self.file(stage, name)
        if path is None:
            return []
        present = pq.read_schema(path).names
        rows: list[Row] = pq.read_table(
            path, columns=[n for n in present if columns is None or n in columns]
        ).to_pylist()
        return rows

    def facts(self, stage: str, name: str) -> list[Row]:
        """Entries of a JSON list, such as `plans.json`; none where there is no such file."""
        path = self.file(stage, name)
        entries: list[Row] = json.loads(path.read_bytes()) if path is not None else []
        return entries

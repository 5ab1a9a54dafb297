"""The counts of a results folder, for `rtpipeline run` and for machines."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rtpipeline.contracts.tables import TABLES
from rtpipeline.errors import UsageError
from rtpipeline.stages import COURSE_STAGES

RUN_JSON = "run.json"


def load_run(results: Path) -> dict[str, Any]:
    """`run.json` of a results folder.

    Raises
    ------
    UsageError: the folder holds no results.
    """
    path = results / RUN_JSON
    if not path.is_file():
        raise UsageError("this folder holds no results (run.json is missing); run `rtpipeline run` first.")
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def summarise(results_dir: Path) -> dict[str, Any]:
    """Counts of a run as plain values that `json.dumps` takes.

    `patients`, `courses`, `course_status`, `stages` (stage to status to courses), `findings` by severity and
    `finding_codes`, `rows` of each table, and the ids of failed courses.

    Raises
    ------
    UsageError: the folder holds no results.
    """
    run = load_run(results_dir)
    courses = pq.read_table(results_dir / "courses.parquet").to_pydict()
    findings = pq.read_table(results_dir / "findings.parquet", columns=["severity", "code"]).to_pydict()
    status = courses["course_status"]
    return {
        "run_id": run["run_id"],
        "cohort": run["cohort"],
        "patients": run["patients"],
        "courses": len(status),
        "course_status": dict(sorted(Counter(status).items())),
        "failed_courses": [c for c, s in zip(courses["course_id"], status, strict=True) if s == "failed"],
        "stages": {s: dict(sorted(Counter(courses[f"status_{s}"]).items())) for s in COURSE_STAGES},
        "findings": {s: findings["severity"].count(s) for s in ("E", "W", "I")},
        "finding_codes": dict(sorted(Counter(findings["code"]).items())),
        "rows": {
            name: pq.read_metadata(results_dir / f"{name}.parquet").num_rows
            for name in TABLES
            if (results_dir / f"{name}.parquet").is_file()
        },
    }

"""The tables of a run whose outputs lie in a bucket: what it has of them is fetched, and aggregation runs here."""

from __future__ import annotations

import json
import logging
from pathlib import Path, PurePosixPath
from typing import Any

from rtpipeline.config import Config, parse_config
from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.errors import ExitCode
from rtpipeline.execution.cluster_plan import RESULT_FILES, aggregation_key
from rtpipeline.execution.run_files import latest_run, read_plan
from rtpipeline.execution.run_outcomes import HALF, add_finding, is_settled, settle
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.folder import CohortFolder, write_atomically
from rtpipeline.store.keys import stage_path
from rtpipeline.store.mirror import mirror_outputs, mirror_records
from rtpipeline.store.packing import RECORD

log = logging.getLogger(__name__)

COLLECTED = frozenset({"done", "partial"})
"""Statuses whose tables enter the results."""
MOST_COURSES = 500
"""Of a cohort whose tables are written again on the side: it takes a minute or two to fetch what they are made of."""


def write_tables(
    store: Bucket, folder: CohortFolder, run_id: str, plan: dict[str, Any], config: Config, *, workers: int = 1
) -> ExitCode:
    """Write the tables of a run to `results/<run_id>` of a store here, and its plan with how each stage has ended.

    Parameters
    ----------
    folder: the store here; has organize's output under the key of the plan. plan: `plan.json`; changed.

    Raises
    ------
    UsageError, TransientError, MemoryError, OSError: as every call of a bucket, and of a stage.
    """
    organize = folder.store / stage_path(folder.cohort, "organize", plan["organize_key"])
    manifest = CohortManifest.load(organize)
    paths = {
        PurePosixPath(folder.cohort, entry["folder"]): (course["course_id"], name, entry)
        for course in plan["courses"]
        for name, entry in course["stages"].items()
    }
    mirror_records(store, folder, paths)
    settle(plan, manifest, folder.root)
    wanted = [path for path, (_, _, entry) in paths.items() if entry["status"] in COLLECTED]
    patients = {course.course_id: course.patient_id for course in manifest.courses}
    for path in mirror_outputs(store, folder, wanted):
        course_id, name, entry = paths[path]
        reason = HALF.format(stage=name)
        log.warning("%s %s: %s", course_id, name, reason)
        entry.update(status="failed", reason=reason)
        add_finding(entry, name, course_id, patients[course_id])
    write_atomically(folder.run(run_id) / "plan.json", plan_json(plan))
    return run_stage(
        StageRequest(
            stage="aggregation",
            cohort=folder.cohort,
            out=folder.results / run_id,
            config=config,
            stage_key=aggregation_key(plan),
            inputs={"organize": organize},
            store=folder.root,
            run_id=run_id,
            workers=workers,
        )
    )


def plan_json(plan: dict[str, Any]) -> bytes:
    """`plan.json` as it is stored."""
    return (json.dumps(plan, indent=1) + "\n").encode()


def plan_with_results(plan: dict[str, Any], results: Path) -> bytes:
    """`plan.json` that says how many files the results are.

    Clusters go on uploading when one file has failed: the number tells whether all have come through.
    """
    files = sum(path.is_file() for path in results.rglob("*"))
    return plan_json(plan | {RESULT_FILES: files})


def pointer(run_id: str) -> bytes:
    """`results/latest.json`: the run whose tables are the newest ones."""
    return (json.dumps({"run_id": run_id}) + "\n").encode()


def write_latest_again(store: Bucket, folder: CohortFolder) -> str | None:
    """The tables of the newest run, written again and sent to the bucket; their URL.

    None where there is nothing to write: no run that has ended, one without courses, one of more than `MOST_COURSES`.

    Parameters
    ----------
    folder: a store here with the plans of all runs and organize's outputs.

    Raises
    ------
    UsageError, TransientError: as every call of a bucket.
    """
    run_id = latest_run(folder)
    if run_id is None:
        return None
    plan = read_plan(folder, run_id)
    plan.pop(RESULT_FILES, None)
    organize = folder.store / stage_path(folder.cohort, "organize", plan["organize_key"])
    if not 0 < len(plan["courses"]) <= MOST_COURSES or not is_settled(plan) or not (organize / RECORD).is_file():
        return None
    if write_tables(store, folder, run_id, plan, parse_config(plan["config"])) != ExitCode.DONE:
        return None
    cohort, results = store.child(folder.cohort), folder.results / run_id
    names = sorted(path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file())
    for name in sorted(names, key=lambda name: name == RECORD):
        cohort.upload(results / name, f"results/{run_id}/{name}")
    cohort.put(f"runs/{run_id}/plan.json", plan_with_results(plan, results))
    cohort.put("results/latest.json", pointer(run_id))
    return f"{cohort.url}/results/{run_id}"

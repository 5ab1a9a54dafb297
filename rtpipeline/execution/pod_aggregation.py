"""The pod that gathers what all courses have left into the tables of a run."""

from __future__ import annotations

import json
import logging
from pathlib import Path, PurePosixPath
from typing import Any

from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.errors import ExitCode, UsageError
from rtpipeline.execution.cluster_plan import RESULT_FILES, aggregation_key
from rtpipeline.execution.pod import Pod
from rtpipeline.execution.pod_inputs import unpacked_output
from rtpipeline.execution.run_outcomes import HALF, add_finding, failed_courses, settle
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.store.folder import staged, write_atomically
from rtpipeline.store.keys import key, stage_path
from rtpipeline.store.mirror import get, mirror_outputs, mirror_records

log = logging.getLogger(__name__)

COLLECTED = frozenset({"done", "partial"})
"""Statuses whose tables enter the results."""


def run_aggregation(pod: Pod) -> ExitCode:
    """Write the tables of a run from the store, and leave them at `/work/out` with the plan as it has ended.

    Raises
    ------
    UsageError: there is no such run, or it is another than the one the pod was started for.
    TransientError, MemoryError, OSError: may pass by itself; nothing is left.
    """
    request, folder = pod.request, pod.folder
    plan = _plan(pod)
    organize = _organize(pod, plan["organize_key"])
    manifest = CohortManifest.load(organize)
    paths = {
        PurePosixPath(pod.cohort, entry["folder"]): (course["course_id"], name, entry)
        for course in plan["courses"]
        for name, entry in course["stages"].items()
    }
    mirror_records(pod.store, folder, paths)
    settle(plan, manifest, folder.root)
    wanted = [path for path, (_, _, entry) in paths.items() if entry["status"] in COLLECTED]
    patients = {course.course_id: course.patient_id for course in manifest.courses}
    for path in mirror_outputs(pod.store, folder, wanted):
        course_id, name, entry = paths[path]
        reason = HALF.format(stage=name)
        log.warning("%s %s: %s", course_id, name, reason)
        entry.update(status="failed", reason=reason)
        add_finding(entry, name, course_id, patients[course_id])
    write_atomically(folder.run(request.run_id) / "plan.json", _plan_json(plan))
    results = folder.results / request.run_id
    code = run_stage(
        StageRequest(
            stage="aggregation",
            cohort=pod.cohort,
            out=results,
            config=pod.config,
            stage_key=aggregation_key(plan),
            inputs={"organize": organize},
            store=folder.root,
            run_id=request.run_id,
            workers=pod.workers,
        )
    )
    if code == ExitCode.DONE:
        _leave(pod, plan, results)
    return code


def _plan(pod: Pod) -> dict[str, Any]:
    request = pod.request
    if not request.run_id:
        raise UsageError("the pod of aggregation needs --run-id ID.")
    content = get(pod.store, key(pod.cohort, "runs", request.run_id, "plan.json"))
    if content is None:
        raise UsageError(f"run {request.run_id} has no plan.json in the store; organize has to run first.")
    plan: dict[str, Any] = json.loads(content)
    plan.pop(RESULT_FILES, None)  # of an earlier aggregation of the same run
    if request.key and request.key != aggregation_key(plan):
        raise UsageError(f"the plan of run {request.run_id} in the store is not the one this pod was started for.")
    return plan


def _organize(pod: Pod, key_of_organize: str) -> Path:
    """organize's output: as it was given, else from the store."""
    path = stage_path(pod.cohort, "organize", key_of_organize)
    target = pod.folder.store / path
    output = unpacked_output(pod.given / "organize", target, needed=False)
    if output is not None and output.key == key_of_organize:
        return target
    if mirror_outputs(pod.store, pod.folder, [path], tables_only=False):
        raise UsageError(f"the store has no output of organize under the run's key {key_of_organize}.")
    return target


def _plan_json(plan: dict[str, Any]) -> bytes:
    return (json.dumps(plan, indent=1) + "\n").encode()


def _leave(pod: Pod, plan: dict[str, Any], results: Path) -> None:
    failed = failed_courses(plan)
    log.info("%s: %d of %d courses failed", pod.cohort, len(failed), len(plan["courses"]))
    with staged(pod.out) as scratch:
        results.rename(scratch / "results")
        # clusters go on uploading when one file has failed: the number says whether all have come through
        files = sum(path.is_file() for path in (scratch / "results").rglob("*"))
        (scratch / "plan.json").write_bytes(_plan_json(plan | {RESULT_FILES: files}))
        (scratch / "latest.json").write_text(json.dumps({"run_id": pod.request.run_id}) + "\n")
        (scratch / "parameters").mkdir()
        (scratch / "parameters" / "failed").write_text(str(len(failed)))

"""The pod that gathers what all courses have left into the tables of a run."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from rtpipeline.errors import ExitCode, UsageError
from rtpipeline.execution.bucket_tables import plan_with_results, pointer, write_tables
from rtpipeline.execution.cluster_plan import RESULT_FILES, aggregation_key
from rtpipeline.execution.pod import Pod
from rtpipeline.execution.pod_inputs import unpacked_output
from rtpipeline.execution.run_outcomes import failed_courses
from rtpipeline.store.folder import staged
from rtpipeline.store.keys import key, stage_path
from rtpipeline.store.mirror import get, mirror_outputs

log = logging.getLogger(__name__)


def run_aggregation(pod: Pod) -> ExitCode:
    """Write the tables of a run from the store, and leave them at `/work/out` with the plan as it has ended.

    Raises
    ------
    UsageError: there is no such run, or it is another than the one the pod was started for.
    TransientError, MemoryError, OSError: may pass by itself; nothing is left.
    """
    request, folder = pod.request, pod.folder
    plan = _plan(pod)
    _organize(pod, plan["organize_key"])
    code = write_tables(pod.store, folder, request.run_id, plan, pod.config, workers=pod.workers)
    if code == ExitCode.DONE:
        _leave(pod, plan, folder.results / request.run_id)
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


def _organize(pod: Pod, key_of_organize: str) -> None:
    """Put organize's output into the store here: as it was given, else from the bucket."""
    path = stage_path(pod.cohort, "organize", key_of_organize)
    target = pod.folder.store / path
    output = unpacked_output(pod.given / "organize", target, needed=False)
    if output is not None and output.key == key_of_organize:
        return
    if mirror_outputs(pod.store, pod.folder, [path], tables_only=False):
        raise UsageError(f"the store has no output of organize under the run's key {key_of_organize}.")


def _leave(pod: Pod, plan: dict[str, Any], results: Path) -> None:
    failed = failed_courses(plan)
    log.info("%s: %d of %d courses failed", pod.cohort, len(failed), len(plan["courses"]))
    with staged(pod.out) as scratch:
        results.rename(scratch / "results")
        (scratch / "plan.json").write_bytes(plan_with_results(plan, scratch / "results"))
        (scratch / "latest.json").write_bytes(pointer(pod.request.run_id))
        (scratch / "parameters").mkdir()
        (scratch / "parameters" / "failed").write_text(str(len(failed)))

"""How each stage of each course has ended in a run on a cluster, from what its pods have left in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.execution.ladder import GivenUp
from rtpipeline.execution.outputs import FAILED_STATUSES, Output, read_output
from rtpipeline.execution.plan import NOT_SELECTED
from rtpipeline.execution.pod_inputs import changed_upstream, lacking_need
from rtpipeline.execution.runner import run_finding
from rtpipeline.stages import COURSE_STAGES, STAGES

GAVE_UP = "its pod left no output for this run; the workflow's node of the stage says why"
HALF = "the objects of its output in the store are of two attempts; submit again with --force {stage}"

Read = Callable[[Path], Output | None]


def settle(plan: dict[str, Any], manifest: CohortManifest, cohort_folder: Path, read: Read = read_output) -> None:
    """Write into a run's plan how everything has ended, as the local runner would have.

    An output that was made from other inputs than today's is an older run's: its stage counts as failed.

    Parameters
    ----------
    plan: `plan.json`; changed. cohort_folder: has the records of its outputs.
    """
    patients = {course.course_id: course.patient_id for course in manifest.courses}
    for course in plan["courses"]:
        stages: dict[str, dict[str, Any]] = course["stages"]
        found = {name: read(cohort_folder / entry["folder"]) for name, entry in stages.items()}
        current: dict[str, Output] = {}
        for name in COURSE_STAGES:
            if name in stages:
                _end(name, stages, found[name], current)
                if stages[name]["status"] == "failed":
                    add_finding(stages[name], name, course["course_id"], patients[course["course_id"]])


def _end(name: str, stages: Mapping[str, dict[str, Any]], output: Output | None, current: dict[str, Output]) -> None:
    """How one stage has ended; its output joins the current ones when it is of this run."""
    entry, stage = stages[name], STAGES[name]
    need = lacking_need(stage, current, stages)
    is_selected = entry.get("reason") != NOT_SELECTED
    for left in ("finding", "output_digest"):  # of an earlier aggregation of the same run
        entry.pop(left, None)
    if need and is_selected:
        entry.update(status="omitted", reason=f"{need} {stages[need]['status']}")
    elif output is not None and not need and not changed_upstream(stage, output, current, stages):
        current[name] = output
        entry.update(status=output.status, reason=output.reason, output_digest=output.output_digest)
    elif not is_selected:
        entry.update(status="missing", reason=NOT_SELECTED)
    else:
        entry.update(status="failed", reason=GAVE_UP)


def is_settled(plan: Mapping[str, Any]) -> bool:
    """Whether a run's plan says of every stage how it has ended."""
    return all(entry["status"] is not None for course in plan["courses"] for entry in course["stages"].values())


def add_finding(entry: dict[str, Any], stage: str, course_id: str, patient_id: str) -> None:
    """The row of the findings that says why a stage has left nothing."""
    entry["finding"] = run_finding(stage, course_id, patient_id, GivenUp("transient", "failed", entry["reason"]))


def failed_courses(plan: Mapping[str, Any]) -> list[str]:
    """Courses with a stage that failed, as the summary of a run counts them."""
    return [
        course["course_id"]
        for course in plan["courses"]
        if any(entry["status"] in FAILED_STATUSES for entry in course["stages"].values())
    ]

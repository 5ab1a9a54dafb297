"""How a run ended: which courses failed and why, and where the tables are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rtpipeline.errors import ExitCode
from rtpipeline.execution.outputs import FAILED_STATUSES
from rtpipeline.execution.plan import is_left_out
from rtpipeline.execution.run_outcomes import is_settled
from rtpipeline.execution.summary import Failure, RunSummary, by_stage, course_counts
from rtpipeline.store.keys import key
from workflows.nodes import State, red_nodes
from workflows.standing import CohortStore


def outcome(store: CohortStore, run_id: str, states: Sequence[State], wall_s: float) -> RunSummary:
    """The end of a run that has been waited for.

    What aggregation wrote into the run's plan counts; without it, what the red nodes of the workflows say.
    """
    plan = store.plan_of(run_id)
    if plan is not None and is_settled(plan) and store.has_results(run_id, plan):
        summary = of_plan(plan)
        summary.results = results_url(store, run_id)
    else:
        summary = of_nodes(store.cohort, run_id, states)
    summary.wall_s = round(wall_s, 2)
    return summary


def results_url(store: CohortStore, run_id: str) -> str:
    """Where the tables of a run lie."""
    return f"{store.store.url}/{key(store.cohort, 'results', run_id)}"


def of_plan(plan: Mapping[str, Any]) -> RunSummary:
    """The summary of a settled plan."""
    failures: list[Failure] = []
    stages: dict[str, Counter[str]] = {}
    left_out: list[tuple[str, str]] = []
    for course in plan["courses"]:
        for name, entry in course["stages"].items():
            status = entry["status"] or "missing"
            stages.setdefault(name, Counter())[status] += 1
            if is_left_out(status, entry.get("reason")):
                left_out.append((course["course_id"], name))
            if status in FAILED_STATUSES:
                failures.append(Failure(course["course_id"], name, status, entry.get("reason") or ""))
    failed = {f.course_id for f in failures}
    return RunSummary(
        status="some_failed" if failures else "done",
        exit_code=int(ExitCode.SOME_COURSES_FAILED if failures else ExitCode.DONE),
        cohort=plan["cohort"],
        run_id=plan["run_id"],
        courses=course_counts(len(plan["courses"]), failed, frozenset(), left_out),
        stages={name: dict(counts) for name, counts in stages.items()},
        left_out=by_stage(left_out),
        failures=sorted(failures, key=lambda f: (f.course_id, f.stage)),
    )


def of_nodes(cohort: str, run_id: str, states: Sequence[State]) -> RunSummary:
    """The summary of a run that has no tables: what is red, else what the workflows say."""
    failures = [Failure(f.course_id, f.stage, "failed", f.message) for f in red_nodes(states)]
    failures += [
        Failure("", state.name, state.phase.lower(), state.message or "ended without a red stage")
        for state in states
        if state.phase in ("Failed", "Error") and not state.failures
    ]
    return RunSummary(
        status="failed",
        exit_code=int(ExitCode.SOME_COURSES_FAILED),
        cohort=cohort,
        run_id=run_id,
        message="The run ended without tables.",
        failures=failures,
    )

"""When nothing is submitted: everything is done, or what was asked for has had its run already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rtpipeline.errors import ExitCode
from rtpipeline.execution.cluster_plan import is_same_outcome
from rtpipeline.execution.run_outcomes import is_settled
from rtpipeline.execution.summary import RunSummary
from workflows.outcome import of_plan, results_url
from workflows.record import Record
from workflows.standing import CohortStore, Planned, Standing, Unplanned


@dataclass(frozen=True)
class Settled:
    """Why nothing is submitted."""

    status: Literal["nothing to do", "not tried again"]
    run_id: str
    message: str
    summary: RunSummary | None = None
    """of the run whose tables stand"""

    @property
    def exit_code(self) -> int:
        """1 when courses of that run failed, or it had no courses."""
        return int(ExitCode.SOME_COURSES_FAILED) if self.summary is None else self.summary.exit_code


def nothing_to_do(store: CohortStore, standing: Standing) -> Settled | None:
    """Everything has run, and its tables are there."""
    run_id = store.current_results(standing) if isinstance(standing, Planned) else None
    plan = store.plan_of(run_id) if run_id else None
    if run_id is None or plan is None:
        return None
    message = f"Nothing to do: run {run_id} has these results already."
    return Settled("nothing to do", run_id, message, _summary(store, run_id, plan))


def tried_before(store: CohortStore, standing: Standing, before: Record | None) -> Settled | None:
    """With --incremental: the same data and settings have had their run, and what failed is left as it is.

    Parameters
    ----------
    before: how the same request was submitted; None when it was not, or does not matter.
    """
    if before is None:
        return None
    run_id = before.run.run_id
    if isinstance(standing, Unplanned):
        why = standing.failed or "it left no list of courses"
        message = f"Run {run_id} of the same data and settings did not get to its courses ({why}). "
        return Settled("not tried again", run_id, message + "Not tried again with --incremental.")
    plan = store.plan_of(run_id)
    # the newest tables may be of other settings: those of this request stand beside them, and are not made again
    if plan is None or not is_settled(plan) or not store.has_results(run_id, plan):
        return None
    if not standing.items and not is_same_outcome(plan, standing.plan):
        return None
    message = f"Run {run_id} had the same data and settings; what failed is not tried again with --incremental."
    return Settled("not tried again", run_id, message, _summary(store, run_id, plan))


def _summary(store: CohortStore, run_id: str, plan: dict[str, object]) -> RunSummary:
    summary = of_plan(plan)
    summary.results = results_url(store, run_id)
    return summary

"""Whether a run is evidently writing to a cohort in a bucket: nothing there is a lock, but all there has a time."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import PurePosixPath

from rtpipeline.errors import UsageError
from rtpipeline.execution.run_outcomes import is_settled
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.mirror import get
from rtpipeline.store.packing import RECORD

RECENT_S = 900.0
"""A stage seldom takes longer; networks on a slow machine do."""


def newest_plan(cohort: Bucket) -> str | None:
    """Key of the plan of the newest run; None where there is none."""
    return max(plans(cohort), default=None)


def plans(cohort: Bucket) -> list[str]:
    """Keys of the plans of all runs, the newest last."""
    keys = (entry.key for entry in cohort.list("runs/"))
    return sorted(key for key in keys if key.count("/") == 2 and key.endswith("/plan.json"))


def refuse_while_under_way(cohort: Bucket, name: str) -> None:
    """Refuse a cohort to which a run has just written.

    A run writes its plan before its courses begin and once more when they have ended. So one is on its way where a
    course's output is younger than the newest plan, or that plan began a short while ago and has no end.

    Parameters
    ----------
    name: of the cohort, for the message.

    Raises
    ------
    UsageError: it has.
    """
    age_s = _last_sign_age_s(cohort)
    if age_s is not None and age_s < RECENT_S:
        raise UsageError(
            f"a run of cohort {name} seems to be under way: its last sign in {cohort.url} is {age_s / 60:.0f} min old. "
            "Wait for its end, or stop it (`python -m workflows.status` lists those of a cluster) and give --stopped. "
            "Nothing was removed."
        )


def _last_sign_age_s(cohort: Bucket) -> float | None:
    """Seconds since a run that has not ended gave a sign; None where there is none."""
    plan_key = newest_plan(cohort)
    planned = cohort.entry(plan_key) if plan_key else None
    ended_ns = planned.modified_ns if planned else 0
    # not organize's outputs: a withdrawal that was cut off has written some of them last
    records = (e for e in cohort.list("courses/") if PurePosixPath(e.key).name == RECORD)
    written = [e.modified_ns for e in records if e.modified_ns > ended_ns]
    signs_s = [max(written) / 1e9] if written else []
    content = get(cohort, plan_key) if plan_key else None
    plan = json.loads(content) if content else None
    if plan is not None and not is_settled(plan):
        started = datetime.fromisoformat(plan["started_utc"])
        signs_s.append((started if started.tzinfo else started.replace(tzinfo=UTC)).timestamp())
    return max(0.0, time.time() - max(signs_s)) if signs_s else None

"""Which run and which store a command means, when it is not told everything."""

from __future__ import annotations

from pathlib import Path

from rtpipeline.errors import UsageError
from rtpipeline.store.bucket import Bucket
from workflows import messages
from workflows.creating import labels_of
from workflows.installation import argument_default
from workflows.kube import Cluster, Object
from workflows.names import COHORT, LABEL_COHORT, LABEL_RUN
from workflows.standing import CohortStore

LATEST = "latest"


def workflows_of(cluster: Cluster, run_id: str, cohort: str) -> list[Object]:
    """The workflows of a run that are still in the cluster.

    Parameters
    ----------
    run_id: or `latest`, the newest run of the cohort. cohort: '' for any.
    """
    selector = f"{LABEL_COHORT}={cohort}" if run_id == LATEST else f"{LABEL_RUN}={run_id}"
    found = cluster.workflows(selector)
    if run_id == LATEST and found:
        newest = max(labels_of(workflow).get(LABEL_RUN, "") for workflow in found)
        found = [workflow for workflow in found if labels_of(workflow).get(LABEL_RUN, "") == newest]
    return [workflow for workflow in found if not cohort or labels_of(workflow).get(LABEL_COHORT) == cohort]


def run_in_store(store: CohortStore, run_id: str, *, with_results: bool) -> str:
    """A run of a cohort's store; the newest for `latest`.

    Parameters
    ----------
    with_results: the newest that has tables, and not the newest at all.

    Raises
    ------
    UsageError: there is none.
    """
    where = f"{store.store.url}/{store.cohort}"
    if run_id == LATEST and with_results:
        if found := store.latest():
            return found
        raise UsageError(f"no run of {where} has tables yet; see python -m workflows.status latest --cohort NAME.")
    if run_id == LATEST:
        listed = (entry.key.split("/") for entry in store.store.list(f"{store.cohort}/runs/"))
        runs = [parts[2] for parts in listed if len(parts) == 4 and parts[3] == "plan.json"]
        if runs:
            return max(runs)
        raise UsageError(f"{where} has no run.")
    if store.plan_of(run_id) is None:
        raise messages.unknown_run(run_id, where)
    return run_id


def installed_store(cluster: Cluster) -> str:
    """The store that the installed template carries; '' without."""
    template = cluster.template(COHORT)
    return "" if template is None else argument_default(template, "store")


def cohort_store(bucket: Bucket, cohort: str, mirror: Path) -> CohortStore:
    """A cohort of a store.

    Raises
    ------
    UsageError: nothing of it is there.
    """
    if next(bucket.list(f"{cohort}/"), None) is None:
        raise UsageError(
            f"there is no cohort {cohort} in {bucket.url}; give --cohort and --store as of its submission."
        )
    return CohortStore(bucket, cohort, mirror)

"""The inbox of the bucket: what is put there and marked as ready the cluster submits by itself, from a pod.

The tests go on where the one before ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtpipeline.dicom.bucket_sources import READY
from rtpipeline.stages import COURSE_STAGES
from tests.e2e import install
from tests.e2e.cluster import Cluster, Submitted, module, wait_for
from tests.e2e.exports import patient
from tests.e2e.settings import Settings

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

COHORT, UNMARKED = "arrivals", "arriving"
CRON = "workflows.argoproj.io/cron-workflow=rtpipeline-discover"
LOOKS_WITHIN_S = 240
"""A minute until the schedule comes, and as long as a pod takes on a busy machine."""


@pytest.fixture(scope="module")
def watched(cluster: Cluster, settings: Settings, config: Path, work: Path) -> Iterator[None]:
    """The CronWorkflow looks every minute, with the quick configuration."""
    saved = module("workflows.discover", "--store", cluster.store, "--configuration", "quick", "--save", config)
    assert saved.returncode == 0, saved.stdout + saved.stderr
    usual = install.values(settings, cluster.prefix)
    looking = {"enabled": True, "schedule": "* * * * *", "configuration": "quick"}
    install.install_chart(cluster.namespace, usual | {"discover": looking}, work)
    yield
    install.install_chart(cluster.namespace, usual, work)


def arrive(cluster: Cluster, folder: Path, cohort: str, number: int) -> None:
    """The objects of a patient come into the inbox, as numbers: a key is no place for a name."""
    patient(number).save(folder / str(number))
    for count, path in enumerate(sorted((folder / str(number)).rglob("*.dcm"))):
        key = f"{cluster.prefix}/inbox/{cohort}/{number}/{count:04}.dcm"
        cluster.s3.upload_file(str(path), cluster.settings.bucket, key)


def marker(cluster: Cluster) -> dict[str, str]:
    return {"Bucket": cluster.settings.bucket, "Key": f"{cluster.prefix}/inbox/{COHORT}/{READY}"}


def looks(cluster: Cluster, since: str) -> list[dict[str, Any]]:
    """Workflows of the schedule that began after a time and have succeeded."""
    found = cluster.workflows(selector=CRON)
    bad = [w for w in found if w.get("status", {}).get("phase") in ("Failed", "Error")]
    assert not bad, cluster.why_red(bad)
    return [
        w
        for w in found
        if w["metadata"]["creationTimestamp"] > since and w.get("status", {}).get("phase") == "Succeeded"
    ]


def after(cluster: Cluster, count: int) -> Submitted:
    """The cohort's newest workflow once there are `count`, and it has succeeded."""
    wait_for(lambda: looks(cluster, "") and len(cluster.workflows(COHORT)) == count, LOOKS_WITHIN_S)
    names = [w["metadata"]["name"] for w in cluster.workflows(COHORT)]
    (*_, newest) = cluster.wait_until_ended(names)
    assert newest["status"]["phase"] == "Succeeded", cluster.why_red([newest])
    return Submitted(0, "", "", [newest])


@pytest.mark.usefixtures("watched")
def test_a_marked_folder_becomes_a_cohort_and_one_that_is_not_waits(cluster: Cluster, tmp_path: Path) -> None:
    arrive(cluster, tmp_path / "export", UNMARKED, 42)
    arrive(cluster, tmp_path / "export", COHORT, 41)
    cluster.s3.put_object(**marker(cluster), Body=b"")
    done = after(cluster, 1)
    assert done.stages == {"organize": 1, "aggregation": 1, "verdict": 1} | dict.fromkeys(COURSE_STAGES, 1)
    tables = cluster.results(COHORT, tmp_path / "fetched")
    assert len(tables["courses"]) == 1 and len(tables["dvh_metrics"]) > 0
    assert cluster.workflows(UNMARKED) == []


@pytest.mark.usefixtures("watched")
def test_the_next_look_finds_nothing_new(cluster: Cluster) -> None:
    (only,) = cluster.workflows(COHORT)
    wait_for(lambda: looks(cluster, only["status"]["finishedAt"]), LOOKS_WITHIN_S)
    assert len(cluster.workflows(COHORT)) == 1


@pytest.mark.usefixtures("watched")
def test_a_new_patient_in_the_folder_runs_alone(cluster: Cluster, tmp_path: Path) -> None:
    cluster.s3.delete_object(**marker(cluster))
    arrive(cluster, tmp_path / "export", COHORT, 43)
    cluster.s3.put_object(**marker(cluster), Body=b"")
    done = after(cluster, 2)
    (course,) = {p.course for p in done.pods if p.course}
    assert all(done.stages[name] == 1 for name in COURSE_STAGES)
    courses = cluster.results(COHORT, tmp_path / "fetched")["courses"]
    assert len(courses) == 2 and course in set(courses["course_id"])
    assert cluster.workflows(UNMARKED) == []

"""The demo cohort through every stage, networks included, equal bit for bit with the same files on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rtpipeline.stages import COURSE_STAGES
from tests.e2e.cluster import Cluster, Submitted, tables_in
from tests.e2e.install import weights_sums
from tests.e2e.recorder import container
from tests.whole_runs import assert_same_contents, rtpipeline

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

COHORT = "demo"
PATIENTS = 2
FEATURES_OF = ["GTV", "Kidney_L"]
"""Large organs add minutes and show nothing more."""


@pytest.fixture(scope="module")
def demo(work: Path) -> Path:
    folder = work / "demo"
    rtpipeline("demo", "--out", folder, "--patients", PATIENTS)
    config = folder / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["radiomics"]["structures"] = FEATURES_OF
    config.write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture(scope="module")
def submitted(cluster: Cluster, demo: Path) -> Submitted:
    return cluster.submit(COHORT, demo / "dicom", demo / "config.yaml")


def test_the_chart_has_fetched_the_weights_from_the_bucket(cluster: Cluster) -> None:
    if not cluster.settings.weights:
        pytest.skip("no folder for weights: set RT_E2E_WEIGHTS")
    from kubernetes import client

    jobs: Any = client.BatchV1Api().list_namespaced_job(cluster.namespace)
    assert [job.status.succeeded for job in jobs.items if "weights" in job.metadata.name] == [1]
    sums = (Path(cluster.settings.weights) / "totalsegmentator" / "SHA256SUMS").read_bytes()
    assert sorted(sums.splitlines()) == sorted(weights_sums().splitlines())


def test_networks_run_in_pods_with_a_gpu_of_their_own(cluster: Cluster, submitted: Submitted) -> None:
    courses = {p.course for p in submitted.pods if p.course}
    assert len(courses) >= PATIENTS
    assert submitted.stages == {"organize": 1, "aggregation": 1, "verdict": 1} | dict.fromkeys(
        COURSE_STAGES, len(courses)
    )
    for name in ("segmentation", "custom_models"):
        pods = cluster.recorder.of_stage(name, COHORT)
        assert len(pods) == len(courses)
        assert all(container(pod)["resources"]["limits"]["nvidia.com/gpu"] == "1" for pod in pods)


def test_every_table_is_bit_equal_to_that_of_the_laptop(
    cluster: Cluster, submitted: Submitted, demo: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cluster.settings.weights:  # the folder that is mounted in the pods
        monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", f"{cluster.settings.weights}/totalsegmentator")
    secret, store = work / "secret", work / "demo-laptop"
    secret.write_text(cluster.secret_text)
    where = ("--input", demo / "dicom", "--output", store, "--cohort", COHORT)
    rtpipeline("run", *where, "--config", demo / "config.yaml", "--secret-file", secret)
    here, there = tables_in(store / COHORT / "results" / "latest"), cluster.results(COHORT, tmp_path / "fetched")
    sources = set(here["structures"]["structure_source"])
    assert len(sources) > 1, "no network has given a structure"
    assert_same_contents(here, there)

"""A server that answers as a cluster, and cohorts in a bucket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from rtpipeline.config import load_config
from rtpipeline.contracts.manifests import Course
from rtpipeline.execution.cluster_plan import facts_id
from rtpipeline.store.bucket import Bucket
from tests.conftest import ROOT
from tests.workflows.api_server import ApiServer, Cluster, write_kubeconfig
from tests.workflows.simulated_cohort import Controller, SimulatedCohort, course
from workflows import following, kube, submit
from workflows.names import (
    AGGREGATE,
    ANNOTATION_CPU_IMAGE,
    ANNOTATION_GPU_IMAGE,
    ANNOTATION_WEIGHTS,
    ARTIFACT_REPOSITORIES,
    ARTIFACT_REPOSITORY,
    COHORT,
    COURSES,
)
from workflows.sources import holding

RENDERED = ROOT / "helm" / "rtpipeline" / "files"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster behind KUBECONFIG: nothing is installed in it."""
    server = ApiServer()
    write_kubeconfig(tmp_path / "kubeconfig", server.url)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.delenv("RTPIPELINE_STORE", raising=False)
    yield server.cluster
    server.close()


@pytest.fixture
def client(api: Cluster) -> kube.Cluster:
    """This package's side of it."""
    return kube.connect()


@pytest.fixture(scope="session")
def rendered() -> dict[str, kube.Object]:
    """The templates as the chart has them by default."""
    return {
        name: yaml.load((RENDERED / f"{name}.yaml").read_text(), yaml.CSafeLoader)
        for name in (COHORT, COURSES, AGGREGATE)
    }


@pytest.fixture
def installed(api: Cluster, rendered: dict[str, kube.Object]) -> Cluster:
    """The same with the chart's templates and everything that they name."""
    from workflows.installation import references

    for name, template in rendered.items():
        api.templates[name] = deepcopy(template)
        for reference in references(template["spec"]):
            api.put(kube.CORE_KINDS[reference.kind], reference.name)
    _use_bucket(api, "bucket")
    return api


@dataclass
class Scene:
    """An installed chart, a store, a cohort that pods work on, and the command."""

    api: Cluster
    store: Bucket
    cohort: SimulatedCohort
    controller: Controller
    export: Path
    config: Path
    courses: list[Course]

    def submit(self, *more: str, source: str = "", config: Path | None = None) -> int:
        """`python -m workflows.submit`."""
        self.look_at_export()
        given = ["--cohort", "toys", "--source", source or str(self.export), "--config", str(config or self.config)]
        return submit.main([*given, *more])

    def look_at_export(self) -> None:
        """What organize's pod would find."""
        self.controller.listing = holding([self.export]).digest

    @property
    def created(self) -> list[str]:
        """Templates of what has been created, in order."""
        return [w["spec"]["workflowTemplateRef"]["name"].removeprefix("rtpipeline-") for w in self.api.created]

    def forget(self) -> None:
        """Count from here. The next submission is of another second: the name of a run has its start in it."""
        time.sleep(1 - time.time() % 1)
        self.api.created.clear()
        self.controller.pods.clear()

    def bucket_keys(self) -> set[str]:
        """Everything in the bucket."""
        return {entry.key for entry in self.store.list()}


@pytest.fixture
def scene(installed: Cluster, bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Three courses in a local folder; nothing has been submitted."""
    monkeypatch.setenv("RTPIPELINE_STORE", bucket_url)
    monkeypatch.setattr(following, "SHORTEST_S", 0.02)
    monkeypatch.setattr(following, "NAP_S", 0.01)
    export = tmp_path / "export"
    export.mkdir()
    for number in range(6):
        (export / f"{number}.dcm").write_bytes(bytes([number]) * 100)
    config = tmp_path / "study.yaml"
    config.write_text("workers: 2\n")
    store = Bucket.open(bucket_url)
    annotations = installed.templates[COURSES]["metadata"]["annotations"]
    parsed = load_config(config)
    name = facts_id(
        parsed,
        cpu_image=annotations[ANNOTATION_CPU_IMAGE],
        gpu_image=annotations[ANNOTATION_GPU_IMAGE],
        weights=annotations[ANNOTATION_WEIGHTS],
    )
    cohort = SimulatedCohort(store, "toys", parsed, name)
    courses = [course(number) for number in range(3)]
    controller = Controller(cohort, lambda: courses)
    installed.controller = controller
    _use_bucket(installed, store.name)
    return Scene(installed, store, cohort, controller, export, config, courses)


def _use_bucket(api: Cluster, bucket: str) -> None:
    """The ConfigMap of the artifact repository, for a bucket."""
    content = yaml.safe_dump({"s3": {"bucket": bucket, "accessKeySecret": {"name": "rtpipeline-s3"}}})
    api.put("configmaps", ARTIFACT_REPOSITORIES, data={ARTIFACT_REPOSITORY: content})
    api.put("secrets", "rtpipeline-s3")

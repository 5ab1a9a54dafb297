"""Ten thousand courses: what a submission costs, what lies in the cluster, and how fast simulated pods pass through it.

The cohort is simulated in the bucket (no stage runs); pods run on simulated nodes where the cluster has them.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtpipeline.config import load_config
from rtpipeline.execution.cluster_plan import MOST_ITEMS, facts_id
from rtpipeline.store.bucket import Bucket
from tests.e2e import install
from tests.e2e.cluster import Cluster, module, nodes_of, pod_nodes
from tests.e2e.reporter import Reporter
from tests.e2e.settings import Settings
from tests.workflows.simulated_cohort import SimulatedCohort, course
from workflows.names import ANNOTATION_CPU_IMAGE, ANNOTATION_GPU_IMAGE, ANNOTATION_WEIGHTS
from workflows.sources import holding

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

MANY, SHARD = 10_000, 100
LIMIT_BYTES = 1024**2
"""Of one object, as etcd takes it."""

GROWING = ("nodes", "compressedNodes", "taskResultsCompletionStatus")
"""Of a workflow's status: what has an entry for each pod."""

PASSING = 20
"""Courses that are run to their end on simulated nodes."""


@pytest.fixture(scope="module")
def many(settings: Settings, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A second namespace, whose pods go to simulated nodes alone."""
    name = f"{cluster.namespace}-many"
    found = Cluster(settings, name, f"{name}/store", cluster.secret_text, cluster.recorder)
    try:
        install.make_namespace(settings, name, cluster.secret_text)
        chosen = install.values(settings, found.prefix)
        label, _, value = (settings.simulated_nodes or "rtpipeline/no-such-node=true").partition("=")
        there = {"nodeSelector": {label: value}, "tolerations": [{"operator": "Exists"}]}
        chosen["pods"] = {"cpu": there, "gpu": there}
        chosen["s3"]["archiveLogs"] = False
        chosen["semaphores"] = {"segWorkers": 50, "customSegWorkers": 50, "shards": 1}
        install.install_chart(name, chosen, tmp_path_factory.mktemp("many"))
        yield found
    finally:
        install.remove_namespace(name)


def simulate(cluster: Cluster, cohort: str, export: Path, config: Path, courses: int) -> None:
    """Organize has ended, with so many courses."""
    notes = cluster.template("rtpipeline-courses")["metadata"]["annotations"]
    name = facts_id(
        load_config(config),
        cpu_image=notes[ANNOTATION_CPU_IMAGE],
        gpu_image=notes[ANNOTATION_GPU_IMAGE],
        weights=notes[ANNOTATION_WEIGHTS],
    )
    found = SimulatedCohort(Bucket.open(cluster.store), cohort, load_config(config), name)
    found.organize(holding([export]).digest, (course(number) for number in range(courses)))


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Any file: what is in it was simulated."""
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "one.dcm").write_bytes(b"x")
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "many.yaml"
    path.write_text("workers: 2\n")
    return path


def size_bytes(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")).encode())


def etcd_mib(cluster: Cluster) -> float:
    """What the database of the cluster takes."""
    _, text = cluster.ask("GET", "/metrics")
    found = re.search(r"^apiserver_storage_size_bytes\{.*\} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) / 2**20 if found else float("nan")


def say(request: pytest.FixtureRequest, text: str) -> None:
    """A figure into the output of the run, passing tests included."""
    request.config.get_terminal_writer().line(f"\n{text}")


def test_ten_thousand_courses_are_submitted(
    many: Cluster, export: Path, config: Path, request: pytest.FixtureRequest
) -> None:
    simulate(many, "many", export, config, MANY)
    before = etcd_mib(many)
    started = time.monotonic()
    done = many.submit("many", export, config, wait=False)
    took_s = time.monotonic() - started
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    sizes = sorted(size_bytes(w) for w in done.workflows)
    say(
        request,
        f"{MANY} courses: {len(sizes)} workflows of {sizes[0]} to {sizes[-1]} bytes in {took_s:.0f} s, client at most "
        f"{peak_mib:.0f} MiB, etcd from {before:.0f} to {etcd_mib(many):.0f} MiB",
    )
    assert len(sizes) == MANY // SHARD
    assert sizes[-1] < LIMIT_BYTES
    held = [w for w in many.workflows("many") if w.get("status", {}).get("phase") == "Running"]
    assert len(held) <= 1, "the limit of shards holds the others back"
    assert many.submit("many", export, config, wait=False).workflows == [], "submitted twice"
    many.custom.delete_collection_namespaced_custom_object("argoproj.io", "v1alpha1", many.namespace, "workflows")


def test_courses_pass_through_simulated_nodes(
    many: Cluster, settings: Settings, export: Path, config: Path, request: pytest.FixtureRequest
) -> None:
    if not settings.simulated_nodes:
        pytest.skip("this cluster has no simulated nodes (RT_E2E_SIMULATED_NODES)")
    simulate(many, "passing", export, config, MOST_ITEMS + 1)
    shard = yaml.safe_load(dry_run(many, "passing", export, config))
    items = next(p for p in shard["spec"]["arguments"]["parameters"] if p["name"] == "items")
    items["value"] = json.dumps(json.loads(items["value"])[:PASSING])
    reporter = Reporter(many)
    reporter.start()
    started = time.monotonic()
    ended = many.run_workflow(shard, 600)
    took_s = time.monotonic() - started
    reporter.stop()
    pods = len(list(pod_nodes(ended)))
    status = ended["status"]
    nodes = json.dumps(nodes_of(ended), separators=(",", ":")).encode()
    packed = len(base64.b64encode(gzip.compress(nodes)))  # as Argo keeps them above the limit
    growing = packed + size_bytes(status.get("taskResultsCompletionStatus"))
    fixed = size_bytes(ended | {"status": {k: v for k, v in status.items() if k not in GROWING}})
    whole = fixed + growing * SHARD // PASSING
    say(
        request,
        f"{PASSING} courses, {pods} simulated pods: {took_s:.0f} s, {pods / took_s:.1f} pods/s; nodes of {len(nodes)} "
        f"bytes, {packed} compressed; {growing // PASSING} bytes for a course, {whole} for a shard of {SHARD}",
    )
    assert ended["status"]["phase"] == "Succeeded", many.why_red([ended])
    assert pods == 9 * PASSING
    assert whole < LIMIT_BYTES


def dry_run(cluster: Cluster, cohort: str, export: Path, config: Path) -> str:
    """The first workflow that a submission would create, as YAML."""
    place = ("--store", cluster.store, "--namespace", cluster.namespace)
    done = module("workflows.submit", "--cohort", cohort, "--source", export, "--config", config, *place, "--dry-run")
    assert done.returncode == 0, done.stderr
    return next(text for text in done.stdout.split("\n---\n") if "items" in text)

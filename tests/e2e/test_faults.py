"""What goes wrong in a real cluster: nothing is lost, nothing is half, the numbers are those of an undisturbed run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rtpipeline.errors import TransientError
from rtpipeline.store.packing import unpack
from tests.e2e import install, misbehaving
from tests.e2e.cluster import COHORT_S, Cluster, Submitted, pod_nodes, tables_in, wait_for
from tests.e2e.exports import SMALL, patient, save, write_config
from tests.e2e.recorder import container, most_at_once
from tests.e2e.settings import Settings, run_command
from tests.whole_runs import assert_same_contents, rtpipeline

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

COHORT = "faulty"
TOO_LITTLE_MIB, ENOUGH_MIB = 100, 2048
"""Python with the libraries of a stage takes about 300 MiB."""


@pytest.fixture(scope="module")
def faulty(work: Path) -> Path:
    """Two patients, and one of whom the images alone were exported, four slices missing."""
    folder = work / COHORT
    for number in (11, 12):
        save(folder, number)
    bad = patient(13)
    del bad.ct[8:12]
    bad.rtstruct = bad.rtplan = bad.rtdose = None
    bad.save(folder / "Xquandt_XQPAT-013")
    return folder


@pytest.fixture(scope="module")
def faulty_config(work: Path) -> Path:
    return write_config(work / "faulty.yaml", radiomics_robustness={"structures": ["GTV", "PTV", "SpinalCord"]})


@pytest.fixture(scope="module")
def small_rung(cluster: Cluster, settings: Settings, work: Path) -> Iterator[None]:
    """The first rung of the DVH's memory is too small."""
    usual = install.values(settings, cluster.prefix)
    changed = install.values(settings, cluster.prefix)
    changed["stages"]["dvh"]["memoryMiB"] = [TOO_LITTLE_MIB, ENOUGH_MIB]
    install.install_chart(cluster.namespace, changed, work)
    yield
    install.install_chart(cluster.namespace, usual, work)


def disturb(cluster: Cluster, settings: Settings, over: Callable[[], bool]) -> None:
    """The bucket goes away for 20 s; then a pod is deleted, and the controller killed."""
    wait_for(lambda: cluster.running("prepare_images") or over(), 300, 0.2)
    if settings.interrupt_s3:
        run_command(settings.interrupt_s3)
    wait_for(lambda: cluster.running("robustness") or over(), 300, 0.2)
    for pod in cluster.running("robustness")[:1]:
        cluster.core.delete_namespaced_pod(pod.metadata.name, cluster.namespace)
    if settings.restart_controller:
        run_command(settings.restart_controller)


@pytest.fixture(scope="module")
def disturbed(cluster: Cluster, settings: Settings, faulty: Path, faulty_config: Path, small_rung: None) -> Submitted:
    """A submission during which the bucket goes away, a pod is deleted and the controller is killed."""
    options = ["--cohort", COHORT, "--source", faulty, "--config", faulty_config, "--store", cluster.store, "--wait"]
    options += ["--namespace", cluster.namespace, "--timeout", str(COHORT_S)]
    command = [sys.executable, "-m", "workflows.submit", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        try:
            disturb(cluster, settings, lambda: client.poll() is not None)
            out, err = client.communicate(timeout=COHORT_S + 60)
        finally:
            client.kill()
    return Submitted(client.returncode, out, err, cluster.workflows(COHORT))


def test_the_course_that_cannot_be_used_is_red_and_named(cluster: Cluster, disturbed: Submitted) -> None:
    assert disturbed.code == 1, disturbed.out + disturbed.err + cluster.why_red(disturbed.workflows)
    assert "IMG_MISSING_SLICE" in disturbed.out
    (workflow,) = disturbed.workflows
    nodes = {n["displayName"]: n for n in workflow["status"]["nodes"].values()}
    assert nodes["aggregation"]["phase"] == "Succeeded"
    assert nodes["verdict"]["phase"] == workflow["status"]["phase"] == "Failed"
    red = {(p.course, p.stage) for p in disturbed.pods if "exit code 3)" in p.message}
    assert len(red) == 1 and next(iter(red))[1] == "prepare_images"
    of_bad = {p.stage for p in disturbed.pods if p.course == next(iter(red))[0]}
    assert of_bad == {"prepare_images", "prepare_rt", "qc"}, "what needs images is left out, the course's page is made"


def test_what_can_pass_was_tried_again(disturbed: Submitted) -> None:
    ended = {}
    for pod in disturbed.pods:
        ended[pod.course, pod.stage] = pod.phase
    left = {where for where, phase in ended.items() if phase != "Succeeded"}
    assert {stage for _, stage in left} == {"prepare_images", "verdict"}


def test_a_stage_out_of_memory_gets_the_next_rung(cluster: Cluster, disturbed: Submitted) -> None:
    attempts: dict[str, list[Any]] = {}
    for pod in (p for p in disturbed.pods if p.stage == "dvh"):
        attempts.setdefault(pod.course, []).append(pod)
    assert len(attempts) == 2
    for first, *others in attempts.values():
        assert "OOMKilled" in first.message
        assert others and others[-1].phase == "Succeeded"
    limits = [container(pod)["resources"]["limits"]["memory"] for pod in cluster.recorder.of_stage("dvh", COHORT)]
    assert {f"{TOO_LITTLE_MIB}Mi", "2Gi"} <= set(limits) or {f"{TOO_LITTLE_MIB}Mi", f"{ENOUGH_MIB}Mi"} <= set(limits)


def test_the_tables_are_those_of_an_undisturbed_run(
    cluster: Cluster, disturbed: Submitted, faulty: Path, faulty_config: Path, work: Path, tmp_path: Path
) -> None:
    there = cluster.results(COHORT, tmp_path / "fetched")
    assert "IMG_MISSING_SLICE" in set(there["findings"]["code"])
    assert sorted(there["courses"]["course_status"]) == ["failed", "ok", "ok"]
    secret, store = work / "secret", work / "faulty-laptop"
    secret.write_text(cluster.secret_text)
    where = ("--input", faulty, "--output", store, "--cohort", COHORT)
    rtpipeline("run", *where, "--config", faulty_config, "--secret-file", secret, check=False)
    assert_same_contents(tables_in(store / COHORT / "results" / "latest"), there)


def test_no_two_pods_of_a_pool_run_at_once(cluster: Cluster, first: Submitted, disturbed: Submitted) -> None:
    for stage in ("segmentation", "custom_models"):
        pods = cluster.recorder.of_stage(stage)
        assert len(pods) >= 3
        assert most_at_once(pods) == 1, stage


def test_a_stage_that_fails_half_way_leaves_no_half_result(cluster: Cluster, first: Submitted, tmp_path: Path) -> None:
    example = next(p for p in first.pods if p.stage == "dvh" and p.phase == "Succeeded")
    settings = example.parameters["key"].partition("-")[2]
    keys = {name: f"{number:012d}-{settings}" for number, name in enumerate(misbehaving.FAILS, start=1)}
    pods = {
        name: type(example)(**{**vars(example), "parameters": example.parameters | {"key": key}})
        for name, key in keys.items()
    }
    ended = cluster.run_workflow(misbehaving.half_written(cluster, pods))
    messages = {node.template: node.message for node in pod_nodes(ended)}
    assert "exit code 3)" in messages["data"], cluster.why_red([ended])
    assert "exit code 75)" in messages["transient"], cluster.why_red([ended])
    assert "OOMKilled" in messages["memory"], cluster.why_red([ended])
    left = {name: cluster.list_keys(f"{SMALL}/courses/{example.course}/dvh/{key}/") for name, key in keys.items()}
    assert left["transient"] == left["memory"] == []
    assert len(left["data"]) == 3, "what ends with a data error is recorded, whole"
    for key in left["data"]:
        path = tmp_path / "packed" / key.rpartition("/")[2]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(cluster.read(key))
    try:
        unpack(tmp_path / "packed", tmp_path / "whole")
    except TransientError as error:
        pytest.fail(f"what was left is not what its record says: {error}")


def test_a_pod_can_write_to_its_own_folders_alone(cluster: Cluster) -> None:
    ended = cluster.run_workflow(misbehaving.look_around(cluster))
    (node,) = pod_nodes(ended)
    lines = cluster.log_of(node.pod, 1000).splitlines()
    written = {line.split()[1] for line in lines if line.startswith("WROTE")}
    assert written, lines
    inside = ("/work", "/tmp", "/dev/shm", "/var/run/argo", "/run/argo")
    assert not [folder for folder in written if not folder.startswith(inside)]
    assert any(line.startswith("UID 8737") for line in lines)


def test_an_unrestricted_pod_is_refused(cluster: Cluster) -> None:
    from kubernetes import client

    loose = {"metadata": {"name": "loose"}, "spec": {"containers": [{"name": "main", "image": "any"}]}}
    with pytest.raises(client.ApiException, match="violates PodSecurity"):
        cluster.core.create_namespaced_pod(cluster.namespace, loose)

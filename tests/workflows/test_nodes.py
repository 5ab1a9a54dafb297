"""What is read from the status of a Workflow, as the controller writes it."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from workflows.nodes import Failed, course_of, stage_nodes, state_of, unpacked_nodes


def node(name: str, kind: str, phase: str, **more: Any) -> dict[str, Any]:
    return {"id": f"w-{name}", "name": name, "displayName": name, "type": kind, "phase": phase} | more


def parameters(**values: str) -> dict[str, Any]:
    return {"inputs": {"parameters": [{"name": n, "value": v} for n, v in values.items()]}}


ITEM = "p0123456789-c01:aaaaaaaaaaaa:bbbbbbbbbbbb:110000000"

LOCK = "Waiting for rt/ConfigMap/rtpipeline-semaphores/seg_workers lock. Lock status: 1/2"


def stage(name: str, kind: str, phase: str, template: str, message: str = "", *children: str) -> dict[str, Any]:
    return node(name, kind, phase, templateName=template, boundaryID="w-c", message=message, children=list(children))


NODES: dict[str, dict[str, Any]] = {
    "w": node("w", "DAG", "Running", templateName="shard"),
    "w-tg": node("tg", "TaskGroup", "Running", templateName="course", boundaryID="w"),
    "w-c": node("c", "DAG", "Running", templateName="course", boundaryID="w", **parameters(work_item=ITEM)),
    "w-pi": stage("pi", "Retry", "Succeeded", "prepare-images", "", "w-pi0", "w-pi1"),
    "w-pi0": stage("pi(0)", "Pod", "Failed", "prepare-images", "main: OOMKilled (exit code 137)"),
    "w-pi1": stage("pi(1)", "Pod", "Succeeded", "prepare-images"),
    "w-pr": stage("pr", "Retry", "Failed", "prepare-rt", "No more retries left", "w-pr0"),
    "w-pr0": stage("pr(0)", "Pod", "Failed", "prepare-rt", "main: Error (exit code 3)"),
    "w-s": stage("s", "Retry", "Pending", "segmentation", LOCK),
    "w-d": stage("d", "Skipped", "Omitted", "dvh"),
    "w-q": stage("q", "Skipped", "Skipped", "qc"),
}


def workflow(status: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "w"}, "status": status}


def test_each_stage_of_a_course_counts_once_however_often_it_was_tried():
    state = state_of(workflow({"phase": "Running", "nodes": NODES}))
    assert {stage: dict(counts) for stage, counts in state.counts.items()} == {
        "prepare_images": {"done": 1},
        "prepare_rt": {"failed": 1},
        "segmentation": {"waiting": 1},
        "dvh": {"not_run": 1},
        "qc": {"not_run": 1},
    }
    assert len(list(stage_nodes(NODES))) == 5


def test_a_failure_has_its_course_and_the_reason_of_its_last_attempt():
    state = state_of(workflow({"phase": "Running", "nodes": NODES}))
    assert state.failures == [Failed("p0123456789-c01", "prepare_rt", "main: Error (exit code 3)")]


def test_the_course_is_the_nodes_own_input_or_that_of_the_dag_around_it():
    own = node("x", "Pod", "Running", boundaryID="w-c", **parameters(course="p9-c02"))
    assert course_of(own, NODES) == "p9-c02"
    assert course_of(NODES["w-pr0"], NODES) == "p0123456789-c01"
    assert course_of(NODES["w"], NODES) == ""


def test_waiting_for_a_limit_is_told_without_what_changes_every_second():
    state = state_of(workflow({"phase": "Running", "nodes": NODES}))
    assert dict(state.waiting) == {"the limit rtpipeline-semaphores/seg_workers": 1}
    assert state.troubles == []


def test_a_pod_that_cannot_start_is_trouble():
    message = 'CreateContainerConfigError: secret "rtpipeline-pseudonyms" not found'
    nodes = {"w-o": node("o", "Pod", "Pending", templateName="organize", message=message)}
    state = state_of(workflow({"phase": "Running", "nodes": nodes}))
    assert state.troubles == [message]
    assert state.pending_pods == ["w-organize-o"]


def test_packed_nodes_are_the_same_nodes():
    packed = base64.b64encode(gzip.compress(json.dumps(NODES).encode())).decode()
    plain = state_of(workflow({"phase": "Running", "nodes": NODES}))
    assert state_of(workflow({"phase": "Running", "compressedNodes": packed})) == plain


def test_what_is_packed_otherwise_is_said_and_not_guessed():
    zstd = base64.b64encode(b"\x28\xb5\x2f\xfd" + bytes(40)).decode()
    assert unpacked_nodes({"compressedNodes": zstd}) is None
    assert unpacked_nodes({"offloadNodeStatusVersion": "fnv:1"}) is None
    state = state_of(workflow({"phase": "Running", "compressedNodes": zstd}))
    assert not state.stages_known
    assert not state.has_ended


def test_a_workflow_that_argo_has_not_seen_waits():
    state = state_of({"metadata": {"name": "w"}})
    assert (state.phase, state.has_ended, state.counts) == ("", False, {})

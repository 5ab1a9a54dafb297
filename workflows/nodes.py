"""What the status of a Workflow says: counts by stage, what waits and why, what failed. Plain values in and out."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rtpipeline.stages import STAGES
from workflows.expressions import WORK_ITEM

Word = Literal["done", "running", "waiting", "failed", "not_run"]
WORDS: tuple[Word, ...] = ("done", "running", "waiting", "failed", "not_run")
_WORD_OF_PHASE: dict[str, Word] = {
    "Succeeded": "done",
    "Running": "running",
    "Pending": "waiting",
    "": "waiting",
    "Failed": "failed",
    "Error": "failed",
    "Skipped": "not_run",
    "Omitted": "not_run",
}
ENDED_PHASES = frozenset({"Succeeded", "Failed", "Error"})
STAGE_OF_TEMPLATE = {name.replace("_", "-"): name for name in STAGES}
"""Argo's template names have no underscore."""

VERDICT = "verdict"
_NEVER_STARTS = re.compile(
    r"ImagePullBackOff|ErrImagePull|ErrImageNeverPull|InvalidImageName|CreateContainerConfigError|not found|forbidden"
)
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
"""What every pod says for a moment."""
_LOCK = re.compile(r"Waiting for \S*?/?(?P<lock>[\w.-]+/[\w.-]+) lock")


@dataclass(frozen=True)
class Failed:
    """A stage of a course ('' for the cohort) that ended red."""

    course_id: str
    stage: str
    message: str


@dataclass
class State:
    """How one Workflow stands."""

    name: str
    phase: str
    """as Argo says it; '' before the controller has seen it"""
    message: str = ""
    counts: dict[str, Counter[Word]] = field(default_factory=dict)
    """by stage"""
    failures: list[Failed] = field(default_factory=list)
    waiting: Counter[str] = field(default_factory=Counter)
    """why pods wait: how many"""
    pending_pods: list[str] = field(default_factory=list)
    stages_known: bool = True
    """false where the controller packed the nodes in a way that is not read here"""

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will run any more."""
        return self.phase in ENDED_PHASES

    @property
    def troubles(self) -> list[str]:
        """Reasons for waiting that do not go away by themselves."""
        return sorted(reason for reason in self.waiting if _NEVER_STARTS.search(reason))


def state_of(workflow: Mapping[str, Any]) -> State:
    """How a Workflow object stands."""
    status = workflow.get("status") or {}
    state = State(workflow["metadata"]["name"], status.get("phase", ""), status.get("message", ""))
    nodes = unpacked_nodes(status)
    if nodes is None:
        state.stages_known = False
        return state
    for node in stage_nodes(nodes):
        stage = stage_of(node) or ""
        word = _WORD_OF_PHASE.get(node.get("phase", ""), "waiting")
        state.counts.setdefault(stage, Counter())[word] += 1
        if word == "failed":
            state.failures.append(Failed(course_of(node, nodes), stage, reason_of(node, nodes)))
    state.waiting = Counter(_reasons_to_wait(nodes))
    state.failures.sort(key=lambda failed: (failed.course_id, failed.stage))
    state.pending_pods = sorted(_pending_pods(workflow["metadata"]["name"], nodes))
    return state


def unpacked_nodes(status: Mapping[str, Any]) -> dict[str, Any] | None:
    """The nodes of a status, gzipped ones too; None when they are packed otherwise or kept in a database."""
    packed = status.get("compressedNodes")
    if not packed:
        return None if status.get("offloadNodeStatusVersion") else dict(status.get("nodes") or {})
    try:
        found = json.loads(gzip.decompress(base64.b64decode(packed, validate=True)))
    except (binascii.Error, gzip.BadGzipFile, EOFError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def stage_of(node: Mapping[str, Any]) -> str | None:
    """The stage that a node runs; None for the DAGs around them."""
    template = node.get("templateName") or (node.get("templateRef") or {}).get("template", "")
    return STAGE_OF_TEMPLATE.get(template)


def stage_nodes(nodes: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """One node for each stage of each course: the Retry node where there is one, not its attempts."""
    attempts = {child for node in nodes.values() if node.get("type") == "Retry" for child in node.get("children") or []}
    for key, node in nodes.items():
        if key not in attempts and stage_of(node) and node.get("type") in ("Pod", "Retry", "Skipped"):
            yield node


def course_of(node: Mapping[str, Any], nodes: Mapping[str, Any]) -> str:
    """The course that a node belongs to: its own or an enclosing DAG's input; '' for stages of the cohort."""
    seen: set[str] = set()
    at: Mapping[str, Any] | None = node
    while at is not None:
        given = {p["name"]: p.get("value") or "" for p in (at.get("inputs") or {}).get("parameters") or []}
        if found := given.get("course") or given.get(WORK_ITEM, "").partition(":")[0]:
            return str(found)
        boundary = at.get("boundaryID", "")
        if boundary in seen:
            break
        seen.add(boundary)
        at = nodes.get(boundary)
    return ""


def reason_of(node: Mapping[str, Any], nodes: Mapping[str, Any]) -> str:
    """Why a node failed: of retries, what its last attempt said."""
    children = [nodes[child] for child in node.get("children") or [] if child in nodes]
    attempts = [child for child in children if child.get("type") == "Pod"]
    if node.get("type") == "Retry" and attempts:
        last = max(attempts, key=lambda a: (a.get("startedAt") or "", a.get("name") or ""))
        return str(last.get("message") or node.get("message") or "")
    return str(node.get("message") or "")


def red_nodes(states: Iterable[State]) -> list[Failed]:
    """What failed in several Workflows; aggregation's red node says nothing beyond the courses that are listed."""
    return sorted(
        (failed for state in states for failed in state.failures), key=lambda failed: (failed.course_id, failed.stage)
    )


def total_counts(states: Iterable[State]) -> dict[str, Counter[Word]]:
    """Counts of several Workflows by stage, in the order of the stage table."""
    found: dict[str, Counter[Word]] = {}
    for state in states:
        for stage, counts in state.counts.items():
            found.setdefault(stage, Counter()).update(counts)
    return {stage: found[stage] for stage in STAGES if stage in found}


def _pending_pods(workflow: str, nodes: Mapping[str, Any]) -> Iterator[str]:
    """Names of pods that have not started, as Argo makes them: workflow, template, and the end of the node's id."""
    for node in nodes.values():
        if node.get("type") == "Pod" and node.get("phase") == "Pending":
            template = node.get("templateName") or (node.get("templateRef") or {}).get("template", "")
            yield f"{workflow}-{template}-{str(node.get('id', '')).rpartition('-')[2]}"


def _reasons_to_wait(nodes: Mapping[str, Any]) -> Iterator[str]:
    """One for each pod that does not start, and each node that waits for one of the named limits."""
    for node in nodes.values():
        text = str(node.get("message") or "")
        is_pending = node.get("phase") == "Pending" and text not in _STARTING
        if is_pending and (node.get("type") == "Pod" or _LOCK.search(text)):
            yield _short(text)


def _short(message: str) -> str:
    """A reason without counts that change from second to second."""
    lock = _LOCK.search(message)
    return f"the limit {lock['lock']}" if lock else message.strip().rstrip(".")

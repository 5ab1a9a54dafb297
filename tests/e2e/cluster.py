"""A namespace with the chart installed: submit cohorts, look at workflows, pods, logs and keys."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from tests.e2e.recorder import Recorder
from tests.e2e.settings import Settings
from tests.whole_runs import PROVENANCE_OF_TIME, RESULT_TABLES

ARGO = ("argoproj.io", "v1alpha1")
ENDED = ("Succeeded", "Failed", "Error")
COHORT_S = 900
"""Longest that any cohort of these tests may take."""


@dataclass(frozen=True)
class PodNode:
    """A pod as the workflow remembers it: the pod itself may be gone."""

    workflow: str
    stage: str
    course: str
    phase: str
    message: str
    started: str
    ended: str
    pod: str
    attempt: int
    template: str = ""
    parameters: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass
class Submitted:
    """What `python -m workflows.submit` did."""

    code: int
    out: str
    err: str
    workflows: list[dict[str, Any]] = field(default_factory=list)
    """those of the cohort that were not there before, the oldest first"""

    @property
    def answer(self) -> dict[str, Any]:
        """What `--json` printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def pods(self) -> list[PodNode]:
        """Every pod of these workflows, in the order of their start."""
        return sorted((p for w in self.workflows for p in pod_nodes(w)), key=lambda p: (p.started, p.pod))

    @property
    def stages(self) -> Counter[str]:
        """How many pods each stage had."""
        return Counter(p.stage for p in self.pods)


def nodes_of(workflow: dict[str, Any]) -> dict[str, Any]:
    """The nodes of a workflow, which Argo keeps compressed where they are many."""
    status = workflow.get("status", {})
    packed = status.get("compressedNodes")
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed))) if packed else status.get("nodes", {})
    return found


def pod_nodes(workflow: dict[str, Any]) -> Iterator[PodNode]:
    """The pods of a workflow, attempts included."""
    for node in nodes_of(workflow).values():
        if node["type"] != "Pod":
            continue
        values = {p["name"]: p.get("value", "") for p in node.get("inputs", {}).get("parameters", [])}
        text = node["displayName"]
        yield PodNode(
            workflow=workflow["metadata"]["name"],
            stage=(node.get("templateName") or node["templateRef"]["template"]).replace("-", "_"),
            course=values.get("course", ""),
            phase=node["phase"],
            message=node.get("message", ""),
            started=node.get("startedAt") or "",
            ended=node.get("finishedAt") or "",
            pod=node["id"],
            attempt=int(text.rpartition("(")[2].rstrip(")")) if text.endswith(")") else 0,
            template=node.get("templateName", ""),
            parameters=values,
        )


@dataclass
class Cluster:
    """A namespace of its own in the cluster, a prefix of its own in the bucket."""

    settings: Settings
    namespace: str
    prefix: str
    secret_text: str
    recorder: Recorder

    @property
    def store(self) -> str:
        """URL of the store."""
        return f"s3://{self.settings.bucket}/{self.prefix}"

    # --- Kubernetes ---

    @property
    def core(self) -> Any:
        """Client of the core API."""
        from kubernetes import client

        return client.CoreV1Api()

    @property
    def custom(self) -> Any:
        """Client of Argo's objects."""
        from kubernetes import client

        return client.CustomObjectsApi()

    def workflows(self, cohort: str = "", selector: str = "") -> list[dict[str, Any]]:
        """Workflows of a cohort, or those with other labels, or all, the oldest first."""
        selector = f"rtpipeline/cohort={cohort}" if cohort else selector
        listed = self.custom.list_namespaced_custom_object(*ARGO, self.namespace, "workflows", label_selector=selector)
        return sorted(listed["items"], key=lambda w: w["metadata"]["creationTimestamp"])

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, str]:
        """Status and text of the answer to a request to the API; with the token of an account, as that account."""
        from kubernetes import client

        api = client.ApiClient()
        mine = next((s["value"] for s in api.configuration.auth_settings().values() if s["in"] == "header"), "")
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {
            "Accept": "application/json",
            "Content-Type": kind,
            "Authorization": f"Bearer {token}" if token else mine,
        }
        if not headers["Authorization"]:
            headers.pop("Authorization")
        try:
            answer = api.rest_client.request(method, f"{api.configuration.host}{path}", headers=headers, body=body)
            content = answer.read() if hasattr(answer, "read") else answer.data
            return answer.status, content.decode() if isinstance(content, bytes) else content
        except client.ApiException as error:
            return int(error.status), str(error.body)

    def token_of(self, account: str) -> str:
        """A token of a service account of the namespace."""
        body = {"spec": {"expirationSeconds": 3600}}
        answer = self.core.create_namespaced_service_account_token(account, self.namespace, body)
        return str(answer.status.token)

    def template(self, name: str) -> dict[str, Any]:
        """A WorkflowTemplate as it is installed."""
        found: dict[str, Any] = self.custom.get_namespaced_custom_object(
            *ARGO, self.namespace, "workflowtemplates", name
        )
        return found

    def run_workflow(self, body: dict[str, Any], timeout_s: float = 300) -> dict[str, Any]:
        """Create a workflow and wait for its end."""
        made = self.custom.create_namespaced_custom_object(*ARGO, self.namespace, "workflows", body)
        (ended,) = self.wait_until_ended([made["metadata"]["name"]], timeout_s)
        return ended

    def pods(self, selector: str = "") -> list[Any]:
        """Pods that exist now."""
        return list(self.core.list_namespaced_pod(self.namespace, label_selector=selector).items)

    def running(self, stage: str) -> list[Any]:
        """Pods of a stage whose main container runs now."""
        return [
            pod
            for pod in self.pods(f"rtpipeline/stage={stage}")
            if any(s.name == "main" and s.state.running for s in pod.status.container_statuses or [])
        ]

    # --- the bucket ---

    @property
    def s3(self) -> Any:
        """Client of the bucket."""
        import boto3

        return boto3.client("s3", endpoint_url=self.settings.endpoint, region_name=self.settings.region)

    def list_keys(self, below: str = "") -> list[str]:
        """Keys below the store's prefix, relative to it."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.settings.bucket, Prefix=f"{self.prefix}/{below}"
        )
        return [entry["Key"].removeprefix(f"{self.prefix}/") for page in pages for entry in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        """Content of a key below the store's prefix."""
        found: bytes = self.s3.get_object(Bucket=self.settings.bucket, Key=f"{self.prefix}/{key}")["Body"].read()
        return found

    # --- the client's commands ---

    def submit(
        self, cohort: str, source: Path | str, config: Path, *more: object, wait: bool = True, expect: int | None = 0
    ) -> Submitted:
        """Submit a cohort; `expect` is the exit code that is asked for, None for any."""
        before = {w["metadata"]["name"] for w in self.workflows(cohort)}
        options: list[object] = ["--cohort", cohort, "--source", source, "--config", config, "--store", self.store]
        options += ["--namespace", self.namespace, *(["--wait", "--timeout", COHORT_S] if wait else []), *more]
        done = module("workflows.submit", *options)
        new = [w for w in self.workflows(cohort) if w["metadata"]["name"] not in before]
        found = Submitted(done.returncode, done.stdout, done.stderr, new)
        assert expect is None or found.code == expect, (
            f"exit {found.code}\n{found.out}\n{found.err}\n{self.why_red(new)}"
        )
        return found

    def results(self, cohort: str, folder: Path) -> dict[str, pd.DataFrame]:
        """The cohort's latest result tables, as a user fetches them."""
        run = json.loads(self.read(f"{cohort}/results/latest.json"))["run_id"]
        done = module("workflows.fetch", run, folder, "--cohort", cohort, "--store", self.store)
        assert done.returncode == 0, done.stdout + done.stderr
        return tables_in(folder)

    def why_red(self, workflows: list[dict[str, Any]]) -> str:
        """What did not succeed, a line each, with the end of the log of each pod that is still there."""
        nodes = [n for w in workflows for n in nodes_of(w).values()]
        bad = [n for n in nodes if n["phase"] not in ("Succeeded", "Skipped", "Omitted")]
        lines = [f"{n['displayName']} {n['type']} {n['phase']} {n.get('message', '')}" for n in bad]
        for node in (n for n in bad if n["type"] == "Pod"):
            lines += [f"--- {node['displayName']}", self.log_of(node["id"])]
        return "\n".join(lines)

    def log_of(self, node_id: str, lines: int = 15) -> str:
        """The end of the log of a pod that is still there; '' when there is none."""
        from kubernetes import client

        key = "workflows.argoproj.io/node-id"
        names = [n for n, p in self.recorder.pods.items() if p["metadata"].get("annotations", {}).get(key) == node_id]
        try:
            text = str(self.core.read_namespaced_pod_log(names[0], self.namespace, container="main"))
        except (IndexError, client.ApiException):
            return ""
        return "\n".join([line for line in text.splitlines() if " argo=true" not in line][-lines:])

    def wait_until_ended(self, names: list[str], timeout_s: float = COHORT_S) -> list[dict[str, Any]]:
        """The workflows of these names once they have ended."""
        found: list[dict[str, Any]] = []

        def ended() -> bool:
            found[:] = [w for w in self.workflows() if w["metadata"]["name"] in names]
            return all(w.get("status", {}).get("phase") in ENDED for w in found)

        wait_for(ended, timeout_s)
        return found


def module(name: str, *arguments: object, timeout_s: float = COHORT_S + 60) -> subprocess.CompletedProcess[str]:
    """Run `python -m NAME ARGUMENTS`."""
    command = [sys.executable, "-m", name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)


def wait_for(condition: Callable[[], object], timeout_s: float, pause_s: float = 0.5) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"nothing happened in {timeout_s:.0f} s"
        time.sleep(pause_s)


def tables_in(folder: Path) -> dict[str, pd.DataFrame]:
    """Every result table in a folder, without what tells time or host."""
    found = {}
    for name in [*RESULT_TABLES, "findings"]:
        frame = pq.read_table(folder / f"{name}.parquet").to_pandas()
        found[name] = frame.drop(columns=[c for c in frame.columns if c in PROVENANCE_OF_TIME])
    return found

"""Every pod that was ever there, as it was last seen: finished pods are removed, and with them what they held."""

from __future__ import annotations

import threading
from typing import Any


class Recorder(threading.Thread):
    """Watches the pods and events of a namespace until it is told to stop."""

    def __init__(self, namespace: str) -> None:
        super().__init__(name=f"recorder of {namespace}", daemon=True)
        self.namespace = namespace
        self.pods: dict[str, dict[str, Any]] = {}
        self.seen: list[dict[str, Any]] = []
        """every version of every pod"""
        self._stopped = threading.Event()

    def run(self) -> None:
        """Watch; a watch that ends or breaks is begun again."""
        from kubernetes import client, watch
        from urllib3.exceptions import HTTPError

        core = client.CoreV1Api()
        while not self._stopped.is_set():
            try:
                for event in watch.Watch().stream(core.list_namespaced_pod, self.namespace, timeout_seconds=5):
                    pod: dict[str, Any] = event["raw_object"]
                    self.pods[pod["metadata"]["name"]] = pod
                    self.seen.append(pod)
            except (client.ApiException, HTTPError):
                self._stopped.wait(1)

    def stop(self) -> None:
        """End within a few seconds."""
        self._stopped.set()

    def of_stage(self, stage: str, cohort: str = "") -> list[dict[str, Any]]:
        """Pods of a stage, of one cohort or all."""
        found = [p for p in self.pods.values() if p["metadata"].get("labels", {}).get("rtpipeline/stage") == stage]
        workflow = "workflows.argoproj.io/workflow"
        return [p for p in found if p["metadata"]["labels"][workflow].startswith(f"rt-{cohort}-" if cohort else "")]


def container(pod: dict[str, Any], name: str = "main") -> dict[str, Any]:
    """The specification of one of a pod's containers."""
    found: dict[str, Any] = next(c for c in pod["spec"]["containers"] if c["name"] == name)
    return found


def most_at_once(pods: list[dict[str, Any]]) -> int:
    """The largest number of these pods whose main containers ran at the same time, to the second."""
    marks = []
    for pod in pods:
        for status in pod["status"].get("containerStatuses", []):
            ended = status["state"].get("terminated")
            if status["name"] == "main" and ended and ended.get("startedAt"):
                marks += [(ended["startedAt"], 1), (ended["finishedAt"], -1)]
    best = now = 0
    for _, step in sorted(marks):  # an end before a start of the same second
        now += step
        best = max(best, now)
    return best

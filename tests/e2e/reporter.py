"""What Argo's executor would report of pods in which no process runs: that they have no more outputs."""

from __future__ import annotations

import threading

from tests.e2e.cluster import ARGO, Cluster

WORKFLOW = "workflows.argoproj.io/workflow"
NODE = "workflows.argoproj.io/node-id"
COMPLETED = {"workflows.argoproj.io/report-outputs-completed": "true"}


class Reporter(threading.Thread):
    """Makes a WorkflowTaskResult for every pod of the namespace until it is told to stop."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.cluster = cluster
        self._reported: set[str] = set()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Report pods as they come."""
        while not self._stopped.wait(0.5):
            for pod in self.cluster.pods(WORKFLOW):
                if pod.metadata.name not in self._reported:
                    self._reported.add(pod.metadata.name)
                    self._report(pod.metadata.annotations[NODE], pod.metadata.labels[WORKFLOW])

    def _report(self, node: str, workflow: str) -> None:
        body = {
            "apiVersion": "/".join(ARGO),
            "kind": "WorkflowTaskResult",
            "metadata": {"name": node, "labels": {WORKFLOW: workflow} | COMPLETED},
        }
        self.cluster.custom.create_namespaced_custom_object(*ARGO, self.cluster.namespace, "workflowtaskresults", body)

    def stop(self) -> None:
        """End within a second."""
        self._stopped.set()
        self.join()

"""What a submission answers: for people as lines, for programs as one JSON object."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Literal

from rtpipeline.execution.summary import RunSummary

Status = Literal[
    "submitted",
    "already submitted",
    "nothing to do",
    "not tried again",
    "dry run",
    "waiting stopped",
    "done",
    "some_failed",
    "failed",
]
UI_VARIABLE = "ARGO_SERVER"
SHOWN_WORKFLOWS = 5


@dataclass
class Answer:
    """The end of a command."""

    status: Status
    exit_code: int
    cohort: str
    run_id: str = ""
    namespace: str = ""
    workflows: list[str] = field(default_factory=list)
    created: int = 0
    """workflows that were not there before"""
    results: str | None = None
    message: str = ""
    summary: RunSummary | None = None
    """courses and failures, where they are known"""

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        found: dict[str, Any] = self.summary.as_json() if self.summary else {}
        return found | {
            "status": self.status,
            "exit_code": self.exit_code,
            "cohort": self.cohort,
            "run_id": self.run_id,
            "namespace": self.namespace,
            "workflows": self.workflows,
            "created": self.created,
            "results": self.results,
            "message": self.message,
        }

    def text(self) -> str:
        """For people."""
        lines = [self.message] if self.message else []
        if self.workflows and self.summary is None:
            lines += [f"  {name}{self._link(name)}" for name in self.workflows[:SHOWN_WORKFLOWS]]
            if len(self.workflows) > SHOWN_WORKFLOWS:
                lines.append(f"  and {len(self.workflows) - SHOWN_WORKFLOWS} more")
        if self.summary is not None:
            lines.append(self.summary.text())
        elif self.results:
            lines.append(f"Results: {self.results}")
        if self.results:
            lines.append(f"Fetch them: python -m workflows.fetch {self.run_id} DIR --cohort {self.cohort}")
        return "\n".join(line for line in lines if line)

    def _link(self, name: str) -> str:
        """Where the page of Argo shows a workflow, when ARGO_SERVER says where that is."""
        server = os.environ.get(UI_VARIABLE, "")
        if not server:
            return ""
        url = server if "://" in server else f"https://{server}"
        return f"  {url.rstrip('/')}/workflows/{self.namespace}/{name}"


def how_to_follow(run_id: str, namespace: str) -> str:
    """The command that shows a run."""
    return f"python -m workflows.status {run_id} --namespace {namespace}"


def how_to_read_logs(workflow: str, namespace: str) -> str:
    """The command that shows what the pods of a workflow said."""
    return f"kubectl -n {namespace} logs -l workflows.argoproj.io/workflow={workflow} -c main --prefix"

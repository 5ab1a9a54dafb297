"""Creates the workflows of a run under names that follow from the work: the same work is never submitted twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from workflows.asked import workflow_name
from workflows.bodies import LABEL_REQUEST, Piece, Run
from workflows.kube import Cluster, Object
from workflows.messages import AlreadyExistsError
from workflows.names import LABEL_COHORT, LABEL_RUN
from workflows.nodes import ENDED_PHASES

MOST_LIVE = 200
"""Workflows of one run at a time: thousands at once bring the controller down."""


class AnotherRunError(Exception):
    """Somebody submits the same at this moment."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id


def labels_of(workflow: Object) -> dict[str, str]:
    """Labels of an object."""
    return dict(workflow["metadata"].get("labels") or {})


def has_ended(workflow: Object) -> bool:
    """Whether nothing of it will run any more."""
    return (workflow.get("status") or {}).get("phase", "") in ENDED_PHASES


def live_workflows(cluster: Cluster, cohort: str) -> list[Object]:
    """The workflows of a cohort that have not ended; those started from a form have no request."""
    selector = f"{LABEL_COHORT}={cohort},workflows.argoproj.io/completed!=true"
    return [workflow for workflow in cluster.workflows(selector) if not has_ended(workflow)]


def is_of_request(workflow: Object, request: str) -> bool:
    """Whether a workflow was made for the same request."""
    return labels_of(workflow).get(LABEL_REQUEST) == request


@dataclass
class Creator:
    """Creates pieces one after the other, as many as may live at once."""

    cluster: Cluster
    run: Run
    waiting: deque[Piece] = field(default_factory=deque)
    names: list[str] = field(default_factory=list)
    """of what is there now"""
    created: int = 0
    """how many of them were not there before"""

    def add(self, pieces: Iterable[Piece]) -> None:
        """More to create."""
        self.waiting.extend(pieces)

    def create_some(self, live: int) -> list[str]:
        """Create until as many live as may, or all are there; the new names.

        Raises
        ------
        AnotherRunError: a workflow of this name lives for another run.
        """
        before = len(self.names)
        while self.waiting and live < MOST_LIVE:
            self.names.append(self._create(self.waiting[0]))
            self.waiting.popleft()
            live += 1
        return self.names[before:]

    def _create(self, piece: Piece) -> str:
        attempt = 0
        while True:
            name = workflow_name(self.run.cohort, self.run.request, piece.part, attempt)
            try:
                self.cluster.create_workflow(piece.body(self.run, name))
            except AlreadyExistsError:
                existing = self.cluster.workflow(name)
                if existing is None:  # it was deleted this moment
                    continue
                other = labels_of(existing).get(LABEL_RUN, "")
                if other == self.run.run_id:
                    return name
                if not has_ended(existing):
                    raise AnotherRunError(other) from None
                attempt += 1
            else:
                self.created += 1
                return name

"""Waits for the workflows of a run. A connection that is lost is made again; the workflows go on without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rtpipeline.errors import TransientError
from rtpipeline.execution.display import clock
from rtpipeline.execution.interruption import Interrupted
from workflows.creating import Creator
from workflows.kube import Cluster
from workflows.messages import UnreachableError
from workflows.names import LABEL_RUN
from workflows.nodes import State, state_of
from workflows.progress import Display, Snapshot

SHORTEST_S, LONGEST_S = 2.0, 30.0
"""Between two questions to the API: longer for more workflows, since each answer is large."""

PATIENCE_S = 15 * 60.0
"""How long the API may be away."""

NAP_S = 0.2
EVENTS_AFTER_S = 60.0
"""A pod that has waited so long is asked for what hinders it."""

GONE = "Deleted"


class StoppedWaitingError(Exception):
    """The user or the clock has ended the wait; the workflows go on."""

    def __init__(self, *, interrupted: bool) -> None:
        super().__init__("interrupted" if interrupted else "timeout")
        self.interrupted = interrupted


@dataclass
class Follower:
    """Follows one run until all of it has ended."""

    cluster: Cluster
    run_id: str
    display: Display
    interrupted: Interrupted
    deadline_s: float | None = None
    """by the monotonic clock"""
    expected: Mapping[str, int] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    _pending_since_s: dict[str, float] = field(default_factory=dict)

    @property
    def live(self) -> int:
        """Workflows that have not ended."""
        return sum(not state.has_ended for state in self.states.values())

    def follow(self, creator: Creator) -> None:
        """Create what is still to come, and return when all have ended.

        Raises
        ------
        StoppedWaitingError: interrupted, or the time is over. TransientError: the API stayed away.
        """
        while True:
            self._asking(lambda: self._step(creator))
            self.display.show(Snapshot(self.run_id, list(self.states.values()), len(creator.waiting), self.expected))
            if not creator.waiting and not self.live:
                return
            self._sleep(min(LONGEST_S, SHORTEST_S + 0.3 * self.live))

    def create_all(self, creator: Creator) -> None:
        """Create what is to come without waiting for its end, slower where too many would live at once."""
        while creator.waiting:
            self._asking(lambda: self._step(creator))
            if creator.waiting:
                self._sleep(LONGEST_S)

    def _step(self, creator: Creator) -> None:
        creator.create_some(self.live)
        self.poll(creator.names)

    def poll(self, names: list[str]) -> None:
        """Ask how the workflows stand; those that have ended are not asked again."""
        found = {
            w["metadata"]["name"]: state_of(w)
            for w in self.cluster.workflows(f"{LABEL_RUN}={self.run_id},workflows.argoproj.io/completed!=true")
        }
        self.states.update(found)
        for name in names:
            before = self.states.get(name)
            if name not in found and (before is None or not before.has_ended):
                workflow = self.cluster.workflow(name)
                gone = State(name, "Error", f"{GONE}: the workflow is not there any more")
                self.states[name] = gone if workflow is None else state_of(workflow)
        self._look_at_pending_pods()

    def _look_at_pending_pods(self) -> None:
        """What the cluster says about pods that do not start for long: a volume's secret, an image, a quota."""
        now = time.monotonic()
        pending = {pod for state in self.states.values() for pod in state.pending_pods}
        self._pending_since_s = {pod: self._pending_since_s.get(pod, now) for pod in sorted(pending)}
        old = [pod for pod, since_s in self._pending_since_s.items() if now - since_s > EVENTS_AFTER_S]
        if not old:
            return
        self._pending_since_s[old[0]] = now  # the next one next time, so that few questions are asked
        owner = next(state for state in self.states.values() if old[0] in state.pending_pods)
        for warning in self.cluster.warnings(old[0]):
            owner.waiting.setdefault(warning.splitlines()[0], 1)

    def _asking(self, ask: Callable[[], None]) -> None:
        """Ask again while the API does not answer, for a while."""
        since_s: float | None = None
        pause_s = SHORTEST_S
        while True:
            try:
                ask()
            except UnreachableError as error:
                now = time.monotonic()
                if since_s is None:
                    since_s = now
                    self.display.say(f"{error} The workflows go on meanwhile; asking again.")
                if now - since_s > PATIENCE_S:
                    raise TransientError(f"{error} What runs goes on; the same command goes on waiting.") from None
                self._sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_S)
            else:
                if since_s is not None:
                    self.display.say(f"the Kubernetes API answers again after {clock(time.monotonic() - since_s)}")
                return

    def _sleep(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (now := time.monotonic()) < until_s:
            if self.interrupted:
                raise StoppedWaitingError(interrupted=True)
            if self.deadline_s is not None and now >= self.deadline_s:
                raise StoppedWaitingError(interrupted=False)
            time.sleep(min(NAP_S, until_s - now))

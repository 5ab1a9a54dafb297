"""The graph of a run's course-stages: what is ready, and in which order it starts.

Courses come in the order of the plan (largest first), so that no long one is left for the end and a course's outputs
are read soon after they were written. Stages of a named pool (a GPU, say) come before everything; where a pool would
run dry, the stages that feed it come next.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from heapq import merge
from itertools import chain

from rtpipeline.execution.plan import CohortPlan, Item, course_stages
from rtpipeline.stages import STAGES

Key = tuple[int, int, int]
Task = tuple[str, str]
"""Course and stage."""


class ReadyQueue:
    """Tasks whose upstream stages have all ended."""

    def __init__(self, plan: CohortPlan) -> None:
        self._course_rank = {course: rank for rank, course in enumerate(plan.course_ids)}
        depth = _remaining_depth()
        self._stage_rank = {name: (-depth[name], i) for i, name in enumerate(depth)}
        self._feeders = _feeders()
        self._ready: dict[str, list[tuple[Key, Task]]] = {"pool": [], "feeder": [], "other": []}

    def __len__(self) -> int:
        return sum(map(len, self._ready.values()))

    def add(self, item: Item) -> None:
        """A task has become ready."""
        insort(self._ready[self._line(item.name)], self._entry(item))

    def remove(self, item: Item) -> None:
        """A task has started."""
        self._ready[self._line(item.name)].remove(self._entry(item))

    def queued(self, pool: str) -> int:
        """Ready tasks of a pool."""
        return sum(STAGES[stage].pool == pool for _, (_, stage) in self._ready["pool"])

    def waiting_with_processes(self) -> int:
        """Ready tasks of stages that can use several CPUs by processes of their own."""
        others = self._ready["other"] + self._ready["feeder"]
        return sum(STAGES[s].resources.cpu > STAGES[s].resources.threads for _, (_, s) in others)

    def in_order(self, *, feed: bool) -> Iterator[Task]:
        """The tasks in the order in which they should start; `feed` puts those first that feed a pool.

        The queue must not change while this is read.
        """
        feeders, others = self._ready["feeder"], self._ready["other"]
        following = chain(feeders, others) if feed else merge(feeders, others)
        for _, task in chain(self._ready["pool"], following):
            yield task

    def _entry(self, item: Item) -> tuple[Key, Task]:
        return (self._course_rank[item.course_id], *self._stage_rank[item.name]), (item.course_id, item.name)

    def _line(self, stage: str) -> str:
        if STAGES[stage].pool is not None:
            return "pool"
        return "feeder" if stage in self._feeders else "other"


def _remaining_depth() -> dict[str, int]:
    """For each stage of a course the length of the longest chain of stages that wait for it."""
    depth: dict[str, int] = {}
    for stage in reversed(course_stages()):
        behind = [depth[s.name] for s in course_stages() if stage.name in s.upstream]
        depth[stage.name] = 1 + max(behind, default=0)
    return {s.name: depth[s.name] for s in course_stages()}


def _feeders() -> frozenset[str]:
    """Stages that a stage with a pool needs, directly or through others."""
    found: set[str] = set()
    for stage in reversed(course_stages()):
        if stage.pool is not None or stage.name in found:
            found.update(n for n in stage.needs if n in STAGES and STAGES[n].pool is None)
    return frozenset(found)

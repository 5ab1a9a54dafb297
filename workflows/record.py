"""What a submission leaves in the bucket about itself, so that one that was cut short is completed and not repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from workflows.asked import chunks
from workflows.bodies import Piece, Run, aggregate, course_keys, organize_alone, shard, whole_cohort
from workflows.standing import CohortStore

MOST_IN_ONE = 150
"""Courses of one Workflow at most: its status then takes 0.8 of the 1 MiB that etcd takes, the rest is for retries."""
SHARD_SIZE = 100

Kind = Literal["whole", "organize", "shards", "aggregate"]


@dataclass(frozen=True)
class Record:
    """One submission: everything that its workflows follow from."""

    run: Run
    kind: Kind
    organize_key: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    aggregation_key: str = ""
    items: tuple[str, ...] = ()
    expected: Mapping[str, int] = field(default_factory=dict)
    """course-stages to run, by stage"""

    def pieces(self) -> list[Piece]:
        """The workflows to create at once."""
        if self.kind == "whole":
            return [whole_cohort(self.run)]
        if self.kind == "organize":
            return [organize_alone(self.run)]
        if self.kind == "aggregate":
            return [self.aggregation()]
        parts = chunks(self.items, MOST_IN_ONE, SHARD_SIZE)
        keys = course_keys(self.organize_key, self.settings)
        return [shard(self.run, number, len(parts), part, keys) for number, part in enumerate(parts)]

    def aggregation(self) -> Piece:
        """The workflow for when the courses have ended."""
        return aggregate(self.run, self.organize_key, self.aggregation_key)

    def put(self, store: CohortStore) -> None:
        """Leave it in the bucket: before anything is created."""
        store.put_json(asdict(self), *_place(self.run.request))


def read_record(store: CohortStore, request: str) -> Record | None:
    """The submission of a request; None when it was never submitted."""
    found: Any = store.read_json(*_place(request))
    if found is None:
        return None
    return Record(**(found | {"run": Run(**found["run"]), "items": tuple(found["items"])}))


def _place(request: str) -> tuple[str, ...]:
    return "private", "requests", f"{request}.json"

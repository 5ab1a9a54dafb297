"""What a submission leaves in the bucket about itself, so that one that was cut short is completed and not repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rtpipeline.execution.cluster_plan import MOST_ITEMS
from rtpipeline.store.keys import key
from workflows.asked import chunks
from workflows.bodies import Piece, Run, aggregate, course_keys, organize_alone, shard, whole_cohort
from workflows.standing import CohortStore

MOST_IN_ONE = MOST_ITEMS
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
        store.put_json(asdict(self), *_folder(self.run.request), f"{self.run.run_id}.json")

    def take_back(self, store: CohortStore) -> None:
        """Remove it, when somebody else was faster with the same request."""
        store.store.delete([str(key(store.cohort, *_folder(self.run.request), f"{self.run.run_id}.json"))])


def read_record(store: CohortStore, request: str, run_id: str = "") -> Record | None:
    """The submission of a request; None when it was never submitted.

    Parameters
    ----------
    run_id: of this run; '' for the last one.
    """
    folder = _folder(request)
    if not run_id:
        names = [entry.key.rpartition("/")[2] for entry in store.store.list(f"{key(store.cohort, *folder)}/")]
        run_id = max(names, default="").removesuffix(".json")
    found: Any = store.read_json(*folder, f"{run_id}.json") if run_id else None
    if found is None:
        return None
    return Record(**(found | {"run": Run(**found["run"]), "items": tuple(found["items"])}))


def _folder(request: str) -> tuple[str, ...]:
    return "private", "requests", request

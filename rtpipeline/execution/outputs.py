"""The outputs that lie in a store, as the runner sees them: the facts of each `stage.json` that decide what runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtpipeline.contracts.manifests import FINAL_STATUSES, UNUSABLE_STATUSES, Upstream

ABSENT = Upstream(key=None, status="absent", output_digest=None)
FAILED_STATUSES = frozenset({"data_error", "fault", "partial", "failed", "timeout"})
"""A course with a stage of these counts as failed in the summary of a run."""


@dataclass(frozen=True, slots=True)
class Output:
    """A complete output folder."""

    folder: Path
    key: str
    status: str
    reason: str
    output_digest: str
    upstream: Mapping[str, Upstream]
    severities: Mapping[str, int] = field(default_factory=dict)
    """number of findings by severity"""
    peak_memory_mib: float = 0.0
    wall_s: float = 0.0

    @property
    def is_usable(self) -> bool:
        """Whether hard dependants may run on it."""
        return self.status not in UNUSABLE_STATUSES

    @property
    def is_final(self) -> bool:
        """Whether `run` keeps it."""
        return self.status in FINAL_STATUSES

    @property
    def has_result(self) -> bool:
        """Whether the stage has computed something."""
        return self.status in ("done", "partial")

    def state(self) -> Upstream:
        """As a dependant's `stage.json` records it."""
        return Upstream(key=self.key, status=self.status, output_digest=self.output_digest)


def read_record(folder: Path) -> dict[str, Any] | None:
    """`stage.json` as plain values; None when the folder is not complete or the record cannot be read."""
    try:
        record = json.loads((folder / "stage.json").read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and "status" in record else None


def read_output(folder: Path) -> Output | None:
    """The output in a folder; None when the folder is not complete."""
    record = read_record(folder)
    if record is None:
        return None
    return Output(
        folder=folder,
        key=record["stage_key"],
        status=record["status"],
        reason=record.get("reason", ""),
        output_digest=record["output_digest"],
        upstream={name: Upstream(**state) for name, state in record["upstream"].items()},
        severities=Counter(str(f.get("severity")) for f in record.get("findings", [])),
        peak_memory_mib=record.get("peak_memory_mib", 0.0),
        wall_s=record.get("wall_s", 0.0),
    )


def state_of(output: Output | None) -> Upstream:
    """How an upstream stage stands; `absent` without an output."""
    return ABSENT if output is None else output.state()

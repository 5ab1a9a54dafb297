"""The ledger of a run: one JSON line for each thing that happened, in `runs/<run_id>/ledger.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

Event = Literal[
    "run_started",
    "server_started",
    "started",
    "retried",
    "ended",
    "reused",
    "omitted",
    "interrupted",
    "run_ended",
]


class Ledger:
    """Appends events; every line is on disk before the next thing happens."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, event: Event, **facts: Any) -> None:
        """One event with its facts; what is None is left out."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"at_utc": stamp, "event": event} | {k: v for k, v in facts.items() if v is not None}
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_ledger(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a ledger; a last line cut off by a killed run is left out."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event

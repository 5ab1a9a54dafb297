"""What is shown of a run while it goes on: a table of stage counts on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TextIO

from rtpipeline.execution.display import HEARTBEAT_S, clock
from rtpipeline.execution.terminal import LiveArea, LogLines
from workflows.nodes import WORDS, Failed, State, Word, total_counts

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_REASONS = 4


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment."""

    run_id: str
    states: Sequence[State]
    to_come: int = 0
    """workflows that are not created yet"""
    expected: Mapping[str, int] = field(default_factory=dict)
    """course-stages that were asked for, by stage; empty where the pod of organize plans"""

    @property
    def counts(self) -> dict[str, Counter[Word]]:
        """By stage."""
        return total_counts(self.states)

    @property
    def failures(self) -> list[Failed]:
        """Of every workflow."""
        return [failed for state in self.states for failed in state.failures]

    @property
    def waiting(self) -> list[tuple[str, int]]:
        """Why pods wait and how many, most first."""
        return sum((state.waiting for state in self.states), Counter[str]()).most_common()

    def line(self) -> str:
        """Everything in one line."""
        ended = sum(state.has_ended for state in self.states)
        total = len(self.states) + self.to_come
        parts = [f"{ended}/{total} workflows ended"] if total > 1 else []
        for stage, counts in self.counts.items():
            shown = [f"{counts[word]} {word.replace('_', ' ')}" for word in WORDS if counts[word] and word != "not_run"]
            parts += [f"{stage} {', '.join(shown)}"] if shown else []
        reasons = [f"{reason} ({number})" for reason, number in self.waiting[:SHOWN_REASONS]]
        return "; ".join(parts or ["nothing has started"]) + (f"; waiting for: {', '.join(reasons)}" if reasons else "")

    def table(self, elapsed_s: float) -> Table:
        """A row for each stage."""
        from rich.table import Table

        ended, total = sum(state.has_ended for state in self.states), len(self.states) + self.to_come
        reasons = [f"{number} x {reason}" for reason, number in self.waiting[:SHOWN_REASONS]]
        table = Table(
            title=f"run {self.run_id}: {ended}/{total} workflows ended, {clock(elapsed_s)}",
            caption="\n".join(reasons) or None,
        )
        table.add_column("stage")
        for word in WORDS:
            table.add_column(word.replace("_", " "), justify="right")
        counts = self.counts
        for stage in dict.fromkeys([*self.expected, *counts]):
            found = counts.get(stage, Counter())
            rest = self.expected.get(stage, 0) - sum(found[word] for word in WORDS if word != "not_run")
            numbers = {word: found[word] + (max(0, rest) if word == "waiting" else 0) for word in WORDS}
            table.add_row(stage, *(str(numbers[word] or "-") for word in WORDS))
        return table


class Display(Protocol):
    """What shows a run."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, text: str) -> None:
        """One line that stays."""

    def show(self, snapshot: Snapshot) -> None:
        """How the run stands now."""


class Told:
    """What has been said already, so that a failure and a trouble are said once."""

    def __init__(self, *, every_stage: bool) -> None:
        self._every_stage = every_stage
        self._said: set[tuple[str, ...]] = set()
        self._done: dict[str, int] = {}

    def news(self, snapshot: Snapshot) -> list[str]:
        """Lines for what has changed."""
        lines = []
        for failed in snapshot.failures:
            who = f"{failed.course_id} {failed.stage}".strip()
            if self._first("failed", who, failed.message):
                lines.append(f"{who} failed: {failed.message}")
        for state in snapshot.states:
            for trouble in state.troubles:
                if self._first("trouble", trouble):
                    lines.append(f"a pod does not start: {trouble}")
            if not state.stages_known and self._first("packed", state.name):
                lines.append(f"{state.name} is {state.phase or 'new'}; its stages are packed in a way not read here")
        return lines + self._ended(snapshot)

    def _ended(self, snapshot: Snapshot) -> list[str]:
        """With --watch, a line whenever more of a stage are done."""
        lines = []
        for stage, counts in snapshot.counts.items():
            if self._every_stage and counts["done"] > self._done.get(stage, 0):
                lines.append(f"{stage}: {counts['done']} done")
            self._done[stage] = counts["done"]
        return lines

    def _first(self, *what: str) -> bool:
        if what in self._said:
            return False
        self._said.add(what)
        return True


class Lines(LogLines):
    """Lines for a log file."""

    def __init__(self, stream: TextIO, told: Told) -> None:
        super().__init__(stream)
        self._told = told
        self._beat_s: float | None = None
        self._last = ""

    def show(self, snapshot: Snapshot) -> None:
        """News at once, and all counts when it is time and they have changed."""
        for line in self._told.news(snapshot):
            self.say(line)
        now = time.monotonic()
        if self._beat_s is None or now - self._beat_s >= HEARTBEAT_S:
            self._beat_s = now
            if (line := snapshot.line()) != self._last:
                self.say(line)
            self._last = line


class LiveTable(LiveArea):
    """A table that is drawn again in place; news stay above it."""

    def __init__(self, stream: TextIO, told: Told) -> None:
        super().__init__(stream)
        self._told = told
        self._started_s = time.monotonic()

    def show(self, snapshot: Snapshot) -> None:
        """Draw again."""
        for line in self._told.news(snapshot):
            self.say(line)
        if self._live is not None:
            self._live.update(snapshot.table(time.monotonic() - self._started_s), refresh=True)


def display_for(stream: TextIO, *, every_stage: bool = False) -> Display:
    """The live table when the stream is a terminal, lines elsewhere.

    Parameters
    ----------
    every_stage: say also whenever a stage has ended well (`--watch`).
    """
    told = Told(every_stage=every_stage)
    return LiveTable(stream, told) if stream.isatty() else Lines(stream, told)

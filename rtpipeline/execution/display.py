"""What a run shows of itself: a live table on a terminal, one line for each ended stage and a heartbeat elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from rtpipeline.execution.attempts import Attempt
from rtpipeline.execution.outputs import FAILED_STATUSES
from rtpipeline.execution.plan import CohortPlan, Item
from rtpipeline.execution.terminal import LiveArea, LogLines

if TYPE_CHECKING:
    from rich.table import Table

HEARTBEAT_S = 30.0
SHOWN_RUNNING = 8
REFRESH_PER_S = 4.0


class Progress:
    """Counts of what has ended, and how fast."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.computed = 0
        """stages that ran, as against those whose output was kept"""
        self._started_s = time.monotonic()

    def expect(self, stages: Iterable[str]) -> None:
        """So many more course-stages belong to the run."""
        self.total.update(stages)

    def ended(self, stage: str, status: str | None, *, reused: bool) -> None:
        """One has ended."""
        self.done[stage] += 1
        self.failed[stage] += status in FAILED_STATUSES
        self.computed += not reused

    @property
    def elapsed_s(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._started_s

    @property
    def rate_per_min(self) -> float:
        """Computed stages each minute."""
        return 60.0 * self.computed / max(self.elapsed_s, 1e-3)

    def remaining_s(self) -> float | None:
        """Time left at this rate; None before anything was computed."""
        left = self.total.total() - self.done.total()
        return None if self.computed == 0 else 60.0 * left / self.rate_per_min

    def line(self, running: list[Attempt]) -> str:
        """Everything in one line."""
        left = self.remaining_s()
        ends = f", {clock(left)} left" if left is not None else ""
        return (
            f"{self.done.total()}/{self.total.total()} course-stages, {self.failed.total()} failed, "
            f"{self.rate_per_min:.1f}/min{ends}, running: {_running(running) or 'nothing'}"
        )


def clock(seconds: float) -> str:
    """`4 s`, `3:07 min` or `2:15 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def _running(running: list[Attempt]) -> str:
    names = [" ".join(filter(None, a.task.key)) for a in running[:SHOWN_RUNNING]]
    more = len(running) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


class LineDisplay(LogLines):
    """Lines for a log file."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._progress = Progress()
        self._beat_s = time.monotonic()

    def expect(self, plan: CohortPlan) -> None:
        """The course-stages of the run are known."""
        self._progress.expect(item.name for item in plan.items.values())

    def stage_ended(self, item: Item, *, reused: bool, wall_s: float) -> None:
        """One line, except for outputs that were there already and for stages that are switched off."""
        self._progress.ended(item.name, item.status, reused=reused)
        if (not reused and item.status != "disabled") or item.status in FAILED_STATUSES:
            done, total = self._progress.done.total(), self._progress.total.total()
            reason = f" ({item.reason})" if item.reason else ""
            self.say(f"{item.course_id} {item.name} {item.status}{reason} {wall_s:.1f} s [{done}/{total}]")

    def tick(self, running: list[Attempt]) -> None:
        """A heartbeat, when it is time."""
        if time.monotonic() - self._beat_s >= HEARTBEAT_S:
            self._beat_s = time.monotonic()
            self.say(self._progress.line(running))


class LiveDisplay(LiveArea):
    """A table that is drawn again in place."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._progress = Progress()
        self._drawn_s = 0.0

    def expect(self, plan: CohortPlan) -> None:
        """The course-stages of the run are known."""
        self._progress.expect(item.name for item in plan.items.values())

    def stage_ended(self, item: Item, *, reused: bool, wall_s: float) -> None:
        """Failures stay visible above the table."""
        self._progress.ended(item.name, item.status, reused=reused)
        if item.status in FAILED_STATUSES:
            self.say(f"{item.course_id} {item.name} {item.status} ({item.reason})")

    def tick(self, running: list[Attempt]) -> None:
        """Draw again, a few times a second at most."""
        if self._live is not None and time.monotonic() - self._drawn_s >= 1.0 / REFRESH_PER_S:
            self._drawn_s = time.monotonic()
            self._live.update(self._table(running), refresh=True)

    def _table(self, running: list[Attempt]) -> Table:
        from rich.table import Table

        progress = self._progress
        left = progress.remaining_s()
        table = Table(
            title=f"{clock(progress.elapsed_s)} elapsed, {progress.rate_per_min:.1f} course-stages/min"
            + (f", {clock(left)} left" if left is not None else ""),
            caption=_running(running) or "nothing is running",
        )
        table.add_column("stage")
        for name in ("done", "running", "failed", "total"):
            table.add_column(name, justify="right")
        now = Counter(a.task.request.stage for a in running)
        for stage in dict.fromkeys([*now, *progress.total]) if not progress.total else progress.total:
            total = progress.total[stage]
            row = (progress.done[stage], now[stage], progress.failed[stage], total or 1)
            table.add_row(stage, *(str(n) if n else "-" for n in row))
        return table


Display = LineDisplay | LiveDisplay


def display_for(stream: TextIO) -> Display:
    """The live table when the stream is a terminal, lines elsewhere."""
    return LiveDisplay(stream) if stream.isatty() else LineDisplay(stream)

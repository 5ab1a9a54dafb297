"""Lines, heartbeats and the live table."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from rtpipeline.config import parse_config
from rtpipeline.execution import display
from rtpipeline.execution.admission import Grant
from rtpipeline.execution.attempts import Attempt, Task
from rtpipeline.execution.display import LineDisplay, LiveDisplay, Progress, clock, display_for
from rtpipeline.execution.plan import CohortPlan, Item, course_stages
from rtpipeline.execution.stage_entry import StageRequest


def plan() -> CohortPlan:
    items = {("p1-c01", stage.name): Item("p1-c01", "p1", stage, "key", Path("out")) for stage in course_stages()}
    return CohortPlan(parse_config({}), "key", {}, items)


def ended(of: CohortPlan, stage: str, status: str, reason: str = "") -> Item:
    item = of.items["p1-c01", stage]
    item.status, item.reason = status, reason
    return item


def attempt(stage: str) -> Attempt:
    request = StageRequest(stage, "c", Path("out"), parse_config({}), course_id="p1-c01")
    return Attempt(Task(request, Path("log")), 1, 0, Grant(1, 1, 512), 0.0, 1.0, None)


@pytest.mark.parametrize(("seconds", "text"), [(3.6, "4 s"), (187, "3:07 min"), (8100, "2:15 h"), (0, "0 s")])
def test_times_are_written_for_people(seconds, text):
    assert clock(seconds) == text


def test_progress_counts_and_foresees(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    progress = Progress()
    progress.expect(["dvh"] * 8)
    assert progress.remaining_s() is None
    now[0] = 130.0
    progress.ended("dvh", "done", reused=False)
    progress.ended("dvh", "fault", reused=False)
    progress.ended("dvh", "done", reused=True)
    assert progress.rate_per_min == 4.0
    assert progress.remaining_s() == 75.0, "five left, one each 15 s"
    assert progress.line([attempt("dvh")]) == "3/8 course-stages, 1 failed, 4.0/min, 1:15 min left, running: p1-c01 dvh"


def test_each_ended_stage_is_one_line_and_kept_outputs_are_none(monkeypatch):
    stream, of = io.StringIO(), plan()
    with LineDisplay(stream) as lines:
        lines.expect(of)
        lines.stage_ended(ended(of, "prepare_rt", "done"), reused=True, wall_s=0.0)
        lines.stage_ended(ended(of, "qc", "disabled", "not part of this version"), reused=False, wall_s=0.1)
        lines.stage_ended(ended(of, "structures", "done"), reused=False, wall_s=1.25)
        lines.stage_ended(ended(of, "dvh", "fault", "ValueError in stage dvh"), reused=False, wall_s=0.5)
    texts = [line.partition("Z ")[2] for line in stream.getvalue().splitlines()]
    assert texts == [
        "p1-c01 structures done 1.2 s [3/9]",
        "p1-c01 dvh fault (ValueError in stage dvh) 0.5 s [4/9]",
    ]


def test_the_heart_beats_every_half_minute(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    lines = LineDisplay(stream)
    lines.expect(plan())
    for second in range(0, 95, 5):
        now[0] = float(second)
        lines.tick([attempt("dvh")])
    beats = stream.getvalue().splitlines()
    assert len(beats) == 3
    assert all("0/9 course-stages" in beat and "running: p1-c01 dvh" in beat for beat in beats)


def test_the_live_table_shows_counts_of_each_stage_and_what_runs():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream, of = Terminal(), plan()
    live = display_for(stream)
    assert isinstance(live, LiveDisplay)
    with live:
        live.expect(of)
        live.stage_ended(ended(of, "prepare_rt", "data_error", "no [dose] grid"), reused=False, wall_s=1.0)
        live.tick([attempt("dvh")])
    shown = stream.getvalue()
    assert "p1-c01 prepare_rt data_error (no [dose] grid)" in shown
    for text in ("prepare_rt", "running", "failed", "p1-c01 dvh", "course-stages/min"):
        assert text in shown


def test_without_a_terminal_there_are_lines():
    assert isinstance(display_for(io.StringIO()), LineDisplay)

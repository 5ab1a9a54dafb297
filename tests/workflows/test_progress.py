"""What a person sees of a run: every failure once, counts now and then."""

from __future__ import annotations

import io
from collections import Counter

import pytest

from workflows import progress
from workflows.nodes import Failed, State
from workflows.progress import Lines, LiveTable, Snapshot, Told, display_for


def state(**more) -> State:
    counts = {"prepare_rt": Counter(done=2, failed=1), "dvh": Counter(running=1, waiting=3)}
    return State("w", "Running", counts=counts, failures=[Failed("p1-c01", "prepare_rt", "exit code 3")], **more)


def test_lines_say_a_failure_once_and_counts_when_they_change(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "HEARTBEAT_S", 0.0)
    stream = io.StringIO()
    lines = Lines(stream, Told(every_stage=False))
    for _ in range(3):
        lines.show(Snapshot("r", [state()]))
    text = stream.getvalue()
    assert text.count("p1-c01 prepare_rt failed: exit code 3") == 1
    assert text.count("prepare_rt 2 done, 1 failed; dvh 1 running, 3 waiting") == 1


def test_what_keeps_pods_from_starting_is_said_once():
    stream = io.StringIO()
    lines = Lines(stream, Told(every_stage=False))
    stuck = state(waiting=Counter({"ImagePullBackOff: no such image": 4, "the limit s/seg_workers": 2}))
    lines.show(Snapshot("r", [stuck]))
    lines.show(Snapshot("r", [stuck]))
    assert stream.getvalue().count("a pod does not start: ImagePullBackOff") == 1
    assert "waiting for: ImagePullBackOff: no such image (4), the limit s/seg_workers (2)" in stream.getvalue()


def test_watching_says_when_more_of_a_stage_is_done():
    told = Told(every_stage=True)
    assert "prepare_rt: 2 done" in told.news(Snapshot("r", [state()]))
    assert told.news(Snapshot("r", [state()])) == []


def test_the_table_counts_what_is_expected_as_waiting():
    stream = io.StringIO()
    with LiveTable(stream, Told(every_stage=False)) as table:
        table.show(Snapshot("20260101-000000-abcdef", [state()], to_come=2, expected={"dvh": 9, "qc": 4}))
    from rich.console import Console

    console = Console(file=io.StringIO(), width=120)
    console.print(Snapshot("r", [state()], 2, {"dvh": 9, "qc": 4}).table(65.0))
    rows = [line.split("│") for line in console.file.getvalue().splitlines() if "│" in line]
    cells = {row[1].strip(): [cell.strip() for cell in row[2:-1]] for row in rows}
    assert cells["dvh"] == ["-", "1", "8", "-", "-"]
    assert cells["qc"] == ["-", "-", "4", "-", "-"]
    assert cells["prepare_rt"] == ["2", "-", "-", "1", "-"]


def test_a_terminal_gets_the_table_and_a_file_gets_lines():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(display_for(Terminal()), LiveTable)
    assert isinstance(display_for(io.StringIO()), Lines)

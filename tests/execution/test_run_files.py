"""The files of a run: ids, plan, ledger, log, status."""

from __future__ import annotations

import json
import logging
import re
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rtpipeline.config import load_config, parse_config
from rtpipeline.errors import UsageError
from rtpipeline.execution.ledger import Ledger, read_ledger
from rtpipeline.execution.run_files import (
    latest_run,
    make_run_id,
    new_run,
    read_plan,
    remember_inputs,
    remembered_inputs,
    write_config,
)
from rtpipeline.execution.run_status import run_status
from rtpipeline.execution.stage_log import LINE, StageFormatter, configure_logging, safe_traceback
from rtpipeline.store.folder import CohortFolder, sweep


@pytest.fixture
def folder(tmp_path) -> CohortFolder:
    found = CohortFolder(tmp_path / "store", "c")
    found.make()
    return found


def test_run_ids_sort_by_time_and_are_names_for_kubernetes():
    early = make_run_id("ffffff000000", datetime(2024, 3, 9, 8, 7, 6, tzinfo=UTC))
    late = make_run_id("000000ffffff", datetime(2024, 10, 1, tzinfo=UTC))
    assert early == "20240309-080706-ffffff"
    assert early < late
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", early)


def test_two_runs_in_one_second_have_two_ids_and_the_later_one_sorts_last(folder):
    """The second run of a second was taken for the first one when its digest happened to sort before: `plan` then did
    not know of the failure that had just been recorded."""
    now = datetime(2024, 3, 9, 8, 7, 59, tzinfo=UTC)
    first = new_run(folder, "abcdef", now)
    folder.run(first).mkdir(parents=True)
    (folder.root / "runs" / "notes").mkdir()
    assert new_run(folder, "abcdef", now) == "20240309-080800-abcdef"
    assert new_run(folder, "000000", now) == "20240309-080800-000000"
    assert new_run(folder, "000000", now.replace(hour=9)) == "20240309-090759-000000"


def test_the_latest_run_is_the_newest_with_a_plan(folder):
    assert latest_run(folder) is None
    for name, planned in (("20240101-000000-a", True), ("20240301-000000-a", True), ("20240401-000000-a", False)):
        folder.run(name).mkdir(parents=True)
        if planned:
            (folder.run(name) / "plan.json").write_text("{}")
    assert latest_run(folder) == "20240301-000000-a"
    with pytest.raises(UsageError, match=r"20240401-000000-a has no plan\.json"):
        read_plan(folder, "20240401-000000-a")


def test_paths_are_remembered_in_private_and_nowhere_else(folder, tmp_path):
    export = tmp_path / "Doe_John"
    config = parse_config({"manifest": str(export / "manifest.csv"), "workers": 3})
    remember_inputs(folder, (export,), config)
    write_config(folder, "r", config)
    again = remembered_inputs(folder)
    assert (again.inputs, again.config) == ((export,), config)
    written = (folder.run("r") / "config.yaml").read_text()
    assert "Doe_John" not in written
    assert "manifest: manifest.csv" in written
    (tmp_path / "manifest.csv").write_text("patient_id\n")
    (tmp_path / "config.yaml").write_text(written)
    assert load_config(tmp_path / "config.yaml").workers == 3


def test_a_cohort_that_was_never_run_cannot_be_retried(folder):
    with pytest.raises(UsageError, match="use `rtpipeline run` first"):
        remembered_inputs(folder)


def test_the_ledger_of_a_killed_run_can_be_read(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.write("started", course="p1-c01", stage="dvh", attempt=1)
        ledger.write("ended", course="p1-c01", stage="dvh", status=None)
    with path.open("a") as file:
        file.write('{"event": "star')
    events = list(read_ledger(path))
    assert [e["event"] for e in events] == ["started", "ended"]
    assert "status" not in events[1]
    assert list(read_ledger(tmp_path / "none.jsonl")) == []


def test_every_event_is_on_disk_at_once(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.write("started", stage="dvh")
    assert len(list(read_ledger(tmp_path / "ledger.jsonl"))) == 1
    ledger.close()


def test_the_status_of_a_killed_run_comes_from_its_outputs_and_its_ledger(folder):
    entries = {
        name: {"key": "k", "folder": f"courses/p1-c01/{name}/k", "status": None, "reason": ""}
        for name in ("prepare_rt", "dvh", "qc")
    }
    run = folder.run("20240101-000000-a")
    run.mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps({"courses": [{"course_id": "p1-c01", "stages": entries}]}))
    output = folder.root / "courses/p1-c01/prepare_rt/k"
    output.mkdir(parents=True)
    record = {"status": "partial", "reason": "one dose", "stage_key": "k", "output_digest": "d", "upstream": {}}
    (output / "stage.json").write_text(json.dumps(record))
    with Ledger(run / "ledger.jsonl") as ledger:
        ledger.write("ended", course="p1-c01", stage="dvh", status="timeout", ending="stopped after 3600 s")
    seen = run_status(folder)
    assert seen.state == "running or killed"
    stages = {name: (s.status, s.reason) for name, s in seen.courses[0].stages.items()}
    assert stages == {
        "prepare_rt": ("partial", "one dose"),
        "dvh": ("timeout", "stopped after 3600 s"),
        "qc": ("missing", ""),
    }
    assert [(c, n) for c, n, _ in seen.failures()] == [("p1-c01", "prepare_rt"), ("p1-c01", "dvh")]


def test_a_sweep_removes_what_killed_processes_left_and_nothing_else(folder):
    kept = folder.root / "courses" / "p1-c01" / "dvh" / "key" / "result.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("7")
    for place in (folder.root, folder.private, kept.parents[1], folder.root / "organize", folder.root / "runs" / "r"):
        (place / ".partial-x").mkdir(parents=True)
    (folder.private / ".partial-file").write_text("half")
    assert sweep(folder.root) == 6
    assert kept.is_file()
    assert not list(folder.root.rglob(".partial-*"))


def raised() -> ValueError:
    try:
        try:
            raise KeyError("Doe^John")
        except KeyError as error:
            raise ValueError("1.2.840.113619") from error
    except ValueError as error:
        return error


def test_a_traceback_says_where_and_what_kind_and_quotes_nothing():
    text = safe_traceback(raised())
    assert re.search(r"test_run_files\.py:\d+ in raised\nValueError", text)
    assert text.endswith("KeyError")
    assert "Doe^John" not in text
    assert "1.2.840" not in text
    assert str(Path(__file__).parent) not in text


def test_log_lines_hold_exceptions_without_their_texts():
    record = logging.LogRecord("rtpipeline.x", logging.ERROR, "", 1, "p1-c01 dvh: %s", ("ValueError",), None)
    error = raised()
    record.exc_info = (ValueError, error, error.__traceback__)
    line = StageFormatter(LINE).format(record)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ERROR p1-c01 dvh: ValueError\n", line)
    assert "Doe^John" not in line


def test_libraries_write_nothing_into_a_log(capsys):
    """pydicom warns with the values it has read: names and UIDs among them."""
    before = logging.getLogger().handlers[:]
    try:
        with warnings.catch_warnings():
            configure_logging()
            logging.getLogger("pydicom").warning("Invalid value 'Doe^John'")
            logging.getLogger("rtpipeline.prepare").info("p1-c01 prepare_rt: done")
            warnings.warn("Invalid value 'Doe^John'", stacklevel=1)
    finally:
        logging.getLogger().handlers[:] = before
    err = capsys.readouterr().err
    assert "Doe^John" not in err
    assert "p1-c01 prepare_rt: done" in err

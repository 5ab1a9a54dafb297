"""The inbox: what is marked and new is submitted once, by whoever looks and however often."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.workflows.conftest import Scene
from workflows import discover
from workflows.sources import holding


@pytest.fixture
def inbox(scene: Scene) -> Scene:
    """A cohort in the inbox, not marked yet, and a folder that is no cohort."""
    scene.store.put("inbox/toys/a.dcm", b"a")
    scene.store.put("inbox/Doe^Jane/cohort.ready", b"")
    scene.store.put("inbox/Doe^Jane/a.dcm", b"a")
    return scene


def look(scene: Scene, capsys, *more: str) -> list[dict]:
    """One turn of the CronWorkflow; then Argo has time to finish."""
    scene.controller.listing = holding([f"{scene.store.url}/inbox/toys"]).digest
    code = discover.main(["--json", "--inbox", "", "--store", "", *more])
    found = json.loads(capsys.readouterr().out)["cohorts"]
    assert code == int(any(entry["status"] == "error" for entry in found))
    for _ in range(scene.controller.looks + 1):
        for name in list(scene.api.workflows):
            scene.api._seen(scene.api.workflows[name])
    return found


def test_a_cohort_is_taken_when_it_is_marked_and_not_before(inbox: Scene, capsys):
    assert look(inbox, capsys) == []
    inbox.store.put("inbox/toys/cohort.ready", b"")
    (entry,) = look(inbox, capsys)
    assert (entry["cohort"], entry["status"]) == ("toys", "submitted")
    assert inbox.created == ["cohort"]
    given = {p["name"]: p["value"] for p in inbox.api.created[0]["spec"]["arguments"]["parameters"]}
    assert given["source"] == f"{inbox.store.url}/inbox/toys"


def test_looking_again_submits_nothing_until_there_is_something_new(inbox: Scene, capsys):
    inbox.store.put("inbox/toys/cohort.ready", b"")
    inbox.cohort.statuses[inbox.courses[0].course_id, "dvh"] = "failed"
    look(inbox, capsys)
    inbox.forget()
    for _ in range(2):
        (entry,) = look(inbox, capsys)
        assert entry["status"] == "not tried again"
    assert inbox.created == []
    inbox.store.put("inbox/toys/b.dcm", b"b")
    (entry,) = look(inbox, capsys)
    assert entry["status"] == "submitted"


def test_the_marker_is_no_part_of_the_data(inbox: Scene):
    before = holding([f"{inbox.store.url}/inbox/toys"])
    inbox.store.put("inbox/toys/cohort.ready", b"again")
    assert holding([f"{inbox.store.url}/inbox/toys"]) == before


def test_what_is_wrong_with_one_cohort_does_not_keep_the_others(inbox: Scene, capsys):
    inbox.store.put("inbox/toys/cohort.ready", b"")
    inbox.store.put("inbox/ashes/cohort.ready", b"")
    inbox.store.put("inbox/ashes/a.dcm", b"")
    inbox.store.put("ashes/private/configurations/default.tgz", b"no archive")
    first, second = look(inbox, capsys)
    assert (first["cohort"], first["status"]) == ("ashes", "error")
    assert (second["cohort"], second["status"]) == ("toys", "submitted")


def test_a_configuration_for_the_inbox_is_saved_by_name(inbox: Scene, capsys, tmp_path: Path):
    file = tmp_path / "x.yaml"
    file.write_text("dvh: {coverage_limit_pct: 98}\n")
    assert discover.main(["--configuration", "study", "--save", str(file), "--store", inbox.store.url]) == 0
    capsys.readouterr()
    config = discover.configuration_of(inbox.store, "toys", "study", tmp_path)
    assert config.dvh.coverage_limit_pct == 98
    inbox.store.put("inbox/toys/cohort.ready", b"")
    (entry,) = look(inbox, capsys, "--configuration", "none-such")
    assert "there is no configuration none-such" in entry["detail"]

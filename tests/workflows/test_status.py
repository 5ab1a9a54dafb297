"""A run as the commands show and fetch it, while it goes on, after it, and when the workflows are gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.workflows.api_server import Cluster
from tests.workflows.conftest import Scene
from workflows import fetch, status


def submitted(scene: Scene, capsys, *more: str) -> str:
    """The run's id."""
    scene.submit("--json", *more)
    return json.loads(capsys.readouterr().out)["run_id"]


def shown(capsys, *arguments: str) -> dict:
    assert status.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_that_goes_on(scene: Scene, capsys):
    scene.controller.looks = 10**6
    run = submitted(scene, capsys)
    found = shown(capsys, run)
    assert (found["state"], found["cohort"]) == ("running", "toys")
    assert list(found["workflows"].values()) == ["Running"]


def test_a_run_that_has_ended_with_a_failed_course(scene: Scene, capsys):
    bad = scene.courses[0].course_id
    scene.cohort.statuses[bad, "dvh"] = "data_error"
    run = submitted(scene, capsys, "--wait")
    found = shown(capsys, run)
    assert found["state"] == "some courses failed"
    assert found["stages"]["dvh"] == {"done": 2, "data_error": 1}
    assert [(f["course_id"], f["stage"], f["reason"]) for f in found["failures"]] == [(bad, "dvh", "made data_error")]
    assert status.main([run]) == 0
    text = capsys.readouterr().out
    assert f"{bad} dvh data_error: made data_error" in text
    assert f"Results: {scene.store.url}/toys/results/{run}" in text


def test_after_the_workflows_are_gone_the_bucket_knows(scene: Scene, capsys):
    run = submitted(scene, capsys, "--wait")
    scene.api.workflows.clear()
    assert status.main([run]) == 2
    assert "with --cohort the bucket is asked too" in capsys.readouterr().err
    assert shown(capsys, run, "--cohort", "toys")["state"] == "done"
    assert shown(capsys, "latest", "--cohort", "toys")["run_id"] == run


def test_without_the_bucket_the_cluster_knows(scene: Scene, capsys, monkeypatch: pytest.MonkeyPatch):
    run = submitted(scene, capsys, "--wait")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    found = shown(capsys, run, "--store", f"{scene.store.url}x")
    assert "bucket could not be asked" in found["note"]
    assert found["stages"]["dvh"] == {"done": 3}


def test_a_run_that_nobody_knows(scene: Scene, capsys):
    assert status.main(["20200101-000000-abcdef", "--cohort", "toys"]) == 2
    assert "there is no cohort toys" in capsys.readouterr().err
    submitted(scene, capsys, "--wait")
    assert status.main(["20200101-000000-abcdef", "--cohort", "toys"]) == 2
    assert "there is no run 20200101-000000-abcdef" in capsys.readouterr().err
    assert status.main(["yesterday"]) == 2
    assert "'yesterday' is no run" in capsys.readouterr().err
    assert status.main(["latest"]) == 2
    assert "Give --cohort" in capsys.readouterr().err


def test_results_come_as_they_are(scene: Scene, capsys, tmp_path: Path):
    run = submitted(scene, capsys, "--wait")
    target = tmp_path / "results"
    assert fetch.main([run, str(target)]) == 0
    assert f"run {run}" in capsys.readouterr().out
    found = {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert found["courses.parquet"] == b"table"
    assert found["report/index.html"] == b"page"
    assert set(found) == {"courses.parquet", "report/index.html", "stage.json"}


def test_the_latest_results_need_no_cluster_where_store_and_cohort_are_given(
    scene: Scene, capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = submitted(scene, capsys, "--wait")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    target = tmp_path / "results"
    assert fetch.main(["latest", str(target), "--cohort", "toys", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == run


def test_nothing_is_written_over(scene: Scene, capsys, tmp_path: Path):
    run = submitted(scene, capsys, "--wait")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").write_text("mine")
    assert fetch.main([run, str(tmp_path / "kept")]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert (tmp_path / "kept" / "mine.txt").read_text() == "mine"


def test_results_that_are_not_there_yet(scene: Scene, capsys, tmp_path: Path):
    scene.controller.looks = 10**6
    run = submitted(scene, capsys)
    scene.cohort.store.put(f"toys/runs/{run}/plan.json", b'{"courses": []}')
    assert fetch.main([run, str(tmp_path / "x"), "--cohort", "toys"]) == 2
    assert "has no tables (yet)" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_store_that_nobody_names(installed: Cluster, capsys, tmp_path: Path):
    assert fetch.main(["latest", str(tmp_path / "x"), "--cohort", "toys"]) == 2
    assert "no store is known" in capsys.readouterr().err

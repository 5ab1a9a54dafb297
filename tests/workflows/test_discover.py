"""An inbox that is looked into from time to time: what is new is submitted, once."""

from __future__ import annotations

import pytest

from rtpipeline.store.bucket import Bucket
from tests.workflows.conftest import Scene
from workflows import discover
from workflows.sources import holding


@pytest.fixture
def inbox(scene: Scene) -> Bucket:
    """An inbox with the export of the scene's cohort."""
    found = scene.store.child("inbox")
    for path in scene.export.iterdir():
        found.upload(path, f"toys/{path.name}")
    return found


def look(scene: Scene, inbox: Bucket, *more: str) -> int:
    scene.controller.listing = holding([inbox.child("toys").url]).digest
    return discover.main(["--inbox", inbox.url, "--settled", "0.001s", *more])


def test_a_new_cohort_is_submitted_as_one_workflow(
    scene: Scene, inbox: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    assert look(scene, inbox) == 0

    assert scene.created == ["cohort"]
    [body] = scene.api.created
    given = {p["name"]: p["value"] for p in body["spec"]["arguments"]["parameters"]}
    assert (given["cohort"], given["source"]) == ("toys", inbox.child("toys").url)
    assert (given["configuration"], given["store"]) == ("default", scene.store.url)
    assert capsys.readouterr().out.startswith(f"toys: submitted as {body['metadata']['name']}")


def test_what_is_on_its_way_or_done_is_not_submitted_again(
    scene: Scene, inbox: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        assert look(scene, inbox) == 0
    scene.api.workflows.clear()  # workflows are deleted some days after their end
    assert look(scene, inbox) == 0

    said = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert said[1].startswith("is being worked on by rt-toys-")
    assert said[2:] == ["nothing new", "nothing new"]
    assert scene.created == ["cohort"]


def test_what_failed_is_not_tried_again_until_the_data_change(
    scene: Scene, inbox: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.cohort.statuses[(scene.courses[0].course_id, "dvh")] = "failed"
    for _ in range(3):
        look(scene, inbox)
    scene.api.workflows.clear()
    assert look(scene, inbox) == 0
    assert "not tried again: run" in capsys.readouterr().out.splitlines()[-1]
    assert scene.created == ["cohort"]

    inbox.put("toys/new.dcm", b"a late record")
    assert look(scene, inbox) == 0
    assert scene.created == ["cohort", "cohort"]


def test_an_export_that_still_grows_waits(scene: Scene, inbox: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    assert discover.main(["--inbox", inbox.url, "--settled", "1h"]) == 0

    assert scene.created == []
    assert "still growing" in capsys.readouterr().out


def test_a_dry_run_submits_nothing(scene: Scene, inbox: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    assert look(scene, inbox, "--dry-run") == 0

    assert scene.created == []
    assert "would be submitted as rt-toys-" in capsys.readouterr().out


def test_a_folder_that_cannot_be_a_cohort_is_said_and_costs_no_other(
    scene: Scene, inbox: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox.put("Not A Cohort/1.dcm", b"x")

    assert look(scene, inbox) == 1
    assert scene.created == ["cohort"]
    assert "Not A Cohort: not a name of a cohort" in capsys.readouterr().out


def test_nothing_is_written_to_the_bucket(scene: Scene, inbox: Bucket) -> None:
    scene.api.controller = None
    before = scene.bucket_keys()
    look(scene, inbox)

    assert scene.created == ["cohort"]
    assert scene.bucket_keys() == before


def test_a_configuration_that_is_not_there_is_an_error(
    scene: Scene, inbox: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    assert look(scene, inbox, "--configuration", "lung") == 1

    assert scene.created == []
    assert "no configuration lung" in capsys.readouterr().out

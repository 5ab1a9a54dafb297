"""Cohorts of several workflows, and waiting when clock, person and network get in the way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest

from tests.workflows.api_server import failure
from tests.workflows.conftest import Scene
from tests.workflows.simulated_cohort import course
from workflows import creating, following, record, sources, submission


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cohort of three courses is a large one: shards of one."""
    monkeypatch.setattr(record, "MOST_IN_ONE", 2)
    monkeypatch.setattr(submission, "MOST_IN_ONE", 2)
    monkeypatch.setattr(record, "SHARD_SIZE", 1)
    monkeypatch.setattr(sources, "OBJECTS_PER_COURSE", 1)


@pytest.mark.usefixtures("small_limits")
def test_a_large_cohort_is_organized_first_and_then_sharded(scene: Scene):
    assert scene.submit("--wait") == 0
    assert scene.created == ["cohort", "courses", "courses", "courses", "aggregate"]
    names = [w["metadata"]["name"] for w in scene.api.created]
    stem = names[0].removesuffix("-organize")
    assert names == [f"{stem}-{part}" for part in ("organize", "s000", "s001", "s002", "aggregate")]
    runs = {w["metadata"]["labels"]["rtpipeline/run"] for w in scene.api.created}
    assert len(runs) == 1
    items = [
        json.loads(p["value"])
        for w in scene.api.created
        for p in w["spec"]["arguments"]["parameters"]
        if p["name"] == "items"
    ]
    assert sorted(i.partition(":")[0] for part in items for i in part) == sorted(c.course_id for c in scene.courses)


@pytest.mark.usefixtures("small_limits")
def test_no_more_live_than_allowed_and_the_rest_follows(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(creating, "MOST_LIVE", 1)
    most = 0
    inner = scene.controller

    def counting(workflow):
        nonlocal most
        live = [
            w for w in scene.api.workflows.values() if w.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        ]
        most = max(most, len(live))
        return inner(workflow)

    scene.api.controller = counting
    assert scene.submit("--wait") == 0
    assert scene.created.count("courses") == 3
    assert most == 1


@pytest.mark.usefixtures("small_limits")
def test_a_submission_that_was_cut_short_is_completed_under_the_same_run(scene: Scene, capsys):
    scene.submit("--wait", "--only", "prepare_images")
    scene.forget()
    scene.controller.looks = 10**6
    refusal = ("POST", r"/workflows$", failure(503, "ServiceUnavailable", "gone"))
    real = scene.api.answer

    def after_one(verb, path, query, body, accept):
        if verb == "POST" and len(scene.api.created) == 1:
            return refusal[2]
        return real(verb, path, query, body, accept)

    scene.api.answer = after_one  # type: ignore[method-assign]
    following.PATIENCE_S, patience = 0.0, following.PATIENCE_S
    try:
        assert scene.submit() == 75
    finally:
        following.PATIENCE_S = patience
        scene.api.answer = real  # type: ignore[method-assign]
    assert scene.created == ["courses"]
    scene.controller.looks = max(scene.controller.seen.values()) + 3  # the first shard still runs
    assert scene.submit("--wait") == 0
    assert scene.created == ["courses", "courses", "courses", "aggregate"]
    assert len({w["metadata"]["labels"]["rtpipeline/run"] for w in scene.api.created}) == 1


@pytest.mark.usefixtures("small_limits")
def test_without_wait_the_tables_come_with_the_next_submission(scene: Scene, capsys):
    scene.controller.looks = 0
    assert scene.submit() == 0
    assert scene.created == ["cohort", "courses", "courses", "courses"]
    assert "The tables are written when the same command is given with --wait." in capsys.readouterr().out
    for name in list(scene.api.workflows):
        scene.api._seen(scene.api.workflows[name])
    scene.forget()
    assert scene.submit("--wait") == 0
    assert scene.created == ["aggregate"]


@pytest.mark.usefixtures("small_limits")
def test_incremental_writes_the_tables_of_a_run_with_failures_instead_of_repeating_them(scene: Scene):
    scene.cohort.statuses[scene.courses[0].course_id, "dvh"] = "failed"
    scene.controller.looks = 0
    scene.submit("--incremental")
    for name in list(scene.api.workflows):
        scene.api._seen(scene.api.workflows[name])
    scene.forget()
    assert scene.submit("--incremental") == 0
    assert scene.created == ["aggregate"]
    for name in list(scene.api.workflows):
        scene.api._seen(scene.api.workflows[name])
    scene.forget()
    assert scene.submit("--incremental", "--wait") == 1
    assert scene.created == []


def test_the_time_is_over_and_the_run_goes_on(scene: Scene, capsys):
    scene.controller.looks = 10**6
    assert scene.submit("--wait", "--timeout", "0.5s", "--json") == 75
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "waiting stopped"
    assert f"python -m workflows.status {found['run_id']} --namespace rt" in found["message"]
    assert list(scene.api.workflows) == found["workflows"]


def test_ctrl_c_leaves_the_run_and_says_how_to_follow_it(scene: Scene, capsys):
    scene.controller.looks = 10**6
    # a shell that starts the tests in the background has them ignore it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _press_ctrl_c_and_see(scene, capsys)
    finally:
        signal.signal(signal.SIGINT, before)


def _press_ctrl_c_and_see(scene: Scene, capsys) -> None:
    def press() -> None:
        while not scene.api.created:
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    assert scene.submit("--wait") == 130
    thread.join()
    said = capsys.readouterr().out
    assert "Interrupted; what runs goes on." in said
    assert "python -m workflows.status" in said
    assert len(scene.api.workflows) == 1


def test_a_lost_connection_is_waited_out(scene: Scene, capsys):
    inner, looks = scene.controller, 0

    def drops(workflow):
        nonlocal looks
        looks += 1
        if looks == 1:
            scene.api.down = 3
        return inner(workflow)

    scene.api.controller = drops
    assert scene.submit("--wait") == 0
    said = capsys.readouterr().err
    assert "The workflows go on meanwhile; asking again." in said
    assert "the Kubernetes API answers again" in said


def test_an_api_that_stays_away_ends_the_wait(scene: Scene, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(following, "PATIENCE_S", 0.2)
    inner = scene.controller

    def drops(workflow):
        scene.api.down = 10**6
        return inner(workflow)

    scene.api.controller = drops
    assert scene.submit("--wait") == 75, "workflows were created"
    assert "does not answer" in capsys.readouterr().err


def test_a_workflow_that_somebody_deletes_ends_the_wait_with_words(scene: Scene, capsys):
    looks = 0

    def deletes(workflow):
        nonlocal looks
        looks += 1
        if looks == 2:
            scene.api.workflows.clear()
        return {"phase": "Running", "nodes": {}}

    scene.api.controller = deletes
    assert scene.submit("--wait") == 1
    assert "Deleted: the workflow is not there any more" in capsys.readouterr().out


def test_two_submissions_at_the_same_moment_are_one_run(scene: Scene, capsys):
    scene.controller.looks = 10**6
    real, raced = scene.api.answer, False

    def other_is_faster(verb, path, query, body, accept):
        nonlocal raced
        if verb == "POST" and not raced:
            raced = True
            other = json.loads(json.dumps(body))
            other["metadata"]["labels"]["rtpipeline/run"] = "20260101-000000-ffffff"
            scene.api.workflows[other["metadata"]["name"]] = other
        return real(verb, path, query, body, accept)

    scene.api.answer = other_is_faster  # type: ignore[method-assign]
    assert scene.submit() == 0
    assert "Already submitted: run 20260101-000000-ffffff" in capsys.readouterr().out
    assert scene.created == []
    assert not [key for key in scene.bucket_keys() if "/private/requests/" in key]


def test_a_pod_without_its_secret_is_told_from_the_events_of_the_cluster(
    scene: Scene, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(following, "EVENTS_AFTER_S", 0.05)
    message = 'MountVolume.SetUp failed for volume "rtpipeline-s3" : secret "rtpipeline-s3" not found'

    def pending(workflow):
        name = workflow["metadata"]["name"]
        node = {"id": f"{name}-77", "name": "o", "type": "Pod", "phase": "Pending", "templateName": "organize"}
        scene.api.events = [
            {"metadata": {"name": "e"}, "involvedObject": {"name": f"{name}-organize-77"}, "message": message}
        ]
        return {"phase": "Running", "nodes": {node["id"]: node}}

    scene.api.controller = pending
    assert scene.submit("--wait", "--timeout", "1s") == 75
    assert f"a pod does not start: {message}" in capsys.readouterr().err


def test_a_hundred_and_fifty_courses_are_one_workflow_and_one_more_makes_two():
    from workflows.asked import chunks

    items = [f"i{number}" for number in range(151)]
    assert [len(part) for part in chunks(items[:150], record.MOST_IN_ONE, record.SHARD_SIZE)] == [150]
    assert [len(part) for part in chunks(items, record.MOST_IN_ONE, record.SHARD_SIZE)] == [100, 51]
    assert chunks([], 150, 100) == []


def test_names_are_valid_whatever_the_cohort_is_called():
    from workflows.asked import workflow_name

    name = workflow_name("a" * 23 + "-" + "b" * 39, "0" * 12, "aggregate", 12)
    assert name == f"rt-{'a' * 23}-{'0' * 12}-aggregate-r12"
    assert len(name) <= 63


def test_courses_of_the_simulation_differ():
    assert len({course(number).course_id for number in range(100)}) == 100


def test_forced_work_is_not_said_to_be_forced_again_for_its_tables(scene: Scene, capsys):
    scene.submit("--wait")
    scene.controller.looks = 10**6
    assert scene.submit("--force", "radiomics") == 0
    assert (
        "The tables are written when the same command is given without --force with --wait." in capsys.readouterr().out
    )

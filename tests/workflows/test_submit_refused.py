"""What cannot be submitted is said in a few words with exit code 2, and leaves nothing behind."""

from __future__ import annotations

import re
import socket

import pytest

from tests.workflows.api_server import ARGO, NOT_FOUND_PATH, rbac
from tests.workflows.conftest import Scene
from workflows import submit


def refused(scene: Scene, capsys, *more: str, **options) -> str:
    """What is said."""
    before = scene.bucket_keys()
    assert scene.submit(*more, **options) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert scene.created == []
    assert scene.bucket_keys() == before
    assert said.err.startswith("python -m workflows.submit: ")
    assert len(said.err.splitlines()) <= 2
    return str(said.err)


def test_a_cluster_that_does_not_answer(scene: Scene, capsys):
    scene.api.down = 10**6
    assert "does not answer" in refused(scene, capsys)


def test_a_cluster_without_argo(scene: Scene, capsys):
    scene.api.refuse("*", ARGO, NOT_FOUND_PATH)
    assert "Argo Workflows is not installed" in refused(scene, capsys)


def test_somebody_who_may_not_see_templates(scene: Scene, capsys):
    scene.api.refuse("GET", "workflowtemplates", rbac("get", "workflowtemplates"))
    assert "not allowed to get workflowtemplates in namespace rt (RBAC)" in refused(scene, capsys)


def test_somebody_who_may_look_but_not_create(scene: Scene, capsys):
    scene.api.refuse("POST", r"/workflows$", rbac("create", "workflows"))
    assert scene.submit() == 2
    assert "not allowed to create workflows in namespace rt (RBAC)" in capsys.readouterr().err


def test_a_bucket_that_does_not_exist(scene: Scene, capsys):
    said = refused(scene, capsys, "--store", "s3://no-such-bucket-here/x")
    assert "the bucket of s3://no-such-bucket-here/x cannot be used" in said


def test_keys_that_the_bucket_does_not_know(scene: Scene, capsys, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_ACCESS_KEY_ID", "nobody")
        assert scene.submit() == 2
    said = capsys.readouterr().err
    assert re.search(r"the bucket of \S+ cannot be used: .*AWS_ACCESS_KEY_ID", said)
    assert scene.created == []


def test_a_bucket_server_that_is_down(scene: Scene, capsys, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with monkeypatch.context() as down:
        down.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert scene.submit() == 2
    said = capsys.readouterr().err
    assert "cannot be used" in said
    assert f"127.0.0.1:{port}" in said
    assert "AWS_ENDPOINT_URL" in said


def test_no_store(scene: Scene, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RTPIPELINE_STORE")
    assert "no store is known: give --store" in refused(scene, capsys)


def test_the_installed_templates_know_the_store(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RTPIPELINE_STORE")
    for parameter in scene.api.templates["rtpipeline-cohort"]["spec"]["arguments"]["parameters"]:
        if parameter["name"] == "store":
            parameter["value"] = scene.store.url
    assert scene.submit() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--force", "dhv"), "--force dhv: no stage is called so"),
        (("--timeout", "1h"), "give --wait too"),
        (("--wait", "--limit", "1", "--courses", "px-c01"), "--courses names px-c01"),
        (("--wait", "--only", "dhv"), "--only names dhv"),
    ],
)
def test_options_that_mean_nothing(scene: Scene, capsys, options: tuple[str, ...], said: str):
    scene.submit("--wait")
    scene.forget()
    capsys.readouterr()
    assert said in refused(scene, capsys, *options)


def test_a_source_that_is_not_there(scene: Scene, capsys):
    assert "does not exist; give the folder" in refused(scene, capsys, source=f"{scene.export}x")
    assert "only s3:// and folders" in refused(scene, capsys, source="gs://bucket/x")
    assert "has to be the only one" in refused(scene, capsys, "--source", str(scene.export), source="s3://b/x")


def test_a_configuration_that_is_wrong(scene: Scene, capsys):
    scene.config.write_text("wrokers: 2\n")
    assert "workers" in refused(scene, capsys)


def test_identifiers_are_not_brought_to_a_cluster(scene: Scene, capsys):
    scene.config.write_text("identity: keep\n")
    assert "would bring patient ids into the names of pods" in refused(scene, capsys)


@pytest.mark.parametrize("text", ["0", "-3m", "soon", "3w"])
def test_a_time_that_is_none(text: str, capsys):
    with pytest.raises(SystemExit) as caught:
        submit.main(["--cohort", "c", "--source", "s3://b/x", "--config", "c", "--wait", f"--timeout={text}"])
    assert caught.value.code == 2
    assert "is no time" in capsys.readouterr().err


def test_organize_can_be_forced(scene: Scene):
    scene.submit("--wait")
    scene.forget()
    assert scene.submit("--wait", "--force", "organize") == 0
    assert scene.created == ["cohort", "courses", "aggregate"]
    pods = scene.controller.pods
    assert pods.pop("organize") == pods.pop("aggregation") == 1
    assert set(pods.values()) == {3}
    assert len(pods) == 9


def test_nothing_of_a_patient_is_in_what_is_created(scene: Scene):
    (scene.export / "Doe^Jane").mkdir()
    (scene.export / "Doe^Jane" / "19600101.dcm").write_bytes(b"x")
    scene.submit()
    keys = " ".join(scene.bucket_keys())
    assert "Doe" not in str(scene.api.created) + keys
    assert "19600101" not in str(scene.api.created) + keys

"""The archive of the code layer alone: it is the whole image's with another last layer."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "images" / "code_archive.py"
NAME = "localhost/rtpipeline-cpu:1.2.3"


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tarred(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def layers() -> list[bytes]:
    return [
        tarred({"usr/bin/python3": b"python"}),
        tarred({"opt/rtpipeline/venv/numpy": b"n" * 5000}),
        tarred({"opt/rtpipeline/app/rtpipeline/__init__.py": b"old"}),
    ]


@pytest.fixture
def whole(tmp_path: Path, layers: list[bytes]) -> Path:
    """An archive as `docker save` writes it."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"User": "8737:8737", "Entrypoint": ["rtpipeline"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
    }
    names = [f"{sha256(layer)[7:]}.tar" for layer in layers]
    manifest = [{"Config": "config.json", "RepoTags": [NAME], "Layers": names}]
    members = dict(zip(names, layers, strict=True))
    members |= {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    path = tmp_path / "whole.tar"
    path.write_bytes(tarred(members))
    return path


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "rtpipeline").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "rtpipeline" / "__init__.py").write_text("new")
    (folder / "bin" / "rtpipeline").write_text("#!/usr/bin/env python3\n")
    (folder / "bin" / "rtpipeline").chmod(0o755)
    return folder


def made(app: Path, whole: Path, out: Path, *options: str) -> dict[str, bytes]:
    subprocess.run([sys.executable, PROGRAM, app, whole, out, *options], check=True, timeout=60)
    with tarfile.open(out) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def manifest_of(files: dict[str, bytes]) -> dict[str, Any]:
    described = json.loads(files["index.json"])["manifests"][0]
    found: dict[str, Any] = json.loads(files["blobs/sha256/" + described["digest"][7:]])
    return found


def test_it_holds_its_own_layer_and_refers_to_the_others(
    app: Path, whole: Path, tmp_path: Path, layers: list[bytes]
) -> None:
    files = made(app, whole, tmp_path / "code.tar")
    manifest = manifest_of(files)
    assert [layer["digest"] for layer in manifest["layers"][:-1]] == [sha256(layer) for layer in layers[:-1]]
    assert [layer["size"] for layer in manifest["layers"][:-1]] == [len(layer) for layer in layers[:-1]]
    assert "blobs/sha256/" + manifest["layers"][-1]["digest"][7:] in files
    for layer in layers:
        assert "blobs/sha256/" + sha256(layer)[7:] not in files
    for name, data in files.items():
        if name.startswith("blobs/"):
            assert sha256(data)[7:] == name.rpartition("/")[2], "a blob is named by its content"


def test_the_new_layer_is_the_code_for_everybody_to_read(app: Path, whole: Path, tmp_path: Path) -> None:
    files = made(app, whole, tmp_path / "code.tar")
    layer = files["blobs/sha256/" + manifest_of(files)["layers"][-1]["digest"][7:]]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        found = {member.name: member for member in tar}
        read = tar.extractfile("opt/rtpipeline/app/rtpipeline/__init__.py")
        assert read is not None
        assert read.read() == b"new"
    assert found["opt/rtpipeline/app/bin/rtpipeline"].mode & 0o111
    assert {(member.uid, member.gid, member.mtime) for member in found.values()} == {(0, 0, 0)}


def test_only_the_last_layer_of_the_configuration_changes(
    app: Path, whole: Path, tmp_path: Path, layers: list[bytes]
) -> None:
    files = made(app, whole, tmp_path / "code.tar")
    manifest = manifest_of(files)
    config = json.loads(files["blobs/sha256/" + manifest["config"]["digest"][7:]])
    assert config["config"] == {"User": "8737:8737", "Entrypoint": ["rtpipeline"]}
    assert config["rootfs"]["diff_ids"] == [
        *(sha256(layer) for layer in layers[:-1]),
        manifest["layers"][-1]["digest"],
    ]


def test_equal_code_gives_an_equal_archive(app: Path, whole: Path, tmp_path: Path) -> None:
    made(app, whole, tmp_path / "one.tar")
    (app / "rtpipeline" / "__init__.py").touch()
    made(app, whole, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    (app / "rtpipeline" / "__init__.py").write_text("newer")
    made(app, whole, tmp_path / "three.tar")
    assert (tmp_path / "one.tar").read_bytes() != (tmp_path / "three.tar").read_bytes()


@pytest.mark.parametrize(
    ("options", "name"), [((), NAME), (("--name", "r.example/x:2"), "r.example/x:2")], ids=["as the whole", "another"]
)
def test_it_takes_the_name_of_the_whole_image_or_another(
    app: Path, whole: Path, tmp_path: Path, options: tuple[str, ...], name: str
) -> None:
    files = made(app, whole, tmp_path / "code.tar", *options)
    annotations = json.loads(files["index.json"])["manifests"][0]["annotations"]
    assert annotations["org.opencontainers.image.ref.name"] == name
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}

"""The committed files are what the stage table gives, Argo takes them, and they are small enough for etcd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.crd_schemas import crd_schemas, faults
from workflows.render import FOLDER, main, rendered, stale

Object = dict[str, Any]
LARGEST_BYTES = 128 * 1024
"""Of one object. A workflow has 1 MiB for its status, the templates among it: this leaves seven eighths."""

NAMES = ("rtpipeline-courses", "rtpipeline-aggregate", "rtpipeline-cohort", "rtpipeline-discover")


def test_the_committed_files_are_current() -> None:
    assert stale(FOLDER, rendered()) == [], "run `make render` and commit the files"


def test_check_names_what_is_stale_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{name}.yaml" for name in NAMES)
    assert main(["--out", str(tmp_path), "--check"]) == 0
    capsys.readouterr()

    edited = tmp_path / "rtpipeline-cohort.yaml"
    edited.write_text(edited.read_text().replace("8737", "0"))
    (tmp_path / "rtpipeline-discover.yaml").unlink()

    assert main(["--out", str(tmp_path), "--check"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" is stale")[0] for line in said] == [str(edited), str(tmp_path / "rtpipeline-discover.yaml")]
    assert not (tmp_path / "rtpipeline-discover.yaml").exists()


def test_rendering_twice_gives_the_same_bytes() -> None:
    """Volumes without a name would get a random one."""
    assert rendered() == rendered()


def test_files_read_back_as_the_objects_they_were_made_from(rendered_objects: dict[str, Object]) -> None:
    assert {name: yaml.safe_load(text) for name, text in rendered().items()} == {
        f"{name}.yaml": found for name, found in rendered_objects.items()
    }


def test_objects_are_small_enough(rendered_objects: dict[str, Object]) -> None:
    for name, found in rendered_objects.items():
        assert len(json.dumps(found, separators=(",", ":"))) < LARGEST_BYTES, name


def test_argos_schemas_take_every_field(rendered_objects: dict[str, Object]) -> None:
    schemas = crd_schemas()
    found = json.loads(json.dumps(rendered_objects))
    assert [text for each in found.values() for text in faults(each, schemas)] == []

    found["rtpipeline-courses"]["spec"]["templates"][0]["retryStrategy"]["limits"] = 3
    assert faults(found["rtpipeline-courses"], schemas), "a misspelled field is seen"


def test_argo_lint_finds_nothing() -> None:
    program = os.environ.get("RTPIPELINE_ARGO") or shutil.which("argo")
    if not program:
        pytest.skip("no program argo: put it on the PATH or name it in RTPIPELINE_ARGO")
    files = [str(FOLDER / f"{name}.yaml") for name in NAMES]
    command = [program, "lint", "--offline", "--strict", "--no-color", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stdout + done.stderr

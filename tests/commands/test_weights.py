"""`rtpipeline weights` tells what is there, in words and for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rtpipeline.cli import main
from rtpipeline.segmentation import catalogue
from rtpipeline.segmentation.weights import SUMS
from tests.segmentation.test_weights import make_network


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path))
    return tmp_path


def test_listing_succeeds_and_verifying_fails_where_a_network_is_missing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "list", "--fast", "--task", "total", "--task", "body"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [["missing", "total", "(fast)"], ["missing", "body", "(fast)"]]
    assert main(["weights", "verify", "--fast"]) == 1


def test_recorded_hashes_hold_the_files_to_what_they_were(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (network,) = catalogue.task("total", "fastest").networks
    folder = make_network(root, network)
    assert main(["weights", "verify", "--fastest"]) == 0
    assert not (root / SUMS).exists()
    assert main(["weights", "verify", "--fastest", "--record"]) == 0
    (folder / "plans.json").write_text("{}")
    capsys.readouterr()
    assert main(["weights", "verify", "--fastest", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["networks"]
    assert (found["state"], found["dataset"], found["mode"]) == ("damaged", 298, "fastest")
    assert f"{SUMS} says" in found["damaged"][0]


def test_a_slip_in_a_task_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list", "--task", "totl"]) == 2
    assert "did you mean total?" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["list", "fetch"])
def test_an_option_that_would_do_nothing_is_refused(
    action: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", action, "--fastest", "--record"]) == 2
    assert "weights verify --record" in capsys.readouterr().err

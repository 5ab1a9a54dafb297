"""Weights are found by file and hash; the phantom's networks never reach other data than the demo's."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from rtpipeline.config import Config, parse_config
from rtpipeline.errors import TransientError, UsageError
from rtpipeline.execution.settings import weights_in_use as weights_of_a_run
from rtpipeline.segmentation import catalogue
from rtpipeline.segmentation.catalogue import Network
from rtpipeline.segmentation.fetch import fetch, status_of
from rtpipeline.segmentation.weights import PHANTOM, PHANTOM_ROOT, SUMS, record_sums, weights_in_use, weights_of

FASTEST = catalogue.task("total", "fastest")
(COARSE,) = FASTEST.networks
CONFIG = parse_config({"segmentation": {"fastest": True}})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of real weights."""
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "weights"))
    monkeypatch.delenv("TOTALSEG_LICENSE", raising=False)
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def make_network(root: Path, network: Network, content: str = "parameters") -> Path:
    """A network that no phantom knows: its checkpoint is a zip archive as torch writes them."""
    folder = root / network.path
    (folder / "fold_0").mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps({"labels": {}}))
    (folder / "plans.json").write_text(json.dumps({"configurations": {}}))
    with zipfile.ZipFile(folder / "fold_0" / "checkpoint_final.pth", "w") as archive:
        archive.writestr("data.pkl", content)
    return folder


def test_the_demo_gets_the_phantoms_networks_and_says_so(root: Path) -> None:
    found = weights_of(FASTEST.networks, demo=True)
    assert (found.root, found.phantom, found.is_usable) == (PHANTOM, True, True)
    assert all(name.startswith("phantom/Dataset298") for name in found.named)


def test_the_phantoms_hashes_are_those_of_its_list() -> None:
    listed = dict(reversed(line.split()) for line in (PHANTOM_ROOT / SUMS).read_text().splitlines())
    for name, sha in listed.items():
        assert hashlib.sha256((PHANTOM_ROOT / name).read_bytes()).hexdigest() == sha


def test_the_demo_gets_them_also_where_real_ones_are(root: Path) -> None:
    make_network(root, COARSE)
    assert weights_of(FASTEST.networks, demo=True).phantom
    assert not weights_of(FASTEST.networks, demo=False).phantom


def test_other_data_never_gets_them(root: Path) -> None:
    found = weights_of(FASTEST.networks, demo=False)
    assert not found.phantom and not found.is_usable
    assert len(found.missing) == 3


def test_copied_among_the_real_ones_they_are_refused(root: Path) -> None:
    shutil.copytree(PHANTOM / COARSE.folder, root / COARSE.folder)
    found = weights_of(FASTEST.networks, demo=False)
    assert not found.is_usable
    assert "is a network of the demo's phantom" in found.damaged[0]


def test_the_demo_uses_real_networks_for_tasks_that_the_phantom_has_none_for(root: Path) -> None:
    found = weights_of(catalogue.task("total").networks, demo=True)
    assert found.root == root and not found.phantom and found.missing


def test_a_whole_network_is_usable(root: Path) -> None:
    make_network(root, COARSE)
    assert weights_of([COARSE], demo=False).is_usable


def test_a_checkpoint_that_was_cut_is_damaged(root: Path) -> None:
    path = make_network(root, COARSE) / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:-30])
    (damage,) = weights_of([COARSE], demo=False).damaged
    assert damage.endswith("checkpoint_final.pth is cut short or no checkpoint")


def test_plans_that_do_not_parse_are_damaged(root: Path) -> None:
    (make_network(root, COARSE) / "plans.json").write_text('{"configurations": ')
    (damage,) = weights_of([COARSE], demo=False).damaged
    assert damage.endswith("plans.json is no valid JSON")


def test_a_file_that_differs_from_its_recorded_hash_is_damaged(root: Path) -> None:
    path = make_network(root, COARSE) / "fold_0" / "checkpoint_final.pth"
    record_sums(root, weights_of([COARSE], demo=False).files)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", "other parameters")
    (damage,) = weights_of([COARSE], demo=False).damaged
    assert f"{SUMS} says" in damage


def test_recording_does_not_make_a_changed_file_right(root: Path) -> None:
    path = make_network(root, COARSE) / "dataset.json"
    status_of(FASTEST, record=True)
    path.write_text("{}")
    (status,) = status_of(FASTEST, record=True)
    assert status.state == "damaged"


def test_the_line_of_a_network_tells_what_is_missing_from_what_is_damaged(root: Path) -> None:
    folder = make_network(root, COARSE)
    (folder / "plans.json").write_text("no JSON")
    (folder / "dataset.json").unlink()
    (status,) = status_of(FASTEST)
    assert status.line().split("  ")[-1] == "dataset.json is missing; plans.json is no valid JSON"


def test_the_key_changes_when_a_network_arrives(root: Path) -> None:
    before = weights_in_use(CONFIG)
    make_network(root, COARSE)
    after = weights_in_use(CONFIG)
    changed = {name for name in before if before[name] != after[name]}
    assert before.keys() == after.keys()
    assert {before[name] for name in changed} == {"absent"} and len(changed) == 3
    assert all(not name.startswith("phantom/") for name in changed)


def test_a_run_without_segmentation_asks_for_no_weights(root: Path) -> None:
    off = parse_config({"segmentation": {"enabled": False}, "custom_models": {"enabled": False}})
    assert weights_of_a_run(off) == {}
    assert set(weights_in_use(Config()).values()) >= {"absent"}


DOWNLOADED = """
import os, pathlib, sys, zipfile
assert sys.argv[1] == "298"
folder = pathlib.Path(os.environ["TOTALSEG_WEIGHTS_PATH"]) / "{path}"
(folder / "fold_0").mkdir(parents=True)
(folder / "dataset.json").write_text("{{}}"); (folder / "plans.json").write_text("{{}}")
zipfile.ZipFile(folder / "fold_0" / "checkpoint_final.pth", "w").writestr("data.pkl", "parameters")
"""


def test_fetched_networks_are_recorded(root: Path) -> None:
    fetch([FASTEST], ("python3", "-c", DOWNLOADED.format(path=COARSE.path)))
    assert [status.state for status in status_of(FASTEST)] == ["ok"]
    assert len((root / SUMS).read_text().splitlines()) == 3
    assert sorted(p.name for p in root.iterdir()) == [COARSE.folder, SUMS]


def test_what_is_there_is_not_fetched_again(root: Path) -> None:
    make_network(root, COARSE)
    fetch([FASTEST], ("false",))
    assert weights_of([COARSE], demo=False).is_usable


def test_a_failed_download_leaves_nothing_and_names_the_way_without_a_network(root: Path) -> None:
    program = ("python3", "-c", "import sys; sys.exit('ConnectionError: no route to host')")
    with pytest.raises(TransientError, match=r"no route to host.*unpack Dataset298"):
        fetch([FASTEST], program)
    assert list(root.iterdir()) == []


def test_half_a_folder_is_not_taken_for_a_whole_one(root: Path) -> None:
    (root / COARSE.folder).mkdir()
    with pytest.raises(UsageError, match="remove it and fetch it again"):
        fetch([FASTEST], ("false",))


def test_a_licensed_task_is_not_fetched_without_a_licence(root: Path) -> None:
    with pytest.raises(UsageError, match="TOTALSEG_LICENSE"):
        fetch([catalogue.task("heartchambers_highres")], ("false",))

"""The demo cohort as a user runs it: every number against its closed form, its networks against the phantom."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from rtpipeline.contracts.tables import TABLES
from tests.readme import README, WALK_THROUGH
from tests.whole_runs import COMMAND, assert_same_contents, contents, rtpipeline, stage_folders, wait_for

NOT_NEEDED = ("segmentation", "custom_models", "radiomics", "radiomics_robustness")
"""Sections of the stages that no closed form of the cohort is about."""

FEATURES_OF = ["GTV", "Kidney_L"]
"""Large organs add minutes and show nothing more."""


def change(config: Path, sections: dict[str, dict[str, object]]) -> None:
    """Change fields of sections of the demo's configuration."""
    settings = yaml.safe_load(config.read_text())
    for name, fields in sections.items():
        settings[name] = settings.get(name, {}) | fields
    config.write_text(yaml.safe_dump(settings))


def arguments(folder: Path, store: Path, *more: object) -> list[object]:
    """A run of the demo in `folder`."""
    where = ("--input", folder / "dicom", "--output", store, "--cohort", "demo")
    return ["run", *where, "--config", folder / "config.yaml", *more]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demo and store of all kinds of patients, through the stages that have a closed form."""
    root = tmp_path_factory.mktemp("cohort")
    rtpipeline("demo", "--out", root / "demo", "--patients", 6)
    change(root / "demo" / "config.yaml", {section: {"enabled": False} for section in NOT_NEEDED})
    rtpipeline(*arguments(root / "demo", root / "store"))
    return root


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demo and store of two patients through every stage, by the walk-through of the README."""
    root = tmp_path_factory.mktemp("complete")
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in WALK_THROUGH:
        words = shlex.split(re.sub(r"--patients \d+", "--patients 2", line))
        done = subprocess.run(words, cwd=root, env={**os.environ, "PATH": binaries}, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if words[1] == "demo":
            change(root / "demo" / "config.yaml", {"radiomics": {"structures": FEATURES_OF}})
    return root


def compared(root: Path) -> dict:
    return json.loads(rtpipeline("demo", "--out", root / "demo", "--compare", root / "store", "--json").stdout)


@pytest.mark.slow
def test_every_number_of_the_cohort_agrees_with_its_closed_form(cohort: Path) -> None:
    answer = compared(cohort)
    assert answer["failures"] == []
    assert answer["compared"] > 400


@pytest.mark.slow
def test_the_organs_of_networks_are_those_of_the_phantom(complete: Path) -> None:
    answer = compared(complete)
    assert answer["failures"] == []
    of_first = {o.split()[1] for o in answer["dice"] if o.startswith("DEMO-001")}
    assert of_first == {
        *("liver", "heart", "lungs", "lesion"),
        *("kidney_left", "kidney_right", "femur_left", "femur_right"),
    }


@pytest.mark.slow
def test_the_walk_through_ends_where_the_readme_says(complete: Path) -> None:
    (shown,) = re.findall(r"Open `(\S+)`", README)
    assert "not for treatment decisions" in (complete / shown).read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_table_and_file_of_the_readme_is_among_the_results(complete: Path) -> None:
    text = README[README.index("## The tables") : README.index("## What you can rely on")]
    listed = re.findall(r"^\| `(\w+)`", text, re.MULTILINE)
    latest = complete / "store" / "demo" / "results" / "latest"
    assert {f.stem for f in latest.glob("*.parquet")} == set(listed) == set(TABLES)
    for name in re.findall(r"`([\w/.-]+(?:\.\w+|/))`", text):
        assert (latest / name.removeprefix("results/latest/")).exists(), name


@pytest.mark.slow
def test_every_stage_is_done_and_every_table_has_rows(complete: Path) -> None:
    tables = contents(complete / "store", "demo")
    assert [name for name, frame in tables.items() if frame.empty] == []
    records = [
        json.loads((complete / "store" / f / "stage.json").read_text()) for f in stage_folders(complete / "store")
    ]
    assert {(r["stage"], r["status"]) for r in records if r["stage"] not in ("organize", "aggregation")} == {
        (stage, "done")
        for stage in ("prepare_images", "prepare_rt", "segmentation", "custom_models", "structures", "dvh", "radiomics",
                      "robustness", "qc")
    }  # fmt: skip


@pytest.mark.slow
def test_a_run_killed_within_a_network_and_resumed_gives_the_tables_of_one_that_was_not(
    complete: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    again = arguments(complete / "demo", store, "--secret-file", complete / "store" / "demo" / "private" / "secret")
    command = [*COMMAND, *map(str, again)]
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: any("/segmentation/" in folder for folder in stage_folders(store)), 600)
    wait_for(lambda: list(store.glob("demo/courses/*/segmentation/.partial-*")), 300)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    before = stage_folders(store)
    assert not (store / "demo" / "results" / "latest").exists()
    rtpipeline(*again)
    after = stage_folders(store)
    assert {folder: after[folder] for folder in before} == before
    assert len(after) > len(before)
    assert_same_contents(contents(complete / "store", "demo"), contents(store, "demo"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cohort", "complete"])
def test_no_identifier_of_a_patient_stands_outside_the_private_folder(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """Every string that identifies a demo patient is searched in every file, name and log of the store.

    Compressed files are searched by what they hold, since a compressed name would not show.
    """
    demo = request.getfixturevalue(kind)
    truth = json.loads((demo / "demo" / "truth.json").read_text())
    wanted = {str(v) for p in truth["patients"].values() for v in p["identifiers"] if len(str(v)) >= 4}
    wanted |= {Path(p["path"]).name for p in truth["patients"].values()}
    wanted.add(str(demo / "demo"))
    index = pq.read_table(demo / "store" / "demo" / "private" / "index.parquet").to_pandas()
    for column in ("sop_instance_uid", "series_uid", "study_uid", "frame_uid", "patient_key", "patient_name", "path"):
        wanted |= {str(v) for v in index[column].unique() if len(str(v)) >= 4}
    assert len(wanted) > 300
    searched = 0
    for path in sorted((demo / "store").rglob("*")):
        if "private" in path.relative_to(demo / "store").parts or not path.is_file():
            continue
        text = str(path.relative_to(demo / "store")) + "\n" + readable(path)
        searched += 1
        found = [identifier for identifier in wanted if identifier in text]
        assert not found, f"{path.relative_to(demo / 'store')} holds {found[:3]}"
    assert searched > 100


def readable(path: Path) -> str:
    """What a file holds, as text."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return table.to_pandas().to_csv() + str(table.schema.metadata)
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as book:
            return "\n".join(book.read(name).decode("utf-8", "replace") for name in book.namelist())
    if path.suffix == ".gz":
        head = gzip.decompress(path.read_bytes())[:4096]
        return path.read_bytes()[:256].decode("latin-1") + head.decode("latin-1")
    if path.suffix == ".npy":
        return ""
    return path.read_bytes().decode("latin-1")


def test_the_search_for_identifiers_would_find_one(tmp_path: Path) -> None:
    """The reader of the test above sees a name in every kind of file that a store holds."""
    frame = pd.DataFrame({"a": ["Demo^Patient One"]})
    frame.to_parquet(tmp_path / "t.parquet", compression="zstd")
    with pd.ExcelWriter(tmp_path / "t.xlsx", engine="xlsxwriter") as writer:
        frame.to_excel(writer)
    (tmp_path / "t.nii.gz").write_bytes(gzip.compress(b"\0" * 200 + b"Demo^Patient One"))
    (tmp_path / "t.json").write_text('{"name": "Demo^Patient One"}')
    np.save(tmp_path / "t.npy", np.zeros(3))
    for path in tmp_path.iterdir():
        assert ("Demo^Patient One" in readable(path)) is (path.suffix != ".npy"), path.name

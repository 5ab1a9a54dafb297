"""The demo cohort as a user runs it: every number against its closed form, its networks against the phantom."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from tests.whole_runs import COMMAND, SECRET, assert_same_contents, contents, rtpipeline, stage_folders, wait_for

NOT_NEEDED = ("segmentation", "custom_models", "radiomics", "radiomics_robustness")
"""Sections of the stages that no closed form of the cohort is about."""

FEATURES_OF = ["GTV", "Kidney_L"]
"""Large organs add minutes and show nothing more."""


def arguments(folder: Path, store: Path, *more: object) -> list[object]:
    """A run of the demo in `folder` as its README says, all with one secret."""
    secret = store.parent / "secret"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text(SECRET)
    where = ("--input", folder / "dicom", "--output", store, "--cohort", "demo")
    return ["run", *where, "--config", folder / "config.yaml", "--secret-file", secret, *more]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demo and store of all kinds of patients, through the stages that have a closed form."""
    root = tmp_path_factory.mktemp("cohort")
    rtpipeline("demo", "--out", root / "demo", "--patients", 6)
    config = root / "demo" / "config.yaml"
    settings = yaml.safe_load(config.read_text()) | {section: {"enabled": False} for section in NOT_NEEDED}
    config.write_text(yaml.safe_dump(settings))
    rtpipeline(*arguments(root / "demo", root / "store"))
    return root


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demo and store of two patients through every stage, by one worker."""
    root = tmp_path_factory.mktemp("complete")
    rtpipeline("demo", "--out", root / "demo", "--patients", 2)
    config = root / "demo" / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["radiomics"]["structures"] = FEATURES_OF
    config.write_text(yaml.safe_dump(settings))
    rtpipeline(*arguments(root / "demo", root / "store", "--workers", 1))
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
def test_two_workers_killed_within_a_network_and_resumed_give_the_tables_of_one(complete: Path, tmp_path: Path) -> None:
    store = tmp_path / "two" / "store"
    command = [*COMMAND, *map(str, arguments(complete / "demo", store, "--workers", 2))]
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: any("/segmentation/" in folder for folder in stage_folders(store)), 300)
    wait_for(lambda: list(store.glob("demo/courses/*/segmentation/.partial-*")), 60)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    before = stage_folders(store)
    assert not (store / "demo" / "results" / "latest").exists()
    rtpipeline(*arguments(complete / "demo", store, "--workers", 2))
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

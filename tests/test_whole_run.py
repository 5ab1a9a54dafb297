"""The whole of it, as a user runs it: commands in processes of their own, on synthetic exports with known answers."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rtpipeline.contracts.tables import TABLES
from rtpipeline.demo.small import small_patient

COMMAND = [sys.executable, "-m", "rtpipeline"]
RESULT_TABLES = [name for name in TABLES if name != "findings"]
PROVENANCE_OF_TIME = {"run_id"}
SECRET = "0123456789abcdef0123456789abcdef"
SETTINGS = "custom_models: {enabled: false}\nradiomics_robustness: {enabled: false}\n"
"""Of the runs that are about the runner: these stages take longer than all else, and the demo's run has them."""
POSITIONS = ("HFS", "FFS", "HFP", "HFDL")


def rtpipeline(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=900)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    return done


def run_arguments(export: Path, store: Path) -> list[object]:
    secret, config = store.parent / "secret", store.parent / "config.yaml"
    secret.write_text(SECRET)
    config.write_text(SETTINGS)
    return ["run", "--input", export, "--output", store, "--secret-file", secret, "--config", config]


def run_json(export: Path, store: Path, *more: object) -> dict:
    return json.loads(rtpipeline(*run_arguments(export, store), "--json", *more).stdout)


def contents(store: Path, cohort: str = "cohort") -> dict[str, pd.DataFrame]:
    """Every result table, without what tells time or host."""
    folder = store / cohort / "results" / "latest"
    found = {}
    for name in [*RESULT_TABLES, "findings"]:
        frame = pq.read_table(folder / f"{name}.parquet").to_pandas()
        found[name] = frame.drop(columns=[c for c in frame.columns if c in PROVENANCE_OF_TIME])
    return found


def assert_same_contents(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> None:
    assert left.keys() == right.keys()
    for name, frame in left.items():
        pd.testing.assert_frame_equal(frame, right[name], check_exact=True, obj=name)


def stage_folders(store: Path) -> dict[str, int]:
    """When each course-stage's record was written: what has run again shows a later time."""
    records = store.glob("*/courses/*/*/[0-9a-f]*/stage.json")  # not those of a killed process, in .partial-*
    return {str(p.parent.relative_to(store)): p.stat().st_mtime_ns for p in records}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small patients in four positions, one folder each."""
    folder = tmp_path_factory.mktemp("export")
    for number, position in enumerate(POSITIONS, start=1):
        small_patient(seed=number, patient_id=f"DEMO-{900 + number}", position=position).save(folder / f"{number}")
    return folder


@pytest.fixture(scope="module")
def undisturbed(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store after an undisturbed run with one worker."""
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    summary = run_json(export, store, "--workers", 1)
    assert summary["courses"]["failed"] == 0
    return store


# --- the demo cohort, its truth and its identities -----------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo cohort, made and run by the commands of the README."""
    root = tmp_path_factory.mktemp("demo")
    rtpipeline("demo", "--out", root / "demo", "--patients", 6)
    where = ("--input", root / "demo" / "dicom", "--output", root / "store", "--cohort", "demo")
    rtpipeline("run", *where, "--config", root / "demo" / "config.yaml")
    yield root


@pytest.mark.slow
def test_every_number_of_the_demo_agrees_with_its_closed_form(demo):
    done = rtpipeline("demo", "--out", demo / "demo", "--compare", demo / "store", "--json")
    answer = json.loads(done.stdout)
    assert answer["failures"] == []
    assert answer["compared"] > 400
    assert {o.split()[1] for o in answer["dice"]} >= {"liver", "heart", "lungs", "kidney_left", "femur_right", "lesion"}


@pytest.mark.slow
def test_no_identifier_of_a_patient_stands_outside_the_private_folder(demo):
    """Every string that identifies a demo patient is searched in every file, name and log of the store.

    Compressed files are searched by what they hold, since a compressed name would not show.
    """
    truth = json.loads((demo / "demo" / "truth.json").read_text())
    wanted = {str(v) for p in truth["patients"].values() for v in p["identifiers"] if len(str(v)) >= 4}
    wanted |= {Path(p["path"]).name for p in truth["patients"].values()}
    wanted.add(str(demo / "demo"))
    index = pq.read_table(demo / "store" / "demo" / "private" / "index.parquet").to_pandas()
    for column in ("sop_instance_uid", "series_uid", "study_uid", "frame_uid", "patient_key", "patient_name", "path"):
        wanted |= {str(v) for v in index[column].unique() if len(str(v)) >= 4}
    assert len(wanted) > 700
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


def test_the_search_for_identifiers_would_find_one(tmp_path):
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


# --- what changes nothing ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_workers_give_the_tables_of_one(export, undisturbed, tmp_path):
    run_json(export, tmp_path / "store", "--workers", 2)
    assert_same_contents(contents(undisturbed), contents(tmp_path / "store"))


@pytest.mark.slow
def test_a_second_run_computes_nothing_again(export, undisturbed):
    before, tables = stage_folders(undisturbed), contents(undisturbed)
    run_json(export, undisturbed)
    assert stage_folders(undisturbed) == before
    assert_same_contents(tables, contents(undisturbed))


def start(export: Path, store: Path) -> subprocess.Popen[bytes]:
    arguments = [*run_arguments(export, store), "--workers", "2"]
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def wait_for(condition, timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.005)


def stage_processes(runner: int) -> list[int]:
    """Processes below the runner that are running a course-stage: children of its servers."""
    import psutil

    try:
        servers = psutil.Process(runner).children()
        return [child.pid for server in servers for child in server.children()]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.slow
def test_a_killed_runner_leaves_nothing_behind_and_the_next_run_does_the_rest(export, undisturbed, tmp_path):
    import psutil

    store = tmp_path / "store"
    runner = start(export, store)
    wait_for(lambda: len(stage_folders(store)) >= 6)
    below = psutil.Process(runner.pid).children(recursive=True)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    wait_for(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in below), 20)
    before = stage_folders(store)
    assert not (store / "cohort" / "results" / "latest").exists()
    run_json(export, store)
    after = stage_folders(store)
    assert {k: after[k] for k in before} == before
    assert len(after) > len(before)
    assert_same_contents(contents(undisturbed), contents(store))


@pytest.mark.slow
def test_a_killed_stage_process_is_tried_again_and_costs_nothing(export, undisturbed, tmp_path):
    store = tmp_path / "store"
    runner = start(export, store)
    wait_for(lambda: len(stage_folders(store)) >= 2)
    killed = 0
    while runner.poll() is None and killed < 2:  # as many as a stage is tried again
        for pid in stage_processes(runner.pid)[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        time.sleep(0.5)
    assert killed > 0
    assert runner.wait(300) == 0
    assert_same_contents(contents(undisturbed), contents(store))


# --- what is new ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_new_patient_runs_alone(export, tmp_path):
    import shutil

    mine, store = tmp_path / "export", tmp_path / "store"
    shutil.copytree(export / "1", mine / "1")
    run_json(mine, store)
    before = stage_folders(store)
    shutil.copytree(export / "2", mine / "2")
    run_json(mine, store)
    after = stage_folders(store)
    assert {k: after[k] for k in before} == before
    assert len(contents(store)["courses"]) == 2
    assert {k.split("/")[2] for k in after.keys() - before.keys()} == {
        c for c in contents(store)["courses"]["course_id"] if not any(c in k for k in before)
    }


@pytest.mark.slow
def test_a_bad_patient_does_not_touch_the_others(export, undisturbed, tmp_path):
    import shutil

    mine = tmp_path / "export"
    shutil.copytree(export, mine)
    bad = small_patient(seed=77, patient_id="DEMO-977")
    bad.rtdose.DoseUnits = "RELATIVE"
    bad.rtstruct.ROIContourSequence[0].ContourSequence[0].ContourData = [1.0, 2.0]
    bad.save(mine / "bad")
    (mine / "bad" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + os.urandom(500))
    run_json(mine, tmp_path / "store")
    with_bad, without = contents(tmp_path / "store")["dvh_metrics"], contents(undisturbed)["dvh_metrics"]
    ids = without["course_id"].unique()
    pd.testing.assert_frame_equal(
        with_bad[with_bad["course_id"].isin(ids)].reset_index(drop=True), without, check_exact=True
    )
    codes = set(contents(tmp_path / "store")["findings"]["code"])
    assert {"DOSE_UNITS", "SS_CONTOUR_DEGENERATE"} <= codes


# --- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--input", "/nowhere", "--output", "{tmp}"], "/nowhere"),
        (["run", "--output", "{tmp}"], "--input"),
        (["run", "--input", "{tmp}", "--output", "{tmp}/s", "--config", "{tmp}/none.yaml"], "does not exist"),
        (["status", "--output", "{tmp}"], "cohort"),
        (["stage", "no_such_stage", "--out", "{tmp}/x"], "no_such_stage"),
    ],
)
def test_wrong_use_ends_with_a_sentence_and_code_2(arguments, said, tmp_path):
    done = rtpipeline(*(a.format(tmp=tmp_path) for a in arguments), check=False)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_a_wrong_key_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "c.yaml").write_text("segmentation:\n  threads_per_woker: 4\n")
    (tmp_path / "in").mkdir()
    done = rtpipeline(
        "run", "--input", tmp_path / "in", "--output", tmp_path / "s", "--config", tmp_path / "c.yaml", check=False
    )
    assert done.returncode == 2
    assert "did you mean 'threads_per_worker'" in done.stderr
    assert not (tmp_path / "s").exists()

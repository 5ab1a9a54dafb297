"""The whole of it, as a user runs it: commands in processes of their own, on synthetic exports with known answers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from rtpipeline.demo.small import small_patient
from tests.whole_runs import COMMAND, SECRET, assert_same_contents, contents, rtpipeline, stage_folders, wait_for

SETTINGS = (
    "segmentation: {enabled: false}\ncustom_models: {enabled: false}\nradiomics_robustness: {enabled: false}\n"
    "radiomics: {profile: original, mr_profile: original-mr, structures: [GTV]}\n"
)
"""Of the runs that are about the runner: these stages take longer than all else, and the demo's run has them."""
POSITIONS = ("HFS", "FFS", "HFP", "HFDL")


def run_arguments(export: Path, store: Path) -> list[object]:
    secret, config = store.parent / "secret", store.parent / "config.yaml"
    secret.write_text(SECRET)
    config.write_text(SETTINGS)
    return ["run", "--input", export, "--output", store, "--secret-file", secret, "--config", config]


def run_json(export: Path, store: Path, *more: object) -> dict:
    return json.loads(rtpipeline(*run_arguments(export, store), "--json", *more).stdout)


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

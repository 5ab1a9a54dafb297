"""A whole cohort pod by pod through a bucket: what runs, what is kept, and that the numbers are those of one machine.

The tests go on where the one before ended, as a cohort does in its life.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rtpipeline.config import load_config
from rtpipeline.demo.small import small_patient
from rtpipeline.execution import environment
from rtpipeline.stages import COURSE_STAGES
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.configuration import bundle, configuration_name
from rtpipeline.store.upload import upload_source
from tests.execution.pod_driver import Engine
from tests.s3_server import S3Server
from tests.whole_runs import SECRET, assert_same_contents, contents, rtpipeline

pytestmark = pytest.mark.slow

COHORT = "small"
SETTINGS = {
    "segmentation": {"enabled": False},
    "custom_models": {"enabled": False},
    "radiomics": {"profile": "original", "mr_profile": "original-mr", "structures": ["GTV"]},
    "radiomics_robustness": {"profile": "demo", "structures": ["GTV"]},
}
BEHIND_RADIOMICS = {"radiomics", "robustness", "qc"}
NAMES = ("DEMO-901", "DEMO-902", "DEMO-903")


@pytest.fixture(scope="module")
def s3(s3_server: S3Server) -> Iterator[Bucket]:
    """A new prefix, for the whole module."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        patch.setattr(environment, "limit_threads", lambda threads: None)
        yield Bucket.open(f"s3://{s3_server.bucket}/{uuid.uuid4().hex}")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cohort")


@pytest.fixture(scope="module")
def export(work: Path) -> Path:
    """Two patients."""
    for number, position in ((1, "HFS"), (2, "FFP")):
        patient = small_patient(seed=number, patient_id=NAMES[number - 1], position=position)
        patient.save(work / "export" / str(number))
    return work / "export"


@pytest.fixture(scope="module")
def engine(s3: Bucket, work: Path, export: Path) -> Engine:
    (work / "secret").write_text(SECRET)
    engine = Engine(s3, COHORT, work / "pods", work / "secret", source=upload_source([export], s3.child(COHORT)))
    configure(engine, work / "config.yaml", {})
    return engine


def configure(engine: Engine, path: Path, changes: dict) -> Path:
    path.write_text(yaml.safe_dump({name: fields | changes.get(name, {}) for name, fields in SETTINGS.items()}))
    data = bundle(load_config(path))
    engine.configuration = configuration_name(path.stem, data)
    engine.store.put(f"{COHORT}/private/configurations/{engine.configuration}.tgz", data)
    return path


def laptop(work: Path, export: Path, config: Path) -> Path:
    """The store of the same work on one machine."""
    store = work / "laptop"
    where = ("--input", export, "--output", store, "--cohort", COHORT, "--secret-file", work / "secret")
    rtpipeline("run", *where, "--config", config, check=False)
    return store


def test_the_tables_of_the_pods_are_those_of_one_machine(engine, work, export, tmp_path, capfd):
    done = engine.submit("run-1")
    said = "".join(capfd.readouterr())
    assert [stage for course, stage in done.pods if course] == 2 * list(COURSE_STAGES)
    assert set(done.exit_codes.values()) == {0}
    assert not done.kept - {("", "verdict")}
    ours = contents(engine.results(tmp_path), COHORT)
    assert len(ours["dvh_metrics"]) > 2
    assert len(ours["robustness"]) > 2
    assert_same_contents(contents(laptop(work, export, work / "config.yaml"), COHORT), ours)
    assert not [name for name in NAMES if name in said]
    assert said.count(" done") >= 2 * 7  # it was the log of the pods that was searched
    statuses = {e["status"] for c in engine.plan("run-1")["courses"] for e in c["stages"].values()}
    assert statuses == {"done", "disabled"}


def test_a_second_run_has_no_course_to_run(engine, work, export, tmp_path):
    done = engine.submit("run-2")
    assert done.items == []
    assert_same_contents(
        contents(laptop(work, export, work / "config.yaml"), COHORT), contents(engine.results(tmp_path), COHORT)
    )


def test_another_setting_of_radiomics_runs_what_reads_it_and_what_comes_behind(engine, work, export, tmp_path):
    config = configure(engine, work / "other.yaml", {"radiomics": {"min_voxels": 32}})
    done = engine.submit("run-3")
    assert {stage for course, stage in done.pods if course} == BEHIND_RADIOMICS
    assert len([1 for course, _ in done.pods if course]) == 2 * len(BEHIND_RADIOMICS)
    assert_same_contents(contents(laptop(work, export, config), COHORT), contents(engine.results(tmp_path), COHORT))


def test_another_number_of_workers_runs_nothing(engine, work):
    path = work / "workers.yaml"
    settings = SETTINGS | {"workers": 1, "radiomics": SETTINGS["radiomics"] | {"min_voxels": 32, "thread_limit": 1}}
    path.write_text(yaml.safe_dump(settings))
    engine.configuration = "workers"
    engine.store.put(f"{COHORT}/private/configurations/workers.tgz", bundle(load_config(path)))
    assert engine.submit("run-4").items == []


def test_a_course_whose_data_cannot_be_used_and_a_pod_that_gives_up_cost_the_others_nothing(
    engine, work, export, tmp_path
):
    before = contents(engine.results(tmp_path / "before"), COHORT)
    bad = small_patient(seed=3, patient_id=NAMES[2])
    bad.rtstruct = bad.rtplan = bad.rtdose = None
    for slice_ in bad.ct:
        slice_.PixelSpacing = [1.0, -1.0]
    bad.save(export / "3")
    engine.source = upload_source([export], engine.store.child(COHORT))
    done = engine.submit("run-5")
    refused = {course for course, stage in done.pods if done.exit_codes[course, stage] == 3}
    assert len(refused) == 1
    assert {course for course, _ in done.pods if course} == refused
    assert done.exit_codes["", "verdict"] == 1
    now = contents(engine.results(tmp_path / "now"), COHORT)
    row = now["courses"].set_index("course_id").loc[refused.pop()]
    assert row["status_prepare_images"] == "data_error"
    for name in ("dvh_metrics", "radiomics"):
        assert len(now[name]) == len(before[name])
    assert_same_contents(contents(laptop(work, export, work / "workers.yaml"), COHORT), now)
    shutil.rmtree(export / "3")

"""A whole cohort pod by pod through a bucket: what runs, what is kept, and that the numbers are those of one machine.

The tests go on where the one before ended, as a cohort does in its life.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from rtpipeline.config import load_config
from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.demo.small import small_patient
from rtpipeline.execution import environment
from rtpipeline.execution.cluster_plan import (
    RESULT_FILES,
    Facts,
    cluster_plan,
    course_stage_paths,
    facts_key,
    is_same_outcome,
)
from rtpipeline.execution.plan import CohortPlan
from rtpipeline.stages import COURSE_STAGES
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.configuration import bundle, configuration_name, unbundle
from rtpipeline.store.folder import CohortFolder
from rtpipeline.store.keys import stage_path
from rtpipeline.store.mirror import mirror_outputs, mirror_records
from rtpipeline.store.upload import upload_source
from tests.execution.pod_driver import Engine, Submitted
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
    names = SETTINGS.keys() | changes
    path.write_text(yaml.safe_dump({name: SETTINGS.get(name, {}) | changes.get(name, {}) for name in names}))
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
    files = sum(1 for _ in engine.store.list(f"{COHORT}/results/run-1/"))
    assert engine.plan("run-1")[RESULT_FILES] == files > 10


def test_a_second_run_has_no_course_to_run(engine, tmp_path):
    before = contents(engine.results(tmp_path / "before"), COHORT)
    done = engine.submit("run-2")
    assert done.items == []
    assert is_same_outcome(engine.plan("run-1"), plan_of(engine, done))
    assert_same_contents(before, contents(engine.results(tmp_path / "after"), COHORT))


def plan_of(engine: Engine, done: Submitted) -> CohortPlan:
    """The plan as the client makes it: from facts and records in the bucket, without a pod."""
    folder = CohortFolder(engine.work / f"client-{done.run_id}", COHORT)
    archive = folder.store / "config.tgz"
    engine.store.download(f"{COHORT}/private/configurations/{engine.configuration}.tgz", archive)
    config = unbundle(archive, folder.store / "config")
    key = done.parameters["organize_key"]
    assert mirror_outputs(engine.store, folder, [stage_path(COHORT, "organize", key)]) == []
    manifest = CohortManifest.load(folder.store / stage_path(COHORT, "organize", key))
    facts = Facts.from_json(engine.store.get(str(facts_key(COHORT, done.parameters["facts_id"]))))
    settings = facts.settings(config)
    assert settings == json.loads(done.parameters["settings"])
    mirror_records(engine.store, folder, course_stage_paths(manifest, COHORT, settings))
    return cluster_plan(manifest, config, folder, key, settings)


def test_another_setting_of_radiomics_runs_what_reads_it_and_what_comes_behind(engine, work):
    configure(engine, work / "other.yaml", {"radiomics": {"min_voxels": 32}})
    done = engine.submit("run-3")
    assert {stage for course, stage in done.pods if course} == BEHIND_RADIOMICS
    assert len([1 for course, _ in done.pods if course]) == 2 * len(BEHIND_RADIOMICS)
    assert not is_same_outcome(engine.plan("run-1"), plan_of(engine, done))
    assert is_same_outcome(engine.plan("run-3"), plan_of(engine, done))


def test_another_number_of_workers_runs_nothing(engine, work):
    path = work / "workers.yaml"
    settings = SETTINGS | {"workers": 1, "radiomics": SETTINGS["radiomics"] | {"min_voxels": 32, "thread_limit": 1}}
    path.write_text(yaml.safe_dump(settings))
    engine.configuration = "workers"
    engine.store.put(f"{COHORT}/private/configurations/workers.tgz", bundle(load_config(path)))
    assert engine.submit("run-4").items == []


def test_a_pod_that_gives_up_is_a_row_with_its_reason_and_the_next_run_does_only_that(engine, work, tmp_path):
    """An older output of the stage, with another setting, lies beside it and is not taken for it."""
    configure(engine, work / "given-up.yaml", {"radiomics": {"min_voxels": 32}, "dvh": {"coverage_limit_pct": 99.0}})
    first, second = courses_of(engine)
    engine.gives_up = {f"{first}/dvh"}
    done = engine.submit("run-5")
    assert done.phases[first, "dvh"] == "Failed"
    assert done.exit_codes["", "verdict"] == 1
    now = contents(engine.results(tmp_path), COHORT)
    assert set(now["dvh_metrics"]["course_id"]) == {second}
    assert dict(zip(now["courses"]["course_id"], now["courses"]["status_dvh"], strict=True)) == {
        first: "failed",
        second: "done",
    }
    (row,) = now["findings"][now["findings"]["code"] == "RES_TRANSIENT"].to_dict("records")
    assert (row["course_id"], row["stage"]) == (first, "dvh")
    engine.gives_up = set()
    again = engine.submit("run-6")
    # qc was told that there is no DVH, and is told otherwise now
    assert [task for task in again.pods if task[0]] == [(first, "dvh"), (first, "qc")]
    assert again.exit_codes["", "verdict"] == 0


def test_an_upload_that_was_cut_off_between_two_objects_is_a_failed_stage_and_no_result(engine, tmp_path):
    """The tables of one output lie beside the record of another."""
    first, second = courses_of(engine)
    places = []
    for course in (first, second):
        key = next(c for c in engine.plan("run-6")["courses"] if c["course_id"] == course)["stages"]["dvh"]["key"]
        places.append(f"{engine.path('dvh', key, course)}/tables.tgz")
    whole = engine.store.get(places[0])
    engine.store.put(places[0], engine.store.get(places[1]))
    done = engine.submit("run-7")
    assert done.items == []  # its record is whole; only who reads the tables notices
    now = contents(engine.results(tmp_path), COHORT)
    assert set(now["dvh_metrics"]["course_id"]) == {second}
    assert now["courses"].set_index("course_id").loc[first, "status_dvh"] == "failed"
    engine.store.put(places[0], whole)


def test_a_course_that_a_later_index_has_otherwise_is_not_read_for_an_older_plan(engine, capfd):
    """Its plan would say one thing and its files another."""
    key = f"{COHORT}/private/index.parquet"
    before = engine.store.get(key)
    index = pq.read_table(io.BytesIO(before))
    other = pa.array(["0" * 64] * index.num_rows, pa.string())
    changed = io.BytesIO()
    pq.write_table(index.set_column(index.column_names.index("header_sha256"), "header_sha256", other), changed)
    engine.store.put(key, changed.getvalue())
    plan = engine.plan("run-6")
    course = plan["courses"][0]
    arguments = ["--course", course["course_id"], "--key", course["stages"]["prepare_rt"]["key"]]
    arguments += ["--source", engine.source, *engine.reader()]
    inputs = [("organize", engine.path("organize", plan["organize_key"]))]
    done = Submitted("run-6", {})
    assert not list(engine.pod(done, course["course_id"], "prepare_rt", arguments, inputs).glob("*"))
    assert done.exit_codes[course["course_id"], "prepare_rt"] == 2
    assert "submit again" in capfd.readouterr().err
    engine.store.put(key, before)
    engine.pod(done, course["course_id"], "prepare_rt", arguments, inputs)
    assert done.exit_codes[course["course_id"], "prepare_rt"] == 0


def courses_of(engine: Engine) -> list[str]:
    return [course["course_id"] for course in engine.plan("run-1")["courses"]]


def test_a_course_whose_data_cannot_be_used_costs_the_others_nothing(engine, work, export, tmp_path):
    others = set(courses_of(engine))
    bad = small_patient(seed=3, patient_id=NAMES[2])
    bad.rtstruct = bad.rtplan = bad.rtdose = None
    for slice_ in bad.ct:
        slice_.PixelSpacing = [1.0, -1.0]
    bad.save(export / "3")
    engine.source = upload_source([export], engine.store.child(COHORT))
    done = engine.submit("run-8")
    refused = {course for course, stage in done.pods if done.exit_codes[course, stage] == 3}
    assert len(refused) == 1
    assert {course for course, _ in done.pods if course} == refused
    assert done.exit_codes["", "verdict"] == 1
    now = contents(engine.results(tmp_path / "now"), COHORT)
    row = now["courses"].set_index("course_id").loc[refused.pop()]
    assert row["status_prepare_images"] == "data_error"
    for name in ("dvh_metrics", "radiomics"):
        assert set(now[name]["course_id"]) == others
    assert_same_contents(contents(laptop(work, export, work / "given-up.yaml"), COHORT), now)
    assert engine.submit("run-9").items == []

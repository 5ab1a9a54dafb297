"""The same export as a folder, uploaded, and below a prefix of a bucket: every stage that reads it gives the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rtpipeline.config import Config
from rtpipeline.contracts.manifests import StageRecord
from rtpipeline.demo.small import small_patient
from rtpipeline.dicom.bucket_sources import sources_of
from rtpipeline.dicom.sources import Source
from rtpipeline.errors import ExitCode
from rtpipeline.execution.run_files import remembered_inputs
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.folder import CohortFolder
from rtpipeline.store.keys import output_digest
from rtpipeline.store.upload import upload_source
from tests.dicom.test_archives import as_zip
from tests.whole_runs import SECRET, assert_same_contents, contents, rtpipeline

READERS = ("--only", "prepare_images,prepare_rt")


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients: files, and an archive."""
    root = tmp_path_factory.mktemp("bucket-run") / "export"
    small_patient(patient_id="A").save(root / "a")
    other = small_patient(seed=2, patient_id="B", patient_name="Demo^Other").save(root.parent / "b")
    (root / "b.zip").write_bytes(as_zip({path.name: path.read_bytes() for path in sorted(other.iterdir())}))
    (root / "notes.txt").write_text("no DICOM")
    return root


def below_a_prefix(export: Path, bucket: Bucket) -> Source:
    for path in sorted(export.rglob("*")):
        if path.is_file():
            bucket.upload(path, path.relative_to(export).as_posix())
    (source,) = sources_of(bucket.url)
    return source


def read_by_stages(source: Source, work: Path, workers: int = 1) -> dict[str, str]:
    """Output digests of the stages that read an export, and the contents of private files, times apart."""
    private = work / "private"
    private.mkdir(parents=True)
    (private / "secret").write_text(SECRET)
    organize = work / "organize"
    reading = StageRequest("organize", "c", organize, Config(), sources=(source,), private=private, workers=workers)
    assert run_stage(reading) is ExitCode.DONE
    found = {"courses.json": (organize / "courses.json").read_text(), "organize": findings(organize)}
    for course in json.loads(found["courses.json"])["courses"]:
        for stage in ("prepare_images", "prepare_rt"):
            out = work / course["course_id"] / stage
            asked = replace(reading, stage=stage, out=out, course_id=course["course_id"], inputs={"organize": organize})
            assert run_stage(asked) is ExitCode.DONE
            found[f"{course['course_id']}/{stage}"] = output_digest(out)
    index = pq.read_table(private / "index.parquet")
    found["index"] = str(index.drop_columns(["mtime_ns"]).to_pylist())
    found["times"] = str(index["mtime_ns"].to_pylist())
    found["identity"] = str(pq.read_table(private / "identity.parquet").to_pylist())
    found["registry"] = (private / "registry.json").read_text()
    return found


def findings(folder: Path) -> str:
    record = StageRecord.load(folder)
    assert record is not None
    return json.dumps(record.findings)


def test_the_readers_give_the_same_from_a_folder_an_upload_and_a_prefix(
    export: Path, bucket_url: str, tmp_path: Path
) -> None:
    (managed,) = sources_of(upload_source([export], Bucket.open(bucket_url).child("cohort")))
    raw = below_a_prefix(export, Bucket.open(bucket_url).child("incoming"))
    here = read_by_stages(export, tmp_path / "folder")
    assert sum("/prepare_" in name for name in here) == 4
    assert read_by_stages(managed, tmp_path / "managed", workers=2) == here
    from_prefix = read_by_stages(raw, tmp_path / "raw")
    assert {**from_prefix, "times": ""} == {**here, "times": ""}


@pytest.mark.slow
def test_a_run_from_a_bucket_gives_the_tables_of_a_run_from_the_folder(
    export: Path, bucket_url: str, tmp_path: Path
) -> None:
    """And what has run is kept: the listing digest of an upload is that of its folder, so organize is not run again."""
    (tmp_path / "secret").write_text(SECRET)
    raw = below_a_prefix(export, Bucket.open(bucket_url).child("incoming"))
    uploaded = upload_source([export], Bucket.open(bucket_url).child("cohort"))
    common = (*READERS, "--secret-file", tmp_path / "secret")

    def run(source: object, store: str) -> None:
        rtpipeline("run", "--input", source, "--output", tmp_path / store, *common)

    run(export, "folder")
    run(raw, "raw")
    assert_same_contents(contents(tmp_path / "raw"), contents(tmp_path / "folder"))
    planned = rtpipeline("plan", "--input", uploaded, "--output", tmp_path / "folder", "--json", *common)
    assert json.loads(planned.stdout) | {"course_stages": 0} == {"organize": None, "course_stages": 0, "would_run": []}
    run(uploaded, "managed")
    assert_same_contents(contents(tmp_path / "managed"), contents(tmp_path / "folder"))
    # what `retry` starts again with
    assert remembered_inputs(CohortFolder(tmp_path / "managed", "cohort")).inputs == sources_of(uploaded)


def test_what_is_wrong_with_a_bucket_is_told_by_the_commands(
    bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*arguments: object) -> tuple[int, str]:
        done = rtpipeline(*arguments, "--output", tmp_path / "store", check=False)
        return done.returncode, done.stderr + done.stdout

    code, text = told("run", "--input", f"{bucket_url}/nothing")
    assert code == 2 and "holds no object" in text
    code, text = told("validate", "--input", f"{bucket_url}/nothing")
    assert code == 2 and "holds no object" in text
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    code, text = told("run", "--input", f"{bucket_url}/nothing")
    assert code == 75 and "connection refused" in text
    assert not (tmp_path / "store" / "cohort" / "runs").exists()


def test_one_stage_reads_a_bucket_from_the_command_line(export: Path, bucket_url: str, tmp_path: Path) -> None:
    url = upload_source([export], Bucket.open(bucket_url))
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "secret").write_text(SECRET)
    common = ("--source", url, "--private", tmp_path / "private")
    rtpipeline("stage", "organize", "--out", tmp_path / "organize", *common)
    course = json.loads((tmp_path / "organize" / "courses.json").read_text())["courses"][0]["course_id"]
    asked = ("--course", course, "--in", f"organize={tmp_path / 'organize'}", "--out", tmp_path / "images")
    rtpipeline("stage", "prepare_images", *asked, *common)
    assert pq.read_table(tmp_path / "images" / "images.parquet")["status"].to_pylist() == ["ok"]

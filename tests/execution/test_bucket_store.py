"""A run on a machine whose store is a bucket."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rtpipeline.cli import main
from rtpipeline.contracts.manifests import StageRecord
from rtpipeline.demo.small import small_patient
from rtpipeline.errors import TransientError, UsageError
from rtpipeline.execution import bucket_store
from rtpipeline.execution.bucket_store import BucketStore, cache_folder
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.folder import CohortFolder
from rtpipeline.store.keys import output_digest
from rtpipeline.store.private_mark import FILES
from tests.s3_proxy import Fault, Proxy
from tests.whole_runs import SECRET, assert_same_contents, contents, rtpipeline, stage_folders, wait_for


def output(store: Path, key: str, *, status: str = "done", ended: str = "2026-01-01T00:00:00.000") -> Path:
    """An output folder of a course-stage, as `run_stage` leaves one."""
    folder = store / "cohort" / "courses" / "p1-c01" / "dvh" / key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dvh.parquet").write_bytes(f"table {ended}".encode())
    (folder / "inner").mkdir(exist_ok=True)
    (folder / "inner" / "big.bin").write_bytes(b"volume")
    record = StageRecord(
        stage="dvh",
        stage_version=1,
        stage_key=key,
        cohort="cohort",
        course_id="p1-c01",
        status=status,  # type: ignore[arg-type]
        output_digest=output_digest(folder),
        upstream={},
        config={},
        versions={},
        settings_digest="",
        ended_utc=ended,
    )
    (folder / "stage.json").write_text(record.model_dump_json())
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_one_machine_made_is_there_on_another(bucket_url: str, tmp_path: Path) -> None:
    bucket = Bucket.open(bucket_url)
    here, there = CohortFolder(tmp_path / "here", "cohort"), CohortFolder(tmp_path / "there", "cohort")
    with BucketStore(bucket, here).kept():
        made = output(here.store, "aaa-bbb")
        for name in (*FILES, "organize_key"):
            (here.private / name).write_bytes(name.encode())
        (here.private / "secret").write_bytes(b"never sent")
    keys = [entry.key for entry in bucket.list()]
    assert {k for k in keys if "dvh" in k} == {
        f"cohort/courses/p1-c01/dvh/aaa-bbb/{name}" for name in ("data.tgz", "tables.tgz", "stage.json")
    }
    assert not any("secret" in key for key in keys)
    with BucketStore(bucket, there).kept():
        assert files(there.root / "courses") == files(here.root / "courses")
        assert (there.private / "organize_key").read_bytes() == b"organize_key"
    assert files(made) == files(there.root / "courses" / "p1-c01" / "dvh" / "aaa-bbb")


def test_the_later_of_two_outputs_of_one_key_stays(bucket_url: str, tmp_path: Path) -> None:
    bucket = Bucket.open(bucket_url)
    here, there = CohortFolder(tmp_path / "here", "cohort"), CohortFolder(tmp_path / "there", "cohort")
    output(here.store, "aaa-bbb", status="partial")
    with BucketStore(bucket, here).kept():
        pass
    late = output(there.store, "aaa-bbb", ended="2026-01-02T00:00:00.000")
    expected = files(late)
    with BucketStore(bucket, there).kept():
        assert files(late) == expected
    with BucketStore(bucket, here).kept():
        assert files(here.root / "courses" / "p1-c01" / "dvh" / "aaa-bbb") == expected


def test_a_bucket_that_went_away_gets_the_rest_from_the_next_run(
    bucket_url: str, s3_proxy: Proxy, tmp_path: Path, fast_retries: None
) -> None:
    bucket, here = Bucket.open(bucket_url), CohortFolder(tmp_path, "cohort")
    with pytest.raises(TransientError), BucketStore(bucket, here).kept():
        output(here.store, "aaa-bbb")
        s3_proxy.faults.append(Fault(lambda r: r.path.endswith("tables.tgz"), 999, 503, "SlowDown"))
    s3_proxy.faults.clear()
    assert [e.key.rpartition("/")[2] for e in bucket.list()] == ["data.tgz"]  # no record: no output
    with BucketStore(bucket, here).kept():
        pass
    assert len(list(bucket.list())) == 3
    puts = s3_proxy.count("PUT")
    with BucketStore(bucket, here).kept():
        pass
    assert s3_proxy.count("PUT") == puts


def test_outputs_are_sent_while_the_run_lasts(bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_store, "SEND_EVERY_S", 0.05)
    bucket, here = Bucket.open(bucket_url), CohortFolder(tmp_path, "cohort")
    with BucketStore(bucket, here).kept():
        output(here.store, "aaa-bbb")
        wait_for(lambda: bucket.entry("cohort/courses/p1-c01/dvh/aaa-bbb/stage.json") is not None)
    with BucketStore(bucket, here).kept(), pytest.raises(UsageError, match="in use"), BucketStore(bucket, here).kept():
        pass


def test_the_options_of_a_store_in_a_bucket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "--input", str(tmp_path), "--output"]
    assert main([*run, "s3://bucket/store"]) == 2
    assert "needs --secret-file" in capsys.readouterr().err
    assert main([*run, str(tmp_path / "store"), "--cache", str(tmp_path)]) == 2
    assert "--cache is for a store in a bucket" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["status", "--output", "s3://bucket/store"])
    assert "reads a folder" in capsys.readouterr().err
    assert re.fullmatch(r"[0-9a-f]{12}", cache_folder("s3://a").name)
    assert cache_folder("s3://a") != cache_folder("s3://b")


@pytest.mark.slow
def test_a_run_into_a_bucket_goes_on_on_another_machine(bucket_url: str, tmp_path: Path) -> None:
    small_patient(patient_id="A").save(tmp_path / "export")
    (tmp_path / "secret").write_text(SECRET)
    common = ("--input", tmp_path / "export", "--secret-file", tmp_path / "secret", "--only", "prepare_rt")
    rtpipeline("run", "--output", tmp_path / "store", *common)
    rtpipeline("run", "--output", bucket_url, "--cache", tmp_path / "one", *common)
    assert_same_contents(contents(tmp_path / "one"), contents(tmp_path / "store"))
    rtpipeline("run", "--output", bucket_url, "--cache", tmp_path / "two", *common)
    ran = stage_folders(tmp_path / "one")
    assert ran.keys() == stage_folders(tmp_path / "two").keys()
    for folder in ran:
        assert files(tmp_path / "one" / folder) == files(tmp_path / "two" / folder)
    bucket = Bucket.open(bucket_url).child("cohort")
    latest = json.loads(bucket.get("results/latest.json"))["run_id"]
    assert bucket.entry(f"results/{latest}/findings.parquet") and bucket.entry(f"runs/{latest}/plan.json")

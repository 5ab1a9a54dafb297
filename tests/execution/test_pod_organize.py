"""What organize's pod refuses, and what it leaves at its place in the bucket; the rest is in test_pod_cohort.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpipeline import cli
from rtpipeline.config import parse_config
from rtpipeline.execution import environment, pod_organize
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.configuration import bundle
from tests.whole_runs import SECRET


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "limit_threads", lambda threads: None)


def run(work: Path, store: str, *more: object) -> int:
    (work / "secret").write_text(SECRET)
    common = ["--cohort", "toy", "--configuration", "default", "--work", work, "--store", store]
    return cli.main(["pod", "organize", *map(str, [*common, *more])])


def usual(work: Path, source: object) -> list[object]:
    return ["--run-id", "run-1", "--secret-file", work / "secret", "--source", source]


@pytest.mark.parametrize(
    ("without", "said"),
    [("--run-id", "--run-id"), ("--secret-file", "--secret-file"), ("--source", "--source")],
)
def test_without_what_it_needs_it_says_so(without, said, tmp_path, bucket_url, capfd):
    arguments = usual(tmp_path, tmp_path)
    at = arguments.index(without)
    assert run(tmp_path, bucket_url, *arguments[:at], *arguments[at + 2 :]) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_identifiers_do_not_become_names_of_pods_by_a_setting_alone(tmp_path, bucket_url, capfd):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "config.tgz").write_bytes(bundle(parse_config({"identity": "keep"})))
    assert run(tmp_path, bucket_url, *usual(tmp_path, tmp_path)) == 2
    assert "identity: keep" in capfd.readouterr().err


def test_a_source_that_holds_the_store_is_refused(tmp_path, bucket_url, capfd):
    Bucket.open(bucket_url).put("export/1.dcm", b"x")
    assert run(tmp_path, f"{bucket_url}/store", *usual(tmp_path, bucket_url)) == 2
    assert "inside of the source" in capfd.readouterr().err


@pytest.mark.parametrize("source", ["{bucket}/nothing", "{tmp}/nothing"])
def test_a_source_that_is_not_there_is_told(source, tmp_path, bucket_url, capfd):
    where = source.format(bucket=bucket_url, tmp=tmp_path)
    assert run(tmp_path, f"{bucket_url}/store", *usual(tmp_path, where)) == 2
    assert not (tmp_path / "out").exists()


def test_an_export_without_a_course_is_a_plan_without_items(tmp_path, bucket_url):
    bucket = Bucket.open(bucket_url)
    bucket.put("export/readme.txt", b"nothing to see")
    assert run(tmp_path, f"{bucket_url}/store", *usual(tmp_path, f"{bucket_url}/export")) == 0
    out = tmp_path / "out"
    assert (out / "parameters" / "items").read_text() == "[]"
    key = (out / "parameters" / "organize_key").read_text()
    left = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert left == {
        f"data/{key}/data.tgz",
        f"tables/{key}/tables.tgz",
        f"record/{key}/stage.json",
        f"facts/{(out / 'parameters' / 'facts_id').read_text()}.json",
        "plan.json",
        *(f"private/{n}" for n in ("index.parquet", "identity.parquet", "registry.json", "organize_key")),
        *(f"parameters/{n}" for n in ("items", "settings", "organize_key", "aggregation_key", "facts_id")),
    }


def test_private_files_that_are_half_replaced_are_made_again(tmp_path, bucket_url):
    """Argo uploads the mark also when the upload of an index before it has failed."""
    bucket = Bucket.open(bucket_url)
    bucket.put("export/readme.txt", b"nothing to see")
    arguments = [f"{bucket_url}/store", *usual(tmp_path, f"{bucket_url}/export")]
    assert run(tmp_path, *arguments) == 0
    for file in (tmp_path / "out").rglob("*/*"):
        place = file.relative_to(tmp_path / "out")
        if place.parts[0] in ("data", "tables", "record") and file.is_file():
            bucket.upload(file, f"store/toy/organize/{place.parts[1]}/{file.name}")
        elif place.parts[0] == "private":
            bucket.upload(file, f"store/toy/private/{file.name}")
    again, third = tmp_path / "again", tmp_path / "third"
    for work in (again, third):
        work.mkdir()
    assert run(again, *arguments) == 0
    assert not (again / "out" / "private").exists(), "nothing has changed"
    bucket.put("store/toy/private/index.parquet", b"older")
    assert run(third, *arguments) == 0
    assert (third / "out" / "private" / "index.parquet").is_file()


def test_an_image_that_cannot_tell_which_weights_are_in_use_does_not_plan(tmp_path, bucket_url, monkeypatch, capfd):
    """Its keys would be those of no weights at all, and every pod with weights would refuse them later."""
    monkeypatch.setattr(pod_organize, "is_installed", lambda: False)
    arguments = usual(tmp_path, tmp_path)
    assert run(tmp_path, bucket_url, *arguments) == 2
    assert "lacks TotalSegmentator" in capfd.readouterr().err

"""`rtpipeline forget` and `gc` on a store in a bucket."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from rtpipeline.cli import main
from rtpipeline.config import Config
from rtpipeline.demo.small import small_patient
from rtpipeline.dicom.bucket_sources import sources_of
from rtpipeline.dicom.sources import listing_digest
from rtpipeline.execution.bucket_cohort import BucketCohort
from rtpipeline.execution.bucket_store import BucketStore
from rtpipeline.execution.under_way import RECENT_S
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.configuration import bundle
from rtpipeline.store.folder import CohortFolder
from rtpipeline.store.upload import upload_source
from tests.execution.bucket_cohorts import GONE, NAME, STAYS, MadeCohort, objects_of, told, without_patient
from tests.s3_proxy import Fault, Proxy, Request
from tests.s3_server import S3Server
from tests.whole_runs import SECRET

TIMES = {"run_id"}


@pytest.fixture(scope="module")
def made(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeCohort]:
    """One run of two patients, uploaded as files, with a note that names one of them."""
    root = tmp_path_factory.mktemp("bucket-removal")
    small_patient(seed=1, patient_id=GONE, patient_name=NAME).save(root / "export" / "1")
    small_patient(seed=2, patient_id=STAYS).save(root / "export" / "2")
    (root / "export" / "notes.txt").write_text(f"{NAME} has moved")
    (root / "secret").write_text(SECRET)
    store = Bucket.open(f"s3://{s3_server.bucket}/made")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "RTPIPELINE_S3_"))]:
            patch.delenv(name)
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        source = upload_source([root / "export"], store.child("cohort"))
        assert run(root, source, store.url, root / "first") == 0
        objects = objects_of(store)
        assert BucketCohort.existing(store.url, "cohort", root / "first").cache is not None
    yield MadeCohort(root, objects, source.removeprefix(f"{store.url}/"))


def run(root: Path, source: object, url: str, cache: Path, *more: str) -> int:
    words = ("--input", source, "--output", url, "--cache", cache, "--secret-file", root / "secret", "--only", "dvh")
    return main(["run", *map(str, words), *more, "--json"])


def answer(capsys: pytest.CaptureFixture[str], verb: str, *words: object) -> dict:
    """What a command prints with --json."""
    capsys.readouterr()
    assert main([verb, *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def identity(objects: dict[str, bytes]) -> dict[str, set[str]]:
    """By PatientID everything that identifies the patient: ids, name, pseudonym, courses, UIDs."""
    found: dict[str, set[str]] = {}
    index = pq.read_table(io.BytesIO(objects["cohort/private/index.parquet"])).to_pylist()
    for row in index:
        words = ("patient_key", "patient_name", "patient_id", "course_id", "sop_instance_uid", "series_uid")
        found.setdefault(row["patient_key"], set()).update(row[w] for w in (*words, "study_uid", "object_hash"))
    return {key: words - {""} for key, words in found.items()}


def pseudonyms(objects: dict[str, bytes]) -> dict[str, str]:
    table = pq.read_table(io.BytesIO(objects["cohort/private/identity.parquet"])).to_pylist()
    return {row["patient_key"]: row["patient_id"] for row in table}


def tables(objects: dict[str, bytes], patient: str) -> dict[str, list[dict]]:
    """Rows of one patient in the newest tables, without what tells the run."""
    latest = json.loads(objects["cohort/results/latest.json"])["run_id"]
    found = {}
    for key, content in objects.items():
        if key.startswith(f"cohort/results/{latest}/") and key.endswith(".parquet"):
            rows = pq.read_table(io.BytesIO(content)).to_pylist()
            kept = [
                {k: v for k, v in row.items() if k not in TIMES} for row in rows if row.get("patient_id") == patient
            ]
            found[key.rpartition("/")[2]] = kept
    return found


def place(made: MadeCohort, url: str, tmp_path: Path) -> tuple[object, ...]:
    """Options of a copy of the cohort, with a cache that does not exist."""
    made.put(url)
    return "--output", url, "--cache", tmp_path / "none"


@pytest.mark.parametrize("by", ["pseudonym", "patient id"])
def test_no_object_of_the_bucket_speaks_of_a_forgotten_patient(
    made: MadeCohort, bucket_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    where = place(made, bucket_url, tmp_path)
    store, before = Bucket.open(bucket_url), made.objects
    words = identity(before)[GONE] - identity(before)[STAYS]
    gone, stays = pseudonyms(before)[GONE], pseudonyms(before)[STAYS]
    assert len(words) > 20
    assert {word for _, word in told(before, words)} == words, "each would be found"
    store.put("cohort/private/requests/abc/run.json", json.dumps({"items": [f"{gone}-c01:1:2:1"]}).encode())
    (tmp_path / "manifest.csv").write_text(f"patient_id,rx_gy\n{STAYS},60\n{GONE},70\n")
    (tmp_path / "other.csv").write_text(f"patient_id,rx_gy\n{STAYS},60\nX{GONE},70\n")
    for name in ("manifest", "other"):
        archive = bundle(Config(manifest=tmp_path / f"{name}.csv"))
        store.put(f"cohort/private/configurations/{name}.tgz", archive)
    seen = answer(capsys, "forget", gone if by == "pseudonym" else GONE, *where, "--yes")
    after = objects_of(store)
    # the other manifest names somebody whose id only contains this one
    assert told({k: v for k, v in after.items() if "other.tgz" not in k}, words | {NAME}) == []
    assert (seen["patients"], seen["courses"]) == ([gone], [f"{gone}-c01"])
    assert seen["removed_configurations"] == ["manifest"]
    assert "cohort/private/configurations/other.tgz" in after
    assert not [key for key in after if "/requests/" in key]
    assert tables(after, stays) == tables(before, stays)
    assert tables(after, stays)["dvh_metrics.parquet"]
    untouched = {k: v for k, v in without_patient(before, gone).items() if "/courses/" in k}
    assert {k: v for k, v in after.items() if "/courses/" in k} == untouched
    assert seen["results"].endswith(json.loads(after["cohort/results/latest.json"])["run_id"])
    # his files, and the note that is nobody's; the other patient's are all there, in a list of their own name
    (url,) = seen["new_sources"]
    listed = sources_of(url)
    assert listing_digest(listed)[:12] == url.rpartition("/")[2].removesuffix(".json.gz")
    assert made.source not in after
    paths = {row["path"] for row in json.loads(gzip.decompress(after[url.removeprefix(f"{bucket_url}/")]))["files"]}
    assert paths == {p.relative_to(made.root / "export").as_posix() for p in (made.root / "export" / "2").iterdir()}
    assert seen["uploaded_files"] == len(list((made.root / "export" / "1").iterdir())) + 1
    assert sum("/objects/" in key for key in after) == len(paths)


@pytest.mark.slow
def test_the_next_run_organizes_anew_and_computes_nothing_of_the_others(
    made: MadeCohort, bucket_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a machine whose cache still holds the patient, with the folder without them."""
    place(made, bucket_url, tmp_path)
    store, cache = Bucket.open(bucket_url), tmp_path / "cache"
    gone, stays = pseudonyms(made.objects)[GONE], pseudonyms(made.objects)[STAYS]
    shutil.copytree(made.root / "first", cache, symlinks=True)
    answer(capsys, "forget", GONE, "--output", bucket_url, "--cache", tmp_path / "none", "--yes")
    before = objects_of(store)
    assert (cache / "cohort" / "courses" / f"{gone}-c01").is_dir()
    assert run(made.root, made.root / "export" / "2", bucket_url, cache) == 0
    summary = json.loads(capsys.readouterr().out)
    after = objects_of(store)
    assert summary["courses"]["total"] == 1
    assert {k: v for k, v in after.items() if "/courses/" in k} == {k: v for k, v in before.items() if "/courses/" in k}
    assert tables(after, stays)["dvh_metrics.parquet"] == tables(before, stays)["dvh_metrics.parquet"]
    assert "cohort/private/organize_key" in after
    assert len({k.split("/")[2] for k in after if k.startswith("cohort/organize/")}) == 2
    words = identity(made.objects)[GONE] - identity(made.objects)[STAYS]
    assert told(after, words) == []
    assert not (cache / "cohort" / "courses" / f"{gone}-c01").exists()
    registry = json.loads(after["cohort/private/registry.json"])
    assert list(registry["patients"]) == [stays]


def test_the_folder_of_this_machine_drops_the_patient_at_once(
    made: MadeCohort, bucket_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place(made, bucket_url, tmp_path)
    cache = tmp_path / "cache"
    shutil.copytree(made.root / "first", cache, symlinks=True)
    answer(capsys, "forget", GONE, "--output", bucket_url, "--cache", cache, "--yes")
    words = identity(made.objects)[GONE] - identity(made.objects)[STAYS]
    files = {p.relative_to(cache).as_posix(): p.read_bytes() for p in cache.rglob("*") if p.is_file()}
    assert any("/courses/" in name for name in files)
    assert told(files, words) == []
    folder = CohortFolder(cache, "cohort")
    with BucketStore(Bucket.open(bucket_url), folder).kept():
        pass
    assert told(objects_of(Bucket.open(bucket_url)), words) == []


@pytest.mark.parametrize("cut", ["organize_key", 6, 8, 11, "identity.parquet"])
def test_a_withdrawal_that_was_cut_off_is_completed_by_the_same_command(
    made: MadeCohort,
    bucket_url: str,
    s3_proxy: Proxy,
    fast_retries: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cut: int | str,
) -> None:
    """Cut after so many changes, or at that of a file: the bucket refuses whatever would come then."""
    where = place(made, bucket_url, tmp_path)
    store = Bucket.open(bucket_url)
    seen: list[Request] = []

    def refused(request: Request) -> bool:
        if request.method in ("PUT", "POST"):
            seen.append(request)
        if cut == "organize_key":
            return len(seen) > 1 and request is seen[-1]
        if isinstance(cut, int):
            return len(seen) > cut and request is seen[-1]
        return request.method == "PUT" and request.path.endswith(cut)

    s3_proxy.faults.append(Fault(refused, 10**6, 503, "SlowDown"))
    assert main(["forget", GONE, *map(str, where), "--yes"]) == 75
    s3_proxy.faults.clear()
    now = objects_of(store)
    assert ("cohort/private/organize_key" in now) == (cut == "organize_key"), "organize counts no more before all else"
    words = identity(made.objects)[GONE] - identity(made.objects)[STAYS]
    assert told(now, words)
    complete = answer(capsys, "forget", GONE, *where, "--yes")
    after = objects_of(store)
    assert told(after, words | {NAME}) == []
    is_half = sent_of_organize(made.objects, now) == {"data.tgz", "tables.tgz"}
    assert is_half == (cut == 6)
    # of half an output of organize no tables can be made: the next run makes both
    assert (complete["results"] is None) == is_half == ("cohort/results/latest.json" not in after)
    if not is_half:
        stays = pseudonyms(made.objects)[STAYS]
        assert tables(after, stays) == tables(made.objects, stays)
    assert main(["forget", GONE, *map(str, where), "--yes"]) == 2


def sent_of_organize(before: dict[str, bytes], now: dict[str, bytes]) -> set[str]:
    """Which objects of organize's output are other ones by now."""
    return {key.rpartition("/")[2] for key in before if "/organize/" in key and now.get(key) != before[key]}


def test_archives_and_uploads_that_were_cut_hold_no_withdrawn_patient(
    made: MadeCohort, bucket_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An archive with both patients, an older list whose files the index does not know, and objects without a list."""
    where = place(made, bucket_url, tmp_path)
    store = Bucket.open(bucket_url)
    cohort = store.child("cohort")
    older = tmp_path / "older"
    small_patient(seed=7, patient_id=GONE, patient_name=NAME).save(older / "a")
    small_patient(seed=8, patient_id=STAYS).save(older / "b")
    with zipfile.ZipFile(older / "both.zip", "w") as archive:
        for name in ("a", "b"):
            archive.write(next(iter(sorted((older / name).iterdir()))), f"{name}.dcm")
    upload_source([older], cohort)
    cut = upload_source([older / "a"], cohort)
    extra = tmp_path / "extra"
    small_patient(seed=9, patient_id=GONE, patient_name=NAME).save(extra / "a")
    small_patient(seed=10, patient_id=STAYS).save(extra / "b")
    listed = upload_source([extra], cohort)
    store.delete([cut.removeprefix(f"{bucket_url}/"), listed.removeprefix(f"{bucket_url}/")])
    before = {key for key in objects_of(store) if "/objects/" in key}
    seen = answer(capsys, "forget", GONE, *where, "--yes")
    after = objects_of(store)
    # the withdrawn one's name, since the UIDs of what was uploaded later are not in the index
    assert told(after, {GONE, NAME}) == []
    held = {key for key in after if "/objects/" in key}
    others = sum(len(list(folder.iterdir())) for folder in (made.root / "export" / "2", older / "b", extra / "b"))
    assert len(held) == others
    assert len(before - held) == seen["uploaded_files"]
    assert any("1 of them were archives" in note for note in seen["notes"])
    assert len(seen["new_sources"]) == 2


def test_a_patient_that_the_last_export_lacked_is_found_by_the_pseudonym(
    made: MadeCohort, bucket_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The registry alone knows the patient, and nobody what the export called them: files of unknown people go."""
    where = place(made, bucket_url, tmp_path)
    store = Bucket.open(bucket_url)
    gone = pseudonyms(made.objects)[GONE]
    for name in ("identity", "index"):
        table = pq.read_table(io.BytesIO(made.objects[f"cohort/private/{name}.parquet"]))
        pq.write_table(table.filter(pc.not_equal(table["patient_id"], gone)), tmp_path / "table")
        store.upload(tmp_path / "table", f"cohort/private/{name}.parquet")
    assert main(["forget", GONE, *map(str, where), "--yes"]) == 2
    assert "no patient of cohort" in capsys.readouterr().err
    seen = answer(capsys, "forget", gone, *where, "--yes")
    assert seen["patients"] == [gone]
    after = objects_of(store)
    words = identity(made.objects)[GONE] - identity(made.objects)[STAYS]
    assert told(after, words | {NAME}) == []
    assert sum("/objects/" in key for key in after) == len(list((made.root / "export" / "2").iterdir()))


def test_a_run_that_seems_under_way_is_not_disturbed(
    made: MadeCohort,
    bucket_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = [*map(str, place(made, bucket_url, tmp_path))]
    store = Bucket.open(bucket_url)
    (key,) = [k for k in made.objects if k.endswith("/plan.json")]
    plan = json.loads(made.objects[key])
    plan["started_utc"] = "2020-01-01T00:00:00+00:00"
    plan["courses"][0]["stages"]["dvh"]["status"] = None
    store.put(key, json.dumps(plan).encode())
    assert main(["gc", *where, "--yes"]) == 0, "a run of long ago was cut off"
    real = time.time
    planned = store.entry(key)
    while planned is None or int(real()) <= planned.modified_ns // 10**9:
        time.sleep(0.05)
    record = next(k for k in made.objects if k.endswith("/dvh") or ("/dvh/" in k and k.endswith("stage.json")))
    store.put(record, made.objects[record])
    for verb in (["forget", GONE], ["gc"]):
        capsys.readouterr()
        assert main([*verb, *where, "--yes"]) == 2
        assert "seems to be under way" in capsys.readouterr().err
    assert main(["gc", *where, "--yes", "--stopped"]) == 0
    monkeypatch.setattr("rtpipeline.execution.under_way.time.time", lambda: real() + RECENT_S + 60)
    assert main(["gc", *where, "--yes"]) == 0


def test_gc_removes_from_a_bucket_what_no_current_key_names(
    made: MadeCohort, bucket_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = place(made, bucket_url, tmp_path)
    store, cache = Bucket.open(bucket_url), tmp_path / "cache"
    assert answer(capsys, "gc", *where, "--yes")["outputs"] == []
    old = [(k, v) for k, v in made.objects.items() if "/dvh/" in k or "/organize/" in k]
    for key, content in old:
        stage_key = key.rpartition("/")[0].rpartition("/")[2]
        store.put(key.replace(stage_key, "0123456789ab-0123456789ab"), content)
    left = old[0][0].rpartition("/")[0].rpartition("/")[0] + "/ffffffffffff-ffffffffffff/data.tgz"
    store.put(left, b"cut off")
    shutil.copytree(made.root / "first", cache, symlinks=True)
    held = next((cache / "cohort" / "courses").glob("*/dvh/*"))
    shutil.copytree(held, held.parent / "0123456789ab-0123456789ab")

    capsys.readouterr()
    assert main(["gc", *map(str, where)]) == 2, "nobody to ask"
    out, err = capsys.readouterr()
    assert "Give --yes" in err
    assert "4 folders" in out and "no current key" in out
    assert len(objects_of(store)) == len(made.objects) + len(old) + 1
    seen = answer(capsys, "gc", "--output", bucket_url, "--cache", cache, "--yes")
    assert seen["removed"]
    assert all(o["path"].startswith(f"{bucket_url}/cohort/") for o in seen["outputs"])
    assert sum(o["bytes"] for o in seen["outputs"]) == sum(len(content) for _, content in old) + len(b"cut off")
    assert objects_of(store) == made.objects
    assert not (held.parent / "0123456789ab-0123456789ab").exists()
    assert held.is_dir()


def test_what_cannot_be_done_is_told(
    made: MadeCohort,
    bucket_url: str,
    s3_proxy: Proxy,
    fast_retries: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = [*map(str, place(made, bucket_url, tmp_path))]

    def told_by(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        return main([*words, "--yes"]), capsys.readouterr().err

    code, text = told_by("forget", "NOBODY", *where)
    assert code == 2 and "no patient of cohort cohort" in text
    for verb in (["forget", GONE], ["gc"]):
        code, text = told_by(*verb, *where, "--cohort", "other")
        assert code == 2 and "no cohort other" in text and "it has cohort" in text
        code, text = told_by(*verb, "--output", str(tmp_path), "--stopped")
        assert code == 2 and "are for a store in a bucket" in text
    denied = Fault(lambda r: r.method == "POST" and "delete" in r.query, 99, 403, "AccessDenied")
    s3_proxy.faults.append(denied)
    code, text = told_by("forget", GONE, *where)
    assert code == 2 and "s3:DeleteObject" in text
    s3_proxy.faults.clear()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for verb in (["forget", GONE], ["gc"]):
        code, text = told_by(*verb, *where)
        assert code == 75 and "connection refused" in text


@pytest.mark.parametrize(
    ("status", "says"), [("", ""), ("Enabled", "Versioning is on"), ("Suspended", "Versioning was on")]
)
def test_old_versions_are_spoken_of_where_the_bucket_keeps_them(bucket_url: str, status: str, says: str) -> None:
    """A real bucket of its own, since versions can never be taken from a bucket again."""
    from rtpipeline.store.s3_client import s3_client

    name = "rt-versions-" + (status.lower() or "never")
    s3_client().create_bucket(Bucket=name)
    for state in ("Enabled", status) if status else ():
        s3_client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": state})
    text = BucketCohort(Bucket.open(f"s3://{name}/x"), "cohort", None).old_versions()
    assert says in text and bool(text) == bool(says)
    assert ("NoncurrentVersionExpiration" in text) == bool(says)


@pytest.mark.parametrize(("http", "code"), [(403, "AccessDenied"), (501, "NotImplemented"), (405, "MethodNotAllowed")])
def test_a_bucket_that_does_not_tell_of_versions_is_not_spoken_for(
    bucket_url: str, s3_proxy: Proxy, fast_retries: None, http: int, code: str
) -> None:
    assert Bucket.open(bucket_url).versioning() == "", "it was never on"
    s3_proxy.faults.append(Fault(lambda r: "versioning" in r.query, 2, http, code))
    assert Bucket.open(bucket_url).versioning() is None
    assert BucketCohort(Bucket.open(bucket_url), "cohort", None).old_versions() == ""

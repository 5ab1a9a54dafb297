"""Exports in a bucket: read as the folder is, and no more of them than is needed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pydicom
import pytest

from rtpipeline.dicom import scan as scan_module
from rtpipeline.dicom import scan_tasks
from rtpipeline.dicom.bucket_sources import BucketPrefix, BucketSource, fetch_files, is_path, sources_of
from rtpipeline.dicom.duplicates import resolve
from rtpipeline.dicom.open import open_many, read_dataset
from rtpipeline.dicom.scan import ScanResult, scan
from rtpipeline.dicom.sources import Source, Walk, walk
from rtpipeline.errors import DataError, TransientError, UsageError
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.upload import upload_source
from tests.dicom.dicom_files import SECRET, ct_slice, dose, part10, put
from tests.s3_proxy import Proxy, proxy_before
from tests.s3_server import S3Server


@pytest.fixture
def export(export: Path) -> Path:
    """With an object more that has a UID of the others and other pixels."""
    return put(export, {"other": part10(ct_slice(2, size=16))})


def as_prefix(bucket: Bucket, export: Path) -> BucketPrefix:
    """The folder's files as objects of the same names."""
    for path in sorted(export.rglob("*")):
        if path.is_file():
            bucket.put(path.relative_to(export).as_posix(), path.read_bytes())
    return BucketPrefix(bucket)


def scanned(*sources: Source, workers: int = 1) -> ScanResult:
    return scan(sources, workers=workers, secret=SECRET)


def as_found(result: ScanResult, *, mtime: bool = True) -> tuple[Any, ...]:
    table = result.table if mtime else result.table.drop_columns(["mtime_ns"])
    return table.to_pylist(), result.findings, result.counts, resolve(result.table, result.opener, SECRET)


def test_a_managed_source_is_read_as_the_folder_is(bucket_url: str, export: Path) -> None:
    sources = sources_of(upload_source([export], Bucket.open(bucket_url)))
    assert as_found(scanned(*sources)) == as_found(scanned(export))


def test_a_prefix_is_read_as_the_folder_is_but_for_the_times(bucket_url: str, export: Path) -> None:
    source = as_prefix(Bucket.open(bucket_url), export)
    source.bucket.put("folder-placeholder/", b"")
    assert as_found(scanned(source), mtime=False) == as_found(scanned(export), mtime=False)


def test_processes_and_order_of_sources_change_nothing(
    bucket_url: str, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "CHUNK_FILES", 3)
    monkeypatch.setattr(scan_tasks, "ZIP_PART_MEMBERS", 2)
    (managed,) = sources_of(upload_source([export], Bucket.open(bucket_url).child("c")))
    raw = as_prefix(Bucket.open(bucket_url).child("raw"), export / "ct")
    one, two = scanned(managed, raw), scanned(managed, raw, workers=2)
    assert one.table.equals(two.table)
    assert (one.findings, one.counts) == (two.findings, two.counts)
    turned = scanned(raw, managed).table.to_pylist()
    back = sorted(
        ({**row, "source": 1 - row["source"]} for row in turned), key=lambda r: (r["source"], r["path"], r["member"])
    )
    assert back == one.table.to_pylist()


def test_processes_read_where_the_environment_now_says(
    bucket_url: str, s3_environment: S3Server, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that forks them may have been started when it said otherwise, or nothing."""
    monkeypatch.setattr(scan_module, "CHUNK_FILES", 3)
    source = as_prefix(Bucket.open(bucket_url), export)
    scanned(export, workers=2)
    with proxy_before(s3_environment) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        found = scanned(source, workers=2)
    assert found.counts == scanned(export).counts
    assert proxy.count("GET") >= len({row["path"] for row in found.table.to_pylist()})


def test_an_archive_in_a_bucket_is_a_source(bucket_url: str, export: Path) -> None:
    bucket = Bucket.open(bucket_url)
    bucket.put("in/more.zip", (export / "more.zip").read_bytes())
    (source,) = sources_of(f"{bucket_url}/in/more.zip")
    assert as_found(scanned(source), mtime=False) == as_found(scanned(export / "more.zip"), mtime=False)
    rows = scanned(source).table.to_pylist()
    here = {row["member"]: ds for row, ds in open_many(rows, [export / "more.zip"])}
    assert {row["member"]: ds for row, ds in open_many(rows, [source])} == here


def test_of_image_slices_only_the_header_is_fetched(bucket_url: str, s3_proxy: Proxy, tmp_path: Path) -> None:
    put(tmp_path / "export", {f"{n}.dcm": part10(ct_slice(n, size=512)) for n in range(12)})
    (source,) = sources_of(upload_source([tmp_path / "export"], Bucket.open(bucket_url)))
    listed = sum(1 for _ in walk([source]))
    before, asked = s3_proxy.fetched(), s3_proxy.count("GET")
    result = scanned(source)
    assert listed == result.table.num_rows == 12
    assert all(result.table["pixel_bytes_ok"].to_pylist())
    assert result.counts["bytes"] > 12 * 512 * 512 * 2
    assert s3_proxy.fetched() - before <= 12 * 32 * 1024
    assert s3_proxy.count("GET") - asked == 12  # one request for a slice


def test_of_a_large_dose_nothing_is_fetched_twice(bucket_url: str, s3_proxy: Proxy, tmp_path: Path) -> None:
    content = part10(dose(frames=40_000))
    assert len(content) > 3 * 1024**2
    source = as_prefix(Bucket.open(bucket_url), put(tmp_path / "export", {"rd": content}))
    before = s3_proxy.fetched()
    assert scanned(source).counts["objects"] == {"rtdose": 1}
    assert s3_proxy.fetched() - before <= len(content)


def test_objects_are_opened_as_files_are_and_each_fetched_once(bucket_url: str, s3_proxy: Proxy, export: Path) -> None:
    (source,) = sources_of(upload_source([export], Bucket.open(bucket_url)))
    rows = [row for row in scanned(export).table.to_pylist() if row["member"] != "cut"]
    here = [(row["path"], row["member"], ds) for row, ds in open_many(rows, [export])]
    before = s3_proxy.count("GET")
    assert [(row["path"], row["member"], ds) for row, ds in open_many(rows, [source])] == here
    assert s3_proxy.count("GET") - before == len({row["path"] for row in rows})
    assert read_dataset([source], rows[0]) == read_dataset([export], rows[0])


def test_an_object_that_is_gone_is_a_finding(bucket_url: str, export: Path) -> None:
    source = as_prefix(Bucket.open(bucket_url), export)
    rows = scanned(source).table.to_pylist()
    source.bucket.delete(["ct/2.dcm"])
    by_path = {row["path"]: row for row in rows}
    with pytest.raises(DataError) as found:
        list(open_many([by_path["ct/1.dcm"], by_path["ct/2.dcm"]], [source]))
    assert found.value.findings[0].code == "FILE_TRUNCATED"
    entries = list(walk([source]))
    source.bucket.delete(["ct/3.dcm"])
    task = scan_tasks.ScanTask((source,), tuple(entries), False)
    batch = scan_tasks.read_task(task)
    (measured,) = [m for code, _, m in batch.tally if code == "FILE_TRUNCATED" and "opened" in m]
    assert measured == "cannot be opened: FileNotFoundError"
    assert batch.counts["files"] == len(entries)


def test_a_server_that_fails_ends_the_scan_and_accuses_no_file(
    bucket_url: str, s3_proxy: Proxy, export: Path, fast_retries: None
) -> None:
    source = as_prefix(Bucket.open(bucket_url), export)
    s3_proxy.cut(after=0, times=9999)
    with pytest.raises(TransientError):
        scanned(source)


def test_keys_that_are_no_paths_are_told_and_the_others_read(bucket_url: str) -> None:
    bucket = Bucket.open(bucket_url)
    for key in ("good", "a/good", ".snapshot/x", ".snapshot/y", "b/@eaDir/z"):
        bucket.put(key, b"x")
    met = Walk()
    assert [entry.path for entry in walk([BucketPrefix(bucket)], met=met)] == ["a/good", "good"]
    assert met.system_folders == {0: 2} and met.unreadable == []
    assert [is_path(key) for key in ("a/b", "a//b", "../b", "a/./b", "/a", "a/", "x" * 256)] == [True, *[False] * 6]


def test_files_come_in_the_order_of_a_folder(bucket_url: str, tmp_path: Path) -> None:
    put(tmp_path, dict.fromkeys(("a/b", "a-b", "a b/c", "a/a/z", "B", "ä", "a.b/c"), b""))
    source = as_prefix(Bucket.open(bucket_url), tmp_path)
    assert [entry.path for entry in walk([source])] == [entry.path for entry in walk([tmp_path])]


def test_fetched_files_stand_for_the_source(bucket_url: str, export: Path, tmp_path: Path) -> None:
    (export / os.fsdecode(b"latin-\xe4.dcm")).write_bytes(part10(ct_slice(30)))
    (managed,) = sources_of(upload_source([export], Bucket.open(bucket_url).child("c")))
    assert isinstance(managed, BucketSource)
    rows = scanned(managed).table.to_pylist()
    wanted = [row for row in rows if row["path"] in ("rs", "more.zip", "latin-\\udce4.dcm")]
    bytes_fetched = fetch_files(managed, [row["path"] for row in wanted] + ["absent"], tmp_path / "here")
    assert bytes_fetched == sum(p.stat().st_size for p in (tmp_path / "here").rglob("*") if p.is_file())
    assert len(list((tmp_path / "here").iterdir())) == 3
    there = [(row["path"], ds) for row, ds in open_many(wanted, [managed])]
    assert [(row["path"], ds) for row, ds in open_many(wanted, [tmp_path / "here"])] == there
    with pytest.raises(UsageError, match="leads out"):
        fetch_files(managed, ["../x"], tmp_path / "here")


def test_sources_go_to_other_processes_and_back_from_their_names(bucket_url: str, export: Path) -> None:
    bucket = Bucket.open(bucket_url)
    (managed,) = sources_of(upload_source([export], bucket))
    for source in (managed, BucketPrefix(bucket)):
        assert pickle.loads(pickle.dumps(source)) == source
        assert sources_of(str(source)) == (source,)
    assert sources_of("/data/export") == (Path("/data/export"),)
    assert isinstance(managed, BucketSource)
    managed.check()
    with pytest.raises(UsageError, match="holds no object"):
        BucketPrefix(bucket.child("nothing")).check()


def test_pixels_in_fragments_are_hopped_over(bucket_url: str, s3_proxy: Proxy, tmp_path: Path) -> None:
    """Compressed frames are found one behind the other; 400 requests would take half a minute on a far bucket."""
    from pydicom.encaps import encapsulate

    image = ct_slice(1)
    image.NumberOfFrames = 400
    image.PixelData = encapsulate([os.urandom(10_000)] * 400)
    image["PixelData"].is_undefined_length = True
    content = part10(image, pydicom.uid.JPEG2000Lossless)
    export = put(tmp_path / "export", {"a": content, "b": content[: len(content) // 2]})
    source = as_prefix(Bucket.open(bucket_url), export)
    before = s3_proxy.count("GET")
    found = scanned(source)
    assert found.table["pixel_bytes_ok"].to_pylist() == scanned(export).table["pixel_bytes_ok"].to_pylist()
    assert s3_proxy.count("GET") - before < 2 * 20

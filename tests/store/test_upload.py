"""Local folders as a managed source in a bucket."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from rtpipeline.dicom.bucket_sources import BucketSource, sources_of
from rtpipeline.dicom.sources import Walk, listing, listing_digest, walk
from rtpipeline.errors import TransientError, UsageError
from rtpipeline.store import bucket as bucket_module
from rtpipeline.store import upload as upload_module
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.upload import UploadProgress, upload_source
from tests.dicom.dicom_files import put
from tests.s3_proxy import Fault, Proxy


@pytest.fixture
def export(tmp_path: Path) -> Path:
    files = {f"MILLER^ANNE/ct {n}.dcm": bytes([n]) * (1000 + n) for n in range(12)}
    files |= {"same": bytes([3]) * 1003, "empty": b"", "@eaDir/x": b"not entered", "ä é.dcm": b"umlaut"}
    put(tmp_path / "export", files)
    (tmp_path / "export" / os.fsdecode(b"latin-\xe4.dcm")).write_bytes(b"latin")
    return tmp_path / "export"


def object_names(bucket: Bucket) -> set[str]:
    return {entry.key for entry in bucket.list("private/objects/")}


def test_what_was_uploaded_lists_as_the_folder_does(bucket_url: str, export: Path) -> None:
    bucket = Bucket.open(bucket_url).child("cohort")
    seen: list[UploadProgress] = []
    url = upload_source([export], bucket, seen.append)
    digest = listing_digest([export])
    assert url == f"{bucket_url}/cohort/private/sources/{digest[:12]}.json.gz"
    (source,) = sources_of(url)
    here, there = Walk(), Walk()
    assert [(e.path, e.size, e.mtime_ns) for e in walk([source], met=there)] == [
        (e.path, e.size, e.mtime_ns) for e in walk([export], met=here)
    ]
    assert here == there and there.system_folders == {0: 1}
    assert listing_digest([source]) == digest
    last = seen[-1]
    total = sum(size for _, _, size, _ in listing([export]))
    assert (last.files, last.files_total, last.bytes, last.bytes_total) == (16, 16, total, total)
    assert last.files_sent == 15 and last.bytes_sent == total - 1003  # one content lies there twice
    assert [one.files for one in seen] == list(range(1, 17))


def test_no_key_and_no_object_but_the_list_names_a_file(bucket_url: str, export: Path) -> None:
    bucket = Bucket.open(bucket_url)
    url = upload_source([export], bucket)
    keys = {entry.key for entry in bucket.list()}
    assert not any("MILLER" in key or "dcm" in key for key in keys)
    listed = json.loads(gzip.decompress(bucket.get(url.removeprefix(bucket_url + "/"))))
    assert {row["path"] for row in listed["files"]} >= {"MILLER^ANNE/ct 3.dcm", "latin-\\udce4.dcm"}


def test_the_same_folder_gives_the_same_list_and_sends_nothing_again(
    bucket_url: str, s3_proxy: Proxy, export: Path
) -> None:
    bucket = Bucket.open(bucket_url)
    url = upload_source([export], bucket)
    first = bucket.get(url.removeprefix(bucket_url + "/"))
    sent = s3_proxy.count("PUT")
    assert sent == 16  # 15 contents and the list
    assert upload_source([export], bucket, threads=2) == url
    assert s3_proxy.count("PUT") == sent + 1
    assert bucket.get(url.removeprefix(bucket_url + "/")) == first
    put(export, {"new/patient.dcm": b"of today"})
    more = upload_source([export], bucket)
    assert more != url and s3_proxy.count("PUT") == sent + 3
    assert listing_digest(sources_of(more)) == listing_digest([export])


def test_an_upload_that_was_cut_goes_on_without_sending_again(
    bucket_url: str, s3_proxy: Proxy, export: Path, fast_retries: None
) -> None:
    bucket = Bucket.open(bucket_url)
    answered = iter(range(10**6))
    s3_proxy.faults.append(Fault(lambda r: r.method == "PUT" and next(answered) >= 7, 999, 503, "SlowDown"))
    with pytest.raises(TransientError):
        upload_source([export], bucket, threads=1)
    assert list(bucket.list("private/sources/")) == []
    there = object_names(bucket)
    assert len(there) == 7
    s3_proxy.faults.clear()
    s3_proxy.requests.clear()
    url = upload_source([export], bucket)
    prefix = bucket_url.removeprefix("s3:/") + "/"
    sent = {r.path.removeprefix(prefix) for r in s3_proxy.requests if r.method == "PUT"}
    assert not sent & there and len(sent) == 15 - 7 + 1
    assert listing_digest(sources_of(url)) == listing_digest([export])


def test_large_files_go_in_parts_and_are_checked_for_changes(
    bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "PART_BYTES", 5 * 1024**2)
    monkeypatch.setattr(upload_module, "PART_BYTES", 5 * 1024**2)
    content = bytes(range(256)) * 24 * 1024
    put(tmp_path / "export", {"large.dcm": content})
    bucket = Bucket.open(bucket_url)
    (source,) = sources_of(upload_source([tmp_path / "export"], bucket))
    assert isinstance(source, BucketSource)
    file = source.find("large.dcm")
    assert file.bucket.get(file.key) == content
    growing = tmp_path / "growing"
    put(growing, {"large.dcm": content + b"1"})
    sending = Bucket.upload

    def upload(self: Bucket, path: Path, key: str) -> None:
        sending(self, path, key)
        path.write_bytes(content + b"2")

    monkeypatch.setattr(Bucket, "upload", upload)
    before = object_names(bucket)
    with pytest.raises(TransientError, match="changed while it was uploaded"):
        upload_source([growing], bucket)
    assert object_names(bucket) == before


def test_folders_and_archives_uploaded_together_stay_apart(bucket_url: str, export: Path, tmp_path: Path) -> None:
    put(tmp_path, {"one.zip": b"PK", "second/MILLER^ANNE/ct 3.dcm": b"another"})
    folders = [export, tmp_path / "one.zip", tmp_path / "second"]
    url = upload_source(folders, Bucket.open(bucket_url))
    sources = sources_of(url)
    assert len(sources) == 3
    assert listing(sources) == listing(folders)
    assert listing_digest(sources) == listing_digest(folders)
    # each of them has a name of its own, by which it is found again
    assert [sources_of(str(source)) for source in sources] == [(source,) for source in sources]


def test_a_file_that_cannot_be_read_is_listed_so(
    bucket_url: str, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "ct 4.dcm":
            raise PermissionError(13, "no")
        return reading(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read_bytes)
        url = upload_source([export], Bucket.open(bucket_url))
    (source,) = sources_of(url)
    assert listing_digest([source]) == listing_digest([export])
    assert isinstance(source, BucketSource)
    with pytest.raises(PermissionError):
        source.find("MILLER^ANNE/ct 4.dcm")
    with pytest.raises(FileNotFoundError):
        source.find("absent")


def test_wrong_folders_and_urls_are_told(bucket_url: str, tmp_path: Path) -> None:
    bucket = Bucket.open(bucket_url)
    with pytest.raises(UsageError, match="does not exist"):
        upload_source([tmp_path / "absent"], bucket)
    with pytest.raises(UsageError, match="no uploaded source"):
        sources_of(f"{bucket_url}/private/sources/0123456789ab.json.gz")
    bucket.put("private/sources/0123456789ac.json.gz", b"no list")
    with pytest.raises(UsageError, match="no list of an upload"):
        sources_of(f"{bucket_url}/private/sources/0123456789ac.json.gz")

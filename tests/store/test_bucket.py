"""A bucket on a real S3 server."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import pickle
import random
import shutil
import socket
import ssl
import subprocess
import time
import uuid
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from rtpipeline.errors import RTpipelineError, TransientError, UsageError
from rtpipeline.store import bucket as bucket_module
from rtpipeline.store.bucket import Bucket, is_url
from rtpipeline.store.s3_errors import of_answer
from rtpipeline.store.transfers import in_order
from tests.s3_proxy import Fault, Proxy, proxy_before
from tests.s3_server import S3Server


def test_what_is_put_can_be_listed_read_in_parts_downloaded_and_deleted(bucket_url: str, tmp_path: Path) -> None:
    bucket = Bucket.open(bucket_url)
    data = bytes(range(256)) * 400
    assert bucket.put("a/b c é+%.bin", data)
    assert not bucket.put("a/b c é+%.bin", b"other", if_absent=True)
    assert bucket.put("a/new", b"", if_absent=True)
    assert bucket.get("a/b c é+%.bin") == data and bucket.get("a/new") == b""
    assert {(e.key, e.size) for e in bucket.list("a/")} == {("a/b c é+%.bin", len(data)), ("a/new", 0)}
    listed = {e.key: e for e in bucket.list()}
    assert bucket.entry("a/b c é+%.bin") == listed["a/b c é+%.bin"] and bucket.entry("a/absent") is None
    assert bucket.read_range("a/b c é+%.bin", 300, 7) == data[300:307]
    assert bucket.read_range("a/b c é+%.bin", len(data) - 3, 70) == data[-3:]
    assert bucket.read_range("a/b c é+%.bin", len(data), 7) == b""
    bucket.download("a/b c é+%.bin", tmp_path / "deep" / "x")
    assert (tmp_path / "deep" / "x").read_bytes() == data
    with pytest.raises(KeyError):
        bucket.get("a/absent")
    with pytest.raises(KeyError):
        bucket.download("a/absent", tmp_path / "deep" / "y")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x"]
    assert {e.key for e in bucket.child("a").list()} == {"b c é+%.bin", "new"}
    bucket.delete(["a/b c é+%.bin", "a/absent"])
    assert [e.key for e in bucket.list()] == ["a/new"]


def test_errors_and_throttling_are_tried_again(bucket_url: str, s3_proxy: Proxy, fast_retries: None) -> None:
    bucket = Bucket.open(bucket_url)
    s3_proxy.fail("PUT", 2, 503, "SlowDown")
    s3_proxy.fail("GET", 1, 500, "InternalError")
    bucket.put("a", b"content")
    assert bucket.get("a") == b"content"
    assert [e.key for e in bucket.list()] == ["a"]
    assert (s3_proxy.count("PUT"), s3_proxy.count("GET")) == (3, 3)


def test_a_server_that_keeps_throttling_is_a_transient_error(
    bucket_url: str, s3_proxy: Proxy, fast_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    s3_proxy.fail("GET", 99, 503, "SlowDown")
    with pytest.raises(TransientError, match=r"is throttling \(SlowDown\), after all attempts at GetObject"):
        Bucket.open(bucket_url).get("a")
    assert s3_proxy.count("GET") == 3


def test_a_download_that_was_cut_goes_on_where_it_stopped(bucket_url: str, s3_proxy: Proxy, tmp_path: Path) -> None:
    bucket = Bucket.open(bucket_url)
    data = random.Random(1).randbytes(3_000_000)
    bucket.put("a", data)
    s3_proxy.cut(after=1_100_000, times=2)
    bucket.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == data
    assert len(data) <= s3_proxy.fetched() < len(data) + 200_000  # nothing but what lay in buffers comes twice
    s3_proxy.cut(after=10, times=1)
    assert bucket.read_range("a", 5, 100) == data[5:105]


def test_a_download_that_always_breaks_leaves_nothing(
    bucket_url: str, s3_proxy: Proxy, tmp_path: Path, fast_retries: None
) -> None:
    bucket = Bucket.open(bucket_url)
    bucket.put("a", b"x" * 1000)
    s3_proxy.cut(after=0, times=99)
    with pytest.raises(TransientError, match="broke 6 times"):
        bucket.download("a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_an_object_replaced_while_it_is_read_is_not_mixed_with_the_new_one(bucket_url: str) -> None:
    bucket = Bucket.open(bucket_url)
    bucket.put("a", b"1" * 300_000)
    file = bucket.open_file("a")
    assert file.read(10) == b"1" * 10
    bucket.put("a", b"2" * 300_000)
    file.seek(200_000)
    with pytest.raises(TransientError, match="changed"):
        file.read(10)


def test_an_object_is_a_seekable_file(bucket_url: str) -> None:
    bucket = Bucket.open(bucket_url)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(40):
            archive.writestr(f"f{number}", random.Random(number).randbytes(20_000))
    bucket.put("a.zip", content.getvalue())
    with zipfile.ZipFile(io.BufferedReader(bucket.open_file("a.zip"))) as archive:
        assert archive.testzip() is None
        assert archive.read("f7") == random.Random(7).randbytes(20_000)
    file = bucket.open_file("a.zip")
    chosen = random.Random(5)
    for _ in range(30):
        offset, count = chosen.randrange(len(content.getvalue())), chosen.randrange(1, 90_000)
        assert file.read_at(offset, count) == content.getvalue()[offset : offset + count]
        file.seek(offset)
        reader = io.BufferedReader(file)
        assert reader.read(count) == content.getvalue()[offset : offset + count]
        reader.detach()
    with pytest.raises(KeyError):
        bucket.open_file("absent")


def test_parquet_columns_of_some_rows_are_read_without_the_rest(bucket_url: str, s3_proxy: Proxy) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = np.random.default_rng(3).random(400_000)
    sink = io.BytesIO()
    pq.write_table(pa.table({"row": np.arange(400_000), "x": numbers}), sink, row_group_size=20_000)
    bucket = Bucket.open(bucket_url)
    bucket.put("t.parquet", sink.getvalue())
    with bucket.open_file("t.parquet") as file:
        table = pq.read_table(file, filters=[("row", "=", 312_345)])
    assert table["x"].to_pylist() == [numbers[312_345]]
    assert s3_proxy.fetched() < len(sink.getvalue()) / 4


def test_a_large_upload_is_whole_or_not_there(
    bucket_url: str, s3_proxy: Proxy, tmp_path: Path, fast_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "PART_BYTES", 5 * 1024**2)
    path = tmp_path / "large"
    path.write_bytes(random.Random(2).randbytes(11 * 1024**2))
    bucket = Bucket.open(bucket_url)
    s3_proxy.faults.append(Fault(lambda r: "partNumber=2" in r.query, 99, 500, "InternalError"))
    with pytest.raises(TransientError, match=r"failed \(InternalError\), after all attempts at UploadPart"):
        bucket.upload(path, "large")
    assert bucket.entry("large") is None
    assert [r.method for r in s3_proxy.requests if "uploadId" in r.query][-1] == "DELETE"  # the parts were taken back
    s3_proxy.faults.clear()
    bucket.upload(path, "large")
    assert hashlib.sha256(bucket.get("large")).digest() == hashlib.sha256(path.read_bytes()).digest()


def test_only_one_of_many_writers_makes_an_object(bucket_url: str) -> None:
    bucket = Bucket.open(bucket_url)
    with ThreadPoolExecutor(8) as pool:
        wrote = list(pool.map(lambda n: bucket.put("lock", str(n).encode(), if_absent=True), range(8)))
    assert sum(wrote) == 1
    assert bucket.get("lock") == str(wrote.index(True)).encode()


def test_more_than_a_page_is_listed_and_deleted(bucket_url: str) -> None:
    bucket = Bucket.open(bucket_url)
    names = {f"d{n % 7}/{n}" for n in range(1005)}
    assert sum(in_order(lambda name: bucket.put(name, b""), names, threads=16)) == 1005
    assert {e.key for e in bucket.list()} == names
    assert {e.key for e in bucket.list("d3/")} == {n for n in names if n.startswith("d3/")}
    bucket.delete(names)
    assert list(bucket.list()) == []


def test_a_bucket_goes_to_another_process(bucket_url: str) -> None:
    bucket = Bucket.open(bucket_url)
    bucket.put("a", b"content")
    assert pickle.loads(pickle.dumps(bucket)) == bucket
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        assert pool.submit(bucket.get, "a").result(60) == b"content"


SECRETS = ("wrongwrongwrong", "hidden-password")


def test_wrong_settings_are_told_one_by_one(
    bucket_url: str, fast_retries: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def told(kind: type[RTpipelineError], url: str = bucket_url, **environment: str | None) -> str:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                if value is None:
                    patch.delenv(name)
                else:
                    patch.setenv(name, value)
            with pytest.raises(kind) as found:
                Bucket.open(url).check()
        text = str(found.value)
        assert not any(secret in text for secret in SECRETS)
        assert type(found.value) is kind
        return text

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    assert "(connection refused)" in told(TransientError, AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}")
    assert "is not known" in told(TransientError, AWS_ENDPOINT_URL="http://user:hidden-password@no-such-host.invalid")
    assert "AWS_ACCESS_KEY_ID" in told(UsageError, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    assert "does not accept the keys" in told(UsageError, AWS_SECRET_ACCESS_KEY="wrongwrongwrong")
    assert "there is no bucket" in told(UsageError, "s3://no-such-bucket-here/x")
    assert "AWS_ENDPOINT_URL" in told(UsageError, AWS_ENDPOINT_URL="not a url")
    assert "RTPIPELINE_S3_ADDRESSING" in told(UsageError, RTPIPELINE_S3_ADDRESSING="sideways")
    assert "denies ListObjectsV2" in told(UsageError, RTPIPELINE_S3_ANONYMOUS="1")
    told(UsageError, "s3://UPPER_case!/x")


def test_answers_of_other_servers_are_told_by_what_to_do() -> None:
    cases = {
        ("GetObject", "AccessDenied", 403): (UsageError, "needs s3:GetObject"),
        ("GetObject", "PermanentRedirect", 301): (UsageError, "AWS_DEFAULT_REGION"),
        ("PutObject", "RequestTimeTooSkewed", 403): (UsageError, "set the time"),
        ("PutObject", "ExpiredToken", 400): (TransientError, "log in again"),
        ("PutObject", "ServiceUnavailable", 503): (TransientError, "try again later"),
        ("PutObject", "EntityTooLarge", 400): (UsageError, "refused PutObject with EntityTooLarge"),
    }
    for (operation, code, status), (kind, text) in cases.items():
        error = of_answer("b", operation, code, status)
        assert type(error) is kind and text in str(error), code


def test_a_certificate_that_is_not_trusted_names_the_variable(
    s3_environment: S3Server, fast_retries: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = (
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "ca"),
            ],
            capture_output=True,
            check=False,
        )
        if shutil.which("openssl")
        else None
    )
    if made is None or made.returncode:
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca", tmp_path / "key")
    with proxy_before(s3_environment, context) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        bucket = Bucket.open(f"s3://{s3_environment.bucket}/tls-{uuid.uuid4().hex}")
        with pytest.raises(UsageError, match="AWS_CA_BUNDLE"):
            bucket.check()
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca"))
        bucket.put("a", b"content")
        assert bucket.get("a") == b"content"
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "absent"))
        with pytest.raises(UsageError, match="AWS_CA_BUNDLE"):
            bucket.check()


def test_urls() -> None:
    bucket = Bucket.open("s3://name/a/b/")
    assert (bucket.name, bucket.prefix, bucket.url) == ("name", "a/b/", "s3://name/a/b")
    assert bucket.child("c", "d") == Bucket.open("s3://name/a/b/c/d")
    assert Bucket.open("s3://name").url == "s3://name"
    assert bucket.child() == bucket
    assert is_url("s3://x") and not is_url("/data/s3://x") and not is_url(Path("s3:"))
    for wrong in ("s3:///x", "s3://", "http://x/y"):
        with pytest.raises(UsageError):
            Bucket.open(wrong)


def test_many_threads_wait_for_a_server_that_starts_anew(bucket_url: str, s3_proxy: Proxy) -> None:
    """The retries of boto3 share a quota: 32 threads that met a server which was away used it up in 0.2 s."""
    bucket = Bucket.open(bucket_url)
    bucket.put("a", b"content")
    back_s = time.monotonic() + 4
    s3_proxy.faults.append(Fault(lambda r: time.monotonic() < back_s, 10**6, 503, "ServiceUnavailable"))
    assert list(in_order(lambda n: bucket.get("a"), range(64), threads=32)) == [b"content"] * 64
    assert time.monotonic() >= back_s

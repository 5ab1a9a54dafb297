"""A bucket on a real S3 server."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpipeline.store.bucket import Bucket


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

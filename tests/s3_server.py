"""A real S3 server for tests: SeaweedFS in one process, on free ports, in a folder of its own."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BUCKET = "rt-test"
START_TIMEOUT_S = 60
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class S3Server:
    """Where a server listens, and how to sign to it."""

    endpoint: str
    bucket: str
    environment: dict[str, str]
    """AWS_* variables of its identity"""


def weed_program() -> Path | None:
    """SeaweedFS' program beside this Python or on the path; None where it is not installed."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    return Path(found) if found else None


@contextlib.contextmanager
def running_weed(program: Path) -> Iterator[S3Server]:
    """A server with one identity and one bucket; it and its files are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="rt-s3-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        for _ in range(3):  # a port can be taken between asking and listening
            key, secret = "rt" + secrets.token_hex(8), secrets.token_hex(16)
            process, port = _start(program, folder, key, secret)
            server = S3Server(f"http://127.0.0.1:{port}", BUCKET, _environment(f"http://127.0.0.1:{port}", key, secret))
            if _await(process, server):
                break
            _stop(process)
        else:
            raise RuntimeError(f"weed did not start: {(folder / 'log').read_text()[-2000:]}")
        yield server
    finally:
        if process is not None:
            _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _environment(endpoint: str, key: str, secret: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def _start(program: Path, folder: Path, key: str, secret: str) -> tuple[subprocess.Popen[bytes], int]:
    identity = {"name": "rt", "credentials": [{"accessKey": key, "secretKey": secret}]}
    identity["actions"] = ["Admin", "Read", "List", "Tagging", "Write"]
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    data = Path(tempfile.mkdtemp(dir=folder))
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    *ports, s3_port, s3_grpc = _free_ports(len(names) + 2)
    listen = [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(program), "-logtostderr=true", "server", f"-dir={data}", "-ip=127.0.0.1", *listen),
                *("-s3", f"-s3.port={s3_port}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={folder / 's3.json'}"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={data / 's3.sock'}"),
                *(f"-filer.localSocket={data / 'filer.sock'}", "-master.telemetry=false", "-metricsPort=0"),
                *("-master.volumeSizeLimitMB=256", "-volume.max=20", "-master.electionTimeout=1s"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "GOMAXPROCS": "2"},
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    return process, s3_port


def _die_with_parent() -> None:
    """So that tests that are killed leave no server behind (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _await(process: subprocess.Popen[bytes], server: S3Server) -> bool:
    """Whether the server takes a bucket and an object: its parts come up one after the other."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=server.environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=10),
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server.bucket not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=server.bucket)
            client.put_object(Bucket=server.bucket, Key="ready", Body=b"x" * 4096)
            if client.get_object(Bucket=server.bucket, Key="ready")["Body"].read() == b"x" * 4096:
                return True
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    # nothing has to be kept, and an orderly end takes 20 s
    process.kill()
    process.wait()

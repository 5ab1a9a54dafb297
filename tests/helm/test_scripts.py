"""The programs that the chart's pods run: the fetch of weights, and the checks of `helm test`."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from rtpipeline.segmentation.catalogue import Network
from rtpipeline.segmentation.weights import SUMS, weights_of
from rtpipeline.store.bucket import Bucket
from tests.helm.documented_values import CHART
from tests.s3_server import S3Server


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CHART / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


class Site(ThreadingHTTPServer):
    """A web site with these files, which counts what it is asked for."""

    files: dict[str, bytes]
    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.asked.append(name)
        content = self.server.files.get(name)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        # a connection that breaks: less comes than was announced
        self.wfile.write((content or b"")[: 10 if name.startswith("broken") else None])

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serving(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site(("127.0.0.1", 0), _Handler)
    server.files, server.asked = {}, []
    yield from serving(server)  # type: ignore[misc]


Fetch = Callable[..., int]


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    """Runs the fetch into tmp_path/weights."""
    program = script("fetch_weights")

    def run(files: list[dict[str, str]] | None = None, mirror: dict[str, str] | None = None) -> int:
        plan = tmp_path / "fetch.json"
        nowhere = {"url": "", "sha256": "", "into": "nets"}
        plan.write_text(json.dumps({"files": files or [], "mirror": nowhere | (mirror or {})}))
        code: int = program.main(str(plan), str(tmp_path / "weights"))
        return code

    return run


NETWORK = {"Dataset001_a/T__P__3d/plans.json": b"{}", "Dataset001_a/T__P__3d/fold_0/checkpoint_final.pth": b"weights"}
PLANS = "Dataset001_a/T__P__3d/plans.json"


def test_an_archive_is_checked_unpacked_and_listed(site: Site, fetch: Fetch, tmp_path: Path) -> None:
    content = archive(NETWORK)
    site.files["Dataset001_a.zip"] = content
    assert fetch([{"url": f"{site.url}/Dataset001_a.zip", "sha256": sha(content)}]) == 0
    root = tmp_path / "weights" / "totalsegmentator"
    for name, expected in NETWORK.items():
        assert (root / name).read_bytes() == expected
        assert (root / name).stat().st_mode & 0o777 == 0o644
    listed = sorted(f"{sha(expected)}  {name}" for name, expected in NETWORK.items())
    assert sorted((root / "SHA256SUMS").read_text().splitlines()) == listed


def test_what_is_there_is_not_fetched_again_and_what_is_damaged_is(site: Site, fetch: Fetch, tmp_path: Path) -> None:
    zipped, single = archive(NETWORK), b"a licence"
    site.files = {"Dataset001_a.zip": zipped, "LICENCE": single}
    files = [
        {"url": f"{site.url}/Dataset001_a.zip", "sha256": sha(zipped)},
        {"url": f"{site.url}/LICENCE", "sha256": sha(single), "into": "licences"},
    ]
    assert fetch(files) == 0 and site.asked == ["Dataset001_a.zip", "LICENCE"]
    assert fetch(files) == 0 and len(site.asked) == 2
    networks = tmp_path / "weights" / "totalsegmentator"
    (networks / PLANS).write_bytes(b"cut")
    (tmp_path / "weights" / "licences" / "LICENCE").unlink()
    assert fetch(files) == 0 and site.asked[2:] == ["Dataset001_a.zip", "LICENCE"]
    assert (networks / PLANS).read_bytes() == b"{}"
    assert (tmp_path / "weights" / "licences" / "LICENCE").read_bytes() == single


def test_a_file_of_another_content_leaves_nothing(
    site: Site, fetch: Fetch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files["Dataset001_a.zip"] = archive(NETWORK)
    assert fetch([{"url": f"{site.url}/Dataset001_a.zip", "sha256": "0" * 64}]) == 3
    assert [path for path in (tmp_path / "weights").rglob("*") if not path.is_dir()] == []
    said = capsys.readouterr().out
    assert sha(site.files["Dataset001_a.zip"]) in said and "0" * 64 in said


@pytest.mark.parametrize("name", ["absent.zip", "broken.zip"])
def test_what_may_pass_is_tried_again_by_the_job(site: Site, fetch: Fetch, tmp_path: Path, name: str) -> None:
    """A file that comes cut has another sha256, too; it must not end the Job as one that differs does."""
    site.files["broken.zip"] = archive(NETWORK)
    assert fetch([{"url": f"{site.url}/{name}", "sha256": sha(site.files["broken.zip"])}]) == 75
    assert [path for path in (tmp_path / "weights").rglob("*") if not path.is_dir()] == []


def test_nothing_is_written_outside_the_folder(site: Site, fetch: Fetch, tmp_path: Path) -> None:
    """An archive, a path and a list that point elsewhere are refused before a byte of them is written."""
    content = archive({"good.json": b"{}", "../evil.json": b"{}"})
    site.files = {"a.zip": content, "b": b"b"}
    assert fetch([{"url": f"{site.url}/a.zip", "sha256": sha(content)}]) == 2
    assert fetch([{"url": f"{site.url}/b", "sha256": sha(b"b"), "into": "../out"}]) == 2
    assert [path for path in (tmp_path / "weights").rglob("*") if not path.is_dir()] == []
    assert not (tmp_path / "evil.json").exists()


def test_a_folder_of_a_bucket_is_copied_as_its_list_says(bucket_url: str, fetch: Fetch, tmp_path: Path) -> None:
    bucket = Bucket.open(f"{bucket_url}/nets")
    sums = "".join(f"{sha(content)}  {name}\n" for name, content in NETWORK.items()).encode()
    for name, content in {**NETWORK, "SHA256SUMS": sums, "not/listed": b"x"}.items():
        bucket.put(name, content)
    assert fetch(mirror={"url": f"{bucket_url}/nets", "sha256": sha(sums)}) == 0
    root = tmp_path / "weights" / "nets"
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == {*NETWORK, "SHA256SUMS"}
    bucket.put(PLANS, b"other")
    (root / PLANS).unlink()
    assert fetch(mirror={"url": f"{bucket_url}/nets", "sha256": sha(sums)}) == 3
    assert fetch(mirror={"url": f"{bucket_url}/nets", "sha256": "0" * 64}) == 3
    assert fetch(mirror={"url": f"{bucket_url}/none", "sha256": sha(sums)}) == 2


def test_the_list_it_leaves_is_the_one_that_stages_check(
    site: Site, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other content than it says counts as damaged there."""
    content = archive(NETWORK)
    site.files["a.zip"] = content
    assert fetch([{"url": f"{site.url}/a.zip", "sha256": sha(content)}]) == 0
    root = tmp_path / "weights" / "totalsegmentator"
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(root))
    (root / PLANS).write_bytes(b"[]")
    network = Network(1, "Dataset001_a", "T__P__3d", folds=(0,))
    [damaged] = [fault for fault in weights_of([network], demo=False).damaged if "plans.json" in fault]
    assert SUMS in damaged


def test_the_bucket_checks_write_read_and_leave_nothing(
    bucket_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = script("check_bucket_read"), script("check_bucket_write")
    assert write.main(bucket_url) == 0 and read.main(bucket_url) == 0
    assert list(Bucket.open(bucket_url).list()) == []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert write.main(bucket_url) == 1 and read.main(bucket_url) == 1
    assert capsys.readouterr().out.count("WRONG") == 2


def test_a_bucket_that_is_not_there_is_said(s3_environment: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("check_bucket_read").main("s3://rt-no-such-bucket/x") == 1
    assert "rt-no-such-bucket" in capsys.readouterr().out


class ApiServer(ThreadingHTTPServer):
    """Answers as a Kubernetes API that allows these (verb, resource), and remembers what it was asked."""

    allowed: ClassVar[set[tuple[str, str]]] = {("POST", "workflowtaskresults"), ("PATCH", "workflowtaskresults")}
    asked: list[tuple[str, str, str]]


class _ApiHandler(BaseHTTPRequestHandler):
    server: ApiServer

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        path, _, query = self.path.partition("?")
        resource = next(part for part in path.split("/") if part in ("workflowtaskresults", "secrets", "pods"))
        self.server.asked.append((self.command, self.path, self.headers["Authorization"]))
        if (self.command, resource) not in self.server.allowed:
            status = 403
        elif self.command == "PATCH":
            status = 404
        else:
            status = 201 if query == "dryRun=All" else 200
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ApiServer]]:
    """The check, against a server that speaks plain HTTP where the real one speaks TLS."""
    module = script("check_account")
    server = ApiServer(("127.0.0.1", 0), _ApiHandler)
    server.asked = []
    (tmp_path / "token").write_text("TOKEN")
    monkeypatch.setattr(module, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_address[1]))
    monkeypatch.setattr(module.ssl, "create_default_context", lambda cafile: None)
    request = module.urllib.request.Request
    monkeypatch.setattr(
        module.urllib.request, "Request", lambda url, **more: request(url.replace("https://", "http://"), **more)
    )
    for _ in serving(server):
        yield module, server


def test_the_pods_account_is_tried_without_leaving_a_trace(account: tuple[ModuleType, ApiServer]) -> None:
    module, server = account
    assert module.main("radiotherapy") == 0
    assert {token for _, _, token in server.asked} == {"Bearer TOKEN"}
    for verb, path, _ in server.asked:
        assert verb != "POST" or path.endswith("?dryRun=All"), path
        assert "/namespaces/radiotherapy/" in path


@pytest.mark.parametrize(
    "allowed",
    [
        {("PATCH", "workflowtaskresults")},
        {("POST", "workflowtaskresults")},
        {*ApiServer.allowed, ("GET", "secrets")},
        {*ApiServer.allowed, ("POST", "pods")},
    ],
    ids=["no create", "no patch", "reads secrets", "makes pods"],
)
def test_too_few_and_too_many_rights_are_seen(
    account: tuple[ModuleType, ApiServer],
    allowed: set[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, server = account
    monkeypatch.setattr(ApiServer, "allowed", allowed)
    assert module.main("radiotherapy") == 1
    assert capsys.readouterr().out.count("WRONG") == 1 and server.asked

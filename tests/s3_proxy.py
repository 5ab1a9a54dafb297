"""A proxy before an S3 server that fails as networks and servers do, and counts what goes over it."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.s3_server import S3Server

ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>made up</Message></Error>'


@dataclass
class Request:
    """One request that came."""

    method: str
    path: str
    query: str
    body_bytes: int
    sent_bytes: int = 0
    """of the answer's body"""


@dataclass
class Fault:
    """What goes wrong with the next `times` requests that match."""

    matches: Callable[[Request], bool]
    times: int
    status: int = 0
    """answered instead of asking the server"""
    code: str = ""
    cut_after: int | None = None
    """bytes of the answer's body after which the connection ends; the length stated is that of the whole"""


@dataclass
class Proxy:
    """The proxy's address, what it is to spoil, and what it has seen."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, method: str, times: int, status: int, code: str) -> None:
        """The next requests of a method get an error."""
        self.faults.append(Fault(lambda request: request.method == method, times, status, code))

    def cut(self, after: int, times: int) -> None:
        """The bodies of the next GET answers of objects end early."""
        self.faults.append(Fault(lambda r: r.method == "GET" and "list-type" not in r.query, times, cut_after=after))

    def fault_of(self, request: Request) -> Fault | None:
        """What is to go wrong with a request; it is used up by it."""
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times and fault.matches(request):
                    fault.times -= 1
                    return fault
        return None

    def count(self, method: str) -> int:
        """Requests of a method so far."""
        return sum(request.method == method for request in self.requests)

    def fetched(self) -> int:
        """Bytes of objects that were answered so far."""
        return sum(r.sent_bytes for r in self.requests if r.method == "GET" and "list-type" not in r.query)


@contextlib.contextmanager
def proxy_before(server: S3Server, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy on a free port for as long as the block lasts. It keeps the Host that was signed."""
    host = urlsplit(server.endpoint)
    proxy = Proxy("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_ANY(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, url.path, url.query, len(body))
            fault = proxy.fault_of(request)
            if fault is not None and fault.status:
                self._answer(request, fault.status, {}, ERROR.format(code=fault.code).encode(), None)
                return
            upstream = http.client.HTTPConnection(host.hostname or "", host.port, timeout=60)
            try:
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        upstream.putheader(name, value)
                upstream.endheaders(body)
                answer = upstream.getresponse()
                headers = {k: v for k, v in answer.getheaders() if k.lower() not in ("connection", "transfer-encoding")}
                self._answer(request, answer.status, headers, answer.read(), fault.cut_after if fault else None)
            finally:
                upstream.close()

        def _answer(
            self, request: Request, status: int, headers: dict[str, str], body: bytes, cut_after: int | None
        ) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if not any(name.lower() == "content-length" for name in headers):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            part = body if cut_after is None else body[:cut_after]
            request.sent_bytes = len(part)
            if self.command != "HEAD":
                self.wfile.write(part)
            if cut_after is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    for method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.do_ANY)

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    if tls is not None:
        listening.socket = tls.wrap_socket(listening.socket, server_side=True)
    proxy.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listening.shutdown()
        listening.server_close()

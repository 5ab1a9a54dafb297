"""A small HTTP server that answers as the Kubernetes API server does, for one namespace with Argo's objects in it.

It keeps what is created, pages lists, selects by label, refuses as RBAC, quotas and validation refuse (with the very
bodies of Kubernetes 1.34), and plays the workflow controller by a function that is asked for a status at every look.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

NAMESPACE = "rt"
USER = "system:serviceaccount:rt:somebody"
Object = dict[str, Any]
ARGO = "/apis/argoproj.io/v1alpha1"


@dataclass(frozen=True)
class Answer:
    """What is answered."""

    status: int
    body: Any
    content_type: str = "application/json"


def failure(code: int, reason: str, message: str, **details: str) -> Answer:
    """A `Status` object."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return Answer(code, body | {"reason": reason, "details": details, "code": code})


def rbac(verb: str, resource: str, group: str = "argoproj.io") -> Answer:
    """As RBAC refuses."""
    message = (
        f'{resource}.{group} is forbidden: User "{USER}" cannot {verb} resource "{resource}" in API group "{group}" '
        f'in the namespace "{NAMESPACE}"'
    )
    return failure(403, "Forbidden", message, group=group, kind=resource)


NOT_FOUND_PATH = Answer(404, "404 page not found\n", "text/plain; charset=utf-8")


@dataclass
class Cluster:
    """What the server knows, and what it has been asked."""

    workflows: dict[str, Object] = field(default_factory=dict)
    templates: dict[str, Object] = field(default_factory=dict)
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    """(plural, name) of secrets, configmaps, serviceaccounts, persistentvolumeclaims"""
    pods: list[Object] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)
    documents: dict[str, Any] = field(default_factory=dict)
    """by path, as openapi and deployments are"""
    refusals: list[tuple[str, str, Answer]] = field(default_factory=list)
    """(verb, pattern of the path, answer)"""
    controller: Callable[[Object], Object | None] | None = None
    """status of a workflow whenever it is looked at"""
    asked: list[tuple[str, str]] = field(default_factory=list)
    created: list[Object] = field(default_factory=list)
    page: int = 1000
    down: int = 0
    """requests that are answered by nothing but a closed connection"""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def refuse(self, verb: str, path: str, answer: Answer) -> None:
        """Answer so from now on."""
        self.refusals.append((verb, path, answer))

    def put(self, plural: str, name: str, **more: Any) -> None:
        """Have an object of the core API."""
        self.objects[plural, name] = {"metadata": {"name": name}} | more

    def answer(self, verb: str, path: str, query: dict[str, list[str]], body: Any, accept: str) -> Answer:
        """What the API server says."""
        for refused, pattern, answer in self.refusals:
            if refused in (verb, "*") and re.search(pattern, path):
                return answer
        if path in self.documents:
            return Answer(200, self.documents[path])
        parts = path.strip("/").split("/")
        if path.startswith(f"{ARGO}/namespaces/"):
            return self._argo(verb, parts[5:], query, body)
        if path.startswith("/api/v1/namespaces/"):
            return self._core(parts[4:], query, accept)
        return NOT_FOUND_PATH

    def _argo(self, verb: str, parts: list[str], query: dict[str, list[str]], body: Any) -> Answer:
        kept = {"workflows": self.workflows, "workflowtemplates": self.templates}.get(parts[0])
        if kept is None:
            return NOT_FOUND_PATH
        if verb == "POST":
            name = body["metadata"]["name"]
            if name in kept:
                return failure(409, "AlreadyExists", f'{parts[0]}.argoproj.io "{name}" already exists', name=name)
            kept[name] = body
            self.created.append(body)
            return Answer(201, body)
        if len(parts) == 2:
            found = kept.get(parts[1])
            message = f'{parts[0]}.argoproj.io "{parts[1]}" not found'
            details = {"name": parts[1], "group": "argoproj.io", "kind": parts[0]}
            return Answer(200, self._seen(found)) if found else failure(404, "NotFound", message, **details)
        return self._list([self._seen(w) for _, w in sorted(kept.items())], query)

    def _core(self, named: list[str], query: dict[str, list[str]], accept: str) -> Answer:
        plural = named[0]
        if plural == "pods":
            return Answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self.pods})
        if plural == "events":
            pod = query["fieldSelector"][0].partition("involvedObject.name=")[2].partition(",")[0]
            items = [e for e in self.events if e["involvedObject"]["name"] == pod]
            return Answer(200, {"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": items})
        found = self.objects.get((plural, named[1]))
        if found is None:
            message = f'{plural} "{named[1]}" not found'
            return failure(404, "NotFound", message, name=named[1], kind=plural)
        if "PartialObjectMetadata" in accept:
            return Answer(200, {"kind": "PartialObjectMetadata", "metadata": found["metadata"]})
        return Answer(200, found)

    def _seen(self, workflow: Object) -> Object:
        if self.controller is not None and workflow.get("kind") == "Workflow":
            status = self.controller(workflow)
            if status is not None:
                workflow["status"] = status
                if status.get("phase") in ("Succeeded", "Failed", "Error"):
                    workflow["metadata"]["labels"]["workflows.argoproj.io/completed"] = "true"
        return workflow

    def _list(self, items: list[Object], query: dict[str, list[str]]) -> Answer:
        for term in filter(None, query.get("labelSelector", [""])[0].split(",")):
            name, negated, value = re.match(r"([^!=]+)(!?)=(.*)", term).groups()  # type: ignore[union-attr]
            items = [i for i in items if (i["metadata"].get("labels", {}).get(name) == value) != bool(negated)]
        start = int(query.get("continue", ["0"])[0])
        size = min(self.page, int(query.get("limit", ["1000"])[0]))
        more = {"continue": str(start + size)} if start + size < len(items) else {}
        return Answer(200, {"kind": "List", "metadata": more, "items": items[start : start + size]})


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 20  # header and body in one packet: otherwise each answer waits 40 ms for an acknowledgement

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._answer("GET", None)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self._answer("POST", json.loads(self.rfile.read(length)))

    def _answer(self, verb: str, body: Any) -> None:
        cluster, parts = self.cluster, urlsplit(self.path)
        with cluster.lock:
            cluster.asked.append((verb, parts.path))
            if cluster.down > 0:
                cluster.down -= 1
                self.close_connection = True
                return
            found = cluster.answer(verb, parts.path, parse_qs(parts.query), body, self.headers.get("Accept", ""))
        content = found.body if isinstance(found.body, str) else json.dumps(found.body)
        raw = content.encode()
        self.send_response(found.status)
        self.send_header("Content-Type", found.content_type)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


class ApiServer:
    """The server, running until it is closed."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        handler = type("Handler", (_Handler,), {"cluster": self.cluster})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening: connections are refused from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def write_kubeconfig(path: Path, url: str, namespace: str | None = NAMESPACE) -> None:
    """A kubeconfig for a server."""
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": context}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))

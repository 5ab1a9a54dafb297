"""Every way in which a cluster can say no has its own words, with what to do about it."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from rtpipeline.errors import ExitCode, RTpipelineError, UsageError
from tests.workflows.api_server import ARGO, NOT_FOUND_PATH, USER, Answer, Cluster, failure, rbac, write_kubeconfig
from workflows import kube
from workflows.messages import AlreadyExistsError, UnreachableError


def workflow(name: str, **labels: str) -> kube.Object:
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": name, "labels": labels}}


def test_what_is_created_is_there_with_its_status(api: Cluster, client: kube.Cluster):
    client.create_workflow(workflow("w1"))
    api.controller = lambda w: {"phase": "Running"}
    found = client.workflow("w1")
    assert found is not None
    assert found["status"]["phase"] == "Running"
    assert client.workflow("w2") is None


def test_the_same_name_twice_is_told_apart_from_other_conflicts(api: Cluster, client: kube.Cluster):
    client.create_workflow(workflow("w1"))
    with pytest.raises(AlreadyExistsError):
        client.create_workflow(workflow("w1"))


def test_lists_are_read_to_their_last_page_and_by_label(api: Cluster, client: kube.Cluster):
    for number in range(7):
        client.create_workflow(workflow(f"w{number}", run="a" if number % 2 else "b"))
    api.page = 2
    assert [w["metadata"]["name"] for w in client.workflows("run=b")] == ["w0", "w2", "w4", "w6"]
    assert len([1 for verb, _ in api.asked if verb == "GET"]) == 2


def message(client: kube.Cluster) -> str:
    with pytest.raises(UsageError) as caught:
        client.create_workflow(workflow("w1"))
    assert caught.value.exit_code == ExitCode.USAGE
    return str(caught.value)


def test_without_a_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"no Kubernetes cluster is configured.*KUBECONFIG"):
        kube.connect()


def test_a_kubeconfig_without_a_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "empty").write_text("apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="no Kubernetes cluster is configured"):
        kube.connect()


def test_connection_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    write_kubeconfig(tmp_path / "k", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "k"))
    with pytest.raises(UnreachableError, match=rf"127.0.0.1:{port} does not answer \(connection refused\)") as caught:
        kube.connect().workflow("w")
    assert caught.value.exit_code == ExitCode.USAGE


def test_no_such_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_kubeconfig(tmp_path / "k", "http://cluster.invalid:6443")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "k"))
    with pytest.raises(UnreachableError, match="no such host"):
        kube.connect().workflow("w")


def test_a_server_that_takes_the_connection_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        write_kubeconfig(tmp_path / "k", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "k"))
        monkeypatch.setattr(kube, "TIMEOUTS_S", (0.5, 0.5))
        with pytest.raises(UnreachableError, match="timed out"):
            kube.connect().workflow("w")


def test_a_certificate_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    write_kubeconfig(tmp_path / "k", f"https://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "k"))
    try:
        with pytest.raises(UsageError, match=r"certificate of the Kubernetes API at .* is not trusted"):
            kube.connect().workflow("w")
    finally:
        server.shutdown()
        server.server_close()


def test_missing_rights_name_the_verb_and_the_resource(api: Cluster, client: kube.Cluster):
    api.refuse("POST", "workflows", rbac("create", "workflows"))
    said = message(client)
    assert f"{USER} is not allowed to create workflows in namespace rt (RBAC)" in said
    assert "--role=rtpipeline-submitter --serviceaccount=rt:somebody" in said
    assert "kubectl auth can-i create workflows -n rt" in said


def test_a_quota_is_not_taken_for_missing_rights(api: Cluster, client: kube.Cluster):
    text = (
        'workflows.argoproj.io "w1" is forbidden: exceeded quota: q, requested: count/workflows=1, used: 5, limited: 5'
    )
    api.refuse("POST", "workflows", failure(403, "Forbidden", text))
    assert "the cluster refuses to create workflows" in (said := message(client))
    assert "exceeded quota" in said
    assert "RBAC" not in said


def test_credentials_that_have_run_out(api: Cluster, client: kube.Cluster):
    api.refuse("POST", "workflows", failure(401, "Unauthorized", "Unauthorized"))
    assert "does not accept these credentials (401)" in message(client)


def test_a_cluster_without_argo(api: Cluster, client: kube.Cluster):
    api.refuse("*", ARGO, NOT_FOUND_PATH)
    assert "Argo Workflows is not installed" in message(client)
    with pytest.raises(UsageError, match="Argo Workflows is not installed"):
        client.template("rtpipeline-cohort")


def test_a_namespace_that_does_not_exist(api: Cluster, client: kube.Cluster):
    answer = failure(404, "NotFound", 'namespaces "rt" not found', name="rt", kind="namespaces")
    api.refuse("POST", "workflows", answer)
    assert "the cluster has no namespace rt" in message(client)


def test_an_object_that_etcd_does_not_take(api: Cluster, client: kube.Cluster):
    api.refuse("POST", "workflows", failure(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"))
    assert "larger than etcd takes" in message(client)


def test_an_object_that_the_schema_refuses(api: Cluster, client: kube.Cluster):
    text = 'Workflow in version "v1alpha1" cannot be handled: strict decoding error: unknown field "spec.entrypont"'
    api.refuse("POST", "workflows", failure(400, "BadRequest", text))
    assert "spec.entrypont" in message(client)


@pytest.mark.parametrize("code", [429, 500, 503, 504])
def test_a_server_in_trouble_is_worth_another_question(api: Cluster, client: kube.Cluster, code: int):
    api.refuse("POST", "workflows", failure(code, "InternalError", "etcdserver: leader changed"))
    with pytest.raises(UnreachableError, match="leader changed"):
        client.create_workflow(workflow("w1"))


def test_an_answer_that_is_no_json(api: Cluster, client: kube.Cluster):
    api.refuse("POST", "workflows", Answer(502, "<html>bad gateway</html>", "text/html"))
    with pytest.raises(UnreachableError, match="502"):
        client.create_workflow(workflow("w1"))


def test_a_secret_is_asked_for_without_its_content(api: Cluster, client: kube.Cluster):
    api.put("secrets", "rtpipeline-s3", data={"secretKey": "c2VjcmV0"})
    assert client.has("secret", "rtpipeline-s3") is True
    assert client.has("secret", "other") is False
    path = "/api/v1/namespaces/rt/secrets/rtpipeline-s3"
    seen = client._metadata(path)
    assert "c2VjcmV0" not in json.dumps(seen)


def test_what_may_not_be_asked_is_neither_there_nor_missing(api: Cluster, client: kube.Cluster):
    api.refuse("GET", "secrets", rbac("get", "secrets", ""))
    assert client.has("secret", "rtpipeline-s3") is None


def test_no_error_shows_a_traceback_of_the_client(api: Cluster, client: kube.Cluster):
    api.down = 1
    with pytest.raises(RTpipelineError) as caught:
        client.workflow("w1")
    assert caught.value.__suppress_context__

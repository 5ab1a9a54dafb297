"""The Kubernetes API as this package uses it: a handful of calls, and for each way they can fail a message."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rtpipeline.errors import RTpipelineError
from workflows import messages

GROUP, API_VERSION = "argoproj.io", "v1alpha1"
TIMEOUTS_S = (5.0, 60.0)
"""To connect, and between two bytes of an answer."""

PAGE = 100
"""Objects of one list request: a workflow may have a megabyte."""

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
RETRIED_STATUS = frozenset({408, 410, 429, 500, 502, 503, 504})
_FORBIDDEN = re.compile(r'User "(?P<who>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"')
CORE_KINDS = {
    "secret": "secrets",
    "configmap": "configmaps",
    "serviceaccount": "serviceaccounts",
    "persistentvolumeclaim": "persistentvolumeclaims",
}

Object = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """What is asked of the API, for messages."""

    verb: str
    resource: str
    name: str = ""


class Cluster:
    """One namespace of a cluster."""

    def __init__(self, client: Any, namespace: str) -> None:
        from kubernetes.client import CoreV1Api, CustomObjectsApi

        self.namespace = namespace
        self._client = client
        self._argo = CustomObjectsApi(client)
        self._core = CoreV1Api(client)

    @property
    def host(self) -> str:
        """Address of the API server."""
        return str(self._client.configuration.host)

    def create_workflow(self, body: Object) -> Object:
        """Create a Workflow.

        Raises
        ------
        AlreadyExistsError: there is one of this name.
        """
        call = Call("create", "workflows", body["metadata"]["name"])
        return self._do(
            call,
            lambda: self._argo.create_namespaced_custom_object(
                *self._at("workflows"), body, field_validation="Strict", _request_timeout=TIMEOUTS_S
            ),
        )

    def workflow(self, name: str) -> Object | None:
        """A Workflow with its status; None when there is none of this name."""
        return self._get("workflows", name)

    def template(self, name: str) -> Object | None:
        """A WorkflowTemplate; None when there is none of this name."""
        return self._get("workflowtemplates", name)

    def workflows(self, selector: str) -> list[Object]:
        """The Workflows with these labels, page by page, with their status."""
        return list(self._pages("workflows", selector))

    def pods(self, selector: str, limit: int) -> list[Any]:
        """Some pods with these labels."""
        call = Call("list", "pods")
        found = self._do(
            call,
            lambda: self._core.list_namespaced_pod(
                self.namespace, label_selector=selector, limit=limit, _request_timeout=TIMEOUTS_S
            ),
        )
        return list(found.items)

    def warnings(self, pod: str) -> list[str]:
        """What the cluster has to say about a pod that does not start; nothing when we may not ask."""
        selector = f"involvedObject.name={pod},type=Warning"
        call = Call("list", "events")
        try:
            found = self._do(
                call,
                lambda: self._core.list_namespaced_event(
                    self.namespace, field_selector=selector, limit=20, _request_timeout=TIMEOUTS_S
                ),
            )
        except messages.UnreachableError:
            raise
        except RTpipelineError:
            return []
        return [event.message or "" for event in found.items]

    def has(self, kind: str, name: str) -> bool | None:
        """Whether a secret, configmap, serviceaccount or persistentvolumeclaim exists; None when we may not ask.

        Only its metadata is asked for: the content of a secret never comes here.
        """
        path = f"/api/v1/namespaces/{self.namespace}/{CORE_KINDS[kind]}/{name}"
        call = Call("get", CORE_KINDS[kind], name)
        try:
            self._do(call, lambda: self._metadata(path))
        except messages.MissingError:
            return False
        except messages.UnreachableError:
            raise
        except RTpipelineError:
            return None
        return True

    def configmap(self, name: str) -> dict[str, str] | None:
        """The entries of a ConfigMap; None when it is not there or we may not ask."""
        call = Call("get", "configmaps", name)
        try:
            found = self._do(
                call,
                lambda: self._core.read_namespaced_config_map(name, self.namespace, _request_timeout=TIMEOUTS_S),
            )
        except messages.UnreachableError:
            raise
        except RTpipelineError:
            return None
        return dict(found.data or {})

    def raw(self, path: str) -> Any:
        """A document of the API by its path; None when it is not there or we may not ask."""
        try:
            return self._do(Call("get", path), lambda: self._plain(path, "application/json"))
        except messages.UnreachableError:
            raise
        except RTpipelineError:
            return None

    def _at(self, plural: str) -> tuple[str, str, str, str]:
        return GROUP, API_VERSION, self.namespace, plural

    def _get(self, plural: str, name: str) -> Object | None:
        call = Call("get", plural, name)
        try:
            return self._do(
                call,
                lambda: self._argo.get_namespaced_custom_object(*self._at(plural), name, _request_timeout=TIMEOUTS_S),
            )
        except messages.MissingError:
            return None

    def _pages(self, plural: str, selector: str) -> Iterator[Object]:
        onward: dict[str, Any] = {"label_selector": selector, "limit": PAGE, "_request_timeout": TIMEOUTS_S}
        while True:
            ask = partial(self._argo.list_namespaced_custom_object, *self._at(plural), **onward)
            page = self._do(Call("list", plural), ask)
            yield from page["items"]
            if not (token := page["metadata"].get("continue")):
                return
            onward["_continue"] = token

    def _metadata(self, path: str) -> Any:
        return self._plain(path, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")

    def _plain(self, path: str, accept: str) -> Any:
        request = self._client.param_serialize(
            "GET", path, header_params={"Accept": accept}, auth_settings=["BearerToken"]
        )
        answer = self._client.call_api(*request, _request_timeout=TIMEOUTS_S)
        answer.read()
        return self._client.response_deserialize(answer, {"2XX": "object"}).data

    def _do(self, call: Call, ask: Callable[[], Any]) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return ask()
        except ApiException as error:
            raise translate(error, call, self.host, self.namespace) from None
        except (HTTPError, OSError) as error:
            raise _no_answer(self.host, error) from None


def connect(namespace: str | None = None) -> Cluster:
    """The cluster that the environment names: a pod's own account, else the kubeconfig.

    Raises
    ------
    UsageError: there is none.
    """
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    settings = client.Configuration()
    try:
        if ACCOUNT.is_dir() and "KUBECONFIG" not in os.environ:
            config.load_incluster_config(client_configuration=settings)
            default = (ACCOUNT / "namespace").read_text().strip()
        else:
            file = os.environ.get("KUBECONFIG")  # given, since the client reads the variable once, when imported
            config.load_kube_config(config_file=file, client_configuration=settings)
            context = config.list_kube_config_contexts(config_file=file)[1]
            default = context["context"].get("namespace") or "default"
    except (ConfigException, OSError, TypeError, KeyError) as error:
        raise messages.no_configuration(str(error) or type(error).__name__) from None
    settings.retries = False  # a cluster that is not there is said at once; waiting has retries of its own
    return Cluster(client.ApiClient(settings), namespace or default)


def _no_answer(host: str, error: Exception) -> RTpipelineError:
    cause: BaseException = getattr(error, "reason", None) or error
    if not isinstance(cause, BaseException):
        cause = error
    text = str(cause)
    if isinstance(cause, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return messages.untrusted(host, "certificate verify failed" if "VERIFY" in text else text)
    if "refused" in text:
        return messages.unreachable(host, "connection refused")
    if "timed out" in text or isinstance(cause, TimeoutError):
        return messages.unreachable(host, "timed out")
    if isinstance(cause, socket.gaierror) or "resolve" in text or "Name or service" in text:
        return messages.unreachable(host, "no such host")
    return messages.unreachable(host, type(cause).__name__)


def translate(error: Any, call: Call, host: str, namespace: str) -> RTpipelineError:
    """What an answer of the API server other than 2xx means.

    Parameters
    ----------
    error: the client's ApiException: `status`, `body`.
    """
    status, body = int(error.status or 0), _status_body(error.body)
    text = str(body.get("message", "")) or str(error.reason or "")
    if status == 0:  # the client turns errors of TLS into this
        return messages.untrusted(host, text.splitlines()[-1] if text else "TLS failed")
    if status == 401:
        return messages.not_authenticated(host)
    if status == 403:
        return _forbidden(text, call, namespace)
    if status == 404:
        return _missing(body, text, call, host, namespace)
    if status == 409 and body.get("reason") == "AlreadyExists":
        return messages.AlreadyExistsError(text)
    if status == 413 or "request is too large" in text or "Request entity too large" in text:
        return messages.too_large(f"{call.resource} {call.name}".strip(), namespace)
    if status in RETRIED_STATUS:
        return messages.unreachable(host, f"{status} {text or 'server error'}")
    return messages.refused(call.verb, f"{call.resource} {call.name}".strip(), namespace, text or str(status))


def _status_body(body: Any) -> Object:
    """The `Status` object in an answer; empty when it holds none."""
    try:
        found = json.loads(body)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _forbidden(text: str, call: Call, namespace: str) -> RTpipelineError:
    said = _FORBIDDEN.search(text)
    if said is None and "exceeded quota" in text:
        return messages.refused(call.verb, call.resource, namespace, text)
    if said is None:
        if "cannot" not in text and text and "orbidden" not in text:
            return messages.refused(call.verb, call.resource, namespace, text)
        return messages.forbidden(call.verb, call.resource, namespace, "")
    return messages.forbidden(said["verb"], said["resource"], namespace, said["who"])


def _missing(body: Object, text: str, call: Call, host: str, namespace: str) -> RTpipelineError:
    """Not there: the object, its namespace, or the whole API group."""
    if not body:  # the server answers plain text for a path of no API
        return messages.no_argo(host)
    if body.get("details", {}).get("kind") == "namespaces":
        return messages.no_namespace(namespace)
    return messages.MissingError(text or f"{call.resource} {call.name} is not there.")

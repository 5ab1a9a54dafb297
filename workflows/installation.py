"""What the chart has installed in a namespace, and whether everything that pods will ask for is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from rtpipeline import __version__
from rtpipeline.errors import UsageError
from workflows import messages
from workflows.argo_version import argo_version, check_version
from workflows.kube import Cluster
from workflows.names import (
    AGGREGATE,
    ANNOTATION_CPU_IMAGE,
    ANNOTATION_GPU_IMAGE,
    ANNOTATION_VERSION,
    ANNOTATION_WEIGHTS,
    COHORT,
    COURSES,
)

TEMPLATES = (COHORT, COURSES, AGGREGATE)


@dataclass(frozen=True)
class Reference:
    """An object of the namespace that a pod template names."""

    kind: str
    """secret, configmap, serviceaccount or persistentvolumeclaim"""
    name: str


@dataclass(frozen=True)
class Installation:
    """The templates as they are installed."""

    templates: Mapping[str, Mapping[str, Any]]
    warning: str = ""

    @property
    def cpu_image(self) -> str:
        """As the templates' annotation says."""
        return self._annotation(ANNOTATION_CPU_IMAGE)

    @property
    def gpu_image(self) -> str:
        """As the templates' annotation says."""
        return self._annotation(ANNOTATION_GPU_IMAGE)

    @property
    def weights(self) -> str:
        """Name of the weights."""
        return self._annotation(ANNOTATION_WEIGHTS)

    @property
    def store(self) -> str:
        """The store that the templates carry; '' without."""
        return argument_default(self.templates[COHORT], "store")

    def _annotation(self, name: str) -> str:
        return str((self.templates[COURSES]["metadata"].get("annotations") or {}).get(name, ""))


def installation(cluster: Cluster) -> Installation:
    """The installed templates, all of this client's version, on an Argo that will do.

    Raises
    ------
    UsageError: one is missing or of another version; Argo is not there or too old.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for name in TEMPLATES:
        template = cluster.template(name)
        if template is None:
            raise messages.template_missing(name, cluster.namespace)
        version = (template["metadata"].get("annotations") or {}).get(ANNOTATION_VERSION, "")
        if version != __version__:
            raise messages.version_differs(name, cluster.namespace, version, __version__)
        found[name] = template
    return Installation(found, check_version(argo_version(cluster)))


def argument_default(template: Mapping[str, Any], name: str) -> str:
    """Default of an argument of a template; '' without."""
    parameters = (template["spec"].get("arguments") or {}).get("parameters") or []
    return next((str(p.get("value") or "") for p in parameters if p["name"] == name), "")


def check_objects(cluster: Cluster, installed: Installation, bucket: str) -> None:
    """Every secret, ConfigMap, account and claim that pods need, as far as we may ask for it.

    Raises
    ------
    UsageError: one is missing, so that pods would wait without end; or pods would write to another bucket.
    """
    needed: dict[Reference, str] = {}
    for name, template in installed.templates.items():
        for reference in references(template["spec"]):
            needed.setdefault(reference, f"WorkflowTemplate {name}")
    for reference, used_by in list(needed.items()):
        if cluster.has(reference.kind, reference.name) is False:
            raise messages.object_missing(reference.kind, reference.name, cluster.namespace, used_by)
    for place in sorted({place for t in installed.templates.values() if (place := repository_of(t))}):
        _check_repository(cluster, *place, bucket)


def repository_of(template: Mapping[str, Any]) -> tuple[str, str] | None:
    """ConfigMap and entry of the artifact repository of a template."""
    named = template["spec"].get("artifactRepositoryRef")
    return (named["configMap"], named["key"]) if named else None


def _check_repository(cluster: Cluster, configmap: str, entry: str, bucket: str) -> None:
    content = cluster.configmap(configmap)
    if content is None:
        return
    s3 = (yaml.safe_load(content.get(entry, "")) or {}).get("s3")
    if s3 is None:
        raise UsageError(
            f"ConfigMap {configmap} in namespace {cluster.namespace} has no entry {entry} for S3. It comes with the "
            f"chart: {messages.INSTALL} {cluster.namespace}"
        )
    if s3.get("bucket") != bucket:
        raise UsageError(
            f"the pods of namespace {cluster.namespace} write to bucket {s3.get('bucket')}, the store is in bucket "
            f"{bucket}. Give the --store that the chart was installed with."
        )
    for selector in ("accessKeySecret", "secretKeySecret", "caSecret"):
        name = (s3.get(selector) or {}).get("name")
        if name and cluster.has("secret", name) is False:
            raise messages.object_missing("secret", name, cluster.namespace, f"ConfigMap {configmap}")


def references(part: Any) -> Iterator[Reference]:
    """The objects that a part of a template names and that have to be there for its pods to start."""
    if isinstance(part, list):
        for entry in part:
            yield from references(entry)
    elif isinstance(part, Mapping):
        for key, value in part.items():
            found = _reference(key, value)
            if found is not None:
                yield found
            else:
                yield from references(value)


def _reference(key: str, value: Any) -> Reference | None:
    if key == "serviceAccountName" and isinstance(value, str) and "{{" not in value:
        return Reference("serviceaccount", value)
    if not isinstance(value, Mapping) or value.get("optional"):
        return None
    kinds = {
        "secretKeyRef": ("secret", "name"),
        "secretRef": ("secret", "name"),
        "secret": ("secret", "secretName"),
        "configMapKeyRef": ("configmap", "name"),
        "configMapRef": ("configmap", "name"),
        "configMap": ("configmap", "name"),
        "artifactRepositoryRef": ("configmap", "configMap"),
        "persistentVolumeClaim": ("persistentvolumeclaim", "claimName"),
    }
    kind, field = kinds.get(key, ("", ""))
    name = value.get(field) if field else None
    return Reference(kind, name) if isinstance(name, str) and name and "{{" not in name else None

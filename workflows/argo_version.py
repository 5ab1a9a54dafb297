"""Which Argo the cluster runs, as far as somebody may know who can only submit.

The Workflow API carries no version. In this order: the controller's image, where we may list deployments; the image
of the executor in pods of the namespace; the schema of the API, which tells 3, 4.0 and 4.1 apart where it is whole.
"""

from __future__ import annotations

import re
from typing import Any

from workflows import messages
from workflows.kube import API_VERSION, GROUP, Cluster

Version = tuple[int, ...]

LEAST: Version = (4, 0)
FIXED: dict[Version, Version] = {(4, 0): (4, 0, 10), (4, 1): (4, 1, 2)}
"""First version of each line without the faults of semaphores."""

DEPLOYMENTS = (
    "/apis/apps/v1/deployments?fieldSelector=metadata.name%3Dworkflow-controller",
    "/apis/apps/v1/deployments?labelSelector=app.kubernetes.io%2Fcomponent%3Dworkflow-controller",
)
"""As Argo's manifests and as its Helm chart call the controller, in any namespace."""

OWN_PODS = "workflows.argoproj.io/workflow"
_IMAGE = re.compile(r"(?:workflow-controller|argoexec)(?:-nonroot)?:v?(\d+(?:\.\d+)+)")


def argo_version(cluster: Cluster) -> Version | None:
    """The version, shorter than three parts where only its line is known; None when it cannot be learnt."""
    return _of_controller(cluster) or _of_executor(cluster) or _of_schema(cluster)


def check_version(version: Version | None) -> str:
    """'' when it will do, else a warning.

    Raises
    ------
    UsageError: it is too old.
    """
    if version is None:
        return ""
    text = ".".join(map(str, version))
    if version[: len(LEAST)] < LEAST:
        raise messages.argo_too_old(text)
    fixed = FIXED.get(version[:2])
    return messages.argo_with_faults(text) if fixed and len(version) > 2 and version < fixed else ""


def version_of_image(image: str) -> Version | None:
    """The version in the tag of an image of Argo."""
    found = _IMAGE.search(image)
    return tuple(map(int, found[1].split("."))) if found else None


def _of_controller(cluster: Cluster) -> Version | None:
    for path in DEPLOYMENTS:
        for deployment in (cluster.raw(path) or {}).get("items", []):
            for container in deployment["spec"]["template"]["spec"]["containers"]:
                if version := version_of_image(container.get("image", "")):
                    return version
    return None


def _of_executor(cluster: Cluster) -> Version | None:
    for pod in cluster.pods(OWN_PODS, limit=1):
        for container in [*(pod.spec.init_containers or []), *pod.spec.containers]:
            if version := version_of_image(container.image or ""):
                return version
    return None


def _of_schema(cluster: Cluster) -> Version | None:
    """3, (4, 0) or (4, 1) by the fields that the API knows; None where it takes any field."""
    document = cluster.raw(f"/openapi/v3/apis/{GROUP}/{API_VERSION}") or {}
    spec: Any = document.get("components", {}).get("schemas", {}).get("io.argoproj.v1alpha1.Workflow", {})
    for name in ("properties", "spec", "properties"):
        spec = spec.get(name, {})
    locks = spec.get("synchronization", {}).get("properties", {})
    if not locks:
        return None
    if "semaphore" in locks or "mutex" in locks:
        return (3,)
    steps = spec.get("templates", {}).get("items", {}).get("properties", {})
    return (4, 1) if "pendingTimeout" in steps else (4, 0)

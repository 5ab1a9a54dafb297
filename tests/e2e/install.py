"""A namespace as a hospital's administrator makes it: pod security, secrets, weights, and the chart."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import yaml

from rtpipeline.stages import STAGES
from tests.e2e.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "rtpipeline"
WEIGHTS = ROOT / "rtpipeline" / "demo" / "weights" / "totalsegmentator"
WEIGHTS_CLASS = "rt-e2e-static"
CLAIM = "rtpipeline-weights"
CPU, CPU_LIMIT = 0.3, 2
"""Requested, and allowed: the machines of these tests have two cores, and neither changes a number."""

MEMORY_MIB = [1024, 2048, 4096]
NETWORK_MEMORY_MIB = [4096, 6144, 8192]


def make_namespace(settings: Settings, name: str, secret_text: str) -> None:
    """The namespace, with what the chart takes by reference."""
    from kubernetes import client

    core = client.CoreV1Api()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    core.create_namespace({"metadata": {"name": name, "labels": labels}})
    for secret, values in {
        "rtpipeline-s3": {"accessKey": settings.key, "secretKey": settings.secret},
        "rtpipeline-s3-read": {"accessKey": settings.read_key, "secretKey": settings.read_secret},
        "rtpipeline-pseudonyms": {"secret": secret_text},
    }.items():
        core.create_namespaced_secret(name, {"metadata": {"name": secret}, "stringData": values})
    if settings.weights:
        _make_claim(core, settings.weights, name)


def _make_claim(core: Any, folder: str, name: str) -> None:
    """A claim on a folder that every node has."""
    size = {"accessModes": ["ReadWriteMany"], "storageClassName": WEIGHTS_CLASS}
    volume = {
        **size,
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": folder, "type": "Directory"},
        "claimRef": {"namespace": name, "name": CLAIM},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    core.create_persistent_volume({"metadata": {"name": volume_name(name)}, "spec": volume})
    claim = {**size, "volumeName": volume_name(name), "resources": {"requests": {"storage": "1Gi"}}}
    core.create_namespaced_persistent_volume_claim(name, {"metadata": {"name": CLAIM}, "spec": claim})


def volume_name(namespace: str) -> str:
    """Volumes belong to no namespace: theirs is in the name."""
    return f"{namespace}-weights"


def remove_namespace(name: str) -> None:
    """Remove the namespace and its volume; what is gone already is fine."""
    from kubernetes import client

    core = client.CoreV1Api()
    with contextlib.suppress(client.ApiException):
        core.delete_namespace(name)
    with contextlib.suppress(client.ApiException):
        core.delete_persistent_volume(volume_name(name))


def values(settings: Settings, prefix: str) -> dict[str, Any]:
    """Values of the chart for this cluster: small pods, networks on the CPU."""
    stages = {name: {"cpu": CPU, "cpuLimit": CPU_LIMIT, "memoryMiB": MEMORY_MIB} for name in STAGES}
    for name, stage in STAGES.items():
        if stage.image == "gpu":
            stages[name] |= {"memoryMiB": NETWORK_MEMORY_MIB, "shmMiB": 256}
    mirror = {"url": f"s3://{settings.bucket}/{weights_prefix(prefix)}", "sha256": sha256(weights_sums())}
    fetched = {
        "kind": "existingClaim",
        "existingClaim": {"name": CLAIM},
        "fetch": {"enabled": True, "cpu": CPU, "mirror": mirror},
    }
    return {
        "images": {
            "registry": settings.image_registry,
            "cpu": {"tag": settings.image_tag},
            "gpu": {"tag": settings.image_tag},
        },
        "argo": {"executor": {"cpu": "10m", "memory": "64Mi"}},
        "s3": {"endpoint": settings.endpoint, "bucket": settings.bucket, "prefix": prefix, "region": settings.region},
        "weights": fetched if settings.weights else {"kind": "none"},
        "semaphores": {"segWorkers": 1, "customSegWorkers": 1},
        "stages": stages,
    }


def weights_prefix(prefix: str) -> str:
    """Where the networks lie in the bucket: beside the store."""
    return f"{prefix.rpartition('/')[0]}/weights"


def weights_sums() -> bytes:
    """The SHA256SUMS of the demo's networks, as a hospital that mirrors weights writes it."""
    files = sorted(path for path in WEIGHTS.rglob("*") if path.is_file())
    lines = [f"{sha256(path.read_bytes())}  {path.relative_to(WEIGHTS).as_posix()}\n" for path in files]
    return "".join(lines).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put_weights(s3: Any, bucket: str, prefix: str) -> None:
    """Put the demo's networks into the bucket."""
    below = weights_prefix(prefix)
    for path in sorted(path for path in WEIGHTS.rglob("*") if path.is_file()):
        s3.upload_file(str(path), bucket, f"{below}/{path.relative_to(WEIGHTS).as_posix()}")
    s3.put_object(Bucket=bucket, Key=f"{below}/SHA256SUMS", Body=weights_sums())


def install_chart(namespace: str, chosen: dict[str, Any], folder: Path) -> None:
    """`helm install`, or `helm upgrade` where it is installed."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(chosen))
    helm(
        "upgrade",
        "--install",
        "rtpipeline",
        CHART,
        "--namespace",
        namespace,
        "--values",
        path,
        "--wait",
        "--wait-for-jobs",
    )


def helm(*arguments: object) -> str:
    """What helm printed."""
    done = subprocess.run(["helm", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

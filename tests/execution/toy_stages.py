"""A stage table with the names of the real one and stages of a few lines, to test the runner alone.

An export is one folder a course: `image.txt` and `plan.txt`. What a stage does stands in `behaviour.json` of the folder
`TOY_HOME`: for `course/stage` a list of actions, one for each attempt (after the last one it works). Each attempt
leaves two lines in `trace.jsonl` there, at its start and at its end.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtpipeline.contracts.findings import finding
from rtpipeline.contracts.manifests import CohortManifest, Course, ImageRef, Patient, StageRecord
from rtpipeline.errors import DataError, TransientError
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.stages import STAGES, Resources, Retry, Stage

HERE = "toy_stages"
SMALL = Resources(cpu=1, threads=1, memory_mib=(600, 1200, 2400), timeout_s=60)
QUICK = Retry(limit=3, backoff_s=0.05, factor=2.0)


def _stage(name: str, digest: Any, scope: Any = "course", resources: Resources = SMALL, **fields: Any) -> Stage:
    return Stage(name, scope, digest, f"{HERE}:{name}", 1, resources, retry=QUICK, **fields)


TOY = (
    _stage("organize", "listing", scope="cohort", config=("course_gap_days", "organize"), reader=True),
    _stage("prepare_images", "image", config=("images",), reader=True),
    _stage("prepare_rt", "course", reader=True),
    _stage(
        "segmentation",
        "image",
        needs=("prepare_images",),
        pool="seg_workers",
        config=("segmentation",),
        resources=replace(SMALL, gpu=1),
    ),
    _stage("structures", "course", needs=("prepare_images", "prepare_rt"), uses=("segmentation",)),
    _stage("dvh", "course", needs=("prepare_rt", "structures"), config=("dvh",)),
    _stage(
        "radiomics",
        "course",
        needs=("prepare_images", "structures"),
        config=("radiomics",),
        libraries=("numpy",),
        resources=Resources(cpu=4, threads=1, memory_mib=(600, 1200), timeout_s=60),
    ),
    _stage("qc", "course", uses=("prepare_images", "prepare_rt", "segmentation", "structures", "dvh", "radiomics")),
    _stage("aggregation", "run", scope="cohort", uses=("dvh", "radiomics", "qc"), reader=True),
)


def install() -> None:
    """Put the toy table in place of the real one, in this process."""
    from rtpipeline.execution import server

    STAGES.clear()
    STAGES.update({stage.name: stage for stage in TOY})
    server.HEAVY_MODULES = {"cpu": ("pandas", "pyarrow.parquet"), "gpu": ("pandas", "pyarrow.parquet")}
    server.WARM_MODULES = {"cpu": (), "gpu": ()}


def trace(context: StageContext, what: str) -> None:
    """One line about an attempt, for the test to read."""
    line = {
        "task": f"{context.course_id or ''}/{context.stage}",
        "what": what,
        "at": time.monotonic(),
        "pid": os.getpid(),
        "workers": context.workers,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "group": os.getpgid(0),
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }
    with _home("trace.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _home(name: str) -> Path:
    return Path(os.environ["TOY_HOME"]) / name


def act(context: StageContext) -> StageOutcome:
    """What this attempt is asked to do."""
    trace(context, "start")
    task = f"{context.course_id or ''}/{context.stage}"
    behaviour = json.loads(_home("behaviour.json").read_text())
    wanted = behaviour.get(task, behaviour.get(f"*/{context.stage}", []))
    events = [json.loads(line) for line in _home("trace.jsonl").read_text().splitlines()]
    before = sum(e["task"] == task and e["what"] == "start" for e in events) - 1
    outcome = _perform(wanted[before]) if before < len(wanted) else StageOutcome()
    trace(context, "end")
    return outcome


def _perform(action: str) -> StageOutcome:
    verb, _, value = action.partition(":")
    if verb == "kill":
        os.kill(os.getpid(), int(value or signal.SIGKILL))
    elif verb == "sleep":
        time.sleep(float(value))
    elif verb == "memory":
        raise MemoryError
    elif verb == "transient":
        raise TransientError("the store throttles")
    elif verb == "fault":
        raise ValueError("Doe^John is no number")
    elif verb == "data":
        raise DataError("contours without points", [finding("RES_DATA", "rs-01", "0 points")])
    elif verb == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(float(value))
    elif verb == "grandchild":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
        with _home("grandchildren").open("a") as file:
            file.write(f"{child.pid}\n")
        time.sleep(float(value))
    elif verb == "kill_parent":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(30)
    elif verb == "exit":
        os._exit(int(value))
    elif verb in ("partial", "not_applicable", "not_run", "data_error"):
        return StageOutcome(status=verb, reason="as asked")  # type: ignore[arg-type]
    return StageOutcome(reason=verb)


def digest_of(*texts: str) -> str:
    """12 hex of texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def organize(context: StageContext) -> StageOutcome:
    """One course for each folder of the sources."""
    outcome = act(context)
    courses = []
    for folder in sorted(p for source in context.sources for p in source.iterdir() if p.is_dir()):
        image, plan = (folder / "image.txt").read_text(), (folder / "plan.txt").read_text()
        patient = "p" + folder.name
        picture = ImageRef(
            image_id="ct-01",
            object_hash="0",
            modality="CT",
            image_class="ct",
            role="planning",
            prepare=True,
            instances=len(image),
            frame_hash=None,
            day=0,
            link="study",
        )
        courses.append(
            Course(
                course_id=f"{patient}-c01",
                patient_id=patient,
                course_order=1,
                course_kind="planned",
                image_digest=digest_of(image),
                course_digest=digest_of(image, plan),
                images=[picture],
            )
        )
    patients = [
        Patient(patient_id=c.patient_id, courses=[c.course_id], objects=2, kind="planned", status="ok") for c in courses
    ]
    CohortManifest(cohort=context.cohort, patients=patients, courses=courses, counts={}).save(context.out)
    return outcome


def _compute(context: StageContext) -> StageOutcome:
    """A result that depends on the inputs and on nothing else."""
    outcome = act(context)
    if outcome.status in ("done", "partial"):
        texts = [context.stage, context.course_id or ""]
        for name, folder in sorted(context.inputs.items()):
            result = folder / "result.txt"
            texts += [name, result.read_text() if name != "organize" and result.is_file() else ""]
        course = context.course()
        texts.append(course.image_digest if STAGES[context.stage].digest == "image" else course.course_digest)
        texts += [str(context.config.dvh.coverage_limit_pct) if context.stage == "dvh" else ""]
        (context.out / "result.txt").write_text(digest_of(*texts))
    return outcome


prepare_images = prepare_rt = segmentation = structures = dvh = radiomics = qc = _compute


def aggregation(context: StageContext) -> StageOutcome:
    """One line for each course-stage of the plan."""
    outcome = act(context)
    assert context.store is not None
    plan = json.loads((context.store / "runs" / context.run_id / "plan.json").read_text())
    lines = []
    for course in plan["courses"]:
        for name, entry in course["stages"].items():
            record = StageRecord.load(context.store / entry["folder"])
            lines.append(f"{course['course_id']} {name} {entry['status']} {record.output_digest if record else '-'}")
    (context.out / "table.txt").write_text("\n".join(lines) + "\n")
    return outcome

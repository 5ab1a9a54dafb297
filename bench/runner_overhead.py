"""What the local runner costs: start of a warm server, one course-stage, a run with nothing to do, `rtpipeline --help`.

python bench/runner_overhead.py [--json]
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rtpipeline.config import parse_config
from rtpipeline.contracts.manifests import CohortManifest, Course, Patient
from rtpipeline.execution import cohort_run
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.execution.display import LineDisplay
from rtpipeline.execution.ledger import read_ledger
from rtpipeline.execution.servers import Servers
from rtpipeline.stages import STAGES, Resources, Stage

HERE = Path(__file__).parent
COURSES = 20
COURSE_STAGES = ("prepare_images", "prepare_rt", "structures", "dvh", "qc")
SMALL = Resources(cpu=1, threads=1, memory_mib=(512,), timeout_s=60)


def install() -> None:
    """Put the table in place of the real one; the modules of the real stages are imported all the same."""
    entries = [s.entry for s in STAGES.values() if s.entry is not None and s.image == "cpu"]
    table = [Stage("organize", "cohort", "listing", "runner_overhead:organize", 1, SMALL, reader=True)]
    for name in COURSE_STAGES:
        needs = () if name.startswith("prepare") else ("prepare_images", "prepare_rt")
        table.append(Stage(name, "course", "course", "runner_overhead:nothing", 1, SMALL, needs=needs))
    table.append(Stage("aggregation", "cohort", "run", "runner_overhead:nothing", 1, SMALL))
    # never run, only imported: what a real server has loaded is part of the cost of a fork
    table += [Stage(f"unused{i}", "cohort", "run", entry, 1, SMALL) for i, entry in enumerate(entries)]
    STAGES.clear()
    STAGES.update({stage.name: stage for stage in table})


def organize(context: StageContext) -> StageOutcome:
    """Courses without objects."""
    courses = []
    patients = []
    for number in range(COURSES):
        patient, course = f"p{number:010d}", f"p{number:010d}-c01"
        patients.append(Patient(patient_id=patient, courses=[course], objects=0, kind="other", status="ok"))
        courses.append(
            Course(
                course_id=course,
                patient_id=patient,
                course_order=1,
                course_kind="other",
                image_digest=f"{number:012d}",
                course_digest=f"{number:012d}",
            )
        )
    CohortManifest(cohort=context.cohort, patients=patients, courses=courses, counts={}).save(context.out)
    return StageOutcome()


def nothing(context: StageContext) -> StageOutcome:
    """Ends at once."""
    return StageOutcome()


def measure(folder: Path) -> dict[str, float]:
    """Seconds of each part."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    install()
    cohort_run.Servers = functools.partial(Servers, setup="runner_overhead:install")  # type: ignore[misc,assignment]
    (folder / "export").mkdir()
    options = cohort_run.RunOptions(
        inputs=(folder / "export",), store=folder / "store", cohort="bench", config=parse_config({"workers": 1})
    )
    found: dict[str, float] = {}
    for name in ("first", "again"):
        before = time.perf_counter()
        summary = cohort_run.run_cohort(options, LineDisplay(io.StringIO()))
        found[f"run_{name}_s"] = time.perf_counter() - before
        assert summary.exit_code == 0, summary.text()
        events = list(read_ledger(folder / "store" / "bench" / "runs" / summary.run_id / "ledger.jsonl"))
        found[f"server_start_{name}_s"] = next(e["wall_s"] for e in events if e["event"] == "server_started")
        walls = [e["wall_s"] for e in events if e["event"] == "ended" and e.get("course")]
        if walls:
            found["course_stages"] = len(walls)
            found["course_stage_median_s"] = statistics.median(walls)
            found["course_stage_largest_s"] = max(walls)
    found["help_s"] = min(help_seconds() for _ in range(5))
    return {name: round(value, 3) for name, value in found.items()}


def help_seconds() -> float:
    """Wall time of `rtpipeline --help`."""
    before = time.perf_counter()
    subprocess.run([sys.executable, "-m", "rtpipeline", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    print(json.dumps(found, indent=1) if args.json else "\n".join(f"{n:24} {v}" for n, v in found.items()))


if __name__ == "__main__":
    main()

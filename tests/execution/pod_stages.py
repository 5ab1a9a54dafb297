"""A stage that does what a test says, and packed outputs of the stages before it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rtpipeline.config import Config, parse_config
from rtpipeline.contracts.findings import finding
from rtpipeline.contracts.manifests import CohortManifest, Course, Patient, StageRecord, Upstream
from rtpipeline.errors import DataError, TransientError
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.execution.settings import all_settings
from rtpipeline.stages import STAGES
from rtpipeline.store.keys import output_digest
from rtpipeline.store.packing import pack

COURSE = "p0123456789-c01"
IMAGE, WHOLE = "a" * 12, "b" * 12
SETTINGS = {"segmentation": {"enabled": False}, "custom_models": {"enabled": False}}
PERSON = "Xquandt^Zolthan"
"""Stands in the texts of exceptions: no log may repeat it."""


def config() -> Config:
    return parse_config(SETTINGS)


def manifest(status: str = "ok") -> CohortManifest:
    course = Course(
        course_id=COURSE,
        patient_id="p0123456789",
        course_order=1,
        course_kind="planned",
        image_digest=IMAGE,
        course_digest=WHOLE,
        status=status,
    )
    patient = Patient(patient_id="p0123456789", courses=[COURSE], objects=1, kind="planned", status="ok")
    return CohortManifest(cohort="toy", patients=[patient], courses=[course], counts={})


def key_of(stage: str) -> str:
    digest = IMAGE if STAGES[stage].digest == "image" else WHOLE
    return f"{digest}-{all_settings(config())[stage]}"


@dataclass
class Bench:
    """A pod's folder, and the packed outputs that are put into it."""

    folder: Path

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def out(self) -> Path:
        return self.work / "out"

    def organize(self) -> None:
        folder = self.folder / "outputs" / "organize"
        folder.mkdir(parents=True)
        manifest().save(folder)
        self._give("organize", "organize", folder, "done", {})

    def give(
        self, stage: str, *, to: str = "", status: str = "done", content: str = "1", upstream: dict | None = None
    ) -> None:
        """Put the output of a stage into `in/`; made from what was given before, unless `upstream` says otherwise."""
        folder = self.folder / "outputs" / f"{stage}-{content}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "numbers.parquet").write_text(content)
        (folder / "voxels.bin").write_text(content)
        self._give(stage, to or stage, folder, status, upstream or {})

    def _give(self, stage: str, to: str, folder: Path, status: str, upstream: dict[str, Upstream]) -> None:
        states = {name: upstream.get(name, self.state(name)) for name in STAGES[stage].upstream}
        record = StageRecord(
            stage=stage,
            stage_version=STAGES[stage].version,
            stage_key="x-" + "c" * 12 if stage == "organize" else key_of(stage),
            cohort="toy",
            course_id=None if stage == "organize" else COURSE,
            status=status,
            output_digest=output_digest(folder),
            upstream=states,
            config={},
            settings_digest=all_settings(config())[stage],
            versions={},
        )
        (folder / "stage.json").write_text(record.model_dump_json())
        target = self.work / "in" / to
        target.parent.mkdir(parents=True, exist_ok=True)
        pack(folder, target)

    def state(self, stage: str) -> Upstream:
        """How the output of a stage that was given stands."""
        path = self.work / "in" / stage / "stage.json"
        if not path.is_file():
            return Upstream(key=None, status="absent", output_digest=None)
        record = json.loads(path.read_text())
        return Upstream(key=record["stage_key"], status=record["status"], output_digest=record["output_digest"])

    def replace_part(self, stage: str, part: str) -> None:
        """As if only one of the objects had been replaced by another output."""
        whole = self.work / "in" / stage
        content = {p.name: p.read_bytes() for p in whole.iterdir()}
        self.give(stage, content="other")
        content[part] = (whole / part).read_bytes()
        for name, data in content.items():
            (whole / name).write_bytes(data)

    def record(self) -> StageRecord:
        """What the pod has left."""
        return StageRecord.model_validate_json((self.out / "stage.json").read_bytes())


def use(stage: str, behaviour: str) -> None:
    """Let a stage of the table do what one of the functions below does."""
    STAGES[stage] = replace(STAGES[stage], entry=f"tests.execution.pod_stages:{behaviour}")


def write(context: StageContext) -> None:
    (context.out / "numbers.parquet").write_text("computed")
    (context.out / "images").mkdir()
    (context.out / "images" / "voxels.bin").write_text("computed")


def works(context: StageContext) -> StageOutcome:
    write(context)
    return StageOutcome(counts={"workers": context.workers, "threads": context.threads})


def has_bad_data(context: StageContext) -> StageOutcome:
    write(context)
    raise DataError("nothing to use", [finding("SS_CONTOUR_DEGENERATE", "structure set 1", "1 point")])


def has_a_fault(context: StageContext) -> StageOutcome:
    write(context)
    raise ValueError(PERSON)


def meets_a_failing_server(context: StageContext) -> StageOutcome:
    write(context)
    raise TransientError("the server is away")


def runs_out_of_memory(context: StageContext) -> StageOutcome:
    write(context)
    raise MemoryError


def fills_the_disk(context: StageContext) -> StageOutcome:
    write(context)
    raise OSError(28, "No space left on device", f"/work/{PERSON}")


def waits(context: StageContext) -> StageOutcome:
    """Half of its output is written; it says so beside the pod's folder and goes on for ever."""
    write(context)
    (Path(os.environ["POD_BENCH"]) / "half").touch()
    time.sleep(600)
    return StageOutcome()


Behaviour = Callable[[StageContext], StageOutcome]

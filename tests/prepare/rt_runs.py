"""An export through organize and prepare_rt, and what came out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rtpipeline.config import Config
from rtpipeline.contracts.findings import Finding
from rtpipeline.contracts.manifests import CohortManifest, Course
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.geometry.grid import Grid
from rtpipeline.organize.stage import run as organize
from rtpipeline.prepare.rt import run as prepare_rt

SECRET = b"0123456789abcdef-secret-of-the-tests"


@dataclass
class Prepared:
    """One course after the stage."""

    course: Course
    out: Path
    outcome: StageOutcome
    findings: list[Finding] = field(default_factory=list)

    def json(self, name: str) -> Any:
        return json.loads((self.out / f"{name}.json").read_text())

    @property
    def doses(self) -> dict[str, dict[str, Any]]:
        return {d["dose_id"]: d for d in self.json("doses")}

    @property
    def codes(self) -> Counter[str]:
        return Counter(f.code for f in self.findings)

    def finding(self, code: str) -> Finding:
        (found,) = [f for f in self.findings if f.code == code]
        return found

    def volume(self, dose_id: str) -> tuple[Grid, np.ndarray, np.ndarray]:
        """Grid, dose in Gy, known."""
        folder = self.out / "doses" / dose_id
        grid = Grid.from_json(json.loads((folder / "geometry.json").read_text()))
        dose = np.load(folder / "dose.npy")
        known = folder / "known.npy"
        return grid, dose, np.load(known) if known.is_file() else np.ones(dose.shape, bool)


def run_stages(
    source: Path, work: Path, config: Config | None = None, between: Callable[[], None] = lambda: None
) -> list[Prepared]:
    """Every course of an export, through organize and prepare_rt; `between` runs after organize."""
    private, listed = work / "private", work / "organize"
    for folder in (private, listed):
        folder.mkdir(parents=True)
    (private / "secret").write_bytes(SECRET)
    common: dict[str, Any] = {
        "cohort": "t", "config": config or Config(), "sources": (source,), "private": private, "stage_key": "k",
    }  # fmt: skip
    organize(StageContext(stage="organize", out=listed, **common))
    between()
    prepared = []
    for course in CohortManifest.load(listed).courses:
        out = work / course.course_id
        out.mkdir()
        context = StageContext(
            stage="prepare_rt", out=out, inputs={"organize": listed}, course_id=course.course_id, **common
        )
        prepared.append(Prepared(course, out, prepare_rt(context), context.findings))
    return prepared

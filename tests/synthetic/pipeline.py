"""The stages of a small export one after the other in this process: what tests of faults look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rtpipeline.config import Config
from rtpipeline.contracts.findings import Finding
from rtpipeline.contracts.manifests import CohortManifest, Course, StageRecord
from rtpipeline.errors import ExitCode
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.stages import STAGES
from rtpipeline.store.identity import load_or_make_secret

COHORT = "test"
SPINE = ["prepare_images", "prepare_rt", "structures", "dvh"]
"""The stages of a course that need neither networks nor features: what nearly every fault is about."""


@dataclass
class Chain:
    """Folders, exit codes and findings of every stage of every course."""

    root: Path
    manifest: CohortManifest
    codes: dict[tuple[str, str], ExitCode] = field(default_factory=dict)
    """by (course_id, stage); organize under ('', 'organize')"""
    findings: list[Finding] = field(default_factory=list)

    def folder(self, course_id: str, stage: str) -> Path:
        """Output folder of a stage."""
        return self.root / "courses" / course_id / stage

    def record(self, course_id: str, stage: str) -> StageRecord:
        """`stage.json` of a stage."""
        record = StageRecord.load(self.folder(course_id, stage))
        assert record is not None
        return record

    @property
    def course(self) -> Course:
        """The only course."""
        (course,) = self.manifest.courses
        return course

    def found(self, code: str) -> list[Finding]:
        """Findings of a code."""
        return [f for f in self.findings if f.code == code]

    @property
    def finding_codes(self) -> set[str]:
        """Every code that was found."""
        return {f.code for f in self.findings}

    def table(self, stage: str, name: str, course_id: str | None = None) -> pd.DataFrame:
        """A stage's Parquet table; empty when the stage wrote none."""
        path = self.folder(course_id or self.course.course_id, stage) / f"{name}.parquet"
        return pd.read_parquet(path) if path.is_file() else pd.DataFrame()

    def rows(self, stage: str, name: str) -> list[dict[str, Any]]:
        """Rows of a table of the only course."""
        return [{str(k): v for k, v in row.items()} for row in self.table(stage, name).to_dict("records")]


def run_chain(source: Path, work: Path, config: Config | None = None, *, stages: list[str] | None = None) -> Chain:
    """Organize `source` and run course stages (SPINE by default) into `work`; each gets what the table says."""
    config = config or Config()
    private = work / "private"
    load_or_make_secret(private)
    organize = work / "organize"
    code = run_stage(StageRequest("organize", COHORT, organize, config, "key", sources=(source,), private=private))
    assert code is ExitCode.DONE
    chain = Chain(work, CohortManifest.load(organize))
    chain.codes["", "organize"] = code
    chain.findings += findings_of(organize)
    for course in chain.manifest.courses:
        ended: dict[str, Path] = {}
        for stage in SPINE if stages is None else stages:
            if any(chain.codes.get((course.course_id, need)) is not ExitCode.DONE for need in STAGES[stage].needs):
                continue  # as the runner does: omitted
            request = StageRequest(
                stage,
                COHORT,
                chain.folder(course.course_id, stage),
                config,
                "key",
                course_id=course.course_id,
                inputs={"organize": organize, **{n: ended[n] for n in STAGES[stage].upstream if n in ended}},
                sources=(source,),
                private=private,
            )
            chain.codes[course.course_id, stage] = run_stage(request)
            ended[stage] = request.out
            chain.findings += findings_of(request.out)
    return chain


def findings_of(folder: Path) -> list[Finding]:
    record = StageRecord.load(folder)
    assert record is not None
    assert not record.traceback, record.traceback
    return [Finding.from_row(row) for row in record.findings]


class StageRun:
    """What a run of one stage left."""

    def __init__(self, code: ExitCode, out: Path) -> None:
        record = StageRecord.load(out)
        assert record is not None and not record.traceback, record
        self.code, self.out, self.record = code, out, record
        self.findings = [Finding.from_row(row) for row in record.findings]

    @property
    def codes(self) -> list[str]:
        return [f.code for f in self.findings]

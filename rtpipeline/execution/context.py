"""What a stage is given and what it gives back. A stage cannot tell where it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rtpipeline.contracts.findings import Finding
from rtpipeline.contracts.manifests import CohortManifest, Course, StageStatus
from rtpipeline.errors import UsageError

if TYPE_CHECKING:
    from rtpipeline.config import Config
    from rtpipeline.dicom.sources import Source


@dataclass(frozen=True)
class StageContext:
    """The inputs of one stage of one course (or of the cohort), and the folder to write into."""

    stage: str
    cohort: str
    config: Config
    out: Path
    """empty folder; becomes the stage's output by a rename when the stage has ended well"""
    inputs: dict[str, Path] = field(default_factory=dict)
    """output folder of each upstream stage that has one; a soft dependency may be absent"""
    course_id: str | None = None
    threads: int = 1
    workers: int = 1
    """processes that the stage may use at once; never changes a number"""
    sources: tuple[Source, ...] = ()
    """readers only (organize, prepare_*): the export"""
    private: Path | None = None
    """readers only: the folder with secret, index and registry"""
    store: Path | None = None
    """aggregation only: the cohort's folder of the store"""
    run_id: str = ""
    stage_key: str = ""
    previous: Path | None = None
    """an earlier output under this very key and with the same inputs that ended `partial`: what succeeded there may be
    copied instead of computed again"""
    failed: dict[str, Path] = field(default_factory=dict)
    """folder of each upstream stage that ended in an error: its `stage.json` says why, the rest of it may be half"""
    findings: list[Finding] = field(default_factory=list)

    def report(self, *findings: Finding) -> None:
        """Record findings; they are written to the stage's `findings.parquet` and `stage.json`."""
        course = self.course_id
        patient = course.rsplit("-c", 1)[0] if course else None
        for finding in findings:
            if course and patient and finding.course_id is None:
                finding = finding.for_course(course, patient)
            self.findings.append(finding.from_stage(self.stage))

    def input(self, stage: str) -> Path:
        """The output folder of a stage this one needs.

        Raises
        ------
        UsageError: it was not given.
        """
        if stage not in self.inputs:
            raise UsageError(f"stage {self.stage} needs the output of {stage}; give --in {stage}=DIR.")
        return self.inputs[stage]

    def course(self) -> Course:
        """This course's entry in organize's manifest.

        Raises
        ------
        UsageError: no course was named, or organize does not list it.
        """
        if self.course_id is None:
            raise UsageError(f"stage {self.stage} works on one course; give --course ID.")
        manifest = CohortManifest.load(self.input("organize"))
        try:
            return manifest.course(self.course_id)
        except KeyError:
            raise UsageError(
                f"course {self.course_id} is not in courses.json of {self.input('organize')}; "
                f"it lists {len(manifest.courses)} courses."
            ) from None

    def secret(self) -> bytes:
        """The cohort's secret, for keyed hashes.

        Raises
        ------
        UsageError: this stage has no access to the private folder.
        """
        if self.private is None:
            raise UsageError(f"stage {self.stage} needs --private DIR.")
        return (self.private / "secret").read_bytes().strip()


@dataclass(frozen=True)
class StageOutcome:
    """How a stage ended; its numbers are in the folder."""

    status: StageStatus = "done"
    reason: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"

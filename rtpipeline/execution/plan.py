"""What a run consists of: the key and folder of every course-stage, and which of them would run and why."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtpipeline.config import Config
from rtpipeline.contracts.manifests import CohortManifest, Course, Upstream
from rtpipeline.errors import UsageError
from rtpipeline.execution.outputs import FAILED_STATUSES, Output, read_output, state_of
from rtpipeline.execution.reasons import Demands, Kind, Reason, explain_absence, why_it_runs
from rtpipeline.execution.settings import all_settings
from rtpipeline.stages import STAGES, Stage, dependants
from rtpipeline.store.folder import CohortFolder
from rtpipeline.store.keys import course_stage_key, digest, file_sha256, settings_digest, stage_key, stage_path

NOT_SELECTED = "not selected"
"""Reason of what a run was not asked for and has no current output of; its status is `missing`."""


@dataclass
class Item:
    """One stage of one course in a run."""

    course_id: str
    patient_id: str
    stage: Stage
    key: str
    folder: Path
    selected: bool = True
    """false: kept when it is done, never computed in this run"""
    earlier_failure: str = ""
    """how the last run ended it under the same key, when that left no output"""
    output: Output | None = None
    status: str | None = None
    """how it stands in this run; None until it has ended"""
    reason: str = ""
    finding: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Stage name."""
        return self.stage.name


@dataclass(frozen=True)
class Selection:
    """What the command line restricts a run to; empty for everything."""

    courses: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()

    def includes(self, course_id: str, stage: str) -> bool:
        """Whether the run computes this stage of this course."""
        return (not self.courses or course_id in self.courses) and (not self.stages or stage in self.stages)


@dataclass(frozen=True)
class Prediction:
    """A course-stage that would run, and why."""

    course_id: str
    stage: str
    reason: Reason


@dataclass
class CohortPlan:
    """Every course-stage of a cohort under today's keys, courses in the order in which they are worked on."""

    config: Config
    organize_key: str
    settings: dict[str, str]
    items: dict[tuple[str, str], Item]
    demands: Demands = field(default_factory=Demands)

    def course(self, course_id: str) -> dict[str, Item]:
        """The stages of one course."""
        return {s.name: self.items[course_id, s.name] for s in course_stages()}

    @property
    def course_ids(self) -> list[str]:
        """Courses, in the order of work."""
        return list(dict.fromkeys(course for course, _ in self.items))

    def upstream(self, item: Item) -> dict[str, Upstream]:
        """Today's outputs of the stages that an item waits for."""
        return {name: state_of(self.items[item.course_id, name].output) for name in item.stage.upstream}

    def why(self, item: Item) -> Reason | None:
        """Why an item runs whose upstream stages have all ended; None when its output is kept."""
        if item.output is None and item.name not in self.demands.forced:
            return explain_absence(item.stage, item.folder, self.config, item.earlier_failure)
        return why_it_runs(item.stage, item.output, self.upstream(item), self.demands)

    def missing_need(self, item: Item, running: Container[str] = ()) -> str:
        """Why a hard dependency cannot be used; '' when all can, taking it that those running end well."""
        for name in item.stage.needs:
            needed = self.items[item.course_id, name]
            if name in running:
                continue
            if needed.output is None or not needed.output.is_usable:
                return f"{name} {needed.status or 'missing'}"
        return ""

    def predict(self) -> list[Prediction]:
        """What would run now. A stage behind one that runs is still kept when that one's output turns out the same."""
        found: list[Prediction] = []
        for course_id in self.course_ids:
            running: list[str] = []
            for item in self.course(course_id).values():
                reason = self._predicted(item, running)
                if reason is not None:
                    running.append(item.name)
                    found.append(Prediction(course_id, item.name, reason))
        return found

    def _predicted(self, item: Item, running: Sequence[str]) -> Reason | None:
        if not item.selected:
            return None
        reason = self.why(item)
        waits = [name for name in item.stage.upstream if name in running]
        if reason is None and waits:
            return Reason(Kind.CHANGED_UPSTREAM, f"{', '.join(waits)} run again")
        return reason


def course_stages() -> list[Stage]:
    """The stages of a course, each after what it waits for."""
    return [stage for stage in STAGES.values() if stage.scope == "course"]


def organize_key(listing: str, config: Config, settings: str | None = None) -> str:
    """Key of organize: the listing, the content of the user's manifest, and whether contents are verified.

    Parameters
    ----------
    listing: digest over path, size and modification time (or ETag) of every object of the export.
    settings: settings digest of organize; None for that of this machine.
    """
    rows = file_sha256(config.manifest) if config.manifest is not None else ""
    inputs = digest({"listing": listing, "manifest": rows, "verify_content": config.organize.verify_content})
    return stage_key(inputs, settings or settings_digest("organize", config))


def forced_stages(names: Iterable[str], config: Config) -> frozenset[str]:
    """The stages that `--force` and the configuration's `force` keys invalidate, dependants included.

    Raises
    ------
    UsageError: a name is no stage.
    """
    wanted = set(names)
    for name in wanted:
        if name not in STAGES:
            raise UsageError(f"--force {name}: no stage is called so; stages are {', '.join(STAGES)}.")
    for name in ("segmentation", "custom_models"):
        if name in STAGES and getattr(config, name).force:
            wanted.add(name)
    if "organize" in wanted:
        return frozenset(STAGES)
    return frozenset(wanted.union(*(dependants(name) for name in wanted)))


def select(manifest: CohortManifest, courses: Sequence[str], only: Sequence[str]) -> Selection:
    """The selection of `--courses` and `--only`; `--only` brings the stages that the named ones need.

    Raises
    ------
    UsageError: a course or stage does not exist.
    """
    known = {course.course_id for course in manifest.courses}
    unknown = sorted(set(courses) - known)
    if unknown:
        raise UsageError(
            f"--courses names {', '.join(unknown)}, not among the {len(known)} courses of this cohort; "
            "see `rtpipeline status`."
        )
    names = {stage.name for stage in course_stages()}
    wrong = sorted(set(only) - names)
    if wrong:
        raise UsageError(f"--only names {', '.join(wrong)}; stages of a course are {', '.join(sorted(names))}.")
    wanted = set(only)
    for stage in reversed(course_stages()):
        if stage.name in wanted:
            wanted.update(stage.needs)
    return Selection(frozenset(courses), frozenset(wanted))


def work_of(course: Course) -> int:
    """A rough measure of a course's work: the slices to prepare and what is drawn and computed on them."""
    slices = sum(image.instances for image in course.images if image.prepare)
    rois = sum(structures.rois for structures in course.structure_sets)
    return slices + 5 * rois + 50 * len(course.doses)


def make_plan(
    manifest: CohortManifest,
    config: Config,
    folder: CohortFolder,
    key_of_organize: str,
    *,
    selection: Selection | None = None,
    demands: Demands | None = None,
    earlier: Mapping[tuple[str, str, str], str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> CohortPlan:
    """The plan of a cohort: largest courses first, so that no long one is left for the end.

    Parameters
    ----------
    earlier: failures of the last run that left no output, by course, stage and key.
    settings: digest of every stage; None for those of this machine.
    """
    selection, settings = selection or Selection(), dict(settings or all_settings(config))
    items: dict[tuple[str, str], Item] = {}
    for course in sorted(manifest.courses, key=lambda c: (-work_of(c), c.course_id)):
        for stage in course_stages():
            key = course_stage_key(stage.name, course, settings[stage.name])
            path = folder.store / stage_path(folder.cohort, stage.name, key, course.course_id)
            items[course.course_id, stage.name] = Item(
                course.course_id,
                course.patient_id,
                stage,
                key,
                path,
                selected=selection.includes(course.course_id, stage.name),
                earlier_failure=(earlier or {}).get((course.course_id, stage.name, key), ""),
                output=read_output(path),
            )
    return CohortPlan(config, key_of_organize, settings, items, demands or Demands())


def is_failed(item: Item) -> bool:
    """Whether the summary of a run lists the item as failed."""
    return item.status in FAILED_STATUSES


def is_left_out(status: str | None, reason: str | None) -> bool:
    """Whether a stage of a course has no output because the run was not asked for it."""
    return status == "missing" and reason == NOT_SELECTED

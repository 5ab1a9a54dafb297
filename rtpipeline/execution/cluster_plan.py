"""What the client and organize's pod both work out: the settings digests of a cluster's images, its plan, its items.

Where both have the same facts about images and weights they come to the same keys, so either may plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from rtpipeline.config import Config
from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.errors import TransientError
from rtpipeline.execution.outputs import Output
from rtpipeline.execution.plan import NOT_SELECTED, CohortPlan, Item, Selection, course_stages, make_plan
from rtpipeline.execution.reasons import Demands
from rtpipeline.execution.settings import settings_with, weights_in_use
from rtpipeline.stages import COURSE_STAGES, STAGES
from rtpipeline.store.folder import CohortFolder
from rtpipeline.store.keys import (
    config_slice,
    course_stage_key,
    digest,
    key,
    library_version,
    stage_key,
    stage_path,
)

RUNS, KEPT = "1", "0"

RESULT_FILES = "result_files"
"""In the `plan.json` of a run that has ended: how many files its results are."""

MOST_ITEMS = 150
"""Courses of one workflow: its status then takes 0.8 of the 1 MiB that etcd takes, the rest is for retries."""


@dataclass(frozen=True)
class Facts:
    """What the settings digests of a cluster hang on besides the configuration.

    libraries: distribution to version. weights: for each stage with networks, file name to sha256.
    """

    libraries: dict[str, str]
    weights: dict[str, dict[str, str]]

    @classmethod
    def here(cls, config: Config) -> Facts:
        """Those of this container: its libraries, the pins of the other images, the weights that are mounted."""
        libraries = {lib: library_version(lib) for stage in STAGES.values() for lib in stage.libraries}
        return cls(dict(sorted(libraries.items())), weights_in_use(config))

    @classmethod
    def from_json(cls, content: bytes) -> Facts:
        """Those that organize's pod has left.

        Raises
        ------
        TransientError: they cannot be read.
        """
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError):
            raise TransientError("the facts about images and weights in the bucket cannot be read.") from None

    def to_json(self) -> bytes:
        """Same facts, same bytes."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()

    def settings(self, config: Config) -> dict[str, str]:
        """The settings digest of every stage."""
        return settings_with(config, self.weights, self.libraries)


def facts_id(config: Config, *, cpu_image: str, gpu_image: str, weights: str) -> str:
    """Name of the facts: the images, the name of the weights, and the settings that choose among the weights."""
    chosen = {name: config_slice(STAGES[name], config, results_only=True) for name in ("segmentation", "custom_models")}
    root = str(config.custom_models.root or "")
    return digest({"cpu": cpu_image, "gpu": gpu_image, "weights": weights, "config": chosen, "models": root})


def facts_key(cohort: str, name: str) -> PurePosixPath:
    """Where facts lie below the store."""
    return key(cohort, "runs", "facts", f"{name}.json")


def course_stage_paths(manifest: CohortManifest, cohort: str, settings: Mapping[str, str]) -> list[PurePosixPath]:
    """Where the output of every stage of every course lies below the store, under today's keys."""
    return [
        stage_path(cohort, stage.name, course_stage_key(stage.name, course, settings[stage.name]), course.course_id)
        for course in manifest.courses
        for stage in course_stages()
    ]


def cluster_plan(
    manifest: CohortManifest,
    config: Config,
    folder: CohortFolder,
    organize_key: str,
    settings: Mapping[str, str],
    *,
    selection: Selection | None = None,
    demands: Demands | None = None,
) -> CohortPlan:
    """The plan of a cohort whose records lie in `folder` (`mirror_records`), settled.

    An item whose status is None gets a pod; the others are kept, left out behind one that gave nothing, or not
    selected.
    """
    plan = make_plan(manifest, config, folder, organize_key, selection=selection, demands=demands, settings=settings)
    for course_id in plan.course_ids:
        _settle(plan, course_id)
    return plan


def _settle(plan: CohortPlan, course_id: str) -> None:
    """Decide about each stage of a course as the local runner would, taking it that what runs ends well."""
    runs: set[str] = set()
    for item in plan.course(course_id).values():
        need = plan.missing_need(item, running=runs)
        waits = [name for name in item.stage.upstream if name in runs]
        reason = plan.why(item)
        if item.selected and need:
            _leave_out(item, "omitted", need)
        elif not need and not waits and reason is None and item.output is not None:
            item.status, item.reason = item.output.status, item.output.reason
        elif not item.selected:
            _leave_out(item, "missing", NOT_SELECTED)
        else:
            item.reason = str(reason) if reason is not None else f"behind {', '.join(waits)}"
            runs.add(item.name)


def _leave_out(item: Item, status: str, reason: str) -> None:
    item.status, item.reason, item.output = status, reason, None


def mask_of(plan: CohortPlan, course_id: str) -> str:
    """One digit for each stage of a course in the order of the table: 1 gets a pod."""
    stages = plan.course(course_id)
    return "".join(RUNS if stages[name].status is None else KEPT for name in COURSE_STAGES)


def items_of(plan: CohortPlan) -> list[str]:
    """`<course_id>:<image digest>:<course digest>:<mask>` of every course with something to run, largest first."""
    found = []
    for course_id in plan.course_ids:
        mask = mask_of(plan, course_id)
        if RUNS in mask:
            image, course = (_input_digest(plan, course_id, kind) for kind in ("image", "course"))
            found.append(f"{course_id}:{image}:{course}:{mask}")
    return found


def items_parameter(plan: CohortPlan) -> str:
    """The items as a workflow's fan-out reads them; for more than fit into one workflow a text that it cannot read.

    Only the client makes several workflows; the text is what the node of a workflow that tries shows.
    """
    items = items_of(plan)
    if len(items) > MOST_ITEMS:
        return f"{len(items)} courses are too many for one workflow; start them with `python -m workflows.submit`"
    return json.dumps(items, separators=(",", ":"))


def _input_digest(plan: CohortPlan, course_id: str, kind: str) -> str:
    name = next(name for name in COURSE_STAGES if STAGES[name].digest == kind)
    return plan.items[course_id, name].key.partition("-")[0]


def forced_records(plan: CohortPlan, folder: CohortFolder) -> list[PurePosixPath]:
    """Records below the store to remove before forced stages run: without it an output does not count any more."""
    forced = [i for i in plan.items.values() if i.status is None and i.name in plan.demands.forced]
    return [PurePosixPath(i.folder.relative_to(folder.store)) / "stage.json" for i in forced if i.output is not None]


def aggregation_key(plan: Mapping[str, Any]) -> str:
    """Key of aggregation: all keys in a run's `plan.json`, and its settings digest there."""
    keys = sorted((c["course_id"], name, e["key"]) for c in plan["courses"] for name, e in c["stages"].items())
    return stage_key(digest([plan["organize_key"], keys]), plan["settings"]["aggregation"])


def is_same_outcome(written: Mapping[str, Any], plan: CohortPlan) -> bool:
    """Whether the tables of an earlier run are those that aggregation would write now.

    Parameters
    ----------
    written: `plan.json` of that run, as its aggregation has left it.
    plan: nothing in it is left to run.
    """
    return written.get("organize_key") == plan.organize_key and _outcomes(written["courses"]) == {
        task: (item.key, item.status, _digest(item.output)) for task, item in plan.items.items()
    }


def _outcomes(courses: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[Any, ...]]:
    return {
        (course["course_id"], name): (entry["key"], entry["status"], entry.get("output_digest"))
        for course in courses
        for name, entry in course["stages"].items()
    }


def _digest(output: Output | None) -> str | None:
    return output.output_digest if output is not None else None

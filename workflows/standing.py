"""How a cohort stands in its bucket: whether organize knows its data, what is left to run, whether tables are current.

Works on a mirror of the cohort's records in a temporary folder, with the functions that plan on a laptop.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.errors import UsageError
from rtpipeline.execution.cluster_plan import (
    RESULT_FILES,
    Facts,
    aggregation_key,
    cluster_plan,
    course_stage_paths,
    facts_key,
    forced_records,
    is_same_outcome,
    items_of,
)
from rtpipeline.execution.outputs import read_output
from rtpipeline.execution.plan import CohortPlan, Selection, course_stages, organize_key, select
from rtpipeline.execution.reasons import Demands
from rtpipeline.execution.run_files import read_plan, write_config, write_plan
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.folder import CohortFolder
from rtpipeline.store.keys import key, stage_path
from rtpipeline.store.mirror import get, mirror_outputs, mirror_records
from rtpipeline.store.private_mark import MARKER, is_whole, marked_key
from workflows.asked import Asked


@dataclass
class Planned:
    """What is left to run of a cohort whose courses are known."""

    manifest: CohortManifest
    folder: CohortFolder
    plan: CohortPlan
    items: list[str]
    """one for each course with something to run, as the templates take them"""

    @property
    def course_stages(self) -> list[str]:
        """Stages of a course, in their order."""
        return [stage.name for stage in course_stages()]

    @property
    def expected(self) -> dict[str, int]:
        """Course-stages to run, by stage."""
        found: dict[str, int] = {}
        for item in self.plan.items.values():
            if item.status is None:
                found[item.name] = found.get(item.name, 0) + 1
        return found


@dataclass
class Unplanned:
    """organize has to run first."""

    reason: str
    failed: str = ""
    """how organize ended on the same data, when that gave nothing"""


Standing = Planned | Unplanned


class CohortStore:
    """One cohort of a store in a bucket."""

    def __init__(self, store: Bucket, cohort: str, mirror: Path) -> None:
        self.store = store
        self.cohort = cohort
        self.folder = CohortFolder(mirror, cohort)

    def read(self, *parts: str) -> bytes | None:
        """Content of an object of the cohort; None when it is not there."""
        return get(self.store, key(self.cohort, *parts))

    def read_json(self, *parts: str) -> Any:
        """The same as plain values."""
        content = self.read(*parts)
        return None if content is None else json.loads(content)

    def put(self, content: bytes, *parts: str) -> None:
        """Write an object of the cohort."""
        self.store.put(str(key(self.cohort, *parts)), content)

    def put_json(self, value: Any, *parts: str) -> None:
        """The same from plain values."""
        self.put((json.dumps(value, indent=1) + "\n").encode(), *parts)

    def plan_of(self, run_id: str) -> dict[str, Any] | None:
        """`plan.json` of a run; None when there is none."""
        found = self.read_json("runs", run_id, "plan.json")
        return found if isinstance(found, dict) else None

    def latest(self) -> str | None:
        """The run whose tables are the newest ones."""
        found = self.read_json("results", "latest.json")
        return found["run_id"] if found else None

    def has_results(self, run_id: str, plan: Mapping[str, Any] | None) -> bool:
        """Whether the tables of a run are there, all of them: an upload that failed leaves the first ones.

        Parameters
        ----------
        plan: `plan.json` of the run, which says how many files aggregation has left.
        """
        results = self.store.child(self.cohort, "results", run_id)
        if results.entry("stage.json") is None:
            return False
        return sum(1 for _ in results.list()) >= (plan or {}).get(RESULT_FILES, 0)

    def forget_organize(self) -> None:
        """Take back that organize's output is current, so that it runs again."""
        self.store.delete([str(key(self.cohort, "private", MARKER))])

    def facts(self, facts_id: str) -> Facts | None:
        """What a run with the same images and weights has left about them."""
        content = get(self.store, facts_key(self.cohort, facts_id))
        return None if content is None else Facts.from_json(content)

    def look(self, asked: Asked, listing: str, facts_id: str) -> Standing:
        """What is left to run.

        Parameters
        ----------
        listing: digest of what the sources hold.

        Raises
        ------
        UsageError: a course or stage that was asked for does not exist.
        """
        shutil.rmtree(self.folder.root, ignore_errors=True)  # records may be gone from the bucket since
        facts = self.facts(facts_id)
        if facts is None:
            return Unplanned("nothing is known yet about these images and weights")
        settings = facts.settings(asked.config)
        current = organize_key(listing, asked.config, settings["organize"])
        if "organize" in asked.forced:
            return Unplanned("forced")
        failed = self._organize_failed(current)
        if not self._organize_is(current):
            return Unplanned("new data", failed)
        path = stage_path(self.cohort, "organize", current)
        if mirror_outputs(self.store, self.folder, [path], tables_only=False):
            return Unplanned("its output is gone", failed)
        manifest = CohortManifest.load(self.folder.store / path)
        mirror_records(self.store, self.folder, course_stage_paths(manifest, self.cohort, settings))
        return self._planned(asked, manifest, current, settings)

    def _planned(self, asked: Asked, manifest: CohortManifest, organize: str, settings: Mapping[str, str]) -> Planned:
        selection, demands = select(manifest, asked.courses, asked.only), Demands(forced=asked.forced)

        def plan_for(chosen: Selection) -> CohortPlan:
            return cluster_plan(
                manifest, asked.config, self.folder, organize, settings, selection=chosen, demands=demands
            )

        plan = plan_for(selection)
        items = items_of(plan)
        if asked.limit is not None and len(items) > asked.limit:
            first = frozenset(item.partition(":")[0] for item in items[: asked.limit])
            plan = plan_for(Selection(first, selection.stages))
            items = items_of(plan)
        return Planned(manifest, self.folder, plan, items)

    def _organize_is(self, current: str) -> bool:
        """Whether the private files are there and those of this organize."""
        private = self.store.child(self.cohort, "private")
        marker = self.read("private", MARKER)
        return marker is not None and marked_key(marker) == current and is_whole(marker, private.size)

    def _organize_failed(self, organize: str) -> str:
        """How organize ended under a key, when that was final and gave nothing."""
        path = stage_path(self.cohort, "organize", organize)
        mirror_records(self.store, self.folder, [path])
        output = read_output(self.folder.store / path)
        return "" if output is None or output.has_result else f"{output.status}: {output.reason}"

    def current_results(self, planned: Planned) -> str | None:
        """The run whose tables are those that aggregation would write now, when nothing is left to run."""
        run_id = self.latest()
        written = self.plan_of(run_id) if run_id else None
        is_forced = "aggregation" in planned.plan.demands.forced
        if run_id is None or written is None or planned.items or is_forced or not self.has_results(run_id, written):
            return None
        same_settings = written.get("settings", {}).get("aggregation") == planned.plan.settings["aggregation"]
        return run_id if same_settings and is_same_outcome(written, planned.plan) else None

    def put_plan(self, planned: Planned, run_id: str, started: datetime) -> dict[str, Any]:
        """Write `plan.json` and `config.yaml` of a run to the bucket; the plan."""
        write_plan(self.folder, run_id, planned.plan, started.isoformat(timespec="seconds"))
        write_config(self.folder, run_id, planned.plan.config)
        for name in ("config.yaml", "plan.json"):
            self.put((self.folder.run(run_id) / name).read_bytes(), "runs", run_id, name)
        return read_plan(self.folder, run_id)

    def drop_forced(self, planned: Planned) -> int:
        """Remove the records of what is to be computed again although it is current; how many."""
        records = [str(path) for path in forced_records(planned.plan, self.folder)]
        self.store.delete(records)
        return len(records)


def dry_plan(planned: Planned, run_id: str, started: datetime) -> dict[str, Any]:
    """The plan as `put_plan` would write it, without the bucket."""
    write_plan(planned.folder, run_id, planned.plan, started.isoformat(timespec="seconds"))
    return read_plan(planned.folder, run_id)


def key_of_aggregation(plan: Mapping[str, Any]) -> str:
    """Key of aggregation for a written plan.

    Raises
    ------
    UsageError: the plan has no course.
    """
    if not plan["courses"]:
        raise UsageError("the export holds no course: nothing in it is an image, structure set, plan or dose.")
    return aggregation_key(plan)

"""A cohort in a bucket as pods leave it: organize's output, records of course stages, facts, results. No stage runs."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtpipeline.config import Config
from rtpipeline.contracts.manifests import CohortManifest, Course, ImageRef, Patient, Upstream
from rtpipeline.execution.cluster_plan import RESULT_FILES, Facts, facts_key
from rtpipeline.execution.outputs import ABSENT
from rtpipeline.execution.plan import course_stages, organize_key
from rtpipeline.execution.run_outcomes import settle
from rtpipeline.stages import STAGES
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.keys import course_stage_key, key, output_digest, stage_path
from rtpipeline.store.mirror import mirror_records
from rtpipeline.store.packing import DATA, OBJECTS, TABLES, pack
from rtpipeline.store.private_mark import FILES, MARKER, mark
from workflows.standing import CohortStore

THREADS = 16
STARTED = "2026-01-01T00:00:00Z"
FACTS = Facts({lib: "1.0" for stage in STAGES.values() for lib in stage.libraries}, {})
"""Of images that exist nowhere."""


def hex_of(*parts: object, count: int = 12) -> str:
    """Digits that follow from the parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:count]


def course(number: int, version: str = "") -> Course:
    """A course with one CT.

    Parameters
    ----------
    version: another one gives another course digest and the same image digest, as a late record does.
    """
    patient = f"p{hex_of('patient', number, count=10)}"
    image = ImageRef(
        image_id="ct-01",
        object_hash=hex_of("ct", number, count=16),
        modality="CT",
        image_class="ct",
        role="planning",
        prepare=True,
        instances=100 + number % 50,
        frame_hash=hex_of("frame", number, count=16),
        day=0,
        link="study",
    )
    return Course(
        course_id=f"{patient}-c01",
        patient_id=patient,
        course_order=1,
        course_kind="planned",
        image_digest=hex_of("image", number),
        course_digest=hex_of("course", number, version),
        images=[image],
    )


@dataclass
class SimulatedCohort:
    """One cohort of a store."""

    store: Bucket
    cohort: str
    config: Config
    facts_id: str
    courses: list[Course] = field(default_factory=list)
    statuses: dict[tuple[str, str], str] = field(default_factory=dict)
    """(course, stage) to a status other than done; `failed` leaves nothing"""

    @property
    def settings(self) -> dict[str, str]:
        return FACTS.settings(self.config)

    def organize(self, listing: str, courses: Iterable[Course], status: str = "done") -> str:
        """organize's pod has ended; its key."""
        self.courses = list(courses)
        settings = self.settings["organize"]
        name = organize_key(listing, self.config, settings)
        patients = [Patient(patient_id=c.patient_id, courses=[c.course_id], objects=9, kind="planned", status="ok")
                    for c in self.courses]  # fmt: skip
        manifest = CohortManifest(cohort=self.cohort, patients=patients, courses=self.courses, counts={})
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "organize"
            folder.mkdir()
            if status == "done":
                manifest.save(folder)
            record = self.record("organize", name, None, status, {}, output_digest(folder))
            (folder / "stage.json").write_text(json.dumps(record))
            self._publish(folder, str(stage_path(self.cohort, "organize", name)))
        self.store.put(str(facts_key(self.cohort, self.facts_id)), FACTS.to_json())
        if status == "done":
            self._publish_private(name)
        return name

    def _publish_private(self, name: str) -> None:
        private = self.store.child(self.cohort, "private")
        with tempfile.TemporaryDirectory() as scratch:
            for file in FILES:
                (Path(scratch) / file).write_bytes(file.encode())
                private.put(file, file.encode())
            private.put(MARKER, mark(name, Path(scratch)))

    def run_course(self, item: str) -> dict[str, str]:
        """The pods of a course have ended: the records of the stages in its mask are there; status by stage."""
        course_id, _, _, mask = item.split(":")
        chosen = next(c for c in self.courses if c.course_id == course_id)
        ended: dict[str, str] = {}
        states: dict[str, Upstream] = {}
        for stage, digit in zip(course_stages(), mask, strict=True):
            name = course_stage_key(stage.name, chosen, self.settings[stage.name])
            path = str(stage_path(self.cohort, stage.name, name, course_id))
            if digit == "0":
                states[stage.name] = self._state_there(path)
                continue
            status = self.statuses.get((course_id, stage.name), "done")
            if any(states[need].status in ("absent", "data_error", "fault") for need in stage.needs):
                status = "omitted"
            ended[stage.name] = status
            if status in ("failed", "omitted"):
                states[stage.name] = ABSENT
                continue
            digest = hex_of(course_id, stage.name, name, count=64)
            upstream = {up: states[up].model_dump() for up in stage.upstream}
            record = self.record(stage.name, name, course_id, status, upstream, digest)
            for archive in (DATA, TABLES):
                self.store.put(f"{path}/{archive}", b"archive")
            self.store.put(f"{path}/stage.json", json.dumps(record).encode())
            states[stage.name] = Upstream(key=name, status=status, output_digest=digest)
        return ended

    def run_courses(self, items: Iterable[str]) -> None:
        """The same for many at once."""
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(self.run_course, items):
                pass

    def aggregate(self, run_id: str) -> int:
        """aggregation's pod has ended: the plan is settled and results are there; the number of failed courses."""
        with tempfile.TemporaryDirectory() as scratch:
            mirror = CohortStore(self.store, self.cohort, Path(scratch))
            plan = mirror.plan_of(run_id)
            assert plan is not None
            paths = [key(self.cohort, e["folder"]) for c in plan["courses"] for e in c["stages"].values()]
            mirror_records(self.store, mirror.folder, paths)
            manifest = CohortManifest(cohort=self.cohort, patients=[], courses=self.courses, counts={})
            settle(plan, manifest, mirror.folder.root)
            mirror.put_json(plan | {RESULT_FILES: 3}, "runs", run_id, "plan.json")
            mirror.put_json({"status": "done", "stage_key": "x"}, "results", run_id, "stage.json")
            mirror.put(b"table", "results", run_id, "courses.parquet")
            mirror.put(b"page", "results", run_id, "report/index.html")
            mirror.put_json({"run_id": run_id}, "results", "latest.json")
        bad = ("data_error", "failed", "fault", "partial", "timeout")
        return sum(any(e["status"] in bad for e in c["stages"].values()) for c in plan["courses"])

    def record(
        self, stage: str, name: str, course_id: str | None, status: str, upstream: dict[str, Any], digest: str
    ) -> dict[str, Any]:
        """`stage.json`."""
        return {
            "schema_version": 1,
            "stage": stage,
            "stage_version": STAGES[stage].version,
            "stage_key": name,
            "cohort": self.cohort,
            "course_id": course_id,
            "status": status,
            "reason": "" if status == "done" else f"made {status}",
            "output_digest": digest,
            "upstream": upstream,
            "config": {},
            "settings_digest": name.partition("-")[2],
            "versions": {},
        }

    def _state_there(self, path: str) -> Upstream:
        try:
            record = json.loads(self.store.get(f"{path}/stage.json"))
        except KeyError:
            return ABSENT
        return Upstream(key=record["stage_key"], status=record["status"], output_digest=record["output_digest"])

    def _publish(self, folder: Path, path: str) -> None:
        packed = folder.parent / "packed"
        pack(folder, packed)
        for name in OBJECTS:
            self.store.upload(packed / name, f"{path}/{name}")


class Controller:
    """Plays Argo: a workflow runs for some looks, then all its stages have ended and its outputs are in the bucket."""

    def __init__(self, cohort: SimulatedCohort, courses: Callable[[], list[Course]], looks: int = 1) -> None:
        self.cohort, self.find, self.looks = cohort, courses, looks
        self.seen: dict[str, int] = {}
        self.pods: dict[str, int] = {}
        """started, by stage"""
        self.listing = ""
        self.organize_status = "done"

    def __call__(self, workflow: dict[str, Any]) -> dict[str, Any] | None:
        name = workflow["metadata"]["name"]
        if workflow.get("status", {}).get("phase") in ("Succeeded", "Failed", "Error"):
            return None
        self.seen[name] = self.seen.get(name, 0) + 1
        if self.seen[name] <= self.looks:
            return {"phase": "Running", "nodes": {}}
        given = {p["name"]: p["value"] for p in workflow["spec"]["arguments"]["parameters"]}
        nodes: dict[str, Any] = {}
        kind = workflow["spec"]["workflowTemplateRef"]["name"]
        phase = "Succeeded"
        if kind == "rtpipeline-courses":
            self._courses(json.loads(given["items"]), nodes)
        elif kind == "rtpipeline-aggregate":
            self._stage(nodes, "aggregation", "done", "")
            phase = "Failed" if self.cohort.aggregate(given["run"]) else "Succeeded"
        else:
            phase = self._whole(workflow, given, nodes)
        if any(node["phase"] == "Failed" for node in nodes.values()):
            phase = "Failed"
        return {"phase": phase, "nodes": nodes}

    def _whole(self, workflow: dict[str, Any], given: dict[str, str], nodes: dict[str, Any]) -> str:
        self._stage(nodes, "organize", self.organize_status, "")
        self.cohort.organize(self.listing, self.find(), self.organize_status)
        if self.organize_status != "done":
            return "Failed"
        with tempfile.TemporaryDirectory() as scratch:
            store = CohortStore(self.cohort.store, self.cohort.cohort, Path(scratch))
            from workflows.asked import Asked

            planned = store.look(Asked(self.cohort.cohort, (), self.cohort.config), self.listing, self.cohort.facts_id)
            from datetime import UTC, datetime

            from workflows.standing import Planned

            assert isinstance(planned, Planned)
            store.put_plan(planned, given["run"], datetime.now(UTC))
        if workflow["spec"].get("entrypoint") == "organize":
            return "Succeeded"
        self._courses(planned.items, nodes)
        self._stage(nodes, "aggregation", "done", "")
        return "Failed" if self.cohort.aggregate(given["run"]) else "Succeeded"

    def _courses(self, items: list[str], nodes: dict[str, Any]) -> None:
        for item in items:
            for stage, status in self.cohort.run_course(item).items():
                self._stage(nodes, stage, status, item)

    def _stage(self, nodes: dict[str, Any], stage: str, status: str, item: str) -> None:
        phases = {"omitted": "Omitted", "data_error": "Failed", "failed": "Failed"}
        name = f"n{len(nodes)}"
        nodes[name] = {
            "id": name,
            "name": name,
            "type": "Pod" if status != "omitted" else "Skipped",
            "templateName": stage.replace("_", "-"),
            "phase": phases.get(status, "Succeeded"),
            "message": "main: Error (exit code 3)" if status == "data_error" else "",
            "inputs": {"parameters": [{"name": "course", "value": item.partition(":")[0]}]},
        }
        if status != "omitted":
            self.pods[stage] = self.pods.get(stage, 0) + 1

"""What a workflow engine does with the pods of a cohort, in this process and one after the other.

Objects of the store go to `in/` of a pod, those it leaves at `out/` go back, whatever its exit code; courses fan out;
a stage waits for those it needs. Written from the description of the workflows, not from their templates.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rtpipeline import cli
from rtpipeline.stages import COURSE_STAGES, STAGES
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.folder import CohortFolder
from rtpipeline.store.keys import stage_path

PARTS = ("data.tgz", "tables.tgz", "stage.json")
WENT_WELL = {"Succeeded", "Skipped"}


def run_here(arguments: list[str]) -> int:
    """The exit code of `rtpipeline ARGUMENTS` in this process, whose log is then again where it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        return cli.main(arguments)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@dataclass
class Submitted:
    """One workflow: what ran, and how it ended."""

    run_id: str
    parameters: dict[str, str]
    pods: list[tuple[str, str]] = field(default_factory=list)
    """(course, stage) of every pod, in order"""
    phases: dict[tuple[str, str], str] = field(default_factory=dict)
    kept: set[tuple[str, str]] = field(default_factory=set)
    """pods that found nothing to do"""
    exit_codes: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def items(self) -> list[str]:
        return json.loads(self.parameters["items"])

    @property
    def computed(self) -> set[str]:
        """Stages that a pod has computed."""
        return {stage for course, stage in self.pods if (course, stage) not in self.kept}


@dataclass
class Engine:
    """A cohort in a bucket, and the pods that work on it."""

    store: Bucket
    cohort: str
    work: Path
    secret: Path
    configuration: str = "default"
    source: str = ""
    run: Callable[[list[str]], int] = run_here
    gives_up: set[str] = field(default_factory=set)
    """`course/stage` of pods that are killed on every attempt"""
    count: int = 0

    def submit(self, run_id: str) -> Submitted:
        """The workflow of a whole cohort."""
        done = Submitted(run_id, {})
        outputs = self.pod(done, "", "organize", ["--source", self.source, *self.reader()], [])
        assert done.exit_codes["", "organize"] == 0
        done.parameters = {p.name: p.read_text() for p in (outputs / "parameters").iterdir()}
        self._store_planner(outputs, run_id)
        for item in done.items:
            self._course(done, item)
        self._aggregate(done)
        return done

    def _course(self, done: Submitted, item: str) -> None:
        course, image, whole, mask = item.split(":")
        settings = json.loads(done.parameters["settings"])
        keys = {}
        for name, runs in zip(COURSE_STAGES, mask, strict=True):
            stage = STAGES[name]
            keys[name] = f"{image if stage.digest == 'image' else whole}-{settings[name]}"
            task = (course, name)
            if not all(done.phases[course, need] in WENT_WELL for need in stage.needs):
                done.phases[task] = "Omitted"
            elif runs == "0":
                done.phases[task] = "Skipped"
            elif f"{course}/{name}" in self.gives_up:
                done.phases[task] = "Failed"
            else:
                self._course_pod(done, course, name, keys)

    def _course_pod(self, done: Submitted, course: str, name: str, keys: dict[str, str]) -> None:
        stage = STAGES[name]
        inputs = [("organize", self.path("organize", done.parameters["organize_key"]))]
        inputs += [(up, self.path(up, keys[up], course)) for up in stage.upstream]
        inputs.append(("previous", self.path(name, keys[name], course)))
        arguments = ["--course", course, "--key", keys[name]]
        if stage.reader:
            arguments += ["--source", self.source, *self.reader()]
        outputs = self.pod(done, course, name, arguments, inputs)
        self.keep(outputs, self.path(name, keys[name], course))

    def _aggregate(self, done: Submitted) -> None:
        key = done.parameters["aggregation_key"]
        inputs = [("organize", self.path("organize", done.parameters["organize_key"]))]
        outputs = self.pod(done, "", "aggregation", ["--key", key, "--store", self.store.url], inputs)
        assert done.exit_codes["", "aggregation"] == 0
        run_id = done.run_id
        for file in sorted(p for p in (outputs / "results").rglob("*") if p.is_file()):
            self.store.upload(
                file, f"{self.cohort}/results/{run_id}/{file.relative_to(outputs / 'results').as_posix()}"
            )
        self.store.upload(outputs / "plan.json", f"{self.cohort}/runs/{run_id}/plan.json")
        self.store.upload(outputs / "latest.json", f"{self.cohort}/results/latest.json")
        failed = (outputs / "parameters" / "failed").read_text()
        self.pod(done, "", "verdict", ["--failed", failed], [])

    def pod(
        self, done: Submitted, course: str, stage: str, arguments: list[str], inputs: Iterable[tuple[str, str]]
    ) -> Path:
        """Run one pod; its output folder, which is empty where it left nothing."""
        self.count += 1
        work = self.work / f"pod-{self.count:03d}"
        work.mkdir(parents=True)
        for name, folder in inputs:
            for part in PARTS:
                self._fetch(f"{folder}/{part}", work / "in" / name / part)
        self._fetch(f"{self.cohort}/private/configurations/{self.configuration}.tgz", work / "in" / "config.tgz")
        common = ["--cohort", self.cohort, "--run-id", done.run_id, "--configuration", self.configuration]
        code = self.run(["pod", stage, *arguments, *common, "--work", str(work)])
        task = (course, stage)
        done.pods.append(task)
        done.exit_codes[task], done.phases[task] = code, "Succeeded" if code == 0 else "Failed"
        if not (work / "out").exists():
            done.kept.add(task)
        shutil.rmtree(work / "store", ignore_errors=True)
        shutil.rmtree(work / "in", ignore_errors=True)
        return work / "out"

    def keep(self, outputs: Path, folder: str) -> None:
        """Put what a pod left into the store, in order."""
        for part in PARTS:
            if (outputs / part).is_file():
                self.store.upload(outputs / part, f"{folder}/{part}")

    def _store_planner(self, outputs: Path, run_id: str) -> None:
        for folder in ("data", "tables", "record"):
            for file in (outputs / folder).glob("*/*"):
                self.store.upload(file, f"{self.cohort}/organize/{file.parent.name}/{file.name}")
        for file in (outputs / "facts").iterdir():
            self.store.upload(file, f"{self.cohort}/runs/facts/{file.name}")
        self.store.upload(outputs / "plan.json", f"{self.cohort}/runs/{run_id}/plan.json")
        for name in ("index.parquet", "identity.parquet", "registry.json", "organize_key"):
            if (outputs / "private" / name).is_file():
                self.store.upload(outputs / "private" / name, f"{self.cohort}/private/{name}")

    def reader(self) -> list[str]:
        """What every pod that reads the export is told."""
        return ["--store", self.store.url, "--secret-file", str(self.secret)]

    def _fetch(self, key: str, path: Path) -> None:
        try:
            self.store.download(key, path)
        except KeyError:
            return

    def path(self, stage: str, key: str, course: str | None = None) -> str:
        """Where an output lies below the store."""
        return str(stage_path(self.cohort, stage, key, course))

    def plan(self, run_id: str) -> dict:
        """`plan.json` of a run."""
        return json.loads(self.store.get(f"{self.cohort}/runs/{run_id}/plan.json"))

    def results(self, folder: Path) -> Path:
        """A local store with nothing but the newest results."""
        run_id = json.loads(self.store.get(f"{self.cohort}/results/latest.json"))["run_id"]
        target = CohortFolder(folder, self.cohort).results / "latest"
        prefix = f"{self.cohort}/results/{run_id}/"
        for entry in self.store.list(prefix):
            if entry.key.endswith(".parquet"):
                self.store.download(entry.key, target / entry.key.removeprefix(prefix))
        return folder

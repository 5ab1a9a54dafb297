"""A cohort of toy courses, run in this process with servers that are shared by all tests."""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import toy_stages  # noqa: E402

from rtpipeline.config import parse_config  # noqa: E402
from rtpipeline.execution import cohort_run  # noqa: E402
from rtpipeline.execution.cohort_run import RunOptions, run_cohort  # noqa: E402
from rtpipeline.execution.display import LineDisplay  # noqa: E402
from rtpipeline.execution.servers import Servers  # noqa: E402
from rtpipeline.execution.summary import RunSummary  # noqa: E402
from rtpipeline.stages import STAGES  # noqa: E402
from rtpipeline.store.folder import CohortFolder  # noqa: E402


@dataclass
class Toys:
    """The export, the store, and what the stages are asked to do."""

    home: Path
    trace_home: Path
    text: str = field(default="", repr=False)
    """what the last run has shown"""

    @property
    def export(self) -> Path:
        return self.home / "export"

    @property
    def folder(self) -> CohortFolder:
        return CohortFolder(self.home / "store", "toys")

    def course(self, name: str, *, image: str = "", plan: str = "") -> None:
        """Make or change a course; its id is `p<name>-c01`."""
        folder = self.export / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "image.txt").write_text(image or f"image of {name}")
        (folder / "plan.txt").write_text(plan or f"plan of {name}")

    def behave(self, **actions: list[str]) -> None:
        """What the attempts of `course__stage` do, `any__stage` for every course; later attempts work."""
        named = {k.replace("any__", "*/").replace("__", "-c01/"): v for k, v in actions.items()}
        (self.trace_home / "behaviour.json").write_text(json.dumps(named))

    def forget_trace(self) -> None:
        (self.trace_home / "trace.jsonl").write_text("")

    def trace(self) -> list[dict[str, Any]]:
        path = self.trace_home / "trace.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def attempts(self, *, cohort_stages: bool = False) -> Counter[str]:
        """Number of attempts by `course/stage`."""
        tasks = [e["task"] for e in self.trace() if e["what"] == "start"]
        return Counter(t for t in tasks if cohort_stages or not t.startswith("/"))

    def grandchildren(self) -> list[int]:
        """Processes that stages have started and left."""
        return [int(line) for line in (self.trace_home / "grandchildren").read_text().split()]

    def stages_run(self) -> set[str]:
        return {task.split("/")[1] for task in self.attempts()}

    def run(self, raw: dict[str, Any] | None = None, **options: Any) -> RunSummary:
        """Run the cohort with a configuration given as plain values."""
        self.forget_trace()
        stream = io.StringIO()
        settings = {"workers": 2, **(raw or {})}
        run_options = RunOptions(
            inputs=(self.export,), store=self.folder.store, cohort="toys", config=parse_config(settings), **options
        )
        summary = run_cohort(run_options, LineDisplay(stream))
        self.text = stream.getvalue()
        return summary

    def plan(self, summary: RunSummary) -> dict[tuple[str, str], dict[str, Any]]:
        """The entries of the run's plan.json by course and stage."""
        content = json.loads((self.folder.run(summary.run_id) / "plan.json").read_text())
        return {(c["course_id"], name): e for c in content["courses"] for name, e in c["stages"].items()}

    def statuses(self, summary: RunSummary, course: str) -> dict[str, str]:
        return {name: e["status"] for (c, name), e in self.plan(summary).items() if c == course}

    def ledger(self, summary: RunSummary) -> list[dict[str, Any]]:
        path = self.folder.run(summary.run_id) / "ledger.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def digests(self, summary: RunSummary) -> dict[tuple[str, str], tuple[str, str]]:
        """Key and output digest of each course-stage."""
        found = {}
        for task, entry in self.plan(summary).items():
            record = json.loads((self.folder.root / entry["folder"] / "stage.json").read_text())
            found[task] = (entry["key"], record["output_digest"])
        return found


class SharedServers(Servers):
    """Servers that outlive a run."""

    def close(self) -> None:
        """They end with the session."""


@pytest.fixture(scope="session")
def toy_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("toys")


@pytest.fixture(scope="session")
def toy_environment(toy_home: Path) -> Iterator[None]:
    before = dict(os.environ)
    paths = [str(HERE), *filter(None, [before.get("PYTHONPATH")])]
    os.environ |= {"TOY_HOME": str(toy_home), "PYTHONPATH": os.pathsep.join(paths)}
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def shared_servers(toy_home: Path, toy_environment: None) -> Iterator[Servers]:
    servers = SharedServers(toy_home / "servers", setup="toy_stages:install")
    yield servers
    Servers.close(servers)


@pytest.fixture
def toy_table() -> Iterator[None]:
    """The toy stage table in this process."""
    real = dict(STAGES)
    toy_stages.install()
    yield
    STAGES.clear()
    STAGES.update(real)


@pytest.fixture
def toys(
    toy_table: None, toy_home: Path, shared_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Toys:
    """Two courses, p1-c01 and p2-c01."""
    monkeypatch.setattr(cohort_run, "Servers", lambda logs: shared_servers)
    found = Toys(tmp_path, toy_home)
    found.behave()
    found.forget_trace()
    (toy_home / "grandchildren").write_text("")
    found.course("1")
    found.course("2")
    return found

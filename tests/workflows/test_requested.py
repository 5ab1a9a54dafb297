"""A cohort that a repository's event asks for: the commands of the workflow file, in their order, without GitHub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtpipeline.errors import UsageError
from tests.conftest import ROOT
from tests.workflows.conftest import Scene
from workflows.requested import requested
from workflows.sources import holding

FILE = ROOT / ".github" / "workflows" / "cohort.yaml"
PAYLOAD = {"cohort": "toys", "source": "s3://b/x", "config": "c.yaml"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a configuration and the manifests of two cohorts."""
    root = tmp_path / "repository"
    (root / "cohorts").mkdir(parents=True)
    (root / "c.yaml").write_text("workers: 2\n")
    for name in ("toys", "ashes"):
        (root / "cohorts" / f"{name}.yaml").write_text("source: s3://b/x\nconfig: c.yaml\n")
    return root


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("event", ["repository_dispatch", "workflow_dispatch"])
def test_a_dispatch_names_one_cohort(repository: Path, event: str):
    key = {"repository_dispatch": "client_payload", "workflow_dispatch": "inputs"}[event]
    (found,) = requested(event, {key: PAYLOAD}, repository)
    assert (found.cohort, found.source, found.config) == ("toys", "s3://b/x", "c.yaml")


def test_a_push_names_the_manifests_that_it_changed(repository: Path):
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    before = git(repository, "rev-parse", "HEAD")
    (repository / "cohorts" / "ashes.yaml").write_text("source: s3://b/y\nconfig: c.yaml\n")
    (repository / "other.txt").write_text("x")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "second")
    after = git(repository, "rev-parse", "HEAD")
    assert [r.cohort for r in requested("push", {"before": before, "after": after}, repository)] == ["ashes"]
    unknown = {"before": "f" * 40, "after": after}
    assert [r.cohort for r in requested("push", unknown, repository)] == ["ashes", "toys"]
    assert [r.cohort for r in requested("push", {"before": "0" * 40, "after": after}, repository)] == ["ashes", "toys"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cohort": "Toys; rm -rf"}, "is no cohort name"),
        ({"source": "/data"}, "is no s3:// URL"),
        ({"config": "../secret.yaml"}, "is no file of the repository"),
        ({"config": "none.yaml"}, "is no file of the repository"),
        ({"config": None}, "lacks config"),
        ({"extra": "x"}, "has extra, which means nothing"),
    ],
)
def test_what_cannot_be_submitted_is_refused(repository: Path, change: dict[str, Any], said: str):
    with pytest.raises(UsageError, match=said):
        requested("repository_dispatch", {"client_payload": PAYLOAD | change}, repository)


def test_no_value_of_an_event_stands_in_a_command():
    jobs = yaml.safe_load(FILE.read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert len(commands) >= 6
    assert not [text for text in commands if "${{" in text]


class Runner:
    """Runs the steps of a job as GitHub's runner does, apart from `uses` and the installation."""

    def __init__(self, temp: Path, matrix: dict[str, str], secrets: dict[str, str], variables: dict[str, str]) -> None:
        self.temp, self.values = temp, {"matrix": matrix, "secrets": secrets, "vars": variables}
        self.env: dict[str, str] = {}
        self.ran: list[str] = []

    def job(self, job: dict[str, Any], root: Path) -> int:
        failed = 0
        given = {name: self.fill(text) for name, text in job.get("env", {}).items()}
        for step in job["steps"]:
            if "run" not in step or step["name"] == "Install" or (failed and step.get("if") != "always()"):
                continue
            own = {name: self.fill(text) for name, text in step.get("env", {}).items()}
            code = self.step(step["run"], {**given, **own}, root)
            self.ran.append(step["name"])
            failed = failed or code
        return failed

    def step(self, text: str, env: dict[str, str], root: Path) -> int:
        files = {n: self.temp / n.lower() for n in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.touch()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        known = {"PATH": path, "HOME": str(self.temp), "PYTHONPATH": str(ROOT), "RUNNER_TEMP": str(self.temp)}
        known |= {"AWS_EC2_METADATA_DISABLED": "true"}
        every = known | {n: str(f) for n, f in files.items()} | self.env | {n: v for n, v in env.items() if v}
        done = subprocess.run(
            ["bash", "-e", "-c", text], env=every, cwd=root, capture_output=True, text=True, check=False
        )
        self.said = done.stdout + done.stderr
        self.env |= dict(line.split("=", 1) for line in files["GITHUB_ENV"].read_text().splitlines())
        return done.returncode

    def fill(self, text: str) -> str:
        """The expressions of the file: `name.key`, also with `|| 'default'`."""

        def value(match: re.Match[str]) -> str:
            kind, name = match[1].split(".", 1)
            return self.values.get(kind, {}).get(name) or match[2] or ""

        return re.sub(r"\$\{\{ ([\w.-]+)(?: \|\| '([^']*)')? \}\}", value, text)


@pytest.mark.slow
def test_the_jobs_of_the_workflow_file_submit_a_cohort_and_wait(scene: Scene, repository: Path, tmp_path: Path):
    scene.store.put("inbox/toys/a.dcm", b"a")
    source = f"{scene.store.url}/inbox/toys"
    scene.controller.listing = holding([source]).digest
    jobs = yaml.safe_load(FILE.read_text())["jobs"]
    temp = tmp_path / "runner"
    temp.mkdir()
    event = temp / "event.json"
    event.write_text(json.dumps({"client_payload": PAYLOAD | {"source": source}}))
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    secrets = {n: os.environ[n] for n in names} | {"KUBECONFIG_CONTENT": Path(os.environ["KUBECONFIG"]).read_text()}
    variables = {"AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"], "RTPIPELINE_NAMESPACE": "rt"}
    variables["RTPIPELINE_STORE"] = scene.store.url

    first = Runner(temp, {}, secrets, variables)
    first.env = {"GITHUB_EVENT_NAME": "repository_dispatch", "GITHUB_EVENT_PATH": str(event)}
    assert first.job(jobs["requested"], repository) == 0, first.said
    matrix = json.loads((temp / "github_output").read_text().removeprefix("matrix="))
    (cohort,) = matrix["include"]

    second = Runner(temp, cohort, secrets, variables)
    assert second.job(jobs["submit"], repository) == 0, second.said
    assert second.ran == ["Cluster", "What would be created", "Submit and wait", "How it stands", "Forget the cluster"]
    assert scene.created == ["cohort"]
    (would,) = yaml.safe_load_all((temp / "workflows.yaml").read_text())
    assert would["metadata"]["name"] == scene.api.created[0]["metadata"]["name"]
    assert "of cohort toys: done" in (temp / "github_step_summary").read_text()
    assert not (temp / "kubeconfig").exists()

    again = Runner(temp, cohort, secrets, variables)
    assert again.job(jobs["submit"], repository) == 0, again.said
    assert scene.created == ["cohort"]

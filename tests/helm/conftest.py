"""The program helm, and the chart rendered with values."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.documented_values import CHART
from tests.helm.helm_program import MISSING, helm_program

ARGO = ("--api-versions", "argoproj.io/v1alpha1/Workflow")
NAMESPACE = "radiotherapy"
REQUIRED = {"s3": {"endpoint": "https://s3.example.org", "bucket": "cohorts"}}
"""The values without a default."""

Values = dict[str, Any]
Object = dict[str, Any]
Render = Callable[..., list[Object]]


class Helm:
    """The program, and its output."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._known: dict[tuple[str, ...], str] = {}
        self._parsed: dict[str, str] = {}

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run helm, whatever its exit code."""
        command = [str(self._program), *map(str, arguments)]
        home = {name: str(self._folder / name) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=home, check=False)

    def template(self, values: Values, *more: str, chart: Path = CHART, needed: bool = True) -> str:
        """What the chart renders with these values on top of the required ones; each rendering is made once.

        needed: give the required values too.
        """
        content = json.dumps(merged(REQUIRED, values) if needed else values)
        key = (content, *more, str(chart))
        if key not in self._known:
            path = self._folder / "values.json"
            path.write_text(content)
            done = self("template", "rt", chart, "--namespace", NAMESPACE, "--values", path, *(more or ARGO))
            if done.returncode:
                raise RefusedError(done.stderr)
            self._known[key] = done.stdout
        return self._known[key]

    def objects(self, values: Values, *more: str) -> list[Object]:
        """The same as objects; new ones at each call."""
        text = self.template(values, *more)
        if text not in self._parsed:
            self._parsed[text] = json.dumps(parsed(text))  # ten times as fast to read again
        found: list[Object] = json.loads(self._parsed[text])
        return found


class RefusedError(Exception):
    """Helm refuses, and says why."""


def parsed(text: str) -> list[Object]:
    """The objects of a stream of YAML documents."""
    return [found for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found]


def merged(below: Values, above: Values) -> Values:
    """Maps joined at every level; `above` wins."""
    both = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            both[key] = merged(below[key], above[key])
    return both


def named(objects: Sequence[Object], kind: str, name: str) -> Object:
    """The one object of this kind and name."""
    found = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
    return found[0]


def argo_specs(objects: Sequence[Object]) -> dict[str, Object]:
    """The workflow spec of each of Argo's objects, by name."""
    return {
        each["metadata"]["name"]: each["spec"].get("workflowSpec", each["spec"])
        for each in objects
        if each["apiVersion"].startswith("argoproj.io/")
    }


def stage_templates(objects: Sequence[Object]) -> dict[str, Object]:
    """The template of each stage."""
    return {
        template["metadata"]["labels"]["rtpipeline/stage"]: template
        for spec in argo_specs(objects).values()
        for template in spec["templates"]
        if "rtpipeline/stage" in template.get("metadata", {}).get("labels", {})
    }


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The program helm; the test is skipped where there is none."""
    program = helm_program()
    if program is None:
        pytest.skip(MISSING)
    return Helm(program, tmp_path_factory.mktemp("helm"))

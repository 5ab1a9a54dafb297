"""How large the status of a workflow grows. Run: python bench/workflow_size.py [COURSES...]

Argo keeps the state of every pod in the Workflow object. Above 1 MiB it compresses the list of nodes; when that is
still above 1 MiB the workflow ends in an error. Here are the nodes of a shard in which every stage of every course has
run, with 0, 1 and 3 retries of each: a DAG node for a course, then for each stage a retry node and one for each pod,
all of them with the inputs and outputs of the rendered templates. Names, digests, times and resources are random.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import sys
from typing import Any

from rtpipeline.stages import COURSE_STAGES, STAGES
from workflows.names import COURSES, argo_name
from workflows.render import objects

LIMIT_BYTES = 1024 * 1024
RESULT_BYTES = 44
"""Of one pod in `taskResultsCompletionStatus`, which is not compressed."""

ITEM_BYTES = 52
WORKFLOW = "rt-prostate-2024-0f3a9c1e5b7d-s000"
RANDOM = random.Random(7)
Object = dict[str, Any]


def digits(count: int) -> str:
    """Random hexadecimal digits."""
    return "".join(RANDOM.choices("0123456789abcdef", k=count))


def time_text() -> str:
    """A random time of one day."""
    return "2026-01-31T{:02d}:{:02d}:{:02d}Z".format(*(RANDOM.randrange(n) for n in (24, 60, 60)))


class Shard:
    """The nodes of one workflow."""

    def __init__(self) -> None:
        self.nodes: dict[str, Object] = {}
        self.spec = objects()[COURSES]["spec"]
        self.templates = {template["name"]: template for template in self.spec["templates"]}
        self.settings = {name: digits(12) for name in STAGES}
        self.organize_key = f"{digits(12)}-{digits(12)}"

    def add_course(self, number: int, retries: int) -> None:
        """One course with all its stages."""
        course = f"p{digits(10)}-c01"
        inputs = {"image": digits(12), "course": digits(12)}
        item = f"{course}:{inputs['image']}:{inputs['course']}:{'1' * len(COURSE_STAGES)}"
        keys = {n: f"{inputs[STAGES[n].digest]}-{self.settings[n]}" for n in COURSE_STAGES}
        display = f"courses({number}:{item})"
        settings = json.dumps(self.settings, separators=(",", ":"))
        given = {"work_item": item, "settings": settings, "organize_key": self.organize_key}
        boundary = self._add(f"{WORKFLOW}.{display}", display, "DAG", "course", {"parameters": _listed(given)})
        for name in COURSE_STAGES:
            self._add_stage(f"{WORKFLOW}.{display}.{argo_name(name)}", name, course, keys, retries, boundary)

    def _add_stage(self, at: str, name: str, course: str, keys: dict[str, str], retries: int, boundary: str) -> None:
        template = self.templates[argo_name(name)]
        known = {f"{up}_key": keys[up] for up in STAGES[name].upstream}
        known |= {"course": course, "key": keys[name], "organize_key": self.organize_key}
        inputs = {
            "parameters": _listed({p["name"]: known[p["name"]] for p in template["inputs"]["parameters"]}),
            "artifacts": _resolved(template["inputs"]["artifacts"], known),
        }
        outputs = _resolved(template["outputs"]["artifacts"], known)
        ids = []
        for attempt in range(retries + 1):
            is_last = attempt == retries
            pod = f"{WORKFLOW}-{argo_name(name)}-{RANDOM.randrange(10**9)}"
            logs = {"name": "main-logs", "s3": {"key": f"logs/2026/01/{WORKFLOW}/{pod}/main.log"}}
            more = {
                "hostNodeName": f"node-{RANDOM.randrange(20):02d}.cluster.local",
                "nodeFlag": {"retried": True},
                "outputs": {"exitCode": "0" if is_last else "137", "artifacts": [*(outputs if is_last else []), logs]},
                "boundaryID": boundary,
            }
            if not is_last:
                more |= {"phase": "Failed", "message": "main: OOMKilled (exit code 137)"}
            ids.append(
                self._add(f"{at}({attempt})", f"{argo_name(name)}({attempt})", "Pod", template["name"], inputs, more)
            )
        more = {"children": ids, "outputs": {"exitCode": "0", "artifacts": outputs}, "boundaryID": boundary}
        self._add(at, argo_name(name), "Retry", template["name"], inputs, more)

    def _add(
        self, name: str, display: str, kind: str, template: str, inputs: Object, more: Object | None = None
    ) -> str:
        node = f"{WORKFLOW}-{RANDOM.randrange(2**32)}"
        self.nodes[node] = {
            "id": node,
            "name": name,
            "displayName": display,
            "type": kind,
            "templateName": template,
            "templateScope": "local/",
            "phase": "Succeeded",
            "startedAt": time_text(),
            "finishedAt": time_text(),
            "progress": "1/1",
            "resourcesDuration": {unit: RANDOM.randrange(99999) for unit in ("cpu", "memory", "ephemeral-storage")},
            "inputs": inputs,
            "children": [f"{WORKFLOW}-{RANDOM.randrange(2**32)}"],
            "taskResultSynced": True,
            **(more or {}),
        }
        return node

    def sizes(self, courses: int) -> tuple[int, int]:
        """Bytes of the list of nodes, and of the whole object with that list compressed."""
        raw = json.dumps(dict(sorted(self.nodes.items())), separators=(",", ":")).encode()
        pods = sum(node["type"] == "Pod" for node in self.nodes.values())
        rest = len(json.dumps(self.spec)) + pods * RESULT_BYTES + courses * ITEM_BYTES
        return len(raw), len(base64.b64encode(gzip.compress(raw))) + rest


def _listed(values: dict[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _resolved(artifacts: list[Object], known: dict[str, str]) -> list[Object]:
    def fill(text: str) -> str:
        text = re.sub(r"\{\{inputs\.parameters\.(\w+)\}\}", lambda match: known[match[1]], text)
        return text.replace("{{workflow.parameters.prefix}}", "rt/").replace(
            "{{workflow.parameters.cohort}}", "prostate"
        )

    return [{**each, "s3": {"key": fill(each["s3"]["key"])}} for each in artifacts]


def main(counts: list[int]) -> None:
    """Print one line for each number of courses and retries."""
    print("courses  retries  nodes    raw MB  object KiB  of 1 MiB")
    for courses in counts:
        for retries in (0, 1, 3):
            shard = Shard()
            for number in range(courses):
                shard.add_course(number, retries)
            raw, whole = shard.sizes(courses)
            share = 100 * whole / LIMIT_BYTES
            counted = f"{courses:7}  {retries:7}  {len(shard.nodes):5}"
            print(f"{counted}  {raw / 1e6:8.2f}  {whole / 1024:10.0f}  {share:6.0f} %")


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [100, 150])

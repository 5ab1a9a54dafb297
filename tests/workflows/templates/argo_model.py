"""What Argo does with a DAG of ours, in Python: for tests without a cluster.

Our expressions are written so that they mean the same in Python, apart from the conditional; `depends` is Boolean
algebra over how tasks ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

FUNCTIONS = {
    "split": lambda text, separator: text.split(separator),
    "fromJSON": json.loads,
    "asInt": int,
}


def space(names: Mapping[str, Any]) -> SimpleNamespace:
    """`{"a.b": 1}` as an object with attributes."""
    root = SimpleNamespace()
    for name, value in names.items():
        *path, last = name.split(".")
        at = root
        for part in path:
            if not hasattr(at, part):
                setattr(at, part, SimpleNamespace())
            at = getattr(at, part)
        setattr(at, last, value)
    return root


LATER = ("item", "retries", "lastRetry", "workflow.status", "workflow.failures")
"""Words for which Argo waits: where one stands in an expression, be it as a part of another name, and has no value yet,
the expression is left as it is (`variablesToCheck` in util/template/expression_template.go)."""


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """The value of one expression."""
    for word in LATER:
        assert word in names or not re.search(rf"(?<![\w'-]){word}(?![\w'-])", expression), f"{word} in {expression}"
    if " ? " in expression:
        condition, _, rest = expression.partition(" ? ")
        yes, _, no = rest.partition(" : ")
        expression = f"({yes}) if ({condition}) else ({no})"
    return eval(expression, {"__builtins__": {}}, {**FUNCTIONS, **vars(space(names))})


def filled(text: str, names: Mapping[str, Any]) -> str:
    """A field with its `{{...}}` replaced."""

    def value(match: re.Match[str]) -> str:
        inner = match[1]
        if not inner.startswith("="):
            return str(names[inner])
        found = evaluate(inner[1:], names)
        return json.dumps(found) if isinstance(found, bool) else str(found)

    return re.sub(r"\{\{(.*?)\}\}", value, text)


def allows(depends: str, phases: Mapping[str, str]) -> bool:
    """Whether a `depends` is true, given how the tasks ended."""
    text = re.sub(r"([A-Za-z][\w-]*)\.(\w+)", lambda m: str(phases[m[1]] == m[2]), depends)
    return bool(eval(text.replace("&&", " and ").replace("||", " or "), {"__builtins__": {}}))


def run_dag(dag: Mapping[str, Any], names: Mapping[str, Any], outcome: Callable[[str], str]) -> dict[str, str]:
    """How each task of a DAG ends.

    Parameters
    ----------
    names: the workflow's parameters and the DAG's inputs.
    outcome: how a task that runs ends: Succeeded, Failed or Errored.
    """
    phases: dict[str, str] = {}
    waiting = {task["name"]: task for task in dag["tasks"]}
    while waiting:
        for name, task in list(waiting.items()):
            depends = task.get("depends", "")
            if set(re.findall(r"([A-Za-z][\w-]*)\.\w+", depends)) - set(phases):
                continue
            if depends and not allows(depends, phases):
                phases[name] = "Omitted"
            elif "when" in task and filled(task["when"], names) != "true":
                phases[name] = "Skipped"
            else:
                phases[name] = outcome(name)
            del waiting[name]
    return phases

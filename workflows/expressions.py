"""The expressions that Argo evaluates: parts of an item, keys, dependencies, retries, the memory ladder."""

from __future__ import annotations

import json

from rtpipeline.stages import Stage
from workflows.names import argo_name

EXECUTED = ("Succeeded", "Skipped")
"""How a hard dependency may have ended. Skipped: its output was there already (its place in the mask is 0)."""

ENDED = (*EXECUTED, "Failed", "Errored", "Omitted")
"""How a soft dependency may have ended: anyhow."""

WORK_ITEM = "work_item"
"""Input of the DAG of a course. Not `item`: where that word stands alone in an expression, Argo waits for the fan-out's
own and leaves the expression as it is, for ever."""

RETRY = (
    "not (lastRetry.message contains 'deadline') and "
    "(lastRetry.status == 'Error' or lastRetry.exitCode in ['75', '137', '143'] or "
    "lastRetry.message matches '(?i)oomkilled|evicted|low on resource|node.?shutdown|pod deleted|preempt')"
)
"""Again after what may pass: the transient code, killed for memory (with any exit code: the kernel may have killed a
child only), a node gone. Never after the stage's time is over, nor after a data error or a fault of ours."""

RUN = (
    "workflow.parameters.run != '' ? workflow.parameters.run : "
    "workflow.creationTimestamp.Y + workflow.creationTimestamp.m + workflow.creationTimestamp.d + '-' + "
    "workflow.creationTimestamp.H + workflow.creationTimestamp.M + workflow.creationTimestamp.S + '-' + "
    "workflow.uid[0:6]"
)
"""The run's id: as given, else of the form that the client makes, from the workflow's creation and identity."""


def value(expression: str) -> str:
    """A field whose whole text is the value of an expression."""
    return "{{=" + expression + "}}"


def parameter(name: str) -> str:
    """An argument of the workflow."""
    return "{{workflow.parameters." + name + "}}"


def input_parameter(name: str) -> str:
    """An input of the template."""
    return "{{inputs.parameters." + name + "}}"


def output_of(task: str, name: str) -> str:
    """An output parameter of an earlier task."""
    return "{{tasks." + task + ".outputs.parameters." + name + "}}"


def item_part(index: int) -> str:
    """Expression: a part of `<course_id>:<image digest>:<course digest>:<mask>`."""
    return f"split(inputs.parameters.{WORK_ITEM}, ':')[{index}]"


def stage_key(stage: Stage) -> str:
    """Expression: the key of a course's stage, `<input digest>-<settings digest>`, as `store.keys.course_stage_key`."""
    input_digest = item_part(1 if stage.digest == "image" else 2)
    return f"{input_digest} + '-' + fromJSON(inputs.parameters.settings)['{stage.name}']"


def is_wanted(position: int) -> str:
    """Condition: the mask's character at this position is 1."""
    return value(f"{item_part(3)}[{position}:{position + 1}] == '1'")


def ended_as(stage: str, phases: tuple[str, ...]) -> str:
    """Condition on one dependency, in the language of `depends`."""
    task = argo_name(stage)
    return "(" + " || ".join(f"{task}.{phase}" for phase in phases) + ")"


def depends(stage: Stage, tasks: list[str]) -> str | None:
    """What a stage waits for among `tasks`: hard dependencies that have an output, soft ones that have ended.

    Argo calls a task `Skipped` when its `when` is false, here: when its output is there already; and `Omitted` when its
    `depends` is false, here: when one of its hard dependencies failed or was omitted itself.
    """
    terms = [ended_as(name, EXECUTED) for name in stage.needs if name in tasks]
    terms += [ended_as(name, ENDED) for name in stage.uses if name in tasks]
    return " && ".join(terms) or None


def ladder(stage: Stage) -> list[int]:
    """Memory of each attempt, MiB; the last rung again where there are more attempts than rungs."""
    rungs = stage.resources.memory_mib
    attempts = stage.retry.limit + 1
    return [rungs[min(attempt, len(rungs) - 1)] for attempt in range(attempts)]


def ladder_memory(stage: Stage) -> str:
    """Quantity of memory that grows with the attempts: a literal list, because arithmetic there gives floats."""
    return value(f"{json.dumps(ladder(stage), separators=(',', ':'))}[asInt(retries)]") + "Mi"

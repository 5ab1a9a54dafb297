"""`rtpipeline-aggregate`: the tables of the cohort, and a verdict that is red when courses failed."""

from __future__ import annotations

from typing import Any

from workflows import expressions as ex
from workflows import names
from workflows.artifacts import collector_outputs, configuration_input, parameter_outputs, stage_input
from workflows.containers import Options, stage_container, verdict_container
from workflows.spec import ARGUMENTS, argument, workflow_template
from workflows.strict import hera


def aggregate_template(table: names.Table, options: Options) -> hera.WorkflowTemplate:
    """The WorkflowTemplate of the end of a run."""
    planner, collector = names.planner(table), names.collector(table)
    keys = [f"{planner.name}_key", f"{collector.name}_key"]
    template = workflow_template(
        names.AGGREGATE,
        options,
        title="Results",
        description="The tables and the report of a cohort; then red when courses failed.",
        entrypoint=names.AGGREGATE_DAG,
        arguments=[argument(name) for name in (*ARGUMENTS, *keys) if name != "source"],
    )
    with template:
        stage_container(
            collector,
            options,
            arguments=["--key", ex.input_parameter("key")],
            inputs=[
                hera.Parameter(name="key"),
                hera.Parameter(name=keys[0]),
                configuration_input(),
                stage_input(planner, ex.input_parameter(keys[0])),
            ],
            outputs=[*collector_outputs(), *parameter_outputs("failed")],
            weights=False,
        )
        verdict_container(options)
        with hera.DAG(name=names.AGGREGATE_DAG, fail_fast=False):
            hera.Task(
                name=names.argo_name(collector.name),
                template=names.argo_name(collector.name),
                arguments={"key": ex.parameter(keys[1]), keys[0]: ex.parameter(keys[0])},
            )
            hera.Task(name=names.VERDICT, template=names.VERDICT, **verdict_of(names.argo_name(collector.name)))
    return template


def verdict_of(collector_task: str) -> dict[str, Any]:
    """When the verdict is given, and on what."""
    return {
        "depends": f"{collector_task}.Succeeded",
        "arguments": {"failed": ex.output_of(collector_task, "failed")},
    }

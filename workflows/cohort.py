"""`rtpipeline-cohort`: a whole cohort as one workflow, started from a form or by the client."""

from __future__ import annotations

from rtpipeline.stages import Stage
from workflows import expressions as ex
from workflows import names
from workflows.aggregate import verdict_of
from workflows.artifacts import configuration_input, parameter_outputs, planner_outputs
from workflows.containers import Options, stage_container
from workflows.course import COURSES_AT_ONCE
from workflows.spec import ARGUMENTS, argument, workflow_template
from workflows.strict import hera, models

DESCRIPTION = (
    "Fill in **cohort**, **source** and **configuration**; leave the rest. Up to about 150 courses: for more, "
    "`python -m workflows.submit` makes shards."
)


def cohort_template(table: names.Table, options: Options) -> hera.WorkflowTemplate:
    """The WorkflowTemplate of a cohort: find the courses, all of them through all stages, gather, judge."""
    planner, collector = names.planner(table), names.collector(table)
    # by these names the facts about images and weights are found again; the chart sets them as it sets the images
    facts = {"cpu_image": options.cpu_image, "gpu_image": options.gpu_image, "weights": options.weights}
    template = workflow_template(
        names.COHORT,
        options,
        title="Cohort",
        description=DESCRIPTION,
        entrypoint=names.COHORT_DAG,
        arguments=[argument(name) for name in ARGUMENTS],
    )
    with template:
        stage_container(
            planner,
            options,
            arguments=[
                *("--source", ex.parameter("source")),
                *(text for name in facts for text in (f"--{name.replace('_', '-')}", ex.input_parameter(name))),
            ],
            inputs=[*(hera.Parameter(name=name, value=text) for name, text in facts.items()), configuration_input()],
            outputs=[*planner_outputs(planner), *parameter_outputs(*_plan_parameters(planner, collector))],
            weights=True,  # their hashes enter the settings digests of the stages that use them
        )
        _dag(planner, collector)
    return template


def _plan_parameters(planner: Stage, collector: Stage) -> list[str]:
    return ["items", "settings", f"{planner.name}_key", f"{collector.name}_key", "facts_id"]


def _dag(planner: Stage, collector: Stage) -> None:
    found, gathered = names.argo_name(planner.name), names.argo_name(collector.name)
    planner_key, collector_key = f"{planner.name}_key", f"{collector.name}_key"
    with hera.DAG(name=names.COHORT_DAG, fail_fast=False, parallelism=COURSES_AT_ONCE):
        hera.Task(name=found, template=found)
        hera.Task(
            name=names.COURSES_TASK,
            template_ref=_template_of(names.COURSES, names.COURSE_DAG),
            depends=f"{found}.Succeeded",
            with_param=ex.output_of(found, "items"),
            arguments={
                ex.WORK_ITEM: "{{item}}",
                "settings": ex.output_of(found, "settings"),
                planner_key: ex.output_of(found, planner_key),
            },
        )
        hera.Task(
            name=gathered,
            template_ref=_template_of(names.AGGREGATE, gathered),
            depends=f"{found}.Succeeded && {ex.ended_as(names.COURSES_TASK, ex.ENDED)}",
            arguments={"key": ex.output_of(found, collector_key), planner_key: ex.output_of(found, planner_key)},
        )
        hera.Task(
            name=names.VERDICT,
            template_ref=_template_of(names.AGGREGATE, names.VERDICT),
            **verdict_of(gathered),
        )


def _template_of(workflow_template: str, template: str) -> models.TemplateRef:
    return models.TemplateRef(name=workflow_template, template=template)

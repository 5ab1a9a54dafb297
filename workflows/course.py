"""`rtpipeline-courses`: the stages of a course as one DAG, and a list of courses that goes through it."""

from __future__ import annotations

from rtpipeline.stages import Stage
from workflows import expressions as ex
from workflows import names
from workflows.artifacts import configuration_input, stage_input, stage_outputs
from workflows.containers import Options, stage_container
from workflows.spec import ARGUMENTS, argument, workflow_template
from workflows.strict import hera

COURSES_AT_ONCE = 20
"""Of one shard; at least three times the segmentations at once, so that GPUs do not wait for the other stages."""


def courses_template(table: names.Table, options: Options) -> hera.WorkflowTemplate:
    """The WorkflowTemplate of a shard."""
    stages, planner = names.course_stages(table), names.planner(table)
    template = workflow_template(
        names.COURSES,
        options,
        title="Courses",
        description="Every stage of a list of courses; made by the client, up to 100 courses each.",
        entrypoint=names.SHARD_DAG,
        arguments=[argument(name) for name in (*ARGUMENTS, f"{planner.name}_key", "settings", "items")],
        annotations={
            names.ANNOTATION_CPU_IMAGE: options.cpu_image,
            names.ANNOTATION_GPU_IMAGE: options.gpu_image,
            names.ANNOTATION_WEIGHTS: options.weights,
        },
        semaphore=names.SHARDS_SEMAPHORE,
    )
    with template:
        for stage in stages:
            _container(stage, table, options)
        _course_dag(stages, table)
        _shard_dag(planner)
    return template


def _container(stage: Stage, table: names.Table, options: Options) -> hera.Container:
    own = ex.input_parameter("key")
    planner = names.planner(table)
    upstream = [table[name] for name in stage.upstream]
    return stage_container(
        stage,
        options,
        arguments=[
            *("--course", ex.input_parameter("course"), "--key", own),
            *(("--source", ex.parameter("source")) if stage.reader else ()),
        ],
        inputs=[
            hera.Parameter(name="course"),
            hera.Parameter(name="key"),
            hera.Parameter(name=f"{planner.name}_key"),
            *(hera.Parameter(name=f"{up.name}_key") for up in upstream),
            configuration_input(),
            *(stage_input(up, ex.input_parameter(f"{up.name}_key")) for up in (planner, *upstream)),
            stage_input(stage, own, "previous"),
        ],
        outputs=[*stage_outputs(stage, own)],
        weights=stage.image == "gpu",
    )


def _course_dag(stages: list[Stage], table: names.Table) -> None:
    """One task for each stage, and the course red when one of them is: every task counts, not the last one alone."""
    planner = names.planner(table)
    inputs = [
        hera.Parameter(
            name=ex.WORK_ITEM, description="<course_id>:<image digest>:<course digest>:<mask of stages to run>"
        ),
        hera.Parameter(name="settings", description="settings digest of each stage, JSON"),
        hera.Parameter(name=f"{planner.name}_key"),
    ]
    tasks = [stage.name for stage in stages]
    with hera.DAG(name=names.COURSE_DAG, inputs=inputs, fail_fast=False, target=" ".join(map(names.argo_name, tasks))):
        for position, stage in enumerate(stages):
            keys = {f"{up}_key": ex.value(ex.stage_key(table[up])) for up in stage.upstream}
            hera.Task(
                name=names.argo_name(stage.name),
                template=names.argo_name(stage.name),
                depends=ex.depends(stage, tasks),
                when=ex.is_wanted(position),
                arguments={
                    "course": ex.value(ex.item_part(0)),
                    "key": ex.value(ex.stage_key(stage)),
                    f"{planner.name}_key": ex.input_parameter(f"{planner.name}_key"),
                    **keys,
                },
            )


def _shard_dag(planner: Stage) -> None:
    with hera.DAG(name=names.SHARD_DAG, fail_fast=False, parallelism=COURSES_AT_ONCE):
        hera.Task(
            name=names.COURSES_TASK,
            template=names.COURSE_DAG,
            with_param=ex.parameter("items"),
            arguments={
                ex.WORK_ITEM: "{{item}}",
                "settings": ex.parameter("settings"),
                f"{planner.name}_key": ex.parameter(f"{planner.name}_key"),
            },
        )

"""What the workflow templates have in common: account, clean-up, labels, the bucket, the arguments people fill in."""

from __future__ import annotations

from typing import Any

from workflows import expressions as ex
from workflows import names
from workflows.containers import Options, hold
from workflows.strict import hera, models

PODS_AT_ONCE = 100
"""Of one workflow."""

DEADLINE_S = 14 * 86400
"""After which a workflow ends, whatever it does; each stage has a limit of its own."""

KEEP_SUCCEEDED_S, KEEP_FAILED_S = 86400, 7 * 86400
"""How long a workflow stays in the cluster; results and records are in the bucket."""

POD_KEPT = "30s"
"""A pod that succeeded stays so long; one that failed, until its workflow goes."""

_ARGUMENTS: dict[str, tuple[str | None, str]] = {
    "cohort": (
        None,
        "Name of the cohort: lower case, digits and hyphens; the folder of all its outputs.",
    ),
    "source": (None, "Where the export lies: s3://bucket/folder, or what `python -m workflows.submit` uploaded."),
    "configuration": ("default", "Name of a configuration that was put into the cohort's private/configurations/."),
    "run": ("", "Name of the run; made from time and workflow when empty."),
    "prefix": ("", "Folder of the stores in the bucket, with a slash at its end; set by the chart."),
    "store": ("", "The same as a URL, s3://bucket/folder; set by the chart."),
    "inbox": ("", "Folder of the bucket with one folder for each cohort; set by the chart."),
    "settings": ("{}", "Settings digest of each stage, JSON."),
    "items": ("[]", "JSON list of <course_id>:<image digest>:<course digest>:<mask of stages to run>."),
}

ARGUMENTS = ("cohort", "source", "configuration", "run", "prefix", "store")
"""Of every workflow, in the order of the form; the client gives them all."""


def argument(name: str) -> hera.Parameter:
    """An argument of a workflow, with its default and what it means."""
    default, description = _ARGUMENTS.get(name, ("", "Made by the stage that finds the courses."))
    if default is None:  # Hera would write None as the text "null"
        return hera.Parameter(name=name, description=description)
    return hera.Parameter(name=name, value=default, description=description)


def workflow_template(
    name: str,
    options: Options,
    *,
    title: str,
    description: str,
    entrypoint: str,
    arguments: list[hera.Parameter],
    annotations: dict[str, str] | None = None,
    semaphore: str | None = None,
) -> hera.WorkflowTemplate:
    """A WorkflowTemplate without its templates."""
    return hera.WorkflowTemplate(
        name=name,
        entrypoint=entrypoint,
        arguments=arguments,
        labels={"app.kubernetes.io/name": "rtpipeline", "app.kubernetes.io/part-of": "rtpipeline"},
        annotations={
            names.ANNOTATION_TITLE: title,
            names.ANNOTATION_DESCRIPTION: description,
            names.ANNOTATION_VERSION: options.version,
            **(annotations or {}),
        },
        **common_spec(),
        synchronization=hold(semaphore) if semaphore else None,
        workflow_metadata=models.WorkflowMetadata(
            labels_from={
                names.LABEL_COHORT: models.LabelValueFrom(expression="workflow.parameters.cohort"),
                names.LABEL_RUN: models.LabelValueFrom(expression=ex.RUN),
            }
        ),
    )


def common_spec() -> dict[str, Any]:
    """Fields of every workflow."""
    return {
        "service_account_name": names.PODS_ACCOUNT,
        "parallelism": PODS_AT_ONCE,
        "active_deadline_seconds": DEADLINE_S,
        "pod_gc": models.PodGC(strategy="OnPodSuccess", delete_delay_duration=POD_KEPT),
        "ttl_strategy": models.TTLStrategy(seconds_after_success=KEEP_SUCCEEDED_S, seconds_after_failure=KEEP_FAILED_S),
        # finalizers of a garbage collection get stuck and keep workflows from being deleted; outputs are the store's
        "artifact_gc": models.WorkflowLevelArtifactGC(strategy="Never"),
        "artifact_repository_ref": models.ArtifactRepositoryRef(
            config_map=names.ARTIFACT_REPOSITORIES, key=names.ARTIFACT_REPOSITORY
        ),
    }

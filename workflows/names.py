"""Names that the templates share with the chart, the client and the cluster.

Stages are not named here: their names come from the stage table.
"""

from __future__ import annotations

from collections.abc import Mapping

from rtpipeline.errors import ConfigError
from rtpipeline.stages import Stage

Table = Mapping[str, Stage]

COURSES = "rtpipeline-courses"
"""WorkflowTemplate of one shard: every course stage, for a list of courses"""
AGGREGATE = "rtpipeline-aggregate"
"""WorkflowTemplate of what comes after all shards"""
COHORT = "rtpipeline-cohort"
"""WorkflowTemplate of a whole cohort of up to 150 courses; the one that people start from a form"""
DISCOVER = "rtpipeline-discover"
"""CronWorkflow that looks for new cohorts and courses"""

COURSE_DAG, SHARD_DAG, COURSES_TASK = "course", "shard", "courses"
COHORT_DAG, AGGREGATE_DAG = "cohort", "aggregate"
VERDICT, DISCOVER_TEMPLATE = "verdict", "discover"

LABEL_COHORT, LABEL_RUN = "rtpipeline/cohort", "rtpipeline/run"
LABEL_STAGE, LABEL_IMAGE = "rtpipeline/stage", "rtpipeline/image"
ANNOTATION_VERSION = "rtpipeline/version"
ANNOTATION_CPU_IMAGE, ANNOTATION_GPU_IMAGE = "rtpipeline/cpu-image", "rtpipeline/gpu-image"
ANNOTATION_WEIGHTS = "rtpipeline/weights"
ANNOTATION_TITLE, ANNOTATION_DESCRIPTION = "workflows.argoproj.io/title", "workflows.argoproj.io/description"

PODS_ACCOUNT, SUBMITTER_ACCOUNT = "rtpipeline-pods", "rtpipeline-submitter"
SEMAPHORES = "rtpipeline-semaphores"
SHARDS_SEMAPHORE = "shards"
ARTIFACT_REPOSITORIES, ARTIFACT_REPOSITORY = "artifact-repositories", "rt"
S3_SETTINGS = "rtpipeline-s3"
"""ConfigMap: endpoint, region, addressing"""
S3_SECRET, S3_READ_SECRET = "rtpipeline-s3", "rtpipeline-s3-read"
PSEUDONYMS_SECRET, PSEUDONYMS_KEY = "rtpipeline-pseudonyms", "secret"
WEIGHTS_CLAIM = "rtpipeline-weights"
GPU_RESOURCE = "nvidia.com/gpu"

UID = 8737
"""of the user and group of every container"""


def argo_name(stage: str) -> str:
    """Name of a stage as template or task: Argo takes no underscore there."""
    return stage.replace("_", "-")


def course_stages(table: Table) -> list[Stage]:
    """The stages of a course, in the order of the mask of an item."""
    return [stage for stage in table.values() if stage.scope == "course"]


def planner(table: Table) -> Stage:
    """The stage that finds the courses: of the cohort, and hanging on the listing of its files.

    Raises
    ------
    ConfigError: the table has none, or more than one.
    """
    return _only(table, "listing")


def collector(table: Table) -> Stage:
    """The stage that gathers all courses: of the cohort, and hanging on the run.

    Raises
    ------
    ConfigError: the table has none, or more than one.
    """
    return _only(table, "run")


def _only(table: Table, digest: str) -> Stage:
    found = [stage for stage in table.values() if stage.scope == "cohort" and stage.digest == digest]
    if len(found) != 1:
        names = ", ".join(stage.name for stage in found) or "none"
        raise ConfigError(f"need one stage of the cohort that hangs on the {digest}; the stage table has: {names}.")
    return found[0]

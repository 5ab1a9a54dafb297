"""`rtpipeline-discover`: looks in the bucket for new cohorts and new courses from time to time; suspended at first."""

from __future__ import annotations

from workflows import expressions as ex
from workflows import names
from workflows.containers import Options, discover_container
from workflows.spec import argument, common_spec
from workflows.strict import hera

ARGUMENTS = ("inbox", "configuration", "store")


def discover_cron(options: Options) -> hera.CronWorkflow:
    """The CronWorkflow: one pod, with the account that may submit, which submits what is new and ends."""
    cron = hera.CronWorkflow(
        name=names.DISCOVER,
        schedules=["*/30 * * * *"],
        timezone="Etc/UTC",
        concurrency_policy="Forbid",
        starting_deadline_seconds=300,
        successful_jobs_history_limit=3,
        failed_jobs_history_limit=3,
        cron_suspend=True,
        labels={"app.kubernetes.io/name": "rtpipeline", "app.kubernetes.io/part-of": "rtpipeline"},
        annotations={
            names.ANNOTATION_TITLE: "Discover",
            names.ANNOTATION_DESCRIPTION: "Submits folders of the inbox that are new or have grown.",
            names.ANNOTATION_VERSION: options.version,
        },
        entrypoint=names.DISCOVER_TEMPLATE,
        arguments=[argument(name) for name in ARGUMENTS],
        **{**common_spec(), "service_account_name": names.SUBMITTER_ACCOUNT},
    )
    with cron:
        given = {f"--{name}": ex.parameter(name) for name in ARGUMENTS}
        discover_container(options, *(text for pair in given.items() for text in pair))
    return cron

"""`rtpipeline pod`: what a pod of a cluster runs, from the objects below `/work/in` to those at `/work/out`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtpipeline.commands import options
from rtpipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtpipeline.errors import ExitCode
    from rtpipeline.execution.pod import Pod

VERDICT = "verdict"

EPILOG = """\
exit codes: 0 done, or kept · 1 verdict: courses failed · 2 usage or configuration · 3 the data cannot be used
(recorded) · 70 a fault of the program (recorded) · 75 out of memory or a resource failed: nothing is left, may work
when tried again
"""


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "pod",
        "run one stage as a pod of a cluster",
        "Used by the workflow templates, not by people. Reads WORK/in, leaves WORK/out by one rename.",
        epilog=EPILOG,
    )
    parser.add_argument("name", metavar="STAGE", help=f"stage, such as dvh; or {VERDICT}")
    parser.add_argument("--course", default="", metavar="ID", help="course, for a stage of a course")
    parser.add_argument("--key", default="", metavar="KEY", help="key of the output")
    parser.add_argument("--cohort", type=options.cohort_name, default=options.DEFAULT_COHORT, metavar="NAME")
    parser.add_argument("--run-id", default="", metavar="ID", help="run that this belongs to")
    parser.add_argument(
        "--configuration", default="", metavar="NAME", help="of WORK/in/config.tgz, which only `default` can do without"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("/work"), metavar="DIR", help="folder of the pod (%(default)s)"
    )
    readers = parser.add_argument_group("stages that read the export or the store")
    readers.add_argument(
        "--source", action="append", default=[], metavar="URL", help="the export: s3://... or a folder"
    )
    readers.add_argument("--store", default="", metavar="URL", help="the store: s3://bucket/prefix")
    readers.add_argument("--secret-file", type=Path, metavar="FILE", help="secret of the pseudonyms")
    planner = parser.add_argument_group("organize")
    planner.add_argument("--cpu-image", default="", metavar="NAME", help="image of the stages without networks")
    planner.add_argument("--gpu-image", default="", metavar="NAME", help="image of the stages with networks")
    planner.add_argument("--weights", default="", metavar="NAME", help="name of the set of weights that is mounted")
    planner.add_argument(
        "--allow-identity-keep", action="store_true", help="accept `identity: keep`: patient ids become names of pods"
    )
    parser.add_argument("--failed", type=int, default=0, metavar="N", help=f"{VERDICT}: number of courses that failed")


def handle(args: argparse.Namespace) -> int:
    """Run the pod's work in this process."""
    from rtpipeline.execution.environment import limit_threads, stage_threads
    from rtpipeline.execution.stage_log import configure_logging
    from rtpipeline.stages import STAGES

    configure_logging()
    if args.name == VERDICT:
        from rtpipeline.execution.verdict import verdict

        return int(verdict(args.failed))
    if args.name not in STAGES:
        raise UsageError(f"no stage is called {args.name!r}; stages are {', '.join(STAGES)}.")
    # before the first numerical library is imported, which the configuration's files may do
    limit_threads(STAGES[args.name].resources.threads)

    from rtpipeline.execution.pod import PodRequest, run_pod

    def work(pod: Pod) -> ExitCode:
        limit_threads(stage_threads(args.name, pod.config))
        return _work_of(args.name)(pod)

    request = PodRequest(
        stage=args.name,
        cohort=args.cohort,
        work=args.work,
        course_id=args.course,
        key=args.key,
        run_id=args.run_id,
        configuration=args.configuration,
        sources=tuple(filter(None, args.source)),
        store=args.store,
        secret_file=args.secret_file,
        images={"cpu_image": args.cpu_image, "gpu_image": args.gpu_image, "weights": args.weights},
        allow_identity_keep=args.allow_identity_keep,
    )
    return int(run_pod(request, work))


def _work_of(stage: str) -> Callable[[Pod], ExitCode]:
    from rtpipeline.stages import STAGES

    if STAGES[stage].scope == "course":
        from rtpipeline.execution.pod_course import run_course_stage

        return run_course_stage
    if stage == "organize":
        from rtpipeline.execution.pod_organize import run_organize

        return run_organize
    from rtpipeline.execution.pod_aggregation import run_aggregation

    return run_aggregation

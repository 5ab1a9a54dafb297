"""`rtpipeline stage`: one stage of one course, from folders to a folder. What a pod runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rtpipeline.commands import options
from rtpipeline.errors import ExitCode, UsageError

EPILOG = """\
exit codes: 0 done (findings included) · 2 usage or configuration · 3 the data cannot be used · 70 a fault of the
program · 75 out of memory or a resource failed: may work when tried again
"""


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs, "stage", "run one stage of one course, from its input folders to its output folder", epilog=EPILOG
    )
    parser.add_argument("name", metavar="NAME", help="stage, such as dvh")
    data = parser.add_argument_group("data")
    data.add_argument("--course", metavar="ID", help="course, for a stage of a course")
    data.add_argument(
        "--in",
        dest="inputs",
        action="append",
        default=[],
        type=input_folder,
        metavar="STAGE=DIR",
        help="output folder of a stage that this one waits for, and of organize",
    )
    data.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="output folder, made by a rename at the end"
    )
    options.add_config(data)
    readers = parser.add_argument_group("stages that read the export, the private folder or the store")
    readers.add_argument(
        "--source",
        type=options.export,
        action="append",
        default=[],
        metavar="DIR_OR_ZIP",
        help="folder, archive or s3:// URL of the export",
    )
    readers.add_argument("--private", type=Path, metavar="DIR", help="folder with secret, index and registry")
    readers.add_argument("--store", type=Path, metavar="DIR", help="the cohort's folder in the store (aggregation)")
    labels = parser.add_argument_group("labels and limits")
    labels.add_argument("--cohort", type=options.cohort_name, default=options.DEFAULT_COHORT, metavar="NAME")
    labels.add_argument("--key", default="", metavar="KEY", help="key of the output")
    labels.add_argument("--run-id", default="", metavar="ID", help="run that this belongs to")
    labels.add_argument("--workers", type=options.positive, default=1, metavar="N", help="processes of the stage (1)")
    labels.add_argument("--fresh", action="store_true", help="use nothing of an earlier partial output in --out")
    labels.add_argument("--note", type=Path, metavar="FILE", help="receives `memory` or `transient` before exit 75")


def input_folder(text: str) -> tuple[str, Path]:
    """`STAGE=DIR` as its two parts."""
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form STAGE=DIR")
    return name, Path(folder)


def handle(args: argparse.Namespace) -> int:
    """Run the stage in this process."""
    from rtpipeline.config import load_config
    from rtpipeline.execution.environment import limit_threads, stage_threads
    from rtpipeline.stages import STAGES

    config = load_config(args.config)
    if args.name not in STAGES:
        raise UsageError(f"no stage is called {args.name!r}; stages are {', '.join(STAGES)}.")
    for name, folder in args.inputs:
        if name not in STAGES:
            raise UsageError(f"--in {name}={folder}: no stage is called {name!r}; stages are {', '.join(STAGES)}.")
    # before the first numerical library is imported: they read their limits only then
    limit_threads(stage_threads(args.name, config))

    from rtpipeline.execution.stage_entry import StageRequest, run_stage
    from rtpipeline.execution.stage_log import configure_logging

    configure_logging()
    code = run_stage(
        StageRequest(
            stage=args.name,
            cohort=args.cohort,
            out=args.out,
            config=config,
            stage_key=args.key,
            course_id=args.course,
            inputs=dict(args.inputs),
            sources=options.sources(args.source),
            private=args.private,
            store=args.store,
            run_id=args.run_id,
            workers=args.workers,
            fresh=args.fresh,
            note=args.note,
        )
    )
    return int(ExitCode(code))

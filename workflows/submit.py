"""`python -m workflows.submit`: a cohort becomes workflows of the cluster, unless it is done or on its way already."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rtpipeline.commands import options
from rtpipeline.errors import UsageError
from workflows import command, sources


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command.parser_of(
        "submit",
        "Submit a cohort to the cluster. What is done already is not computed again; what is on its way is not "
        "submitted twice.",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--cohort", type=options.cohort_name, required=True, metavar="NAME", help="cohort in the store")
    data.add_argument(
        "--source",
        action="append",
        required=True,
        metavar="s3://...|DIR",
        help="the export: a prefix of a bucket, or folders and archives here, which are uploaded first",
    )
    data.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration, YAML")
    command.add_place(parser)
    work = parser.add_argument_group("what is run")
    work.add_argument(
        "--only", type=options.names, default=(), metavar="STAGE,...", help="only these stages and what they need"
    )
    work.add_argument("--courses", type=options.names, default=(), metavar="ID,...", help="only these courses")
    work.add_argument(
        "--force", action="append", default=[], metavar="STAGE", help="compute again, with all that depends on it"
    )
    work.add_argument("--limit", type=options.positive, metavar="N", help="at most so many courses")
    work.add_argument(
        "--incremental",
        action="store_true",
        help="only for new data or settings: what was submitted before and failed is not tried again",
    )
    follow = parser.add_argument_group("what is shown")
    follow.add_argument(
        "--dry-run", action="store_true", help="print the YAML of what would be created; create nothing"
    )
    follow.add_argument("--wait", action="store_true", help="wait for the end, and then for the tables")
    follow.add_argument("--timeout", type=command.duration_s, metavar="TIME", help="of --wait, as in 90m or 12h")
    follow.add_argument("--watch", action="store_true", help="--wait, with a line whenever a stage has ended")
    command.add_json(follow)  # type: ignore[arg-type]
    return parser


def handle(args: argparse.Namespace) -> int:
    """Submit, and wait when asked to."""
    from rtpipeline.config import load_config
    from workflows.asked import Asked
    from workflows.installation import check_objects, installation
    from workflows.kube import connect
    from workflows.submission import Manner, Place, Submission

    if (args.timeout is not None) and not (args.wait or args.watch):
        raise UsageError("--timeout says how long to wait: give --wait too.")
    given = sources.checked(args.source)
    config = load_config(args.config)
    cluster = connect(args.namespace)
    installed = installation(cluster)
    if installed.warning:
        command.note(f"warning: {installed.warning}")
    store = command.store_bucket(args.store, installed.store)
    check_objects(cluster, installed, store.name)
    asked = Asked(
        cohort=args.cohort,
        sources=given,
        config=config,
        configuration=args.config.stem,
        courses=args.courses,
        only=args.only,
        force=tuple(args.force),
        limit=args.limit,
        incremental=args.incremental,
    )
    wait = args.wait or args.watch
    manner = Manner(dry_run=args.dry_run, wait=wait, every_stage=args.watch, timeout_s=args.timeout)
    with tempfile.TemporaryDirectory(prefix="rtpipeline-") as mirror:
        answer = Submission(Place(cluster, installed, store, Path(mirror)), asked, manner).run()
    if args.dry_run:  # stdout has the YAML
        command.note(answer.text())
    elif args.json:
        options.write_json(answer.as_json())
    else:
        options.write_text(answer.text())
    return answer.exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return command.run_command(handle, build_parser(), list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())

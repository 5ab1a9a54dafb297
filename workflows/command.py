"""What the commands of this package share: options, and errors as messages and exit codes."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence

from rtpipeline.errors import ExitCode, RTpipelineError, UsageError
from rtpipeline.store.bucket import Bucket
from workflows import messages

STORE_VARIABLE = "RTPIPELINE_STORE"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)?")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

EXIT_CODES = """\
exit codes:
  0    done, or submitted without --wait
  1    some courses failed, or the run ended without tables; the reasons are printed
  2    the command line, the configuration, the cluster or the bucket cannot be used; nothing was submitted
  75   --timeout is over or a server stayed away; what runs goes on
  130  interrupted; what runs goes on

environment: KUBECONFIG; RTPIPELINE_STORE; AWS_* of the bucket; ARGO_SERVER for links to the page of Argo

For research, not for treatment decisions.
"""


def parser_of(name: str, description: str) -> argparse.ArgumentParser:
    """A parser for `python -m workflows.<name>`."""
    return argparse.ArgumentParser(
        prog=f"python -m workflows.{name}",
        description=description,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_place(parser: argparse.ArgumentParser) -> None:
    """`--namespace` and `--store`."""
    place = parser.add_argument_group("place")
    place.add_argument("--namespace", metavar="NS", help="namespace of the chart (that of the kubeconfig otherwise)")
    place.add_argument(
        "--store",
        metavar="s3://BUCKET/PREFIX",
        help=f"where cohorts and results lie (${STORE_VARIABLE}, else what the installed templates say)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, everything else on stderr")


def duration_s(text: str) -> float:
    """Seconds of `90`, `90s`, `30m`, `12h` or `2d`."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; use seconds, or a number with s, m, h or d as in '12h'")
    return float(found[1]) * _SECONDS[found[2] or "s"]


def store_bucket(given: str | None, installed: str) -> Bucket:
    """The store: the option's, the environment's, or the installed templates'; asked for one name.

    Raises
    ------
    UsageError: none is known, or its bucket cannot be used.
    """
    url = given or os.environ.get(STORE_VARIABLE) or installed
    if not url:
        raise messages.no_store()
    bucket = Bucket.open(url)
    try:
        bucket.check()
    except RTpipelineError as error:
        raise messages.bucket_unreachable(url, str(error)) from None
    return bucket


def run_command(
    handle: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> int:
    """Read the options and run; errors become messages and exit codes."""
    args = parser.parse_args(arguments)
    try:
        return int(handle(args))
    except RTpipelineError as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write(f"{parser.prog}: interrupted\n")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        sys.stderr.close()
        return 0


def note(text: str) -> None:
    """A line for the person at the terminal, beside what a program reads."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def one_run(text: str) -> str:
    """A run's id, or `latest`.

    Raises
    ------
    UsageError: it is neither.
    """
    if text != "latest" and not re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", text):
        raise UsageError(f"{text!r} is no run; runs are called like 20260131-120000-1a2b3c, or `latest`.")
    return text

"""The `rtpipeline` command: finds the verb, reads the options, turns errors into messages and exit codes.

Each verb is a module of `rtpipeline.commands` with `register(verbs)` and `handle(args)`. Those modules import nothing
heavy at the top, so that `--help` starts at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

from rtpipeline import __version__
from rtpipeline.errors import ExitCode, RTpipelineError
from rtpipeline.execution.shipped_kernels import use_shipped_kernels

VERBS = (
    "run",
    "plan",
    "status",
    "retry",
    "report",
    "export",
    "validate",
    "doctor",
    "demo",
    "stage",
    "pod",
    "dvh",
    "radiomics",
    "weights",
    "render_config",
    "gc",
    "forget",
)
"""Modules of `rtpipeline.commands`, in the order of the help text."""

EXIT_CODES = """\
exit codes:
  0    done; findings, if any, are in findings.parquet
  1    run, retry: some courses failed, the tables of the others are written
  2    the command line, the configuration or an input cannot be used; nothing has run
  3    the data cannot be used at all (stage: recorded, never retried)
  70   a fault of the program
  75   out of memory or time, or a resource failed: may work when tried again
  130  interrupted; the same command goes on from there

For research, not for treatment decisions.
"""

Handler = Callable[[argparse.Namespace], int]


def build_parser(verbs: Sequence[str] = VERBS) -> argparse.ArgumentParser:
    """The parser with the given verbs; those whose module does not exist are left out."""
    parser = argparse.ArgumentParser(
        prog="rtpipeline",
        description="Turns a hospital's DICOM-RT exports into research tables.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"rtpipeline {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a fault of the program")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb in verbs:
        if _exists(verb):
            module = import_module(f"rtpipeline.commands.{verb}")
            before = set(subparsers.choices)
            module.register(subparsers)
            for added in set(subparsers.choices) - before:
                subparsers.choices[added].set_defaults(handle=module.handle)
    return parser


def _exists(verb: str) -> bool:
    return find_spec(f"rtpipeline.commands.{verb}") is not None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((a.replace("-", "_") for a in arguments if not a.startswith("-")), "")
    parser = build_parser([verb] if verb in VERBS and _exists(verb) else VERBS)
    args = parser.parse_args(arguments)
    use_shipped_kernels(os.environ)
    handle: Handler = args.handle
    try:
        return int(handle(args))
    except RTpipelineError as error:
        sys.stderr.write(f"rtpipeline: {error}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("rtpipeline: interrupted\n")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        sys.stderr.close()
        return 0
    except Exception as error:  # the last resort of the command line
        # the text of the error may quote the data, so it is shown on request only
        sys.stderr.write(
            f"rtpipeline: fault of the program ({type(error).__name__}); --debug before the command shows it\n"
        )
        if args.debug:
            logging.getLogger(__name__).exception("traceback")
        return int(ExitCode.FAULT)

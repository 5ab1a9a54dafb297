"""`python -m workflows.requested`: which cohorts an event of a repository asks for, as a matrix for its jobs.

A dispatch names one cohort; a push names those whose manifests it changed. The manifest of a cohort is
`cohorts/<cohort>.yaml`:

    source: s3://bucket/folder
    config: configurations/prostate.yaml     # below the repository
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from rtpipeline.commands import options
from rtpipeline.errors import ExitCode, UsageError
from workflows import command

MANIFESTS = "cohorts"
DISPATCHES = {"repository_dispatch": "client_payload", "workflow_dispatch": "inputs"}
"""Name of an event, and where its JSON has what was asked for."""


@dataclass(frozen=True)
class Requested:
    """One cohort to submit."""

    cohort: str
    source: str
    config: str


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command.parser_of("requested", "Print the cohorts that an event asks for, as one line of JSON.")
    parser.add_argument("--event-name", required=True, metavar="NAME", help="push, repository_dispatch, ...")
    parser.add_argument("--event", type=Path, required=True, metavar="FILE", help="the event as JSON")
    parser.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the repository (this folder)")
    return parser


def handle(args: argparse.Namespace) -> int:
    """Print them."""
    try:
        event = json.loads(args.event.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"--event {args.event} cannot be read as JSON ({type(error).__name__}).") from None
    found = [asdict(one) for one in requested(args.event_name, event, args.root)]
    options.write_text(json.dumps({"include": found}))
    return int(ExitCode.DONE)


def requested(name: str, event: Mapping[str, Any], root: Path) -> list[Requested]:
    """The cohorts of an event.

    Raises
    ------
    UsageError: it asks for something that cannot be submitted.
    """
    if name in DISPATCHES:
        return [_checked(event.get(DISPATCHES[name]) or {}, f"the {name} event", root)]
    found = []
    for path in changed_manifests(root, str(event.get("before", "")), str(event.get("after", ""))):
        content = yaml.safe_load((root / path).read_text()) or {}
        found.append(_checked({"cohort": Path(path).stem, **content}, path, root))
    return found


def changed_manifests(root: Path, before: str, after: str) -> list[str]:
    """The manifests that differ between two commits; all of them where the first is not known (a new branch).

    Raises
    ------
    UsageError: there is no git repository at `root`.
    """
    every = sorted(path.relative_to(root).as_posix() for path in (root / MANIFESTS).glob("*.yaml"))
    if not before.strip("0") or not after:
        return every
    options_of_diff = ("--name-only", "--diff-filter=AMR")
    git = ["git", "-C", str(root), "diff", *options_of_diff, before, after, "--", MANIFESTS]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode:
        # a force push has taken the older commit away: to look at each again costs little
        return every
    return sorted(set(done.stdout.splitlines()) & set(every))


def _checked(asked: Mapping[str, Any], origin: str, root: Path) -> Requested:
    unknown = sorted(set(asked) - {"cohort", "source", "config"})
    missing = [name for name in ("cohort", "source", "config") if not isinstance(asked.get(name), str)]
    if unknown or missing:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}, which means nothing"
        raise UsageError(f"{origin} {wrong}; it names cohort, source and config.")
    found = Requested(asked["cohort"], asked["source"], asked["config"])
    try:
        options.cohort_name(found.cohort)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{origin}: {error}.") from None
    if not found.source.startswith("s3://"):
        raise UsageError(f"{origin}: source {found.source} is no s3:// URL; a runner has no export of its own.")
    config = (root / found.config).resolve()
    if not config.is_relative_to(root.resolve()) or not config.is_file():
        raise UsageError(f"{origin}: config {found.config} is no file of the repository.")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return command.run_command(handle, build_parser(), list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())

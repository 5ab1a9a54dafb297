"""Options that several commands share, and how they become a configuration. Imports nothing heavy at the top."""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtpipeline.errors import UsageError

if TYPE_CHECKING:
    from rtpipeline.config import Config
    from rtpipeline.dicom.sources import Source
    from rtpipeline.execution.cohort_run import RunOptions
    from rtpipeline.store.folder import CohortFolder

DEFAULT_COHORT = "cohort"
COHORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def add_verb(verbs: Any, name: str, help_text: str, details: str = "", epilog: str = "") -> argparse.ArgumentParser:
    """A parser for one command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=help_text,
        description=f"{help_text[0].upper()}{help_text[1:]}. {details}".strip(),
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def add_input(parser: Any, *, required: bool = True) -> None:
    """`--input`."""
    parser.add_argument(
        "--input",
        type=export,
        action="append",
        required=required,
        default=None if required else [],
        metavar="DIR_OR_ZIP",
        help="folder, archive or s3:// URL of the export; may be given several times",
    )


def add_store(parser: Any, *, in_bucket: bool = False) -> None:
    """`--output` and `--cohort`."""
    parser.add_argument(
        "--output",
        type=export if in_bucket else local_store,
        required=True,
        metavar="STORE",
        help="folder or s3:// URL of the store" if in_bucket else "folder of the store",
    )
    parser.add_argument(
        "--cohort", type=cohort_name, default=DEFAULT_COHORT, metavar="NAME", help="cohort in the store (%(default)s)"
    )


def add_config(parser: Any) -> None:
    """`--config`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration, YAML (defaults otherwise)")


def add_json(parser: Any) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, everything else on stderr")


def add_processing(parser: Any) -> None:
    """The options that `run` and `plan` have in common beyond input, store and configuration."""
    parser.add_argument("--workers", type=positive, metavar="N", help="stages at once (configuration's otherwise)")
    parser.add_argument("--courses", type=names, default=(), metavar="ID,...", help="only these courses")
    parser.add_argument(
        "--only", type=names, default=(), metavar="STAGE,...", help="only these stages and what they need"
    )
    parser.add_argument(
        "--force", action="append", default=[], metavar="STAGE", help="compute again, with all that depends on it"
    )
    parser.add_argument("--secret-file", type=Path, metavar="FILE", help="secret of the cohort, for its pseudonyms")
    parser.add_argument("--verify-content", action="store_true", help="hash the whole content of every object")


def add_cohort_run(parser: Any, *, in_bucket: bool = False) -> None:
    """All options of a run of a cohort: what `run` does and `plan` foresees."""
    data = parser.add_argument_group("data")
    add_input(data)
    add_store(data, in_bucket=in_bucket)
    add_config(data)
    add_processing(parser.add_argument_group("processing"))
    add_json(parser.add_argument_group("output"))


def run_options(args: argparse.Namespace) -> RunOptions:
    """What `add_cohort_run` has read."""
    from rtpipeline.execution.cohort_run import RunOptions

    return RunOptions(
        inputs=sources(args.input),
        store=args.output,
        cohort=args.cohort,
        config=configuration(args),
        courses=args.courses,
        only=args.only,
        force=tuple(args.force),
        secret_file=args.secret_file,
    )


def export(text: str) -> Path | str:
    """A path, or the URL of a bucket as it is."""
    return text if text.startswith("s3://") else Path(text)


def local_store(text: str) -> Path:
    """A folder; a store in a bucket is for other commands."""
    if text.startswith("s3://"):
        raise argparse.ArgumentTypeError(
            f"{text} is in a bucket, which `rtpipeline run` and `python -m workflows.submit` write to; this command "
            "reads a folder, such as the --cache of `rtpipeline run`"
        )
    return Path(text)


def sources(given: Iterable[Path | str]) -> tuple[Source, ...]:
    """The sources that options of type `export` name.

    Raises
    ------
    UsageError: a URL names none.
    TransientError: the bucket of an upload cannot be reached.
    """
    from rtpipeline.dicom.bucket_sources import sources_of

    return tuple(source for text in given for source in sources_of(text))


def cohort_name(text: str) -> str:
    """A cohort's name: lower case letters, digits, hyphens, since it becomes a folder and a Kubernetes name."""
    if not COHORT_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no cohort name; use 1 to 63 lower case letters, digits and hyphens, such as 'prostate-2024'"
        )
    return text


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def configuration(args: argparse.Namespace) -> Config:
    """The configuration of `--config` with what the command line changes of it.

    Raises
    ------
    ConfigError: it cannot be used.
    """
    from rtpipeline.config import load_config

    config = load_config(args.config)
    if getattr(args, "workers", None) is not None:
        config = config.model_copy(update={"workers": args.workers})
    if getattr(args, "verify_content", False):
        organize = config.organize.model_copy(update={"verify_content": True})
        config = config.model_copy(update={"organize": organize})
    return config


def existing_cohort(args: argparse.Namespace) -> CohortFolder:
    """The cohort's folder.

    Raises
    ------
    UsageError: the store has no such cohort.
    """
    from rtpipeline.store.folder import CohortFolder

    folder = CohortFolder(args.output.absolute(), args.cohort)
    if not folder.private.is_dir():
        have = sorted(p.parent.name for p in args.output.glob("*/private"))
        listed = f"it has {', '.join(have)}" if have else "it has none"
        raise UsageError(
            f"no cohort {args.cohort} in {args.output} ({listed}); give --cohort, or use `rtpipeline run`."
        )
    return folder


def add_bucket_store(parser: Any) -> None:
    """`--output` that may be a bucket, `--cohort`, and what removing from a bucket has besides."""
    add_store(parser, in_bucket=True)
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="with --output s3://: folder of `run --cache` (user's cache)"
    )
    parser.add_argument(
        "--stopped",
        action="store_true",
        help="with --output s3://: the run that seems to be under way has been stopped",
    )


def refuse_bucket_options(args: argparse.Namespace) -> None:
    """Refuse `--cache` and `--stopped` for a folder.

    Raises
    ------
    UsageError: one of them is given.
    """
    if args.cache is not None or args.stopped:
        raise UsageError("--cache and --stopped are for a store in a bucket: --output s3://bucket/prefix.")


def write_json(value: Any) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def refuse_table(path: Path | None) -> None:
    """Whether a file can be written with `write_table`, before anything is computed.

    Raises
    ------
    UsageError: neither Parquet nor CSV by its name, no folder for it, or a folder itself.
    """
    if path is None:
        return
    if path.suffix not in (".parquet", ".csv"):
        raise UsageError(f"--out {path}: need a name that ends with .parquet or .csv.")
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}; make it first.")
    if path.is_dir():
        raise UsageError(f"--out {path} is a folder; give the name of a file.")


def write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Rows as a file: Parquet, or CSV where its name ends with .csv."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows]), path)


def write_text(text: str) -> None:
    """Lines on stdout."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def confirmed(question: str, args: argparse.Namespace) -> bool:
    """Whether the user agrees: by `--yes`, or by an answer on a terminal.

    Raises
    ------
    UsageError: there is nobody to ask.
    """
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Give --yes to go ahead without being asked.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")

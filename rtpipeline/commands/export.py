"""`rtpipeline export`: the tables of a run as files for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rtpipeline.commands import options
from rtpipeline.commands.results import add_run, results_folder
from rtpipeline.errors import UsageError

FORMATS = {
    "csv": "comma and decimal point, UTF-8",
    "csv-comma": "semicolon and decimal comma, UTF-8 with byte order mark",
    "xlsx": "one workbook, a sheet for each table",
    "parquet": "the tables as they are, curves included",
}


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "export",
        "write the tables of a run into a folder",
        "The data dictionary comes with them.",
        "formats:\n" + "\n".join(f"  {name:10} {meaning}" for name, meaning in FORMATS.items()),
    )
    options.add_store(parser)
    add_run(parser)
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--format", choices=sorted(FORMATS), default="csv", help="kind of file (%(default)s)")
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Write the files."""
    results = results_folder(args)
    if args.to.exists() and not args.to.is_dir():
        raise UsageError(f"--to {args.to} is a file; give a folder.")
    if args.to.resolve().is_relative_to(results.parent):
        raise UsageError(f"--to {args.to} lies inside the store's results; give a folder outside of it.")
    args.to.mkdir(parents=True, exist_ok=True)
    written = [*_write(results, args.to, args.format), _copy(results / "data_dictionary.md", args.to)]
    if args.json:
        options.write_json({"files": [str(path) for path in written]})
    else:
        options.write_text("\n".join(str(path) for path in written))
    return 0


def _write(results: Path, to: Path, kind: str) -> list[Path]:
    from rtpipeline.aggregation.exports import DECIMAL_COMMA, PLAIN, export_csv
    from rtpipeline.aggregation.workbook import WORKBOOK, write_workbook

    if kind == "parquet":
        return [_copy(path, to) for path in sorted(results.glob("*.parquet"))]
    if kind == "xlsx":
        write_workbook(results, to / WORKBOOK)
        return [to / WORKBOOK]
    return export_csv(results, to, PLAIN if kind == "csv" else DECIMAL_COMMA)


def _copy(path: Path, to: Path) -> Path:
    import shutil

    return Path(shutil.copyfile(path, to / path.name))

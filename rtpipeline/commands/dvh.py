"""`rtpipeline dvh`: dose-volume metrics of two loose files."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtpipeline.commands import options
from rtpipeline.errors import UsageError

if TYPE_CHECKING:
    from rtpipeline.dvh.loose import LooseResult

END_CAP = "shape"
DOSE_INTERPOLATION = "cubic"
"""Used where the command line says nothing, as in the configuration."""

SHOWN = {
    "structure_name": "structure",
    "volume_cc": "volume cc",
    "dose_coverage_pct": "inside %",
    "dmean_gy": "mean Gy",
    "dmax_gy": "max Gy",
    "d95_gy": "D95 Gy",
    "d2_gy": "D2 Gy",
    "dose_status": "status",
}
"""Columns of the table on a terminal, with their headings."""


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "dvh",
        "dose-volume metrics of a structure set and a dose, without a store",
        "Needs no CT. Prints a table, or every column with --json or --out; name the two files first.",
    )
    parser.add_argument("rtstruct", type=Path, metavar="RS.dcm", help="RTSTRUCT")
    parser.add_argument("rtdose", type=Path, metavar="RD.dcm", help="RTDOSE")
    parser.add_argument("--plan", type=Path, metavar="RP.dcm", help="RTPLAN, for prescriptions")
    parser.add_argument(
        "--structure", nargs="+", action="extend", default=[], metavar="NAME_OR_NUMBER", help="only these structures"
    )
    parser.add_argument(
        "--end-cap",
        choices=["prism", "shape"],
        default=END_CAP,
        help="solid of the contours: read literally, half a gap each, or interpolated between them (%(default)s)",
    )
    parser.add_argument(
        "--dose-interpolation",
        choices=["linear", "cubic"],
        default=DOSE_INTERPOLATION,
        help="dose between grid points (%(default)s)",
    )
    parser.add_argument("--d-pct", type=_numbers, metavar="95,50", help="D metrics at percent of the volume")
    parser.add_argument("--d-cc", type=_numbers, metavar="0.03,1", help="D metrics at cc")
    parser.add_argument("--v-gy", type=_numbers, metavar="10,20", help="V metrics at Gy")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--json", action="store_true", help="a list of rows, one for each structure, on stdout")
    where.add_argument("--out", type=Path, metavar="FILE", help="write FILE.parquet or FILE.csv")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the cumulative histograms")


def handle(args: argparse.Namespace) -> int:
    """Compute and show the rows."""
    options.refuse_table(args.out)
    _refuse_picture(args.plot)
    from rtpipeline.execution.environment import limit_threads

    limit_threads(1)  # as the stage does: the last bits of a sum follow the number of threads
    from rtpipeline.kernels import use_pack

    use_pack()  # before anything imports kernels
    from rtpipeline.dvh.loose import LooseSettings, loose_results

    given = {name: getattr(args, name) for name in ("d_pct", "d_cc", "v_gy") if getattr(args, name) is not None}
    settings = LooseSettings(
        end_cap=args.end_cap, interpolation=args.dose_interpolation, structures=args.structure, **given
    )
    results = loose_results(args.rtstruct, args.rtdose, args.plan, settings)
    rows = [result.row for result in results]
    if args.json:
        options.write_json(rows)
    elif args.out is not None:
        options.write_table(rows, args.out)
    else:
        _show(rows)
    if args.plot is not None:
        _plot(results, args.plot)
    return 0


def _refuse_picture(path: Path | None) -> None:
    """Refuse a picture that could not be written, before anything is computed.

    Raises
    ------
    UsageError: no PNG by its name, no folder for it, or a folder itself.
    """
    if path is None:
        return
    if path.suffix != ".png":
        raise UsageError(f"--plot {path}: need a name that ends with .png.")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {path}: there is no folder {path.parent}; make it first.")
    if path.is_dir():
        raise UsageError(f"--plot {path} is a folder; give the name of a file.")


def _plot(results: list[LooseResult], path: Path) -> None:
    from rtpipeline.report.dvh_picture import Curve, dvh_picture

    curves = [
        Curve(
            name=result.roi.roi_name or str(result.roi.roi_number),
            dose_gy=result.dvh.dose_edges_gy,
            volume_pct=100.0 * result.dvh.volume_edges_cc / result.dvh.volume_cc,
            colour=result.roi.display_color,
        )
        for result in results
        if result.dvh is not None and len(result.dvh.dose_edges_gy)
    ]
    dvh_picture(curves).save(path)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: need numbers with commas between, such as 95,50") from None
    if not all(math.isfinite(v) and v > 0 for v in values):
        raise argparse.ArgumentTypeError(f"{text!r}: need numbers above 0")
    return values


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name, heading in SHOWN.items():
        is_text = name in ("structure_name", "dose_status")
        # a narrow terminal costs the name its width, not the numbers their digits
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=name != "structure_name")
    for row in rows:
        table.add_row(*(_text(row.get(name)) for name in SHOWN))
    console = Console(file=sys.stdout)
    console.print(table)
    console.print("For research, not for treatment decisions.", style="dim")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"

"""`rtpipeline radiomics`: features of a loose image and mask."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rtpipeline.commands import options
from rtpipeline.errors import UsageError


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "radiomics",
        "radiomic features of an image and a mask, without a store",
        "Equal to PyRadiomics on the image as float64. Prints a table, or every column with --json or --out.",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="NIfTI, NRRD or MetaImage, three dimensions")
    parser.add_argument("mask", type=Path, metavar="MASK", help="labels on the voxels of the image")
    parser.add_argument("--label", type=int, default=1, metavar="N", help="value of the mask inside (%(default)s)")
    parser.add_argument(
        "--profile",
        default="seed-ct",
        metavar="NAME_OR_FILE",
        help="seed-ct, ct, original, seed-mr, original-mr, or a PyRadiomics parameter file (%(default)s)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--json", action="store_true", help="a list of one row on stdout")
    where.add_argument("--out", type=Path, metavar="FILE", help="write FILE.parquet or FILE.csv")


def handle(args: argparse.Namespace) -> int:
    """Compute and show the row."""
    options.refuse_table(args.out)
    if args.label == 0:
        raise UsageError("--label 0 is the outside of a mask; give the value inside.")
    from rtpipeline.execution.environment import limit_threads

    limit_threads(1)  # as the stage does
    from rtpipeline.radiomics.loose import loose_row
    from rtpipeline.radiomics.profiles import load_profile

    row = loose_row(args.image, args.mask, args.label, load_profile(args.profile))
    if args.json:
        options.write_json([row])
    elif args.out is not None:
        options.write_table([row], args.out)
    else:
        options.write_text("\n".join(f"{name:<48} {_text(value)}" for name, value in row.items()))
        options.write_text("\nFor research, not for treatment decisions.")
    return 0


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.8g}" if isinstance(value, float) else str(value)

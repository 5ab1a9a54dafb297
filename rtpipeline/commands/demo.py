"""`rtpipeline demo`: a cohort of synthetic patients with known answers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rtpipeline.commands import options
from rtpipeline.demo.profile import PROFILES, write_profile
from rtpipeline.errors import ExitCode, UsageError


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "demo",
        "write a cohort of synthetic patients as DICOM, with the true answers beside it",
        "Writes DIR/dicom, DIR/config.yaml and DIR/truth.json; run it with "
        "`rtpipeline run --input DIR/dicom --config DIR/config.yaml --output STORE`.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--patients", type=options.positive, default=6, metavar="N", help="patients (%(default)s)")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="STORE",
        help="write nothing; compare the latest tables of this store with DIR/truth.json",
    )
    parser.add_argument("--cohort", type=options.cohort_name, default="demo", help="cohort to compare (%(default)s)")
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        default=PROFILES[0],
        help="configuration written to DIR/config.yaml: demo for minutes, full for every feature (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=7, metavar="S", help="same seed, same bytes (%(default)s)")
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Write the cohort, or compare a run of it with the truth."""
    if args.compare is not None:
        return _compare(args)
    from rtpipeline.demo import make_cohort

    if (args.out / "dicom").exists():
        raise UsageError(f"{args.out / 'dicom'} exists already; give another --out, or remove it.")
    truth = make_cohort(args.out, patients=args.patients, seed=args.seed)
    write_profile(args.out, args.profile)
    files = sum(patient["files"] for patient in truth["patients"].values())
    if args.json:
        options.write_json({"out": str(args.out), "patients": len(truth["patients"]), "files": files})
    else:
        options.write_text(
            f"{len(truth['patients'])} patients, {files} DICOM files in {args.out / 'dicom'}; "
            f"the true answers in {args.out / 'truth.json'}"
        )
    return 0


def _compare(args: argparse.Namespace) -> int:
    from rtpipeline.demo.compare import compare
    from rtpipeline.store.folder import CohortFolder

    folder = CohortFolder(args.compare.absolute(), args.cohort)
    found = compare(args.out / "truth.json", folder.results / "latest", folder.private / "identity.parquet")
    largest = {kind: str(found.largest(kind) or "none compared") for kind in ("volume", "dose")}
    if args.json:
        dice = {f"{o.patient} {o.structure}": round(o.dice, 4) for o in found.overlaps}
        answer = {"compared": len(found.deviations), "failures": found.failures, "largest": largest, "dice": dice}
        options.write_json(answer)
    else:
        lines = [f"{len(found.deviations)} numbers compared with the truth, {len(found.failures)} beyond their limit"]
        lines += [f"largest deviation, {kind}: {text}" for kind, text in largest.items()]
        if found.overlaps:
            least = min(found.overlaps, key=lambda o: o.dice - o.limit)
            lines.append(f"{len(found.overlaps)} organs of networks compared with the phantom; least: {least}")
        options.write_text("\n".join([*lines, *found.failures]))
    return int(ExitCode.SOME_COURSES_FAILED if found.failures else ExitCode.DONE)

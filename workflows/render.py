"""`python -m workflows.render`: write the templates from the stage table into the chart's folder.

Exit codes: 0 written, or nothing stale with --check · 1 stale files with --check · 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtpipeline.stages import STAGES
from workflows import names
from workflows.aggregate import aggregate_template
from workflows.cohort import cohort_template
from workflows.containers import Options
from workflows.course import courses_template
from workflows.discover_cron import discover_cron

FOLDER = Path(__file__).resolve().parents[1] / "helm" / "rtpipeline" / "files"
HEADER = "# Made by `make render` from rtpipeline/stages.py: change that, not this file.\n"


def objects(table: names.Table = STAGES, options: Options | None = None) -> dict[str, dict[str, Any]]:
    """The Kubernetes objects by name, as plain JSON values."""
    options = options or Options()
    made = (
        courses_template(table, options),
        aggregate_template(table, options),
        cohort_template(table, options),
        discover_cron(options),
    )
    return {str(each.name): each.to_dict() for each in made}


def rendered(table: names.Table = STAGES, options: Options | None = None) -> dict[str, str]:
    """File name to content."""
    import yaml

    return {
        f"{name}.yaml": HEADER + yaml.safe_dump(found, sort_keys=False, width=sys.maxsize, allow_unicode=True)
        for name, found in objects(table, options).items()
    }


def stale(folder: Path, wanted: dict[str, str]) -> list[str]:
    """Names of the files that are absent or differ."""
    return [
        name for name, text in wanted.items() if not (folder / name).is_file() or (folder / name).read_text() != text
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflows.render", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and exit 1 when a file is stale")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="folder (the chart's by default)")
    parser.add_argument(
        "--no-patch-executor",
        dest="patch_executor",
        action="store_false",
        help="leave Argo's own containers (init, wait) as the controller's configuration makes them",
    )
    chosen = parser.parse_args(arguments)
    wanted = rendered(options=Options(patch_executor=chosen.patch_executor))
    old = stale(chosen.out, wanted)
    if chosen.check:
        for name in old:
            sys.stderr.write(f"{chosen.out / name} is stale: run `make render` and commit it.\n")
        return 1 if old else 0
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        (chosen.out / name).write_text(text)
        sys.stdout.write(f"{chosen.out / name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`rtpipeline plan`: which course-stages would run, and why."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from rtpipeline.commands import options

if TYPE_CHECKING:
    from rtpipeline.execution.foresight import Foresight


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "plan",
        "show which course-stages would run, and why",
        "Computes nothing. A stage behind one that runs is kept after all when that one's output turns out the same.",
    )
    options.add_cohort_run(parser)


def handle(args: argparse.Namespace) -> int:
    """Print the plan."""
    from rtpipeline.execution.foresight import foresee

    seen = foresee(options.run_options(args))
    if args.json:
        options.write_json(seen.as_json())
    else:
        options.write_text(_text(seen))
    return 0


def _text(seen: Foresight) -> str:
    if seen.plan is None:
        return (
            f"organize would run ({seen.organize_reason}): it finds the courses, and with them what they need.\n"
            "`rtpipeline run --only prepare_images,prepare_rt` reads and checks the export without computing features."
        )
    lines = [f"{p.course_id} {p.stage}: {p.reason}" for p in seen.predictions]
    by_kind = Counter(str(p.reason.kind) for p in seen.predictions)
    total = len(seen.plan.items)
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(by_kind.items()))
    lines.append(f"{len(lines)} of {total} course-stages would run" + (f" ({kinds})" if kinds else ""))
    return "\n".join(lines)

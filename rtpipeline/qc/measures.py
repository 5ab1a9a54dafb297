"""What qc measures itself, on the tables that the stages left: what such a row is, and how the stages ended.

A check that has nothing to look at says so in a row of its own; missing is never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rtpipeline.config import QcConfig
from rtpipeline.qc.outputs import CourseOutputs
from rtpipeline.stages import STAGES

Status = Literal["pass", "warn", "fail", "not_evaluated"]

COURSE = "course"
"""Object of a row about the course as a whole."""

MAX_NAMES = 8
"""Names that one row lists."""


@dataclass(frozen=True)
class Measured:
    """One row of a check, before the findings join it; `expected` '' stands for the check's own."""

    object: str
    status: Status
    measured: str
    expected: str = ""


def nothing(reason: str) -> list[Measured]:
    """A check without anything to look at."""
    return [Measured(COURSE, "not_evaluated", reason)]


def some(found: Iterable[str]) -> str:
    """Names, the first MAX_NAMES of them."""
    listed = list(found)
    more = f" and {len(listed) - MAX_NAMES} more" if len(listed) > MAX_NAMES else ""
    return ", ".join(listed[:MAX_NAMES]) + more


def stages(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """How each stage of the course ended."""
    verdicts: dict[str, Status] = {
        "done": "pass", "partial": "warn", "not_run": "warn", "data_error": "fail", "fault": "fail",
        "not_applicable": "not_evaluated", "disabled": "not_evaluated",
    }  # fmt: skip
    found = []
    for name in STAGES["qc"].uses:
        status = outputs.status(name)
        lost = [n for n in STAGES[name].needs if verdicts.get(outputs.status(n), "fail") == "fail"]
        if status == "absent" and lost:
            found.append(Measured(f"stage {name}", "not_evaluated", f"left out, since {', '.join(lost)} gave nothing"))
        elif status == "absent":
            measured = "no output: it ran out of time or memory, died, or was not selected"
            found.append(Measured(f"stage {name}", "fail", measured))
        else:
            measured = outputs.reason(name).partition(": ")[2]
            found.append(Measured(f"stage {name}", verdicts[status], measured))
    return found

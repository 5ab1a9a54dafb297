"""Facts that the prepare stages wrote beside their tables: plans, doses and images of a course."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rtpipeline.aggregation.run_plan import CollectedCourse

T = TypeVar("T", list[Any], dict[str, Any])

JOIN = "+"
"""Joins several values of one column."""


PLAN_FACTS = (
    "techniques", "energies", "radiation_types", "fraction_groups", "fractions_planned", "beams", "monitor_units",
    "plan_rx_gy", "plan_rx_levels_gy", "beam_dose_total_gy",
)  # fmt: skip
"""What is kept of a plan; the facts of every beam stay in the stage's folder."""


@dataclass(frozen=True)
class CourseFacts:
    """What `plans.json`, `doses.json`, `course_total.json` and `images.json` say; empty where they do not exist."""

    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    """by plan_id"""
    doses: list[dict[str, Any]] = field(default_factory=list)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    """by image_id"""
    total: dict[str, Any] = field(default_factory=dict)
    """what was decided about the dose of the whole course"""
    problems: tuple[str, ...] = ()
    """files that are there but cannot be read"""


def course_facts(collected: CollectedCourse) -> CourseFacts:
    """Read the facts of one course."""
    problems: list[str] = []

    def content(stage: str, file: str, kind: type[T]) -> T:
        path = collected.stages[stage].table(file)
        if path is None:
            return kind()
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError):
            found = None
        if not isinstance(found, kind):
            problems.append(f"{file} of {stage}")
            return kind()
        return found

    plans: list[dict[str, Any]] = content("prepare_rt", "plans.json", list)
    images: list[dict[str, Any]] = content("prepare_images", "images.json", list)
    return CourseFacts(
        plans={plan["plan_id"]: {name: plan[name] for name in PLAN_FACTS} for plan in plans},
        doses=content("prepare_rt", "doses.json", list),
        images={image["image_id"]: image for image in images},
        total=content("prepare_rt", "course_total.json", dict),
        problems=tuple(problems),
    )


def joined(values: list[Any]) -> str | None:
    """Distinct values in order of appearance, joined; None when there are none."""
    texts = [_text(v) for v in values if v not in (None, "", [])]
    return JOIN.join(dict.fromkeys(texts)) or None


def only(values: list[Any]) -> Any:
    """The value when all agree; None when they differ or there is none."""
    distinct = {v for v in values if v is not None}
    return distinct.pop() if len(distinct) == 1 and None not in values else None


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return JOIN.join(dict.fromkeys(_text(v) for v in value))
    return f"{value:g}" if isinstance(value, float) else str(value)

"""Facts that the prepare stages wrote beside their tables: plans, doses and images of a course."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from rtpipeline.aggregation.run_plan import CollectedCourse

JOIN = "+"
"""Joins several values of one column."""


@dataclass(frozen=True)
class CourseFacts:
    """What `plans.json`, `doses.json` and `images.json` say about one course; empty where they do not exist."""

    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    """by plan_id"""
    doses: list[dict[str, Any]] = field(default_factory=list)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    """by image_id"""
    problems: tuple[str, ...] = ()
    """files that are there but cannot be read"""


def course_facts(collected: CollectedCourse) -> CourseFacts:
    """Read the facts of one course."""
    problems: list[str] = []

    def entries(stage: str, file: str, name: str) -> list[dict[str, Any]]:
        path = collected.stages[stage].table(file)
        if path is None:
            return []
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError):
            problems.append(f"{file} of {stage}")
            return []
        listed = content.get(name, []) if isinstance(content, dict) else content
        return [entry for entry in listed if isinstance(entry, dict)]

    return CourseFacts(
        plans={str(p.get("plan_id")): p for p in entries("prepare_rt", "plans.json", "plans")},
        doses=entries("prepare_rt", "doses.json", "doses"),
        images={str(i.get("image_id")): i for i in entries("prepare_images", "images.json", "images")},
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

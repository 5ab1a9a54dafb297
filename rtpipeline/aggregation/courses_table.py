"""The tables of courses and of plans: one row for each course of the manifest and for each of its plans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rtpipeline import __version__
from rtpipeline.aggregation.facts import CourseFacts, joined, only
from rtpipeline.aggregation.run_plan import FAILED, MISSING, CollectedCourse
from rtpipeline.stages import COURSE_STAGES

NOTHING_TO_DO = frozenset({"not_applicable", "disabled", "not_run"})
"""Statuses of a stage that had nothing to give, and said so."""


@dataclass
class Counts:
    """Rows of other tables by course."""

    findings: dict[str, dict[str, int]] = field(default_factory=dict)
    """severity to number"""
    structures: dict[str, int] = field(default_factory=dict)
    structures_with_volume: dict[str, int] = field(default_factory=dict)
    dvh_rows: dict[str, int] = field(default_factory=dict)
    fractions_delivered: dict[str, int | None] = field(default_factory=dict)


def course_status(excluded: bool, statuses: Iterable[str]) -> str:
    """One word for a course from the statuses of its stages.

    `excluded` by organize; `missing` when no stage has an output; `failed` when one was tried and gave nothing;
    `partial` when one is incomplete, or missing while others are there; else `ok`.
    """
    found = set(statuses)
    if excluded:
        return "excluded"
    if found <= {MISSING}:
        return "missing"
    if found & FAILED:
        return "failed"
    return "partial" if found & {"partial", "omitted", MISSING} else "ok"


def plan_rows(cohort: str, collected: CollectedCourse, facts: CourseFacts, organize_key: str) -> list[dict[str, Any]]:
    """Rows of `plans`: what organize says of each plan, and its facts where prepare_rt has read it."""
    prepared = collected.stages["prepare_rt"]
    excluded = collected.course.status == "excluded"
    rows = []
    for plan in collected.course.plans:
        stated = facts.plans.get(plan.plan_id)
        row: dict[str, Any] = {
            "cohort": cohort,
            "patient_id": collected.course.patient_id,
            "course_id": collected.course_id,
            "plan_id": plan.plan_id,
            "plan_class": plan.plan_class,
            "selected": plan.selected and not excluded,
            "reason": "course excluded" if excluded else plan.reason or None,
            "structure_set_id": plan.structure_set_id,
            "approval_status": plan.approval_status or None,
            "plan_intent": plan.intent or None,
            "stage_key": organize_key,
            "rtpipeline_version": __version__,
        }
        if stated is not None:
            row |= _stated(stated)
            row["stage_key"] = prepared.key
            row["rtpipeline_version"] = (prepared.record.rtpipeline_version if prepared.record else "") or __version__
        rows.append(row)
    return rows


def _stated(plan: dict[str, Any]) -> dict[str, Any]:
    return {
        "technique": joined(plan["techniques"]),
        "energies": joined(plan["energies"]),
        "radiation_types": joined(plan["radiation_types"]),
        "fraction_groups": len(plan["fraction_groups"]),
        "fractions_planned": plan["fractions_planned"],
        "beams": plan["beams"],
        "monitor_units": plan["monitor_units"],
        "plan_rx_gy": plan["plan_rx_gy"],
        "plan_rx_levels_gy": joined(plan["plan_rx_levels_gy"]),
        "beam_dose_total_gy": plan["beam_dose_total_gy"],
    }


def course_row(
    cohort: str,
    collected: CollectedCourse,
    facts: CourseFacts,
    plans: Sequence[dict[str, Any]],
    counts: Counts,
) -> dict[str, Any]:
    """Row of `courses`, for a course of any status."""
    course = collected.course
    statuses = {name: collected.stages[name].status for name in COURSE_STAGES}
    severities = counts.findings.get(course.course_id, {})
    return {
        "cohort": cohort,
        "patient_id": course.patient_id,
        "course_id": course.course_id,
        "course_order": course.course_order,
        "course_kind": course.course_kind,
        "course_status": course_status(course.status == "excluded", statuses.values()),
        "excluded_by": ";".join(course.excluded_by) or None,
        **{f"findings_{s.lower()}": severities.get(s, 0) for s in ("E", "W", "I")},
        **_object_counts(collected, facts, counts),
        **_planning_image(collected, facts),
        **course.covariates.model_dump(include={"age_years", "sex", "scanner", "contrast"}),
        **_plan_facts([p for p in plans if p["selected"]]),
        "fractions_delivered": counts.fractions_delivered.get(course.course_id),
        "plan_rx_total_gy": rx_total_gy(facts),
        "course_total_status": facts.total.get("status"),
        **{f"status_{name}": status for name, status in statuses.items()},
        "rtpipeline_version": __version__,
    }


def _object_counts(collected: CollectedCourse, facts: CourseFacts, counts: Counts) -> dict[str, Any]:
    """Objects are counted by organize; what came of them is null where the stage gave nothing."""
    course, course_id = collected.course, collected.course_id

    def made(stage: str, number: int) -> int | None:
        return number if collected.stages[stage].status in {"done", "partial", *NOTHING_TO_DO} else None

    return {
        "images": len(course.images),
        "images_prepared": made("prepare_images", sum(i["status"] == "ok" for i in facts.images.values())),
        "structure_sets": len(course.structure_sets),
        "structures": made("structures", counts.structures.get(course_id, 0)),
        "structures_with_volume": made("structures", counts.structures_with_volume.get(course_id, 0)),
        "plans": len(course.plans),
        "plans_selected": sum(p.selected for p in course.plans) if course.status == "ok" else 0,
        "doses": len(course.doses),
        "doses_used": made("prepare_rt", len(facts.doses)),
        "dvh_rows": made("dvh", counts.dvh_rows.get(course_id, 0)),
    }


def _planning_image(collected: CollectedCourse, facts: CourseFacts) -> dict[str, Any]:
    image = collected.course.planning_image
    if image is None:
        return {}
    stated = facts.images.get(image.image_id, {})
    return {
        "planning_image_id": image.image_id,
        "planning_modality": image.modality,
        "slices": stated.get("planes", image.instances),
        "slice_spacing_mm": stated.get("plane_spacing_mm"),
        "pixel_spacing_mm": stated.get("row_spacing_mm"),
    }


def _plan_facts(selected: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Facts of the selected plans as one row; numbers that cannot be joined stay null."""

    def values(name: str) -> list[Any]:
        return [p.get(name) for p in selected]

    def total(name: str) -> Any:
        found = values(name)
        return sum(found) if found and None not in found else None

    rx = values("plan_rx_gy")
    return {
        "plan_class": joined(values("plan_class")),
        "technique": joined(values("technique")),
        "energies": joined(values("energies")),
        "radiation_types": joined(values("radiation_types")),
        "beams": total("beams"),
        "monitor_units": total("monitor_units"),
        "approval_status": joined(values("approval_status")),
        "plan_intent": joined(values("plan_intent")),
        "fractions_planned": only(values("fractions_planned")),
        "plan_rx_gy": rx[0] if len(rx) == 1 else None,
        "plan_rx_levels_gy": joined(values("plan_rx_levels_gy")),
        "beam_dose_total_gy": values("beam_dose_total_gy")[0] if len(selected) == 1 else None,
    }


def rx_total_gy(facts: CourseFacts) -> float | None:
    """Sum of the prescriptions of the plans that the dose of the whole course is made of.

    None where there is no such dose, where a plan does not state one level, and where one was delivered in part.
    """
    whole = next((d for d in facts.doses if d["whole_course"]), None)
    if whole is None or any(weight not in (0, 1) for weight in facts.total.get("weights", {}).values()):
        return None
    levels = [facts.plans[plan_id]["plan_rx_gy"] if plan_id in facts.plans else None for plan_id in whole["plan_ids"]]
    known = [level for level in levels if level is not None]
    return float(sum(known)) if known and len(known) == len(levels) else None

"""Which plans count, and what the user's manifest says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rtpipeline.organize.objects import ScanObject
from rtpipeline.organize.user_manifest import UserRow

PlanClass = Literal["photon", "ion", "brachy", "unknown"]
NOT_FOR_TREATMENT = ("VERIFICATION", "MACHINE_QA", "SERVICE")
"""Plan Intent values (PS3.3 C.8.8.9) of plans that treat nobody."""


@dataclass(frozen=True)
class PlanChoice:
    """Whether a plan's dose gets rows, and why or why not."""

    selected: bool
    reason: str
    flagged: bool
    """worth a finding"""


def choose_plans(plans: Sequence[ScanObject], rows: Sequence[UserRow]) -> dict[int, PlanChoice]:
    """The choice for each plan by object number; the manifest's `include` decides where it names the plan."""
    said = {row.plan_uid: row.include for row in rows if row.plan_uid and row.include is not None}
    approved_sets = {p.facts.get("structure_set_uid") for p in plans if _status(p) == "APPROVED"} - {None, ""}
    choices = {}
    for plan in plans:
        include = said.get(plan.uid)
        if include is not None:
            choices[plan.number] = PlanChoice(
                include, f"{'included' if include else 'excluded'} by manifest", not include
            )
        else:
            choices[plan.number] = _by_status(plan, approved_sets)
    return choices


def _by_status(plan: ScanObject, approved_sets: set[Any]) -> PlanChoice:
    intent = str(plan.facts.get("intent") or "").upper()
    status = _status(plan)
    if status == "REJECTED":
        return PlanChoice(False, "rejected", True)
    if intent in NOT_FOR_TREATMENT:
        return PlanChoice(False, f"intent {intent.lower()}", True)
    if status == "UNAPPROVED":
        beside = plan.facts.get("structure_set_uid") in approved_sets
        return PlanChoice(True, "unapproved beside an approved plan" if beside else "unapproved", True)
    return PlanChoice(True, "", False)


def _status(plan: ScanObject) -> str:
    return str(plan.facts.get("approval_status") or "").upper()


def plan_class(plan: ScanObject) -> PlanClass:
    """photon (any external electron or photon beam), ion, brachy or unknown."""
    stated = plan.facts.get("plan_class")
    return stated if stated in ("photon", "ion", "brachy") else "unknown"


def precedence(plan: ScanObject, choices: Mapping[int, PlanChoice]) -> tuple[bool, bool, int, str, str]:
    """Sorts plans: selected first, then approved, then by date and hash."""
    return (not choices[plan.number].selected, _status(plan) != "APPROVED", *plan.sort_key)

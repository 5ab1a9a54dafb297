"""In how many fractions a dose of the tables is given, and whether the linear-quadratic model may be used on it.

Nothing is assumed: without a stated number of fractions, or for a dose that the model of equal, acute fractions does
not describe, there is no EQD2, and the row says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OK = "ok"
ACUTE_BRACHY = "HDR"
"""BrachyTreatmentType of implants that give a fraction in minutes (PS3.3 C.8.8.15)."""
PERMANENT = "PERMANENT"
"""BrachyTreatmentTechnique of seeds that stay."""

LIGHT = frozenset({"PHOTON", "ELECTRON"})
"""RadiationType whose physical dose is the dose of the model."""

REASONS: dict[str, str] = {
    "effective_dose": "dose is EFFECTIVE: it carries a weighting of its own",
    "dose_type_unknown": "DoseType is not stated",
    "no_plan": "plan is not in the export",
    "plan_unknown": "plan without beams: kind of radiation is not stated",
    "other_radiation": "physical dose of other radiation than photons and electrons: its effectiveness is not stated",
    "permanent_implant": "permanent implant",
    "not_acute": "brachytherapy that is not stated to be HDR",
    "fractions_unknown": "number of fractions is not stated",
    "several_fraction_groups": "several fraction groups: what each fraction gives is not known",
    "concurrent_plans": "concurrent plans: whether they share their fractions is not known",
    "part_without_dose": "no dose of one of the plans",
    "parts_differ": "doses of the plans do not add up to it",
    "negative_dose": "doses below 0",
}
"""Every status but `ok`, in words."""


@dataclass(frozen=True)
class PlanPart:
    """One plan in a dose: its planned fractions and the share of them in this dose."""

    plan_id: str
    fractions: int
    weight: float


@dataclass(frozen=True)
class Fractionation:
    """status: `ok`, or a key of REASONS. parts: the plans in the dose where `ok`."""

    status: str
    parts: tuple[PlanPart, ...] = ()

    @property
    def fractions(self) -> float | None:
        """Delivered fractions of all parts together; None unless `ok`."""
        return sum(p.fractions * p.weight for p in self.parts) if self.parts else None


def fractionation(dose: Mapping[str, Any], plans: Mapping[str, Mapping[str, Any]]) -> Fractionation:
    """How a dose is fractionated.

    Parameters
    ----------
    dose: entry of `doses.json`. plans: entries of `plans.json` by plan id.
    """
    dose_type = dose["dose_type"]
    if dose_type != "PHYSICAL":
        return Fractionation("effective_dose" if dose_type == "EFFECTIVE" else "dose_type_unknown")
    if not dose["plan_ids"] or any(plan_id not in plans for plan_id in dose["plan_ids"]):
        return Fractionation("no_plan")
    if dose["dose_basis"] == "concurrent_plans":
        return Fractionation("concurrent_plans")
    # the parts of a total are plans, those of a plan's dose are objects that make it up whole
    weights = dose["parts"] if dose["dose_id"] == "total" else dict.fromkeys(dose["plan_ids"], 1.0)
    parts = []
    for plan_id in dose["plan_ids"]:
        status, fractions = _of_plan(plans[plan_id])
        if status != OK:
            return Fractionation(status)
        parts.append(PlanPart(plan_id, fractions, float(weights[plan_id])))
    return Fractionation(OK, tuple(parts))


def _of_plan(plan: Mapping[str, Any]) -> tuple[str, int]:
    if plan["plan_class"] == "unknown":
        return "plan_unknown", 0
    if plan["plan_class"] == "ion" or set(plan["radiation_types"]) - LIGHT:
        return "other_radiation", 0
    if plan["plan_class"] == "brachy":
        if plan["brachy_technique"] == PERMANENT:
            return "permanent_implant", 0
        if plan["brachy_type"] != ACUTE_BRACHY:
            return "not_acute", 0
    groups = plan["fraction_groups"]
    if len(groups) > 1:
        return "several_fraction_groups", 0
    planned = groups[0]["fractions_planned"] if groups else None
    return (OK, int(planned)) if planned else ("fractions_unknown", 0)

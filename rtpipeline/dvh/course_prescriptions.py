"""Prescriptions of the structures of a course, from its plans' facts and the user's manifest.

| dose | prescription |
|---|---|
| of one plan | of that plan, see `prescription` |
| of the whole course, of several plans | of the manifest for the course, else the sum when each plan states one |
| with fewer fractions than planned, or of concurrent plans | of the manifest for the course only |
| without its plan, the only one of a course without plans | of the manifest for the course only |
| of some of the plans | none |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rtpipeline.contracts.manifests import Course
from rtpipeline.dvh.prescription import (
    UNKNOWN,
    Prescription,
    StatedRx,
    Target,
    TargetLevel,
    is_target,
    plan_prescription,
    total_prescription,
)

NOT_THE_SUM = frozenset({"delivered_fractions", "concurrent_plans"})
"""`dose_basis` of totals whose prescription is not the sum of the plans': what a stopped plan was to give from then on
is in no object, and plans that run in parallel may both state the dose of both."""


class CoursePrescriptions:
    """plans: entries of `plans.json` by plan id. doses: entries of `doses.json`. structures: rows of `structures`."""

    def __init__(
        self,
        course: Course,
        plans: Mapping[str, Mapping[str, Any]],
        doses: Sequence[Mapping[str, Any]],
        structures: Sequence[Mapping[str, Any]],
    ) -> None:
        self.only_dose = len(doses) == 1
        self.plans = plans
        self.plan_sets = {p.plan_id: p.structure_set_id for p in course.plans}
        self.stated = [
            StatedRx(row.rx_gy, row.structure, row.plan_id) for row in course.manifest if row.rx_gy is not None
        ]
        self.selected = sum(p.selected for p in course.plans)
        self.n_ptv = Counter(s["structure_set_id"] for s in structures if _text(s["roi_type"]) == "PTV")

    def of(self, structure: Mapping[str, Any], dose: Mapping[str, Any]) -> Prescription:
        """Of a structure in a dose; unknown for what is no target.

        Parameters
        ----------
        dose: entry of `doses.json`.
        """
        if structure["structure_source"] == "cropped":  # it has the name of the whole, but the prescription is for that
            return UNKNOWN
        parts = [self._of_plan(structure, plan_id) for plan_id in dose["plan_ids"]]
        sums_up = dose["dose_basis"] not in NOT_THE_SUM
        if len(parts) == 1 and (not dose["whole_course"] or (self.selected <= 1 and sums_up)):
            return parts[0]
        if not dose["whole_course"] and (parts or self.selected or not self.only_dose):
            return UNKNOWN
        return total_prescription(structure["structure_name"], parts, self.stated, whole_plans=sums_up)

    def _of_plan(self, structure: Mapping[str, Any], plan_id: str) -> Prescription:
        levels = _levels(self.plans.get(plan_id, {}))
        number = structure["roi_number"]
        wanted = Target(
            name=structure["structure_name"],
            roi_number=None if pd.isna(number) else int(number),
            roi_type=_text(structure["roi_type"]),
            in_plan_set=self.plan_sets.get(plan_id) == structure["structure_set_id"],
        )
        if not is_target(wanted, levels, self.stated):
            return UNKNOWN
        # with several plans, a row of the manifest that names none means the course and not each plan
        rows = [row for row in self.stated if row.plan_id is not None or self.selected <= 1]
        return plan_prescription(wanted, levels, rows, plan_id, self.n_ptv[structure["structure_set_id"]])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _levels(plan: Mapping[str, Any]) -> list[TargetLevel]:
    return [
        TargetLevel(float(p["target_prescription_gy"]), p["roi_number"])
        for p in plan.get("prescriptions", [])
        if p["type"] == "TARGET" and p["target_prescription_gy"] is not None
    ]

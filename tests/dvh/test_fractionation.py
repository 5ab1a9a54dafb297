from __future__ import annotations

from typing import Any

import pytest

from rtpipeline.contracts.tables import DVH_METRICS
from rtpipeline.dvh.fractionation import REASONS, PlanPart, fractionation

PHOTON: dict[str, Any] = {
    "plan_class": "photon", "radiation_types": ["PHOTON"], "brachy_type": None, "brachy_technique": None,
    "fraction_groups": [{"fraction_group": 1, "fractions_planned": 25}],
}  # fmt: skip
HDR = PHOTON | {"plan_class": "brachy", "radiation_types": [], "brachy_type": "HDR", "brachy_technique": "INTERSTITIAL"}
DOSE: dict[str, Any] = {
    "dose_id": "plan-01", "plan_ids": ["plan-01"], "dose_type": "PHYSICAL", "dose_basis": "plan",
    "parts": {"rd-01": 1.0},
}  # fmt: skip
TOTAL: dict[str, Any] = {
    "dose_id": "total", "plan_ids": ["plan-01", "plan-02"], "dose_type": "PHYSICAL", "dose_basis": "phase_sum",
    "parts": {"plan-01": 1.0, "plan-02": 1.0},
}  # fmt: skip


def test_a_plan_has_its_planned_fractions() -> None:
    found = fractionation(DOSE, {"plan-01": PHOTON})
    assert (found.status, found.parts, found.fractions) == ("ok", (PlanPart("plan-01", 25, 1.0),), 25.0)
    assert fractionation(DOSE, {"plan-01": HDR}).status == "ok"


def test_a_total_has_those_of_its_parts_with_what_was_delivered() -> None:
    second = PHOTON | {"fraction_groups": [{"fraction_group": 1, "fractions_planned": 10}]}
    found = fractionation(TOTAL, {"plan-01": PHOTON, "plan-02": second})
    assert found.fractions == 35.0
    stopped = TOTAL | {"plan_ids": ["plan-01"], "parts": {"plan-01": 0.4}, "dose_basis": "delivered_fractions"}
    assert fractionation(stopped, {"plan-01": PHOTON}).fractions == 10.0


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("effective_dose", {"dose_type": "EFFECTIVE"}, {}),
    ("dose_type_unknown", {"dose_type": None}, {}),
    ("no_plan", {"plan_ids": []}, {}),
    ("no_plan", {"plan_ids": ["plan-07"]}, {}),
    ("plan_unknown", {}, {"plan_class": "unknown"}),
    ("other_radiation", {}, {"plan_class": "ion", "radiation_types": ["PROTON"]}),
    ("other_radiation", {}, {"radiation_types": ["NEUTRON"]}),
    ("permanent_implant", {}, HDR | {"brachy_type": "LDR", "brachy_technique": "PERMANENT"}),
    ("permanent_implant", {}, HDR | {"brachy_technique": "PERMANENT"}),
    ("not_acute", {}, HDR | {"brachy_type": "PDR"}),
    ("not_acute", {}, HDR | {"brachy_type": None}),
    ("fractions_unknown", {}, {"fraction_groups": []}),
    ("fractions_unknown", {}, {"fraction_groups": [{"fraction_group": 1, "fractions_planned": None}]}),
    ("fractions_unknown", {}, {"fraction_groups": [{"fraction_group": 1, "fractions_planned": 0}]}),
    ("several_fraction_groups", {}, {"fraction_groups": 2 * PHOTON["fraction_groups"]}),
    ("concurrent_plans", {"dose_basis": "concurrent_plans"}, {}),
]


@pytest.mark.parametrize(("status", "dose", "plan"), CASES)
def test_what_is_not_stated_is_not_assumed(status: str, dose: dict[str, Any], plan: dict[str, Any]) -> None:
    found = fractionation(DOSE | dose, {"plan-01": PHOTON | plan})
    assert (found.status, found.parts, found.fractions) == (status, (), None)
    assert status in REASONS


def test_one_doubtful_part_leaves_the_total_without_eqd2() -> None:
    implant = HDR | {"brachy_technique": "PERMANENT"}
    assert fractionation(TOTAL, {"plan-01": PHOTON, "plan-02": implant}).status == "permanent_implant"


def test_every_status_is_named_in_the_table() -> None:
    column = DVH_METRICS.column("eqd2_status")
    assert column is not None
    assert {status for status in REASONS if status not in column.meaning} == set()

"""Which prescription the rows of a course get, for one plan, several, and none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rtpipeline.contracts.manifests import ManifestRow
from rtpipeline.dvh.course_prescriptions import CoursePrescriptions
from rtpipeline.dvh.prescription import UNKNOWN, Prescription

SIB = {"PTV_high": (1, 66.0), "PTV_mid": (2, 60.0), "PTV_low": (3, 54.0)}


def structure(name: str, number: int, roi_type: str | None = "PTV", source: str = "manual") -> dict[str, Any]:
    return {
        "structure_name": name, "roi_number": number, "roi_type": roi_type, "structure_source": source,
        "structure_set_id": "rs-01",
    }  # fmt: skip


def plan(*levels: tuple[int | None, float]) -> dict[str, Any]:
    return {"prescriptions": [{"type": "TARGET", "roi_number": n, "target_prescription_gy": d} for n, d in levels]}


def dose(*plan_ids: str, basis: str = "plan", whole: bool | None = None) -> dict[str, Any]:
    return {"plan_ids": list(plan_ids), "dose_basis": basis, "whole_course": bool(plan_ids) if whole is None else whole}


def of_course(
    plans: dict[str, dict[str, Any]], doses: list[dict[str, Any]], manifest: list[ManifestRow] | None = None
) -> CoursePrescriptions:
    refs = [SimpleNamespace(plan_id=i, structure_set_id="rs-01", selected=True) for i in plans]
    course = SimpleNamespace(plans=refs, manifest=manifest or [])
    drawn = [structure(name, number) for name, (number, _) in SIB.items()]
    return CoursePrescriptions(course, plans, doses, drawn)  # type: ignore[arg-type]


ONE = {"plan-01": plan(*SIB.values())}
TWO = {"plan-01": plan((1, 50.0), (3, 50.0)), "plan-02": plan((1, 16.0))}
TOTAL = dose("plan-01", "plan-02", basis="phase_sum")


@pytest.mark.parametrize("name", list(SIB))
def test_each_target_of_a_simultaneous_boost_has_its_own_level(name: str) -> None:
    number, level = SIB[name]
    found = of_course(ONE, [dose("plan-01")]).of(structure(name, number), dose("plan-01"))
    assert found == Prescription(level, "plan_roi")


def test_what_is_no_target_has_none_and_a_cropped_part_has_not_that_of_the_whole() -> None:
    made = of_course(ONE, [dose("plan-01")])
    assert made.of(structure("PTV_by_name", 9, "ORGAN"), dose("plan-01")) == UNKNOWN
    assert made.of(structure("PTV_high", 1, source="cropped"), dose("plan-01")) == UNKNOWN


def test_the_total_is_the_sum_where_every_plan_states_a_level_for_the_target() -> None:
    made = of_course(TWO, [dose("plan-01"), dose("plan-02"), TOTAL])
    assert made.of(structure("PTV_high", 1), TOTAL) == Prescription(66.0, "plan_roi")
    assert made.of(structure("PTV_low", 3), TOTAL) == UNKNOWN  # what it is to get of the boost is not stated
    assert made.of(structure("PTV_low", 3), dose("plan-01", whole=False)) == Prescription(50.0, "plan_roi")


@pytest.mark.parametrize("basis", ["concurrent_plans", "delivered_fractions"])
def test_levels_of_plans_in_parallel_or_stopped_are_not_added(basis: str) -> None:
    total = dose("plan-01", "plan-02", basis=basis)
    assert of_course(TWO, [total]).of(structure("PTV_high", 1), total) == UNKNOWN
    stated = [ManifestRow(structure="PTV_high", rx_gy=50.0)]
    assert of_course(TWO, [total], stated).of(structure("PTV_high", 1), total) == Prescription(50.0, "manifest")


def test_the_manifest_counts_for_its_plan_or_for_the_course() -> None:
    stated = [
        ManifestRow(structure="PTV_high", rx_gy=64.0),
        ManifestRow(structure="PTV_high", plan_id="plan-02", rx_gy=14.0),
    ]
    made = of_course(TWO, [dose("plan-01"), dose("plan-02"), TOTAL], stated)
    found = [
        made.of(structure("PTV_high", 1), d).rx_gy
        for d in (dose("plan-01", whole=False), dose("plan-02", whole=False), TOTAL)
    ]
    assert found == [50.0, 14.0, 64.0]


def test_a_dose_without_any_plan_has_the_manifests_and_no_other() -> None:
    alone = dose()
    stated = [ManifestRow(structure="PTV_high", rx_gy=60.0)]
    assert of_course({}, [alone], stated).of(structure("PTV_high", 1), alone) == Prescription(60.0, "manifest")
    assert of_course({}, [alone]).of(structure("PTV_high", 1), alone) == UNKNOWN
    assert of_course({}, [alone, dose()], stated).of(structure("PTV_high", 1), alone) == UNKNOWN
    assert of_course(ONE, [dose("plan-01"), alone], stated).of(structure("PTV_high", 1), alone) == UNKNOWN

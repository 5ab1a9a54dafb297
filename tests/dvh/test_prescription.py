from __future__ import annotations

import pytest

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

PTV = Target("PTV", 7, "PTV", in_plan_set=True)
HEART = Target("Heart", 3, "ORGAN", in_plan_set=True)
SIB = [TargetLevel(54.0, 7), TargetLevel(60.0, 8), TargetLevel(66.0, 9)]


def rx(structure=PTV, levels=(), stated=(), plan_id="plan-01", n_ptv=1):
    return plan_prescription(structure, levels, stated, plan_id, n_ptv)


def test_each_level_of_a_simultaneous_boost_belongs_to_the_roi_it_names():
    found = {n: rx(Target("x", n, "PTV", True), SIB, n_ptv=3).rx_gy for n in (7, 8, 9)}
    assert found == {7: 54.0, 8: 60.0, 9: 66.0}


def test_a_level_without_roi_belongs_to_the_only_ptv():
    level = [TargetLevel(50.0, None)]
    assert rx(levels=level) == Prescription(50.0, "plan_single_level")
    assert rx(levels=level, n_ptv=2) == UNKNOWN
    assert rx(HEART, level) == UNKNOWN


def test_two_levels_without_roi_belong_to_nobody():
    assert rx(levels=[TargetLevel(50.0, None), TargetLevel(60.0, None)]) == UNKNOWN


def test_a_level_that_names_another_roi_is_still_the_plans_single_level():
    assert rx(levels=[TargetLevel(50.0, 12)]) == Prescription(50.0, "plan_single_level")


def test_two_levels_on_one_roi_are_not_decided():
    assert rx(levels=[TargetLevel(50.0, 7), TargetLevel(60.0, 7)]) == UNKNOWN


def test_the_manifest_comes_first_and_counts_for_its_plan():
    stated = [StatedRx(48.0, "PTV", "plan-02")]
    assert rx(levels=SIB, stated=stated, plan_id="plan-02") == Prescription(48.0, "manifest")
    assert rx(levels=SIB, stated=stated) == Prescription(54.0, "plan_roi")


def test_what_the_manifest_says_of_the_plan_comes_before_what_it_says_of_none():
    stated = [StatedRx(66.0, "PTV", None), StatedRx(48.0, "PTV", "plan-01")]
    assert rx(stated=stated) == rx(stated=stated[::-1]) == Prescription(48.0, "manifest")
    whole = [StatedRx(66.0, None, None), StatedRx(48.0, None, "plan-01")]
    assert rx(stated=whole) == rx(stated=whole[::-1]) == Prescription(48.0, "manifest")


def test_levels_that_differ_by_how_they_are_written_are_one():
    assert rx(levels=[TargetLevel(50.0, 7), TargetLevel(50.0004, 7)]) == Prescription(50.0, "plan_roi")
    assert rx(levels=[TargetLevel(50.0, None), TargetLevel(50.0004, 12)]) == Prescription(50.0, "plan_single_level")
    assert rx(levels=[TargetLevel(50.0, 7), TargetLevel(50.4, 7)]) == UNKNOWN


def test_the_manifests_prescription_of_a_plan_is_that_of_its_only_ptv():
    stated = [StatedRx(48.0, None, "plan-01")]
    assert rx(levels=SIB, stated=stated) == Prescription(48.0, "manifest")
    assert rx(levels=SIB, stated=stated, n_ptv=3) == Prescription(54.0, "plan_roi")
    assert rx(HEART, stated=stated) == UNKNOWN
    assert rx(levels=SIB, stated=[StatedRx(48.0, None, "plan-02")]) == Prescription(54.0, "plan_roi")
    assert rx(levels=SIB, stated=[*stated, StatedRx(52.0, "PTV", None)]) == Prescription(52.0, "manifest")


def test_roi_numbers_of_the_plan_mean_nothing_in_another_structure_set():
    other = Target("PTV", 7, "PTV", in_plan_set=False)
    assert rx(other, SIB) == UNKNOWN


@pytest.mark.parametrize(
    ("structure", "expected"),
    [
        (PTV, True),
        (HEART, False),
        (Target("Boost", 8, "ORGAN", True), True),
        (Target("PTV_by_name_only", 99, None, True), False),
    ],
)
def test_targets_are_known_by_reference_or_type_but_never_by_name(structure, expected):
    assert is_target(structure, SIB, []) is expected


def total(*parts, stated=(), whole_plans=True):
    return total_prescription("PTV", parts, stated, whole_plans=whole_plans)


FIFTY, SIXTEEN = Prescription(50.0, "plan_roi"), Prescription(16.0, "plan_roi")


def test_the_total_needs_every_part():
    assert total(FIFTY, SIXTEEN) == Prescription(66.0, "plan_roi")
    assert total(FIFTY, UNKNOWN) == UNKNOWN


def test_a_plan_delivered_in_part_leaves_the_total_without_prescription():
    """12 of 25 fractions of 50 Gy and then the replan's 50 Gy are not 100 Gy prescribed."""
    assert total(FIFTY, FIFTY, whole_plans=False) == UNKNOWN


def test_the_manifests_prescription_of_the_course_counts_once():
    of_course = [StatedRx(66.0, "PTV", None)]
    assert total(FIFTY, SIXTEEN, stated=of_course) == Prescription(66.0, "manifest")
    assert total(FIFTY, UNKNOWN, stated=of_course, whole_plans=False) == Prescription(66.0, "manifest")
    for other in (StatedRx(66.0, "Boost", None), StatedRx(48.0, "PTV", "plan-01")):
        assert total(FIFTY, SIXTEEN, stated=[other]) == Prescription(66.0, "plan_roi")

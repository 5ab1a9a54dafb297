"""The total of several plans: only evidence of delivery, or of one conceptual plan, adds them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtpipeline.dose.course_total import CourseTotal, PlanEvidence, decide_total


def plan(name: str, planned: int | None, **more: object) -> PlanEvidence:
    base = PlanEvidence(
        name, has_dose=True, brachy=False, dose_type="PHYSICAL", frame="f", fractions_planned=planned, groups=1
    )
    return replace(base, **more)  # type: ignore[arg-type]


A, B = "plan-01", "plan-02"
FIRST, BOOST = plan(A, 25), plan(B, 8)


def numbers(count: int) -> frozenset[int]:
    return frozenset(range(1, count + 1))


def stated(a: int | None, b: int | None) -> list[PlanEvidence]:
    return [replace(FIRST, manifest_fractions=a), replace(BOOST, manifest_fractions=b)]


def recorded(a: frozenset[int], b: frozenset[int]) -> list[PlanEvidence]:
    return [replace(FIRST, recorded_fractions=a), replace(BOOST, recorded_fractions=b)]


WEIGHED = {
    "manifest, both whole": (stated(25, 8), "phase_sum", {A: 1.0, B: 1.0}),
    "manifest, replanned after 12": (stated(12, 8), "delivered_fractions", {A: 12 / 25, B: 1.0}),
    "manifest, the second never given": (stated(25, 0), "phase_sum", {A: 1.0, B: 0.0}),
    "records, both whole": (recorded(numbers(25), numbers(8)), "phase_sum", {A: 1.0, B: 1.0}),
    "records, replanned after 17": (recorded(numbers(17), numbers(8)), "delivered_fractions", {A: 17 / 25, B: 1.0}),
    "records of every fraction of two fraction groups": (
        [replace(FIRST, groups=2, recorded_whole=True), recorded(numbers(25), numbers(8))[1]],
        "phase_sum",
        {A: 1.0, B: 1.0},
    ),
    "manifest before records": (
        [replace(p, recorded_fractions=numbers(3)) for p in stated(25, 8)],
        "phase_sum",
        {A: 1.0, B: 1.0},
    ),
    "concurrent, each names the other": (
        [replace(FIRST, concurrent=frozenset({B})), replace(BOOST, concurrent=frozenset({A}))],
        "concurrent_plans",
        {A: 1.0, B: 1.0},
    ),
    "concurrent, one names the other": (
        [FIRST, replace(BOOST, concurrent=frozenset({A}))],
        "concurrent_plans",
        {A: 1.0, B: 1.0},
    ),
}


def test_a_single_plan_is_the_course_unless_the_manifest_says_how_much_was_given():
    assert decide_total([FIRST], {}).status == "single_plan"
    assert decide_total([replace(FIRST, manifest_fractions=25)], {}).status == "single_plan"
    assert decide_total([replace(FIRST, recorded_fractions=numbers(12))], {}).status == "single_plan"
    stopped = decide_total([replace(FIRST, manifest_fractions=12)], {})
    assert (stopped.status, stopped.basis, stopped.weights) == ("ok", "delivered_fractions", {A: 12 / 25})
    assert decide_total([replace(FIRST, manifest_fractions=0)], {}).status == "none"
    assert decide_total([replace(FIRST, manifest_fractions=26)], {}).status == "ambiguous"


@pytest.mark.parametrize("given", [0, 10, 20])
def test_of_two_fraction_groups_of_ten_only_none_or_all_twenty_can_be_counted(given):
    two_groups = plan(A, 20, groups=2, manifest_fractions=given)
    found = decide_total([two_groups, replace(BOOST, manifest_fractions=8)], {})
    assert found.status == ("ambiguous" if given == 10 else "ok")


@pytest.mark.parametrize("case", WEIGHED)
def test_evidence_of_every_plan_gives_a_total(case):
    plans, basis, weights = WEIGHED[case]
    found = decide_total(plans, {})
    assert (found.status, found.basis, found.code) == ("ok", basis, "")
    assert found.weights == pytest.approx(weights)


AMBIGUOUS = {
    "nothing but dates and prescriptions": [FIRST, BOOST],
    "manifest of one plan only": stated(25, None),
    "more fractions than planned": stated(25, 9),
    "records of one plan only": recorded(numbers(25), frozenset()),
    "a record missing in between": recorded(numbers(25) - {7}, numbers(8)),
    "records that do not begin with 1": recorded(numbers(25) - {1}, numbers(8)),
    "an interrupted fraction": [
        replace(p, doubtful_records="fraction 7: machine") for p in recorded(numbers(25), numbers(8))
    ],
    "fractions planned unknown": [replace(p, fractions_planned=None) for p in stated(25, 8)],
    "part of a plan with two fraction groups": [replace(p, groups=2) for p in stated(12, 8)],
    "records of plans with two fraction groups": [replace(p, groups=2) for p in recorded(numbers(25), numbers(8))],
    "three plans, two of them concurrent": [
        replace(FIRST, concurrent=frozenset({B})),
        BOOST,
        plan("plan-03", 5),
    ],
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_without_evidence_there_is_no_total(case):
    found = decide_total(AMBIGUOUS[case], {})
    assert found.status == "ambiguous"
    assert found.weights == {}
    assert found.code == "COURSE_REPLAN"


def test_a_chain_of_concurrent_plans_is_one_plan():
    chain = [plan(f"plan-{n:02d}", 5, concurrent=frozenset({f"plan-{n + 1:02d}"})) for n in range(1, 5)]
    assert decide_total([*chain, plan("plan-05", 5)], {}).basis == "concurrent_plans"


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ({("rs-01", 1)}, {("rs-01", 2)}, "COURSE_BOOST"),
        ({("rs-01", 1)}, {("rs-01", 1)}, "COURSE_REPLAN"),
        ({("rs-01", 1)}, set(), "COURSE_REPLAN"),
        ({("rs-01", 1)}, {("rs-02", 1)}, "COURSE_BOOST"),
    ],
)
def test_targets_choose_the_words_and_never_a_total(first, second, code):
    plans = [replace(FIRST, targets=frozenset(first)), replace(BOOST, targets=frozenset(second))]
    found = decide_total(plans, {})
    assert (found.status, found.code) == ("ambiguous", code)
    derived = [plans[0], replace(plans[1], replaces=frozenset({A}))]
    assert decide_total(derived, {}).code == "COURSE_REPLAN"


def test_a_multi_plan_dose_of_exactly_the_selected_plans_is_the_total():
    found = decide_total([FIRST, BOOST], {"rd-09": frozenset({A, B})})
    assert (found.status, found.basis, found.rtdose_id) == ("ok", "multi_plan", "rd-09")


@pytest.mark.parametrize("named", [{A}, {A, B, "plan-03"}, {A, "1.2.3.4"}])
def test_a_multi_plan_dose_of_other_plans_is_not(named):
    found = decide_total([FIRST, BOOST], {"rd-09": frozenset(named)})
    assert (found.status, found.rtdose_id) == ("ambiguous", "")


def test_two_multi_plan_doses_leave_it_open():
    both = frozenset({A, B})
    assert decide_total([FIRST, BOOST], {"rd-08": both, "rd-09": both}).status == "ambiguous"


def test_external_beams_and_brachytherapy_are_never_added():
    plans = [replace(p, brachy=p.plan_id == B) for p in stated(25, 8)]
    found = decide_total(plans, {"rd-09": frozenset({A, B})})
    assert (found.status, found.weights, found.rtdose_id) == ("partial", {}, "")


PARTIAL = {
    "a part without dose": ({"has_dose": False}, "no dose of plan-02", "COURSE_BOOST"),
    "another frame of reference": ({"frame": "g"}, "frames of reference", "REG_MISSING"),
    "another dose type": ({"dose_type": "EFFECTIVE"}, "dose types", "DOSE_TYPE_EFFECTIVE"),
}


@pytest.mark.parametrize("case", PARTIAL)
def test_proved_parts_that_cannot_be_added_make_the_total_partial(case):
    change, words, code = PARTIAL[case]
    first, second = stated(25, 8)
    found = decide_total([first, replace(second, **change)], {})
    assert (found.status, found.code) == ("partial", code)
    assert words in found.reason


def test_parts_of_two_frames_are_added_in_that_of_the_first_plan_which_the_others_reach():
    first, second = stated(25, 8)
    ties = {"f": {"f", "g"}, "g": {"f", "g"}}
    both = [replace(p, frame=frame, reaches=frozenset(ties[frame])) for p, frame in ((first, "f"), (second, "g"))]
    assert (decide_total(both, {}).status, decide_total(both, {}).frame) == ("ok", "f")
    assert decide_total(both[::-1], {}).frame == "g"
    one_way = [replace(both[0], reaches=frozenset({"f"})), both[1]]
    assert decide_total(one_way, {}).frame == "f"
    assert decide_total([both[0], replace(both[1], reaches=frozenset())], {}).frame == "g"


def test_a_part_that_was_not_given_needs_no_way_to_the_others():
    first, second = stated(0, 8)
    found = decide_total([first, replace(second, frame="g"), plan("plan-03", 5, frame="g", manifest_fractions=5)], {})
    assert (found.status, found.frame) == ("ok", "g")


def test_registrations_that_disagree_are_named_and_not_taken_for_missing():
    first, second = stated(25, 8)
    doubt = "reg-01 and reg-02 differ by up to 3.00 mm and 0.00 degrees"
    found = decide_total([first, replace(second, frame="g", frame_doubt=doubt)], {})
    assert (found.status, found.code) == ("partial", "REG_DISAGREES")
    assert found.reason.endswith(doubt)


def test_doses_without_a_frame_of_reference_are_never_added():
    plans = [replace(p, frame="") for p in stated(25, 8)]
    assert decide_total(plans, {}).code == "REG_MISSING"


def test_a_plan_that_was_never_given_needs_no_dose():
    first, second = stated(25, 0)
    assert decide_total([first, replace(second, has_dose=False, frame="g")], {}).status == "ok"


def test_one_plan_needs_no_total_and_none_has_none():
    assert decide_total([FIRST], {}) == CourseTotal("single_plan")
    assert decide_total([], {}).status == "none"
    assert decide_total([replace(FIRST, has_dose=False), replace(BOOST, has_dose=False)], {}).status == "none"

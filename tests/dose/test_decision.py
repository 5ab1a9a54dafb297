"""Which objects make the dose of a plan: one table of cases for each of the standard's terms."""

from __future__ import annotations

import itertools

import pytest

from rtpipeline.dose.decision import Composition, compose
from rtpipeline.dose.summation import TERMS, CoverageError, DoseObject, GroupScope, PlanScope, covered_pairs

ONE_GROUP = PlanScope("plan-01", (GroupScope(1, 25, frozenset({1, 2}), frozenset({9})),))
"""Two beams and a setup field, 25 fractions."""

TWO_GROUPS = PlanScope("plan-01", (GroupScope(1, 13, frozenset({1, 2})), GroupScope(2, 12, frozenset({3}))))
SHARED_BEAM = PlanScope("plan-01", (GroupScope(1, 13, frozenset({1})), GroupScope(2, 12, frozenset({1}))))
ONE_BEAM = PlanScope("plan-01", (GroupScope(1, 5, frozenset({4})),))
NO_FRACTIONS = PlanScope("plan-01", (GroupScope(1, None, frozenset({1})),))
EMPTY = PlanScope("plan-01", ())

ids = (f"rd-{n:02d}" for n in itertools.count(1))


def dose(
    term: str, *groups: tuple[int | None, tuple[int, ...]], type: str = "PHYSICAL", frame: str = "f"
) -> DoseObject:
    return DoseObject(next(ids), term, type, frame, groups)


def beam(number: int, group: int | None = 1, **how: str) -> DoseObject:
    return dose(how.pop("term", "BEAM"), (group, (number,)), **how)  # type: ignore[arg-type]


def fraction(group: int | None, term: str = "FRACTION") -> DoseObject:
    return dose(term, *([] if group is None else [(group, ())]))


COMPLETE = {
    "a plan dose": (ONE_GROUP, [dose("PLAN")], "plan", 1),
    "a beam dose for each beam": (ONE_GROUP, [beam(1), beam(2)], "beam_sum", 1),
    "one object of both beams": (ONE_GROUP, [dose("BEAM", (1, (1, 2)))], "beam_sum", 1),
    "the setup field has a dose too": (ONE_GROUP, [beam(1), beam(2), beam(9)], "beam_sum", 1),
    "beams without the group, of which there is one": (ONE_GROUP, [beam(1, None), beam(2, None)], "beam_sum", 1),
    "beams of two groups": (TWO_GROUPS, [beam(1), beam(2), beam(3, 2)], "beam_sum", 1),
    "beams whose numbers tell the group": (TWO_GROUPS, [beam(n, None) for n in (1, 2, 3)], "beam_sum", 1),
    "one beam in two groups, a dose for each": (SHARED_BEAM, [beam(1, 1), beam(1, 2)], "beam_sum", 1),
    "the only beam, not named": (ONE_BEAM, [dose("BEAM")], "beam_sum", 1),
    "application setups": (ONE_GROUP, [beam(1, term="BRACHY"), beam(2, term="BRACHY")], "brachy_sum", 1),
    "the only fraction group": (ONE_GROUP, [fraction(1)], "fraction_group_sum", 1),
    "the only fraction group, not named": (ONE_GROUP, [fraction(None)], "fraction_group_sum", 1),
    "both fraction groups": (TWO_GROUPS, [fraction(2), fraction(1)], "fraction_group_sum", 1),
    "a session of the only group": (ONE_GROUP, [fraction(1, "FRACTION_SESSION")], "session_times_fractions", 25),
    "beam sessions": (
        ONE_GROUP,
        [beam(1, term="BEAM_SESSION"), beam(2, term="BEAM_SESSION")],
        "session_times_fractions",
        25,
    ),
    "setup sessions": (ONE_BEAM, [beam(4, term="BRACHY_SESSION")], "session_times_fractions", 5),
}


@pytest.mark.parametrize("case", COMPLETE)
def test_what_makes_up_the_whole_plan_is_used(case):
    plan, objects, basis, factor = COMPLETE[case]
    (found,) = compose(plan, objects)
    assert found.problem == ""
    assert (found.basis, found.factor) == (basis, factor)
    assert found.rtdose_ids == tuple(sorted(d.rtdose_id for d in objects))


def test_only_sessions_are_ever_multiplied():
    for plan, objects, _, factor in COMPLETE.values():
        assert (factor > 1) == objects[0].summation_type.endswith("_SESSION")
        assert all(c.factor == 1 for c in compose(plan, objects) if not TERMS[c.term].session)


INCOMPLETE = {
    "one beam of two": (ONE_GROUP, [beam(1)], "beam 2 missing; 1 of 2"),
    "a beam twice": (ONE_GROUP, [beam(1), beam(2), beam(2)], "beam 2 more than once"),
    "a beam twice, one of them in an object of two": (ONE_GROUP, [dose("BEAM", (1, (1, 2))), beam(1)], "beam 1 more"),
    "a beam that the plan has not": (ONE_GROUP, [beam(1), beam(7)], "names beam 7"),
    "a group that the plan has not": (ONE_GROUP, [beam(1, 4), beam(2)], "names beam 1"),
    "a beam of two groups without the group": (SHARED_BEAM, [beam(1, None)], "without the fraction group"),
    "one of two groups of a shared beam": (SHARED_BEAM, [beam(1, 2)], "group 1 beam 1 missing"),
    "beams not named": (ONE_GROUP, [dose("BEAM"), dose("BEAM")], "names no beam"),
    "two frames of reference": (ONE_GROUP, [beam(1), beam(2, frame="g")], "frames of reference"),
    "one fraction group of two": (TWO_GROUPS, [fraction(1)], "group 2 beam 3 missing"),
    "a fraction group twice": (TWO_GROUPS, [fraction(1), fraction(1), fraction(2)], "more than once"),
    "a fraction group not named": (TWO_GROUPS, [fraction(None)], "none of 2 fraction groups"),
    "an unknown fraction group": (ONE_GROUP, [fraction(3)], "fraction group 3"),
    "a session of two groups": (
        TWO_GROUPS,
        [fraction(1, "FRACTION_SESSION"), fraction(2, "FRACTION_SESSION")],
        "2 fraction groups",
    ),
    "a session without the number of fractions": (NO_FRACTIONS, [fraction(1, "FRACTION_SESSION")], "not stated"),
    "a session of one beam of two": (ONE_GROUP, [beam(1, term="BEAM_SESSION")], "beam 2 missing"),
    "a plan that names nothing": (EMPTY, [beam(1)], "names no beams"),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_what_is_not_proved_complete_is_not_used(case):
    plan, objects, words = INCOMPLETE[case]
    (found,) = compose(plan, objects)
    assert not found.complete
    assert words in found.problem


def test_the_plan_dose_comes_before_its_parts_whatever_the_order():
    objects = [beam(1), fraction(1), dose("PLAN"), beam(2), fraction(1, "FRACTION_SESSION")]
    for order in itertools.permutations(objects):
        found = compose(ONE_GROUP, order)
        assert [c.term for c in found] == ["PLAN", "FRACTION", "BEAM", "FRACTION_SESSION"]
        assert all(c.complete for c in found)


def test_an_incomplete_set_of_beams_does_not_hide_a_complete_one_of_fraction_groups():
    found = compose(ONE_GROUP, [beam(1), fraction(1)])
    assert [(c.term, c.complete) for c in found] == [("FRACTION", True), ("BEAM", False)]


def test_physical_and_effective_doses_are_never_mixed():
    mixed = compose(ONE_GROUP, [beam(1), beam(2, type="EFFECTIVE")])
    assert [(c.dose_type, c.complete) for c in mixed] == [("PHYSICAL", False), ("EFFECTIVE", False)]
    apart = compose(ONE_GROUP, [dose("PLAN", type="EFFECTIVE"), dose("PLAN")])
    assert [(c.dose_type, c.alternatives) for c in apart] == [("PHYSICAL", False), ("EFFECTIVE", False)]


def test_of_two_plan_doses_the_one_that_the_plan_references_is_taken():
    first, second = dose("PLAN"), dose("PLAN")
    (found,) = compose(ONE_GROUP, [first, second], [second.rtdose_id])
    assert (found.rtdose_ids, found.alternatives) == ((second.rtdose_id,), False)


@pytest.mark.parametrize("referenced", [0, 2])
def test_two_plan_doses_without_a_choice_are_alternatives(referenced):
    objects = [dose("PLAN"), dose("PLAN")]
    (found,) = compose(ONE_GROUP, objects, [d.rtdose_id for d in objects][:referenced])
    assert found.alternatives
    assert len(found.rtdose_ids) == 2


@pytest.mark.parametrize("term", ["MULTI_PLAN", "PLAN_OVERVIEW", "CONTROL_POINT", "RECORD"])
def test_terms_that_are_no_dose_of_a_plan_compose_nothing(term):
    assert compose(ONE_GROUP, [dose(term)]) == []


def test_every_term_of_the_standard_has_a_rule():
    """PS3.3 C.8.8.3, DoseSummationType."""
    assert set(TERMS) == {
        "PLAN", "MULTI_PLAN", "PLAN_OVERVIEW", "FRACTION", "BEAM", "BRACHY",
        "FRACTION_SESSION", "BEAM_SESSION", "BRACHY_SESSION", "CONTROL_POINT", "RECORD",
    }  # fmt: skip


def test_a_plan_dose_covers_what_all_its_groups_require():
    assert covered_pairs(dose("PLAN"), TWO_GROUPS) == {(1, 1), (1, 2), (2, 3)}
    assert covered_pairs(fraction(2), TWO_GROUPS) == {(2, 3)}
    with pytest.raises(CoverageError):
        covered_pairs(fraction(5), TWO_GROUPS)


def test_a_composition_says_what_it_is():
    found = Composition("BEAM", "PHYSICAL", ("rd-01",), problem="beam 2 missing")
    assert (found.complete, found.basis) == (False, "beam_sum")

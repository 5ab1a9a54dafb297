"""The status of a course, and the prescription of its whole dose."""

from __future__ import annotations

from itertools import permutations

import pytest

from rtpipeline.aggregation.courses_table import course_status, rx_total_gy
from rtpipeline.aggregation.facts import CourseFacts, joined, only


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["done", "done", "disabled"], "ok"),
        (["not_applicable", "disabled", "not_run"], "ok"),
        (["done", "partial"], "partial"),
        (["done", "missing"], "partial"),
        (["done", "omitted"], "partial"),
        (["missing", "missing"], "missing"),
        (["done", "data_error", "omitted"], "failed"),
        (["done", "fault"], "failed"),
        (["failed", "missing", "missing"], "failed"),
        (["timeout", "partial"], "failed"),
    ],
)
def test_the_worst_stage_decides_in_any_order(statuses, expected):
    assert {course_status(False, order) for order in permutations(statuses)} == {expected}


def test_an_excluded_course_is_excluded_whatever_its_stages_say():
    assert course_status(True, ["not_applicable"]) == course_status(True, ["missing"]) == "excluded"


def facts(levels: dict[str, float | None], plan_ids: list[str], weights: dict[str, float]) -> CourseFacts:
    return CourseFacts(
        plans={plan: {"plan_rx_gy": level} for plan, level in levels.items()},
        doses=[{"dose_id": "plan-01", "plan_ids": ["plan-01"], "whole_course": False},
               {"dose_id": "total", "plan_ids": plan_ids, "whole_course": True}],
        total={"weights": weights},
    )  # fmt: skip


def test_levels_of_sequential_plans_are_added():
    both = ["plan-01", "plan-02"]
    assert rx_total_gy(facts({"plan-01": 50.0, "plan-02": 16.0}, both, dict.fromkeys(both, 1.0))) == 66.0


def test_there_is_no_total_where_a_plan_states_no_single_level():
    both = ["plan-01", "plan-02"]
    assert rx_total_gy(facts({"plan-01": 50.0, "plan-02": None}, both, dict.fromkeys(both, 1.0))) is None


def test_there_is_no_total_where_a_plan_was_delivered_in_part():
    both = ["plan-01", "plan-02"]
    assert rx_total_gy(facts({"plan-01": 50.0, "plan-02": 16.0}, both, {"plan-01": 0.5, "plan-02": 1.0})) is None


def test_a_plan_that_was_not_delivered_adds_nothing():
    weights = {"plan-01": 1.0, "plan-02": 0.0}
    assert rx_total_gy(facts({"plan-01": 50.0, "plan-02": 16.0}, ["plan-01"], weights)) == 50.0


def test_there_is_no_total_without_a_dose_of_the_whole_course():
    assert rx_total_gy(CourseFacts(plans={"plan-01": {"plan_rx_gy": 50.0}})) is None


def test_joined_keeps_order_and_drops_what_is_missing():
    assert joined([6.0, 15.0, None, 6.0, ""]) == "6+15"
    assert joined([]) is None
    assert joined([["PHOTON"], ["PHOTON", "ELECTRON"]]) is not None


def test_only_gives_a_value_when_all_agree():
    assert only([25, 25]) == 25
    assert only([25, 5]) is None
    assert only([25, None]) is None
    assert only([]) is None

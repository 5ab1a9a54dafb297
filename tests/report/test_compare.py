"""Our numbers beside the planning system's: matched by ROI number, never by name or order."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from rtpipeline.report.compare import compare, dose_at_volume_pct, pair

DOSE = np.arange(0, 70, 0.1)
READING_GY = 0.02
"""Linear reading of a curve with steps of 0.1 Gy."""


def structure(number: int, name: str, set_id: str = "rs-01", course: str = "c1") -> dict:
    return {"course_id": course, "structure_set_id": set_id, "structure_id": f"manual-{set_id}-{number:04d}",
            "structure_source": "manual", "structure_name": name, "roi_number": number}  # fmt: skip


def metric(of: dict, mean: float, dose_id: str = "plan-01") -> dict:
    return {**of, "dose_id": dose_id, "volume_cc": 100.0, "dmean_gy": mean, "d95_gy": mean - 1, "dmax_gy": mean + 3}


def curve(number: int | None, mean: float, **changes) -> dict:
    return {"course_id": "c1", "rtdose_id": "rd-01", "dose_id": "plan-01", "structure_set_id": "rs-01",
            "roi_number": number, "volume_cc": 100.0, "dmean_gy": mean, "dmax_gy": mean + 3, "dose_gy": DOSE,
            "cumulative_volume_cc": 100 * norm.sf(DOSE, mean, 2.0), **changes}  # fmt: skip


def test_the_dose_to_a_share_of_the_volume_is_that_of_the_distribution():
    found = dose_at_volume_pct(DOSE, 80 * norm.sf(DOSE, 40, 2.0), 95.0)
    assert found == pytest.approx(norm.isf(0.95, 40, 2.0), abs=READING_GY)


@pytest.mark.parametrize("empty", [(None, None), (DOSE, None), (DOSE[:0], DOSE[:0]), (DOSE, DOSE * 0)])
def test_there_is_no_dose_without_a_curve_or_volume(empty):
    assert dose_at_volume_pct(*empty, 95.0) is None


def test_curves_are_matched_by_number_although_names_and_order_say_otherwise():
    heart, lung = structure(7, "Lung"), structure(3, "Heart")
    rows, alone = compare([curve(3, 20.0), curve(7, 40.0)], [heart, lung], [metric(heart, 40.0), metric(lung, 20.0)])
    assert alone == 0
    assert {r.structure_name: r.pairs[1].difference_pct for r in rows} == {"Lung": 0.0, "Heart": 0.0}


def test_a_number_that_stands_in_two_sets_needs_the_set():
    first, second = structure(1, "PTV", "rs-01"), structure(1, "PTV", "rs-02")
    metrics = [metric(first, 50.0), metric(second, 60.0)]
    rows, alone = compare([curve(1, 60.0, structure_set_id="rs-02")], [first, second], metrics)
    assert (rows[0].pairs[1].ours, alone) == (60.0, 0)
    assert compare([curve(1, 60.0, structure_set_id=None)], [first, second], metrics) == ([], 1)


def test_another_course_with_the_same_number_is_not_taken():
    own, other = structure(1, "PTV"), structure(1, "PTV", course="c2")
    rows, _ = compare([curve(1, 50.0)], [other, own], [metric(other, 10.0), metric(own, 50.0)])
    assert [(r.course_id, r.pairs[1].ours) for r in rows] == [("c1", 50.0)]


@pytest.mark.parametrize(
    "changes", [{"roi_number": None}, {"roi_number": 9}, {"dose_id": "plan-02"}, {"dose_id": None}]
)
def test_what_has_no_counterpart_is_counted(changes):
    own = structure(1, "PTV")
    assert compare([{**curve(1, 50.0), **changes}], [own], [metric(own, 50.0)]) == ([], 1)


def test_a_curve_of_one_part_of_several_doses_is_not_compared_with_any():
    own = structure(1, "PTV")
    metrics = [metric(own, 50.0, "plan-01"), metric(own, 66.0, "total")]
    assert compare([curve(1, 50.0, dose_id=None)], [own], metrics) == ([], 1)


def test_the_difference_is_in_percent_of_theirs_and_absent_near_zero():
    assert pair("dmean_gy", 10.3, 10.0).difference_pct == pytest.approx(3.0)
    assert pair("dmean_gy", 0.04, 0.05).difference_pct is None
    assert pair("dmean_gy", None, 10.0).difference_pct is None
    assert pair("dmean_gy", 9.6, 10.0).is_notable
    assert not pair("dmean_gy", 9.8, 10.0).is_notable


def test_the_largest_difference_comes_first():
    small, large = structure(1, "A"), structure(2, "B")
    rows, _ = compare([curve(1, 50.0), curve(2, 50.0)], [small, large], [metric(small, 50.1), metric(large, 55.0)])
    assert [r.structure_name for r in rows] == ["B", "A"]

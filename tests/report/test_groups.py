"""Structures over the cohort: who is counted together, and which groups are too small to mean anything."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.report.groups import groups, spread


def row(course: str, name: str = "Heart", dose_id: str = "plan-01", **changes) -> dict:
    return {
        "patient_id": course[:2], "course_id": course, "structure_id": f"manual-{name}", "structure_name": name,
        "structure_source": "manual", "structure_name_tg263": None, "dose_id": dose_id, "roi_type": "ORGAN",
        "rx_gy": None, "volume_cc": 100.0, "dmean_gy": 5.0, "d95_gy": 1.0, "dmax_gy": 20.0, **changes,
    }  # fmt: skip


def test_quartiles_leave_out_what_is_null():
    found = spread([None, 4.0, 1.0, 2.0, None, 3.0])
    assert (found.n, found.median, found.low, found.high) == (4, 2.5, *np.percentile([1, 2, 3, 4], [25, 75]))
    assert spread([None]).median is None


def test_small_groups_count_patients_not_courses():
    rows = [row(f"p{n}-c0{c}") for n in range(4) for c in (1, 2)]
    found = groups(rows, small_cell_minimum=5)
    assert [(g.courses, g.patients, g.small) for g in found] == [(8, 4, True)]
    assert not groups([*rows, row("p9-c01")], small_cell_minimum=5)[0].small


def test_names_join_by_tg263_and_stay_apart_by_source():
    rows = [
        row("p1-c01", "heart", structure_name_tg263="Heart"),
        row("p2-c01", "Herz", structure_name_tg263="Heart"),
        row("p3-c01", "Heart", structure_source="totalsegmentator"),
        row("p4-c01", "HEART"),
    ]
    assert {(g.name, g.source): g.courses for g in groups(rows, 1)} == {
        ("Heart", "manual"): 2,
        ("Heart", "totalsegmentator"): 1,
        ("HEART", "manual"): 1,
    }


def test_a_course_with_a_total_counts_once():
    rows = [
        row("p1-c01", dmean_gy=5.0),
        row("p1-c01", dose_id="plan-02", dmean_gy=2.0),
        row("p1-c01", dose_id="total", dmean_gy=7.0),
    ]
    found = groups(rows, 1)[0]
    assert (found.courses, found.spreads[1].n, found.spreads[1].median) == (1, 1, 7.0)


def test_a_metric_that_the_configuration_left_out_is_absent():
    rows = [{k: v for k, v in row("p1-c01").items() if k != "d95_gy"}]
    assert groups(rows, 1)[0].spreads[2].n == 0


@pytest.mark.parametrize("changes", [{"roi_type": "PTV"}, {"roi_type": None, "rx_gy": 50.0}])
def test_targets_come_first(changes):
    rows = [*(row(f"p{n}-c01", "Body") for n in range(3)), row("p1-c01", "boost", **changes)]
    assert [g.name for g in groups(rows, 1)] == ["boost", "Body"]

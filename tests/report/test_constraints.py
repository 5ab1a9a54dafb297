"""Constraints over the cohort, and how they look on the page."""

from __future__ import annotations

from typing import Any

from rtpipeline.aggregation.stage import run
from rtpipeline.contracts.tables import CONSTRAINTS
from rtpipeline.report.build import report_html
from rtpipeline.report.constraints import MAX_FAILED, constraint_entries
from rtpipeline.report.tables import ResultTables
from tests.aggregation.fabricate import FabricatedCourse, fabricate


def row(course: str, result: str = "pass", value: float | None = 20.0, **changes: Any) -> dict[str, Any]:
    return {
        "cohort": "c", "patient_id": course[:2], "course_id": course, "constraint": 1, "constraint_structure": "Heart",
        "structure_source": "manual", "structure_set_id": "rs-01", "structure_id": "manual-rs-01-0003",
        "dose_id": "total", "metric": "dmean_gy", "limit": "< 26 Gy", "limit_value": 26.0, "limit_unit": "Gy",
        "value": value, "result": result, "reason": None, "stage_key": "k", "rtpipeline_version": "0", **changes,
    }  # fmt: skip


ABSENT = dict.fromkeys(("structure_source", "structure_set_id", "structure_id", "dose_id"))


def test_results_are_counted_by_constraint_and_source() -> None:
    rows = [
        row("p1-c01"), row("p2-c01", "fail", 30.0), row("p3-c01", value=10.0),
        row("p1-c01", structure_source="totalsegmentator"),
        row("p4-c01", "not_evaluable", reason="ambiguous", value=99.0),
        row("p5-c01", "not_evaluable", None, reason="no structure of this name", **ABSENT),
        row("p1-c01", constraint=0, constraint_structure="PTV"),
    ]  # fmt: skip
    found = constraint_entries(rows)
    assert [(e.structure, e.source, e.passed, e.failed, e.not_evaluable) for e in found] == [
        ("PTV", "manual", 1, 0, 0), ("Heart", None, 0, 0, 1), ("Heart", "manual", 2, 1, 1),
        ("Heart", "totalsegmentator", 1, 0, 0),
    ]  # fmt: skip
    manual = found[2]
    assert (manual.values.n, manual.values.median) == (3, 20.0)  # 99 was not evaluated
    assert [f["course_id"] for f in manual.failures] == ["p2-c01"]
    assert manual.reasons == [("ambiguous", 1)]


def test_many_failures_are_counted_and_the_first_are_named() -> None:
    (found,) = constraint_entries([row(f"p{n:02d}-c01", "fail", 30.0) for n in range(30)])
    assert (found.failed, len(found.failures)) == (30, MAX_FAILED)


def test_the_page_shows_them_where_there_are_any(tmp_path) -> None:
    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01")])
    run(context)
    assert 'id="constraints"' not in report_html(ResultTables.load(context.out))
    rows = [
        row("p0000000001-c01", "fail", 30.25),
        row("p0000000001-c01", "not_evaluable", None, reason="<b>", **ABSENT),
    ]
    CONSTRAINTS.write(CONSTRAINTS.frame(rows), context.out / "constraints.parquet")
    html = report_html(ResultTables.load(context.out))
    assert 'href="#p0000000001-c01">p0000000001-c01</a> 30.2' in html
    assert "1: &lt;b&gt;" in html and "1: <b>" not in html

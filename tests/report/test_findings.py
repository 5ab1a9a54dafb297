"""Findings for reading: nothing is lost by grouping, and the worst come first."""

from __future__ import annotations

from rtpipeline.contracts.findings import finding
from rtpipeline.report.findings import MAX_EXAMPLES, by_code


def rows(code: str, number: int, course: str = "p1-c01", **changes) -> list[dict]:
    return [finding(code, f"object {n}", "x", course_id=course, **changes).row() for n in range(number)]


def test_the_counts_of_the_entries_are_those_of_the_findings():
    found = [*rows("SS_TINY", 9), *rows("SS_TINY", 2, "p2-c01"), *rows("RES_MEMORY", 1), *rows("SS_HOLE", 3)]
    entries = by_code(found)
    assert sum(e.count for e in entries) == len(found)
    assert {e.code: e.courses for e in entries} == {"SS_TINY": 2, "RES_MEMORY": 1, "SS_HOLE": 1}


def test_errors_come_first_then_the_most_frequent():
    found = [*rows("SS_HOLE", 30), *rows("SS_TINY", 2), *rows("SS_SLICE_GAP", 5), *rows("RES_MEMORY", 1)]
    assert [e.code for e in by_code(found)] == ["RES_MEMORY", "SS_SLICE_GAP", "SS_TINY", "SS_HOLE"]


def test_one_code_of_two_severities_is_two_entries():
    found = [*rows("SS_FOR_MISMATCH", 1), *rows("SS_FOR_MISMATCH", 1, severity="W")]
    assert [(e.severity, e.code) for e in by_code(found)] == [("E", "SS_FOR_MISMATCH"), ("W", "SS_FOR_MISMATCH")]


def test_examples_are_bounded_and_the_rest_is_counted():
    entry = by_code(rows("SS_TINY", MAX_EXAMPLES + 4))[0]
    assert len(entry.examples) == MAX_EXAMPLES
    assert entry.further == 4


def test_the_most_frequent_remedy_stands_for_all():
    found = [*rows("SS_TINY", 2, remedy="a"), *rows("SS_TINY", 3, remedy="b")]
    assert by_code(found)[0].remedy == "b"

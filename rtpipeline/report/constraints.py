"""Dose constraints over the cohort: how many structures keep to each, and which do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rtpipeline.report.groups import Spread, spread
from rtpipeline.report.tables import Row

MAX_FAILED = 12
"""Courses named for each constraint; the table has all of them."""


@dataclass(frozen=True)
class ConstraintEntry:
    """One constraint on the structures of one source (None: where no course has such a structure)."""

    structure: str
    source: str | None
    metric: str
    limit: str
    passed: int
    failed: int
    not_evaluable: int
    values: Spread
    failures: list[Row]
    """rows of `constraints` that fail, the first of them"""
    reasons: list[tuple[str, int]]
    """why rows are not evaluable, the most frequent first"""


def constraint_entries(rows: Iterable[Row]) -> list[ConstraintEntry]:
    """One entry for each constraint and source, in the order of the user's table."""
    grouped: dict[tuple[int, str, str, str, str], list[Row]] = {}
    for row in rows:
        source = row["structure_source"] or ""
        key = (row["constraint"], source, row["constraint_structure"], row["metric"], row["limit"])
        grouped.setdefault(key, []).append(row)
    return [_entry(grouped[key]) for key in sorted(grouped)]


def _entry(rows: list[Row]) -> ConstraintEntry:
    results = Counter(r["result"] for r in rows)
    failures = [r for r in rows if r["result"] == "fail"]
    return ConstraintEntry(
        structure=rows[0]["constraint_structure"],
        source=rows[0]["structure_source"],
        metric=rows[0]["metric"],
        limit=rows[0]["limit"],
        passed=results["pass"],
        failed=results["fail"],
        not_evaluable=results["not_evaluable"],
        values=spread([r["value"] for r in rows if r["result"] != "not_evaluable"]),
        failures=failures[:MAX_FAILED],
        reasons=Counter(r["reason"] for r in rows if r["reason"]).most_common(),
    )

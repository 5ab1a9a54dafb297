"""Findings for reading: one entry for each severity and code, with its first occurrences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rtpipeline.contracts.findings import catalogue
from rtpipeline.report.tables import Row

MAX_EXAMPLES = 6
"""Occurrences shown for each code; the table has all of them."""

SEVERITIES = "EWI"
"""Worst first."""


@dataclass(frozen=True)
class CodeEntry:
    """The findings of one severity and code."""

    severity: str
    code: str
    title: str
    count: int
    courses: int
    action: str
    """the most frequent one, as is the remedy"""
    remedy: str
    examples: list[Row]

    @property
    def further(self) -> int:
        """Occurrences that are not among the examples."""
        return self.count - len(self.examples)


def by_code(findings: Iterable[Row]) -> list[CodeEntry]:
    """One entry for each severity and code: worst first, then the most frequent."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in findings:
        grouped.setdefault((row["severity"], row["code"]), []).append(row)
    entries = [_entry(severity, code, rows) for (severity, code), rows in grouped.items()]
    return sorted(entries, key=lambda e: (SEVERITIES.index(e.severity), -e.count, e.code))


def _entry(severity: str, code: str, rows: list[Row]) -> CodeEntry:
    declared = catalogue().get(code)
    return CodeEntry(
        severity=severity,
        code=code,
        title=declared.title if declared else rows[0]["expected"],
        count=len(rows),
        courses=len({r["course_id"] for r in rows if r["course_id"]}),
        action=Counter(r["action"] for r in rows).most_common(1)[0][0],
        remedy=Counter(r["remedy"] for r in rows).most_common(1)[0][0],
        examples=rows[:MAX_EXAMPLES],
    )

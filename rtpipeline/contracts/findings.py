"""Findings: what is wrong with the data, or was done about it, as rows.

Each code is declared once in `finding_codes.py`. A code, once emitted, keeps its meaning. Everything dropped, refused,
gated or timed out is one row; nothing is only logged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any


class Severity(StrEnum):
    """How much a finding costs."""

    ERROR = "E"
    """the course, structure or object is left out"""
    WARNING = "W"
    """kept and flagged"""
    INFO = "I"
    """recorded"""


class Scope(StrEnum):
    """What a finding is about."""

    COHORT = "cohort"
    PATIENT = "patient"
    COURSE = "course"
    IMAGE = "image"
    STRUCTURE_SET = "structure_set"
    STRUCTURE = "structure"
    PLAN = "plan"
    DOSE = "dose"
    FILE = "file"


@dataclass(frozen=True)
class FindingCode:
    """One row of the catalogue: what a code means and what the reader can do about it."""

    code: str
    severity: Severity
    """default; an occurrence may be milder or worse"""
    scope: Scope
    title: str
    expected: str
    action: str
    """what the pipeline does"""
    remedy: str
    """what the user can do"""


@dataclass(frozen=True)
class Finding:
    """One occurrence of a code. `object` names things by pseudonymous ids only."""

    code: str
    severity: Severity
    scope: Scope
    object: str
    measured: str
    expected: str
    action: str
    remedy: str
    course_id: str | None = None
    patient_id: str | None = None
    stage: str | None = None

    def for_course(self, course_id: str, patient_id: str) -> Finding:
        """The same finding, tied to a course."""
        return replace(self, course_id=course_id, patient_id=patient_id)

    def from_stage(self, stage: str) -> Finding:
        """The same finding, with the stage that made it unless it already names one."""
        return self if self.stage else replace(self, stage=stage)

    def row(self) -> dict[str, Any]:
        """As a row of `findings.parquet`."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "scope": self.scope.value,
            "stage": self.stage,
            "patient_id": self.patient_id,
            "course_id": self.course_id,
            "object": self.object,
            "measured": self.measured,
            "expected": self.expected,
            "action": self.action,
            "remedy": self.remedy,
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Finding:
        """Inverse of `row`."""
        known = {k: row.get(k) for k in cls.__dataclass_fields__}
        return cls(**{**known, "severity": Severity(row["severity"]), "scope": Scope(row["scope"])})  # type: ignore[arg-type]


@cache
def catalogue() -> dict[str, FindingCode]:
    """Every declared code by name."""
    from rtpipeline.contracts.finding_codes import CODES

    return {c.code: c for c in CODES}


def finding(
    code: str,
    object: str,
    measured: object,
    *,
    expected: str | None = None,
    severity: Severity | str | None = None,
    scope: Scope | str | None = None,
    action: str | None = None,
    remedy: str | None = None,
    course_id: str | None = None,
    patient_id: str | None = None,
) -> Finding:
    """A finding of a declared code; what is not given is the catalogue's text.

    Parameters
    ----------
    object: pseudonymous name of the thing, such as `rs-01 ROI 7 'Heart'` or `RTDOSE 3f2a91c0d4e5`; never a UID or path.
    measured: what was found, with its unit.

    Raises
    ------
    KeyError: the code is not declared.
    """
    entry = catalogue()[code]
    return Finding(
        code=code,
        severity=Severity(severity) if severity else entry.severity,
        scope=Scope(scope) if scope else entry.scope,
        object=object,
        measured=str(measured),
        expected=expected if expected is not None else entry.expected,
        action=action if action is not None else entry.action,
        remedy=remedy if remedy is not None else entry.remedy,
        course_id=course_id,
        patient_id=patient_id,
    )


def worst(findings: Iterable[Finding]) -> Severity | None:
    """The worst severity among findings; None when there are none."""
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    present = {f.severity for f in findings}
    return next((s for s in order if s in present), None)

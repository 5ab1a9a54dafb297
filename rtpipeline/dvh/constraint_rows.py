"""Rows of `constraints`: the user's constraints on the structures of a course, in the dose that they are meant for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rtpipeline import __version__
from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.tables import STRUCTURE_KEYS
from rtpipeline.dvh.constraints import Constraint
from rtpipeline.dvh.declared import names_of
from rtpipeline.dvh.evaluation import Judgement, judge
from rtpipeline.dvh.rows import StructureInDose

CROPPED = "cropped"
"""Source of structures that have the name of the whole, which alone the table means."""


def doubts(doses: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By dose id, why a dose is not the one that constraints are for; '' where it is. Doses that are missing here are
    not looked at: beside the dose of the whole course its parts have no rows.

    Parameters
    ----------
    doses: entries of `doses.json`.
    """
    whole = [d for d in doses if d["whole_course"] and d["dose_status"] == "ok"]
    if whole:
        return {d["dose_id"]: "" for d in whole}
    # without any plan a single dose is all there is; else the dose is a part, of nobody knows what
    alone = len(doses) == 1 and doses[0]["course_total_status"] == "none" and doses[0]["dose_status"] == "ok"
    return {
        d["dose_id"]: "" if alone else f"not the dose of the whole course ({_why(d)})"
        for d in doses
    }  # fmt: skip


def _why(dose: Mapping[str, Any]) -> str:
    if dose["dose_status"] != "ok":
        return str(dose["dose_status"])
    return str(dose["course_total_status"]) if dose["plan_ids"] else "its plan is not in the export"


@dataclass
class ConstraintRows:
    """Collects the rows of a course, structure by structure."""

    constraints: Sequence[Constraint]
    course: Mapping[str, str]
    """cohort, patient_id, course_id"""
    stage_key: str
    doubts: Mapping[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    _met: set[int] = field(default_factory=set)

    def add(self, structure: Mapping[str, Any], found: StructureInDose) -> None:
        """The constraints on a structure in a dose."""
        dose_id = found.row["dose_id"]
        if structure["structure_source"] == CROPPED or dose_id not in self.doubts:
            return
        names = names_of(structure)
        for constraint in self.constraints:
            if constraint.structure in names:
                self._met.add(constraint.number)
                judged = judge(constraint, found.histograms, self.doubts[dose_id])
                keys = {c.name: structure[c.name] for c in STRUCTURE_KEYS}
                told = {name: found.row[name] for name in ("dose_id", "dose_basis", "dose_status")}
                self.rows.append({**keys, **told, **self._row(constraint, judged)})

    def finish(self, structures: Sequence[Mapping[str, Any]]) -> list[Finding]:
        """Rows of the constraints that no structure in a dose met, and the finding about names that are nowhere.

        structures: every row of `structures`.
        """
        present = {n for s in structures if s["structure_source"] != CROPPED for n in names_of(s)}
        for constraint in self.constraints:
            if constraint.number not in self._met:
                is_there = constraint.structure in present
                reason = "no dose in the structure's frame of reference" if is_there else "no structure of this name"
                self.rows.append({**self.course, **self._row(constraint, Judgement("not_evaluable", None, reason))})
        lost = sorted({c.structure for c in self.constraints} - present)
        if not lost:
            return []
        measured = f"no structure is called {', '.join(repr(name) for name in lost)}"
        return [finding("CONSTRAINT_NAME", "dvh.constraints", measured)]

    def _row(self, constraint: Constraint, judged: Judgement) -> dict[str, Any]:
        return {
            "constraint": constraint.number,
            "constraint_structure": constraint.structure,
            "metric": constraint.measure.name,
            "limit": constraint.text,
            "limit_value": constraint.limit,
            "limit_unit": constraint.unit or None,
            "value": judged.value,
            "result": judged.result,
            "reason": judged.reason or None,
            "stage_key": self.stage_key,
            "rtpipeline_version": __version__,
        }

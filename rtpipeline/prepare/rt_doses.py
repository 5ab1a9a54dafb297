"""The doses of a course: objects composed by `dose.decision`, added, compared with the prescription, and listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.dicom.rtdose import RtDose
from rtpipeline.dose.accumulate import DoseGrid, accumulate, sample
from rtpipeline.dose.decision import Composition, compose
from rtpipeline.dose.frames import Route
from rtpipeline.dose.scale import Prescribed, ScaleCheck, check_scale
from rtpipeline.dose.summation import TERMS, DoseObject, PlanScope

VERIFIED_WITHIN = 0.01
"""Share of the plan's maximum by which the sum of its beams may differ anywhere (DOSE_SUMMATION_PLAN_AND_BEAM)."""

COPIES_WITHIN = 1e-6
"""Share of the maximum by which two objects of the same dose may differ (values rounded to another scaling)."""


@dataclass(frozen=True)
class MadeDose:
    """A dose of the tables. parts: share of each object's (or plan's) dose that entered, by id. routes: how the dose of
    a plan that lies in another frame of reference came into `frame`, by plan id."""

    dose_id: str
    plan_ids: tuple[str, ...]
    rtdose_ids: tuple[str, ...]
    basis: str
    status: str
    summation_type: str
    dose_type: str
    frame: str
    volume: DoseGrid
    fractions_planned: int | None
    factor: int = 1
    scale: ScaleCheck = field(default_factory=lambda: ScaleCheck("unknown"))
    parts: Mapping[str, float] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)


@dataclass
class DoseLedger:
    """What became of every RTDOSE object, and the findings that say so."""

    fates: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def set(self, rtdose_id: str, role: str, dose_id: str | None = None, code: str | None = None) -> None:
        """Record a role once: `used`, `part`, `verifies`, `listed`, `refused`."""
        self.fates.setdefault(rtdose_id, {"rtdose_id": rtdose_id, "role": role, "dose_id": dose_id, "code": code})

    def refuse(self, rtdose_ids: Sequence[str], found: Finding) -> None:
        """Record objects that are not used, with the finding that says why."""
        self.findings.append(found)
        for rtdose_id in rtdose_ids:
            self.set(rtdose_id, "refused" if found.severity == "E" else "listed", code=found.code)


def grid_of(dose: RtDose) -> DoseGrid:
    """The object's dose in Gy.

    Raises
    ------
    ValueError: it was refused.
    """
    values = dose.dose_gy
    if dose.grid is None or values is None:
        raise ValueError("a refused dose object has no grid")
    return DoseGrid(dose.grid, values)


def dose_object(rtdose_id: str, dose: RtDose, plan_uid: str | None) -> DoseObject:
    """The object as the decision sees it, with what its reference to one plan names."""
    references = [p for p in dose.plans if p.plan_uid == plan_uid] if plan_uid is not None else list(dose.plans)
    groups = [(g.fraction_group, (*g.beams, *g.setups)) for p in references for g in p.groups]
    return DoseObject(rtdose_id, dose.summation_type, dose.dose_type, dose.frame_uid, tuple(groups))


def plan_doses(
    scope: PlanScope,
    objects: Sequence[DoseObject],
    doses: Mapping[str, RtDose],
    prescription: Prescribed,
    referenced: Sequence[str],
    ledger: DoseLedger,
) -> list[MadeDose]:
    """The dose of one plan for each dose type that its objects have: the first composition that holds."""
    made: list[MadeDose] = []
    compositions = compose(scope, objects, referenced)
    for dose_type in dict.fromkeys(c.dose_type for c in compositions):
        own = [c for c in compositions if c.dose_type == dose_type]
        dose_id = scope.plan_id if not made else f"{scope.plan_id}-{(dose_type or 'unknown').lower()}"
        chosen: MadeDose | None = None
        for composition in own:
            if chosen is None:
                chosen = _make(dose_id, composition, scope, doses, prescription, ledger)
            else:
                _verify(chosen, composition, doses, ledger)
        if chosen is not None:
            made.append(chosen)
    left = [d.rtdose_id for d in objects if d.rtdose_id not in ledger.fates]
    if left:
        ledger.refuse(left, finding("DOSE_NOT_USED", f"{scope.plan_id} {', '.join(left)}", "the plan names another"))
    return made


def _make(
    dose_id: str,
    composition: Composition,
    scope: PlanScope,
    doses: Mapping[str, RtDose],
    prescription: Prescribed,
    ledger: DoseLedger,
) -> MadeDose | None:
    """The dose that a composition makes; None, with its finding, when it is incomplete or does not fit."""
    ids, term = composition.rtdose_ids, TERMS[composition.term]
    if not composition.complete:
        measured = f"{len(ids)} {composition.term}: {composition.problem}"
        ledger.refuse(ids, finding(term.finding, f"{scope.plan_id} {', '.join(ids)}", measured))
        return None
    if composition.alternatives:
        if not _are_copies([doses[i] for i in ids]):
            found = finding("DOSE_NOT_USED", f"{scope.plan_id} {', '.join(ids)}", f"{len(ids)} PLAN doses that differ",
                            severity="E", remedy="export the one that was approved")  # fmt: skip
            ledger.refuse(ids, found)
            return None
        ledger.refuse(ids[1:], finding("DOSE_NOT_USED", ", ".join(ids[1:]), f"the same dose as {ids[0]}"))
        ids = ids[:1]
    volume = accumulate([grid_of(doses[i]) for i in ids]).scaled(composition.factor)
    check = check_scale(volume.max_gy or 0.0, prescription, factor=composition.factor)
    if check.refused:
        ledger.refuse(ids, scale_finding(f"{scope.plan_id} {', '.join(ids)}", check))
        return None
    if check.verdict == "implausible":
        expected = "a maximum between 0.7 and 3 times the prescription"
        ledger.findings.append(finding("COURSE_IMPLAUSIBLE", dose_id, check.measured, expected=expected))
    if composition.factor > 1:
        measured = f"{composition.term} x {composition.factor} fractions"
        ledger.findings.append(
            finding("DOSE_SUMMATION_FRACTION", f"{scope.plan_id} {', '.join(ids)}", measured, severity="W")
        )
    for rtdose_id in ids:
        ledger.set(rtdose_id, "used" if len(ids) == 1 else "part", dose_id)
    return MadeDose(
        dose_id=dose_id,
        plan_ids=(scope.plan_id,),
        rtdose_ids=ids,
        basis=composition.basis,
        status="ok",
        summation_type=composition.term,
        dose_type=composition.dose_type,
        frame=doses[ids[0]].frame_uid,
        volume=volume,
        fractions_planned=prescription.fractions if len(scope.groups) <= 1 else None,
        factor=composition.factor,
        scale=check,
        parts=dict.fromkeys(ids, float(composition.factor)),
    )


def scale_finding(name: str, check: ScaleCheck) -> Finding:
    """Why a dose whose values do not fit is refused."""
    if check.verdict == "centigray":
        return finding("DOSE_UNITS", name, check.measured, expected="values in Gy that fit the prescription")
    return finding("DOSE_SUMMATION_FRACTION", name, check.measured, expected="the whole delivery")


def _are_copies(doses: Sequence[RtDose]) -> bool:
    first = grid_of(doses[0])
    limit = COPIES_WITHIN * max(abs(first.max_gy or 0.0), 1e-9)
    return all(
        d.frame_uid == doses[0].frame_uid
        and grid_of(d).grid.matches(first.grid)
        and float(np.abs(grid_of(d).dose_gy - first.dose_gy).max()) <= limit
        for d in doses[1:]
    )


def _verify(chosen: MadeDose, other: Composition, doses: Mapping[str, RtDose], ledger: DoseLedger) -> None:
    """Compare a dose that is used with the sum of its parts; the sum is never used beside it."""
    what = f"{chosen.dose_id} {', '.join(other.rtdose_ids)}"
    count = f"{len(other.rtdose_ids)} {other.term}"
    severity = None
    if TERMS[other.term].session or not other.complete:
        measured = f"{count} beside {chosen.summation_type}: {other.problem or 'of one fraction'}"
    elif doses[other.rtdose_ids[0]].frame_uid != chosen.frame:
        measured = f"{count} beside {chosen.summation_type}, in another frame of reference"
    else:
        total = accumulate([grid_of(doses[i]) for i in other.rtdose_ids])
        values, known = sample(total, chosen.volume.grid)
        if not known.any():
            measured = f"{count} beside {chosen.summation_type}, on grids that do not meet"
        else:
            share = float(np.abs(values - chosen.volume.dose_gy)[known].max()) / max(chosen.volume.max_gy or 0.0, 1e-9)
            measured = (
                f"sum of {count} differs from {chosen.summation_type} by at most {100 * share:.3g} % of its maximum"
            )
            severity = "W" if share > VERIFIED_WITHIN else None
    ledger.findings.append(finding("DOSE_SUMMATION_PLAN_AND_BEAM", what, measured, severity=severity))
    for rtdose_id in other.rtdose_ids:
        ledger.set(rtdose_id, "verifies", chosen.dose_id)


NOTHING_PRESCRIBED = Prescribed(None, None, None, brachy=False)
"""What a dose without its plan is compared with. It may be of brachytherapy; but then only the plan could say so."""

WITHOUT_PLAN: dict[str, tuple[str, str]] = {
    "PLAN": ("plan", "ok"),
    "MULTI_PLAN": ("multi_plan", "ok"),
    "FRACTION": ("fraction_group_sum", "incomplete"),
}
"""Doses that can stand without their plan: basis and status. One fraction group may not be the whole plan."""


def dose_without_plan(dose_id: str, rtdose_id: str, dose: RtDose, ledger: DoseLedger) -> MadeDose | None:
    """The dose of an object whose plan is not in the export; None where only the plan could say what it is of."""
    term = dose.summation_type
    if term not in WITHOUT_PLAN:
        code = TERMS[term].finding if term in TERMS else "DOSE_NOT_USED"
        severity = "I" if term in TERMS and TERMS[term].scope == "none" else "E"
        measured = f"DoseSummationType {term or 'missing'} without its plan"
        ledger.refuse([rtdose_id], finding(code, rtdose_id, measured, severity=severity))
        return None
    check = check_scale(dose.max_gy or 0.0, NOTHING_PRESCRIBED)
    if check.refused:
        ledger.refuse([rtdose_id], scale_finding(rtdose_id, check))
        return None
    basis, status = WITHOUT_PLAN[term]
    measured = f"{term} dose, " + ("its plan is missing" if dose.plans else "no plan referenced")
    if status == "incomplete":
        measured += "; whether there are other fraction groups is not known"
    ledger.findings.append(finding("DOSE_NO_PLAN", rtdose_id, measured))
    ledger.set(rtdose_id, "used", dose_id)
    return MadeDose(
        dose_id=dose_id,
        plan_ids=(),
        rtdose_ids=(rtdose_id,),
        basis=basis,
        status=status,
        summation_type=term,
        dose_type=dose.dose_type,
        frame=dose.frame_uid,
        volume=grid_of(dose),
        fractions_planned=None,
        parts={rtdose_id: 1.0},
    )

"""What was, or is to be, delivered in a course of several plans. Pure: a table of rules, the first that holds decides.

| evidence, of every selected plan | total | dose_basis |
|---|---|---|
| one plan | its own dose; no row of its own | |
| one plan, and fewer fractions delivered by the manifest | plan x delivered / planned | `delivered_fractions` |
| brachytherapy beside external beams | none: never added physically | |
| a MULTI_PLAN dose of exactly these plans | that dose | `multi_plan` |
| manifest: fractions delivered | sum of plan x delivered / planned | `phase_sum`; `delivered_fractions` for a part |
| records: fractions 1 .. n completed, none missing | as above | as above |
| ties as CONCURRENT between all of them | sum of all | `concurrent_plans` |
| anything else | none; each plan keeps its row, `ambiguous` | |

Dates, labels and prescriptions prove nothing: 16 Gy in 8 fractions after 50 Gy in 25 is a boost, or a replan of the
last 8 fractions. They only choose the words of the finding. A total needs the dose of every plan with weight above 0,
one dose type, and a frame of reference to which registrations take every part that does not lie in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

TotalStatus = Literal["single_plan", "ok", "ambiguous", "partial", "none"]


@dataclass(frozen=True)
class PlanEvidence:
    """What is known of one selected plan.

    fractions_planned: of all its fraction groups together. concurrent: selected plans that it or they name CONCURRENT.
    replaces: plans it names PREDECESSOR or ALTERNATIVE. manifest_fractions: delivered by the manifest.
    recorded_fractions: numbers of the fractions that treatment records show to be delivered whole; doubtful_records:
    why the records do not count all fractions, '' where they do. recorded_whole: of a plan with several fraction
    groups, that records show every fraction of each (parts of several groups have no common weight). targets: ROI
    numbers of its target levels, with the structure set's id. frame: of its dose; reaches: others that registrations
    take its dose to; frame_doubt: why one of those is not there although it is registered.
    """

    plan_id: str
    has_dose: bool
    brachy: bool
    dose_type: str
    frame: str
    fractions_planned: int | None
    groups: int
    manifest_fractions: int | None = None
    recorded_fractions: frozenset[int] = frozenset()
    doubtful_records: str = ""
    recorded_whole: bool = False
    concurrent: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    targets: frozenset[tuple[str, int]] = frozenset()
    reaches: frozenset[str] = frozenset()
    frame_doubt: str = ""


@dataclass(frozen=True)
class CourseTotal:
    """status: of the course's total dose. weights: part of each plan's planned dose that enters the sum.

    rtdose_id: the MULTI_PLAN object that is the total. code: finding to report, '' for none. frame: of the sum: that of
    the first plan which every other one reaches.
    """

    status: TotalStatus
    reason: str = ""
    basis: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    rtdose_id: str = ""
    code: str = ""
    frame: str = ""


def decide_total(plans: Sequence[PlanEvidence], multi_plan: Mapping[str, frozenset[str]]) -> CourseTotal:
    """How the selected plans of a course add up.

    Parameters
    ----------
    plans: the selected plans.
    multi_plan: usable MULTI_PLAN doses: rtdose id to the plans that it names (unknown ones included).
    """
    if not plans:
        return CourseTotal("none", "no selected plan")
    if len(plans) == 1 and plans[0].has_dose:
        return _single(plans[0])
    if not multi_plan and not any(p.has_dose for p in plans):
        return CourseTotal("none", "no plan has a dose")
    if len({p.brachy for p in plans}) > 1:
        return CourseTotal(
            "partial", "brachytherapy and external beams are never added physically", code="COURSE_BOOST"
        )
    every = frozenset(p.plan_id for p in plans)
    whole = sorted(i for i, named in multi_plan.items() if named == every)
    if whole:
        if len(whole) > 1:
            return CourseTotal("ambiguous", f"{len(whole)} MULTI_PLAN doses of the same plans", code="DOSE_MULTI_PLAN")
        return CourseTotal(
            "ok", "MULTI_PLAN dose of all selected plans", "multi_plan", dict.fromkeys(every, 1.0), whole[0]
        )
    for weigh in (_by_manifest, _by_records, _by_concurrence):
        found = weigh(plans)
        if found is not None:
            return _checked(plans, found)
    return _ambiguous(plans)


def _single(plan: PlanEvidence) -> CourseTotal:
    """The plan itself; records that end early may have been exported early, but the manifest means what it says."""
    given = plan.manifest_fractions
    if given is None or given == plan.fractions_planned:
        return CourseTotal("single_plan")
    found = _by_manifest([plan])
    if found is not None:
        return _checked([plan], found)
    reason = f"manifest: {plan.plan_id} {given} of {plan.fractions_planned or '?'} fractions"
    return CourseTotal("ambiguous", reason, code="COURSE_REPLAN")


def _delivered(plans: Sequence[PlanEvidence], delivered: Mapping[str, int], source: str) -> CourseTotal | None:
    """Weights from delivered fractions; None where a plan's own number of fractions cannot carry them."""
    weights = {}
    for plan in plans:
        planned, given = plan.fractions_planned, delivered[plan.plan_id]
        if not planned or given > planned or (plan.groups > 1 and 0 < given < planned):
            return None
        weights[plan.plan_id] = given / planned
    whole = all(weight in (0.0, 1.0) for weight in weights.values())
    counts = ", ".join(f"{p.plan_id} {delivered[p.plan_id]} of {p.fractions_planned}" for p in plans)
    return CourseTotal("ok", f"{source}: {counts}", "phase_sum" if whole else "delivered_fractions", weights)


def _by_manifest(plans: Sequence[PlanEvidence]) -> CourseTotal | None:
    stated = {p.plan_id: p.manifest_fractions for p in plans if p.manifest_fractions is not None}
    return _delivered(plans, stated, "manifest") if len(stated) == len(plans) else None


def _by_records(plans: Sequence[PlanEvidence]) -> CourseTotal | None:
    if any(_doubt(plan) for plan in plans):
        return None
    counts = {p.plan_id: p.fractions_planned if p.recorded_whole else len(p.recorded_fractions) for p in plans}
    return _delivered(plans, {i: n for i, n in counts.items() if n is not None}, "treatment records")


def _doubt(plan: PlanEvidence) -> str:
    """Why a plan's records do not count its fractions; '' where they run from 1 without a gap.

    A gap is a record that was not exported. Fractions missing at the end were not delivered, or not yet.
    """
    seen = plan.recorded_fractions
    if plan.recorded_whole and plan.fractions_planned:
        return ""
    if plan.doubtful_records:
        return plan.doubtful_records
    if not seen:
        return "no treatment records"
    if plan.groups > 1:
        return f"{plan.groups} fraction groups"
    gaps = frozenset(range(1, max(seen))) - seen
    return f"no record of fraction {min(gaps)}" if gaps else ""


def _by_concurrence(plans: Sequence[PlanEvidence]) -> CourseTotal | None:
    """CONCURRENT: parts of one conceptual plan, applied in parallel in one phase (PS3.3 C.8.8.9)."""
    ties = {p.plan_id: set(p.concurrent) for p in plans}
    for plan in plans:
        for other in plan.concurrent & ties.keys():
            ties[other].add(plan.plan_id)
    reached, waiting = {plans[0].plan_id}, [plans[0].plan_id]
    while waiting:
        new = ties[waiting.pop()] & ties.keys() - reached
        reached |= new
        waiting += sorted(new)
    if reached != ties.keys():
        return None
    return CourseTotal("ok", "plans reference each other as CONCURRENT", "concurrent_plans", dict.fromkeys(ties, 1.0))


def _checked(plans: Sequence[PlanEvidence], total: CourseTotal) -> CourseTotal:
    """The total, unless a part of it has no dose, another dose type, or no way into a common frame."""
    parts = [p for p in plans if total.weights[p.plan_id] > 0]
    if not parts:
        return CourseTotal("none", f"{total.reason}; nothing was delivered")
    without = [p.plan_id for p in parts if not p.has_dose]
    if without:
        return CourseTotal("partial", f"{total.reason}; no dose of {', '.join(without)}", code="COURSE_BOOST")
    if len({p.dose_type for p in parts}) > 1:
        return CourseTotal("partial", f"{total.reason}; dose types differ", code="DOSE_TYPE_EFFECTIVE")
    common = frozenset.intersection(*(p.reaches | {p.frame} for p in parts)) - {""}
    frame = next((p.frame for p in parts if p.frame in common), "")
    if not frame:
        doubts = "; ".join(dict.fromkeys(p.frame_doubt for p in parts if p.frame_doubt))
        return CourseTotal(
            "partial",
            f"{total.reason}; frames of reference differ" + (f"; {doubts}" if doubts else ""),
            code="REG_DISAGREES" if doubts else "REG_MISSING",
        )
    return replace(total, frame=frame)


def _ambiguous(plans: Sequence[PlanEvidence]) -> CourseTotal:
    """No evidence: COURSE_BOOST where the targets differ and no plan derives from another, else COURSE_REPLAN."""
    names = ", ".join(f"{p.plan_id} {p.fractions_planned or '?'} fractions" for p in plans)
    derived = any(p.replaces for p in plans)
    apart = all(p.targets for p in plans) and len(frozenset().union(*(p.targets for p in plans))) == sum(
        len(p.targets) for p in plans
    )
    boost = apart and not derived
    why = "targets differ" if boost else ("one derives from another" if derived else "same or unknown targets")
    doubts = ", ".join(f"{p.plan_id} {doubt}" for p in plans if (doubt := _doubt(p)))
    return CourseTotal(
        "ambiguous",
        f"{len(plans)} plans ({names}), {why}; no delivered fractions of all of them"
        + (f": {doubts}" if any(p.recorded_fractions or p.doubtful_records for p in plans) and doubts else ""),
        code="COURSE_BOOST" if boost else "COURSE_REPLAN",
    )

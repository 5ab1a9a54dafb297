"""The doses of a whole course: each plan's, those without a plan, and the total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rtpipeline.contracts.findings import finding
from rtpipeline.contracts.manifests import PlanRef
from rtpipeline.dicom.rtdose import RtDose
from rtpipeline.dicom.rtplan import RtPlan
from rtpipeline.dicom.rtrecord import Delivered, delivered_fractions
from rtpipeline.dose.accumulate import accumulate
from rtpipeline.dose.course_total import CourseTotal, PlanEvidence, decide_total
from rtpipeline.dose.frames import RegistrationsDisagreeError, Route
from rtpipeline.dose.scale import Prescribed, check_scale
from rtpipeline.dose.summation import TERMS, GroupScope
from rtpipeline.geometry.rigid import corners_xyz_mm
from rtpipeline.prepare.rt_doses import (
    DoseLedger,
    MadeDose,
    dose_object,
    dose_without_plan,
    grid_of,
    plan_doses,
    scale_finding,
)
from rtpipeline.prepare.rt_links import applied
from rtpipeline.prepare.rt_objects import CourseObjects
from rtpipeline.prepare.rt_plans import prescribed, scope_of


@dataclass
class CourseDoses:
    """What a course's dose objects came to."""

    made: list[MadeDose]
    total: CourseTotal
    ledger: DoseLedger


def course_doses(objects: CourseObjects) -> CourseDoses:
    """Decide and add every dose of a course."""
    ledger = DoseLedger()
    selected = [p for p in objects.course.plans if p.selected and p.plan_id in objects.plans]
    by_plan, without_plan, multi_plan = _sorted_by_plan(objects, {p.plan_id for p in selected}, ledger)
    made: list[MadeDose] = []
    levels: dict[str, Prescribed] = {}
    for ref in selected:
        plan, ids = objects.plans[ref.plan_id], by_plan.get(ref.plan_id, [])
        own = [dose_object(i, objects.doses[i], _reference_uid(objects, i, ref.plan_id)) for i in ids]
        named = [i for i in ids if objects.uids.get(i) in plan.dose_uids]
        rx = prescribed(plan, ref.plan_id, objects.course.manifest, only_plan=len(selected) == 1)
        made += plan_doses(scope_of(ref.plan_id, plan), own, objects.doses, rx, named, ledger)
        levels[ref.plan_id] = rx
    multi_plan = {
        i: named for i, named in multi_plan.items()
        if _fits(i, objects.doses[i], [levels.get(n) for n in sorted(named)], ledger)
    }  # fmt: skip
    total = decide_total(_evidence(objects, selected, made), multi_plan)
    made = _with_total(objects, selected, made, total, multi_plan, ledger)
    for number, rtdose_id in enumerate(without_plan, start=1):
        alone = dose_without_plan(f"dose-{number:02d}", rtdose_id, objects.doses[rtdose_id], ledger)
        made += [alone] if alone is not None else []
    return CourseDoses(made, total, ledger)


def _fits(rtdose_id: str, dose: RtDose, plans: Sequence[Prescribed | None], ledger: DoseLedger) -> bool:
    """Whether a MULTI_PLAN dose can be one of plans with these prescriptions (None: of a plan that is not selected),
    their sum at most; else it is refused."""
    stated = [p.rx_gy for p in plans if p is not None and p.rx_gy is not None]
    level = sum(stated) if len(stated) == len(plans) else None
    brachy = any(p is not None and p.brachy for p in plans)
    check = check_scale(dose.max_gy or 0.0, Prescribed(level, None, None, brachy))
    if check.refused:
        ledger.refuse([rtdose_id], scale_finding(rtdose_id, check))
    elif check.verdict == "implausible":
        ledger.findings.append(finding("COURSE_IMPLAUSIBLE", rtdose_id, check.measured))
    return not check.refused


def _reference_uid(objects: CourseObjects, rtdose_id: str, plan_id: str) -> str | None:
    uid = objects.uids.get(plan_id)
    return uid if any(p.plan_uid == uid for p in objects.doses[rtdose_id].plans) else None


def _sorted_by_plan(
    objects: CourseObjects, selected: set[str], ledger: DoseLedger
) -> tuple[dict[str, list[str]], list[str], dict[str, frozenset[str]]]:
    """Usable dose objects of each selected plan; those without a plan; MULTI_PLAN ones with the plans they name."""
    by_plan: dict[str, list[str]] = {}
    without_plan: list[str] = []
    multi_plan: dict[str, frozenset[str]] = {}
    for rtdose_id, dose in sorted(objects.doses.items()):
        if dose.grid is None:
            of_planes = "DOSE_GRID_INCOMPLETE" if dose.plane is not None else None  # said once for all of them
            code = next((f.code for f in dose.findings if f.code != "DOSE_COMPRESSED_BITS"), of_planes)
            ledger.set(rtdose_id, "refused", code=code)
            continue
        known = TERMS.get(dose.summation_type)
        if known is None or known.scope == "none":
            term = dose.summation_type or "missing"
            severity = "I" if known else "W"
            measured = f"DoseSummationType {term}" + ("" if known else ", no term of the standard")
            ledger.refuse([rtdose_id], finding("DOSE_NOT_USED", rtdose_id, measured, severity=severity))
            continue
        plans = _plans_of(objects, rtdose_id, dose)
        if known.scope == "plans" and any(plans.values()):
            multi_plan[rtdose_id] = frozenset(plan_id or uid for uid, plan_id in plans.items())
        elif len(plans) > 1:
            measured = f"{dose.summation_type} dose that names {len(plans)} plans"
            ledger.refuse([rtdose_id], finding("DOSE_NOT_USED", rtdose_id, measured, severity="W"))
        elif not any(plans.values()):
            without_plan.append(rtdose_id)
        else:
            plan_id = next(p for p in plans.values() if p)
            if plan_id in selected:
                by_plan.setdefault(plan_id, []).append(rtdose_id)
            else:
                ledger.refuse([rtdose_id], finding("DOSE_NOT_USED", rtdose_id, f"{plan_id} is not selected"))
    return by_plan, without_plan, multi_plan


def _plans_of(objects: CourseObjects, rtdose_id: str, dose: RtDose) -> dict[str, str | None]:
    """Plans that an object references, or else that reference it: UID to plan id (None: not in the export)."""
    found = {p.plan_uid: objects.plan_id_of(p.plan_uid) for p in dose.plans if p.plan_uid}
    if not found:
        uid = objects.uids.get(rtdose_id, "")
        found = {objects.uids.get(i, i): i for i, plan in objects.plans.items() if uid and uid in plan.dose_uids}
    return found


def _all_fractions(plan: RtPlan) -> int | None:
    """Planned fractions of all fraction groups together; None when one of them does not state it.

    Two groups of 10 may be 20 days or 10 with both: a count of delivered fractions proves the whole plan only with 20.
    """
    stated = [g.fractions_planned for g in plan.fraction_groups]
    return sum(n for n in stated if n is not None) if stated and None not in stated else None


def _evidence(objects: CourseObjects, selected: Sequence[PlanRef], made: Sequence[MadeDose]) -> list[PlanEvidence]:
    found = []
    ids = {p.plan_id for p in selected}
    for ref in selected:
        plan = objects.plans[ref.plan_id]
        dose = next((d for d in made if d.plan_ids == (ref.plan_id,)), None)
        rows = [
            (r.plan_id, r.fractions_delivered) for r in objects.course.manifest if r.fractions_delivered is not None
        ]
        stated = [n for plan_id, n in rows if plan_id == ref.plan_id]
        if not stated and len(selected) == 1:  # a row that names no plan means the only one
            stated = [n for plan_id, n in rows if plan_id is None]
        related = {(objects.plan_id_of(r.plan_uid), r.relationship) for r in plan.related_plans}
        records = [d for d in objects.delivered if objects.plan_id_of(d.plan_uid) == ref.plan_id]
        groups = scope_of(ref.plan_id, plan).groups
        fractions = delivered_fractions(records, groups[0].required if len(groups) == 1 else frozenset())
        frame = dose.frame if dose else plan.frame_uid
        reaches, frame_doubt = _frames_reached(objects, dose, made)
        targets = {
            (ref.structure_set_id, r.roi_number)
            for r in plan.levels
            if r.roi_number is not None and ref.structure_set_id is not None
        }
        found.append(
            PlanEvidence(
                plan_id=ref.plan_id,
                has_dose=dose is not None,
                brachy=plan.plan_class == "brachy",
                dose_type=dose.dose_type if dose else "",
                frame=frame,
                fractions_planned=_all_fractions(plan),
                groups=len(plan.fraction_groups),
                manifest_fractions=max(stated) if stated else None,
                recorded_fractions=fractions.numbers,
                doubtful_records=fractions.doubtful,
                recorded_whole=_all_groups_recorded(records, groups) and len(groups) == len(plan.fraction_groups),
                concurrent=frozenset(i for i, how in related if i in ids and i is not None and how == "CONCURRENT"),
                replaces=frozenset(
                    i for i, how in related if i in ids and i is not None and how in ("PREDECESSOR", "ALTERNATIVE")
                ),
                targets=frozenset(targets),
                reaches=reaches,
                frame_doubt=frame_doubt,
            )
        )
    return found


def _all_groups_recorded(records: Sequence[Delivered], groups: Sequence[GroupScope]) -> bool:
    """Whether records show every fraction of each of several fraction groups, which count from 1 one by one."""
    for group in groups:
        found = delivered_fractions([r for r in records if r.fraction_group == group.number], group.required)
        if found.doubtful or not group.fractions or found.numbers != frozenset(range(1, group.fractions + 1)):
            return False
    return len(groups) > 1


def _frames_reached(
    objects: CourseObjects, dose: MadeDose | None, made: Sequence[MadeDose]
) -> tuple[frozenset[str], str]:
    """Frames of the other doses that registrations take this one to, and why one of them is doubtful."""
    reached, doubts = set(), []
    for frame in sorted({d.frame for d in made} if dose else ()):
        assert dose is not None
        try:
            route = objects.route(dose.frame, frame, corners_xyz_mm(dose.volume.grid))
        except RegistrationsDisagreeError as error:
            doubts.append(str(error))
            continue
        if route is not None:
            reached.add(frame)
    return frozenset(reached), "; ".join(doubts)


def _with_total(
    objects: CourseObjects,
    selected: Sequence[PlanRef],
    made: list[MadeDose],
    total: CourseTotal,
    multi_plan: Mapping[str, frozenset[str]],
    ledger: DoseLedger,
) -> list[MadeDose]:
    """The plans' doses with the total, where there is one; `ambiguous` ones where their part in it is not known."""
    for rtdose_id, named in multi_plan.items():
        absent = len(named - {p.plan_id for p in selected})
        measured = f"MULTI_PLAN dose of {len(named)} plans"
        if rtdose_id != total.rtdose_id:
            measured += f", {absent} of them not selected or not in the export" if absent else ", not of all plans"
        found = finding("DOSE_MULTI_PLAN", rtdose_id, measured)
        if rtdose_id == total.rtdose_id:
            ledger.findings.append(found)
            ledger.set(rtdose_id, "used", "total")
        else:
            ledger.refuse([rtdose_id], found)
    if total.code:
        severity = "W" if total.status == "partial" and total.code == "COURSE_BOOST" else None
        names = ", ".join(p.plan_id for p in selected)
        ledger.findings.append(
            finding(
                total.code, names, total.reason, severity=severity, scope="course", action="each plan a row, no total"
            )
        )
    if total.status == "ambiguous":
        return [replace(d, status="ambiguous") if d.status == "ok" else d for d in made]
    if total.status != "ok":
        return made
    parts = [d for d in made if d.dose_id in total.weights and total.weights[d.dose_id] > 0]
    fractions = [_all_fractions(objects.plans[i]) for i in total.weights]
    routes: dict[str, Route] = {}
    if total.rtdose_id:
        dose = objects.doses[total.rtdose_id]
        volume, dose_type, frame = grid_of(dose), dose.dose_type, dose.frame_uid
        rtdose_ids: tuple[str, ...] = (total.rtdose_id,)
    else:
        routes = _routes_into(objects, parts, total.frame, ledger)
        volumes = [d.volume.carried(routes[d.dose_id].matrix) if d.dose_id in routes else d.volume for d in parts]
        volume = accumulate(volumes, [total.weights[d.dose_id] for d in parts])
        rtdose_ids = tuple(i for d in parts for i in d.rtdose_ids)
        dose_type, frame = parts[0].dose_type, total.frame
    return [
        *made,
        MadeDose(
            dose_id="total",
            plan_ids=tuple(sorted(i for i, weight in total.weights.items() if weight > 0)),
            rtdose_ids=rtdose_ids,
            basis=total.basis,
            status="ok",
            summation_type="MULTI_PLAN" if total.rtdose_id else "",
            dose_type=dose_type,
            frame=frame,
            volume=volume,
            fractions_planned=None if None in fractions else sum(f for f in fractions if f is not None),
            parts=dict(total.weights),
            routes=routes,
        ),
    ]


def _routes_into(objects: CourseObjects, parts: Sequence[MadeDose], frame: str, ledger: DoseLedger) -> dict[str, Route]:
    """How each part that lies in another frame of reference comes into the total's."""
    routes = {}
    for part in parts:
        region = corners_xyz_mm(part.volume.grid)
        route = objects.route(part.frame, frame, region)
        if route is not None and route.reg_ids:
            routes[part.dose_id] = route
            ledger.findings += applied(f"total {part.dose_id}", route, region)
    return routes

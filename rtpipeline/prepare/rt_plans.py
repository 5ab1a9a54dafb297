"""Plans as facts without identity: `plans.json`, and the findings that a plan alone can give."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import ManifestRow, PlanRef
from rtpipeline.dicom.plan_beams import PlanBeam
from rtpipeline.dicom.rtplan import DoseReference, RtPlan
from rtpipeline.dose.scale import Prescribed
from rtpipeline.dose.summation import GroupScope, PlanScope

USUAL_RX_GY = (5.0, 100.0)
"""Total prescriptions outside this range are flagged (COURSE_IMPLAUSIBLE)."""

Hash = Callable[[str], str | None]


def plan_facts(ref: PlanRef, plan: RtPlan, hash_of: Hash, plan_id_of: Hash) -> dict[str, Any]:
    """One entry of `plans.json`. No names, labels, dates or UIDs: machines are keyed hashes.

    Parameters
    ----------
    plan_id_of: plan id of a SOP instance UID; None for a plan outside the course.
    """
    treatment = [b for b in plan.beams if b.is_treatment]
    techniques = [b.technique for b in treatment]
    if plan.plan_class == "brachy":
        techniques = [" ".join(p for p in (plan.brachy_type, plan.brachy_technique) if p).lower()]
    return {
        "plan_id": ref.plan_id,
        "object_hash": ref.object_hash,
        "plan_class": plan.plan_class,
        "selected": ref.selected,
        "structure_set_id": ref.structure_set_id,
        "approval_status": plan.approval_status or None,
        "intent": plan.intent or None,
        "geometry": plan.geometry or None,
        "frame_hash": hash_of(plan.frame_uid),
        "techniques": sorted(set(techniques) - {""}),
        "radiation_types": sorted({b.radiation_type for b in treatment} - {""}),
        "energies": _rounded(sorted({e for b in treatment for e in b.energies})),
        "beams": len(treatment) if plan.plan_class != "brachy" else plan.setups,
        "monitor_units": _monitor_units(plan),
        "fractions_planned": plan.fractions_planned,
        "fraction_groups": [_group(plan, i) for i in range(len(plan.fraction_groups))],
        "prescriptions": [_prescription(plan, r) for r in plan.dose_references],
        "plan_rx_gy": plan.rx_gy,
        "plan_rx_levels_gy": list(plan.rx_levels_gy),
        "beam_dose_total_gy": plan.beam_dose_total_gy,
        "related_plans": [
            {"plan_id": plan_id_of(r.plan_uid), "relationship": r.relationship or None} for r in plan.related_plans
        ],
        "brachy_type": plan.brachy_type or None,
        "brachy_technique": plan.brachy_technique or None,
        "manufacturer": plan.manufacturer or None,
        "model": plan.model or None,
        "beam_facts": [_beam(b, hash_of) for b in plan.beams],
    }


MAX_ENERGIES = 6
"""Scanned ion plans have a hundred: of more than this the lowest and highest stand."""


def _rounded(energies: Sequence[float]) -> list[float]:
    shown = list(energies) if len(energies) <= MAX_ENERGIES else [energies[0], energies[-1]]
    return [round(e, 2) for e in shown]


def _monitor_units(plan: RtPlan) -> float | None:
    """Meterset of one fraction, added over fraction groups; None where a delivering beam does not state it in MU."""
    if plan.plan_class == "brachy":
        return None
    items = [i for g in plan.fraction_groups for i in g.items if plan.delivers(g, i)]
    beams = [plan.beam(i.number) for i in items]
    if (
        not items
        or any(i.meterset is None for i in items)
        or any(b and b.meterset_unit not in ("MU", "") for b in beams)
    ):
        return None
    return math.fsum(i.meterset or 0.0 for i in items)


def _group(plan: RtPlan, index: int) -> dict[str, Any]:
    group = plan.fraction_groups[index]
    return {
        "fraction_group": group.number,
        "fractions_planned": group.fractions_planned,
        "beams": [{"beam": i.number, "beam_dose_gy": i.dose_gy, "meterset": i.meterset} for i in group.beams],
        "setups": [{"setup": i.number, "setup_dose_gy": i.dose_gy} for i in group.setups],
    }


def _prescription(plan: RtPlan, reference: DoseReference) -> dict[str, Any]:
    """`target_prescription_gy` is a level; a calculated point beside levels has its dose in `point_dose_gy`."""
    is_level = reference in plan.levels
    return {
        "number": reference.number,
        "type": reference.reference_type or None,
        "structure_type": reference.structure_type or None,
        "roi_number": reference.roi_number,
        "target_prescription_gy": reference.target_prescription_gy if is_level else None,
        "point_dose_gy": None if is_level else reference.target_prescription_gy,
        "target_minimum_gy": reference.target_minimum_gy,
        "target_maximum_gy": reference.target_maximum_gy,
        "delivery_maximum_gy": reference.delivery_maximum_gy,
        "organ_at_risk_maximum_gy": reference.organ_at_risk_maximum_gy,
    }


def _beam(beam: PlanBeam, hash_of: Hash) -> dict[str, Any]:
    facts = asdict(beam)
    energies = facts.pop("energies")
    facts["machine_hash"] = hash_of(facts.pop("machine_name"))
    facts["energies"] = _rounded(energies)
    facts["energy_layers"] = len(energies)
    return {key: value if value != "" else None for key, value in facts.items()}


def scope_of(plan_id: str, plan: RtPlan) -> PlanScope:
    """What a dose has to cover to be the dose of this plan."""
    groups = []
    for position, group in enumerate(plan.fraction_groups, start=1):
        required = frozenset(i.number for i in group.items if plan.delivers(group, i))
        groups.append(
            GroupScope(
                number=group.number if group.number is not None else position,
                fractions=group.fractions_planned,
                required=required,
                optional=frozenset(i.number for i in group.items) - required,
            )
        )
    return PlanScope(plan_id, tuple(g for g in groups if g.required))


def prescribed(plan: RtPlan, plan_id: str, manifest: Sequence[ManifestRow], *, only_plan: bool) -> Prescribed:
    """The dose level that a dose of this plan is compared with: of the manifest, else the plan's highest.

    Parameters
    ----------
    only_plan: it is the only selected plan, so that rows of the manifest for the course mean it.
    """
    meant = (None, plan_id) if only_plan else (plan_id,)
    stated = [r.rx_gy for r in manifest if r.rx_gy is not None and r.plan_id in meant]
    own = plan.rx_levels_gy[-1] if plan.rx_levels_gy else None
    fractions = [g.fractions_planned for g in plan.fraction_groups if g.fractions_planned]
    return Prescribed(
        rx_gy=max(stated) if stated else own,
        fractions=max(fractions) if fractions else None,
        beam_dose_total_gy=plan.beam_dose_total_gy,
        brachy=plan.plan_class == "brachy",
    )


def plan_findings(plan_id: str, plan: RtPlan, manifest: Sequence[ManifestRow]) -> list[Finding]:
    """RX_UNKNOWN and COURSE_IMPLAUSIBLE of a selected plan."""
    found = []
    levels = plan.rx_levels_gy
    tied = plan.rx_gy is not None or any(r.roi_number is not None for r in plan.levels)
    in_manifest = any(r.rx_gy is not None and r.plan_id in (None, plan_id) for r in manifest)
    if not tied and not in_manifest:
        many = ", ".join(f"{v:g}" for v in levels)
        measured = f"{len(levels)} levels ({many} Gy), none names a structure" if levels else "no target prescription"
        found.append(finding("RX_UNKNOWN", plan_id, measured))
    unusual = [v for v in levels if not USUAL_RX_GY[0] <= v <= USUAL_RX_GY[1]]
    if unusual and plan.plan_class != "brachy":  # a seed implant is prescribed 145 Gy
        found.append(finding("COURSE_IMPLAUSIBLE", plan_id, f"prescription {unusual[-1]:g} Gy", expected="5 to 100 Gy"))
    return found

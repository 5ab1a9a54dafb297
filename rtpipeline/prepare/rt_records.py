"""Rows of `fractions` and `tps_dvh`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rtpipeline import __version__
from rtpipeline.dicom.rtrecord import delivered_fractions
from rtpipeline.dicom.tps_dvh import TpsDvh
from rtpipeline.prepare.rt_doses import MadeDose
from rtpipeline.prepare.rt_objects import CourseObjects
from rtpipeline.prepare.rt_plans import scope_of


def fraction_rows(
    objects: CourseObjects, day_of: Callable[[str], int | None], common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Planned fractions of each plan and fraction group, then each fraction that a record names."""
    rows: list[dict[str, Any]] = []
    planned: dict[tuple[str, int | None], int | None] = {}
    for plan_id, plan in sorted(objects.plans.items()):
        for group in plan.fraction_groups:
            planned[plan_id, group.number] = group.fractions_planned
            row: dict[str, Any] = {"plan_id": plan_id, "fraction_group": group.number, "record_status": "planned"}
            rows.append({**row, **_delivered(objects, plan_id, group.number)})
    for one in sorted(objects.delivered, key=lambda d: (d.record_id, d.fraction_group or 0, d.fraction_number or 0)):
        rows.append(
            {
                "plan_id": objects.plan_id_of(one.plan_uid),
                "record_id": one.record_id,
                "fraction_group": one.fraction_group,
                "fraction_number": one.fraction_number,
                "day": day_of(one.date),
                "delivered_mu": one.delivered_mu,
                "delivered_dose_gy": one.delivered_dose_gy,
                "record_status": one.status.lower(),
            }
        )
    for row in rows:
        row["fractions_planned"] = planned.get((row["plan_id"], row["fraction_group"]))
    return [{**common, **row, "rtpipeline_version": __version__} for row in rows]


def _delivered(objects: CourseObjects, plan_id: str, group_number: int | None) -> dict[str, Any]:
    """What records and manifest say of the delivery of a fraction group."""
    groups = scope_of(plan_id, objects.plans[plan_id]).groups
    own = groups if len(groups) == 1 else [g for g in groups if g.number == group_number]
    required = own[0].required if own else frozenset()
    # a record that names no group means the only one
    meant = (group_number,) if len(groups) > 1 else (group_number, None)
    of_plan = [d for d in objects.delivered if objects.plan_id_of(d.plan_uid) == plan_id]
    records = [d for d in of_plan if d.fraction_group in meant]
    selected = [p.plan_id for p in objects.course.plans if p.selected]
    named = (plan_id, None) if selected == [plan_id] else (plan_id,)
    stated = {r.fractions_delivered for r in objects.course.manifest if r.plan_id in named} - {None}
    found: dict[str, Any] = {"fractions_stated": stated.pop() if len(stated) == 1 else None}
    if not records:
        return found
    fractions = delivered_fractions(records, required)
    gaps = frozenset(range(1, max(fractions.numbers, default=0))) - fractions.numbers
    doubt = fractions.doubtful or (f"no record of fraction {min(gaps)}" if gaps else None)
    return found | {
        "fractions_delivered": None if fractions.doubtful else len(fractions.numbers), "delivery_doubt": doubt
    }  # fmt: skip


def tps_dvh_rows(objects: CourseObjects, made: Sequence[MadeDose], common: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The planning system's own curves, with the dose of the tables that is made of the same object alone."""
    rows = []
    alone = {d.rtdose_ids[0]: d.dose_id for d in made if len(d.rtdose_ids) == 1 and d.factor == 1}
    for rtdose_id, dose in sorted(objects.doses.items()):
        set_id = next((i for uid in dose.structure_set_uids for i, u in objects.uids.items() if u == uid), None)
        plan_id = next((i for p in dose.plans if (i := objects.plan_id_of(p.plan_uid))), None)
        if set_id is None:
            set_id = next((p.structure_set_id for p in objects.course.plans if p.plan_id == plan_id), None)
        for curve in dose.dvhs:
            row = {"rtdose_id": rtdose_id, "dose_id": alone.get(rtdose_id), "structure_set_id": set_id}
            rows.append({**common, **row, **_curve(curve), "rtpipeline_version": __version__})
    return rows


def _curve(curve: TpsDvh) -> dict[str, Any]:
    """Numbers of one curve in Gy and cc; null where it is written in other units."""
    in_gy, in_cc = curve.dose_units == "GY", curve.volume_units == "CM3"
    levels = curve.dose.tolist() if in_gy else None
    return {
        "roi_numbers": ";".join(f"{number} {how}" for number, how in curve.rois),
        "roi_number": curve.roi_number,
        "volume_cc": float(curve.volume[0]) if in_cc else None,
        **({"dmin_gy": curve.minimum, "dmax_gy": curve.maximum, "dmean_gy": curve.mean} if in_gy else {}),
        "dose_gy": levels,
        "cumulative_volume_cc": curve.volume.tolist() if in_cc else None,
        "written_min": curve.written_min,
        "written_max": curve.written_max,
        "written_mean": curve.written_mean,
        "written_units": f"{curve.dose_units or '?'}; {curve.volume_units or '?'}",
    }

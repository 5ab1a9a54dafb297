"""Checks of doses and plans. Each function gives the rows of one check."""

from __future__ import annotations

from rtpipeline.config import QcConfig
from rtpipeline.qc.measures import Measured, Status, nothing
from rtpipeline.qc.outputs import CourseOutputs, Row
from rtpipeline.report.tables import is_target

RX_MISMATCH = 0.15
"""Share of the prescription by which the D95 of its target may differ, as in the finding COURSE_IMPLAUSIBLE."""


def dose_objects(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """What became of each dose object."""
    status: dict[str, Status] = {
        "used": "pass",
        "part": "pass",
        "verifies": "pass",
        "listed": "pass",
        "refused": "fail",
    }
    return [
        Measured(
            d["rtdose_id"],
            status.get(d["role"], "pass"),
            d["role"] + (f" for {d['dose_id']}" if d["dose_id"] else "") + (f" ({d['code']})" if d["code"] else ""),
        )
        for d in outputs.facts("prepare_rt", "dose_objects.json")
    ] or nothing("no dose object")


def coverage(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Whether each target lies inside the dose grid, over all of its doses."""
    numbers = _roi_numbers(outputs)
    limit_pct = _coverage_limit_pct(outputs)
    found: dict[str, Measured] = {}
    for r in outputs.rows("dvh", "dvh_metrics.parquet"):
        if not is_target(r) or r["dose_coverage_pct"] is None:
            continue
        label = _label(r, numbers)
        low = limit_pct is not None and r["dose_coverage_pct"] < limit_pct
        one = Measured(
            label,
            "fail" if low else "pass",
            f"{r['dose_coverage_pct']:.2f} % inside {r['dose_id']}",
            f"at least {limit_pct:g} %" if limit_pct is not None else "",
        )
        if label not in found or (low and found[label].status == "pass"):
            found[label] = one
    return list(found.values()) or nothing("no target with a dose")


def dose_level(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """D95 of each target against its prescription, and the maximum of each dose against its plan's."""
    numbers = _roi_numbers(outputs)
    found = []
    for r in outputs.rows("dvh", "dvh_metrics.parquet"):
        if not is_target(r) or r["rx_gy"] is None or r.get("d95_gy") is None:
            continue
        fits = abs(r["d95_gy"] - r["rx_gy"]) <= RX_MISMATCH * r["rx_gy"]
        status: Status = "not_evaluated" if r["dose_status"] != "ok" else "pass" if fits else "warn"
        measured = f"D95 {r['d95_gy']:.2f} Gy, prescription {r['rx_gy']:.2f} Gy"
        if status == "not_evaluated":
            measured += f"; the dose is {r['dose_status']}"
        found.append(
            Measured(f"{r['dose_id']} {_label(r, numbers)}", status, measured, f"within {100 * RX_MISMATCH:.0f} %")
        )
    verdicts: dict[str, Status] = {"fits": "pass", "implausible": "warn"}
    for dose in outputs.facts("prepare_rt", "doses.json"):
        status = verdicts.get(dose["scale_check"], "not_evaluated")
        measured = f"maximum {dose['max_gy']:.2f} Gy" if dose["max_gy"] is not None else "no maximum"
        if status == "not_evaluated":
            measured += "; no single plan's prescription to compare it with"
        found.append(Measured(dose["dose_id"], status, measured, "a maximum that fits the prescription"))
    return found or nothing("no dose")


def fractions(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Fractions delivered, by the treatment records, against those planned."""
    rows = outputs.rows("prepare_rt", "fractions.parquet")
    found = []
    for plan in outputs.course.plans:
        own = [r for r in rows if r["plan_id"] == plan.plan_id]
        planned = [r["fractions_planned"] for r in own if r["record_id"] is None]
        total = sum(planned) if planned and None not in planned else None
        records = [r for r in own if r["record_id"] is not None and r["record_status"] == "normal"]
        if not plan.selected or total is None:
            continue
        if not any(r["record_id"] is not None for r in own):
            found.append(Measured(plan.plan_id, "not_evaluated", f"{total} planned; no treatment record"))
        elif any(r["fraction_number"] is None for r in records):
            found.append(Measured(plan.plan_id, "not_evaluated", f"{total} planned; records do not number fractions"))
        else:
            delivered = len({(r["fraction_group"], r["fraction_number"]) for r in records})
            measured = f"{delivered} of {total} delivered"
            found.append(Measured(plan.plan_id, "pass" if delivered == total else "warn", measured))
    return found or nothing("no selected plan that states its fractions")


def plans(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Approval of each plan that is used."""
    return [
        Measured(
            p.plan_id,
            "pass" if p.approval_status == "APPROVED" else "warn",
            f"{(p.approval_status or 'approval not stated').lower()}, {(p.intent or 'intent not stated').lower()}",
        )
        for p in outputs.course.plans
        if p.selected
    ] or nothing("no selected plan")


def constraints(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """The user's dose constraints. One that is not met is a fact about the plan and no fault of the data: it warns."""
    status: dict[str, Status] = {"pass": "pass", "fail": "warn"}
    return [
        Measured(
            f"{r['constraint']}: {r['structure_id'] or r['constraint_structure']} {r['dose_id'] or ''}".strip(),
            status.get(r["result"], "not_evaluated"),
            f"{r['metric']} " + (r["reason"] or f"{r['value']:.4g} {r['limit_unit'] or ''}".strip()),
            f"{r['metric']} {r['limit']}",
        )
        for r in outputs.rows("dvh", "constraints.parquet")
    ] or nothing("no table of dose constraints")


def _coverage_limit_pct(outputs: CourseOutputs) -> float | None:
    limit = outputs.records["dvh"].config.get("dvh", {}).get("coverage_limit_pct")
    return None if limit is None else float(limit)


def _roi_numbers(outputs: CourseOutputs) -> dict[tuple[str, str], int | None]:
    columns = ("structure_set_id", "structure_id", "roi_number")
    rows = outputs.rows("structures", "structures.parquet", columns)
    return {(r["structure_set_id"], r["structure_id"]): r["roi_number"] for r in rows}


def _label(row: Row, numbers: dict[tuple[str, str], int | None]) -> str:
    """As the findings name a structure, so that a finding joins the row of its structure."""
    number = numbers.get((row["structure_set_id"], row["structure_id"]))
    if number is None:
        return str(row["structure_id"])
    return f"{row['structure_set_id']} ROI {number} '{row['structure_name']}'"

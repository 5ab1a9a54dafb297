"""What qc measures itself, on the tables that the stages left. Each function gives the rows of one check.

A check that has nothing to look at says so in a row of its own; missing is never a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rtpipeline.config import QcConfig
from rtpipeline.nomenclature.targets import is_target as is_target_name
from rtpipeline.qc.outputs import CourseOutputs, Row
from rtpipeline.report.tables import is_target
from rtpipeline.stages import STAGES

Status = Literal["pass", "warn", "fail", "not_evaluated"]

COURSE = "course"
"""Object of a row about the course as a whole."""

RX_MISMATCH = 0.15
"""Share of the prescription by which the D95 of its target may differ, as in the finding COURSE_IMPLAUSIBLE."""

MAX_NAMES = 8
"""Names that one row lists."""


@dataclass(frozen=True)
class Measured:
    """One row of a check, before the findings join it; `expected` '' stands for the check's own."""

    object: str
    status: Status
    measured: str
    expected: str = ""


def nothing(reason: str) -> list[Measured]:
    """A check without anything to look at."""
    return [Measured(COURSE, "not_evaluated", reason)]


def images(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Whether each image that was to be prepared is."""
    rows = [r for r in outputs.rows("prepare_images", "images.parquet") if r["status"] != "not_prepared"]
    return [
        Measured(
            r["image_id"],
            "pass" if r["status"] == "ok" else "fail",
            f"{r['modality']}, {r['role']}, {r['planes'] or r['instances']} slices: {r['status']}"
            + (f" ({r['reason']})" if r["reason"] else ""),
        )
        for r in rows
    ] or nothing("no image to prepare")


def _prepared(outputs: CourseOutputs) -> list[Row]:
    return [r for r in outputs.rows("prepare_images", "images.parquet") if r["status"] == "ok"]


def slices(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Gaps and spacing of the slices of each image."""
    found = []
    for r in _prepared(outputs):
        measured = f"{r['planes']} slices, {r['spacing_kind']}"
        if r["largest_gap_mm"] is not None and r["plane_spacing_mm"] is not None:
            measured += f", largest step {r['largest_gap_mm']:.2f} mm, spacing {r['plane_spacing_mm']:.2f} mm"
        if r["missing_slices"]:
            measured += f", {r['missing_slices']} missing"
        found.append(Measured(r["image_id"], "pass" if r["spacing_kind"] == "uniform" else "warn", measured))
    return found or nothing("no prepared image")


def orientation(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """How each image lies in the patient; an oblique one is nothing to warn of."""
    return [
        Measured(
            r["image_id"],
            "warn" if r["shear_corrected"] else "pass",
            f"{r['plane_class']}, {r['obliquity_deg'] or 0.0:.1f} degrees oblique, shear {r['shear_deg'] or 0.0:.1f}"
            f" degrees, {r['patient_position'] or 'no patient position'}",
        )
        for r in _prepared(outputs)
    ] or nothing("no prepared image")


def values(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """HU of each CT: scale and field of view."""
    found = []
    for r in _prepared(outputs):
        if r["modality"] != "CT":
            continue
        fine = r["hu_status"] == "calibrated" and not r["truncated_fov"]
        air = f", air {r['air_hu']:.0f} HU" if r["air_hu"] is not None else ""
        cut = ", body cut off at the field's edge" if r["truncated_fov"] else ""
        found.append(Measured(r["image_id"], "pass" if fine else "warn", f"HU {r['hu_status']}{air}{cut}"))
    return found or nothing("no prepared CT")


def frames(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Whether structure sets lie in the frame of their image, and doses in that of a structure set."""
    of_image = {i.image_id: i.frame_hash for i in outputs.course.images}
    found = []
    for ref in outputs.course.structure_sets:
        frame = of_image.get(ref.image_id or "")
        if frame is None or ref.frame_hash is None:
            continue
        same = frame == ref.frame_hash
        measured = f"same frame as {ref.image_id}" if same else f"another frame than {ref.image_id}"
        found.append(Measured(ref.structure_set_id, "pass" if same else "fail", measured))
    for dose in outputs.facts("prepare_rt", "doses.json"):
        links = ", ".join(f"{e['structure_set_id']} ({e['link'].replace('_', ' ')})" for e in dose["structure_sets"])
        if links:
            found.append(Measured(dose["dose_id"], "pass", f"applies to {links}"))
        elif outputs.course.structure_sets:
            found.append(Measured(dose["dose_id"], "fail", "applies to no structure set"))
    return found or nothing("nothing to compare: fewer than two of image, structure set and dose")


def set_images(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Which rule bound each structure set to its image."""
    status: dict[str, Status] = {"series": "pass", "images": "pass", "frame_of_reference": "warn", "none": "fail"}
    if not outputs.course.images:
        status["none"] = "warn"  # nothing that it could have been bound to
    return [
        Measured(
            s.structure_set_id,
            status[s.image_link],
            f"{s.image_id} by {s.image_link.replace('_', ' ')}, {s.role}" if s.image_id else "bound to no image",
        )
        for s in outputs.course.structure_sets
    ] or nothing("no structure set")


def volumes(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Structures without a volume, by set; a target without one is worth a warning."""
    rows = outputs.rows("structures", "structures.parquet")
    found = []
    for set_id in dict.fromkeys(r["structure_set_id"] for r in rows):
        own = [r for r in rows if r["structure_set_id"] == set_id]
        empty = [r for r in own if r["status"] != "ok"]
        measured = f"{len(own) - len(empty)} of {len(own)} with a volume"
        if empty:
            measured += "; without: " + _names(f"{r['structure_name']} ({r['status']})" for r in empty)
        manual = own[0]["structure_source"] == "manual"
        bad = manual and (len(empty) == len(own) or any(is_target(r) for r in empty))
        found.append(Measured(set_id, "warn" if bad else "pass", measured))
    return found or nothing("no structures")


def names(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """How many names of each set are TG-263 names; custom names are allowed, so that this never warns."""
    rows = outputs.rows("structures", "structures.parquet")
    by_set = Counter(r["structure_set_id"] for r in rows)
    matched = Counter(r["structure_set_id"] for r in rows if r["structure_name_tg263"])
    return [
        Measured(set_id, "pass", f"{matched[set_id]} of {n} names matched") for set_id, n in by_set.items()
    ] or nothing("no structures")


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


def _label_map_rows(outputs: CourseOutputs) -> list[Row]:
    return [row for stage in ("segmentation", "custom_models") for row in outputs.rows(stage, "segmentation.parquet")]


def networks(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """What each network found."""
    rows = _label_map_rows(outputs)
    found = []
    for set_id in dict.fromkeys(r["structure_set_id"] for r in rows):
        own = [r for r in rows if r["structure_set_id"] == set_id]
        counts = Counter(r["status"] for r in own)
        measured = f"{counts['ok']} of {len(own)} structures found whole, {counts['cut_off']} cut off"
        measured += f", {counts['not_found']} not found"
        if any(r["phantom_weights"] for r in own):
            measured += "; networks that know nothing but the demo's phantom"
        found.append(Measured(set_id, "pass" if counts["ok"] + counts["cut_off"] else "warn", measured))
    return found or nothing("no network was run")


def laterality(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Whether structures with a side lie on it."""
    rows = [r for r in _label_map_rows(outputs) if r["laterality"] is not None]
    found = []
    for set_id in dict.fromkeys(r["structure_set_id"] for r in rows):
        own = [r for r in rows if r["structure_set_id"] == set_id]
        swapped = [r for r in own if r["laterality"] != "ok"]
        measured = f"{len(own) - len(swapped)} of {len(own)} on their side"
        if swapped:
            measured += "; not: " + _names(r["structure_name"] for r in swapped)
        found.append(Measured(set_id, "fail" if swapped else "pass", measured))
    return found or nothing("no segmented structure with a side")


def agreement(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Structures that exist twice."""
    found = []
    for r in outputs.rows("structures", "agreement.parquet"):
        pair = f"{r['structure_id_a']} and {r['structure_id_b']}, both {r['structure_name_tg263']}"
        if r["status"] != "ok" or r["dice"] is None:
            found.append(Measured(pair, "not_evaluated", str(r["status"])))
            continue
        measured = f"Dice {r['dice']:.3f}"
        if r["hd95_mm"] is not None:
            measured += f", HD95 {r['hd95_mm']:.1f} mm"
        # two plans draw targets of one name for two purposes
        fine = r["dice"] >= config.agreement_dice_minimum or is_target_name(r["structure_name_tg263"])
        expected = f"Dice of at least {config.agreement_dice_minimum:g}"
        found.append(Measured(pair, "pass" if fine else "warn", measured, expected))
    return found or nothing("no structure of two sources")


def features(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Structures with and without radiomic features."""
    return _by_status(outputs.rows("radiomics", "radiomics.parquet", ("structure_name", "status")), "structures")


def perturbed(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """States of structures with and without features."""
    return _by_status(outputs.rows("robustness", "robustness.parquet", ("structure_name", "status")), "states")


CHOSEN = frozenset({"ok", "skipped"})
"""Statuses that are no loss."""


def _by_status(rows: Sequence[Row], what: str) -> list[Measured]:
    counts = Counter(r["status"] for r in rows)
    found = []
    for status, n in sorted(counts.items()):
        measured = f"{n} of {len(rows)} {what}"
        if status != "ok":
            measured += ": " + _names(dict.fromkeys(r["structure_name"] for r in rows if r["status"] == status))
        found.append(Measured(f"status {status}", "pass" if status in CHOSEN else "warn", measured))
    return found or nothing(f"no {what}")


def stages(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """How each stage of the course ended."""
    verdicts: dict[str, Status] = {
        "done": "pass", "partial": "warn", "not_run": "warn", "data_error": "fail", "fault": "fail",
        "not_applicable": "not_evaluated", "disabled": "not_evaluated",
    }  # fmt: skip
    found = []
    for name in STAGES["qc"].uses:
        status = outputs.status(name)
        lost = [n for n in STAGES[name].needs if verdicts.get(outputs.status(n), "fail") == "fail"]
        if status == "absent" and lost:
            found.append(Measured(f"stage {name}", "not_evaluated", f"left out, since {', '.join(lost)} gave nothing"))
        elif status == "absent":
            measured = "no output: it ran out of time or memory, died, or was not selected"
            found.append(Measured(f"stage {name}", "fail", measured))
        else:
            measured = outputs.reason(name).partition(": ")[2]
            found.append(Measured(f"stage {name}", verdicts[status], measured))
    return found


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


def _names(found: Iterable[str]) -> str:
    listed = list(found)
    more = f" and {len(listed) - MAX_NAMES} more" if len(listed) > MAX_NAMES else ""
    return ", ".join(listed[:MAX_NAMES]) + more

"""Stage dvh: every structure of every set against the course's doses."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rtpipeline import __version__
from rtpipeline.config import DvhConfig
from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import Course
from rtpipeline.contracts.tables import DVH_CURVES, DVH_METRICS, STRUCTURE_KEYS, STRUCTURES
from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import compute_dvh
from rtpipeline.dvh.metrics import conformity, dose_status, dvh_metric_columns, dvh_metrics
from rtpipeline.dvh.prescription import (
    UNKNOWN,
    Prescription,
    StatedRx,
    Target,
    TargetLevel,
    is_target,
    plan_prescription,
    total_prescription,
)
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.outlines import Outline, read_contours
from rtpipeline.geometry.solid import PrismSolid


@dataclass(frozen=True)
class CourseDose:
    """One dose of the tables, as prepare_rt decided it."""

    facts: dict[str, Any]
    """entry of `doses.json`"""
    volume: DoseVolume

    @property
    def dose_id(self) -> str:
        """`plan-01`, `total` ..."""
        return str(self.facts["dose_id"])


def run(context: StageContext) -> StageOutcome:
    """DVH metrics and curves; a row with its status also where there is no number."""
    if not context.config.dvh.enabled:
        return StageOutcome(status="disabled", reason="dvh.enabled is false")
    course = context.course()
    doses = _doses(context.input("prepare_rt"))
    path = context.input("structures") / "structures.parquet"
    if not doses:
        return StageOutcome(status="not_applicable", reason="no dose to use")
    if not path.is_file():
        return StageOutcome(status="not_applicable", reason="no structures")
    structures = STRUCTURES.read(path)
    contours = read_contours(context.input("structures") / "contours.parquet")
    plans = _plans(context.input("prepare_rt"))
    prescribe = _Prescriber(course, plans, structures)
    context.report(*_unknown_names(course, structures))
    metrics: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for structure in ({str(k): v for k, v in row.items()} for row in structures.to_dict("records")):
        drawn = contours.get((structure["structure_set_id"], structure["structure_id"]))
        solid = _solid(drawn, structure)
        for dose in doses:
            link = dose_link(dose.facts, structure, course)
            if link is None:
                continue
            rx, target = prescribe(structure, dose)
            row, curve = _rows(context, structure, dose, link, solid, rx if target else UNKNOWN)
            metrics.append(row)
            if curve is not None:
                curves.append(curve)
    if not metrics:
        return StageOutcome(status="not_applicable", reason="no structure set that a dose applies to")
    settings = context.config.dvh
    names = [name for name, *_ in dvh_metric_columns(d_pct=settings.d_pct, d_cc=settings.d_cc, v_gy=settings.v_gy)]
    DVH_METRICS.write(DVH_METRICS.frame(metrics, names), context.out / "dvh_metrics.parquet")
    DVH_CURVES.write(DVH_CURVES.frame(curves), context.out / "dvh_curves.parquet")
    return StageOutcome(counts={"rows": len(metrics), "curves": len(curves)})


def _doses(folder: Path) -> list[CourseDose]:
    path = folder / "doses.json"
    if not path.is_file():
        return []
    found = []
    for facts in json.loads(path.read_text()):
        where = folder / "doses" / facts["dose_id"]
        if not (where / "dose.npy").is_file():
            continue
        known = where / "known.npy"
        grid = Grid.from_json(json.loads((where / "geometry.json").read_text()))
        volume = DoseVolume(grid, np.load(where / "dose.npy"), np.load(known) if known.is_file() else None)
        found.append(CourseDose(facts, volume))
    return found


def _plans(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "plans.json"
    return {p["plan_id"]: p for p in json.loads(path.read_text())} if path.is_file() else {}


IMAGE_FRAME = "image_frame"
"""Rule of structures that were made on an image: the image lies in the dose's frame of reference, or in that of one of
its own structure sets that the dose applies to."""


def dose_link(dose_facts: dict[str, Any], structure: dict[str, Any], course: Course) -> str | None:
    """The rule that ties a dose to a structure; None when it does not apply to it.

    dose_facts: entry of `doses.json`. structure: row of the table `structures`.
    """
    links = {str(e["structure_set_id"]): str(e["link"]) for e in dose_facts["structure_sets"]}
    if structure["structure_source"] == "manual":
        return links.get(structure["structure_set_id"])
    frame = next((i.frame_hash for i in course.images if i.image_id == structure["image_id"]), None)
    if frame is None:
        return None
    drawn_there = [s for s in course.structure_sets if s.image_id == structure["image_id"] and s.frame_hash == frame]
    if frame == dose_facts["frame_hash"] or any(s.structure_set_id in links for s in drawn_there):
        return IMAGE_FRAME
    return None


def _label(structure: dict[str, Any]) -> str:
    """How findings name a structure: by its number where a structure set has one."""
    if structure["structure_source"] == "manual":
        return f"{structure['structure_set_id']} ROI {structure['roi_number']} '{structure['structure_name']}'"
    return str(structure["structure_id"])


def _solid(drawn: Outline | None, structure: dict[str, Any]) -> PrismSolid | None:
    return drawn.solid() if drawn is not None and structure["status"] == "ok" else None


def _unknown_names(course: Course, structures: pd.DataFrame) -> list[Finding]:
    """Rows of the user's manifest about a plan and a structure that the course does not have; case counts."""
    names = set(structures["structure_name"])
    lost = sorted({r.structure for r in course.manifest if r.plan_id and r.structure and r.structure not in names})
    if not lost:
        return []
    measured = f"no structure is called {', '.join(repr(name) for name in lost)}"
    expected = "names as in the structure sets, case included"
    return [finding("OBJECT_NOT_USED", "manifest", measured, severity="W", expected=expected, action="rows not used",
                    remedy="check the names in the manifest")]  # fmt: skip


class _Prescriber:
    """Prescription of a structure for a dose, from the plans' facts and the user's manifest."""

    def __init__(self, course: Course, plans: dict[str, dict[str, Any]], structures: pd.DataFrame) -> None:
        self.plans = plans
        self.plan_sets = {p.plan_id: p.structure_set_id for p in course.plans}
        self.stated = [
            StatedRx(row.rx_gy, row.structure, row.plan_id) for row in course.manifest if row.rx_gy is not None
        ]
        self.several_plans = sum(p.selected for p in course.plans) > 1
        ptvs = structures[structures["roi_type"] == "PTV"]
        self.n_ptv = Counter(ptvs["structure_set_id"])

    def __call__(self, structure: dict[str, Any], dose: CourseDose) -> tuple[Prescription, bool]:
        """Prescription, and whether the structure is a target at all."""
        set_id = structure["structure_set_id"]
        parts, target = [], False
        if structure["structure_source"] == "cropped":  # it has the name of the whole, but the prescription is for that
            return UNKNOWN, False
        number = structure["roi_number"]
        # with several plans, a row of the manifest that names none means the course and not each plan
        of_plans = [row for row in self.stated if row.plan_id is not None or not self.several_plans]
        for plan_id in dose.facts["plan_ids"]:
            levels = _levels(self.plans.get(plan_id, {}))
            wanted = Target(
                name=structure["structure_name"],
                roi_number=None if pd.isna(number) else int(number),
                roi_type=structure["roi_type"] if isinstance(structure["roi_type"], str) else None,
                in_plan_set=self.plan_sets.get(plan_id) == set_id,
            )
            target = target or is_target(wanted, levels, self.stated)
            parts.append(plan_prescription(wanted, levels, of_plans, plan_id, self.n_ptv[set_id]))
        whole_plans = dose.facts["dose_basis"] != "delivered_fractions"
        if not dose.facts["whole_course"] or (len(parts) == 1 and not self.several_plans and whole_plans):
            return (parts[0] if len(parts) == 1 else UNKNOWN), target
        name = structure["structure_name"]
        return total_prescription(name, parts, self.stated, whole_plans=whole_plans), target


def _levels(plan: dict[str, Any]) -> list[TargetLevel]:
    return [
        TargetLevel(float(p["target_prescription_gy"]), p["roi_number"])
        for p in plan.get("prescriptions", [])
        if p["type"] == "TARGET" and p["target_prescription_gy"] is not None
    ]


def _rows(
    context: StageContext,
    structure: dict[str, Any],
    dose: CourseDose,
    link: str,
    solid: PrismSolid | None,
    rx: Prescription,
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The metrics row and, where there is a histogram, the curve's row."""
    keys = {c.name: structure[c.name] for c in STRUCTURE_KEYS} | {"dose_id": dose.dose_id}
    provenance = {"stage_key": context.stage_key, "rtpipeline_version": __version__}
    row: dict[str, Any] = keys | {
        "roi_type": structure["roi_type"],
        "dose_status": "no_volume",
        "volume_cc": structure["volume_cc"],
        "rx_gy": rx.rx_gy,
        "prescription_source": rx.source,
        "dose_basis": dose.facts["dose_basis"],
        "dose_type": dose.facts["dose_type"],
        "dose_link": link,
        **provenance,
    }
    if solid is None or not solid.volume_cc:
        return row, None
    settings = context.config.dvh
    dvh = compute_dvh(solid, dose.volume, interpolation=settings.dose_interpolation)
    row |= _numbers(dvh, settings, rx.rx_gy)
    label = _label(structure)
    if rx.rx_gy:
        row |= conformity(dvh, dose.volume, rx.rx_gy, coverage_limit_pct=settings.coverage_limit_pct)
    if row["dose_status"] == "ok":  # the numbers are whole; what they are a dose of is the other half of the status
        row["dose_status"] = dose.facts["dose_status"]
        context.report(*_rx_findings(dvh, rx.rx_gy, f"{dose.dose_id} {label}"))
    else:
        measured = f"{dvh.coverage_pct:.2f} % of {dvh.volume_cc:.2f} cc inside the dose grid of {dose.dose_id}"
        context.report(
            finding("DOSE_GRID_COVERAGE", label, measured, expected=f"at least {settings.coverage_limit_pct:g} %")
        )
    if dvh.coverage_pct == 0:
        return row, None
    dose_gy, volume_cc = dvh.compact_curve(settings.curve_step_gy)
    return row, keys | {"dose_gy": dose_gy.tolist(), "cumulative_volume_cc": volume_cc.tolist(), **provenance}


RX_MISMATCH = 0.15
"""Share of the prescription by which the D95 of its target may differ before somebody should look."""


def _rx_findings(dvh: Dvh, rx_gy: float | None, name: str) -> list[Finding]:
    """COURSE_IMPLAUSIBLE where a target did not get what is said to be prescribed to it."""
    d95_gy = dvh.dose_at_volume_pct(95.0)
    if rx_gy is None or d95_gy is None or abs(d95_gy - rx_gy) <= RX_MISMATCH * rx_gy:
        return []
    measured = f"D95 {d95_gy:.2f} Gy, prescription {rx_gy:.2f} Gy"
    return [finding("COURSE_IMPLAUSIBLE", name, measured, expected=f"within {100 * RX_MISMATCH:.0f} %")]


def _numbers(dvh: Dvh, settings: DvhConfig, rx_gy: float | None) -> dict[str, Any]:
    metrics = dvh_metrics(
        dvh,
        d_pct=settings.d_pct,
        d_cc=settings.d_cc,
        v_gy=settings.v_gy,
        v_rx_pct=settings.v_rx_pct,
        rx_gy=rx_gy,
        coverage_limit_pct=settings.coverage_limit_pct,
    )
    return {
        **metrics,
        "dose_status": dose_status(dvh, coverage_limit_pct=settings.coverage_limit_pct),
        "volume_cc": dvh.volume_cc,
        "dose_coverage_pct": dvh.coverage_pct,
        "sampling_mm": dvh.sampling_mm,
        "end_cap": dvh.end_cap,
        "dose_interpolation": dvh.interpolation,
    }

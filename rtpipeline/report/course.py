"""One course in the report: its facts, findings, plots and structures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from rtpipeline.report.compare import Comparison
from rtpipeline.report.findings import CodeEntry, by_code
from rtpipeline.report.svg import Line, Mark, dvh_plot
from rtpipeline.report.tables import Row, is_target
from rtpipeline.stages import COURSE_STAGES

STRUCTURE_NOTES = {
    "empty": "no contours",
    "points_only": "points only, no volume",
    "open_only": "open contours only, no volume",
    "number_reused": "its ROI number stands for two structures",
    "nonplanar": "contours that do not lie in one plane",
    "degenerate": "contours without area",
    "no_volume": "a single contour and no image to give its thickness",
}

DOSE_NOTES = {
    "outside_grid": "outside the dose grid",
    "frame_mismatch": "in another frame of reference than the dose",
    "no_volume": "no volume",
}


@dataclass(frozen=True)
class StructureLine:
    """A structure in one dose, or without any."""

    name: str
    roi_type: str
    set_id: str
    structure_id: str
    dose_id: str
    is_target: bool
    volume_cc: float | None
    row: Row
    """row of dvh_metrics; empty when no dose applies"""
    note: str
    """why numbers are null; empty when they are not"""


@dataclass(frozen=True)
class CourseSection:
    """What a course's section shows."""

    row: Row
    findings: list[CodeEntry]
    plots: list[Markup]
    structures: list[StructureLine]
    comparisons: list[Comparison]
    plans: list[Row]


def qc_counts(rows: Iterable[Row]) -> dict[str, Counter[str]]:
    """Rows of the table `qc` by course and status; courses that qc did not look at are absent."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        if row.get("status"):
            counts.setdefault(row["course_id"], Counter())[row["status"]] += 1
    return counts


def worst_first(courses: Iterable[Row], qc: Mapping[str, Counter[str]] | None = None) -> list[Row]:
    """Failed courses, then by failed checks, by errors, by warnings of checks and findings."""
    known = qc or {}
    nothing: Counter[str] = Counter()

    def rank(course: Row) -> tuple[bool | int | str, ...]:
        checks = known.get(course["course_id"], nothing)
        errors, warnings = course["findings_e"] or 0, course["findings_w"] or 0
        failed = course["course_status"] != "failed"
        return failed, -checks["fail"], -errors, -checks["warn"], -warnings, course["course_id"]

    return sorted(courses, key=rank)


def course_section(
    row: Row,
    findings: Sequence[Row],
    structures: Sequence[Row],
    metrics: Sequence[Row],
    curves: Sequence[Row],
    tps: Sequence[Row],
    comparisons: Sequence[Comparison],
    plans: Sequence[Row],
) -> CourseSection:
    """Put a course's section together."""
    return CourseSection(
        row=row,
        findings=by_code(findings),
        plots=course_plots(row["course_id"], curves, metrics, tps),
        structures=structure_lines(structures, metrics, row["status_dvh"] or "missing"),
        comparisons=list(comparisons),
        plans=list(plans),
    )


def structure_lines(structures: Sequence[Row], metrics: Sequence[Row], dvh_status: str) -> list[StructureLine]:
    """Every structure with each of its doses: targets first, then by name; those without numbers last."""
    of_structure: dict[tuple[str, str], list[Row]] = {}
    for metric in metrics:
        of_structure.setdefault((metric["structure_set_id"], metric["structure_id"]), []).append(metric)
    lines = []
    for structure in structures:
        rows = of_structure.get((structure["structure_set_id"], structure["structure_id"]), [{}])
        lines += [_structure_line(structure, row, dvh_status) for row in rows]
    return sorted(
        lines,
        key=lambda s: (s.volume_cc is None, not s.is_target, s.name.lower(), s.set_id, s.row.get("dose_id") or ""),
    )


def _structure_line(structure: Row, metric: Row, dvh_status: str) -> StructureLine:
    volume = metric.get("volume_cc")
    return StructureLine(
        name=structure["structure_name"],
        roi_type=structure["roi_type"] or "",
        set_id=structure["structure_set_id"],
        structure_id=structure["structure_id"],
        dose_id=metric.get("dose_id") or "",
        is_target=is_target({**metric, "roi_type": structure["roi_type"]}),
        volume_cc=structure["volume_cc"] if volume is None else volume,
        row=metric,
        note=null_reason(structure, metric, dvh_status),
    )


def null_reason(structure: Row, metric: Row, dvh_status: str) -> str:
    """Why a structure has no numbers, in words."""
    if structure["status"] != "ok":
        return STRUCTURE_NOTES.get(structure["status"], str(structure["status"]))
    if not metric:
        return "no dose applies" if dvh_status in ("done", "partial", "not_applicable") else f"dvh {dvh_status}"
    if metric["dose_status"] == "low_coverage":
        return f"{metric['dose_coverage_pct']:.1f} % inside the dose grid: maximum only"
    status = str(metric["dose_status"])
    return DOSE_NOTES.get(status, "" if status == "ok" else status)


def plot_lines(
    curves: Iterable[Row], metrics: Iterable[Row], of_rx: bool = False, colour: Callable[[Row], str] | None = None
) -> list[Line]:
    """Curves in percent of the whole structure; with `of_rx` the dose in percent of the prescription.

    Parameters
    ----------
    colour: gives a structure its colour by its row of metrics; None leaves that to the plot.
    """
    known = {(m["course_id"], m["structure_id"], m["dose_id"]): m for m in metrics}
    lines = []
    for curve in curves:
        metric = known.get((curve["course_id"], curve["structure_id"], curve["dose_id"]))
        if metric is None or not metric["volume_cc"] or not len(curve["dose_gy"]):
            continue
        dose = 100.0 * curve["dose_gy"] / metric["rx_gy"] if of_rx else curve["dose_gy"]
        volume = 100.0 * curve["cumulative_volume_cc"] / metric["volume_cc"]
        own = colour(metric) if colour is not None else None
        lines.append(Line(curve["structure_name"], *closed(dose, volume), is_target(metric), own))
    return lines


def tps_lines(curves: Iterable[Row]) -> list[Line]:
    """The planning system's curves in percent of the volume that it states."""
    lines = []
    for curve in curves:
        dose, volume = curve["dose_gy"], curve["cumulative_volume_cc"]
        if dose is not None and volume is not None and len(dose) and volume[0] > 0:
            lines.append(Line(f"ROI {curve['roi_number']}", *closed(dose, 100.0 * volume / volume[0])))
    return lines


def closed(dose: np.ndarray, volume_pct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve from dose 0 to volume 0, so that it can be drawn and read anywhere."""
    if dose[0] > 0:
        dose, volume_pct = np.r_[0.0, dose], np.r_[volume_pct[0], volume_pct]
    if volume_pct[-1] > 0:
        dose, volume_pct = np.r_[dose, dose[-1]], np.r_[volume_pct, 0.0]
    return dose, volume_pct


def course_plots(
    course_id: str,
    curves: Sequence[Row],
    metrics: Sequence[Row],
    tps: Sequence[Row],
    colour: Callable[[Row], str] | None = None,
) -> list[Markup]:
    """One plot for each dose of the course, the total first; the planning system's curves of that dose beside ours."""
    dose_ids = sorted({c["dose_id"] for c in curves}, key=lambda d: (d != "total", d))
    plots = []
    for dose_id in dose_ids:
        own = [m for m in metrics if m["dose_id"] == dose_id]
        lines = plot_lines([c for c in curves if c["dose_id"] == dose_id], own, colour=colour)
        levels = sorted({m["rx_gy"] for m in own if m["rx_gy"] is not None})
        marks = [Mark(level, f"Rx {level:g} Gy") for level in levels]
        if lines:
            theirs = tps_lines(t for t in tps if t["dose_id"] == dose_id)
            title = f"Dose {dose_id} of {course_id}: volume that receives at least the dose"
            plots.append(dvh_plot(lines, marks, title=title, reference=theirs))
    return plots


def target_summary(metrics: Sequence[Row]) -> str:
    """The target with the highest prescription in a few words, for the list of courses."""
    targets = [m for m in metrics if is_target(m) and m.get("d95_gy") is not None]
    if not targets:
        return ""
    first = max(
        targets, key=lambda m: (m["dose_id"] == "total", m["rx_gy"] or 0.0, m["roi_type"] == "PTV", m["d95_gy"])
    )
    text = f"{first['structure_name']}: D95 {first['d95_gy']:.1f} Gy"
    if first["rx_gy"]:
        text += f" ({100 * first['d95_gy'] / first['rx_gy']:.1f} % of {first['rx_gy']:g})"
    return text


def stage_badges(row: Row) -> list[tuple[str, str]]:
    """Stage and status, in the order of the stage table."""
    return [(name, row[f"status_{name}"] or "missing") for name in COURSE_STAGES]

"""The cohort's report: one static HTML page from the tables of a results folder, without external files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from rtpipeline.report.compare import Comparison, compare
from rtpipeline.report.constraints import constraint_entries
from rtpipeline.report.course import (
    CourseSection,
    course_section,
    plot_lines,
    qc_counts,
    stage_badges,
    target_summary,
    worst_first,
)
from rtpipeline.report.findings import by_code
from rtpipeline.report.groups import groups
from rtpipeline.report.svg import Band, Line, Mark, dvh_plot
from rtpipeline.report.tables import ResultTables, Row, by_course, is_target
from rtpipeline.store.folder import write_atomically

INDEX = "report/index.html"

MAX_SECTIONS = 50
"""Courses with a section of their own, worst first, so that the page stays small enough to open."""

MAX_COURSE_ROWS = 1000
FIRST_COURSES = 30
"""Courses of the list that are seen at once; the others are folded."""

MAX_PLAN_ROWS = 500
MAX_COMPARISON_ROWS = 100
MAX_GROUP_ROWS = 60
MAX_TARGET_LINES = 40
"""More targets than this are drawn as median and spread."""

BAND_LEVELS = 400
"""Dose levels at which they are taken."""

SEVERITY_WORDS = {"E": "error", "W": "warning", "I": "note"}


def write_report(results: Path) -> Path:
    """Write `report/index.html` of a results folder from its tables alone.

    Raises
    ------
    UsageError: the folder holds no results.
    """
    path = results / INDEX
    write_atomically(path, report_html(ResultTables.load(results)).encode("utf-8"))
    path.chmod(0o644)  # as the tables beside it
    return path


def report_html(tables: ResultTables) -> str:
    """The page as text."""
    package = files("rtpipeline.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(num=num, short=short, plain=plain, signed=signed)
    template = environment.from_string((package / "cohort.html.j2").read_text(encoding="utf-8"))
    style = Markup((package / "style.css").read_text(encoding="utf-8"))
    return template.render(style=style, **page(tables))


def page(tables: ResultTables) -> dict[str, Any]:
    """Everything that the template shows."""
    run = tables.run
    checks = qc_counts(tables.qc)
    ordered = worst_first(tables.courses, checks)
    metrics = by_course(tables.metrics)
    comparisons, alone = compare(tables.tps_curves(lambda row: True), tables.structures, tables.metrics)
    shown = ordered[:MAX_SECTIONS]
    found_groups = [g for g in groups(tables.metrics, run["small_cell_minimum"]) if any(s.n for s in g.spreads)]
    return {
        "run": run,
        "stages": run["stages"],
        "severity_words": SEVERITY_WORDS,
        "severities": Counter(f["severity"] for f in tables.findings),
        "statuses": Counter(c["course_status"] for c in ordered),
        "kinds": Counter(c["course_kind"] for c in ordered).most_common(),
        "codes": by_code(tables.findings),
        "courses": ordered[:MAX_COURSE_ROWS],
        "first_courses": FIRST_COURSES,
        "n_courses": len(ordered),
        "n_structures": len(tables.structures),
        "n_metrics": len(tables.metrics),
        "n_plans": len(tables.plans),
        "badges": stage_badges,
        "qc": checks,
        "pages": tables.pages,
        "summaries": {
            c["course_id"]: target_summary(metrics.get(c["course_id"], [])) for c in ordered[:MAX_COURSE_ROWS]
        },
        "target_plots": target_plots(tables),
        "groups": found_groups[:MAX_GROUP_ROWS],
        "n_groups": len(found_groups),
        "any_small": any(g.small for g in found_groups),
        "all_small": all(g.small for g in found_groups),
        "constraints": constraint_entries(tables.constraints),
        "comparisons": comparisons[:MAX_COMPARISON_ROWS],
        "n_comparisons": len(comparisons),
        "n_alone": alone,
        "plans": tables.plans[:MAX_PLAN_ROWS],
        "sections": sections(tables, shown, metrics, comparisons),
        "shown": {c["course_id"] for c in shown},
        "open_sections": len(shown) <= 2,
    }


def sections(
    tables: ResultTables, shown: Sequence[Row], metrics: dict[str, list[Row]], comparisons: Sequence[Comparison]
) -> list[CourseSection]:
    """The sections of the chosen courses, in their order."""
    ids = {c["course_id"] for c in shown}
    findings = by_course([f for f in tables.findings if f["course_id"] in ids])
    structures = by_course([s for s in tables.structures if s["course_id"] in ids])
    curves = by_course(list(tables.curves(lambda row: row["course_id"] in ids)))
    tps = by_course(list(tables.tps_curves(lambda row: row["course_id"] in ids)))
    plans = by_course([p for p in tables.plans if p["course_id"] in ids])
    return [
        course_section(
            row,
            findings.get(row["course_id"], []),
            structures.get(row["course_id"], []),
            metrics.get(row["course_id"], []),
            curves.get(row["course_id"], []),
            tps.get(row["course_id"], []),
            [c for c in comparisons if c.course_id == row["course_id"]],
            plans.get(row["course_id"], []),
        )
        for row in shown
    ]


def target_plots(tables: ResultTables) -> list[Markup]:
    """Targets of the whole cohort: in percent of the prescription where it is known, in Gy where it is not."""
    targets = {_key(m): m for m in tables.metrics if is_target(m) and m["dmax_gy"] is not None}
    with_rx = {key: m for key, m in targets.items() if m["rx_gy"]}
    without = {key: m for key, m in targets.items() if key not in with_rx}
    plots = []
    if with_rx:
        plots.append(_cohort_plot(tables, with_rx, "with a prescription", of_rx=True))
    if without:
        plots.append(_cohort_plot(tables, without, "without a known prescription", of_rx=False))
    return plots


def _key(row: Row) -> tuple[str, str, str]:
    return row["course_id"], row["structure_id"], row["dose_id"]


def _cohort_plot(tables: ResultTables, wanted: dict[tuple[str, str, str], Row], what: str, *, of_rx: bool) -> Markup:
    """Curves of the wanted rows: each one while they are few, else median and spread on common dose levels."""
    title = f"{len(wanted)} target{'' if len(wanted) == 1 else 's'} {what}: volume that receives at least the dose"
    unit, marks = ("% of prescription", [Mark(100.0, "prescription")]) if of_rx else ("Gy", [])
    lines = (
        Line(f"{key[0]} {line.name}", line.dose_gy, line.volume_pct)
        for curve in tables.curves(lambda row: _key(row) in wanted)
        for key in [_key(curve)]
        for line in plot_lines([curve], [wanted[key]], of_rx)
    )
    if len(wanted) <= MAX_TARGET_LINES:
        return dvh_plot(list(lines), marks, title=title, unit=unit)
    top = max(m["dmax_gy"] / (m["rx_gy"] / 100 if of_rx else 1) for m in wanted.values())
    dose = np.linspace(0.0, top, BAND_LEVELS)
    volumes = np.array([np.interp(dose, line.dose_gy, line.volume_pct, right=0.0) for line in lines])
    low, median, high = np.quantile(volumes, [0.1, 0.5, 0.9], axis=0)
    return dvh_plot([], marks, title=title, unit=unit, band=Band(dose, low, median, high, "median, 10 to 90 %"))


def num(value: float | None, digits: int = 1) -> str:
    """A number with fixed digits, an en dash for what does not exist."""
    return "–" if value is None else f"{value:,.{digits}f}"


def short(value: float | None) -> str:
    """A number with about three digits that say something."""
    return num(value, 1 if value is None or abs(value) >= 10 else 2)


def signed(value: float | None, digits: int = 1) -> str:
    """A difference with its sign; what rounds to nothing has none."""
    if value is None:
        return "–"
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def plain(value: object) -> str:
    """A fact in words, an en dash for what does not exist."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)

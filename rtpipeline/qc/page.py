"""The page of a course: one static HTML file without external files, dates or identity, that needs no scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from rtpipeline import __version__
from rtpipeline.qc.checks import STATUSES, CheckRow, worst, worst_first
from rtpipeline.qc.colours import colours
from rtpipeline.qc.figures import Figure, dose_legend, figures
from rtpipeline.qc.outputs import CourseOutputs, Row
from rtpipeline.qc.scenes import DoseLayer, Drawn, Scene
from rtpipeline.report.build import SEVERITY_WORDS, num, plain
from rtpipeline.report.course import course_plots, structure_lines
from rtpipeline.report.findings import by_code
from rtpipeline.report.svg import MAX_LEGEND
from rtpipeline.report.tables import is_target
from rtpipeline.stages import STAGES

SOURCES = ("manual", "totalsegmentator", "custom", "derived", "cropped")
"""Groups of structures that can be shown and hidden."""

MAX_NETWORK_DRAWN = 24
"""More structures of a network than this are hidden at first, where there are others."""

MAX_STRIP_ROWS = 3
"""Rows of one check at the top of the page."""

DRAWN_SOURCES = ("manual", "derived")
"""Sources whose curves come first when not all have room."""


@dataclass(frozen=True)
class SceneSection:
    """A scene as the page shows it."""

    title: str
    caption: str
    figures: list[Figure]
    shown: list[Drawn]
    legends: list[tuple[DoseLayer, Markup]]


def course_html(outputs: CourseOutputs, cohort: str, checks: Sequence[CheckRow], shown: Sequence[Scene],
                findings: Sequence[Row]) -> str:  # fmt: skip
    """The page as text.

    Parameters
    ----------
    findings: of every stage and of qc itself.
    """
    package = files("rtpipeline.qc")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(num=num, plain=plain, words=_words)
    template = environment.from_string((package / "course.html.j2").read_text(encoding="utf-8"))
    style = (files("rtpipeline.report") / "style.css").read_text(encoding="utf-8")
    style += (package / "course.css").read_text(encoding="utf-8")
    return template.render(style=Markup(style), **page(outputs, cohort, checks, shown, findings))


def page(
    outputs: CourseOutputs, cohort: str, checks: Sequence[CheckRow], shown: Sequence[Scene], findings: Sequence[Row]
) -> dict[str, Any]:
    """Everything that the template shows."""
    doses = list(dict.fromkeys(d.dose_id for scene in shown for d in scene.doses))
    sections = [_section(scene, doses) for scene in shown]
    structures = outputs.rows("structures", "structures.parquet")
    metrics = [_complete(m) for m in outputs.rows("dvh", "dvh_metrics.parquet")]
    counts = Counter(c.status for c in checks)
    sources = [s for s in SOURCES if any(d.row["structure_source"] == s for x in sections for d in x.shown)]
    ordered = worst_first(checks)
    return {
        "cohort": cohort,
        "version": __version__,
        "course": outputs.course,
        "facts": facts(outputs),
        "verdict": worst(checks),
        "counts": [(s, counts[s]) for s in STATUSES],
        "strip": _strip(ordered),
        "checks": ordered,
        "phantom": _is_phantom(outputs),
        "scenes": sections,
        "sources": [(s, _is_on(s, sections)) for s in sources],
        "doses": doses,
        "plots": _plots(outputs, metrics),
        "structures": structure_lines(structures, metrics, outputs.status("dvh")),
        "chips": {(s["structure_set_id"], s["structure_id"]): _chip(s) for s in structures},
        "rows": {(s["structure_set_id"], s["structure_id"]): s for s in structures},
        "codes": by_code(findings),
        "severity_words": SEVERITY_WORDS,
        "stages": _stages(outputs),
    }


def _strip(ordered: Sequence[CheckRow]) -> list[tuple[CheckRow, list[CheckRow], int]]:
    """Each check with a failure or a warning: its worst row, its first rows, and how many more there are."""
    grave: dict[str, list[CheckRow]] = {}
    for row in ordered:
        if row.status in ("fail", "warn"):
            grave.setdefault(row.check.name, []).append(row)
    return [(own[0], own[:MAX_STRIP_ROWS], len(own) - MAX_STRIP_ROWS) for own in grave.values()]


def _words(text: str) -> str:
    return text.replace("_", " ")


def _section(scene: Scene, doses: Sequence[str]) -> SceneSection:
    made, drawn = figures(scene, {dose_id: n for n, dose_id in enumerate(doses)})
    title = f"{scene.image_id} ({scene.modality})" if scene.image_id else "No image: contours and dose alone"
    caption = f"Through the {scene.centre_words}"
    if scene.window is not None:
        caption += f"; window {scene.window.words}"
    return SceneSection(title, caption, made, drawn, [(d, dose_legend(d)) for d in scene.doses])


def _is_on(source: str, sections: Sequence[SceneSection]) -> bool:
    """Whether a group of structures is shown at first: a hundred outlines of a network hide what was drawn."""
    drawn = [d.row["structure_source"] for x in sections for d in x.shown]
    return source in ("manual", "derived") or "manual" not in drawn or drawn.count(source) <= MAX_NETWORK_DRAWN


def _complete(metric: Row) -> Row:
    """The row with null for those columns that the configuration left out."""
    names = ("d98_gy", "d95_gy", "d2_gy", "v95rx_pct")
    return {**dict.fromkeys(names), **metric}


def _chip(structure: Row) -> str:
    name = structure["structure_name_tg263"] or structure["structure_name"]
    return colours(name, target=is_target(structure))[0]


def _is_phantom(outputs: CourseOutputs) -> bool:
    columns = ("phantom_weights",)
    stages = ("segmentation", "custom_models")
    return any(r["phantom_weights"] for s in stages for r in outputs.rows(s, "segmentation.parquet", columns))


def _plots(outputs: CourseOutputs, metrics: Sequence[Row]) -> list[Markup]:
    """Curves of each dose, as many as the plot can name: targets, what was drawn, then by mean dose."""
    by_key = {(m["structure_set_id"], m["structure_id"], m["dose_id"]): m for m in metrics}
    curves = [_with_arrays(c) for c in outputs.rows("dvh", "dvh_curves.parquet")]
    chosen = []
    for dose_id in dict.fromkeys(c["dose_id"] for c in curves):
        own = [c for c in curves if c["dose_id"] == dose_id]

        def rank(curve: Row) -> tuple[bool, bool, float]:
            metric = by_key[curve["structure_set_id"], curve["structure_id"], curve["dose_id"]]
            drawn = curve["structure_source"] in DRAWN_SOURCES
            return not is_target(metric), not drawn, -(metric["dmean_gy"] or 0.0)

        chosen += sorted(own, key=rank)[:MAX_LEGEND]
    tps = [_with_arrays(t) for t in outputs.rows("prepare_rt", "tps_dvh.parquet")]
    return course_plots(outputs.course.course_id, chosen, metrics, tps, colour=_plot_colour)


def _plot_colour(metric: Row) -> str:
    return colours(metric["structure_name_tg263"] or metric["structure_name"], target=is_target(metric))[1]


def _with_arrays(row: Row) -> Row:
    lists = {n: None if row[n] is None else np.array(row[n], float) for n in ("dose_gy", "cumulative_volume_cc")}
    return {**row, **lists}


def facts(outputs: CourseOutputs) -> list[tuple[str, str]]:
    """What the course is, in words."""
    course = outputs.course
    images = {r["image_id"]: r for r in outputs.rows("prepare_images", "images.parquet")}
    planning = course.planning_image
    found = [("Kind", _words(course.course_kind) + (", synthetic patient of the demo" if course.demo else ""))]
    if planning is not None:
        found.append(("Planning image", _image_words(planning.image_id, planning.modality, images)))
    others = [i for i in course.images if planning is None or i.image_id != planning.image_id]
    if others:
        found.append(("Other images", ", ".join(f"{i.image_id} ({i.modality})" for i in others)))
    sets = [
        f"{s.structure_set_id} on {s.image_id or 'no image'} ({s.rois} {'ROI' if s.rois == 1 else 'ROIs'})"
        for s in course.structure_sets
    ]
    if sets:
        found.append(("Structure sets", ", ".join(sets)))
    for plan in outputs.facts("prepare_rt", "plans.json"):
        found.append((plan["plan_id"], _plan_words(plan)))
    for dose in outputs.facts("prepare_rt", "doses.json"):
        what = f"{_words(dose['dose_basis'])}, maximum {num(dose['max_gy'], 2)} Gy"
        found.append(
            (f"Dose {dose['dose_id']}", what + ("" if dose["dose_status"] == "ok" else f", {dose['dose_status']}"))
        )
    who = course.covariates
    if who.age_years is not None or who.sex:
        age = (
            [f"{who.age_years}{' or older' if who.age_years == 89 else ''} years"] if who.age_years is not None else []
        )
        found.append(("Patient", ", ".join([*age, *([who.sex] if who.sex else [])])))
    if who.scanner:
        found.append(("Scanner", who.scanner))
    return found


def _image_words(image_id: str, modality: str, images: dict[str, Row]) -> str:
    row = images.get(image_id)
    if row is None or row["status"] != "ok":
        return f"{image_id} ({modality}), {'not prepared' if row is None else _words(row['status'])}"
    text = f"{image_id} ({modality}), {row['planes']} × {row['rows']} × {row['columns']}"
    if row["plane_spacing_mm"] is not None:
        text += f" of {row['plane_spacing_mm']:.2f} × {row['row_spacing_mm']:.2f} × {row['column_spacing_mm']:.2f} mm"
    return f"{text}, {row['plane_class']}, {row['patient_position'] or 'position not stated'}"


def _plan_words(plan: Row) -> str:
    levels = " + ".join(f"{level:g}" for level in plan["plan_rx_levels_gy"])
    parts = [plan["plan_class"], *plan["techniques"], f"{levels} Gy" if levels else "prescription unknown"]
    if plan["fractions_planned"]:
        parts.append(f"{plan['fractions_planned']} fraction{'' if plan['fractions_planned'] == 1 else 's'}")
    if plan["approval_status"]:
        parts.append(plan["approval_status"].lower())
    return ", ".join(parts) + ("" if plan["selected"] else " (not used)")


def _stages(outputs: CourseOutputs) -> list[Row]:
    """Where the numbers come from: key, versions and weights of each stage."""
    rows = []
    for name in STAGES["qc"].uses:
        record = outputs.records.get(name)
        rows.append(
            {
                "name": name,
                "status": outputs.status(name),
                "reason": record.reason if record else "",
                "key": record.stage_key if record else "",
                "versions": sorted(record.versions.items()) if record and outputs.has_result(name) else [],
                "weights": sorted(record.weights.items()) if record else [],
                "device": record.device if record and record.weights else "",
            }
        )
    return rows

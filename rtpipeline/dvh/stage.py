"""Stage dvh: every structure of every set against the course's doses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import pandas as pd

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import Course
from rtpipeline.contracts.tables import CONSTRAINTS, DVH_CURVES, DVH_METRICS, STRUCTURES
from rtpipeline.dvh.constraint_rows import ConstraintRows, doubts
from rtpipeline.dvh.constraints import Result, load_constraints
from rtpipeline.dvh.course_doses import CourseBiology, CourseDose, load_doses, load_plans
from rtpipeline.dvh.course_prescriptions import CoursePrescriptions
from rtpipeline.dvh.declared import Declarations
from rtpipeline.dvh.dose_links import dose_link
from rtpipeline.dvh.metrics import biological_columns, dvh_metric_columns
from rtpipeline.dvh.rows import RowMaker, StructureInDose
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.geometry.outlines import Outline, read_contours
from rtpipeline.geometry.solid import EndCap, PrismSolid


def run(context: StageContext) -> StageOutcome:
    """DVH metrics, curves and constraints; a row with its status also where there is no number."""
    settings = context.config.dvh
    if not settings.enabled:
        return StageOutcome(status="disabled", reason="dvh.enabled is false")
    course = context.course()
    doses, plans = load_doses(context.input("prepare_rt")), load_plans(context.input("prepare_rt"))
    path = context.input("structures") / "structures.parquet"
    if not doses:
        return StageOutcome(status="not_applicable", reason="no dose to use")
    if not path.is_file():
        return StageOutcome(status="not_applicable", reason="no structures")
    frame = STRUCTURES.read(path)
    structures = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
    contours = read_contours(context.input("structures") / "contours.parquet")
    prescriptions = CoursePrescriptions(course, plans, [d.facts for d in doses], structures)
    declared = Declarations(settings.alpha_beta_gy, settings.geud_a, course.manifest)
    biology = CourseBiology(doses, plans, settings.dose_interpolation)
    maker = RowMaker(settings, context.stage_key, declared, biology)
    bounds = _constraints(context, course, doses)
    context.report(*_unknown_names(course, frame), *declared.findings())
    made: list[StructureInDose] = []
    end_cap = context.config.dvh.end_cap
    for structure in structures:
        drawn = contours.get((structure["structure_set_id"], structure["structure_id"]))
        solid = _solid(drawn, structure, end_cap)
        for dose in doses:
            link = dose_link(dose.facts, structure, course)
            if link is None:
                continue
            there = solid
            if link.matrix is not None and drawn is not None:
                there = _solid(link.in_dose_frame(drawn), structure, end_cap)
            made.append(maker.make(structure, dose, link, there, prescriptions.of(structure, dose.facts)))
            context.report(*made[-1].findings)
            bounds.add(structure, made[-1])
    if not made:
        return StageOutcome(status="not_applicable", reason="no structure set that a dose applies to")
    context.report(*maker.findings_of_doses(), *bounds.finish(structures))
    return _write(context, declared, made, bounds)


def _constraints(context: StageContext, course: Course, doses: Sequence[CourseDose]) -> ConstraintRows:
    file = context.config.dvh.constraints
    keys = {"cohort": context.cohort, "patient_id": course.patient_id, "course_id": course.course_id}
    constraints = load_constraints(file) if file is not None else []
    return ConstraintRows(constraints, keys, context.stage_key, doubts([d.facts for d in doses]))


def _write(
    context: StageContext, declared: Declarations, made: Sequence[StructureInDose], bounds: ConstraintRows
) -> StageOutcome:
    settings = context.config.dvh
    chosen = {name: getattr(settings, name) for name in ("d_pct", "d_cc", "v_gy", "v_rx_pct")}
    names = [name for name, *_ in dvh_metric_columns(**chosen)]
    if declared.any_alpha_beta:
        names += biological_columns(d_pct=settings.d_pct, d_cc=settings.d_cc)
    curves = [one.curve for one in made if one.curve is not None]
    DVH_METRICS.write(DVH_METRICS.frame([one.row for one in made], names), context.out / "dvh_metrics.parquet")
    DVH_CURVES.write(DVH_CURVES.frame(curves), context.out / "dvh_curves.parquet")
    counts = {"rows": len(made), "curves": len(curves)}
    if bounds.constraints:
        CONSTRAINTS.write(CONSTRAINTS.frame(bounds.rows), context.out / "constraints.parquet")
        counts |= {f"constraints_{r}": sum(row["result"] == r for row in bounds.rows) for r in get_args(Result)}
    return StageOutcome(counts=counts)


def _solid(drawn: Outline | None, structure: dict[str, Any], end_cap: EndCap) -> PrismSolid | None:
    return drawn.solid(end_cap) if drawn is not None and structure["status"] == "ok" else None


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

"""Stage aggregation: the tables of a cohort from the outputs of one run, their exports, and what explains them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from rtpipeline.aggregation.collect import Broken, Part, write_table
from rtpipeline.aggregation.course_tables import SOURCES, parts_of
from rtpipeline.aggregation.courses_table import Counts, course_row, plan_rows
from rtpipeline.aggregation.exports import DECIMAL_COMMA, PLAIN, export_csv
from rtpipeline.aggregation.facts import CourseFacts, course_facts
from rtpipeline.aggregation.findings_table import broken_tables, findings_frame
from rtpipeline.aggregation.ro_crate import ro_crate, save
from rtpipeline.aggregation.run_plan import CollectedCourse, RunPlan, collect
from rtpipeline.aggregation.summary import RUN_JSON
from rtpipeline.aggregation.workbook import WORKBOOK, write_workbook
from rtpipeline.config import Config, config_yaml, parse_config, without_folders
from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import CohortManifest, StageRecord
from rtpipeline.contracts.tables import COURSES, FINDINGS, PLANS, ROBUSTNESS_SUMMARY, TABLES, data_dictionary
from rtpipeline.errors import UsageError
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.execution.environment import available_cpus
from rtpipeline.provenance.methods import methods_text
from rtpipeline.provenance.versions import StageUse, in_table_order, libraries, program, stage_use
from rtpipeline.qc.outputs import PAGE
from rtpipeline.report.build import write_report
from rtpipeline.report.tables import COURSE_PAGES
from rtpipeline.robustness.summary import summarise
from rtpipeline.stages import COURSE_STAGES, STAGES
from rtpipeline.store.keys import library_version

MAX_AUTO_THREADS = 8
"""Reading is bound by the disk; more threads than this only queue there."""


def run(context: StageContext) -> StageOutcome:
    """Write the cohort's tables, exports, methods text, crate and report into the stage's folder."""
    if context.store is None:
        raise UsageError("stage aggregation needs --store, the cohort's folder of the store.")
    plan = RunPlan.load(context.store, context.run_id)
    manifest = CohortManifest.load(context.input("organize"))
    config = parse_config(plan.config or without_folders(context.config), "the configuration of plan.json")
    threads = reading_threads(context.config)
    courses = collect(plan, manifest.courses, context.store, threads)
    facts = {c.course_id: course_facts(c) for c in courses}

    _course_tables(context, courses, threads)
    ROBUSTNESS_SUMMARY.write(
        ROBUSTNESS_SUMMARY.frame(summarise(context.out / "robustness.parquet", config.radiomics_robustness)),
        context.out / "robustness_summary.parquet",
    )
    context.report(*_unreadable_facts(courses, facts))
    PLANS.write(
        PLANS.frame(r for c in courses for r in plan_rows(context.cohort, c, facts[c.course_id], plan.organize_key)),
        context.out / "plans.parquet",
    )
    organize = StageRecord.load(context.input("organize"))
    FINDINGS.write(
        findings_frame(context.cohort, organize, courses, context.findings), context.out / "findings.parquet"
    )
    _courses(context, courses, facts)

    uses = _stage_uses(organize, courses)
    run_facts = _run_facts(plan, manifest, uses, config)
    (context.out / RUN_JSON).write_text(json.dumps(run_facts, indent=1) + "\n")
    _explain(context.out, config, uses, run_facts)
    _export(context.out, config)
    _course_pages(context.out, courses)
    write_report(context.out)
    crate = ro_crate(context.out, context.cohort, run_facts, libraries(uses.values()))
    save(crate, context.out)
    return StageOutcome(counts={name: _rows(context.out, name) for name in TABLES})


def reading_threads(config: Config) -> int:
    """Threads that read course tables; they change no result."""
    wanted = config.aggregation.threads
    return min(MAX_AUTO_THREADS, available_cpus()) if wanted == "auto" else max(1, int(wanted))


def _course_tables(context: StageContext, courses: Sequence[CollectedCourse], threads: int) -> None:
    """The tables that are the rows of many courses, one after the other; what cannot be used becomes findings."""
    broken: list[tuple[str, Broken]] = []
    for name in SOURCES:
        parts: list[Part] = parts_of(name, courses, context.cohort)
        table = TABLES[name]
        broken += [(name, b) for b in write_table(table, parts, context.out / f"{name}.parquet", threads)]
    context.report(*broken_tables(broken))


def _unreadable_facts(courses: Sequence[CollectedCourse], facts: dict[str, CourseFacts]) -> list[Finding]:
    return [
        finding(
            "STAGE_FAULT",
            problem,
            "cannot be read",
            expected="JSON as the stage writes it",
            action="its facts are null in the tables",
            course_id=c.course_id,
            patient_id=c.course.patient_id,
        )
        for c in courses
        for problem in facts[c.course_id].problems
    ]


def _courses(context: StageContext, courses: Sequence[CollectedCourse], facts: dict[str, CourseFacts]) -> None:
    counts = count_rows(context.out)
    plans = PLANS.read(context.out / "plans.parquet").astype(object)
    by_course: dict[str, list[dict[str, Any]]] = {}
    for row in plans.where(plans.notna(), None).to_dict("records"):
        by_course.setdefault(row["course_id"], []).append({str(k): v for k, v in row.items()})
    rows = [course_row(context.cohort, c, facts[c.course_id], by_course.get(c.course_id, []), counts) for c in courses]
    COURSES.write(COURSES.frame(rows), context.out / "courses.parquet")


def count_rows(results: Path) -> Counts:
    """Rows by course of the tables that are already written."""
    findings = pq.read_table(results / "findings.parquet", columns=["course_id", "severity"]).to_pydict()
    by_course: dict[str, dict[str, int]] = {}
    for (course_id, severity), number in Counter(zip(findings["course_id"], findings["severity"], strict=True)).items():
        if course_id is not None:
            by_course.setdefault(course_id, {})[severity] = number
    structures = pq.read_table(results / "structures.parquet", columns=["course_id", "volume_cc"])
    with_volume = structures.filter(pc.is_valid(structures["volume_cc"]))
    dvh = pq.read_table(results / "dvh_metrics.parquet", columns=["course_id"])
    return Counts(
        findings=by_course,
        structures=dict(Counter(structures["course_id"].to_pylist())),
        structures_with_volume=dict(Counter(with_volume["course_id"].to_pylist())),
        dvh_rows=dict(Counter(dvh["course_id"].to_pylist())),
        fractions_delivered=_delivered(results),
    )


def _delivered(results: Path) -> dict[str, int | None]:
    """Fractions that the treatment records name as completed, by course; null where a record leaves the number open."""
    names = ["course_id", "plan_id", "fraction_group", "fraction_number", "record_id", "record_status"]
    numbers: dict[str, set[tuple[Any, ...] | None]] = {}
    for row in pq.read_table(results / "fractions.parquet", columns=names).to_pylist():
        if row["record_id"] is not None and row["record_status"] == "normal":
            fraction = (row["plan_id"], row["fraction_group"], row["fraction_number"])
            numbers.setdefault(row["course_id"], set()).add(None if row["fraction_number"] is None else fraction)
    return {course: None if None in found else len(found) for course, found in numbers.items()}


def _stage_uses(organize: StageRecord | None, courses: Sequence[CollectedCourse]) -> dict[str, StageUse]:
    uses = {}
    if organize is not None:
        uses["organize"] = stage_use("organize", [organize.status], [organize])
    for name in COURSE_STAGES:
        states = [c.stages[name] for c in courses]
        uses[name] = stage_use(name, [s.status for s in states], [s.record for s in states if s.record is not None])
    here = program()["rtpipeline"]
    versions = {lib: [library_version(lib)] for lib in STAGES["aggregation"].libraries}
    uses["aggregation"] = StageUse("aggregation", {"done": 1}, versions, [here])
    return uses


def _run_facts(plan: RunPlan, manifest: CohortManifest, uses: dict[str, StageUse], config: Config) -> dict[str, Any]:
    return {
        "run_id": plan.run_id,
        "cohort": manifest.cohort,
        "started_utc": plan.started_utc,
        "aggregated_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": program(),
        "patients": len(manifest.patients),
        "patients_without_course": sum(not p.courses for p in manifest.patients),
        "objects": manifest.counts,
        "small_cell_minimum": config.aggregation.small_cell_minimum,
        "settings": plan.settings,
        "stages": {use.stage: use.to_json() for use in in_table_order(uses)},
    }


def _explain(out: Path, config: Config, uses: dict[str, StageUse], run_facts: dict[str, Any]) -> None:
    status = Counter(pq.read_table(out / "courses.parquet", columns=["course_status"])["course_status"].to_pylist())
    counts = {"patients": run_facts["patients"], "courses": sum(status.values()), "courses_ok": status.get("ok", 0)}
    phantom = pq.read_table(out / "segmentation.parquet", columns=["phantom_weights"])["phantom_weights"]
    counts["phantom_structures"] = phantom.to_pylist().count(True)
    computed = {name: replace(use) for name, use in uses.items() if use.computed}
    (out / "methods.md").write_text(methods_text(config, computed, counts), encoding="utf-8")
    (out / "data_dictionary.md").write_text(data_dictionary(), encoding="utf-8")
    header = "# The resolved configuration of the run. Files by name; their content entered the settings digests.\n"
    (out / "config.yaml").write_text(header + config_yaml(config), encoding="utf-8")


def _export(out: Path, config: Config) -> None:
    export_csv(out, out / PLAIN.folder, PLAIN)
    if config.aggregation.decimal_comma:
        export_csv(out, out / DECIMAL_COMMA.folder, DECIMAL_COMMA)
    write_workbook(out, out / WORKBOOK)


def _course_pages(out: Path, courses: Sequence[CollectedCourse]) -> None:
    """The pages that qc made, each under the name of its course, where the report links to them."""
    folder = out / COURSE_PAGES
    folder.mkdir(parents=True)
    for course in courses:
        page = course.stages["qc"].table(PAGE)
        if page is not None:
            shutil.copyfile(page, folder / f"{course.course_id}.html")


def _rows(results: Path, name: str) -> int:
    return int(pq.read_metadata(results / f"{name}.parquet").num_rows)

"""The table of checks: every finding in one check, every check with its limits on both sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rtpipeline.config import QcConfig
from rtpipeline.contracts.findings import catalogue, finding
from rtpipeline.contracts.manifests import CohortManifest, Course, PlanRef, StageRecord
from rtpipeline.contracts.tables import AGREEMENT, CONSTRAINTS, FRACTIONS, SEGMENTATION
from rtpipeline.demo.small import small_patient
from rtpipeline.errors import ExitCode
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.qc.checks import CHECKS, check_of, run_checks, worst, worst_first
from rtpipeline.qc.outputs import ABOUT_OTHER_COURSES, CourseOutputs
from tests.qc.conftest import STAGES, without_networks
from tests.synthetic.pipeline import COHORT, run_chain


def record(stage: str, status: str = "done", reason: str = "", findings: Any = (), config: Any = None) -> StageRecord:
    return StageRecord(
        stage=stage, stage_version=1, stage_key="k", cohort=COHORT, course_id="p-c01", status=status,  # type: ignore[arg-type]
        reason=reason, output_digest="", upstream={}, config=config or {}, settings_digest="",
        versions={}, findings=[f.row() for f in findings],
    )  # fmt: skip


def course(**changes: Any) -> Course:
    plain = Course(
        course_id="p-c01", patient_id="p", course_order=1, course_kind="planned",
        image_digest="0" * 12, course_digest="0" * 12,
    )  # fmt: skip
    return plain.model_copy(update=changes)


def outputs(
    tmp_path: Path, statuses: dict[str, str] | None = None, findings: Any = (), **changes: Any
) -> CourseOutputs:
    """Stages that ended as given, with empty folders below `tmp_path`."""
    ended = {"organize": "done", **dict.fromkeys(STAGES[:-1], "done"), **(statuses or {})}
    records = {s: record(s, status) for s, status in ended.items() if status != "absent"}
    folders = {s: tmp_path / s for s in records if ended[s] in ("done", "partial", "not_run", "disabled")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    rows = [{**f.row(), "stage": "dvh"} for f in findings]
    return CourseOutputs(course(**changes), records, folders, rows)


def only(found: Any, check: str) -> dict[str, Any]:
    return {r.object: r for r in found if r.check.name == check}


def plan(plan_id: str = "plan-01", approval: str = "APPROVED") -> PlanRef:
    return PlanRef(
        plan_id=plan_id, object_hash="", plan_class="photon", structure_set_id=None, selected=True, reason="",
        approval_status=approval, intent="CURATIVE", day=0,
    )  # fmt: skip


@pytest.mark.parametrize("code", sorted(catalogue()))
def test_every_code_of_the_catalogue_belongs_to_a_check_of_its_subject(code):
    assert check_of(code).name != "other"


def test_a_code_of_tomorrow_is_not_lost():
    assert check_of("SEG_SOMETHING_NEW").name == "networks"
    assert check_of("COMPLETELY_NEW").name == "other"


def test_names_of_checks_are_unique_and_meanings_are_sentences():
    assert len({c.name for c in CHECKS}) == len(CHECKS)
    assert all(c.meaning and not c.meaning.endswith(".") for c in CHECKS)


def test_every_error_and_warning_is_counted_once(tmp_path):
    every = [finding(code, f"thing {n % 3}", "measured") for n, code in enumerate(sorted(catalogue()))]
    rows = run_checks(outputs(tmp_path, findings=every), QcConfig())
    assert sum(r.findings_e for r in rows) == sum(f.severity == "E" for f in every)
    assert sum(r.findings_w for r in rows) == sum(f.severity == "W" for f in every)
    named = {code for r in rows for code in r.codes}
    assert named == set(catalogue())
    assert len({(r.check.name, r.object) for r in rows}) == len(rows)  # the key of the table


def test_an_error_fails_a_warning_warns_a_note_passes(tmp_path):
    found = [
        finding("SS_SLICE_GAP", "rs-01 ROI 1 'A'", "1 gap"),
        finding("SS_CONTOUR_NONPLANAR", "rs-01 ROI 2 'B'", "2 mm"),
        finding("SS_HOLE", "rs-01 ROI 3 'C'", "1 hole"),
    ]
    rows = only(run_checks(outputs(tmp_path, findings=found), QcConfig()), "contours")
    assert {n: r.status for n, r in rows.items()} == {"rs-01 ROI 1 'A'": "warn", "rs-01 ROI 2 'B'": "fail"}
    assert any("SS_HOLE" in r.codes for r in rows.values())
    notes = only(run_checks(outputs(tmp_path, findings=found[2:]), QcConfig()), "contours")
    assert {n: (r.status, r.codes) for n, r in notes.items()} == {"course": ("pass", ("SS_HOLE",))}


def test_a_milder_occurrence_of_a_code_counts_as_it_is(tmp_path):
    found = [finding("IMG_MISSING_SLICE", "ct-01", "one", severity="W")]
    rows = only(run_checks(outputs(tmp_path, findings=found), QcConfig()), "slices")
    assert rows["ct-01"].status == "warn"
    assert (rows["ct-01"].findings_e, rows["ct-01"].findings_w) == (0, 1)


def test_a_stage_that_failed_fails_and_what_hangs_on_it_is_left_out(tmp_path):
    statuses = {"prepare_images": "data_error", "segmentation": "absent", "custom_models": "absent"}
    statuses |= {"structures": "absent", "dvh": "absent", "radiomics": "absent", "robustness": "partial"}
    rows = only(run_checks(outputs(tmp_path, statuses), QcConfig()), "stages")
    assert rows["stage prepare_images"].status == "fail"
    assert rows["stage structures"].measured == "left out, since prepare_images gave nothing"
    assert rows["stage dvh"].status == "not_evaluated"
    assert rows["stage robustness"].status == "warn"
    lost = only(run_checks(outputs(tmp_path, {"dvh": "absent"}), QcConfig()), "stages")
    assert lost["stage dvh"].status == "fail"


def test_without_the_stage_a_check_says_why_it_was_not_evaluated(tmp_path):
    rows = run_checks(outputs(tmp_path, {"dvh": "disabled", "radiomics": "absent"}), QcConfig())
    assert only(rows, "dose_coverage")["course"].measured == "dvh: disabled"
    assert only(rows, "radiomics")["course"].measured == "radiomics: no output"
    assert {r.status for r in only(rows, "dose_level").values()} == {"not_evaluated"}


@pytest.mark.parametrize(
    ("numbers", "records", "status"),
    [(range(1, 6), "normal", "pass"), (range(1, 5), "normal", "warn"), (range(1, 6), "machine", "warn"),
     ((1, 2, 2, 3, 4, 5), "normal", "pass"), ((None, 1), "normal", "not_evaluated"), ((), "", "not_evaluated")],
)  # fmt: skip
def test_fractions_delivered_are_counted_against_those_planned(tmp_path, numbers, records, status):
    common = {"cohort": COHORT, "patient_id": "p", "course_id": "p-c01", "plan_id": "plan-01", "fraction_group": 1,
              "stage_key": "k", "rtpipeline_version": "0"}  # fmt: skip
    rows = [{**common, "fractions_planned": 5, "record_status": "planned"}]
    rows += [
        {**common, "record_id": f"rec-{n:02d}", "fraction_number": number, "record_status": records}
        for n, number in enumerate(numbers)
    ]
    made = outputs(tmp_path, plans=[plan()])
    FRACTIONS.write(FRACTIONS.frame(rows), made.folders["prepare_rt"] / "fractions.parquet")
    assert only(run_checks(made, QcConfig()), "fractions")["plan-01"].status == status


def test_a_constraint_that_is_not_met_warns(tmp_path):
    made = outputs(tmp_path)
    common = {
        "cohort": COHORT, "patient_id": "p", "course_id": "p-c01", "constraint_structure": "Heart",
        "metric": "dmean_gy", "limit": "< 26 Gy", "limit_value": 26.0, "limit_unit": "Gy", "stage_key": "k",
        "rtpipeline_version": "0",
    }  # fmt: skip
    drawn = {"structure_id": "manual-rs-01-0003", "dose_id": "total"}
    rows = [
        {**common, **drawn, "constraint": 1, "value": 25.0, "result": "pass"},
        {**common, **drawn, "constraint": 2, "value": 27.5, "result": "fail"},
        {**common, "constraint": 3, "result": "not_evaluable", "reason": "no structure of this name"},
    ]
    CONSTRAINTS.write(CONSTRAINTS.frame(rows), made.folders["dvh"] / "constraints.parquet")
    found = only(run_checks(made, QcConfig()), "constraints")
    assert {n: (r.status, r.measured, r.expected) for n, r in found.items()} == {
        "1: manual-rs-01-0003 total": ("pass", "dmean_gy 25 Gy", "dmean_gy < 26 Gy"),
        "2: manual-rs-01-0003 total": ("warn", "dmean_gy 27.5 Gy", "dmean_gy < 26 Gy"),
        "3: Heart": ("not_evaluated", "dmean_gy no structure of this name", "dmean_gy < 26 Gy"),
    }


def test_plans_that_are_not_approved_warn(tmp_path):
    made = outputs(tmp_path, plans=[plan(), plan("plan-02", "REJECTED")])
    rows = only(run_checks(made, QcConfig()), "plans")
    assert {n: r.status for n, r in rows.items()} == {"plan-01": "pass", "plan-02": "warn"}


@pytest.mark.parametrize(("dice", "status"), [(0.71, "pass"), (0.69, "warn"), (None, "not_evaluated")])
def test_sources_that_disagree_warn(tmp_path, dice, status):
    made = outputs(tmp_path)
    row = {c.name: "x" for c in AGREEMENT.columns if c.dtype == "string"}
    row |= {"structure_name_tg263": "Heart", "structure_id_a": "a", "structure_id_b": "b"}
    row |= {"status": "ok" if dice else "empty", "dice": dice, "hd95_mm": 3.0 if dice else None}
    AGREEMENT.write(AGREEMENT.frame([row]), made.folders["structures"] / "agreement.parquet")
    found = only(run_checks(made, QcConfig(agreement_dice_minimum=0.7)), "agreement")
    assert found["a and b, both Heart"].status == status


@pytest.mark.parametrize(
    ("sides", "status", "measured"),
    [
        (("ok", "swapped", None), "fail", "1 of 2 on their side; not: structure 1"),
        (("ok", "ok", "swapped"), "warn", "2 of 3 on their side; not: structure 2"),
        (("ok", "ok", None), "pass", "2 of 2 on their side"),
        ((None, None, None), "not_evaluated", "no segmented structure with a side"),
    ],
)
def test_a_mirrored_map_fails_one_stray_structure_warns_and_phantom_networks_say_so(tmp_path, sides, status, measured):
    made = outputs(tmp_path)
    base = {c.name: "x" for c in SEGMENTATION.columns if c.dtype == "string"}
    base |= {"structure_set_id": "net", "touches_edge": None, "status": "ok", "phantom_weights": True}
    rows = [
        base | {"structure_id": f"{n}", "structure_name": f"structure {n}", "label": n + 1, "laterality": side}
        for n, side in enumerate(sides)
    ]
    SEGMENTATION.write(SEGMENTATION.frame(rows), made.folders["segmentation"] / "segmentation.parquet")
    found = run_checks(made, QcConfig())
    (side,) = only(found, "laterality").values()
    assert (side.status, side.measured) == (status, measured)
    assert "phantom" in only(found, "networks")["net"].measured


def test_the_verdict_is_the_worst_and_the_page_begins_with_it(tmp_path):
    rows = run_checks(outputs(tmp_path, findings=[finding("SS_SLICE_GAP", "x", "1 gap")]), QcConfig())
    assert worst(rows) == "warn"
    assert worst_first(rows)[0].object == "x"
    assert worst([replace(r, status="not_evaluated") for r in rows]) == "not_evaluated"


# whole courses


def test_a_dose_that_misses_its_prescription_is_flagged_once_for_its_target(tmp_path):
    patient = small_patient()
    patient.rtplan.DoseReferenceSequence[0].TargetPrescriptionDose = 70.0
    chain = run_chain(patient.save(tmp_path / "in"), tmp_path / "out", without_networks(), stages=STAGES)
    rows = [r for r in chain.rows("qc", "qc") if r["check"] == "dose_level" and r["status"] == "warn"]
    assert [r["codes"] for r in rows] == ["COURSE_IMPLAUSIBLE"] * len(rows)
    (target,) = [r for r in rows if "ROI" in r["object"]]
    d95 = next(m["d95_gy"] for m in chain.rows("dvh", "dvh_metrics") if m["rx_gy"] == 70.0)
    assert target["measured"] == f"D95 {d95:.2f} Gy, prescription 70.00 Gy"  # measure and finding are one row
    assert target["findings_w"] == 1


def test_a_target_outside_the_dose_grid_fails_and_an_organ_warns(tmp_path):
    patient = small_patient(dose_margin_mm=-14.0)
    chain = run_chain(patient.save(tmp_path / "in"), tmp_path / "out", without_networks(), stages=STAGES)
    rows = {r["object"]: r for r in chain.rows("qc", "qc") if r["check"] == "dose_coverage"}
    low = [m for m in chain.rows("dvh", "dvh_metrics") if m["dose_coverage_pct"] < 99.5]
    assert low
    for metric in low:
        row = next(r for name, r in rows.items() if f"'{metric['structure_name']}'" in name)
        assert row["status"] == ("fail" if metric["roi_type"] in ("PTV", "GTV") else "warn")
        assert row["codes"] == "DOSE_GRID_COVERAGE"


def test_findings_of_a_stage_that_failed_are_read_too(tmp_path, clean):
    """A data error leaves a folder that may not be used, but its record says what was wrong."""
    course_id = clean.course.course_id
    failed = tmp_path / "prepare_rt"
    failed.mkdir()
    error = record("prepare_rt", "data_error", "cannot be used", [finding("DOSE_UNITS", "rd-01", "RELATIVE")])
    (failed / "stage.json").write_text(error.model_dump_json())
    request = StageRequest(
        "qc", COHORT, tmp_path / "out", without_networks(), "key", course_id=course_id,
        inputs={"organize": clean.root / "organize", "prepare_images": clean.folder(course_id, "prepare_images"),
                "prepare_rt": failed},
    )  # fmt: skip
    assert run_stage(request) is ExitCode.DONE
    rows = pd.read_parquet(tmp_path / "out" / "qc.parquet").set_index(["check", "object"])
    assert rows.loc[("dose_objects", "rd-01"), "status"] == "fail"
    assert rows.loc[("stages", "stage prepare_rt"), "measured"] == "data error (cannot be used)"
    assert "DOSE_UNITS" in (tmp_path / "out" / "course.html").read_text()


def test_what_hangs_on_other_courses_does_not_enter(tmp_path, clean):
    """Another patient's export must not change this course's table: its key would not."""
    organize = tmp_path / "organize"
    organize.mkdir()
    CohortManifest.load(clean.root / "organize").save(organize)
    course_id = clean.course.course_id
    found = [finding(code, "course", "x", course_id=course_id) for code in (*sorted(ABOUT_OTHER_COURSES), "LINK_WEAK")]
    (organize / "stage.json").write_text(record("organize", findings=found).model_dump_json())
    request = StageRequest(
        "qc", COHORT, tmp_path / "out", without_networks(), "key", course_id=course_id, inputs={"organize": organize}
    )
    assert run_stage(request) is ExitCode.DONE
    codes = set(";".join(pd.read_parquet(tmp_path / "out" / "qc.parquet")["codes"].dropna()).split(";"))
    assert codes == {"LINK_WEAK"}

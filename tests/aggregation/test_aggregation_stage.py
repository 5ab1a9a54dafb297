"""The whole stage on a fabricated store: every course a row, only this run's outputs, nothing lost in silence."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from rtpipeline import __version__
from rtpipeline.aggregation.stage import run
from rtpipeline.aggregation.summary import summarise
from rtpipeline.config import parse_config
from rtpipeline.contracts.findings import finding
from rtpipeline.contracts.tables import FINDINGS, TABLES
from rtpipeline.errors import ExitCode, UsageError
from rtpipeline.execution.context import StageContext
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from tests.aggregation.fabricate import (
    COHORT,
    ORGANIZE_KEY,
    RUN_ID,
    FabricatedCourse,
    fabricate,
    key_of,
    standard_courses,
    write_stage,
)

EXPECTED_STATUS = {
    "p0000000001-c01": "ok",
    "p0000000002-c01": "failed",
    "p0000000003-c01": "excluded",
    "p0000000004-c01": "missing",
    "p0000000005-c01": "ok",
    "p0000000005-c02": "partial",
}


def table(results: Path, name: str) -> pd.DataFrame:
    return pq.read_table(results / f"{name}.parquet").to_pandas()


def test_every_course_of_the_manifest_is_a_row_with_its_status(results):
    courses = table(results, "courses")
    assert dict(zip(courses["course_id"], courses["course_status"], strict=True)) == EXPECTED_STATUS


def test_every_declared_table_exists_with_every_declared_column(results):
    for name, declared in TABLES.items():
        assert {c.name for c in declared.columns} <= set(pq.read_schema(results / f"{name}.parquet").names), name


def test_emitted_columns_are_declared_typed_and_keys_unique(results):
    for name, declared in TABLES.items():
        schema = pq.read_schema(results / f"{name}.parquet")
        assert schema.remove_metadata().equals(declared.schema(schema.names).remove_metadata()), name
        declared.check(declared.read(results / f"{name}.parquet"))


def test_rows_stand_in_the_order_of_their_key(results):
    for name, declared in TABLES.items():
        if declared.key:
            keys = table(results, name)[list(declared.key)]
            assert keys.equals(keys.sort_values(list(declared.key), ignore_index=True)), name


def test_courses_without_a_result_have_null_counts_not_zero(results):
    courses = table(results, "courses").set_index("course_id")
    assert pd.isna(courses.loc["p0000000002-c01", "dvh_rows"])
    assert pd.isna(courses.loc["p0000000004-c01", "structures"])
    assert courses.loc["p0000000005-c01", "dvh_rows"] == 0
    assert (
        courses.loc["p0000000001-c01", "dvh_rows"]
        == (table(results, "dvh_metrics")["course_id"] == "p0000000001-c01").sum()
    )


def test_findings_of_organize_stages_and_runner_are_all_there(results):
    codes = Counter(table(results, "findings")["code"])
    assert codes == {
        "FILE_NOT_DICOM": 1,
        "PATIENT_MISMATCH": 1,
        "DOSE_GRID_COVERAGE": 1,
        "SS_ROI_EMPTY": 1,
        "RES_MEMORY": 1,
    }


def test_counts_of_findings_in_courses_are_those_of_the_findings_table(results):
    counted = table(results, "findings").dropna(subset="course_id").groupby(["course_id", "severity"]).size()
    for row in table(results, "courses").to_dict("records"):
        for severity in "EWI":
            assert row[f"findings_{severity.lower()}"] == counted.get((row["course_id"], severity), 0)


def test_every_plan_is_listed_with_the_key_it_comes_from(results):
    plans = table(results, "plans")
    assert plans["course_id"].tolist() == [c.course_id for c in standard_courses() if c.kind == "planned"]
    assert set(plans["stage_key"]) == {ORGANIZE_KEY}  # no plans.json in the fabricated outputs


def test_no_plan_of_an_excluded_course_is_used(results):
    plans = table(results, "plans").set_index("course_id")
    assert not plans.loc["p0000000003-c01", "selected"]
    assert plans.loc["p0000000003-c01", "reason"] == "course excluded"
    assert table(results, "courses").set_index("course_id").loc["p0000000003-c01", "plans_selected"] == 0


def test_the_summary_counts_what_the_tables_hold(results):
    summary = json.loads(json.dumps(summarise(results)))
    assert summary["courses"] == len(EXPECTED_STATUS)
    assert summary["course_status"] == dict(sorted(Counter(EXPECTED_STATUS.values()).items()))
    assert summary["failed_courses"] == ["p0000000002-c01"]
    assert summary["rows"]["structures"] == len(table(results, "structures"))
    assert sum(summary["findings"].values()) == len(table(results, "findings"))


def test_outputs_of_other_keys_do_not_enter(tmp_path):
    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01")])
    assert context.store is not None
    stale = context.store / "courses" / "p0000000001-c01" / "dvh" / ("f" * 12 + "-" + "f" * 12)
    write_stage(stale, "dvh", stale.name, FabricatedCourse("p0000000001-c01"), "done")
    run(context)
    assert set(table(context.out, "dvh_metrics")["stage_key"]) == {key_of("dvh", "p0000000001-c01")}


@pytest.mark.parametrize("ended", ["failed", "omitted", "timeout"])
def test_an_older_output_does_not_stand_in_for_a_stage_that_failed_in_this_run(tmp_path, ended):
    """Under an unchanged key, when an upstream's output has changed: its numbers would be those of other inputs."""
    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01")])
    assert context.store is not None
    path = context.store / "runs" / RUN_ID / "plan.json"
    plan = json.loads(path.read_text())
    plan["courses"][0]["stages"]["dvh"]["status"] = ended
    path.write_text(json.dumps(plan))
    run(context)
    assert len(table(context.out, "dvh_metrics")) == 0
    assert table(context.out, "courses")["status_dvh"].tolist() == [ended]


def test_an_output_whose_record_has_another_key_is_missing(tmp_path):
    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01")])
    assert context.store is not None
    path = context.store / "courses/p0000000001-c01/dvh" / key_of("dvh", "p0000000001-c01") / "stage.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "stage_key": "another"}))
    run(context)
    assert len(table(context.out, "dvh_curves")) == 0
    assert table(context.out, "courses")["status_dvh"].tolist() == ["missing"]


def test_a_course_that_the_plan_lacks_is_a_row_of_missing_stages(tmp_path):
    context = fabricate(tmp_path)
    assert context.store is not None
    path = context.store / "runs" / RUN_ID / "plan.json"
    plan = json.loads(path.read_text())
    plan["courses"] = [c for c in plan["courses"] if c["course_id"] != "p0000000001-c01"]
    path.write_text(json.dumps(plan))
    run(context)
    courses = table(context.out, "courses").set_index("course_id")
    assert len(courses) == len(EXPECTED_STATUS)
    assert courses.loc["p0000000001-c01", "course_status"] == "missing"


def test_a_table_that_cannot_be_read_costs_its_rows_and_gives_a_finding(tmp_path):
    context = fabricate(tmp_path)
    assert context.store is not None
    key = key_of("structures", "p0000000001-c01")
    (context.store / "courses/p0000000001-c01/structures" / key / "structures.parquet").write_bytes(b"not parquet")
    run(context)
    assert "p0000000001-c01" not in set(table(context.out, "structures")["course_id"])
    faults = table(context.out, "findings").query("code == 'STAGE_FAULT'")
    assert faults["course_id"].tolist() == ["p0000000001-c01"]
    assert faults["object"].tolist() == ["table structures of p0000000001-c01"]


def test_facts_that_cannot_be_read_give_a_finding_and_null(tmp_path):
    def cut(folder: Path, course: FabricatedCourse) -> None:
        (folder / "plans.json").write_text('[{"plan_id": "pl')

    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01")], prepare_rt=cut)
    run(context)
    assert table(context.out, "findings").query("code == 'STAGE_FAULT'")["object"].tolist() == [
        "plans.json of prepare_rt"
    ]
    assert table(context.out, "plans")["technique"].isna().all()


def prepared(folder: Path, course: FabricatedCourse) -> None:
    plan = {
        "plan_id": "plan-01", "techniques": ["arc"], "energies": [6.0, 10.0], "radiation_types": ["PHOTON"],
        "fraction_groups": [{"fraction_group": 1}], "fractions_planned": 25, "beams": 2, "monitor_units": 440.5,
        "plan_rx_gy": 50.0, "plan_rx_levels_gy": [50.0], "beam_dose_total_gy": 49.9,
    }  # fmt: skip
    (folder / "plans.json").write_text(json.dumps([plan]))
    dose = {"dose_id": "plan-01", "plan_ids": ["plan-01"], "whole_course": True}
    (folder / "doses.json").write_text(json.dumps([dose]))
    (folder / "course_total.json").write_text(json.dumps({"status": "single_plan", "weights": {}}))
    rows = [
        {"plan_id": "plan-01", "fraction_group": 1, "record_status": "planned", "fractions_planned": 25},
        *({"plan_id": "plan-01", "record_id": f"rec-{n}", "fraction_group": 1, "fraction_number": number,
           "record_status": status} for n, (number, status) in enumerate([(1, "normal"), (2, "normal"), (2, "normal"),
                                                                          (3, "operator")])),
    ]  # fmt: skip
    common = {"cohort": COHORT, "patient_id": course.patient_id, "course_id": course.course_id, "stage_key": "k"}
    declared = TABLES["fractions"]
    frame = declared.frame({**common, "rtpipeline_version": __version__, **row} for row in rows)
    declared.write(frame, folder / "fractions.parquet")


def test_facts_of_plans_doses_and_records_reach_the_course(tmp_path):
    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01")], prepare_rt=prepared)
    run(context)
    course = table(context.out, "courses").iloc[0]
    plan = table(context.out, "plans").iloc[0]
    assert (course["technique"], course["energies"], plan["radiation_types"]) == ("arc", "6+10", "PHOTON")
    assert (course["fractions_planned"], course["beams"], course["monitor_units"]) == (25, 2, 440.5)
    assert (course["plan_rx_gy"], course["plan_rx_levels_gy"], course["plan_rx_total_gy"]) == (50.0, "50", 50.0)
    assert course["course_total_status"] == "single_plan"
    assert course["doses_used"] == 1
    assert course["fractions_delivered"] == 2  # the second was recorded twice, the third not completed
    assert plan["stage_key"] == key_of("prepare_rt", "p0000000001-c01")


def test_tables_are_the_same_for_any_number_of_threads_and_order_of_courses(tmp_path):
    first = fabricate(tmp_path / "a")
    run(with_config(first, {"aggregation": {"threads": 1}}))
    second = fabricate(tmp_path / "b", list(reversed(standard_courses())))
    run(with_config(second, {"aggregation": {"threads": 6}}))
    for name in TABLES:
        assert (first.out / f"{name}.parquet").read_bytes() == (second.out / f"{name}.parquet").read_bytes(), name
        assert (first.out / "csv" / f"{name}.csv").exists() == (second.out / "csv" / f"{name}.csv").exists()


def with_config(context: StageContext, changes: dict) -> StageContext:
    config = parse_config(changes)
    return StageContext(**{**vars(context), "config": config, "findings": []})


def test_a_cohort_without_courses_still_has_tables_and_a_report(tmp_path):
    context = fabricate(tmp_path, [])
    outcome = run(context)
    assert outcome.status == "done"
    assert outcome.counts["courses"] == 0
    assert "No course" in (context.out / "report/index.html").read_text()


def test_nothing_of_the_machine_or_its_paths_is_in_the_results(tmp_path):
    context = fabricate(tmp_path)
    assert context.store is not None
    path = context.store / "runs" / RUN_ID / "plan.json"
    plan = json.loads(path.read_text())
    plan["config"]["radiomics"]["params_file"] = "params.yaml"
    path.write_text(json.dumps(plan))
    run(context)
    for file in context.out.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert b"workstation-of-someone" not in content, file
            assert str(tmp_path).encode() not in content, file


def test_a_plan_without_a_configuration_takes_the_one_of_the_stage_without_folders(tmp_path):
    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01")])
    assert context.store is not None
    path = context.store / "runs" / RUN_ID / "plan.json"
    plan = json.loads(path.read_text())
    path.write_text(json.dumps({**plan, "config": {}}))
    run(with_config(context, {"radiomics": {"params_file": "/home/someone/params.yaml"}, "seed": 77}))
    text = (context.out / "config.yaml").read_text()
    assert "someone" not in text
    assert "params_file: params.yaml" in text
    assert "seed: 77" in text


def test_a_run_that_does_not_exist_is_a_usage_error(tmp_path):
    context = fabricate(tmp_path)
    shutil.rmtree(tmp_path / COHORT / "runs")
    with pytest.raises(UsageError, match="has no plan"):
        run(context)


def test_the_stage_entry_keeps_the_findings_of_the_cohort(tmp_path):
    """The entry writes a stage's own findings to findings.parquet; aggregation's file of that name is the cohort's."""
    context = fabricate(tmp_path)
    request = StageRequest(
        stage="aggregation",
        cohort=COHORT,
        out=tmp_path / COHORT / "results" / "entry",
        config=context.config,
        inputs=context.inputs,
        store=context.store,
        run_id=RUN_ID,
    )
    assert run_stage(request) == ExitCode.DONE
    assert len(FINDINGS.read(request.out / "findings.parquet")) == 5


def test_a_finding_of_the_runner_without_a_stage_is_tied_to_its_course(tmp_path):
    found = finding("RES_TIMEOUT", "stage dvh", "3600 s")
    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01", statuses={"dvh": "failed"}, run_finding=found)])
    run(context)
    row = table(context.out, "findings").query("code == 'RES_TIMEOUT'").iloc[0]
    assert (row["course_id"], row["patient_id"], row["stage"]) == ("p0000000001-c01", "p0000000001", "run")

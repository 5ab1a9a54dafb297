"""From a folder of files to tables, and what happens when the same is asked for again."""

from __future__ import annotations

import json

import pytest
import yaml

from rtpipeline.config import load_config
from tests.workflows.conftest import Scene
from tests.workflows.simulated_cohort import course


def answer(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_new_cohort_goes_as_one_workflow_and_ends_with_its_tables(scene: Scene, capsys):
    assert scene.submit("--wait", "--json") == 0
    found = answer(capsys)
    assert scene.created == ["cohort"]
    assert found["status"] == "done"
    assert found["courses"] == {"total": 3, "done": 3, "failed": 0, "not_reached": 0, "incomplete": 0}
    assert found["results"] == f"{scene.store.url}/toys/results/{found['run_id']}"


def test_the_workflow_is_data_only_and_says_whose_it_is(scene: Scene):
    scene.submit()
    (body,) = scene.api.created
    assert set(body["spec"]) == {"workflowTemplateRef", "arguments"}
    given = {p["name"]: p["value"] for p in body["spec"]["arguments"]["parameters"]}
    assert given["cohort"] == "toys"
    assert given["store"] == scene.store.url
    assert given["prefix"] == scene.store.prefix
    assert given["source"].startswith(f"{scene.store.url}/toys/private/sources/")
    labels = body["metadata"]["labels"]
    assert labels["rtpipeline/cohort"] == "toys"
    assert labels["rtpipeline/run"] == given["run"]
    assert f"toys/private/configurations/{given['configuration']}.tgz" in scene.bucket_keys()


def test_a_second_submission_of_what_is_done_starts_no_pod(scene: Scene, capsys):
    scene.submit("--wait")
    scene.forget()
    assert scene.submit("--wait") == 0
    assert scene.created == []
    assert "Nothing to do" in capsys.readouterr().out


def test_another_number_of_workers_starts_nothing(scene: Scene):
    scene.submit("--wait")
    scene.forget()
    scene.config.write_text("workers: 1\nsegmentation: {workers: 3}\n")
    assert scene.submit("--wait") == 0
    assert scene.created == []


def test_a_changed_setting_runs_its_stage_and_what_hangs_on_it(scene: Scene):
    scene.submit("--wait")
    scene.forget()
    scene.config.write_text("dvh: {coverage_limit_pct: 98}\n")
    scene.cohort.config = load_config(scene.config)
    assert scene.submit("--wait") == 0
    assert scene.created == ["courses", "aggregate"]
    assert scene.controller.pods == {"dvh": 3, "qc": 3, "aggregation": 1}


def test_a_late_record_runs_no_network(scene: Scene):
    scene.submit("--wait")
    scene.forget()
    (scene.export / "late.dcm").write_bytes(b"record")
    scene.courses[0] = course(0, "late")
    assert scene.submit("--wait") == 0
    assert scene.created == ["cohort"]
    pods = dict(scene.controller.pods)
    assert {"segmentation", "custom_models", "prepare_images"}.isdisjoint(pods)
    assert pods["organize"] == pods["prepare_rt"] == pods["aggregation"] == 1


def test_force_computes_again_with_what_hangs_on_it(scene: Scene):
    scene.submit("--wait")
    scene.forget()
    assert scene.submit("--wait", "--force", "radiomics") == 0
    assert scene.controller.pods == {"radiomics": 3, "qc": 3, "aggregation": 1}
    scene.forget()
    assert scene.submit("--wait", "--force", "radiomics") == 0
    assert scene.controller.pods == {"radiomics": 3, "qc": 3, "aggregation": 1}
    names = [name for name in scene.api.workflows if "-r1" in name]
    assert len(names) == 2  # the same work again has the same name and the number of the attempt


def test_only_and_courses_and_limit_take_a_part_and_what_the_tables_lack_is_said(scene: Scene, capsys):
    assert scene.submit("--wait", "--limit", "2", "--only", "prepare_rt") == 0
    assert scene.created == ["cohort", "courses", "aggregate"]
    assert scene.api.created[0]["spec"]["entrypoint"] == "organize"
    assert scene.controller.pods == {"organize": 1, "prepare_rt": 2, "aggregation": 1}
    said = capsys.readouterr().out
    assert "3 courses, 0 failed, 3 incomplete" in said
    assert "lack what was not asked for and has not run before: prepare_images of 3 courses" in said
    scene.forget()
    assert scene.submit("--wait", "--courses", scene.courses[0].course_id) == 0
    assert scene.controller.pods["segmentation"] == 1
    assert "3 courses, 0 failed, 2 incomplete" in capsys.readouterr().out
    assert scene.submit("--wait") == 0
    said = capsys.readouterr().out
    assert "3 courses, 0 failed, " in said and "incomplete" not in said and "lack" not in said


def test_a_failed_course_is_printed_with_its_reason_and_gives_exit_code_1(scene: Scene, capsys):
    bad = scene.courses[1].course_id
    scene.cohort.statuses[bad, "prepare_rt"] = "data_error"
    assert scene.submit("--wait") == 1
    said = capsys.readouterr()
    assert f"{bad} prepare_rt data_error: made data_error" in said.out
    assert f"{bad} prepare_rt failed: main: Error (exit code 3)" in said.err
    assert "3 courses, 1 failed" in said.out
    assert "Results:" in said.out


def test_data_errors_are_not_computed_again_and_still_counted(scene: Scene):
    scene.cohort.statuses[scene.courses[1].course_id, "prepare_rt"] = "data_error"
    scene.submit("--wait")
    scene.forget()
    assert scene.submit("--wait") == 1
    assert scene.submit() == 0
    assert scene.created == []


def test_what_failed_otherwise_is_tried_again_but_not_with_incremental(scene: Scene, capsys):
    bad = scene.courses[2].course_id
    scene.cohort.statuses[bad, "dvh"] = "failed"
    assert scene.submit("--wait") == 1
    scene.forget()
    assert scene.submit("--wait", "--incremental") == 1
    assert scene.created == []
    assert "not tried again with --incremental" in capsys.readouterr().out
    del scene.cohort.statuses[bad, "dvh"]
    assert scene.submit("--wait") == 0
    assert scene.controller.pods == {"dvh": 1, "qc": 1, "aggregation": 1}


def test_incremental_submits_new_data(scene: Scene):
    scene.submit("--wait", "--incremental")
    scene.forget()
    (scene.export / "new.dcm").write_bytes(b"new")
    scene.courses.append(course(9))
    assert scene.submit("--wait", "--incremental") == 0
    assert scene.created == ["cohort"]
    assert scene.controller.pods["segmentation"] == 1


def test_organize_without_a_course_list_is_said_and_not_repeated_with_incremental(scene: Scene, capsys):
    scene.controller.organize_status = "data_error"
    assert scene.submit("--wait") == 1
    assert "organize failed" in capsys.readouterr().out
    scene.forget()
    assert scene.submit("--wait", "--incremental") == 1
    assert scene.created == []


def test_what_is_on_its_way_is_followed_and_not_submitted_again(scene: Scene, capsys):
    scene.controller.looks = 10**6
    assert scene.submit() == 0
    scene.forget()
    assert scene.submit() == 0
    assert scene.created == []
    assert "Already submitted" in capsys.readouterr().out
    scene.controller.looks = 0
    assert scene.submit("--wait", "--json") == 0
    assert scene.created == []
    assert answer(capsys)["courses"]["total"] == 3


def test_a_cohort_that_is_worked_on_for_something_else_is_left_alone(scene: Scene, capsys):
    scene.controller.looks = 10**6
    scene.submit()
    scene.forget()
    assert scene.submit("--force", "dvh") == 2
    assert "cohort toys is being worked on by workflow rt-toys-" in capsys.readouterr().err
    assert scene.created == []


def test_without_wait_one_workflow_does_everything(scene: Scene):
    scene.submit("--wait")
    scene.forget()
    scene.config.write_text("dvh: {coverage_limit_pct: 98}\n")
    scene.cohort.config = load_config(scene.config)
    assert scene.submit() == 0
    assert scene.created == ["cohort"]


def test_a_dry_run_prints_the_objects_and_touches_nothing(scene: Scene, capsys):
    before = scene.bucket_keys()
    assert scene.submit("--dry-run") == 0
    said = capsys.readouterr()
    (document,) = yaml.safe_load_all(said.out)
    assert document["kind"] == "Workflow"
    assert document["metadata"]["namespace"] == "rt"
    assert "Nothing was created or uploaded" in said.err
    assert scene.bucket_keys() == before
    assert scene.created == []
    planned = document["metadata"]["name"], document["spec"]["arguments"]
    scene.submit()
    assert scene.api.created[0]["metadata"]["name"] == planned[0]
    source = [p for p in scene.api.created[0]["spec"]["arguments"]["parameters"] if p["name"] == "source"]
    assert source == [p for p in planned[1]["parameters"] if p["name"] == "source"]


def test_a_dry_run_after_a_change_prints_shards_and_aggregation_only_when_waiting(scene: Scene, capsys):
    scene.submit("--wait")
    scene.config.write_text("dvh: {coverage_limit_pct: 98}\n")
    scene.cohort.config = load_config(scene.config)
    before = scene.bucket_keys()
    capsys.readouterr()
    scene.forget()
    assert scene.submit("--dry-run", "--wait", "--force", "qc") == 0
    kinds = [d["spec"]["workflowTemplateRef"]["name"] for d in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds == ["rtpipeline-courses", "rtpipeline-aggregate"]
    assert scene.bucket_keys() == before
    assert scene.created == []


def test_a_source_in_the_bucket_is_not_copied(scene: Scene):
    scene.store.put("inbox/toys/a.dcm", b"x")
    url = f"{scene.store.url}/inbox/toys"
    assert scene.submit(source=url) == 0
    given = {p["name"]: p["value"] for p in scene.api.created[0]["spec"]["arguments"]["parameters"]}
    assert given["source"] == url
    assert not [key for key in scene.bucket_keys() if "/private/objects/" in key]


def test_aggregation_alone_when_only_the_tables_are_missing(scene: Scene):
    scene.submit("--wait")
    scene.store.delete(["toys/results/latest.json"])
    scene.forget()
    assert scene.submit("--wait") == 0
    assert scene.created == ["aggregate"]
    assert scene.controller.pods == {"aggregation": 1}


def test_aggregation_that_is_forced_runs_though_its_tables_are_current(scene: Scene):
    scene.submit("--wait")
    scene.forget()
    assert scene.submit("--wait", "--force", "aggregation") == 0
    assert scene.created == ["aggregate"]
    assert scene.controller.pods == {"aggregation": 1}


def test_results_of_which_a_part_is_missing_are_written_again(scene: Scene, capsys):
    """Argo uploads the pointer to the newest results also when a table before it has failed."""
    scene.submit("--wait", "--json")
    run_id = answer(capsys)["run_id"]
    scene.store.delete([f"toys/results/{run_id}/courses.parquet"])
    scene.forget()
    assert scene.submit("--wait") == 0
    assert scene.created == ["aggregate"]


@pytest.mark.parametrize("name", ["index.parquet", "identity.parquet", "registry.json"])
def test_private_files_that_are_half_replaced_are_read_again(scene: Scene, name: str):
    scene.submit("--wait")
    scene.store.delete([f"toys/private/{name}"])
    scene.forget()
    assert scene.submit("--wait") == 0
    assert scene.created == ["cohort"]


@pytest.mark.parametrize("ends", ["done", "failed"])
def test_with_incremental_the_tables_of_other_settings_stay_the_newest(scene: Scene, ends: str, capsys):
    """What looks into an inbox from time to time does not undo what somebody else has asked for since."""
    scene.cohort.statuses[scene.courses[0].course_id, "dvh"] = ends
    scene.submit("--wait")
    capsys.readouterr()
    other = scene.config.with_name("other.yaml")
    other.write_text("radiomics: {min_voxels: 33}\n")
    scene.cohort.config = load_config(other)
    scene.submit("--wait", "--json", config=other)
    newest = scene.store.get("toys/results/latest.json")
    scene.cohort.config = load_config(scene.config)
    scene.forget()
    scene.submit("--wait", "--incremental")
    assert scene.created == []
    assert scene.store.get("toys/results/latest.json") == newest

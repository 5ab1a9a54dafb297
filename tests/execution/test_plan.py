"""What would run and why, and that what runs is what was said."""

from __future__ import annotations

import pytest

from rtpipeline.config import parse_config
from rtpipeline.errors import ConfigError, UsageError
from rtpipeline.execution import reasons
from rtpipeline.execution.cohort_run import RunOptions
from rtpipeline.execution.foresight import foresee
from rtpipeline.stages import STAGES


def options(toys, raw=None, **more):
    return RunOptions(
        inputs=(toys.export,),
        store=toys.folder.store,
        cohort="toys",
        config=parse_config({"workers": 2, **(raw or {})}),
        **more,
    )


def predicted(toys, raw=None, **more) -> dict[str, str]:
    """What would run, by course/stage, and why."""
    seen = foresee(options(toys, raw, **more))
    assert seen.organize_reason is None
    return {f"{p.course_id}/{p.stage}": str(p.reason) for p in seen.predictions}


def of_both(*stages: str) -> set[str]:
    return {f"{c}/{s}" for c in ("p1-c01", "p2-c01") for s in stages}


def test_before_organize_nothing_is_known_of_the_courses(toys):
    seen = foresee(options(toys))
    assert seen.plan is None
    assert str(seen.organize_reason) == "new input"


def test_after_a_run_nothing_would_run(toys):
    toys.run()
    assert predicted(toys) == {}


def test_the_plan_writes_nothing(toys):
    toys.run()
    before = {p: p.stat().st_mtime_ns for p in toys.folder.root.rglob("*")}
    predicted(toys, force=("dvh",))
    assert {p: p.stat().st_mtime_ns for p in toys.folder.root.rglob("*")} == before


def test_a_changed_setting_is_named_with_both_values(toys):
    toys.run()
    changed = {"dvh": {"coverage_limit_pct": 98}}
    seen = predicted(toys, changed)
    assert set(seen) == of_both("dvh", "qc")
    assert seen["p1-c01/dvh"] == "changed setting: dvh.coverage_limit_pct 99.5 -> 98.0"
    assert seen["p1-c01/qc"].startswith("changed setting: of a stage it waits for")
    toys.run(changed)
    assert set(toys.attempts()) == of_both("dvh", "qc")


def test_a_setting_that_changes_no_result_makes_nothing_run(toys):
    toys.run()
    assert predicted(toys, {"workers": 1, "timeouts": {"stage_s": {"dvh": 7}}, "segmentation": {"device": "cpu"}}) == {}


def test_a_late_plan_never_runs_a_network_again(toys):
    toys.run()
    toys.course("1", plan="replanned")
    toys.run()
    expected = {f"p1-c01/{s}" for s in ("prepare_rt", "structures", "dvh", "radiomics", "qc")}
    assert set(toys.attempts()) == expected


def test_new_objects_of_a_known_course_are_a_new_input(toys):
    toys.run()
    toys.course("1", plan="replanned")
    toys.behave(p1__prepare_rt=["kill"] * 3)  # organize has run, the course's stages have not
    toys.run()
    seen = predicted(toys)
    assert seen["p1-c01/structures"] == "new input: the objects of the course have changed"
    assert seen["p1-c01/prepare_rt"].startswith("earlier failure: failed: memory ran out")


def test_a_new_version_of_a_stage_is_named(toys, monkeypatch):
    from dataclasses import replace

    toys.run()
    monkeypatch.setitem(STAGES, "dvh", replace(STAGES["dvh"], version=2))
    seen = predicted(toys)
    assert set(seen) == of_both("dvh", "qc")
    assert seen["p1-c01/dvh"] == "new version: stage 1 -> 2"


def test_a_new_version_of_a_library_is_named(toys, monkeypatch):
    from rtpipeline.store import keys

    toys.run()
    for module in (keys, reasons):
        monkeypatch.setattr(module, "library_version", lambda name: {"numpy": "99"}[name])
    assert predicted(toys)["p1-c01/radiomics"].startswith("new version: numpy 2.")


def test_an_upstream_that_fails_and_then_works_makes_its_dependants_run_again(toys):
    toys.behave(p1__segmentation=["fault"])
    toys.run()
    toys.behave()
    seen = predicted(toys)
    assert seen["p1-c01/segmentation"] == "earlier failure: fault: ValueError in stage segmentation"
    assert seen["p1-c01/structures"] == "changed upstream: segmentation run again"
    toys.run()
    assert set(toys.attempts()) == {f"p1-c01/{s}" for s in ("segmentation", "structures", "dvh", "radiomics", "qc")}
    assert predicted(toys) == {}


def test_dependants_are_kept_when_an_upstream_gives_the_same_again(toys):
    toys.run()
    record = next(toys.folder.root.glob("courses/p1-c01/prepare_rt/*/stage.json"))
    record.unlink()
    seen = predicted(toys)
    assert set(seen) == {f"p1-c01/{s}" for s in ("prepare_rt", "structures", "dvh", "radiomics", "qc")}
    toys.run()
    assert set(toys.attempts()) == {"p1-c01/prepare_rt"}


def test_force_invalidates_the_dependants_too(toys):
    toys.run()
    seen = predicted(toys, force=("structures",))
    assert set(seen) == of_both("structures", "dvh", "radiomics", "qc")
    assert set(seen.values()) == {"forced"}
    toys.run(force=("structures",))
    assert set(toys.attempts()) == set(seen)


def test_forcing_organize_computes_everything_again(toys):
    toys.run()
    toys.run(force=("organize",))
    assert set(toys.attempts(cohort_stages=True)) == of_both(*[s for s in STAGES if STAGES[s].scope == "course"]) | {
        "/organize",
        "/aggregation",
    }


def test_the_force_of_the_configuration_is_a_force_of_the_stage(toys):
    toys.run()
    seen = predicted(toys, {"segmentation": {"force": True}})
    assert set(seen) == of_both("segmentation", "structures", "dvh", "radiomics", "qc")


def test_a_partial_output_is_kept_by_run_and_computed_again_by_retry(toys):
    toys.behave(p1__dvh=["partial"], p2__dvh=["data"])
    assert toys.run().exit_code == 1
    assert toys.run().exit_code == 1
    assert dict(toys.attempts()) == {}
    assert set(predicted(toys, redo=frozenset({"partial", "fault"}))) == {"p1-c01/dvh", "p1-c01/qc"}
    toys.behave()
    assert toys.run(redo=frozenset({"partial", "fault"})).failures[0].course_id == "p2-c01"
    assert set(toys.attempts()) == {"p1-c01/dvh", "p1-c01/qc"}
    assert toys.run(redo=frozenset({"partial", "fault", "data_error"})).exit_code == 0
    assert set(toys.attempts()) == {"p2-c01/dvh", "p2-c01/qc"}


def test_only_a_stage_runs_with_what_it_needs(toys):
    summary = toys.run(only=("dvh",))
    assert toys.stages_run() == {"prepare_images", "prepare_rt", "structures", "dvh"}
    assert toys.statuses(summary, "p1-c01")["radiomics"] == "missing"
    assert summary.exit_code == 0


def test_only_some_courses_run_and_the_others_keep_what_they_have(toys):
    toys.run(courses=("p1-c01",), only=("prepare_rt",))
    assert set(toys.attempts()) == {"p1-c01/prepare_rt"}
    summary = toys.run(courses=("p2-c01",))
    assert {task.split("/")[0] for task in toys.attempts()} == {"p2-c01"}
    assert toys.statuses(summary, "p1-c01")["prepare_rt"] == "done"
    assert toys.statuses(summary, "p1-c01")["dvh"] == "missing"
    assert (summary.courses["done"], summary.courses["incomplete"]) == (1, 1)
    assert summary.left_out["dvh"] == 1 and "prepare_rt" not in summary.left_out
    assert "dvh of 1 course" in summary.text() and "Run without --only" in summary.text()
    assert "incomplete" not in toys.run().text()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"courses": ("p9-c01",)}, "p9-c01, not among the 2 courses"),
        ({"only": ("dhv",)}, "--only names dhv; stages of a course are dvh, "),
        ({"force": ("dhv",)}, "--force dhv: no stage is called so"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_runs(toys, wrong, message):
    toys.run()
    with pytest.raises(UsageError, match=message):
        toys.run(**wrong)
    assert dict(toys.attempts(cohort_stages=True)) == {}


def test_organize_runs_again_when_the_manifest_of_the_user_changes(toys, tmp_path):
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("patient_id,rx_gy\n")
    toys.run({"manifest": str(manifest)})
    toys.run({"manifest": str(manifest)})
    assert "/organize" not in toys.attempts(cohort_stages=True)
    manifest.write_text("patient_id,rx_gy\np1,60\n")
    toys.run({"manifest": str(manifest)})
    assert toys.attempts(cohort_stages=True)["/organize"] == 1


def test_organize_runs_again_when_the_private_index_belongs_to_another_export(toys):
    toys.run()
    (toys.export / "3").mkdir()
    toys.course("3")
    toys.run()
    for file in (toys.export / "3").iterdir():
        file.unlink()
    (toys.export / "3").rmdir()
    toys.run()  # its key exists since the first run, but the index is that of the second
    assert toys.attempts(cohort_stages=True)["/organize"] == 1


def test_the_largest_course_comes_first(toys):
    toys.course("3", image="a much larger image " * 10)
    toys.run({"workers": 1})
    assert next(e["task"] for e in toys.trace() if e["task"] != "/organize").startswith("p3-c01/")


def test_a_store_inside_the_export_is_refused(toys):
    with pytest.raises(UsageError, match="lies inside"):
        foresee(
            RunOptions(inputs=(toys.home,), store=toys.folder.store, cohort="toys", config=parse_config({"workers": 2}))
        )


def test_a_second_run_of_the_same_cohort_is_refused(toys):
    with toys.folder.lock(), pytest.raises(UsageError, match="in use by another run"):
        toys.run()


def test_another_secret_than_the_cohorts_is_refused(toys, tmp_path):
    toys.run()
    other = tmp_path / "other"
    other.write_text("x" * 32)
    with pytest.raises(ConfigError, match="differs from the secret"):
        toys.run(secret_file=other)


def test_an_export_without_a_course_ends_with_the_data_code(toys):
    for file in toys.export.rglob("*.txt"):
        file.unlink()
    for folder in toys.export.iterdir():
        folder.rmdir()
    summary = toys.run()
    assert (summary.exit_code, summary.courses["total"]) == (3, 0)
    assert "no course" in summary.message


def test_when_organize_fails_there_is_a_reason_and_no_tables(toys):
    toys.behave(**{})
    (toys.trace_home / "behaviour.json").write_text('{"/organize": ["fault"]}')
    summary = toys.run()
    assert (summary.exit_code, summary.results) == (70, None)
    assert summary.failures[0].reason == "ValueError in stage organize"


def test_when_aggregation_fails_the_latest_tables_stay(toys):
    first = toys.run()
    (toys.trace_home / "behaviour.json").write_text('{"/aggregation": ["fault"]}')
    second = toys.run()
    assert second.exit_code == 70
    latest = toys.folder.results / "latest"
    assert latest.is_symlink()
    assert latest.resolve().name == first.run_id

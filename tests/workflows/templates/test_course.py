"""The DAG of a course: who waits for whom, what is left out, and which keys it works with."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest

from rtpipeline.stages import COURSE_STAGES, STAGES
from rtpipeline.store.keys import course_stage_key, stage_path
from tests.workflows.templates.argo_model import filled, run_dag

SETTINGS = {name: f"{number:012x}" for number, name in enumerate(STAGES, start=1)}
COURSE = SimpleNamespace(course_id="p0123456789-c01", image_digest="aaaaaaaaaaaa", course_digest="bbbbbbbbbbbb")
EVERYTHING = "1" * len(COURSE_STAGES)


def task(stage: str) -> str:
    return stage.replace("_", "-")


def names(mask: str) -> dict[str, Any]:
    item = f"{COURSE.course_id}:{COURSE.image_digest}:{COURSE.course_digest}:{mask}"
    return {
        "inputs.parameters.work_item": item,
        "inputs.parameters.settings": json.dumps(SETTINGS, separators=(",", ":")),
        "inputs.parameters.organize_key": "cccccccccccc-dddddddddddd",
    }


@pytest.fixture(scope="module")
def course(templates: dict[str, dict[str, Any]]) -> dict[str, Any]:
    dag: dict[str, Any] = templates["rtpipeline-courses"]["course"]["dag"]
    return dag


def phases(course: dict[str, Any], mask: str, *ended_badly: str, how: str = "Failed") -> dict[str, str]:
    bad = {task(name) for name in ended_badly}
    found = run_dag(course, names(mask), lambda name: how if name in bad else "Succeeded")
    return {stage: found[task(stage)] for stage in COURSE_STAGES}


def test_every_course_stage_is_a_task_and_nothing_else_is(course: dict[str, Any]) -> None:
    assert [each["name"] for each in course["tasks"]] == [task(name) for name in COURSE_STAGES]


def test_all_stages_run_when_all_are_missing(course: dict[str, Any]) -> None:
    assert set(phases(course, EVERYTHING).values()) == {"Succeeded"}


def test_only_the_stages_of_the_mask_run_whatever_is_there_already(course: dict[str, Any]) -> None:
    for wanted in (c for size in range(3) for c in itertools.combinations(COURSE_STAGES, size)):
        mask = "".join("1" if name in wanted else "0" for name in COURSE_STAGES)
        assert phases(course, mask) == {n: "Succeeded" if n in wanted else "Skipped" for n in COURSE_STAGES}


@pytest.mark.parametrize("how", ["Failed", "Errored"])
@pytest.mark.parametrize("failed", COURSE_STAGES)
def test_a_failure_costs_its_hard_dependants_and_nobody_else(course: dict[str, Any], failed: str, how: str) -> None:
    lost: set[str] = set()
    for name in COURSE_STAGES:
        if name != failed and {failed, *lost} & set(STAGES[name].needs):
            lost.add(name)
    expected = {name: "Omitted" if name in lost else "Succeeded" for name in COURSE_STAGES} | {failed: how}
    assert phases(course, EVERYTHING, failed, how=how) == expected


def test_what_only_uses_an_omitted_stage_still_runs(course: dict[str, Any]) -> None:
    found = phases(course, EVERYTHING, "prepare_rt")

    assert (found["structures"], found["dvh"]) == ("Omitted", "Omitted")
    assert found["qc"] == "Succeeded"


def test_a_refused_segmentation_does_not_cost_the_dvh_of_the_contours(course: dict[str, Any]) -> None:
    found = phases(course, EVERYTHING, "segmentation", "custom_models")

    assert (found["structures"], found["dvh"], found["radiomics"]) == ("Succeeded",) * 3


def test_any_set_of_failures_leaves_a_stage_out_only_for_its_hard_dependencies(course: dict[str, Any]) -> None:
    for size in (2, 3):
        for bad in itertools.combinations(COURSE_STAGES, size):
            found = phases(course, EVERYTHING, *bad)
            for name in COURSE_STAGES:
                is_lacking = any(found[need] not in ("Succeeded", "Skipped") for need in STAGES[name].needs)
                assert (found[name] == "Omitted") == is_lacking, (bad, name)


def test_the_course_is_red_when_any_of_its_stages_is(course: dict[str, Any]) -> None:
    """Argo looks at the targets of a DAG; left alone it takes the leaves, here the last check, which always runs."""
    assert course["target"].split() == [task(name) for name in COURSE_STAGES]


def test_keys_are_those_of_the_store(course: dict[str, Any]) -> None:
    for each in course["tasks"]:
        stage = STAGES[each["template"].replace("-", "_")]
        given = {p["name"]: filled(p["value"], names(EVERYTHING)) for p in each["arguments"]["parameters"]}

        assert given["course"] == COURSE.course_id
        assert given["key"] == course_stage_key(stage.name, COURSE, SETTINGS[stage.name])  # type: ignore[arg-type]
        for up in stage.upstream:
            assert given[f"{up}_key"] == course_stage_key(up, COURSE, SETTINGS[up])  # type: ignore[arg-type]


def test_artifacts_lie_where_the_store_puts_them(stage_templates: dict[str, dict[str, Any]]) -> None:
    for name in COURSE_STAGES:
        template = stage_templates[name]
        given = {
            "workflow.parameters.prefix": "some/where/",
            "workflow.parameters.cohort": "prostate",
            "workflow.parameters.configuration": "default",
            "inputs.parameters.course": COURSE.course_id,
            "inputs.parameters.key": "k-own",
            "inputs.parameters.organize_key": "k-organize",
            **{f"inputs.parameters.{up}_key": f"k-{up}" for up in STAGES[name].upstream},
        }
        ins = {a["path"]: filled(a["s3"]["key"], given) for a in template["inputs"]["artifacts"]}
        outs = [(a["path"], filled(a["s3"]["key"], given)) for a in template["outputs"]["artifacts"]]

        own = f"some/where/{stage_path('prostate', name, 'k-own', COURSE.course_id)}"
        assert ins.pop("/work/in/config.tgz") == "some/where/prostate/private/configurations/default.tgz"
        assert ins.pop("/work/in/organize") == "some/where/prostate/organize/k-organize"
        assert ins.pop("/work/in/previous") == own
        assert ins == {
            f"/work/in/{up}": f"some/where/{stage_path('prostate', up, f'k-{up}', COURSE.course_id)}"
            for up in STAGES[name].upstream
        }
        files = ("data.tgz", "tables.tgz", "stage.json")
        assert outs == [(f"/work/out/{file}", f"{own}/{file}") for file in files], "the record goes last"


def test_a_shard_sends_each_item_through_the_course_with_the_same_settings(templates: dict[str, Any]) -> None:
    shard = templates["rtpipeline-courses"]["shard"]
    [only] = shard["dag"]["tasks"]

    assert only["withParam"] == "{{workflow.parameters.items}}"
    assert {p["name"]: p["value"] for p in only["arguments"]["parameters"]} == {
        "work_item": "{{item}}",
        "settings": "{{workflow.parameters.settings}}",
        "organize_key": "{{workflow.parameters.organize_key}}",
    }
    assert shard["failFast"] is False and shard["dag"]["failFast"] is False, "a red course stops no other"
    assert shard["parallelism"] > 0

"""The workflows around the courses: find them, gather them, judge."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.workflows.templates.argo_model import evaluate, filled, run_dag
from workflows import expressions as ex

Object = dict[str, Any]
RUN = "20261125-141231-ab12cd"
FROM_CONTROLLER = {
    "workflow.uid": "0f3a9c1e-1111-2222-3333-444444444444",
    **{
        f"workflow.creationTimestamp.{letter}": text
        for letter, text in zip("YmdHMS", ("2026", "01", "02", "03", "04", "05"), strict=True)
    },
}


@pytest.fixture(scope="module")
def cohort(templates: dict[str, dict[str, Object]]) -> Object:
    dag: Object = templates["rtpipeline-cohort"]["cohort"]["dag"]
    return dag


def ends(cohort: Object, **bad: str) -> dict[str, str]:
    return run_dag(cohort, {}, lambda name: bad.get(name, "Succeeded"))


@pytest.mark.parametrize("courses", ["Succeeded", "Failed", "Errored"])
def test_results_are_gathered_however_the_courses_ended(cohort: Object, courses: str) -> None:
    found = ends(cohort, courses=courses)

    assert found["aggregation"] == "Succeeded"
    assert found["verdict"] == "Succeeded"


def test_results_are_gathered_when_there_was_nothing_to_run(cohort: Object) -> None:
    """An empty fan-out is skipped by Argo."""
    assert ends(cohort, courses="Skipped")["aggregation"] == "Succeeded"


def test_without_courses_found_nothing_else_runs(cohort: Object) -> None:
    assert ends(cohort, organize="Failed") == {
        "organize": "Failed",
        "courses": "Omitted",
        "aggregation": "Omitted",
        "verdict": "Omitted",
    }


def test_without_results_there_is_no_verdict(cohort: Object) -> None:
    """It is omitted, and an omitted leaf takes the phase of what it waited for: the workflow is red."""
    assert ends(cohort, aggregation="Failed")["verdict"] == "Omitted"


@pytest.mark.parametrize(("workflow", "dag"), [("rtpipeline-cohort", "cohort"), ("rtpipeline-aggregate", "aggregate")])
def test_the_verdict_is_the_only_leaf_so_that_its_phase_is_the_workflows(
    templates: dict[str, Any], workflow: str, dag: str
) -> None:
    found = templates[workflow][dag]["dag"]
    waited_for = {name for t in found["tasks"] for name in re.findall(r"([a-z][\w-]*)\.[A-Z]", t.get("depends", ""))}

    assert {t["name"] for t in found["tasks"]} - waited_for == {"verdict"}
    assert "target" not in found and found["failFast"] is False


def test_tasks_of_other_templates_exist_and_get_every_input(templates: dict[str, Any], cohort: Object) -> None:
    for task in cohort["tasks"]:
        where = task.get("templateRef", {"name": "rtpipeline-cohort", "template": task.get("template")})
        inputs = templates[where["name"]][where["template"]].get("inputs", {}).get("parameters", [])
        given = {p["name"] for p in task.get("arguments", {}).get("parameters", [])}

        assert given <= {p["name"] for p in inputs}
        assert {p["name"] for p in inputs if "value" not in p} <= given, task["name"]


def test_outputs_that_are_asked_for_are_written(templates: dict[str, Any], cohort: Object) -> None:
    written = {
        "organize": templates["rtpipeline-cohort"]["organize"]["outputs"]["parameters"],
        "aggregation": templates["rtpipeline-aggregate"]["aggregation"]["outputs"]["parameters"],
    }
    for task, name in re.findall(r"\{\{tasks\.([\w-]+)\.outputs\.parameters\.(\w+)\}\}", str(cohort)):
        assert name in {p["name"] for p in written[task]}


def test_every_argument_that_a_template_reads_is_one_of_its_workflow(rendered_objects: dict[str, Object]) -> None:
    """A template that another workflow refers to reads that workflow's arguments."""
    uses = {"rtpipeline-cohort": ("rtpipeline-cohort", "rtpipeline-courses/course", "rtpipeline-aggregate")}
    for name, found in rendered_objects.items():
        spec = found["spec"].get("workflowSpec", found["spec"])
        known = {p["name"] for p in spec["arguments"]["parameters"]}
        texts = [str(spec["templates"])]
        for other in uses.get(name, ()):
            listed = rendered_objects[other.partition("/")[0]]["spec"]["templates"]
            texts += [str(t) for t in listed if "container" in t or t["name"] == other.partition("/")[2]]
        read = {n for text in texts for n in re.findall(r"workflow\.parameters\.(\w+)", text)}

        assert read <= known, name


def test_the_run_is_the_one_that_was_given() -> None:
    assert evaluate(ex.RUN, {"workflow.parameters.run": RUN, **FROM_CONTROLLER}) == RUN


def test_a_run_without_an_id_gets_one_of_the_clients_form() -> None:
    made = evaluate(ex.RUN, {"workflow.parameters.run": "", **FROM_CONTROLLER})

    assert made == "20260102-030405-0f3a9c"
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", made)


def test_what_organize_leaves_goes_where_the_store_has_it(stage_templates: dict[str, Object]) -> None:
    given = {
        "workflow.parameters.prefix": "p/",
        "workflow.parameters.cohort": "prostate",
        "workflow.parameters.run": RUN,
    }
    found = [
        (a["path"], filled(a["s3"]["key"], {**given, **FROM_CONTROLLER}))
        for a in stage_templates["organize"]["outputs"]["artifacts"]
    ]

    assert found == [
        ("/work/out/data", "p/prostate/organize/"),
        ("/work/out/tables", "p/prostate/organize/"),
        ("/work/out/record", "p/prostate/organize/"),
        ("/work/out/facts", "p/prostate/runs/facts/"),
        ("/work/out/plan.json", f"p/prostate/runs/{RUN}/plan.json"),
        ("/work/out/private/index.parquet", "p/prostate/private/index.parquet"),
        ("/work/out/private/identity.parquet", "p/prostate/private/identity.parquet"),
        ("/work/out/private/registry.json", "p/prostate/private/registry.json"),
        ("/work/out/private/organize_key", "p/prostate/private/organize_key"),
    ]


def test_what_pods_leave_is_what_the_templates_collect(stage_templates: dict[str, Object]) -> None:
    """The names at both ends of a pod: each has its own module, and nothing else compares them."""
    from rtpipeline.execution import pod_organize as pod
    from rtpipeline.organize import stage

    collected = {
        a["name"]: a["path"].removeprefix("/work/out/") for a in stage_templates["organize"]["outputs"]["artifacts"]
    }
    private = {f"private/{name}" for name in (stage.INDEX_FILE, stage.IDENTITY_FILE, stage.REGISTRY_FILE, pod.MARKER)}

    assert {path for path in collected.values() if path.startswith("private/")} == private
    assert set(pod.PARTS) == {"data", "tables", "record"} <= set(collected.values())


def test_results_are_plain_files_and_the_pointer_to_them_comes_last(stage_templates: dict[str, Object]) -> None:
    given = {"workflow.parameters.prefix": "", "workflow.parameters.cohort": "prostate", "workflow.parameters.run": RUN}
    found = [
        (a["path"], filled(a["s3"]["key"], {**given, **FROM_CONTROLLER}))
        for a in stage_templates["aggregation"]["outputs"]["artifacts"]
    ]

    assert found == [
        ("/work/out/results", f"prostate/results/{RUN}/"),
        ("/work/out/plan.json", f"prostate/runs/{RUN}/plan.json"),
        ("/work/out/latest.json", "prostate/results/latest.json"),
    ]

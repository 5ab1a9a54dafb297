"""What a cluster gets to run: masks, items, what counts as the same results; and how a run has ended."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest

from rtpipeline.contracts.manifests import CohortManifest, StageRecord, Upstream
from rtpipeline.execution import cluster_plan as cp
from rtpipeline.execution.cohort_run import aggregation_request
from rtpipeline.execution.outputs import read_output
from rtpipeline.execution.plan import CohortPlan, Selection, select
from rtpipeline.execution.reasons import Demands
from rtpipeline.execution.run_files import read_plan, write_plan
from rtpipeline.execution.run_outcomes import GAVE_UP, failed_courses, settle
from rtpipeline.execution.settings import all_settings
from rtpipeline.stages import COURSE_STAGES, STAGES, dependants
from rtpipeline.store.folder import CohortFolder
from rtpipeline.store.keys import course_stage_key, stage_path
from tests.execution.pod_stages import COURSE, IMAGE, WHOLE, config, manifest

ABSENT = Upstream(key=None, status="absent", output_digest=None)


class Store:
    """A store on disk with the records of one course."""

    def __init__(self, folder: Path) -> None:
        self.folder = CohortFolder(folder, "toy")
        self.settings = all_settings(config())

    def path(self, stage: str) -> Path:
        key = course_stage_key(stage, manifest().courses[0], self.settings[stage])
        return self.folder.store / stage_path("toy", stage, key, COURSE)

    def end(self, stage: str, status: str = "done", content: str = "1", **upstream: Upstream) -> None:
        """Let a stage have ended, with those before it as they are now or as `upstream` says."""
        folder = self.path(stage)
        folder.mkdir(parents=True, exist_ok=True)
        record = StageRecord(
            stage=stage,
            stage_version=STAGES[stage].version,
            stage_key=folder.name,
            cohort="toy",
            course_id=COURSE,
            status=status,
            reason="because" if status != "done" else "",
            output_digest=content * 64,
            upstream={name: upstream.get(name, self.state(name)) for name in STAGES[stage].upstream},
            config={},
            settings_digest=self.settings[stage],
            versions={},
        )
        (folder / "stage.json").write_text(record.model_dump_json())

    def end_all(self, **statuses: str) -> None:
        for name in COURSE_STAGES:
            self.end(name, statuses.get(name, "done"))

    def state(self, stage: str) -> Upstream:
        output = read_output(self.path(stage))
        return output.state() if output else ABSENT

    def plan(self, selection: Selection | None = None, demands: Demands | None = None) -> CohortPlan:
        return cp.cluster_plan(
            manifest(), config(), self.folder, "o-key", self.settings, selection=selection, demands=demands
        )

    def outcome(self, plan: CohortPlan | None = None) -> dict:
        """`plan.json` as aggregation leaves it."""
        write_plan(self.folder, "run-1", plan or self.plan(), "")
        written = read_plan(self.folder, "run-1")
        settle(written, manifest(), self.folder.root)
        return written


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def runs(plan: CohortPlan) -> set[str]:
    return {n for n, digit in zip(COURSE_STAGES, cp.mask_of(plan, COURSE), strict=True) if digit == "1"}


def statuses(written: dict) -> dict[str, str]:
    return {name: entry["status"] for name, entry in written["courses"][0]["stages"].items()}


# --- masks and items -----------------------------------------------------------------------------------------------


def test_a_new_course_runs_whole_and_a_done_one_is_no_item(store):
    assert cp.items_of(store.plan()) == [f"{COURSE}:{IMAGE}:{WHOLE}:{'1' * len(COURSE_STAGES)}"]
    store.end_all()
    assert cp.mask_of(store.plan(), COURSE) == "0" * len(COURSE_STAGES)
    assert cp.items_of(store.plan()) == []


@pytest.mark.parametrize("stage", COURSE_STAGES)
def test_behind_what_runs_everything_runs(store, stage):
    store.end_all()
    (store.path(stage) / "stage.json").unlink()
    assert runs(store.plan()) == {stage, *dependants(stage)} - {"aggregation"}


def test_what_was_made_from_other_inputs_runs_with_what_is_behind(store):
    store.end_all()
    store.end("segmentation", content="2")
    assert runs(store.plan()) == dependants("segmentation") - {"aggregation"}


def test_behind_data_that_cannot_be_used_no_pod_starts_a_second_time(store):
    for name in ("prepare_images", "segmentation", "custom_models"):
        store.end(name)
    store.end("prepare_rt", "data_error")
    store.end("qc")
    plan = store.plan()
    assert cp.items_of(plan) == []
    assert statuses(store.outcome(plan)) == {
        "prepare_images": "done",
        "prepare_rt": "data_error",
        "segmentation": "done",
        "custom_models": "done",
        "structures": "omitted",
        "dvh": "omitted",
        "radiomics": "omitted",
        "robustness": "omitted",
        "qc": "done",
    }


def test_a_fault_and_what_it_held_back_run_again(store):
    store.end_all()
    store.end("structures", "fault")
    assert runs(store.plan()) == {"structures", *dependants("structures")} - {"aggregation"}


def test_a_selection_runs_nothing_else(store):
    only = select(manifest(), [], ["dvh"])
    plan = store.plan(only)
    assert runs(plan) == {"prepare_images", "prepare_rt", "structures", "dvh"}
    assert {i.status for i in plan.items.values() if i.name not in only.stages} == {"missing"}
    store.end_all()
    (store.path("radiomics") / "stage.json").unlink()
    assert runs(store.plan(only)) == set()


def test_forced_stages_run_once_their_records_are_gone(store):
    store.end_all()
    plan = store.plan(demands=Demands(frozenset({"dvh", "qc"})))
    assert runs(plan) == {"dvh", "qc"}
    forced = cp.forced_records(plan, store.folder)
    assert {store.folder.store / path for path in forced} == {store.path(n) / "stage.json" for n in ("dvh", "qc")}
    for path in forced:
        (store.folder.store / path).unlink()
    assert runs(store.plan()) == {"dvh", "qc"}


def test_the_records_to_ask_for_are_those_of_the_plan(store):
    paths = cp.course_stage_paths(manifest(), "toy", store.settings)
    assert {store.folder.store / path for path in paths} == {i.folder for i in store.plan().items.values()}
    assert all(isinstance(path, PurePosixPath) for path in paths)


def test_more_courses_than_one_workflow_takes_are_no_list(store, monkeypatch):
    assert json.loads(cp.items_parameter(store.plan())) == cp.items_of(store.plan())
    monkeypatch.setattr(cp, "MOST_ITEMS", 0)
    with pytest.raises(ValueError):
        json.loads(cp.items_parameter(store.plan()))


# --- facts ---------------------------------------------------------------------------------------------------------


def test_the_same_facts_give_the_same_keys_wherever_they_are_used():
    facts = cp.Facts.here(config())
    assert cp.Facts.from_json(facts.to_json()) == facts
    assert facts.settings(config()) == all_settings(config())


def test_another_library_or_weight_changes_what_hangs_on_it():
    facts = cp.Facts.here(config())
    base = facts.settings(config())
    torch = cp.Facts(facts.libraries | {"torch": "99"}, facts.weights).settings(config())
    assert {n for n in STAGES if base[n] != torch[n]} == {"segmentation", *dependants("segmentation")}
    weights = cp.Facts(facts.libraries, {"custom_models": {"x": "0"}}).settings(config())
    assert {n for n in STAGES if base[n] != weights[n]} == {"custom_models", *dependants("custom_models")}


def test_facts_are_found_again_by_images_weights_and_what_chooses_among_them():
    names = {"cpu_image": "c:1", "gpu_image": "g:1", "weights": "w"}
    base = cp.facts_id(config(), **names)
    assert cp.facts_id(config().model_copy(update={"workers": 2, "seed": 3}), **names) == base
    for name in names:
        assert cp.facts_id(config(), **(names | {name: "other"})) != base
    fast = config().segmentation.model_copy(update={"fast": True})
    assert cp.facts_id(config().model_copy(update={"segmentation": fast}), **names) != base


# --- how it has ended ----------------------------------------------------------------------------------------------


def test_a_pod_that_gave_up_has_failed_and_holds_back_what_needs_it(store):
    for name in ("prepare_images", "prepare_rt", "segmentation", "custom_models"):
        store.end(name)
    store.end("qc", structures=ABSENT)
    written = store.outcome()
    found = statuses(written)
    assert found["structures"] == "failed"
    assert {found[n] for n in ("dvh", "radiomics", "robustness")} == {"omitted"}
    entry = written["courses"][0]["stages"]["structures"]
    assert entry["reason"] == GAVE_UP
    assert (entry["finding"]["code"], entry["finding"]["course_id"]) == ("RES_TRANSIENT", COURSE)
    assert written["courses"][0]["stages"]["dvh"]["reason"] == "structures failed"
    assert failed_courses(written) == [COURSE]


def test_an_older_output_under_the_same_key_is_not_taken_for_this_run(store):
    """The image was prepared again and is another one; the pod of segmentation then gave up."""
    store.end_all()
    store.end("prepare_images", content="2")
    plan = store.plan()
    store.end("custom_models", segmentation=ABSENT)
    for name in ("structures", "dvh", "radiomics", "robustness", "qc"):
        store.end(name, **({"segmentation": ABSENT} if "segmentation" in STAGES[name].upstream else {}))
    found = statuses(store.outcome(plan))
    assert found.pop("segmentation") == "failed"
    assert set(found.values()) == {"done"}


def test_what_was_made_of_an_older_output_has_failed_too(store):
    store.end_all()
    store.end("prepare_images", content="2")
    found = statuses(store.outcome())
    assert found["prepare_images"] == found["prepare_rt"] == "done"
    assert found["structures"] == "failed"
    assert found["dvh"] == "omitted"


@pytest.mark.parametrize("status", ["partial", "fault", "data_error"])
def test_a_stage_that_left_its_record_stands_as_it_says(store, status):
    store.end_all()
    store.end("qc", status)
    written = store.outcome()
    assert statuses(written)["qc"] == status
    assert failed_courses(written) == [COURSE]


def test_what_does_not_apply_is_no_failure(store):
    store.end_all(segmentation="not_run", custom_models="disabled", dvh="not_applicable")
    written = store.outcome()
    assert failed_courses(written) == []
    assert statuses(written)["dvh"] == "not_applicable"


def test_what_was_not_asked_for_is_missing_and_no_failure(store):
    plan = store.plan(select(manifest(), [], ["dvh"]))
    for name in ("prepare_images", "prepare_rt"):
        store.end(name)
    for name in ("structures", "dvh"):
        store.end(name)
    written = store.outcome(plan)
    assert statuses(written)["radiomics"] == "missing"
    assert failed_courses(written) == []


def test_a_second_aggregation_of_a_run_settles_it_anew(store):
    store.end_all()
    (store.path("qc") / "stage.json").unlink()
    first = store.outcome()
    store.end("qc")
    settle(first, manifest(), store.folder.root)
    assert statuses(first)["qc"] == "done"
    assert "finding" not in first["courses"][0]["stages"]["qc"]


# --- whether results are still those of today ----------------------------------------------------------------------


def test_results_are_current_until_an_outcome_changes(store):
    store.end_all()
    (store.path("qc") / "stage.json").unlink()
    failed = store.outcome()
    store.end("qc")
    assert not cp.is_same_outcome(failed, store.plan())
    whole = store.outcome()
    assert cp.is_same_outcome(whole, store.plan())
    assert cp.aggregation_key(whole) == cp.aggregation_key(failed)  # which is why the key alone does not tell
    store.end("qc", content="2")
    assert not cp.is_same_outcome(whole, store.plan())


def test_results_with_a_course_that_cannot_be_used_are_current_too(store):
    store.end("prepare_images")
    store.end("prepare_rt", "data_error")
    for name in ("segmentation", "custom_models", "qc"):
        store.end(name)
    assert cp.is_same_outcome(store.outcome(), store.plan())


def test_a_manifest_with_another_course_is_another_outcome(store):
    store.end_all()
    written = store.outcome()
    other = manifest().courses[0].model_copy(update={"course_id": "p9-c01"})
    more = CohortManifest(cohort="toy", patients=[], courses=[*manifest().courses, other], counts={})
    plan = cp.cluster_plan(more, config(), store.folder, "o-key", store.settings)
    assert not cp.is_same_outcome(written, plan)


def test_aggregation_has_one_key_on_a_cluster_and_on_one_machine(store):
    store.end_all()
    plan = store.outcome()
    here = aggregation_request(store.folder, "run-1", plan, config())
    assert here.stage_key == cp.aggregation_key(plan)
    assert here.stage_key.rpartition("-")[2] == store.settings["aggregation"]

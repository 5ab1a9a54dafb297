"""The pod of a course's stage: what it takes as its inputs, what it keeps, and what it leaves however it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtpipeline import cli
from rtpipeline.config import Config
from rtpipeline.contracts.manifests import Upstream
from rtpipeline.execution import environment, pod, pod_course
from rtpipeline.stages import STAGES
from rtpipeline.store.configuration import bundle
from rtpipeline.store.keys import output_digest
from rtpipeline.store.packing import OBJECTS, unpack
from tests.execution import pod_stages
from tests.execution.pod_stages import COURSE, PERSON, Bench, config, key_of
from tests.whole_runs import wait_for

ABSENT = Upstream(key=None, status="absent", output_digest=None)
OTHER = Upstream(key="x", status="done", output_digest="0" * 64)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A pod of `structures` with everything it waits for."""
    monkeypatch.setattr(environment, "limit_threads", lambda threads: None)
    before = dict(STAGES)
    bench = Bench(tmp_path)
    bench.organize()
    for stage in ("prepare_images", "prepare_rt", "segmentation", "custom_models"):
        bench.give(stage)
    (bench.work / "in" / "config.tgz").write_bytes(bundle(config()))
    yield bench
    STAGES.update(before)


def arguments(bench: Bench, *more: str, key: str = "", configuration: str = "mine") -> list[str]:
    where = ["--course", COURSE, "--key", key or key_of("structures"), "--cohort", "toy", "--run-id", "run-1"]
    return ["pod", "structures", *where, "--configuration", configuration, "--work", str(bench.work), *more]


def run(bench: Bench, behaviour: str = "works", **options: str) -> int:
    pod_stages.use("structures", behaviour)
    return cli.main(arguments(bench, **options))


# --- how it ends ---------------------------------------------------------------------------------------------------


def test_what_it_leaves_is_the_output_of_the_stage(bench, tmp_path):
    assert run(bench) == 0
    assert sorted(p.name for p in bench.out.iterdir()) == sorted(OBJECTS)
    unpack(bench.out, tmp_path / "back")
    assert (tmp_path / "back" / "images" / "voxels.bin").read_text() == "computed"
    assert output_digest(tmp_path / "back") == bench.record().output_digest
    assert bench.record().upstream == {name: bench.state(name) for name in STAGES["structures"].upstream}
    assert bench.record().stage_key == key_of("structures")


@pytest.mark.parametrize(
    ("behaviour", "code", "status"), [("has_bad_data", 3, "data_error"), ("has_a_fault", 70, "fault")]
)
def test_an_error_that_stays_is_recorded(bench, behaviour, code, status, capfd):
    assert run(bench, behaviour) == code
    assert bench.record().status == status
    assert sorted(p.name for p in bench.out.iterdir()) == sorted(OBJECTS)
    assert PERSON not in "".join(capfd.readouterr())


@pytest.mark.parametrize("behaviour", ["meets_a_failing_server", "runs_out_of_memory", "fills_the_disk"])
def test_what_may_pass_ends_with_75_and_leaves_nothing(bench, behaviour, capfd):
    assert run(bench, behaviour) == 75
    assert not bench.out.exists()
    said = capfd.readouterr()
    assert PERSON not in said.out + said.err
    assert said.out == ""


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device", PERSON)])
def test_memory_and_disk_that_run_out_while_packing_leave_nothing(bench, error, monkeypatch, capfd):
    def fails(folder: Path, out: Path) -> None:
        raise error

    monkeypatch.setattr(pod_course, "pack", fails)
    assert run(bench) == 75
    assert not bench.out.exists()
    assert PERSON not in "".join(capfd.readouterr())


def test_a_pod_that_is_killed_leaves_nothing(bench):
    """The kernel kills without a word; whatever the cluster then collects from /work/out must be whole, or nothing."""
    code = (
        "import sys; from tests.execution import pod_stages; from rtpipeline import cli;"
        "pod_stages.use('structures', 'waits'); sys.exit(cli.main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments(bench)],
        env=os.environ | {"POD_BENCH": str(bench.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_for(lambda: (bench.folder / "half").exists() or process.poll() is not None)
    process.kill()
    said = process.communicate()[0]
    assert process.returncode == -9, said
    assert not bench.out.exists()
    assert run(bench) == 0  # what it has left elsewhere is in nobody's way
    assert bench.record().status == "done"


# --- what is there already -----------------------------------------------------------------------------------------


def keep_as_previous(bench: Bench) -> None:
    shutil.move(bench.out, bench.work / "in" / "previous")


def test_its_own_output_of_the_same_inputs_is_kept(bench):
    run(bench)
    keep_as_previous(bench)
    assert run(bench, "has_a_fault") == 0
    assert not bench.out.exists()


def test_a_kept_data_error_is_still_one(bench):
    run(bench, "has_bad_data")
    keep_as_previous(bench)
    assert run(bench, "has_a_fault") == 3
    assert not bench.out.exists()


def test_a_fault_is_tried_again(bench):
    run(bench, "has_a_fault")
    keep_as_previous(bench)
    assert run(bench) == 0
    assert bench.record().status == "done"


@pytest.mark.parametrize("stage", ["prepare_images", "prepare_rt", "segmentation"])
def test_an_output_of_other_inputs_is_made_again(bench, stage):
    run(bench)
    keep_as_previous(bench)
    bench.give(stage, content="2")
    assert run(bench) == 0
    assert bench.record().upstream[stage] == bench.state(stage)


def test_an_own_output_that_is_half_replaced_is_made_again(bench):
    run(bench)
    keep_as_previous(bench)
    (bench.work / "in" / "previous" / "data.tgz").write_bytes(
        (bench.work / "in" / "prepare_rt" / "data.tgz").read_bytes()
    )
    assert run(bench) == 0
    assert bench.record().status == "done"


# --- what it takes as inputs ---------------------------------------------------------------------------------------


def test_a_soft_input_that_is_absent_or_half_replaced_is_absent(bench):
    shutil.rmtree(bench.work / "in" / "custom_models")
    bench.replace_part("segmentation", "stage.json")
    assert run(bench) == 0
    upstream = bench.record().upstream
    assert upstream["segmentation"] == upstream["custom_models"] == ABSENT
    assert upstream["prepare_rt"] == bench.state("prepare_rt")


def test_a_hard_input_that_is_half_replaced_may_be_whole_next_time(bench):
    bench.replace_part("prepare_rt", "data.tgz")
    assert run(bench) == 75
    assert not bench.out.exists()


def test_an_older_output_of_a_stage_that_gave_up_in_this_run_is_not_used(bench):
    """Segmentation's pod gave up: what lies under its key was made from another image."""
    bench.give("segmentation", content="old", upstream={"prepare_images": OTHER})
    bench.give("custom_models", upstream={"prepare_images": bench.state("prepare_images"), "segmentation": ABSENT})
    assert run(bench) == 0
    assert bench.record().upstream["segmentation"] == ABSENT
    assert bench.record().upstream["custom_models"] == bench.state("custom_models")


def test_what_was_made_from_that_older_output_is_not_used_either(bench):
    bench.give("segmentation", content="old", upstream={"prepare_images": OTHER})
    bench.give("custom_models", upstream={"segmentation": bench.state("segmentation")})
    assert run(bench) == 0
    assert bench.record().upstream["custom_models"] == ABSENT


def test_a_soft_input_that_ended_in_an_error_is_told_as_such(bench):
    bench.give("segmentation", status="data_error")
    bench.give("custom_models")
    assert run(bench) == 0
    assert bench.record().upstream["segmentation"].status == "data_error"


@pytest.mark.parametrize("lacking", ["prepare_rt", "organize"])
def test_without_what_it_needs_it_says_so(bench, lacking, capfd):
    shutil.rmtree(bench.work / "in" / lacking)
    assert run(bench) == 2
    assert lacking in capfd.readouterr().err
    assert not bench.out.exists()


# --- that it computes what its key says ----------------------------------------------------------------------------


def test_a_key_of_other_settings_is_refused(bench, capfd):
    """The configuration in the bucket, the image or the weights were changed after the run was planned."""
    (bench.work / "in" / "config.tgz").write_bytes(
        bundle(config().model_copy(update={"dvh": Config().dvh.model_copy(update={"end_cap": "prism"})}))
    )
    assert run(bench) == 2
    assert "submit again" in capfd.readouterr().err
    assert not bench.out.exists()


def test_a_configuration_that_is_absent_is_no_default(bench, capfd):
    (bench.work / "in" / "config.tgz").unlink()
    assert run(bench) == 2
    assert "no configuration mine" in capfd.readouterr().err
    assert run(bench, configuration="default") == 0


@pytest.mark.parametrize(("configured", "cpus", "wanted"), [("auto", 6, 6), (3, 6, 3), (8, 6, 6), ("auto", 1, 1)])
def test_workers_are_the_cpus_of_the_container_or_fewer(bench, configured, cpus, wanted, monkeypatch):
    monkeypatch.setattr(pod, "available_cpus", lambda: cpus)
    (bench.work / "in" / "config.tgz").write_bytes(bundle(config().model_copy(update={"workers": configured})))
    assert run(bench) == 0
    assert bench.record().counts == {"workers": wanted, "threads": STAGES["structures"].resources.threads}


# --- the last node -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failed", "code"), [("0", 0), ("3", 1)])
def test_the_verdict_is_red_when_courses_failed(failed, code):
    assert cli.main(["pod", "verdict", "--failed", failed]) == code


def test_an_unknown_stage_is_refused(capfd):
    assert cli.main(["pod", "no_such_stage"]) == 2
    assert "no_such_stage" in capfd.readouterr().err

"""Stage segmentation: the real TotalSegmentator on the demo's phantom, and what happens when it cannot run."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rtpipeline.config import Config, parse_config
from rtpipeline.contracts.findings import finding
from rtpipeline.contracts.manifests import CohortManifest, StageRecord
from rtpipeline.contracts.tables import SEGMENTATION
from rtpipeline.demo.small import small_patient
from rtpipeline.errors import ExitCode, OutOfMemoryError
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.segmentation import catalogue, stage
from rtpipeline.segmentation.label_map import LABEL_MAP, label_map_folder, read_label_maps
from rtpipeline.segmentation.totalsegmentator import Job, Segmented
from rtpipeline.segmentation.weights import PHANTOM
from tests.segmentation.torsos import organ_dice, save_torso
from tests.synthetic.pipeline import COHORT, Chain, run_chain

ORGAN_DICE = 0.7
"""Networks that were trained for minutes reach 0.75 to 0.95 here."""

FASTEST: dict[str, Any] = {"fastest": True}


def config(**section: Any) -> Config:
    return parse_config({"segmentation": {**FASTEST, **section}})


@dataclass
class Course:
    """A prepared course and the stage on it."""

    chain: Chain

    @property
    def prepared(self) -> Path:
        return self.chain.folder(self.chain.course.course_id, "prepare_images")

    def segment(self, out: Path, config: Config, *, expect: ExitCode = ExitCode.DONE) -> StageRecord | None:
        request = StageRequest(
            "segmentation",
            COHORT,
            out,
            config,
            "key",
            course_id=self.chain.course.course_id,
            inputs={"organize": self.chain.root / "organize", "prepare_images": self.prepared},
        )
        assert run_stage(request) is expect
        record = StageRecord.load(out)
        assert record is None or not record.traceback, record
        return record


def codes(record: StageRecord) -> list[tuple[str, str]]:
    return [(f["code"], f["severity"]) for f in record.findings]


@pytest.fixture(scope="session")
def torsos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Course]:
    """The same person head first supine, and in decubitus feet first: prepared, not segmented."""
    return {
        position: Course(
            run_chain(
                save_torso(tmp_path_factory.mktemp("export"), position),
                tmp_path_factory.mktemp(position),
                stages=["prepare_images"],
            )
        )
        for position in ("HFS", "FFDR")
    }


@pytest.fixture(scope="session")
def segmented(torsos: dict[str, Course], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The outputs of the real network; one run each for all tests."""
    outputs = {}
    for position, course in torsos.items():
        outputs[position] = tmp_path_factory.mktemp("segmentation") / position
        record = course.segment(outputs[position], config(device="cpu"))
        assert record is not None and record.status == "done", record
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("position", ["HFS", "FFDR"])
def test_organs_are_found_where_they_are_in_any_position(
    position: str, torsos: dict[str, Course], segmented: dict[str, Path]
) -> None:
    (label_map,) = read_label_maps(segmented[position], torsos[position].prepared)
    found = organ_dice(label_map)
    assert min(found.values()) >= ORGAN_DICE, found
    assert (label_map.phantom, label_map.resolution_mm, label_map.device) == (True, 6.0, "cpu")


@pytest.mark.slow
def test_every_class_is_a_row_of_the_declared_table(torsos: dict[str, Course], segmented: dict[str, Path]) -> None:
    table = pd.read_parquet(segmented["HFS"] / "segmentation.parquet")
    assert list(table.columns) == [column.name for column in SEGMENTATION.columns]
    assert dict(zip(table["label"], table["structure_name"], strict=True)) == catalogue.class_names("total")
    assert not table.duplicated(list(SEGMENTATION.key)).any()
    assert table["phantom_weights"].all()
    liver = table.set_index("structure_name").loc["liver"]
    assert liver["status"] == "ok" and 500 < liver["volume_cc"] < 2500
    brain = table.set_index("structure_name").loc["brain"]
    assert brain["status"] == "not_found" and pd.isna(brain["volume_cc"])


@pytest.mark.slow
def test_the_record_names_the_phantoms_networks_and_the_absent_classes_once(segmented: dict[str, Path]) -> None:
    record = StageRecord.load(segmented["HFS"])
    assert record is not None
    assert len(record.weights) == 3 and all(name.startswith("phantom/Dataset298") for name in record.weights)
    assert codes(record) == [("SEG_EMPTY", "I")]
    (empty,) = record.findings
    assert empty["object"] == "ct-01 total" and "of 117 classes not found" in empty["measured"]


@pytest.mark.slow
def test_nothing_that_names_a_patient_or_a_folder_is_left(segmented: dict[str, Path], tmp_path: Path) -> None:
    for path in segmented["HFS"].rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for text in (b"DEMO-901", b"Demo^Lesion", str(segmented["HFS"].parent).encode(), b"nnunet_tmp"):
                assert text not in content, path.name
    assert not list(segmented["HFS"].glob("tmp*"))


@pytest.mark.slow
def test_a_second_run_gives_the_same_bytes(
    torsos: dict[str, Course], segmented: dict[str, Path], tmp_path: Path
) -> None:
    course = torsos["HFS"]
    again = course.segment(tmp_path / "again", config(device="cpu", nr_threads_save=2, nr_threads_resample=2))
    first = StageRecord.load(segmented["HFS"])
    assert again is not None and first is not None
    name = Path("segmentations") / "ct-01" / "total"
    for file in sorted((segmented["HFS"] / name).iterdir()):
        assert file.read_bytes() == (tmp_path / "again" / name / file.name).read_bytes(), file.name
    assert again.output_digest == first.output_digest


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A small course with the demo's marker."""
    return prepared(tmp_path_factory.mktemp("export"), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def hospital_course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """The same without the marker, as from a hospital."""
    return prepared(tmp_path_factory.mktemp("export"), tmp_path_factory.mktemp("hospital"), "SCANNER AG")


def prepared(export: Path, work: Path, manufacturer: str | None = None) -> Course:
    patient = small_patient()
    for ds in patient.datasets():
        if manufacturer is not None:
            ds.Manufacturer = manufacturer
    course = Course(run_chain(patient.save(export), work, stages=["prepare_images"]))
    assert course.chain.course.demo == (manufacturer is None)
    return course


@dataclass
class Network:
    """What stands in for the program: label maps or failures by task, and the jobs that it got."""

    values: dict[str, Any]
    jobs: list[Job]

    def __call__(self, job: Job, scratch: Path) -> Segmented:
        self.jobs.append(job)
        result = self.values.get(job.task.name, "liver")
        if isinstance(result, BaseException):
            raise result
        if isinstance(result, Segmented):
            return result
        values = np.zeros(job.grid.shape_zyx, np.uint8)
        number = next(n for n, name in job.task.classes.items() if result in (name, "liver") or result == "any")
        values[4:9, 10:15, 10:15] = 5 if result == "liver" and job.task.name == "total" else number
        return Segmented(values, job.device.name)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    stand_in = Network({"body": "any"}, [])
    monkeypatch.setattr(stage, "segment", stand_in)
    monkeypatch.setattr(stage, "gpus", list)
    monkeypatch.delenv("TOTALSEG_LICENSE", raising=False)
    return stand_in


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of real weights."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(folder))
    return folder


def segment_in(course: Course, out: Path, config: Config) -> StageRecord:
    record = course.segment(out, config)
    assert record is not None
    return record


def test_without_weights_the_stage_did_not_run_and_says_how_to_get_them(
    hospital_course: Course, no_weights: Path, network: Network, tmp_path: Path
) -> None:
    record = segment_in(hospital_course, tmp_path / "out", config(device="cpu"))
    assert (record.status, codes(record), network.jobs) == ("not_run", [("SEG_WEIGHTS_MISSING", "W")], [])
    assert record.findings[0]["remedy"] == "rtpipeline weights fetch --task total --fastest"
    wanted = segment_in(hospital_course, tmp_path / "wanted", config(device="cpu", enabled=True))
    assert (wanted.status, codes(wanted)) == ("not_run", [("SEG_WEIGHTS_MISSING", "E")])


def test_a_hospitals_course_never_gets_the_phantoms_networks(
    hospital_course: Course, no_weights: Path, network: Network, tmp_path: Path
) -> None:
    for folder in PHANTOM.iterdir():
        shutil.copytree(folder, no_weights / folder.name)
    record = segment_in(hospital_course, tmp_path / "out", config(device="cpu"))
    assert network.jobs == [] and record.weights == {}
    assert codes(record) == [("SEG_FAILED", "E")]
    assert "is a network of the demo's phantom" in record.findings[0]["measured"]


def test_a_damaged_network_loses_its_task_alone(
    course: Course, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PHANTOM, tmp_path / "totalsegmentator")
    checkpoint = next((tmp_path / "totalsegmentator").glob("Dataset300*/*/fold_0/checkpoint_final.pth"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    monkeypatch.setattr("rtpipeline.segmentation.weights.PHANTOM", tmp_path / "totalsegmentator")
    record = segment_in(course, tmp_path / "out", config(device="cpu", extra_models=["body"]))
    assert record.status == "partial" and record.reason == "without a result: ct-01 body"
    assert [job.task.name for job in network.jobs] == ["total"]
    assert ("SEG_FAILED", "E") in codes(record)
    assert {m.model for m in read_label_maps(tmp_path / "out", course.prepared)} == {"total"}


def test_a_task_that_needs_a_licence_is_refused_without_one(
    course: Course, network: Network, no_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    licensed = config(device="cpu", extra_models=["heartchambers_highres"])
    record = segment_in(course, tmp_path / "out", licensed)
    assert record.status == "done" and ("SEG_LICENSE", "W") in codes(record)
    monkeypatch.setenv("TOTALSEG_LICENSE", "aca_12345678901234")
    record = segment_in(course, tmp_path / "with", licensed)
    assert ("SEG_WEIGHTS_MISSING", "W") in codes(record) and ("SEG_LICENSE", "W") not in codes(record)
    assert "aca_12345678901234" not in record.model_dump_json()


def test_the_cpu_is_used_with_a_finding_or_because_it_is_configured(
    course: Course, network: Network, tmp_path: Path
) -> None:
    fallback = segment_in(course, tmp_path / "auto", config())
    assert ("SEG_CPU", "I") in codes(fallback) and fallback.device == "cpu"
    chosen = segment_in(course, tmp_path / "cpu", config(device="cpu"))
    assert "SEG_CPU" not in dict(codes(chosen))


def test_nothing_is_said_of_the_cpu_where_no_network_ran(
    hospital_course: Course, no_weights: Path, network: Network, tmp_path: Path
) -> None:
    record = segment_in(hospital_course, tmp_path / "out", config())
    assert (record.status, codes(record), network.jobs) == ("not_run", [("SEG_WEIGHTS_MISSING", "W")], [])


def test_a_label_map_that_is_kept_was_made_on_the_cpu_all_the_same(
    course: Course, network: Network, tmp_path: Path
) -> None:
    network.values["body"] = lost("RES_TIMEOUT", "timeout")
    both = config(extra_models=["body"])
    first = segment_in(course, tmp_path / "out", both)
    network.values["body"] = "any"
    second = segment_in(course, tmp_path / "out", both)
    assert [codes(record).count(("SEG_CPU", "I")) for record in (first, second)] == [1, 1]


def test_a_gpu_that_is_not_there_is_never_replaced_in_silence(course: Course, network: Network, tmp_path: Path) -> None:
    for device in ("gpu", "gpu:1"):
        record = segment_in(course, tmp_path / device.replace(":", ""), config(device=device))
        assert (record.status, codes(record), network.jobs) == ("not_run", [("SEG_NO_GPU", "E")], [])


def test_a_gpu_that_torch_does_not_see_is_not_tried_for_the_next_task(
    course: Course, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "gpus", lambda: ["0"])
    network.values["total"] = Segmented(
        np.zeros((20, 40, 40), np.uint8), "cpu", None, [finding("SEG_CPU", "ct-01 total", "torch sees no GPU")]
    )
    record = segment_in(course, tmp_path / "out", config(extra_models=["body"]))
    assert [job.device.gpu for job in network.jobs] == ["0", None]
    assert record.device == "cpu"


def lost(code: str, failure: Any) -> Segmented:
    return Segmented(None, "cpu", failure, [finding(code, "ct-01 body", "as measured")])


def test_a_task_that_fails_is_lost_alone_and_retried_alone(course: Course, network: Network, tmp_path: Path) -> None:
    network.values["body"] = lost("RES_TIMEOUT", "timeout")
    both = config(device="cpu", extra_models=["body"])
    first = segment_in(course, tmp_path / "out", both)
    assert first.status == "partial" and ("RES_TIMEOUT", "E") in codes(first)
    kept = (label_map_folder(tmp_path / "out", "ct-01", "total") / LABEL_MAP).read_bytes()
    network.jobs.clear()
    network.values["body"] = "any"
    second = segment_in(course, tmp_path / "out", both)
    assert second.status == "done" and [job.task.name for job in network.jobs] == ["body"]
    assert (label_map_folder(tmp_path / "out", "ct-01", "total") / LABEL_MAP).read_bytes() == kept
    assert [f for f in second.findings if f["object"] == "ct-01 total"] == [
        f for f in first.findings if f["object"] == "ct-01 total"
    ]
    fresh = segment_in(course, tmp_path / "fresh", both)
    assert fresh.output_digest == second.output_digest


def test_memory_that_never_suffices_ends_the_stage_for_the_next_rung(
    course: Course, network: Network, tmp_path: Path
) -> None:
    network.values["total"] = OutOfMemoryError("ct-01 total: killed")
    assert course.segment(tmp_path / "out", config(device="cpu"), expect=ExitCode.TRANSIENT) is None


def test_a_mirrored_label_map_is_refused(torsos: dict[str, Course], network: Network, tmp_path: Path) -> None:
    """The phantom's own labels stand in for the network, turned along each axis of the array."""
    from tests.segmentation.torsos import torso

    right = np.ascontiguousarray(np.transpose(torso().labels, (2, 1, 0)))
    for axis, name in ((None, None), (2, "left and right"), (1, "front and back"), (0, "head and foot")):
        values = right if axis is None else np.flip(right, axis)
        network.values["total"] = Segmented(np.ascontiguousarray(values), "cpu")
        record = segment_in(torsos["HFS"], tmp_path / str(axis), config(device="cpu"))
        flips = [f["measured"] for f in record.findings if f["code"] == "SEG_FLIP"]
        if name is None:
            assert flips == [] and record.counts["done"] == 1
        else:
            assert len(flips) == 1 and flips[0].startswith(f"{name} wrong in")
            assert record.counts == {"refused": 1, "structures": 0}
            assert not list(read_label_maps(tmp_path / str(axis), torsos["HFS"].prepared))


def test_numbers_that_no_structure_has_are_refused(course: Course, network: Network, tmp_path: Path) -> None:
    network.values["total"] = Segmented(np.full((20, 40, 40), 200, np.uint8), "cpu")
    record = segment_in(course, tmp_path / "out", config(device="cpu"))
    assert record.status == "partial" and codes(record) == [("SEG_FAILED", "E")]


def test_a_subset_asks_for_its_structures_alone(course: Course, network: Network, tmp_path: Path) -> None:
    subset = config(device="cpu", roi_subset=["heart", "liver"], extra_models=["body"])
    segment_in(course, tmp_path / "out", subset)
    assert [job.subset for job in network.jobs] == [("liver", "heart"), ()]
    table = pd.read_parquet(tmp_path / "out" / "segmentation.parquet")
    assert sorted(table.loc[table["model"] == "total", "structure_name"]) == ["heart", "liver"]


def test_settings_reach_the_program(course: Course, network: Network, tmp_path: Path) -> None:
    section = config(device="cpu", force_split=True, nr_threads_save=3, num_proc_preprocessing=2, threads_per_worker=5)
    segment_in(course, tmp_path / "out", section)
    (job,) = network.jobs
    assert (job.split, job.processes_in, job.processes_out, job.threads) == (True, 2, 3, 5)
    assert job.timeout_s == 3600


def test_the_stages_own_limit_leaves_time_to_keep_what_is_done(
    course: Course, network: Network, tmp_path: Path
) -> None:
    """Killed at its limit it would lose every label map, and again at the next attempt."""
    limits = {"stage_s": {"segmentation": 1000.0}}
    before = time.monotonic()
    segment_in(
        course, tmp_path / "out", parse_config({"segmentation": {**FASTEST, "device": "cpu"}, "timeouts": limits})
    )
    assert before + 900 <= network.jobs[0].ends_s <= time.monotonic() + 900


def test_a_switched_off_stage_and_a_course_without_an_image_say_so(
    course: Course, network: Network, tmp_path: Path
) -> None:
    assert segment_in(course, tmp_path / "off", config(enabled=False)).status == "disabled"
    patient = small_patient()
    patient.ct = []
    without = Course(run_chain(patient.save(tmp_path / "export"), tmp_path / "work", stages=["prepare_images"]))
    assert segment_in(without, tmp_path / "none", config()).status == "not_applicable"


def test_other_images_are_segmented_when_configured(course: Course, tmp_path: Path) -> None:
    manifest = CohortManifest.load(course.chain.root / "organize")
    (entry,) = manifest.courses
    planning = entry.images[0]
    mr = planning.model_copy(update={"image_id": "mr-01", "modality": "MR", "role": "secondary"})
    pet = planning.model_copy(update={"image_id": "pt-01", "modality": "PT", "role": "secondary"})
    both = entry.model_copy(update={"images": [planning, mr, pet]})
    folder = tmp_path / "prepared"
    for name in ("ct-01", "mr-01", "pt-01"):
        shutil.copytree(course.prepared / "images" / "ct-01", folder / "images" / name)
    assert [i.image_id for i in stage.images_to_segment(both, folder, every=False)] == ["ct-01"]
    assert [i.image_id for i in stage.images_to_segment(both, folder, every=True)] == ["ct-01", "mr-01"]
    shutil.rmtree(folder / "images" / "mr-01")
    assert [i.image_id for i in stage.images_to_segment(both, folder, every=True)] == ["ct-01"]

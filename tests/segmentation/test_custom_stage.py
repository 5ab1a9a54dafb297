"""Stage custom_models: the demo's own model on its phantom, and models that are refused, fail or are tried again."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from numpy.typing import NDArray

from rtpipeline.config import Config, parse_config
from rtpipeline.contracts.manifests import StageRecord
from rtpipeline.contracts.tables import SEGMENTATION
from rtpipeline.demo.small import small_patient
from rtpipeline.errors import ExitCode
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.prepare.image_files import load_geometry
from rtpipeline.segmentation import catalogue, custom_stage, nnunet
from rtpipeline.segmentation.custom_stage import BODY_REGIONS, keep_largest_components
from rtpipeline.segmentation.failures import Failure
from rtpipeline.segmentation.label_map import LABEL_MAP, LabelMap, label_map_folder, read_label_maps, write_label_map
from rtpipeline.segmentation.model_folder import DEMO_MODEL
from rtpipeline.segmentation.nnunet import Prediction, PredictionError
from tests.segmentation.lesions import ModelFolder, dice, in_patient, model_folder, phantom_of_lesion, save_ct
from tests.synthetic.pipeline import COHORT, Chain, run_chain

LESION_DICE = 0.9
"""Measured 0.999; other hardware may round a few border voxels otherwise."""

VOLUME_TOLERANCE = 0.1
"""Of the lesion's volume: what a Dice of 0.9 may cost."""

KEY = "0123456789ab-0123456789ab"


@dataclass
class Course:
    """A prepared course and the stage on it."""

    chain: Chain

    @property
    def prepared(self) -> Path:
        return self.chain.folder(self.chain.course.course_id, "prepare_images")

    def run(self, out: Path, config: Config, segmentation: Path | None = None) -> StageRecord:
        inputs = {"organize": self.chain.root / "organize", "prepare_images": self.prepared}
        if segmentation is not None:
            inputs["segmentation"] = segmentation
        course_id = self.chain.course.course_id
        request = StageRequest("custom_models", COHORT, out, config, KEY, course_id=course_id, inputs=inputs)
        assert run_stage(request) is ExitCode.DONE
        record = StageRecord.load(out)
        assert record is not None and not record.traceback, record
        return record


def config(root: Path | None = None, *, device: str = "cpu", limit_s: float = 60.0, **section: Any) -> Config:
    if root is not None:
        section["root"] = str(root)
    return parse_config(
        {"custom_models": section, "segmentation": {"device": device}, "timeouts": {"custom_model_s": limit_s}}
    )


def codes(record: StageRecord) -> list[tuple[str, str, str]]:
    return [(f["code"], f["severity"], f["object"]) for f in record.findings]


def rows(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "segmentation.parquet")


# --- the demo's own model ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lesion(tmp_path_factory: pytest.TempPathFactory) -> Course:
    folder = tmp_path_factory.mktemp("lesion")
    export = save_ct(phantom_of_lesion(), folder / "in", "FFS")
    return Course(run_chain(export, folder / "work", stages=["prepare_images"]))


@pytest.fixture(scope="module")
def found(lesion: Course, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the real network."""
    out = tmp_path_factory.mktemp("custom") / "out"
    record = lesion.run(out, config(limit_s=600))
    assert (record.status, record.findings) == ("done", [])
    return out


def test_the_demos_model_finds_its_lesion(lesion: Course, found: Path) -> None:
    (label_map,) = read_label_maps(found, lesion.prepared)
    truth = phantom_of_lesion()
    assert dice(in_patient(label_map.values, label_map.grid, truth) == 1, truth.lesion) >= LESION_DICE
    assert (label_map.source, label_map.model, label_map.phantom) == ("custom", "phantom_gtv", True)


def test_its_row_says_where_it_comes_from(lesion: Course, found: Path) -> None:
    table = rows(found)
    assert list(table.columns) == [column.name for column in SEGMENTATION.columns]
    (row,) = table.to_dict("records")
    assert (row["structure_name"], row["label"], row["status"], row["components"]) == ("gtv", 1, "ok", 1)
    assert (row["structure_source"], row["model"], row["phantom_weights"]) == ("custom", "phantom_gtv", True)
    truth = phantom_of_lesion()
    volume_cc = float(truth.lesion.sum() * np.prod(truth.spacing_mm) / 1000)
    assert row["volume_cc"] == pytest.approx(volume_cc, rel=VOLUME_TOLERANCE)
    centre = np.argwhere(truth.lesion).mean(axis=0) * truth.spacing_mm + truth.lower_mm
    measured = [row[f"centroid_{axis}_mm"] for axis in "xyz"]
    np.testing.assert_allclose(measured, centre, atol=float(truth.spacing_mm.max()) / 2)


def test_its_dicom_objects_name_the_structure_and_the_phantom(found: Path) -> None:
    folder = label_map_folder(found, "ct-01", "phantom_gtv")
    seg, rtstruct = (pydicom.dcmread(folder / f"{name}.dcm") for name in ("seg", "rtstruct"))
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["gtv"]
    assert [s.ROIName for s in rtstruct.StructureSetROISequence] == ["gtv"]
    assert "phantom" in str(seg).lower() and "phantom" in str(rtstruct).lower()


def test_the_record_names_the_phantoms_files_with_their_hashes(found: Path) -> None:
    record = StageRecord.load(found)
    assert record is not None and record.device == "cpu"
    assert len(record.weights) == 3 and all(n.startswith("phantom/Dataset901_phantom_gtv/") for n in record.weights)
    assert record.counts == {"done": 1, "invalid": 0}


@pytest.mark.slow
def test_a_second_run_gives_the_same_bytes(lesion: Course, found: Path, tmp_path: Path) -> None:
    again, first = lesion.run(tmp_path / "again", config(limit_s=600)), StageRecord.load(found)
    assert first is not None and again.output_digest == first.output_digest
    for file in sorted(label_map_folder(found, "ct-01", "phantom_gtv").iterdir()):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(found)).read_bytes(), file.name


def test_nothing_that_names_a_patient_or_a_folder_is_left(found: Path) -> None:
    for path in found.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for text in (b"DEMO-901", b"Demo^Lesion", str(found.parent).encode(), str(DEMO_MODEL.parents[3]).encode()):
                assert text not in content, path.name


# --- stand-ins for the network -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A small course with the demo's marker."""
    return small_course(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """The same without the marker, as from a hospital."""
    return small_course(tmp_path_factory.mktemp("hospital"), "SCANNER AG")


def small_course(folder: Path, manufacturer: str | None = None) -> Course:
    patient = small_patient()
    for ds in patient.datasets():
        if manufacturer is not None:
            ds.Manufacturer = manufacturer
    course = Course(run_chain(patient.save(folder / "in"), folder / "work", stages=["prepare_images"]))
    assert course.chain.course.demo == (manufacturer is None)
    return course


@dataclass
class Networks:
    """In place of the program: what each model gives, by name, and which were run on which device."""

    failing: dict[str, Failure] = field(default_factory=dict)
    values: dict[str, Callable[[NDArray[np.uint8]], None]] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    devices: list[str | None] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    limits_s: list[float] = field(default_factory=list)

    def __call__(
        self, model: Any, image: Path, grid: Any, scratch: Path, *, device: Any, timeout_s: float, **_: Any
    ) -> Prediction:
        self.folders.append(scratch)
        self.limits_s.append(timeout_s)
        self.ran.append(model.name)
        self.devices.append(device.gpu)
        if model.name in self.failing and not (self.failing[model.name] == "no_gpu" and device.gpu is None):
            raise PredictionError(self.failing[model.name], "exit code 1: as it said")
        values = np.zeros(grid.shape_zyx, np.uint8)
        self.values.get(model.name, two_balls)(values)
        return Prediction(values, 3.0, device.name)


def two_balls(values: NDArray[np.uint8]) -> None:
    """Labels 1 and 2 in the middle of the image."""
    values[5:9, 12:18, 12:18] = 1
    values[10:14, 20:26, 20:26] = 2


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Networks:
    stand_in = Networks()
    monkeypatch.setattr(custom_stage, "predict", stand_in)
    monkeypatch.setattr(custom_stage, "gpus", list)
    return stand_in


def two_models(root: Path) -> tuple[ModelFolder, ModelFolder]:
    """One that is `good` and one to be spoilt."""
    return model_folder(root, "good"), model_folder(root, "other")


def changed_checkpoint(folder: ModelFolder) -> None:
    (folder.files / "fold_0" / "checkpoint_final.pth").write_bytes(b"another network")


def missing_checkpoint(folder: ModelFolder) -> None:
    (folder.files / "fold_0" / "checkpoint_final.pth").unlink()


def swapped_labels(folder: ModelFolder) -> None:
    folder.declare(labels={1: "ventricle", 2: "atrium"})


def missing_folder(folder: ModelFolder) -> None:
    shutil.rmtree(folder.files)


def no_network(folder: ModelFolder) -> None:
    folder.rewrite("dataset.json", {"description": "something else"})


def unknown_key(folder: ModelFolder) -> None:
    folder.declare(lables={1: "atrium"})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (changed_checkpoint, "fold_0/checkpoint_final.pth has sha256"),
        (missing_checkpoint, "fold_0/checkpoint_final.pth is missing"),
        (swapped_labels, "label 1 declared as 'ventricle'"),
        (missing_folder, "is missing"),
        (no_network, "no labels"),
        (unknown_key, "did you mean 'labels'"),
    ],
)
def test_a_model_that_is_not_what_was_declared_is_lost_alone(
    hospital: Course, networks: Networks, tmp_path: Path, spoil: Callable[[ModelFolder], None], said: str
) -> None:
    """The stage is done: nothing changes by trying again, and a corrected model has another key."""
    _, other = two_models(tmp_path / "models")
    spoil(other)
    record = hospital.run(tmp_path / "out", config(tmp_path / "models"))
    assert (record.status, networks.ran) == ("done", ["good"])
    assert record.counts == {"done": 1, "invalid": 1}
    ((code, severity, _),) = codes(record)
    assert (code, severity) == ("MODEL_INVALID", "E")
    assert said in record.findings[0]["measured"] and str(tmp_path) not in json.dumps(record.findings)
    assert set(rows(tmp_path / "out")["model"]) == {"good"}


def limited(root: Path, stage_s: float) -> Config:
    return parse_config(
        {
            "custom_models": {"root": str(root)},
            "segmentation": {"device": "cpu"},
            "timeouts": {"custom_model_s": 60.0, "stage_s": {"custom_models": stage_s}},
        }
    )


def test_models_end_before_their_stage_has_to(hospital: Course, networks: Networks, tmp_path: Path) -> None:
    """Killed at its limit the stage would lose every model, and again at the next attempt."""
    two_models(tmp_path / "models")
    assert hospital.run(tmp_path / "long", limited(tmp_path / "models", 1000.0)).status == "done"
    hospital.run(tmp_path / "short", limited(tmp_path / "models", 50.0))
    assert networks.limits_s[:2] == [60.0, 60.0] and all(0 < s <= 45.0 for s in networks.limits_s[2:])
    networks.ran.clear()
    record = hospital.run(tmp_path / "none", limited(tmp_path / "models", 1e-6))
    assert (record.status, networks.ran) == ("partial", [])
    assert [code for code, _, _ in codes(record)] == ["RES_TIMEOUT", "RES_TIMEOUT"]


def test_what_a_killed_model_leaves_lies_in_the_output_which_is_swept(
    hospital: Course, networks: Networks, tmp_path: Path
) -> None:
    two_models(tmp_path / "models")
    hospital.run(tmp_path / "out", config(tmp_path / "models"))
    assert networks.folders and all(folder.is_relative_to(tmp_path) for folder in networks.folders)
    assert not any(folder.exists() for folder in networks.folders)


DYING = """
import json, os, sys, time
import nibabel, numpy as np
job = json.loads(sys.argv[1])
if "other" in job["model"]:
    {end}
image = nibabel.load(job["image"])
values = np.zeros(image.shape, np.uint8)
values[12:18, 12:18, 5:9] = 1
nibabel.Nifti1Image(values, image.affine).to_filename(job["label_map"])
open(job["report"], "w").write(json.dumps({{"spacing_mm": [3.0, 3.0, 3.0]}}))
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("sys.exit('RuntimeError: size mismatch for encoder')", "SEG_FAILED"),
        ("os.abort()", "SEG_FAILED"),
        ("os.kill(os.getpid(), 9)", "SEG_OOM"),
        ("sys.exit('unable to allocate shared memory(shm)')", "RES_SHM"),
        ("time.sleep(60)", "RES_TIMEOUT"),
        ("sys.exit(0)", "SEG_FAILED"),
    ],
)
def test_a_process_that_dies_loses_its_model_alone(
    hospital: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, code: str
) -> None:
    program = (sys.executable, "-c", DYING.format(end=end))
    monkeypatch.setattr(custom_stage, "predict", partial(nnunet.predict, program=program))
    two_models(tmp_path / "models")
    limit_s = 8.0 if code == "RES_TIMEOUT" else 60.0
    record = hospital.run(tmp_path / "out", config(tmp_path / "models", limit_s=limit_s))
    assert (record.status, record.reason) == ("partial", "models without a result: other")
    assert ((code, "E", "custom model other") in codes(record), record.counts["failed"]) == (True, 1)
    assert set(rows(tmp_path / "out")["model"]) == {"good"}
    assert [m.model for m in read_label_maps(tmp_path / "out", hospital.prepared)] == ["good"]
    assert all(name.startswith("Folder_good/") for name in record.weights)


def test_files_that_nnunet_cannot_use_lose_their_model_alone(hospital: Course, tmp_path: Path) -> None:
    """Declared as they are, and no network: nnU-Net itself says so."""
    model_folder(tmp_path / "models", "text")
    record = hospital.run(tmp_path / "out", config(tmp_path / "models", limit_s=600))
    assert record.status == "partial" and codes(record) == [("SEG_FAILED", "E", "custom model text")]
    assert "exit code 1: " in record.findings[0]["measured"] and str(tmp_path) not in json.dumps(record.findings)
    assert len(rows(tmp_path / "out")) == 0


def test_numbers_that_no_label_has_are_no_result(hospital: Course, networks: Networks, tmp_path: Path) -> None:
    two_models(tmp_path / "models")
    networks.values["other"] = lambda values: values.fill(3)
    record = hospital.run(tmp_path / "out", config(tmp_path / "models"))
    assert record.status == "partial" and codes(record) == [("SEG_FAILED", "E", "custom model other")]
    assert record.findings[0]["measured"] == "its label map has numbers that no label has: [3]"


def test_only_the_lost_model_is_computed_again(hospital: Course, networks: Networks, tmp_path: Path) -> None:
    two_models(tmp_path / "models")
    networks.failing["good"] = "other"
    assert hospital.run(tmp_path / "out", config(tmp_path / "models")).status == "partial"
    kept = (label_map_folder(tmp_path / "out", "ct-01", "other") / LABEL_MAP).read_bytes()
    networks.failing.clear()
    networks.ran.clear()
    second = hospital.run(tmp_path / "out", config(tmp_path / "models"))
    assert (second.status, networks.ran, second.findings) == ("done", ["good"], [])
    assert (label_map_folder(tmp_path / "out", "ct-01", "other") / LABEL_MAP).read_bytes() == kept
    fresh = hospital.run(tmp_path / "fresh", config(tmp_path / "models"))
    assert fresh.output_digest == second.output_digest and fresh.weights == second.weights


def test_force_computes_what_had_succeeded_too(hospital: Course, networks: Networks, tmp_path: Path) -> None:
    two_models(tmp_path / "models")
    networks.failing["good"] = "other"
    hospital.run(tmp_path / "out", config(tmp_path / "models"))
    networks.ran.clear()
    hospital.run(tmp_path / "out", config(tmp_path / "models", force=True))
    assert networks.ran == ["good", "other"]


def test_a_label_that_is_not_found_is_a_row(hospital: Course, networks: Networks, tmp_path: Path) -> None:
    model_folder(tmp_path / "models", "good")
    networks.values["good"] = lambda values: values[5:9, 12:18, 12:18].fill(2)
    record = hospital.run(tmp_path / "out", config(tmp_path / "models"))
    assert codes(record) == [("SEG_EMPTY", "I", "custom model good")]
    assert record.findings[0]["measured"] == "1 of 2 not found: atrium"
    status = rows(tmp_path / "out").set_index("structure_name")["status"]
    assert status.to_dict() == {"atrium": "not_found", "ventricle": "ok"}


# --- which course a model is for -----------------------------------------------------------------------------------

SHOWN = {
    "THORAX": ("vertebrae_T4", "vertebrae_T5", "vertebrae_T6"),
    "PELVIS": ("urinary_bladder",),
}
"""What the label map below shows of two regions: confidence 0.7 and, by an organ alone, 0.3."""


def total(course: Course, out: Path) -> Path:
    """An output of segmentation with four structures of 6 x 10 x 10 voxels of 27 mm3: 16.2 cc each."""
    numbers = {name: number for number, name in catalogue.class_names("total").items()}
    geometry = load_geometry(course.prepared / "images" / "ct-01")
    values = np.zeros(geometry.voxel.shape_zyx, np.uint8)
    for place, name in enumerate(n for names in SHOWN.values() for n in names):
        values[4:10, 15:25, 10 * place : 10 * place + 10] = numbers[name]
    names = catalogue.class_names("total")
    write_label_map(out, LabelMap("ct-01", "totalsegmentator", "total", values, geometry.voxel, names, 6.0, False))
    return out


def test_a_model_runs_only_where_the_image_shows_its_region(
    hospital: Course, networks: Networks, tmp_path: Path
) -> None:
    root = tmp_path / "models"
    model_folder(root, "chest", required_body_regions=["THORAX"])
    model_folder(root, "neck", required_body_regions=["HEAD_NECK", "THORAX"])
    model_folder(root, "hip", required_body_regions=["PELVIS"])
    model_folder(root, "unsure", required_body_regions=["PELVIS"], min_region_confidence=0.3)
    record = hospital.run(tmp_path / "out", config(root), total(hospital, tmp_path / "total"))
    assert (record.status, networks.ran) == ("done", ["chest", "unsure"])
    assert codes(record) == [("MODEL_REFUSED", "I", f"custom model {name}") for name in ("hip", "neck")]
    assert [f["measured"] for f in record.findings] == ["PELVIS with confidence 0.30", "HEAD_NECK absent"]
    assert record.counts == {"done": 2, "invalid": 0, "refused": 2}
    regions = json.loads((tmp_path / "out" / BODY_REGIONS).read_text())
    assert {name: r["confidence"] for name, r in regions.items()} == {
        "HEAD_NECK": 0.0, "THORAX": 0.7, "ABDOMEN": 0.0, "PELVIS": 0.3,
    }  # fmt: skip
    assert regions["PELVIS"]["organs"] == ["bladder"] and regions["THORAX"]["vertebrae"] == 3


def test_regions_that_nobody_measured_refuse_nothing(hospital: Course, networks: Networks, tmp_path: Path) -> None:
    model_folder(tmp_path / "models", "hip", required_body_regions=["PELVIS"])
    record = hospital.run(tmp_path / "out", config(tmp_path / "models"))
    assert networks.ran == ["hip"] and codes(record) == [("MODEL_UNGATED", "I", "custom model hip")]
    assert record.findings[0]["measured"] == "PELVIS not measured: no label map of TotalSegmentator"
    assert not (tmp_path / "out" / BODY_REGIONS).exists()


def test_a_region_whose_classes_were_not_asked_for_is_unknown(
    hospital: Course, networks: Networks, tmp_path: Path
) -> None:
    model_folder(tmp_path / "models", "hip", required_body_regions=["PELVIS"])
    subset = config(tmp_path / "models")
    subset = subset.model_copy(
        update={"segmentation": subset.segmentation.model_copy(update={"roi_subset": ["urinary_bladder"]})}
    )
    record = hospital.run(tmp_path / "out", subset, total(hospital, tmp_path / "total"))
    assert networks.ran == ["hip"]
    assert [f["measured"] for f in record.findings] == ["PELVIS not measured: roi_subset leaves out its anchors"]


def test_the_phantoms_network_is_refused_for_a_hospitals_course(
    hospital: Course, networks: Networks, tmp_path: Path
) -> None:
    """Also under another name, and where the declaration hides what it is."""
    copy = tmp_path / "models" / "lung"
    shutil.copytree(DEMO_MODEL, copy)
    text = (copy / "custom_model.yaml").read_text()
    (copy / "custom_model.yaml").write_text(text.replace("phantom: true", "").replace("phantom_gtv", "lung"))
    model_folder(tmp_path / "models", "good")
    record = hospital.run(tmp_path / "out", config(tmp_path / "models"))
    assert (record.status, networks.ran) == ("done", ["good"])
    assert codes(record) == [("MODEL_REFUSED", "E", "custom model lung")]
    assert not any("phantom" in name for name in record.weights)
    assert not rows(tmp_path / "out")["phantom_weights"].any()


def test_a_model_of_another_modality_is_refused(hospital: Course, networks: Networks, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models", "brain", modality="MR")
    folder.rewrite("dataset.json", {"channel_names": {"0": "T1"}, "labels": {"background": 0, "atrium": 1}})
    record = hospital.run(tmp_path / "out", config(tmp_path / "models"))
    assert (networks.ran, codes(record)) == ([], [("MODEL_REFUSED", "I", "custom model brain")])
    assert record.findings[0]["measured"] == "planning image ct-01 is CT"
    assert (record.status, len(rows(tmp_path / "out"))) == ("done", 0)


def test_the_demos_course_gets_its_model_beside_those_declared(
    demo: Course, networks: Networks, tmp_path: Path
) -> None:
    model_folder(tmp_path / "models", "good")
    networks.values["phantom_gtv"] = lambda values: values[5:9, 12:18, 12:18].fill(1)
    demo.run(tmp_path / "out", config(tmp_path / "models"))
    assert networks.ran == ["good", "phantom_gtv"]
    flags = rows(tmp_path / "out").groupby("model")["phantom_weights"].agg(["min", "max"])
    assert flags.to_dict("index") == {"good": {"min": False, "max": False}, "phantom_gtv": {"min": True, "max": True}}


# --- the stage as a whole ------------------------------------------------------------------------------------------


def test_a_switched_off_stage_and_one_without_models_or_image_say_so(
    hospital: Course, networks: Networks, tmp_path: Path
) -> None:
    model_folder(tmp_path / "models", "good")
    assert hospital.run(tmp_path / "off", config(tmp_path / "models", enabled=False)).status == "disabled"
    assert hospital.run(tmp_path / "none", config()).status == "not_applicable"
    model_folder(tmp_path / "sleeping", "good", enabled=False)
    assert hospital.run(tmp_path / "asleep", config(tmp_path / "sleeping")).status == "not_applicable"
    patient = small_patient()
    patient.ct = []
    blind = Course(run_chain(patient.save(tmp_path / "in"), tmp_path / "work", stages=["prepare_images"]))
    record = blind.run(tmp_path / "blind", config(tmp_path / "models"))
    assert (record.status, record.reason, networks.ran) == ("not_applicable", "no planning image", [])


def test_a_root_without_models_is_told(hospital: Course, networks: Networks, tmp_path: Path) -> None:
    record = hospital.run(tmp_path / "out", config(tmp_path / "typo"))
    assert codes(record) == [("MODEL_INVALID", "E", "custom model custom_models.root")]


def test_a_gpu_that_is_not_there_is_never_replaced_in_silence(
    demo: Course, hospital: Course, networks: Networks, tmp_path: Path
) -> None:
    model_folder(tmp_path / "models", "good")
    record = hospital.run(tmp_path / "out", config(tmp_path / "models", device="gpu"))
    assert (record.status, codes(record)) == ("not_run", [("SEG_NO_GPU", "E", "custom models")])
    record = demo.run(tmp_path / "demo", config(device="gpu"))
    assert (record.status, codes(record)) == ("not_run", [("SEG_NO_GPU", "W", "custom models")])
    assert networks.ran == []


def test_the_cpu_is_used_with_a_finding_or_because_it_is_configured(
    hospital: Course, networks: Networks, tmp_path: Path
) -> None:
    two_models(tmp_path / "models")
    record = hospital.run(tmp_path / "auto", config(tmp_path / "models", device="auto"))
    assert (codes(record), record.device) == ([("SEG_CPU", "I", "custom models")], "cpu")
    assert hospital.run(tmp_path / "cpu", config(tmp_path / "models")).findings == []


def test_a_gpu_that_torch_does_not_see_is_tried_once(
    hospital: Course, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_models(tmp_path / "models")
    monkeypatch.setattr(custom_stage, "gpus", lambda: ["0"])
    networks.failing = {"good": "no_gpu", "other": "no_gpu"}
    record = hospital.run(tmp_path / "auto", config(tmp_path / "models", device="auto"))
    assert (record.status, networks.devices) == ("done", ["0", None, None])
    assert (codes(record), record.device) == ([("SEG_CPU", "I", "custom models")], "cpu")
    record = hospital.run(tmp_path / "gpu", config(tmp_path / "models", device="gpu"))
    assert record.status == "partial" and {c for c, _, _ in codes(record)} == {"SEG_NO_GPU"}


def test_without_nnunet_the_stage_did_not_run(
    hospital: Course, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_folder(tmp_path / "models", "good")
    monkeypatch.setattr(custom_stage.importlib.util, "find_spec", lambda name: None)
    record = hospital.run(tmp_path / "out", config(tmp_path / "models"))
    assert (record.status, codes(record)) == ("not_run", [("SEG_FAILED", "E", "custom models")])
    assert record.findings[0]["remedy"] == "pip install 'rtpipeline[segmentation]'"


# --- the largest piece ---------------------------------------------------------------------------------------------


def test_of_each_label_the_largest_piece_is_kept() -> None:
    values = np.zeros((6, 8, 8), np.uint8)
    values[0:2, 0:2, 0:2] = 1  # 8 voxels
    values[2, 2, 2] = 1  # touches them by a corner: the same piece
    values[4:6, 5:8, 5:8] = 1  # 18 voxels
    values[0, 6, 6] = values[3, 0, 5] = 3  # of two equal ones the first
    kept = keep_largest_components(values)
    expected = np.zeros_like(values)
    expected[4:6, 5:8, 5:8] = 1
    expected[0, 6, 6] = 3
    np.testing.assert_array_equal(kept, expected)
    values[2:4, 2:6, 2:6][values[2:4, 2:6, 2:6] == 0] = 1  # a bridge makes one piece of them
    np.testing.assert_array_equal(keep_largest_components(values) == 1, values == 1)


def test_a_model_may_ask_for_the_largest_piece(hospital: Course, networks: Networks, tmp_path: Path) -> None:
    model_folder(tmp_path / "models", "all")
    model_folder(tmp_path / "models", "one", keep_largest_component=True)

    def stray(values: NDArray[np.uint8]) -> None:
        two_balls(values)
        values[16, 30, 30] = 1

    networks.values = {"all": stray, "one": stray}
    hospital.run(tmp_path / "out", config(tmp_path / "models"))
    pieces = rows(tmp_path / "out").set_index(["model", "structure_name"])["components"]
    assert pieces.to_dict() == {
        ("all", "atrium"): 2, ("all", "ventricle"): 1, ("one", "atrium"): 1, ("one", "ventricle"): 1,
    }  # fmt: skip

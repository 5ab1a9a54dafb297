"""The program that predicts, by programs that behave badly, and the real one on the phantom's lesion."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtpipeline.config import CustomModelsConfig
from rtpipeline.demo.phantom import Phantom
from rtpipeline.geometry.grid import Grid
from rtpipeline.prepare.image_files import IMAGE, load_geometry
from rtpipeline.prepare.nifti import write_nifti
from rtpipeline.segmentation.device import Device
from rtpipeline.segmentation.model_folder import CustomModel, offered_models
from rtpipeline.segmentation.nnunet import PredictionError, predict
from tests.segmentation.lesions import dice, in_patient, model_folder, phantom_of_lesion, save_ct
from tests.synthetic.pipeline import run_chain

LESION_DICE = 0.9
"""Measured 0.999 here, without keeping the largest piece; other hardware may round a few border voxels otherwise."""

GRID = Grid.from_dicom_like([1, 0, 0, 0, -1, 0], [10, 20, 30], [2.0, 1.5], np.arange(4) * 2.5, 3, 5)

WRITE = """
import json, sys
import nibabel, numpy as np
job = json.loads(sys.argv[1])
image = nibabel.load(job["image"])
values, affine = np.full(image.shape, 2, np.uint8), image.affine
{change}
nibabel.Nifti1Image(values, affine).to_filename(job["label_map"])
open(job["report"], "w").write(json.dumps({{"spacing_mm": [3.0, 1.5, 1.5]}}))
"""


@dataclass
class Bench:
    """An image, a model, and a program to run in nnU-Net's place."""

    folder: Path
    model: CustomModel

    def run(self, program: str, *, device: Device = Device(), timeout_s: float = 60.0) -> NDArray[np.uint8]:  # noqa: B008
        found = predict(
            self.model,
            self.folder / "image.nii.gz",
            GRID,
            self.folder / "scratch",
            device=device,
            threads=1,
            timeout_s=timeout_s,
            program=(sys.executable, "-c", program),
        )
        assert found.resolution_mm == 3.0
        return found.values

    def fails(self, program: str, **settings: float) -> PredictionError:
        with pytest.raises(PredictionError) as raised:
            self.run(program, **settings)  # type: ignore[arg-type]
        return raised.value


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    write_nifti(tmp_path / "image.nii.gz", np.zeros(GRID.shape_zyx, np.int16), GRID)
    model_folder(tmp_path / "models")
    (model,), _ = offered_models(CustomModelsConfig(root=tmp_path / "models"), demo=False)
    return Bench(tmp_path, model)


def test_labels_come_back_in_the_order_of_the_grid(bench: Bench) -> None:
    values = bench.run(WRITE.format(change="values[4, 0, 3] = 1"))
    assert values.shape == GRID.shape_zyx
    assert (values[3, 0, 4], int((values == 1).sum())) == (1, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("values = values[:-1]", "shape (4, 3, 4), the image (4, 3, 5)"),
        ("affine = affine @ np.diag([-1.0, 1, 1, 1])", "off the image"),
        ("affine[2, 3] += 0.5", "0.5 mm off the image"),
        ("values = values.astype(np.float64)", "cannot be read"),
    ],
)
def test_a_label_map_that_does_not_lie_on_the_image_is_refused(bench: Bench, change: str, said: str) -> None:
    error = bench.fails(WRITE.format(change=change))
    assert (error.kind, said in error.reason) == ("other", True), error.reason


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("raise MemoryError", "memory"),
        ("import os; os.kill(os.getpid(), 9)", "memory"),
        ("import sys; sys.exit('unable to allocate shared memory(shm)')", "shared_memory"),
        ("import sys; sys.exit(69)", "no_gpu"),
        ("raise KeyError('/srv/patients/doe/x')", "other"),
        ("pass", "other"),
    ],
)
def test_how_it_failed_is_told_apart_and_without_folders(bench: Bench, program: str, kind: str) -> None:
    error = bench.fails(program)
    assert error.kind == kind
    assert "patients" not in error.reason and str(bench.folder) not in error.reason


def test_a_program_that_takes_too_long_is_ended(bench: Bench) -> None:
    started = time.monotonic()
    error = bench.fails("import time; time.sleep(60)", timeout_s=0.5)
    assert (error.kind, error.reason) == ("timeout", "no end within 0.5 s")
    assert time.monotonic() - started < 30


KEEPS_A_COPY = """
import pathlib, tempfile, time
with tempfile.TemporaryDirectory() as folder:
    (pathlib.Path(folder) / "image.nii.gz").write_text("")
    time.sleep(60)
"""


def test_copies_of_the_image_lie_where_they_are_removed_when_the_program_is_ended(bench: Bench) -> None:
    assert bench.fails(KEEPS_A_COPY, timeout_s=3.0).kind == "timeout"
    assert len(list((bench.folder / "scratch").glob("*/image.nii.gz"))) == 1


ONLY_OFF_DEVICE = WRITE.format(change="if job['on_device']: sys.exit('CUDA out of memory')")


def test_a_gpu_without_memory_is_tried_once_more_with_the_results_in_host_memory(bench: Bench) -> None:
    assert (bench.run(ONLY_OFF_DEVICE, device=Device("0")) == 2).all()


def test_on_the_cpu_there_is_nothing_to_make_smaller(bench: Bench) -> None:
    assert bench.fails("import sys; sys.exit('not enough memory')").kind == "memory"


Predict = Callable[[str], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return phantom_of_lesion()


@pytest.fixture(scope="module")
def predicted(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Predict:
    """The lesion's network on the phantom in a patient position, as (x, y, z) on the phantom's voxels."""
    found: dict[str, NDArray[np.uint8]] = {}

    def of_position(position: str) -> NDArray[np.uint8]:
        if position not in found:
            folder = tmp_path_factory.mktemp(position)
            chain = run_chain(save_ct(phantom, folder / "in", position), folder / "work", stages=["prepare_images"])
            image = chain.folder(chain.course.course_id, "prepare_images") / "images" / "ct-01"
            grid = load_geometry(image).voxel
            (model,), _ = offered_models(CustomModelsConfig(), demo=True)
            labels = predict(
                model, image / IMAGE, grid, folder / "scratch", device=Device(), threads=2, timeout_s=300.0
            )
            assert labels.resolution_mm == 3.0
            found[position] = in_patient(labels.values, grid, phantom)
        return found[position]

    return of_position


def test_the_lesion_is_found_where_it_is(predicted: Predict, phantom: Phantom) -> None:
    assert dice(predicted("HFS") == 1, phantom.lesion) >= LESION_DICE


@pytest.mark.slow
@pytest.mark.parametrize("position", ["FFS", "HFP", "HFDL"])
def test_the_same_patient_in_any_position_has_the_same_voxels(predicted: Predict, position: str) -> None:
    """nnU-Net hands voxels to the network as they lie in the file. A prone or feet-first series reached it mirrored:
    on another of these phantoms, whose lesion it finds with Dice 0.62, it then found 0.24 of it."""
    np.testing.assert_array_equal(predicted(position), predicted("HFS"))

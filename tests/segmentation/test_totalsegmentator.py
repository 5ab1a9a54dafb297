"""One run of the command: what it is told, and what is tried again, by programs that stand in for it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtpipeline.errors import OutOfMemoryError
from rtpipeline.geometry.grid import Grid
from rtpipeline.prepare.nifti import write_nifti
from rtpipeline.segmentation import catalogue
from rtpipeline.segmentation.device import Device
from rtpipeline.segmentation.totalsegmentator import Job, Segmented, segment, voxels_along_z

TASK = catalogue.task("total", "fastest")
LONG = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [1, 2, 3], [2.0, 2.0], np.arange(120) * 3.0, 4, 5)
"""360 mm: 60 voxels of the 6 mm network."""
SHORT = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [1, 2, 3], [2.0, 2.0], np.arange(100) * 3.0, 4, 5)

PROGRAM = """
import json, os, pathlib, shutil, sys, time
limits, command = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
options = dict(zip(command[::1], command[1:] + [""]))
seen = pathlib.Path({log!r})
home = json.loads((pathlib.Path(os.environ["TOTALSEG_HOME_DIR"]) / "config.json").read_text())
keep = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TOTALSEG_WEIGHTS_PATH", "TMPDIR", "nnUNet_def_n_proc")
keep += ("CUDA_VISIBLE_DEVICES",)
with seen.open("a") as file:
    file.write(json.dumps([limits, command, home, {{k: os.environ.get(k) for k in keep}}]) + "\\n")
attempt = len(seen.read_text().splitlines())
{body}
shutil.copy(options["-i"], options["-o"])
"""


class Bench:
    """An image whose labels are the image itself, and a program that behaves as told."""

    def __init__(self, folder: Path, grid: Grid = LONG) -> None:
        self.folder, self.log = folder, folder / "seen"
        self.values = (np.arange(np.prod(grid.shape_zyx)) % 7).astype(np.uint8).reshape(grid.shape_zyx)
        write_nifti(folder / "image.nii.gz", self.values, grid)
        self.job = Job("ct-01 total", folder / "image.nii.gz", grid, TASK, folder / "weights", timeout_s=30, threads=3)

    def run(self, body: str = "", **changes: Any) -> Segmented:
        program = [sys.executable, "-c", PROGRAM.format(log=str(self.log), body=body)]
        return segment(replace(self.job, **changes), self.folder, program)

    @property
    def seen(self) -> list[Any]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_command_gets_its_own_home_without_statistics_and_limits(bench: Bench) -> None:
    found = bench.run(license_number="aca_123456789012345")
    assert found.values is not None and found.failure is None and found.findings == []
    np.testing.assert_array_equal(found.values, bench.values)
    ((limits, command, home, environment),) = bench.seen
    assert limits == ["--threads", "3", "--one-process"]
    assert command[4:] == ["--ml", "--task", "total", "-d", "cpu", "-nr", "1", "-ns", "1", "--fastest"]
    assert home["send_usage_stats"] is False and home["statistics_disclaimer_shown"] is True
    assert home["license_number"] == "aca_123456789012345"
    assert (environment["OMP_NUM_THREADS"], environment["OPENBLAS_NUM_THREADS"]) == ("3", "1")
    assert environment["TOTALSEG_WEIGHTS_PATH"] == str(bench.job.weights)
    assert environment["nnUNet_def_n_proc"] == "1"
    assert environment["TMPDIR"].startswith(str(bench.folder))
    assert sorted(p.name for p in bench.folder.iterdir()) == ["image.nii.gz", "seen"], "nothing temporary is left"


def test_the_settings_of_the_configuration_reach_the_command(bench: Bench) -> None:
    task = catalogue.task("total", "fast")
    bench.run(task=task, subset=("liver", "heart"), split=True, processes_in=2, processes_out=4)
    ((limits, command, _, environment),) = bench.seen
    assert limits == ["--threads", "3"]
    expected = ["-d", "cpu", "-nr", "2", "-ns", "4", "--fast", "--force_split", "--roi_subset", "liver", "heart"]
    assert command[7:] == expected
    assert environment["nnUNet_def_n_proc"] == "4"


def test_the_chosen_gpu_alone_is_shown_and_has_to_be_there(bench: Bench) -> None:
    assert bench.run(device=Device("3")).device == "cuda"
    ((limits, command, _, environment),) = bench.seen
    assert "--gpu" in limits and command[command.index("-d") + 1] == "gpu"
    assert environment["CUDA_VISIBLE_DEVICES"] == "3"


def test_an_image_too_short_for_three_pieces_is_not_split(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SHORT)
    assert bench.run(split=True).values is not None
    assert "--force_split" not in bench.seen[0][1]


@pytest.mark.parametrize(
    ("grid", "voxels"),
    [
        (LONG, 60),
        (Grid.from_dicom_like([1, 0, 0, 0, 0, -1], [0, 0, 0], [3.0, 2.0], np.arange(9) * 5.0, 100, 7), 50),
        (Grid.from_dicom_like([0, 0, -1, 1, 0, 0], [0, 0, 0], [3.0, 2.0], np.arange(9) * 5.0, 100, 90), 30),
    ],
)
def test_the_axis_nearest_to_the_patients_z_is_counted(grid: Grid, voxels: int) -> None:
    assert voxels_along_z(grid, 6.0) == voxels


KILLED = "if attempt == 1: os.kill(os.getpid(), 9)"


def test_out_of_memory_is_tried_once_more_in_three_pieces(bench: Bench) -> None:
    found = bench.run(KILLED, processes_in=2)
    assert found.values is not None
    assert [(f.code, f.severity.value) for f in found.findings] == [("SEG_OOM", "W")]
    first, second = bench.seen
    assert "--force_split" not in first[1] and "--force_split" in second[1]
    assert "--one-process" in second[0]


def test_memory_that_never_suffices_goes_to_the_next_rung(bench: Bench) -> None:
    with pytest.raises(OutOfMemoryError, match="ct-01 total"):
        bench.run("os.kill(os.getpid(), 9)")
    assert len(bench.seen) == 2


def test_an_image_that_cannot_be_split_goes_there_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SHORT)
    with pytest.raises(OutOfMemoryError):
        bench.run("sys.exit('RuntimeError: CUDA out of memory')")
    assert len(bench.seen) == 1


SHM = "if '--one-process' not in limits: sys.exit('RuntimeError: unable to allocate shared memory(shm)')"


def test_too_little_shared_memory_leads_to_one_process(bench: Bench) -> None:
    found = bench.run(SHM, processes_in=2)
    assert found.values is not None
    assert [(f.code, f.severity.value) for f in found.findings] == [("RES_SHM", "W")]


def test_a_gpu_that_torch_does_not_see_is_refused_or_replaced_as_configured(bench: Bench) -> None:
    body = "if '--gpu' in limits: print('torch sees no GPU'); sys.exit(69)"
    refused = bench.run(body, device=Device("0"), may_use_cpu=False)
    assert (refused.failure, [f.code for f in refused.findings]) == ("no_gpu", ["SEG_NO_GPU"])
    replaced = bench.run(body, device=Device("0"))
    assert replaced.values is not None and replaced.device == "cpu"
    assert [f.code for f in replaced.findings] == ["SEG_CPU"]


def test_a_run_beyond_its_time_is_ended(bench: Bench) -> None:
    found = bench.run("time.sleep(60)", timeout_s=1.0)
    assert (found.values, found.failure) == (None, "timeout")
    (only,) = found.findings
    assert only.code == "RES_TIMEOUT" and only.measured == "not done after 1 s"


@pytest.mark.parametrize(("left_s", "begun"), [(2.0, True), (0.0, False), (-5.0, False)])
def test_a_run_ends_before_its_stage_has_to(bench: Bench, left_s: float, begun: bool) -> None:
    found = bench.run("time.sleep(60)", ends_s=time.monotonic() + left_s)
    assert (found.values, found.failure, bench.log.exists()) == (None, "timeout", begun)
    (only,) = found.findings
    assert (only.code, only.measured) == ("RES_TIMEOUT", "not done when the stage's time was up")
    assert "timeouts.stage_s" in only.expected


def test_a_failure_names_its_reason_without_folders(bench: Bench) -> None:
    found = bench.run("sys.exit('ValueError: bad thing in ' + options['-i'])")
    (only,) = found.findings
    assert (only.code, only.object) == ("SEG_FAILED", "ct-01 total")
    assert only.measured == "exit code 1: ValueError: bad thing in ..."


def test_a_command_that_writes_nothing_has_failed(bench: Bench) -> None:
    found = bench.run("sys.exit(0)")
    assert found.failure == "other"
    assert "without writing a label map" in found.findings[0].measured


def test_a_label_map_on_other_voxels_is_refused(bench: Bench) -> None:
    shifted = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [1, 2, 4], [2.0, 2.0], LONG.plane_offsets_mm, 4, 5)
    found = bench.run(grid=shifted)
    assert found.values is None and found.findings[0].code == "SEG_FAILED"
    assert "lies 1 mm off the image" in found.findings[0].measured

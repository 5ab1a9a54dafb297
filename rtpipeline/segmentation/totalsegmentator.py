"""One task of TotalSegmentator on one image: the command as a process of its own, once more where that may help."""

from __future__ import annotations

import json
import logging
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.errors import OutOfMemoryError
from rtpipeline.execution.environment import one_gpu, process_environment
from rtpipeline.geometry.grid import Grid
from rtpipeline.segmentation.catalogue import Task
from rtpipeline.segmentation.device import Device
from rtpipeline.segmentation.failures import Ended, Failure, run_program
from rtpipeline.segmentation.on_grid import GridMismatchError, read_on_grid

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "rtpipeline.segmentation.totalsegmentator_process")

SMALLEST_SPLIT_VOXELS = 58
"""Along z at the network's resolution: three pieces with 20 voxels of margin each need that many."""


@dataclass(frozen=True)
class Job:
    """What one run is asked for.

    name: of the item, for findings (`ct-01 total`). image: NIfTI on `grid`. subset: structures to keep; empty for all.
    may_use_cpu: where torch does not see the device's GPU. weights: folder of the networks. timeout_s: limit of each
    attempt. ends_s: on the clock `time.monotonic`, when the stage leaves no more time.
    """

    name: str
    image: Path
    grid: Grid
    task: Task
    weights: Path
    device: Device = Device()  # noqa: RUF009  # frozen
    may_use_cpu: bool = True
    subset: tuple[str, ...] = ()
    threads: int = 1
    timeout_s: float = 3600.0
    ends_s: float = math.inf
    split: bool = False
    processes_in: int = 1
    processes_out: int = 1
    license_number: str | None = None

    @property
    def limit_s(self) -> float:
        """Limit of an attempt that begins now; 0 when there is no time left."""
        return max(0.0, min(self.timeout_s, self.ends_s - time.monotonic()))

    @property
    def is_one_process(self) -> bool:
        """Whether everything happens in one process, without shared memory."""
        return self.processes_in == 1 and self.processes_out == 1

    @property
    def can_split(self) -> bool:
        """Whether the image is long enough to be cut into three."""
        return voxels_along_z(self.grid, self.task.resolution_mm) >= SMALLEST_SPLIT_VOXELS


@dataclass(frozen=True)
class Segmented:
    """How a job ended.

    values: (z, y, x) uint8 label numbers on the job's grid, None when there are none. failure: why there are none.
    device: `cpu` or `cuda`, where it ran at last.
    """

    values: NDArray[np.uint8] | None
    device: str
    failure: Failure | None = None
    findings: list[Finding] = field(default_factory=list)


def segment(job: Job, scratch: Path, program: Sequence[str] = PROGRAM) -> Segmented:
    """Run the job; smaller when memory runs out, in one process when shared memory does, on the CPU without a GPU.

    Parameters
    ----------
    scratch: folder for everything temporary. program: takes the options of `totalsegmentator_process`.

    Raises
    ------
    OutOfMemoryError: not even the smallest form fits.
    """
    findings: list[Finding] = []
    if job.split and not job.can_split:
        log.info("%s: too short for force_split, not split", job.name)
        job = replace(job, split=False)
    while True:
        limit_s = job.limit_s
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            ended = _attempt(job, Path(folder), program, limit_s) if limit_s else Ended(0, "", timed_out=True)
            if ended.failure is None:
                try:
                    values = read_on_grid(Path(folder) / "labels.nii.gz", job.grid)
                except GridMismatchError as error:
                    findings.append(finding("SEG_FAILED", job.name, str(error)))
                    return Segmented(None, job.device.name, "other", findings)
                return Segmented(values, job.device.name, None, findings)
        log.warning("%s: %s (%s)", job.name, ended.failure, ended.reason)
        smaller = _again(job, ended, findings)
        if smaller is None:
            findings.append(_final_finding(job, ended, limit_s))
            return Segmented(None, job.device.name, ended.failure, findings)
        job = smaller


def _again(job: Job, ended: Ended, findings: list[Finding]) -> Job | None:
    """The job in the form in which it may succeed, with a finding that says so; None when nothing is left to try."""
    match ended.failure:
        case "no_gpu" if job.may_use_cpu:
            findings.append(finding("SEG_CPU", job.name, ended.reason))
            return replace(job, device=Device(is_fallback=True))
        case "shared_memory" if not job.is_one_process:
            findings.append(finding("RES_SHM", job.name, ended.reason))
            return replace(job, processes_in=1, processes_out=1)
        case "memory" if not job.split and job.can_split:
            action = "run once more in three pieces along z"
            findings.append(finding("SEG_OOM", job.name, ended.reason, severity="W", action=action))
            return replace(job, split=True, processes_in=1, processes_out=1)
        case "memory":
            raise OutOfMemoryError(f"{job.name}: {ended.reason}")
    return None


def _final_finding(job: Job, ended: Ended, limit_s: float) -> Finding:
    match ended.failure:
        case "timeout":
            if limit_s < job.timeout_s:
                expected = "an end within the stage's time (timeouts.stage_s)"
                return finding("RES_TIMEOUT", job.name, "not done when the stage's time was up", expected=expected)
            expected = f"at most {job.timeout_s:g} s (timeouts.totalsegmentator_s)"
            return finding("RES_TIMEOUT", job.name, f"not done after {job.timeout_s:g} s", expected=expected)
        case "no_gpu":
            return finding("SEG_NO_GPU", job.name, ended.reason)
        case "shared_memory":
            return finding("RES_SHM", job.name, ended.reason, severity="E", action="its structures are missing")
    return finding("SEG_FAILED", job.name, ended.reason)


def _attempt(job: Job, folder: Path, program: Sequence[str], limit_s: float) -> Ended:
    """Run the command once in an empty folder; labels.nii.gz is there when it has ended well."""
    home = folder / "home"
    home.mkdir()
    _write_settings(home, job.license_number)
    environment = process_environment(job.threads) | {
        "TOTALSEG_HOME_DIR": str(home),
        "TOTALSEG_WEIGHTS_PATH": str(job.weights),
        "nnUNet_def_n_proc": str(max(job.processes_in, job.processes_out)),
    }
    if job.is_one_process:
        # volumes of the library's own must not outlive it; workers need the short path of their sockets (108 bytes)
        environment["TMPDIR"] = str(folder)
    if job.device.gpu is not None:
        environment |= one_gpu(job.device.gpu)
    ended = run_program([*program, *_arguments(job, folder)], environment, limit_s, folder / "output")
    if ended.code == 0 and not ended.timed_out and not (folder / "labels.nii.gz").is_file():
        return replace(ended, code=1, output=f"{ended.output}\nended without writing a label map")
    return ended


def _write_settings(home: Path, license_number: str | None) -> None:
    """The library's settings file. Without the second key it sends usage statistics; there is no option for it."""
    settings: dict[str, Any] = {
        "totalseg_id": "totalseg_RTPIPELN",
        "send_usage_stats": False,
        "prediction_counter": 0,
        "statistics_disclaimer_shown": True,
    }
    if license_number:
        settings["license_number"] = license_number
    (home / "config.json").write_text(json.dumps(settings))


def _arguments(job: Job, folder: Path) -> list[str]:
    limits = ["--threads", str(job.threads)]
    if job.device.gpu is not None:
        limits.append("--gpu")
    if job.is_one_process:
        limits.append("--one-process")
    command = ["-i", str(job.image), "-o", str(folder / "labels.nii.gz"), "--ml", "--task", job.task.name]
    command += [
        "-d",
        "cpu" if job.device.gpu is None else "gpu",
        "-nr",
        str(job.processes_in),
        "-ns",
        str(job.processes_out),
    ]
    if job.task.mode != "full":
        command.append(f"--{job.task.mode}")
    if job.split:
        command.append("--force_split")
    if job.subset:
        command += ["--roi_subset", *job.subset]
    return [*limits, "--", *command]


def voxels_along_z(grid: Grid, resolution_mm: float | None) -> int:
    """Voxels along the axis nearest to the patient's z: of the network, or of the grid where it is not resampled."""
    planes, rows, columns = grid.shape_zyx
    axes = (
        (grid.normal, planes, grid.plane_spacing_mm or 0.0),
        (grid.column_direction, rows, grid.row_spacing_mm),
        (grid.row_direction, columns, grid.column_spacing_mm),
    )
    _, count, spacing_mm = max(axes, key=lambda axis: abs(float(axis[0][2])))
    return count if resolution_mm is None else int(count * spacing_mm / resolution_mm)

"""A label map from an nnU-Net v2 model: run the program that predicts, and check what it left behind."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtpipeline.execution.environment import one_gpu, process_environment
from rtpipeline.geometry.grid import Grid
from rtpipeline.prepare.nifti import read_nifti_values
from rtpipeline.segmentation.device import Device
from rtpipeline.segmentation.failures import Ended, Failure, run_program
from rtpipeline.segmentation.model_folder import CustomModel
from rtpipeline.segmentation.nnunet_predict import Job

PROGRAM = (sys.executable, "-m", "rtpipeline.segmentation.nnunet_predict")

AFFINE_TOLERANCE_MM = 1e-2
"""NIfTI holds its affine in float32, and readers turn it into directions and back."""


@dataclass(frozen=True)
class Prediction:
    """values: (z, y, x) label numbers on the image's grid. resolution_mm: the coarsest voxel edge of the network."""

    values: NDArray[Any]
    resolution_mm: float
    device: str


class PredictionError(Exception):
    """A model ended without a label map that fits its image. reason: without paths, fit for a finding."""

    def __init__(self, kind: Failure, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


def predict(
    model: CustomModel,
    image: Path,
    grid: Grid,
    scratch: Path,
    *,
    device: Device,
    threads: int,
    timeout_s: float,
    program: tuple[str, ...] = PROGRAM,
) -> Prediction:
    """The label map of one image.

    When a GPU's memory runs out, once more with the results of the patches in the container's memory: the same numbers,
    slower. On the CPU nothing can be made smaller without changing the numbers.

    Parameters
    ----------
    image: prepared NIfTI. grid: its voxel grid. scratch: folder for this model alone. program: what is run, with the
    job as last argument.

    Raises
    ------
    PredictionError: it failed, took too long, or its label map does not lie on the image's grid.
    """
    declared = model.declaration
    job = Job(
        model=str(model.folder.resolve()),
        image=str(image.resolve()),
        label_map=str((scratch / "labels.nii.gz").resolve()),
        report=str((scratch / "report.json").resolve()),
        folds=list(declared.used_folds),
        checkpoint=declared.checkpoint,
        orientation=declared.orientation,
        step_size=declared.step_size,
        mirroring=not declared.disable_tta,
        device=device.name,
        on_device=device.gpu is not None,
        threads=threads,
    )
    ended = _run(job, device, scratch, timeout_s, program)
    if ended.failure == "memory" and job.on_device:
        ended = _run(replace(job, on_device=False), device, scratch, timeout_s, program)
    if ended.failure is not None:
        raise PredictionError(ended.failure, f"no end within {timeout_s:g} s" if ended.timed_out else ended.reason)
    return _checked(job, grid)


def _run(job: Job, device: Device, scratch: Path, timeout_s: float, program: tuple[str, ...]) -> Ended:
    scratch.mkdir(parents=True, exist_ok=True)
    # nnU-Net takes the number of its threads from this variable, else 8
    environment = {**process_environment(job.threads), "nnUNet_def_n_proc": str(job.threads)}
    environment["TMPDIR"] = str(scratch.resolve())  # its copies of the image must not outlive it when it is ended
    if device.gpu is not None:
        environment |= one_gpu(device.gpu)
    return run_program([*program, job.to_json()], environment, timeout_s, scratch / "output.txt")


def _checked(job: Job, grid: Grid) -> Prediction:
    """The program's label map, if it lies where the image does."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        values = read_nifti_values(Path(job.label_map))
        affine, expected = (nibabel.nifti1.load(path).affine for path in (job.label_map, job.image))
        report = json.loads(Path(job.report).read_text())
    except (OSError, ValueError, EOFError, ImageFileError) as error:
        raise PredictionError("other", f"its label map cannot be read ({type(error).__name__})") from None
    if values.shape != grid.shape_zyx:
        raise PredictionError("other", f"its label map has shape {values.shape}, the image {grid.shape_zyx}")
    corners = _corners(grid.shape_zyx)
    off_mm = float(np.abs(corners @ (affine - expected).T).max())
    if off_mm > AFFINE_TOLERANCE_MM:
        raise PredictionError("other", f"its label map lies {off_mm:.3g} mm off the image")
    return Prediction(values, max(report["spacing_mm"]), job.device)


def _corners(shape_zyx: tuple[int, int, int]) -> NDArray[np.float64]:
    """(8, 4) homogeneous (x, y, z, 1) indices of the corner voxels."""
    z, y, x = (n - 1 for n in shape_zyx)
    return np.array([(i, j, k, 1.0) for i in (0, x) for j in (0, y) for k in (0, z)])

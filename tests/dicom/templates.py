"""Pseudonymous headers of an image whose planes are those of a grid, as prepare_images leaves them."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
from pydicom.dataset import Dataset

from rtpipeline.dicom.deidentify import series_template, template_datasets
from rtpipeline.dicom.series import SliceHeader
from rtpipeline.geometry.grid import Grid

TILT = np.deg2rad(20.0)

ORIENTATIONS = {
    "HFS": ([1, 0, 0, 0, 1, 0], 2.5),
    "HFS, descending": ([1, 0, 0, 0, 1, 0], -2.5),
    "FFS": ([-1, 0, 0, 0, 1, 0], 2.5),
    "HFP": ([-1, 0, 0, 0, -1, 0], 2.5),
    "decubitus": ([0, 1, 0, -1, 0, 0], 2.5),
    "sagittal": ([0, 1, 0, 0, 0, -1], 1.25),
    "oblique": ([0.8, 0.6, 0, -0.6 * np.cos(TILT), 0.8 * np.cos(TILT), np.sin(TILT)], 3.0),
}
"""Direction cosines, and the step between planes along their normal in mm."""

SECRETS = ("Doe^Jane", "1970-PATIENT", "19700101", "1.2.826.0.1.3680043.777")
"""What stands in the original header and may stand in no object that is made from it."""


def grid_of(shape_zyx: tuple[int, int, int], name: str = "HFS", pixel_mm: tuple[float, float] = (0.9765625, 1.171875)) -> Grid:  # fmt: skip  # noqa: E501
    iop, step = ORIENTATIONS[name]
    return Grid.from_dicom_like(iop, (-37.3, 43.7, -911.25), pixel_mm, np.arange(shape_zyx[0]) * step, *shape_zyx[1:])


def template_of(grid: Grid, *, planes: Iterable[int] | None = None, enhanced: bool = False) -> list[Dataset]:
    """Headers of the given planes of a grid (all by default), of one instance each or of one for all."""
    original = Dataset()
    original.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1" if enhanced else "1.2.840.10008.5.1.4.1.1.2"
    original.Modality, original.Rows, original.Columns = "CT", grid.rows, grid.columns
    original.PatientName, original.PatientID, original.PatientBirthDate = SECRETS[:3]
    original.StudyDate = original.SeriesDate = SECRETS[2]
    uid = SECRETS[3]
    spacing = (grid.row_spacing_mm, grid.column_spacing_mm)
    headers = [
        SliceHeader(
            uid=f"{uid}.9" if enhanced else f"{uid}.9.{k}",
            frame=frame if enhanced else 0,
            position_mm=tuple(grid.plane_origins_xyz_mm[k]),
            orientation=(*grid.row_direction, *grid.column_direction),
            pixel_spacing_mm=spacing,
            rows=grid.rows,
            columns=grid.columns,
        )
        for frame, k in enumerate(range(grid.shape_zyx[0]) if planes is None else planes)
    ]
    template = series_template(
        original, headers, patient_id="p0123456789", study_uid=f"{uid}.1", series_uid=f"{uid}.2",
        frame_uid=f"{uid}.3", secret=b"one secret of thirty-two letters",
    )  # fmt: skip
    return template_datasets(json.loads(json.dumps(template)))


def blobs(grid: Grid, labels: Iterable[int], seed: int = 1) -> np.ndarray:
    """(z, y, x) label numbers in ragged blobs, with holes, single voxels, and voxels at the border of the image."""
    rng = np.random.default_rng(seed)
    values = np.zeros(grid.shape_zyx, np.uint8)
    for label in labels:
        z, y, x = (int(rng.integers(0, max(1, n - 4))) for n in grid.shape_zyx)
        box = values[z : z + 4, y : y + 6, x : x + 6]
        box[rng.random(box.shape) < 0.7] = label
    return values

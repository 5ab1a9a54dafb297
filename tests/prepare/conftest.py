"""An image of datasets in memory, prepared without files or an index on disk."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from rtpipeline.contracts.manifests import ImageRef
from rtpipeline.demo.small import small_patient
from rtpipeline.prepare.image_files import ImageGeometry, image_folder, load_geometry, load_values
from rtpipeline.prepare.one_image import ImageJob, ImageResult, prepare_image

PHANTOMS: dict[str, list[Dataset]] = {}
"""Slices by the phantom's arguments: made once, copied for each test."""

SECRET = b"0123456789abcdef-secret-of-the-tests"


def index_row(ds: Dataset) -> dict[str, Any]:
    """What the private index says of a dataset, as far as preparing an image reads it."""

    def numbers(keyword: str) -> list[float] | None:
        value = ds.get(keyword)
        return [float(v) for v in value] if value else None

    def number(keyword: str) -> float | None:
        value = ds.get(keyword)
        return None if value in (None, "") else float(value)

    return {
        "sop_class_uid": str(ds.SOPClassUID),
        "sop_instance_uid": str(ds.SOPInstanceUID),
        "study_uid": str(ds.StudyInstanceUID),
        "series_uid": str(ds.SeriesInstanceUID),
        "frame_uid": str(ds.get("FrameOfReferenceUID") or ""),
        "kind": "image",
        "position": numbers("ImagePositionPatient"),
        "orientation": numbers("ImageOrientationPatient"),
        "pixel_spacing": numbers("PixelSpacing"),
        "rows": int(ds.Rows),
        "columns": int(ds.Columns),
        "slice_thickness": number("SliceThickness"),
        "image_type": "\\".join(ds.get("ImageType") or []),
        "patient_position": str(ds.get("PatientPosition") or ""),
        "temporal_position": ds.get("TemporalPositionIdentifier"),
        "acquisition_number": ds.get("AcquisitionNumber"),
        "acquisition_time": str(ds.get("AcquisitionTime") or ""),
        "contrast_agent": str(ds.get("ContrastBolusAgent") or ""),
        "manufacturer": str(ds.get("Manufacturer") or ""),
        "model": str(ds.get("ManufacturerModelName") or ""),
    }


@dataclass
class Prepared:
    """What came out: the image's row and findings, and its folder."""

    result: ImageResult
    folder: Path

    @property
    def codes(self) -> list[str]:
        return [f.code for f in self.result.findings]

    def finding(self, code: str) -> Any:
        return next(f for f in self.result.findings if f.code == code)

    @property
    def row(self) -> dict[str, Any]:
        return self.result.row

    @property
    def geometry(self) -> ImageGeometry:
        return load_geometry(self.folder)

    @property
    def values(self) -> np.ndarray:
        return load_values(self.folder)

    def at(self, points_xyz_mm: np.ndarray) -> np.ndarray:
        """Values at patient points, trilinear, (..., 3) to (...)."""
        from scipy.ndimage import map_coordinates

        index = self.geometry.voxel.patient_to_index_zyx(points_xyz_mm)
        flat = index.reshape(-1, 3).T
        return map_coordinates(self.values.astype(float), flat, order=1, mode="nearest").reshape(index.shape[:-1])

    def files(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in sorted(self.folder.iterdir())}


Prepare = Callable[..., Prepared]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """`prepare(datasets, modality=..., ...)`: the datasets of one series, prepared into a folder of its own."""
    runs = iter(range(1000))

    def run(
        datasets: Sequence[Dataset],
        *,
        modality: str = "CT",
        image_class: str = "ct",
        max_gap_mm: float = 10.0,
        referenced: frozenset[str] = frozenset(),
    ) -> Prepared:
        by_uid = {str(ds.SOPInstanceUID): ds for ds in datasets}
        rows = [index_row(ds) for ds in datasets]

        def objects(chosen: Sequence[Any]) -> Iterator[tuple[Any, Dataset]]:
            for row in chosen:
                yield row, by_uid[row["sop_instance_uid"]]

        image = ImageRef(
            image_id="ct-01",
            object_hash="0" * 12,
            modality=modality,  # type: ignore[arg-type]
            image_class=image_class,
            role="planning",
            prepare=True,
            instances=len(rows),
            frame_hash=None,
            day=0,
            link="plan_structure_set",
        )
        out = tmp_path / f"run{next(runs)}"
        out.mkdir()
        job = ImageJob(image, rows, "p0123456789", SECRET, max_gap_mm, referenced)
        return Prepared(prepare_image(job, objects, out), image_folder(out, "ct-01"))

    return run


@pytest.fixture
def slices() -> Callable[..., list[Dataset]]:
    """CT slices of the small phantom, free to be changed."""

    def make(**arguments: Any) -> list[Dataset]:
        key = repr(sorted(arguments.items()))
        if key not in PHANTOMS:
            PHANTOMS[key] = small_patient(**arguments).ct
        datasets = copy.deepcopy(PHANTOMS[key])
        for ds in datasets:
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return datasets

    return make

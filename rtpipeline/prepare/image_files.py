"""The folder of a prepared image, written here and read by later stages: image.nii.gz, geometry.json, template.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from rtpipeline.dicom.deidentify import template_datasets
from rtpipeline.geometry.grid import Grid
from rtpipeline.prepare.nifti import read_nifti_values, write_nifti
from rtpipeline.prepare.volume import Canonical

IMAGE, GEOMETRY, TEMPLATE = "image.nii.gz", "geometry.json", "template.json"
GEOMETRY_VERSION = 1


@dataclass(frozen=True)
class ImageGeometry:
    """`geometry.json`.

    voxel: the uniform grid of image.nii.gz. planes: the original planes, on the same in-plane pixels. plane_of_voxel:
    for each plane of the volume the original plane it copies, -1 where interpolated. plane_positions_xyz_mm:
    ImagePositionPatient of every original plane as it was (shear included). facts: modality, units, fill_value,
    shear_deg and the other plain entries.
    """

    image_id: str
    voxel: Grid
    planes: Grid
    plane_of_voxel: list[int]
    plane_positions_xyz_mm: list[list[float]]
    facts: dict[str, Any]


def image_folder(prepared: Path, image_id: str) -> Path:
    """Where an image lies in the output of prepare_images."""
    return prepared / "images" / image_id


def write_image(
    folder: Path,
    image_id: str,
    volume: Canonical,
    plane_positions_xyz_mm: list[list[float]],
    facts: dict[str, Any],
    template: dict[str, Any],
) -> None:
    """Write the three files; the same values give the same bytes."""
    folder.mkdir(parents=True)
    write_nifti(folder / IMAGE, volume.values, volume.voxel)
    geometry = {
        "geometry_version": GEOMETRY_VERSION,
        "image_id": image_id,
        **facts,
        "dtype": volume.values.dtype.name,
        "resampled": volume.is_resampled,
        "filled_slices": list(volume.interpolated),
        "plane_of_voxel": volume.plane_of_voxel.tolist(),
        "plane_positions_xyz_mm": plane_positions_xyz_mm,
        "planes": volume.planes.to_json(),
        "voxel": volume.voxel.to_json(),
    }
    write_json(folder / GEOMETRY, geometry)
    write_json(folder / TEMPLATE, template)


def write_json(path: Path, values: Any) -> None:
    """Plain values as JSON; float64 is written so that reading gives the same bits."""
    path.write_text(json.dumps(values, indent=1, allow_nan=False, ensure_ascii=True) + "\n", encoding="ascii")


def load_geometry(folder: Path) -> ImageGeometry:
    """The geometry of an image's folder."""
    values = json.loads((folder / GEOMETRY).read_text())
    return ImageGeometry(
        image_id=values.pop("image_id"),
        voxel=Grid.from_json(values.pop("voxel")),
        planes=Grid.from_json(values.pop("planes")),
        plane_of_voxel=values.pop("plane_of_voxel"),
        plane_positions_xyz_mm=values.pop("plane_positions_xyz_mm"),
        facts=values,
    )


def load_values(folder: Path) -> NDArray[Any]:
    """(z, y, x) voxel values of an image's folder, on `load_geometry(folder).voxel`."""
    return read_nifti_values(folder / IMAGE)


def load_template(folder: Path) -> list[Dataset]:
    """Pseudonymous headers without pixels, one for each original plane in the order of `planes`."""
    return template_datasets(json.loads((folder / TEMPLATE).read_text()))

"""The surroundings of the demo's lesion as a CT export in any patient position, and model folders to declare."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from rtpipeline.demo.anatomy import build_anatomy
from rtpipeline.demo.grid import axial_grid, store
from rtpipeline.demo.headers import make_study, save
from rtpipeline.demo.phantom import Phantom, make_phantom
from rtpipeline.demo.write_ct import ct_datasets
from rtpipeline.geometry.grid import Grid

SPACING_MM = (3.0, 3.0, 3.0)
HALF_HEIGHT_MM = 36.0
"""Above and below the lesion: it and the lung around it."""


def phantom_of_lesion(seed: int = 7001) -> Phantom:
    """(x, y, z) arrays around the lesion of this person."""
    anatomy = build_anatomy(seed)
    z = float(anatomy.lesion.centre_mm[2])
    return make_phantom(anatomy, SPACING_MM, (z - HALF_HEIGHT_MM, z + HALF_HEIGHT_MM))


def save_ct(phantom: Phantom, folder: Path, position: str = "HFS", manufacturer: str | None = None) -> Path:
    """Write its CT. manufacturer: instead of the demo's, which takes its marker away."""
    study = make_study(1, "DEMO-901", "Demo^Lesion", patient_position=position)
    grid = axial_grid(
        lower_mm=phantom.lower_mm,
        shape_xyz=phantom.hu.shape,
        spacing_xyz_mm=phantom.spacing_mm.tolist(),
        position=position,
    )
    for number, ds in enumerate(ct_datasets(store(phantom.hu, grid), study)):
        if manufacturer is not None:
            ds.Manufacturer = manufacturer
        save(ds, folder / f"{number:03d}.dcm")
    return folder


def in_patient(values: NDArray[Any], grid: Grid, phantom: Phantom) -> NDArray[Any]:
    """Values on an image's grid as (x, y, z) on the phantom's own voxels, by patient coordinates."""
    plane, row, column = np.indices(grid.shape_zyx)
    points = (
        grid.origin_xyz_mm
        + (column * grid.column_spacing_mm)[..., None] * grid.row_direction
        + (row * grid.row_spacing_mm)[..., None] * grid.column_direction
        + grid.plane_offsets_mm[plane][..., None] * grid.normal
    )
    x, y, z = np.rint((points - phantom.lower_mm) / phantom.spacing_mm).astype(int).reshape(-1, 3).T
    turned = np.zeros(phantom.hu.shape, values.dtype)
    turned[x, y, z] = values.ravel()
    return turned


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|)."""
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())


@dataclass
class ModelFolder:
    """A model folder with files that only look like a network, and its declaration, both to be changed before use."""

    base: Path
    declaration: dict[str, Any]

    @property
    def files(self) -> Path:
        return self.base / self.declaration["folder"]

    def declare(self, **changes: Any) -> ModelFolder:
        """Write `custom_model.yaml` with these keys."""
        self.declaration |= changes
        (self.base / "custom_model.yaml").write_text(yaml.safe_dump(self.declaration))
        return self

    def rewrite(self, name: str, values: dict[str, Any]) -> ModelFolder:
        """Write a JSON file of the network and declare its new hash."""
        (self.files / name).write_text(json.dumps(values))
        self.declaration["sha256"][name] = sha256(self.files / name)
        return self.declare()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


DATASET = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "atrium": 1, "ventricle": 2}}


def model_folder(root: Path, name: str = "heart_parts", **declared: Any) -> ModelFolder:
    """A declared model of two labels below `root`."""
    base = root / f"Folder_{name}"
    files = base / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (files / "fold_0").mkdir(parents=True)
    (files / "dataset.json").write_text(json.dumps(DATASET))
    (files / "plans.json").write_text(json.dumps({"configurations": {"3d_fullres": {"spacing": [3, 3, 3]}}}))
    (files / "fold_0" / "checkpoint_final.pth").write_bytes(name.encode())
    names = ("dataset.json", "plans.json", "fold_0/checkpoint_final.pth")
    declaration = {
        "name": name,
        "folder": files.name,
        "labels": {1: "atrium", 2: "ventricle"},
        "sha256": {n: sha256(files / n) for n in names},
    }
    return ModelFolder(base, declaration | declared).declare()

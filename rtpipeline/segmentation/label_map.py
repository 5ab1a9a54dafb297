"""What a network leaves behind: one label map on the voxel grid of its image, written here and read by later stages.

segmentations/<image_id>/<model>/label_map.nii.gz    uint8 or uint16, 0 is background
segmentations/<image_id>/<model>/labels.json         which number is which structure, and what made the map
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rtpipeline.geometry.grid import Grid
from rtpipeline.prepare.image_files import load_geometry, write_json
from rtpipeline.prepare.nifti import read_nifti_values, write_nifti

FOLDER, LABEL_MAP, LABELS = "segmentations", "label_map.nii.gz", "labels.json"
LABELS_VERSION = 1

NetworkSource = Literal["totalsegmentator", "custom"]


@dataclass(frozen=True)
class LabelMap:
    """Structures of one network on one image.

    model: task of TotalSegmentator (`total`) or name of the custom model. values: (z, y, x) label numbers on `grid`,
    which is `load_geometry(...).voxel` of the image. names: structure name by label number, also of labels that were
    not found. resolution_mm: voxel edge that the network worked at, which may be coarser than the grid. phantom: made
    by networks that know nothing but the demo's phantom. weights: file name to sha256.
    """

    image_id: str
    source: NetworkSource
    model: str
    values: NDArray[Any]
    grid: Grid
    names: dict[int, str]
    resolution_mm: float
    phantom: bool
    weights: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def structure_set_id(self) -> str:
        """The id under which its structures stand in the tables: `totalsegmentator-ct-01-total`."""
        return f"{self.source}-{self.image_id}-{self.model}"

    def structure_id(self, label: int) -> str:
        """`totalsegmentator-ct-01-total-liver`."""
        return f"{self.structure_set_id}-{self.names[label]}"

    def mask(self, label: int) -> NDArray[np.bool_]:
        """(z, y, x) bool: voxels of one structure."""
        return self.values == label


def label_map_folder(out: Path, image_id: str, model: str) -> Path:
    """Where a label map lies in the output of its stage; DICOM SEG and RTSTRUCT stand beside it."""
    return out / FOLDER / image_id / model


def write_label_map(out: Path, label_map: LabelMap) -> Path:
    """Write both files and return their folder; the same map gives the same bytes.

    Raises
    ------
    ValueError: the values do not lie on the grid, or a voxel has a label without a name.
    """
    values = np.asarray(label_map.values)
    if values.shape != label_map.grid.shape_zyx:
        raise ValueError(f"label map of {label_map.model}: shape {values.shape}, grid {label_map.grid.shape_zyx}")
    unnamed = sorted(set(np.unique(values).tolist()) - {0} - label_map.names.keys())
    if unnamed:
        raise ValueError(f"label map of {label_map.model}: labels without a name: {unnamed}")
    folder = label_map_folder(out, label_map.image_id, label_map.model)
    folder.mkdir(parents=True)
    narrow = np.uint8 if max(label_map.names, default=0) < 256 else np.uint16
    write_nifti(folder / LABEL_MAP, values.astype(narrow), label_map.grid)
    facts = {
        "labels_version": LABELS_VERSION,
        "image_id": label_map.image_id,
        "source": label_map.source,
        "model": label_map.model,
        "labels": {str(number): name for number, name in sorted(label_map.names.items())},
        "resolution_mm": label_map.resolution_mm,
        "phantom": label_map.phantom,
        "weights": dict(sorted(label_map.weights.items())),
        "device": label_map.device,
    }
    write_json(folder / LABELS, facts)
    return folder


def read_label_maps(stage_output: Path, prepared: Path) -> Iterator[LabelMap]:
    """The label maps of a stage, in order of image and model.

    Parameters
    ----------
    stage_output: output of segmentation or custom_models. prepared: output of prepare_images, which has the grids.
    """
    for path in sorted((stage_output / FOLDER).glob(f"*/*/{LABELS}")):
        facts = json.loads(path.read_text())
        grid = load_geometry(prepared / "images" / facts["image_id"]).voxel
        yield LabelMap(
            image_id=facts["image_id"],
            source=facts["source"],
            model=facts["model"],
            values=read_nifti_values(path.parent / LABEL_MAP),
            grid=grid,
            names={int(number): name for number, name in facts["labels"].items()},
            resolution_mm=facts["resolution_mm"],
            phantom=facts["phantom"],
            weights=facts["weights"],
            device=facts["device"],
        )

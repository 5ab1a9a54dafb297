"""What the structures of a label map measure: rows of the table `segmentation` without the keys of the course."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rtpipeline.geometry.grid import Grid
from rtpipeline.segmentation.label_map import LabelMap
from rtpipeline.segmentation.laterality import laterality, midline_x_mm, side_of

FACES = ("superior", "inferior", "left", "right", "anterior", "posterior")
"""Faces of an image, in the order in which a row names them."""

FACES_OF_AXIS = (("right", "left"), ("anterior", "posterior"), ("inferior", "superior"))
"""By patient axis x, y, z (LPS): the face at its small and at its great end."""

TOUCHING = np.ones((3, 3, 3), bool)
"""Voxels that share a face, an edge or a corner are one piece (26-connected)."""


@dataclass(frozen=True)
class Measured:
    """One structure on its voxel grid.

    centroid_xyz_mm: mean of the voxel centres. touches_edge: faces of the image that it reaches. ends: it reaches the
    first or the last plane, so part of it may be missing.
    """

    voxels: int
    components: int
    largest_component_pct: float
    centroid_xyz_mm: NDArray[np.float64]
    touches_edge: tuple[str, ...]
    ends: bool


def measure_label_map(
    label_map: LabelMap, *, modality: str, body_midline: Callable[[], float | None] | None = None
) -> list[dict[str, Any]]:
    """Rows of `contracts.tables.SEGMENTATION` in the order of the labels, also for those that were not found.

    All columns but cohort, patient, course and provenance. `status` is `cut_off` for a structure that reaches the first
    or the last plane; `volume_cc` is null unless a structure was found whole; numbers of one that was not found are
    null but for its 0 voxels in 0 pieces.

    Parameters
    ----------
    body_midline: gives patient x (mm) of the body's middle; asked only when a structure with a side was found and the
        structures themselves have no middle (`laterality.midline_x_mm`). Without it `laterality` is null then.
    """
    found = measure_labels(label_map)
    centroids = {label_map.names[label]: measured.centroid_xyz_mm for label, measured in found.items()}
    middle_mm = midline_x_mm(centroids)
    if middle_mm is None and body_midline is not None and any(side_of(name) for name in centroids):
        middle_mm = body_midline()
    return [_row(label_map, label, found.get(label), modality, middle_mm) for label in sorted(label_map.names)]


def measure_labels(label_map: LabelMap) -> dict[int, Measured]:
    """What each label measures that has a voxel and a name."""
    boxes = ndimage.find_objects(np.asarray(label_map.values))
    faces = image_faces(label_map.grid)
    return {
        label: _measured(label_map, label, box, faces)
        for label, box in enumerate(boxes, start=1)
        if box is not None and label in label_map.names
    }


def _measured(label_map: LabelMap, label: int, box: tuple[slice, ...], faces: tuple[tuple[str, str], ...]) -> Measured:
    mask = label_map.values[box] == label
    pieces, count = ndimage.label(mask, structure=TOUCHING)
    sizes = np.bincount(pieces.ravel())[1:]
    begin, shape = [s.start for s in box], label_map.grid.shape_zyx
    counts = [mask.sum(axis=other) for other in ((1, 2), (0, 2), (0, 1))]
    centre = np.array([np.average(np.arange(len(n)), weights=n) for n in counts]) + begin
    reached = [
        faces[axis][end]
        for axis in range(3)
        for end, touches in enumerate((box[axis].start == 0, box[axis].stop == shape[axis]))
        if touches
    ]
    return Measured(
        voxels=int(sizes.sum()),
        components=int(count),
        largest_component_pct=100.0 * int(sizes.max()) / int(sizes.sum()),
        centroid_xyz_mm=label_map.grid.index_zyx_to_patient(centre),
        touches_edge=tuple(face for face in FACES if face in reached),
        ends=box[0].start == 0 or box[0].stop == shape[0],
    )


def image_faces(grid: Grid) -> tuple[tuple[str, str], ...]:
    """Faces before the first and after the last plane, row and column, named by the patient axis nearest to each.

    Of an oblique image each patient axis names one pair, the one that fits best over all three.
    """
    sign = 1.0 if len(grid.plane_offsets_mm) < 2 or grid.plane_offsets_mm[1] > 0 else -1.0
    axes = np.array([sign * grid.normal, grid.column_direction, grid.row_direction])
    nearest = max(permutations(range(3)), key=lambda p: sum(abs(axes[i, p[i]]) for i in range(3)))
    named = []
    for direction, axis in zip(axes, nearest, strict=True):
        low, high = FACES_OF_AXIS[axis]
        named.append((low, high) if direction[axis] > 0 else (high, low))
    return tuple(named)


def _row(
    label_map: LabelMap, label: int, measured: Measured | None, modality: str, middle_mm: float | None
) -> dict[str, Any]:
    name, grid = label_map.names[label], label_map.grid
    row: dict[str, Any] = {
        "image_id": label_map.image_id,
        "modality": modality,
        "structure_set_id": label_map.structure_set_id,
        "structure_source": label_map.source,
        "structure_id": label_map.structure_id(label),
        "structure_name": name,
        "model": label_map.model,
        "label": label,
        "status": "not_found",
        "voxels": 0,
        "components": 0,
        "segmentation_resolution_mm": label_map.resolution_mm,
        "phantom_weights": label_map.phantom,
        "device": label_map.device,
    }
    if measured is None:
        return row
    x, y, z = (float(v) for v in measured.centroid_xyz_mm)
    whole_cc = None
    if not measured.ends and grid.plane_spacing_mm is not None:
        whole_cc = measured.voxels * grid.plane_spacing_mm * grid.row_spacing_mm * grid.column_spacing_mm / 1000.0
    return row | {
        "status": "cut_off" if measured.ends else "ok",
        "volume_cc": whole_cc,
        "voxels": measured.voxels,
        "components": measured.components,
        "largest_component_pct": measured.largest_component_pct,
        "touches_edge": "+".join(measured.touches_edge) or None,
        "centroid_x_mm": x,
        "centroid_y_mm": y,
        "centroid_z_mm": z,
        "laterality": laterality(name, measured.centroid_xyz_mm, middle_mm),
    }

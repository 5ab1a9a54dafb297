"""Parts of structures within a region of the body, between two levels along the patient's superior axis.

The levels come from landmarks in a label map of TotalSegmentator. A structure that crosses one gets a second row with
the voxels in between; nothing is moved, resampled or written on another grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.mask_margins import spacing_zyx_mm
from rtpipeline.geometry.mask_outlines import mask_outline
from rtpipeline.nomenclature.match import NameMatch
from rtpipeline.segmentation.label_map import LabelMap
from rtpipeline.structures.masks import StructureMask
from rtpipeline.structures.rows import CROPPED, RowWriter, Structure

RegionName = Literal["pelvis", "thorax", "abdomen", "head_neck", "brain"]
Edge = Literal["top", "bottom", "image_end"]

LUNGS = (
    "lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right",
    "lung_lower_lobe_right",
)  # fmt: skip
FEMURS, HIPS = ("femur_left", "femur_right"), ("hip_left", "hip_right", "sacrum")
CLAVICLES = ("clavicula_left", "clavicula_right")
THORACIC = tuple(f"vertebrae_T{n}" for n in range(1, 13))
BELOW_L1 = ("vertebrae_L2", "vertebrae_L3", "vertebrae_L4", "vertebrae_L5", "sacrum", "vertebrae_S1")


ROUNDING_MM = 1e-6
"""A centre this near to a level lies within."""


@dataclass(frozen=True)
class Landmark:
    """A level: the top or bottom of whichever of `names` are there, or the end of the image when some of `names` are
    there and none of `without`, so that the image ends before the landmark and no margin is added."""

    names: tuple[str, ...]
    edge: Edge
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class BodyRegion:
    """Landmarks of both levels, the first that is there counts; margins where the configuration gives none, mm."""

    superior: tuple[Landmark, ...]
    inferior: tuple[Landmark, ...]
    superior_margin_mm: float = 20.0
    inferior_margin_mm: float = 20.0


REGIONS: dict[RegionName, BodyRegion] = {
    "pelvis": BodyRegion(
        (
            Landmark(("vertebrae_L1",), "top"),
            Landmark(BELOW_L1, "image_end", without=THORACIC),
        ),
        (Landmark(FEMURS, "bottom"), Landmark(HIPS, "image_end", without=FEMURS)),
        superior_margin_mm=0.0,
        inferior_margin_mm=100.0,
    ),
    "thorax": BodyRegion(
        (Landmark(("vertebrae_C7",), "top"), Landmark(LUNGS, "top")),
        (Landmark(("vertebrae_L1",), "bottom"), Landmark(("liver",), "top"), Landmark(LUNGS, "bottom")),
    ),
    "abdomen": BodyRegion(
        (Landmark(("vertebrae_T12",), "top"), Landmark(("vertebrae_L1",), "top"), Landmark(("liver",), "top")),
        (Landmark(("vertebrae_L5",), "bottom"),),
    ),
    "head_neck": BodyRegion(
        (Landmark(("brain",), "top"), Landmark(("skull",), "top")),
        (Landmark(("vertebrae_C7",), "bottom"), Landmark(CLAVICLES, "bottom")),
    ),
    "brain": BodyRegion((Landmark(("brain",), "top"),), (Landmark(("brain",), "bottom"),), 10.0, 10.0),
}  # fmt: skip


class LandmarkMissingError(ValueError):
    """A level of the region has no landmark in the label map."""


@dataclass(frozen=True)
class Level:
    """Position along the patient's superior axis, mm; `landmark` says what it is taken from. clamped_mm: how far the
    level lay outside the image before it was moved to its end."""

    position_mm: float
    landmark: str
    clamped_mm: float = 0.0


@dataclass(frozen=True)
class Limits:
    """What lies between two levels."""

    superior: Level
    inferior: Level


def limits_of(
    label_map: LabelMap,
    region: RegionName,
    *,
    superior_margin_mm: float | None = None,
    inferior_margin_mm: float | None = None,
) -> Limits:
    """Levels of a region in the image of a label map, moved to the image's ends where they lie outside.

    Margins None: the region's own.

    Raises
    ------
    LandmarkMissingError: a level has no landmark, or the superior level does not lie above the inferior one.
    """
    rules = REGIONS[region]
    up_mm = rules.superior_margin_mm if superior_margin_mm is None else superior_margin_mm
    down_mm = rules.inferior_margin_mm if inferior_margin_mm is None else inferior_margin_mm
    spans = _spans(label_map, {n for rule in (*rules.superior, *rules.inferior) for n in (*rule.names, *rule.without)})
    bottom_mm, top_mm = _image_span(label_map.grid)
    superior = _level(rules.superior, spans, "superior", up_mm, top_mm)
    inferior = _level(rules.inferior, spans, "inferior", -down_mm, bottom_mm)
    if superior.position_mm <= inferior.position_mm:
        raise LandmarkMissingError(
            f"superior level {superior.position_mm:.1f} mm by {superior.landmark}, "
            f"not above the inferior one at {inferior.position_mm:.1f} mm by {inferior.landmark}"
        )
    return Limits(_within(superior, bottom_mm, top_mm), _within(inferior, bottom_mm, top_mm))


def crop(
    structures: Iterable[tuple[Structure, StructureMask]], limits: Limits, image_id: str, writer: RowWriter
) -> Iterable[Structure]:
    """A structure of source `cropped` for each one that has voxels on both sides of a level, and between them.

    A voxel lies between the levels when its centre does.
    """
    for structure, mask in structures:
        height_mm = _heights_mm(mask)
        below = height_mm <= limits.superior.position_mm + ROUNDING_MM
        between = below & (height_mm >= limits.inferior.position_mm - ROUNDING_MM)
        kept = mask.mask_zyx & between
        n_kept = int(np.count_nonzero(kept))
        if n_kept in (0, mask.voxels):
            continue
        row = structure.row
        yield writer.of_voxels(
            mask_outline(kept, mask.grid, first_zyx=mask.offset_zyx),
            image_id=image_id,
            set_id=f"{CROPPED}-{image_id}",
            source=CROPPED,
            structure_id=f"{CROPPED}-{row['structure_id']}",
            name=row["structure_name"],
            match=NameMatch(row["structure_name_tg263"], row["tg263_evidence"]),
            extra={"derived_from": row["structure_id"]},
        )


def _level(
    rules: tuple[Landmark, ...], spans: Mapping[str, tuple[float, float]], which: str, margin_mm: float, end_mm: float
) -> Level:
    for rule in rules:
        found = [name for name in rule.names if name in spans]
        if not found or any(name in spans for name in rule.without):
            continue
        if rule.edge == "image_end":
            return Level(end_mm, "end of the image")
        at_mm = max(spans[n][1] for n in found) if rule.edge == "top" else min(spans[n][0] for n in found)
        # of several, the one that lies farthest out
        name = next(n for n in found if at_mm in spans[n])
        return Level(at_mm + margin_mm, f"{rule.edge} of {name}")
    wanted = list(dict.fromkeys(n for rule in rules if rule.edge != "image_end" for n in rule.names))
    raise LandmarkMissingError(f"no {which} landmark: none of {', '.join(wanted)} found")


def _within(level: Level, bottom_mm: float, top_mm: float) -> Level:
    position_mm = min(max(level.position_mm, bottom_mm), top_mm)
    return Level(position_mm, level.landmark, abs(level.position_mm - position_mm))


def _spans(label_map: LabelMap, names: set[str]) -> dict[str, tuple[float, float]]:
    """Lowest and highest point along the superior axis of the largest piece of each structure that was found, mm.

    Of the largest piece (26-connected), since a stray voxel far away would move the level.
    """
    boxes = ndimage.find_objects(label_map.values, max_label=max(label_map.names, default=0))
    found: dict[str, tuple[float, float]] = {}
    for label, name in label_map.names.items():
        box = boxes[label - 1]
        if name not in names or box is None:
            continue
        pieces, _ = ndimage.label(label_map.values[box] == label, np.ones((3, 3, 3)))
        largest = int(np.argmax(np.bincount(pieces.ravel())[1:])) + 1
        index = np.argwhere(pieces == largest) + [part.start for part in box]
        z_mm = label_map.grid.index_zyx_to_patient(index.astype(float))[:, 2]
        half_mm = _half_voxel_mm(label_map.grid)
        found[name] = float(z_mm.min()) - half_mm, float(z_mm.max()) + half_mm
    return found


def _half_voxel_mm(grid: Grid) -> float:
    """How far a voxel reaches from its centre along the superior axis."""
    axes = np.stack([grid.normal, grid.column_direction, grid.row_direction])
    return 0.5 * float(np.abs(axes[:, 2]) @ np.array(spacing_zyx_mm(grid)))


def _image_span(grid: Grid) -> tuple[float, float]:
    last = np.array(grid.shape_zyx) - 1
    ends = [[k, j, i] for k in (0, last[0]) for j in (0, last[1]) for i in (0, last[2])]
    z_mm = grid.index_zyx_to_patient(np.array(ends, float))[:, 2]
    return float(z_mm.min()) - _half_voxel_mm(grid), float(z_mm.max()) + _half_voxel_mm(grid)


def _heights_mm(mask: StructureMask) -> NDArray[np.float64]:
    """(z, y, x) position of voxel centres along the superior axis; axes along which it stays have length 1."""
    grid = mask.grid
    (z0, y0, x0), (nz, ny, nx) = mask.offset_zyx, mask.mask_zyx.shape
    planes_mm = grid.plane_origins_xyz_mm[z0 : z0 + nz, 2]
    rows_mm = (y0 + np.arange(ny)) * grid.row_spacing_mm * float(grid.column_direction[2])
    columns_mm = (x0 + np.arange(nx)) * grid.column_spacing_mm * float(grid.row_direction[2])
    rows_mm, columns_mm = (v if np.any(v) else np.zeros(1) for v in (rows_mm, columns_mm))
    height: NDArray[np.float64] = planes_mm[:, None, None] + rows_mm[None, :, None] + columns_mm[None, None, :]
    return height

"""Voxel masks of structures for the stages after this one: each on the voxel grid of its image, cut to its box.

Every mask comes from the contours that the DVH uses, so that one file and one solid serve doses, features and pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.outlines import Outline, read_contours
from rtpipeline.geometry.rasterize import solid_mask
from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.prepare.image_files import image_folder, load_geometry

STRUCTURES_FILE, CONTOURS_FILE = "structures.parquet", "contours.parquet"


@dataclass(frozen=True, eq=False)
class StructureMask:
    """Voxels of an image whose centre lies in a structure.

    mask_zyx: (z, y, x) bool, the smallest box that holds them all; (0, 0, 0) when there are none. offset_zyx: where the
    box begins on `grid`, the voxel grid of the whole image. lost_pct: part of the structure's volume outside the image.
    """

    mask_zyx: NDArray[np.bool_]
    offset_zyx: tuple[int, int, int]
    grid: Grid
    voxels: int
    lost_pct: float

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The box as an index of arrays on `grid`."""
        z, y, x = (slice(o, o + n) for o, n in zip(self.offset_zyx, self.mask_zyx.shape, strict=True))
        return z, y, x

    def whole(self) -> NDArray[np.bool_]:
        """(z, y, x) bool on the whole image."""
        mask = np.zeros(self.grid.shape_zyx, bool)
        mask[self.box] = self.mask_zyx
        return mask


def boxed(mask_zyx: NDArray[np.bool_], grid: Grid, *, lost_pct: float = 0.0) -> StructureMask:
    """A mask on the whole of `grid`, cut to the smallest box around its voxels."""
    return _boxed(mask_zyx, (0, 0, 0), grid, lost_pct)


def rasterize(solid: PrismSolid, grid: Grid, *, lost_pct: float = 0.0) -> StructureMask:
    """Voxels of `grid` whose centre lies in the solid, by `geometry.rasterize.solid_mask`.

    Raises UnknownThicknessError for a single contour plane without thickness.
    """
    whole = solid_mask(solid, grid)
    # looking for the box where the solid can be keeps the pages of a large empty array untouched
    corners = grid.patient_to_index_zyx(solid.corners_xyz_mm)
    first = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, grid.shape_zyx)
    last = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, 0, grid.shape_zyx)
    (z0, y0, x0), (z1, y1, x1) = (tuple(int(v) for v in ends) for ends in (first, last))
    return _boxed(whole[z0:z1, y0:y1, x0:x1], (z0, y0, x0), grid, lost_pct)


def _boxed(part: NDArray[np.bool_], at_zyx: tuple[int, int, int], grid: Grid, lost_pct: float) -> StructureMask:
    filled = [np.flatnonzero(part.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    if not len(filled[0]):
        return StructureMask(np.zeros((0, 0, 0), bool), (0, 0, 0), grid, 0, lost_pct)
    z, y, x = (slice(int(f[0]), int(f[-1]) + 1) for f in filled)
    tight = np.ascontiguousarray(part[z, y, x])
    offset = (at_zyx[0] + z.start, at_zyx[1] + y.start, at_zyx[2] + x.start)
    return StructureMask(tight, offset, grid, int(np.count_nonzero(tight)), lost_pct)


class StructureReader:
    """Structures of a course and their masks on demand. rows: of the table `structures`, None for null."""

    def __init__(
        self, rows: list[dict[str, Any]], outlines: Callable[[], dict[tuple[str, str], Outline]], prepared_images: Path
    ) -> None:
        self.rows = rows
        self._read_outlines, self._prepared = outlines, prepared_images
        self._grids: dict[str, Grid] = {}

    def mask(self, structure_set_id: str, structure_id: str) -> StructureMask | None:
        """Mask of a structure; None where it has no volume or does not lie on a prepared image.

        Raises KeyError when the table has no such structure.
        """
        row = self._by_key[structure_set_id, structure_id]
        outline = self._outlines.get((structure_set_id, structure_id))
        # a null outside_image_pct says that the image tells nothing about it (none, or another frame of reference)
        if outline is None or row["status"] != "ok" or row["image_id"] is None or row["outside_image_pct"] is None:
            return None
        return rasterize(outline.solid(), self.grid(row["image_id"]), lost_pct=row["outside_image_pct"])

    def grid(self, image_id: str) -> Grid:
        """Voxel grid of a prepared image."""
        if image_id not in self._grids:
            self._grids[image_id] = load_geometry(image_folder(self._prepared, image_id)).voxel
        return self._grids[image_id]

    @cached_property
    def _by_key(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["structure_set_id"], row["structure_id"]): row for row in self.rows}

    @cached_property
    def _outlines(self) -> dict[tuple[str, str], Outline]:
        return self._read_outlines()


def read_structures(structures_output: Path, prepared_images: Path) -> StructureReader:
    """Reader of the structures of a course; without rows when the stage wrote no table.

    structures_output: output folder of stage structures. prepared_images: that of prepare_images.
    """
    table, contours = structures_output / STRUCTURES_FILE, structures_output / CONTOURS_FILE
    if not table.is_file():
        return StructureReader([], dict, prepared_images)
    return StructureReader(pq.read_table(table).to_pylist(), lambda: read_contours(contours), prepared_images)

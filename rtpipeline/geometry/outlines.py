"""Outlines of structures: closed contours, the solid they stand for, and the file that structures hands to dvh."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtpipeline.geometry.shape import shape_solid
from rtpipeline.geometry.solid import EndCap, PrismSolid

CONTOUR_SCHEMA = pa.schema(
    [
        pa.field("structure_set_id", pa.string()),
        pa.field("structure_id", pa.string()),
        pa.field("single_plane_thickness_mm", pa.float64()),
        pa.field("plane_spacing_mm", pa.float64()),
        pa.field("points_xyz_mm", pa.list_(pa.float64())),
    ]
)
"""single_plane_thickness_mm: what a solid of contours in one plane is as thick as, null where no image says.
plane_spacing_mm: spacing of the planes where it is known (outlines of voxels), null for contours that were drawn.
points_xyz_mm: flat x, y, z of the vertices in patient mm."""

Contour = NDArray[np.float64]
"""(n, 3) vertices in patient mm."""


@dataclass
class Outline:
    """Closed contours of a structure, how thick a solid of a single plane is, and how far apart its planes are meant to
    be where that is known: all that makes its solid."""

    single_plane_thickness_mm: float | None
    contours: list[Contour] = field(default_factory=list)
    plane_spacing_mm: float | None = None

    def solid(self, end_cap: EndCap = "prism") -> PrismSolid:
        """The solid that the contours stand for; raises what `PrismSolid.from_contours` raises.

        Voxel masks are made of the prism, whatever volume and dose are computed of.
        """
        literal = PrismSolid.from_contours(
            self.contours,
            single_plane_thickness_mm=self.single_plane_thickness_mm,
            plane_spacing_mm=self.plane_spacing_mm,
        )
        return self.closed(literal, end_cap)

    def closed(self, literal: PrismSolid, end_cap: EndCap) -> PrismSolid:
        """The solid that volume and dose are computed of, from the literal one.

        Outlines of voxels stay prisms: a label map says of every voxel whether it belongs to the structure.
        """
        return shape_solid(literal) if end_cap == "shape" and self.plane_spacing_mm is None else literal


def write_contours(path: Path, rows: list[tuple[str, str, Outline]]) -> None:
    """Write the outlines of structures given as (structure_set_id, structure_id, outline)."""
    columns: dict[str, list[object]] = {name: [] for name in CONTOUR_SCHEMA.names}
    for set_id, structure_id, outline in rows:
        for contour in outline.contours:
            columns["structure_set_id"].append(set_id)
            columns["structure_id"].append(structure_id)
            columns["single_plane_thickness_mm"].append(outline.single_plane_thickness_mm)
            columns["plane_spacing_mm"].append(outline.plane_spacing_mm)
            columns["points_xyz_mm"].append(np.ascontiguousarray(contour).ravel())
    pq.write_table(pa.table(columns, schema=CONTOUR_SCHEMA), path, compression="zstd")


def read_contours(path: Path) -> dict[tuple[str, str], Outline]:
    """Outlines by (structure_set_id, structure_id), contours in the order they were written."""
    table = pq.read_table(path).combine_chunks()
    found: dict[tuple[str, str], Outline] = {}
    *keys, thickness, spacing = (table[n].to_pylist() for n in CONTOUR_SCHEMA.names[:4])
    points = flat_lists(table["points_xyz_mm"])
    for set_id, structure_id, thick_mm, apart_mm, flat in zip(*keys, thickness, spacing, points, strict=True):
        outline = found.setdefault((set_id, structure_id), Outline(thick_mm, plane_spacing_mm=apart_mm))
        outline.contours.append(flat.reshape(-1, 3))
    return found


def flat_lists(column: pa.ChunkedArray) -> list[NDArray[np.float64]]:
    """A list column as float64 arrays, without a Python object for each number."""
    arrays: list[NDArray[np.float64]] = []
    for chunk in column.chunks:
        values = chunk.flatten().to_numpy(zero_copy_only=False)
        offsets = chunk.offsets.to_numpy(zero_copy_only=False)
        offsets = offsets - offsets[0]
        arrays += [values[a:b] for a, b in pairwise(offsets)]
    return arrays

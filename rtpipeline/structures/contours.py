"""Closed contours on disk: one row each, ordered, as the structures stage hands them to the DVH."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

CONTOUR_SCHEMA = pa.schema(
    [
        pa.field("structure_set_id", pa.string()),
        pa.field("structure_id", pa.string()),
        pa.field("points_xyz_mm", pa.list_(pa.float64())),
    ]
)
"""points_xyz_mm: flat x, y, z of the vertices in patient mm."""

Contour = NDArray[np.float64]
"""(n, 3) vertices in patient mm."""


def write_contours(path: Path, rows: list[tuple[str, str, list[Contour]]]) -> None:
    """Write the contours of structures given as (structure_set_id, structure_id, contours)."""
    columns: dict[str, list[object]] = {name: [] for name in CONTOUR_SCHEMA.names}
    for set_id, structure_id, contours in rows:
        for contour in contours:
            columns["structure_set_id"].append(set_id)
            columns["structure_id"].append(structure_id)
            columns["points_xyz_mm"].append(np.ascontiguousarray(contour).ravel())
    pq.write_table(pa.table(columns, schema=CONTOUR_SCHEMA), path, compression="zstd")


def read_contours(path: Path) -> dict[tuple[str, str], list[Contour]]:
    """Contours by (structure_set_id, structure_id), in the order they were written."""
    table = pq.read_table(path).combine_chunks()
    found: dict[tuple[str, str], list[Contour]] = {}
    sets, ids = table["structure_set_id"].to_pylist(), table["structure_id"].to_pylist()
    for set_id, structure_id, points in zip(sets, ids, flat_lists(table["points_xyz_mm"]), strict=True):
        found.setdefault((set_id, structure_id), []).append(points.reshape(-1, 3))
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

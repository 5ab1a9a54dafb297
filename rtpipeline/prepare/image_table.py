"""`images.parquet` of prepare_images: one row for each image of the course, prepared or not, without identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rtpipeline.prepare.image_files import write_json

IMAGE_COLUMNS: list[tuple[str, pa.DataType, str]] = [
    ("image_id", pa.string(), "key within the course"),
    ("modality", pa.string(), "CT, MR, PT"),
    ("image_class", pa.string(), "as organize classified it"),
    ("role", pa.string(), "planning, secondary"),
    ("status", pa.string(), "ok, refused, not_prepared"),
    ("reason", pa.string(), "finding code that refused it; '' otherwise"),
    ("instances", pa.int64(), "slices of the series in the export"),
    ("planes", pa.int64(), "slices used"),
    ("rows", pa.int64(), "of the original planes"),
    ("columns", pa.int64(), ""),
    ("column_spacing_mm", pa.float64(), "between columns"),
    ("row_spacing_mm", pa.float64(), "between rows"),
    ("plane_spacing_mm", pa.float64(), "of the volume; median of the original planes where there is none"),
    ("largest_gap_mm", pa.float64(), "longest distance between original planes"),
    ("slice_thickness_mm", pa.float64(), "median of SliceThickness"),
    ("plane_class", pa.string(), "axial, coronal, sagittal, oblique"),
    ("axis_code", pa.string(), "where columns, rows and planes run to, LPS for axial head-first supine"),
    ("obliquity_deg", pa.float64(), "largest angle between an image axis and the nearest patient axis"),
    ("patient_position", pa.string(), "as stated; plays no part in the geometry"),
    ("shear_deg", pa.float64(), "angle of the planes against their normal"),
    ("shear_corrected", pa.bool_(), ""),
    ("spacing_kind", pa.string(), "uniform, missing, nonuniform"),
    ("missing_slices", pa.int64(), ""),
    ("interpolated_planes", pa.int64(), "planes of the volume that are no original plane"),
    ("dtype", pa.string(), "of the voxel values"),
    ("units", pa.string(), "HU, BQML and other PET units, stored (CT without rescale), arbitrary (MR)"),
    ("hu_status", pa.string(), "calibrated, cbct, missing_rescale, implausible, not_ct"),
    ("lowest_value", pa.float64(), "in `units`"),
    ("highest_value", pa.float64(), "in `units`"),
    ("air_hu", pa.float64(), "median of what looks like air; null without any, and outside CT"),
    ("padded_pct", pa.float64(), "pixels that were padding, percent"),
    ("truncated_fov", pa.bool_(), "the body reaches the edge of the field; null outside CT"),
    ("contrast", pa.bool_(), "contrast agent stated; null when nothing is stated"),
    ("kvp", pa.float64(), ""),
    ("kernel", pa.string(), ""),
    ("manufacturer", pa.string(), ""),
    ("model", pa.string(), ""),
    ("frame_of_reference_stated", pa.bool_(), ""),
    ("content_sha256", pa.string(), "of voxel values and grid"),
]
"""Name, type, meaning. Text is '' and a number null where it is not known."""

IMAGES_SCHEMA = pa.schema([pa.field(name, kind) for name, kind, _ in IMAGE_COLUMNS])


def write_images(folder: Path, rows: list[dict[str, Any]]) -> None:
    """`images.parquet` and `images.json`, in the order of the rows.

    Raises ValueError for a column that is not declared.
    """
    unknown = sorted({name for row in rows for name in row} - set(IMAGES_SCHEMA.names))
    if unknown:
        raise ValueError(f"images.parquet has no column {', '.join(unknown)}")
    empty = {name: "" if pa.types.is_string(kind) else None for name, kind, _ in IMAGE_COLUMNS}
    complete = [{**empty, **row} for row in rows]
    pq.write_table(pa.Table.from_pylist(complete, schema=IMAGES_SCHEMA), folder / "images.parquet")
    write_json(folder / "images.json", complete)


def read_images(folder: Path) -> list[dict[str, Any]]:
    """The rows of `images.parquet`."""
    rows: list[dict[str, Any]] = pq.read_table(folder / "images.parquet").to_pylist()
    return rows

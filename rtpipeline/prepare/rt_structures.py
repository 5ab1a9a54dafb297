"""Structure sets as tables: contours, regions of interest, and what is not closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.dicom.rtstruct import Contour, Roi, StructureSet
from rtpipeline.dose.frames import FrameLink, RegistrationsDisagreeError, find_route

POINTS = pa.list_(pa.float64())

CONTOUR_SCHEMA = pa.schema(
    [("roi_number", pa.int64()), ("contour_index", pa.int32()), ("n_points", pa.int32()), ("points_xyz_mm", POINTS)]
)
"""`<set_id>.parquet`: one row for each closed contour; points flat, x y z of one after the other, patient LPS in mm."""

OTHER_SCHEMA = pa.schema(
    [
        ("roi_number", pa.int64()),
        ("contour_index", pa.int32()),
        ("geometric_type", pa.string()),
        ("n_points", pa.int32()),
        ("points_xyz_mm", POINTS),
    ]
)
"""`<set_id>.points.parquet`: POINT and open contours."""

ROI_SCHEMA = pa.schema(
    [
        ("roi_number", pa.int64()),
        ("occurrence", pa.int32()),  # 1, 2, ... where the number stands more than once in the set; else null
        ("roi_name", pa.string()),
        ("roi_type", pa.string()),
        ("algorithm", pa.string()),
        ("frame_hash", pa.string()),
        ("n_closed", pa.int32()),
        ("n_point", pa.int32()),
        ("n_open", pa.int32()),
        ("status", pa.string()),
        ("display_color", pa.list_(pa.int16())),
    ]
)
"""`<set_id>.rois.parquet`: one row for each item of StructureSetROISequence."""


def write_structure_set(
    folder: Path, set_id: str, structures: StructureSet, hash_of: Callable[[str], str | None]
) -> None:
    """Write the three tables of a structure set below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(_contour_table(structures.closed, CONTOUR_SCHEMA), folder / f"{set_id}.parquet")
    pq.write_table(_contour_table(structures.other, OTHER_SCHEMA), folder / f"{set_id}.points.parquet")
    pq.write_table(
        pa.Table.from_pylist(_roi_rows(structures.rois, hash_of), schema=ROI_SCHEMA), folder / f"{set_id}.rois.parquet"
    )


def _contour_table(contours: Sequence[Contour], schema: pa.Schema) -> pa.Table:
    counts = np.array([len(c.points_xyz_mm) for c in contours], np.int32)
    flat = np.concatenate([c.points_xyz_mm.ravel() for c in contours]) if contours else np.empty(0)
    ends = np.concatenate([[0], np.cumsum(counts, dtype=np.int64) * 3]).astype(np.int32)
    columns = {
        "roi_number": pa.array([c.roi_number for c in contours], pa.int64()),
        "contour_index": pa.array([c.contour_index for c in contours], pa.int32()),
        "geometric_type": pa.array([c.geometric_type for c in contours], pa.string()),
        "n_points": pa.array(counts, pa.int32()),
        "points_xyz_mm": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(flat, pa.float64())),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _roi_rows(rois: Sequence[Roi], hash_of: Callable[[str], str | None]) -> list[dict[str, Any]]:
    seen: dict[int, int] = {}
    rows = []
    for roi in rois:
        seen[roi.roi_number] = seen.get(roi.roi_number, 0) + 1
        rows.append(
            {
                "roi_number": roi.roi_number,
                "occurrence": seen[roi.roi_number] if roi.status == "number_reused" else None,
                "roi_name": roi.roi_name,
                "roi_type": roi.roi_type,
                "algorithm": roi.algorithm,
                "frame_hash": hash_of(roi.frame_uid),
                "n_closed": roi.n_closed,
                "n_point": roi.n_point,
                "n_open": roi.n_open,
                "status": roi.status,
                "display_color": list(roi.display_color) if roi.display_color else None,
            }
        )
    return rows


@dataclass(frozen=True)
class DrawnIn:
    """counts: frame of reference (original UID) to the number of drawn structures that name it. region_xyz_mm: (8, 3)
    corners of the box around all contours."""

    counts: Mapping[str, int]
    region_xyz_mm: NDArray[np.float64]


def drawn_in(structures: StructureSet) -> DrawnIn:
    """Where a structure set is drawn."""
    counts = Counter(r.frame_uid for r in structures.rois if r.n_closed and r.frame_uid)
    ends = [end for c in structures.closed for end in (c.points_xyz_mm.min(axis=0), c.points_xyz_mm.max(axis=0))]
    low, high = np.min(ends or [[0.0] * 3], axis=0), np.max(ends or [[0.0] * 3], axis=0)
    corners = [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    return DrawnIn(counts, np.array(corners))


def frame_findings(
    set_id: str,
    drawn: DrawnIn,
    image_frame: str,
    hash_of: Callable[[str], str | None],
    links: Sequence[FrameLink],
) -> list[Finding]:
    """SS_FOR_MISMATCH when drawn structures lie in another frame of reference than their image.

    Parameters
    ----------
    image_frame: hash of the image's frame of reference.
    links: what registrations tie; the dose is taken to the structures by them, and the image never is.
    """
    elsewhere = sorted(uid for uid in drawn.counts if hash_of(uid) != image_frame)
    if not elsewhere:
        return []
    count = sum(drawn.counts[uid] for uid in elsewhere)
    measured = f"{count} of {sum(drawn.counts.values())} structures in another frame of reference than the image"
    target = next((uid for link in links for uid in (link.source, link.target) if hash_of(uid) == image_frame), "")
    try:
        routes = [find_route(links, uid, target, drawn.region_xyz_mm) for uid in elsewhere]
    except RegistrationsDisagreeError as error:
        return [finding("SS_FOR_MISMATCH", set_id, f"{measured}; {error}")]
    if any(route is None for route in routes):
        return [finding("SS_FOR_MISMATCH", set_id, measured)]
    same = all(route.is_identity for route in routes if route is not None)
    told = "a registration says that both are the same" if same else "a registration leads from one to the other"
    action = "taken as one frame of reference for the dose" if same else "dose taken to them by the registration"
    return [finding("SS_FOR_MISMATCH", set_id, f"{measured}; {told}", severity="W", action=action)]

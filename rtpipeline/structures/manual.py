"""Structures of the structure sets: what a person drew, measured as solids on their image."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtpipeline.contracts.manifests import StructureSetRef
from rtpipeline.execution.context import StageContext
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.outlines import Outline, flat_lists
from rtpipeline.structures.measure import Measured, measure
from rtpipeline.structures.plausibility import Drawn, plausibility_findings
from rtpipeline.structures.rows import MANUAL, RowWriter, Structure


def manual_structures(context: StageContext, writer: RowWriter) -> Iterator[Structure]:
    """Every structure of every prepared set, also those without a solid; reports what is odd about them."""
    folder = context.inputs.get("prepare_rt")
    for structure_set in writer.course.structure_sets:
        if folder is not None and _rois_path(folder, structure_set).is_file():
            yield from _of_set(context, writer, structure_set, folder)


def _of_set(
    context: StageContext, writer: RowWriter, structure_set: StructureSetRef, folder: Path
) -> Iterator[Structure]:
    set_id, image_id = structure_set.structure_set_id, structure_set.image_id
    images = context.inputs.get("prepare_images")
    planes, voxel = (image_grid(images, image_id, name) for name in ("planes", "voxel"))
    frame = next((i.frame_hash for i in writer.course.images if i.image_id == image_id), None)
    contours = _closed_contours(folder / "structure_sets" / f"{set_id}.parquet")
    seen: Counter[int] = Counter()
    solids: list[Drawn] = []
    for roi in pq.read_table(_rois_path(folder, structure_set)).to_pylist():
        seen[roi["roi_number"]] += 1
        drawn = contours.get(roi["roi_number"], [])
        label = f"{set_id} ROI {roi['roi_number']} '{roi['roi_name']}'"
        # drawn in another frame of reference: prepare_rt has said so, and the image says nothing about it
        on_image = planes if frame is None or roi["frame_hash"] in (None, frame) else None
        if roi["status"] != "ok":
            measured = Measured(roi["status"], None, None, ())
        else:
            measured = measure(drawn, on_image, label, voxel=voxel)
        context.report(*measured.findings)
        yield _structure(writer, structure_set, roi, seen[roi["roi_number"]], measured, drawn, on_image)
        if measured.solid is not None and measured.solid.volume_cc:
            solids.append(Drawn(label, roi["roi_name"], roi["roi_type"] or "", measured.solid))
    context.report(*plausibility_findings(solids))


def _structure(
    writer: RowWriter,
    structure_set: StructureSetRef,
    roi: dict[str, Any],
    occurrence: int,
    measured: Measured,
    drawn: list[NDArray[np.float64]],
    on_image: Grid | None,
) -> Structure:
    thickness_mm = on_image.plane_spacing_mm if on_image is not None else None
    own = {
        "roi_number": roi["roi_number"],
        "roi_type": roi["roi_type"] or None,
        "set_role": structure_set.role,
        **({"contours": len(drawn)} if measured.solid is None else {}),
    }
    return writer.structure(
        image_id=structure_set.image_id,
        set_id=structure_set.structure_set_id,
        source=MANUAL,
        structure_id=manual_id(structure_set.structure_set_id, roi["roi_number"], occurrence),
        name=roi["roi_name"],
        status=measured.status,
        outline=Outline(thickness_mm, drawn) if measured.solid is not None else None,
        solid=measured.solid,
        outside_image_pct=measured.outside_image_pct,
        extra=own,
    )


def _rois_path(folder: Path, structure_set: StructureSetRef) -> Path:
    return folder / "structure_sets" / f"{structure_set.structure_set_id}.rois.parquet"


def image_grid(folder: Path | None, image_id: str | None, name: Literal["planes", "voxel"]) -> Grid | None:
    """Original planes or voxel grid of a prepared image; None where there is no image."""
    if folder is None or image_id is None:
        return None
    path = folder / "images" / image_id / "geometry.json"
    return Grid.from_json(json.loads(path.read_text())[name]) if path.is_file() else None


def _closed_contours(path: Path) -> dict[int, list[NDArray[np.float64]]]:
    """Closed contours of a prepared structure set by ROI number, in the order of the file."""
    table = pq.read_table(path, columns=["roi_number", "points_xyz_mm"])
    found: dict[int, list[NDArray[np.float64]]] = {}
    points = flat_lists(table["points_xyz_mm"])
    for number, flat in zip(table["roi_number"].to_pylist(), points, strict=True):
        found.setdefault(number, []).append(flat.reshape(-1, 3))
    return found


def manual_id(structure_set_id: str, roi_number: int, occurrence: int = 1) -> str:
    """Source, set and ROI number; a number that stands in a set again gets its occurrence."""
    name = f"{MANUAL}-{structure_set_id}-{roi_number:04d}"
    return name if occurrence == 1 else f"{name}-{occurrence}"

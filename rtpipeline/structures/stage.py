"""Stage structures: every structure of every set on its image, with its volume, and the contours for the DVH."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtpipeline import __version__
from rtpipeline.contracts.manifests import Course, StructureSetRef
from rtpipeline.contracts.tables import STRUCTURES
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.outlines import Outline, flat_lists, write_contours
from rtpipeline.structures.measure import Measured, measure
from rtpipeline.structures.plausibility import Drawn, plausibility_findings

SOURCE_MANUAL = "manual"


def run(context: StageContext) -> StageOutcome:
    """Measure every structure; rows for all of them, contours for those with a solid."""
    course = context.course()
    folder = context.inputs.get("prepare_rt")
    sets = [s for s in course.structure_sets if folder and (_rois_path(folder, s)).is_file()]
    if folder is None or not sets:
        return StageOutcome(status="not_applicable", reason="no structure set")
    rows: list[dict[str, Any]] = []
    kept: list[tuple[str, str, Outline]] = []
    for structure_set in sets:
        images = context.inputs.get("prepare_images")
        planes, voxel = (image_grid(images, structure_set.image_id, name) for name in ("planes", "voxel"))
        frame = next((i.frame_hash for i in course.images if i.image_id == structure_set.image_id), None)
        contours = _closed_contours(folder / "structure_sets" / f"{structure_set.structure_set_id}.parquet")
        seen: Counter[int] = Counter()
        solids: list[Drawn] = []
        for roi in pq.read_table(_rois_path(folder, structure_set)).to_pylist():
            seen[roi["roi_number"]] += 1
            drawn = contours.get(roi["roi_number"], [])
            label = f"{structure_set.structure_set_id} ROI {roi['roi_number']} '{roi['roi_name']}'"
            # drawn in another frame of reference: prepare_rt has said so, and the image says nothing about it
            on_image = planes if frame is None or roi["frame_hash"] in (None, frame) else None
            if roi["status"] != "ok":
                measured = Measured(roi["status"], None, None, ())
            else:
                measured = measure(drawn, on_image, label, voxel=voxel)
            context.report(*measured.findings)
            row = _row(context, course, structure_set, roi, seen[roi["roi_number"]], measured, len(drawn))
            rows.append(row)
            if measured.solid is not None:
                outline = Outline(on_image.plane_spacing_mm if on_image is not None else None, drawn)
                kept.append((structure_set.structure_set_id, row["structure_id"], outline))
            if measured.solid is not None and measured.solid.volume_cc:
                solids.append(Drawn(label, roi["roi_name"], roi["roi_type"] or "", measured.solid))
        context.report(*plausibility_findings(solids))
    STRUCTURES.write(STRUCTURES.frame(rows), context.out / "structures.parquet")
    write_contours(context.out / "contours.parquet", sorted(kept, key=lambda k: k[:2]))
    return StageOutcome(counts={"structures": len(rows), "with_solid": len(kept)})


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


def _row(
    context: StageContext,
    course: Course,
    structure_set: StructureSetRef,
    roi: dict[str, Any],
    occurrence: int,
    measured: Measured,
    n_drawn: int,
) -> dict[str, Any]:
    image = next((i for i in course.images if i.image_id == structure_set.image_id), None)
    solid = measured.solid
    centroid = solid.centroid_xyz_mm if solid is not None else None
    return {
        "cohort": context.cohort,
        "patient_id": course.patient_id,
        "course_id": course.course_id,
        "image_id": structure_set.image_id,
        "modality": image.modality if image else None,
        "structure_set_id": structure_set.structure_set_id,
        "structure_source": SOURCE_MANUAL,
        "structure_id": structure_id(structure_set.structure_set_id, roi["roi_number"], occurrence),
        "structure_name": roi["roi_name"],
        "structure_name_tg263": None,
        "roi_number": roi["roi_number"],
        "roi_type": roi["roi_type"] or None,
        "set_role": structure_set.role,
        "status": measured.status,
        "volume_cc": solid.volume_cc if solid else None,
        "contours": n_drawn - (solid.n_degenerate_contours if solid else 0),
        "planes": len(solid.plane_offsets_mm) if solid else 0,
        "plane_spacing_mm": solid.nominal_spacing_mm if solid else None,
        "gaps": solid.n_gaps if solid else None,
        "components_z": solid.n_gaps + 1 if solid else None,
        "centroid_x_mm": float(centroid[0]) if centroid is not None else None,
        "centroid_y_mm": float(centroid[1]) if centroid is not None else None,
        "centroid_z_mm": float(centroid[2]) if centroid is not None else None,
        "outside_image_pct": measured.outside_image_pct,
        "end_cap": solid.end_cap if solid else None,
        "stage_key": context.stage_key,
        "rtpipeline_version": __version__,
    }


def structure_id(structure_set_id: str, roi_number: int, occurrence: int = 1) -> str:
    """Source, set and ROI number; a number that stands in a set again gets its occurrence."""
    name = f"{SOURCE_MANUAL}-{structure_set_id}-{roi_number:04d}"
    return name if occurrence == 1 else f"{name}-{occurrence}"

"""What the course page shows: for each image the three pictures through its target, with contours and doses."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import ImageRef, StructureSetRef
from rtpipeline.geometry.even_odd import Array
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.outlines import read_contours
from rtpipeline.geometry.rigid import is_identity, moved
from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.prepare.image_files import image_folder, load_geometry, load_values
from rtpipeline.qc.colours import colours
from rtpipeline.qc.outputs import CourseOutputs, Row
from rtpipeline.qc.pictures import Window, window_of
from rtpipeline.qc.views import Frame, grid_box, nearest_voxel_xyz_mm, patient_box
from rtpipeline.report.tables import is_target

log = logging.getLogger(__name__)

MAX_SCENES = 3
"""Images with pictures: the planning image first, then those that carry structures."""

MAX_DOSES = 3

UNREADABLE = (FileNotFoundError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError)
"""What a file of an earlier stage raises when it is not there, cut short, or holds something else."""

BODY_ABOVE_HU = -300.0
BODY_SHARE = 0.1
"""Share of the window above which a voxel of an image without HU is no background."""

MARGIN_MM = 12.0
"""Around the body, or around the structures where there is no image."""

SCALE_OVER_RX = 1.15
"""The colour scale ends at this many times the prescription, or at the maximum where that is less."""

SCALE_OVER_RX_BRACHY = 2.0
"""The same for brachytherapy, where twice the prescription is nothing unusual and the maximum lies in a source."""

SCALE_PERCENTILE = 99.9
"""Without a prescription it ends here, of the doses above a twentieth of the maximum: near a brachytherapy source the
maximum says nothing."""

TARGET_ORDER = ("GTV", "CTV", "PTV")


@dataclass(frozen=True, eq=False)
class Drawn:
    """A structure as it is drawn. row: of the table of structures. solid: that of the DVH."""

    row: Row
    solid: PrismSolid
    target: bool
    colour: str


@dataclass(frozen=True, eq=False)
class DoseLayer:
    """A dose in the frame of the pictures; the colour scale ends at `top_gy`."""

    dose_id: str
    grid: Grid
    dose_gy: NDArray[Any]
    known: NDArray[Any] | None
    max_gy: float
    top_gy: float
    rx_gy: float | None


@dataclass(frozen=True, eq=False)
class Scene:
    """One image, or none, with what lies in its frame of reference, and the point that is shown."""

    image_id: str | None
    modality: str
    grid: Grid | None
    values: NDArray[Any] | None
    window: Window | None
    frame: Frame
    centre_xyz_mm: Array
    centre_words: str
    drawn: Sequence[Drawn]
    doses: Sequence[DoseLayer]


def scenes(outputs: CourseOutputs) -> tuple[list[Scene], list[Finding]]:
    """What can be shown of a course, and QC_PICTURE for what cannot be read."""
    found: list[Scene] = []
    problems: list[Finding] = []
    for image_id in _image_ids(outputs) or [None]:
        try:
            scene = _scene(outputs, image_id)
        except UNREADABLE as error:
            log.warning("%s: no picture of %s: %s", outputs.course.course_id, image_id, type(error).__name__)
            problems.append(finding("QC_PICTURE", image_id or "course", type(error).__name__))
            continue
        if scene is not None:
            found.append(scene)
    return found, problems


def _image_ids(outputs: CourseOutputs) -> list[str | None]:
    """Prepared images: the planning image, then those with structures; without either the first."""
    ready = [r["image_id"] for r in outputs.rows("prepare_images", "images.parquet") if r["status"] == "ok"]
    refs = {i.image_id: i for i in outputs.course.images}
    with_structures = {r["image_id"] for r in outputs.rows("structures", "structures.parquet", ("image_id",))}
    ready.sort(key=lambda i: (refs[i].role != "planning", i not in with_structures, i))
    chosen = [i for i in ready if refs[i].role == "planning" or i in with_structures] or ready[:1]
    return list(chosen[:MAX_SCENES])


def _scene(outputs: CourseOutputs, image_id: str | None) -> Scene | None:
    image = next((i for i in outputs.course.images if i.image_id == image_id), None)
    frame_hash = image.frame_hash if image is not None else _common_frame(outputs)
    metrics = outputs.rows("dvh", "dvh_metrics.parquet")
    drawn = _drawn(outputs, image, frame_hash, metrics)
    doses = _doses(outputs, image, frame_hash, metrics)
    grid = values = window = None
    if image is not None:
        folder = image_folder(outputs.folders["prepare_images"], image.image_id)
        geometry = load_geometry(folder)
        grid, values = geometry.voxel, load_values(folder)
        units = str(geometry.facts.get("units") or "stored values")
        calibrated = geometry.facts.get("hu_status") in ("calibrated", "cbct")
        window = window_of(values, units, calibrated=calibrated)
        frame = _body_box(values, grid, window)
    elif doses:
        grid = doses[0].grid
        frame = grid_box(grid).around(_corners(drawn), MARGIN_MM)
    elif drawn:
        frame = patient_box(_corners(drawn), MARGIN_MM)
    else:
        return None
    centre, words = _centre(frame, drawn, doses, metrics)
    if grid is not None and len(grid.plane_offsets_mm) > 1:
        centre = nearest_voxel_xyz_mm(grid, centre)
    return Scene(
        image_id=image_id,
        modality=image.modality if image is not None else "",
        grid=grid if image is not None else None,
        values=values,
        window=window,
        frame=frame,
        centre_xyz_mm=centre,
        centre_words=words,
        drawn=drawn,
        doses=doses,
    )


def _corners(drawn: Sequence[Drawn]) -> Array:
    """(n, 3) corners of the boxes around structures."""
    return np.concatenate([np.empty((0, 3)), *(d.solid.corners_xyz_mm for d in drawn)])


def _common_frame(outputs: CourseOutputs) -> str | None:
    """Frame of reference of what there is without an image: of the first dose, else of the first structure set."""
    doses = outputs.facts("prepare_rt", "doses.json")
    frames = [d["frame_hash"] for d in doses] + [s.frame_hash for s in outputs.course.structure_sets]
    return next((f for f in frames if f is not None), None)


def _drawn(
    outputs: CourseOutputs, image: ImageRef | None, frame_hash: str | None, metrics: Sequence[Row]
) -> list[Drawn]:
    """Structures that lie on the image; without one those in the frame of reference."""
    path = outputs.file("structures", "contours.parquet")
    if path is None:
        return []
    outlines = read_contours(path)
    set_frames = {s.structure_set_id: s.frame_hash for s in outputs.course.structure_sets}
    with_rx = {(m["structure_set_id"], m["structure_id"]) for m in metrics if m["rx_gy"] is not None}
    found = []
    for row in outputs.rows("structures", "structures.parquet"):
        key = (row["structure_set_id"], row["structure_id"])
        if image is not None:
            # a null outside_image_pct says that the image tells nothing about it
            here = row["image_id"] == image.image_id and row["outside_image_pct"] is not None
        else:
            here = frame_hash is None or set_frames.get(row["structure_set_id"]) == frame_hash
        if not here or row["status"] not in ("ok", "no_volume") or key not in outlines:
            continue
        target = is_target(row) or key in with_rx
        name = row["structure_name_tg263"] or row["structure_name"]
        found.append(Drawn(row, outlines[key].solid(), target, colours(name, target=target)[0]))
    return found


def _doses(
    outputs: CourseOutputs, image: ImageRef | None, frame_hash: str | None, metrics: Sequence[Row]
) -> list[DoseLayer]:
    """Doses of the frame of reference, and those that apply to a structure set on the image; the total first."""
    on_image = [s for s in outputs.course.structure_sets if image and s.image_id == image.image_id]
    found = []
    entries = outputs.facts("prepare_rt", "doses.json")
    brachy = any(p.plan_class == "brachy" for p in outputs.course.plans)
    over_rx = SCALE_OVER_RX_BRACHY if brachy else SCALE_OVER_RX
    for facts in sorted(entries, key=lambda d: not d["whole_course"]):
        folder = outputs.folders["prepare_rt"] / "doses" / facts["dose_id"]
        way = _way_to_image(facts, on_image, frame_hash)
        if way is None or not (folder / "dose.npy").is_file():
            continue
        layer = _layer(folder, facts, _rx_gy(outputs, facts, metrics), over_rx, way)
        if layer is not None:
            found.append(layer)
    return found[:MAX_DOSES]


def _way_to_image(facts: Row, on_image: Sequence[StructureSetRef], frame_hash: str | None) -> Array | None:
    """(4, 4) matrix from a dose's frame of reference to the image's; None where the dose has no place on the image."""
    if frame_hash is not None and facts["frame_hash"] == frame_hash:
        return np.eye(4)
    entries = {e["structure_set_id"]: e for e in facts["structure_sets"]}
    for ref in on_image:
        entry = entries.get(ref.structure_set_id)
        if entry is None:
            continue
        matrix = entry.get("matrix")
        if matrix is None:
            return np.eye(4)
        if ref.frame_hash == frame_hash:  # else it leads to structures that lie in another frame than the image
            return np.array(matrix, float)
    return None


def _layer(folder: Path, facts: Row, rx_gy: float | None, over_rx: float, way: Array) -> DoseLayer | None:
    """The dose as it lies on disk, where the way to the image takes it; None where there is nothing to interpolate or
    no dose at all."""
    grid = Grid.from_json(json.loads((folder / "geometry.json").read_text()))
    grid = grid if is_identity(way) else moved(grid, way)
    dose = np.load(folder / "dose.npy", mmap_mode="r")
    known = np.load(folder / "known.npy", mmap_mode="r") if (folder / "known.npy").is_file() else None
    if min(grid.shape_zyx) < 2 or not facts["max_gy"]:
        return None
    top_gy = float(facts["max_gy"])
    if rx_gy is not None:
        top_gy = min(top_gy, over_rx * rx_gy)
    else:
        high = np.asarray(dose[np.asarray(dose) > 0.05 * top_gy])
        top_gy = float(np.percentile(high, SCALE_PERCENTILE)) if len(high) else top_gy
    return DoseLayer(facts["dose_id"], grid, dose, known, float(facts["max_gy"]), top_gy, rx_gy)


def _rx_gy(outputs: CourseOutputs, facts: Row, metrics: Sequence[Row]) -> float | None:
    """Highest prescription of a target in this dose, else the highest level of its only plan."""
    levels = [m["rx_gy"] for m in metrics if m["dose_id"] == facts["dose_id"] and m["rx_gy"] is not None]
    if not levels and len(facts["plan_ids"]) == 1:
        plans = outputs.facts("prepare_rt", "plans.json")
        levels = [level for p in plans if p["plan_id"] == facts["plan_ids"][0] for level in p["plan_rx_levels_gy"]]
    return max(levels, default=None)


def _body_box(values: NDArray[Any], grid: Grid, window: Window) -> Frame:
    """The box of what is no background, with a margin; of the whole image where nothing stands out."""
    above = BODY_ABOVE_HU if window.units == "HU" else window.low + BODY_SHARE * (window.high - window.low)
    seen = values > above
    ends = [np.flatnonzero(seen.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    if not all(len(e) for e in ends):
        return grid_box(grid)
    spacing = np.array([grid.plane_spacing_mm or 1.0, grid.row_spacing_mm, grid.column_spacing_mm])
    margin = np.array([0.0, *(MARGIN_MM / spacing[1:])])  # no slices beyond those with a body
    first = np.maximum([e[0] for e in ends] - margin, 0)
    last = np.minimum([e[-1] for e in ends] + margin, np.array(grid.shape_zyx) - 1)
    return grid_box(grid, first, last)


def _centre(
    frame: Frame, drawn: Sequence[Drawn], doses: Sequence[DoseLayer], metrics: Sequence[Row]
) -> tuple[Array, str]:
    """The point that the pictures pass through, and what it is."""
    rx: dict[str, float] = {}
    for m in metrics:
        if m["rx_gy"] is not None:
            rx[m["structure_id"]] = max(m["rx_gy"], rx.get(m["structure_id"], 0.0))

    def rank(d: Drawn) -> tuple[Any, ...]:
        kind = d.row["roi_type"]
        order = TARGET_ORDER.index(kind) if kind in TARGET_ORDER else -1
        manual = d.row["structure_source"] == "manual"
        return d.row["set_role"] == "primary", manual, rx.get(d.row["structure_id"], 0.0), order, d.row["volume_cc"]

    targets = [d for d in drawn if d.target and d.solid.centroid_xyz_mm is not None]
    if targets:
        first = max(targets, key=rank)
        centroid = first.solid.centroid_xyz_mm
        assert centroid is not None
        return centroid, f"centre of {first.row['structure_name']}"
    if doses:
        at = np.unravel_index(int(np.nanargmax(doses[0].dose_gy)), doses[0].grid.shape_zyx)
        return doses[0].grid.index_zyx_to_patient(np.array(at, float)), f"maximum of dose {doses[0].dose_id}"
    return 0.5 * (frame.low_mm + frame.high_mm) @ frame.axes, "middle of the image" if not drawn else "middle"

"""Courses with label maps that a test draws in place of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rtpipeline.config import Config
from rtpipeline.contracts.manifests import StageRecord
from rtpipeline.demo.small import SmallPatient
from rtpipeline.errors import ExitCode
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.geometry.grid import Grid
from rtpipeline.prepare.image_files import image_folder, load_geometry
from rtpipeline.segmentation.label_map import LabelMap, write_label_map
from rtpipeline.stages import STAGES
from rtpipeline.structures.masks import StructureReader, read_structures
from tests.synthetic.pipeline import COHORT, Chain, findings_of, run_chain

PREPARE = ["prepare_images", "prepare_rt"]
Inside = Callable[[NDArray[np.float64]], NDArray[np.bool_]]
"""Whether patient points (..., 3) lie in a shape."""


def ball(centre_mm: tuple[float, float, float], radius_mm: float) -> Inside:
    return lambda points: np.linalg.norm(points - np.array(centre_mm), axis=-1) <= radius_mm


def cuboid(lower_mm: tuple[float, float, float], upper_mm: tuple[float, float, float]) -> Inside:
    return lambda points: np.all((points >= np.array(lower_mm)) & (points <= np.array(upper_mm)), axis=-1)


def centres_xyz_mm(grid: Grid) -> NDArray[np.float64]:
    """(z, y, x, 3) patient positions of all voxel centres."""
    return grid.index_zyx_to_patient(np.moveaxis(np.indices(grid.shape_zyx), 0, -1).astype(float))


def drawn_map(
    grid: Grid,
    shapes: Mapping[str, Inside | None],
    *,
    image_id: str = "ct-01",
    source: Literal["totalsegmentator", "custom"] = "totalsegmentator",
    model: str = "total",
) -> LabelMap:
    """Labels 1, 2, ... in the order of the shapes, later ones over earlier ones; None was asked for and not found."""
    values = np.zeros(grid.shape_zyx, np.uint8)
    points = centres_xyz_mm(grid)
    for label, inside in enumerate(shapes.values(), start=1):
        if inside is not None:
            values[inside(points)] = label
    return LabelMap(
        image_id, source, model, values, grid, dict(enumerate(shapes, start=1)), resolution_mm=3.0, phantom=True
    )


def chain_with_maps(
    patient: SmallPatient,
    folder: Path,
    shapes: Mapping[str, Inside | None],
    *,
    custom: Mapping[str, Inside | None] | None = None,
    config: Config | None = None,
    stages: tuple[str, ...] = ("structures",),
) -> Chain:
    """The patient's only course, prepared, with the label maps `total` and, of a custom model, `own`."""
    config = config or Config()
    chain = run_chain(patient.save(folder / "export"), folder / "work", config, stages=PREPARE)
    course = chain.course
    ended = {name: chain.folder(course.course_id, name) for name in PREPARE}
    grid = load_geometry(image_folder(ended["prepare_images"], "ct-01")).voxel
    for stage, model, drawn in (("segmentation", "total", shapes), ("custom_models", "own", custom)):
        if drawn:
            ended[stage] = chain.folder(course.course_id, stage)
            source: Literal["totalsegmentator", "custom"] = "custom" if stage == "custom_models" else "totalsegmentator"
            write_label_map(ended[stage], drawn_map(grid, drawn, source=source, model=model))
    for stage in stages:
        out = chain.folder(course.course_id, stage)
        request = StageRequest(
            stage,
            COHORT,
            out,
            config,
            "key",
            course_id=course.course_id,
            inputs={"organize": chain.root / "organize"} | {n: ended[n] for n in STAGES[stage].upstream if n in ended},
        )
        code = run_stage(request)
        record = StageRecord.load(out)
        assert record is not None
        assert code is ExitCode.DONE, record.traceback
        chain.codes[course.course_id, stage] = code
        ended[stage] = out
        chain.findings += findings_of(out)
    return chain


def reader_of(chain: Chain) -> StructureReader:
    course = chain.course.course_id
    return read_structures(chain.folder(course, "structures"), chain.folder(course, "prepare_images"))


def voxel_cc(grid: Grid) -> float:
    assert grid.plane_spacing_mm is not None
    return grid.plane_spacing_mm * grid.row_spacing_mm * grid.column_spacing_mm / 1000.0

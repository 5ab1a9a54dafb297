"""Masks of structures as later stages read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtpipeline.demo.small import small_patient
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.structures.masks import boxed, rasterize, read_structures
from tests.synthetic.pipeline import run_chain

UPSTREAM = ["prepare_images", "prepare_rt", "structures"]


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "HFDL"])
def test_a_mask_holds_the_voxels_whose_centre_lies_in_the_sphere(tmp_path: Path, position: str) -> None:
    patient = small_patient(position=position)
    chain = run_chain(patient.save(tmp_path / "export"), tmp_path / "work", stages=UPSTREAM)
    course = chain.course.course_id
    reader = read_structures(chain.folder(course, "structures"), chain.folder(course, "prepare_images"))
    (row,) = [r for r in reader.rows if r["structure_name"] == "GTV"]
    mask = reader.mask(row["structure_set_id"], row["structure_id"])
    assert mask is not None
    assert mask.lost_pct == 0.0
    k, j, i = np.nonzero(mask.whole())
    points = mask.grid.index_zyx_to_patient(np.stack([k, j, i], axis=-1))
    # the contour of a plane is the circle that the sphere has there, and each voxel plane has its contour
    distance_mm = np.linalg.norm(points - np.array([5.0, -12.0, 40.0]), axis=1)
    assert distance_mm.max() <= 12.0
    centres = mask.grid.index_zyx_to_patient(np.moveaxis(np.indices(mask.grid.shape_zyx), 0, -1))
    inside = np.linalg.norm(centres - np.array([5.0, -12.0, 40.0]), axis=-1) < 11.8  # polygons cut chords off circles
    assert mask.whole()[inside].all()
    assert mask.voxels == np.count_nonzero(mask.whole())


def test_the_box_is_the_smallest_and_lies_where_the_voxels_are() -> None:
    grid = Grid.from_dicom_like((1, 0, 0, 0, 1, 0), (0.0, 0.0, 0.0), (2.0, 2.0), 3.0 * np.arange(8), 10, 12)
    whole = np.zeros(grid.shape_zyx, bool)
    whole[2, 3, 4] = whole[5, 6, 11] = True
    found = boxed(whole, grid)
    assert (found.offset_zyx, found.mask_zyx.shape, found.voxels) == ((2, 3, 4), (4, 4, 8), 2)
    assert np.array_equal(found.whole(), whole)


def test_a_solid_without_a_voxel_centre_has_no_voxels() -> None:
    grid = Grid.from_dicom_like((1, 0, 0, 0, 1, 0), (0.0, 0.0, 0.0), (2.0, 2.0), 3.0 * np.arange(8), 10, 12)
    square = np.array([[0.5, 0.5, 3.0], [1.5, 0.5, 3.0], [1.5, 1.5, 3.0], [0.5, 1.5, 3.0]])
    found = rasterize(PrismSolid.from_contours([square], single_plane_thickness_mm=3.0), grid)
    assert (found.voxels, found.mask_zyx.shape) == (0, (0, 0, 0))
    assert not found.whole().any()
    beyond = rasterize(PrismSolid.from_contours([square + 500.0], single_plane_thickness_mm=3.0), grid)
    assert beyond.voxels == 0


def test_without_an_image_there_is_no_mask(tmp_path: Path) -> None:
    patient = small_patient()
    patient.ct = []
    chain = run_chain(patient.save(tmp_path / "export"), tmp_path / "work", stages=UPSTREAM)
    course = chain.course.course_id
    reader = read_structures(chain.folder(course, "structures"), chain.folder(course, "prepare_images"))
    assert reader.rows
    assert all(reader.mask(r["structure_set_id"], r["structure_id"]) is None for r in reader.rows)
    with pytest.raises(KeyError):
        reader.mask("rs-01", "no such structure")

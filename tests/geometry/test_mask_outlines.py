"""Outlines of masks: filling them gives every voxel back, and their solid has the voxels' volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.mask_outlines import mask_outline, mask_outlines
from rtpipeline.geometry.outlines import read_contours, write_contours
from rtpipeline.geometry.polygon import signed_area_mm2
from rtpipeline.geometry.rasterize import solid_mask
from rtpipeline.geometry.solid import PrismSolid

Mask = NDArray[np.bool_]

VOLUME_RTOL = 1e-12
"""A border is half a voxel from the centres, at positions of a few hundred mm: 16 digits leave 13 of a voxel's area."""

TILT = np.deg2rad(20.0)

GRIDS = {
    "HFS": ([1, 0, 0, 0, 1, 0], 2.5),
    "HFS, descending": ([1, 0, 0, 0, 1, 0], -2.5),
    "FFS": ([-1, 0, 0, 0, 1, 0], 2.5),
    "HFP": ([-1, 0, 0, 0, -1, 0], 2.5),
    "decubitus": ([0, 1, 0, -1, 0, 0], 2.5),
    "sagittal": ([0, 1, 0, 0, 0, -1], 1.2),
    "coronal": ([1, 0, 0, 0, 0, -1], 1.2),
    "tilted": ([1, 0, 0, 0, np.cos(TILT), np.sin(TILT)], 3.0),
    "oblique": ([0.8, 0.6, 0, -0.6 * np.cos(TILT), 0.8 * np.cos(TILT), np.sin(TILT)], 3.0),
}


def grid_of(shape_zyx: tuple[int, ...], name: str = "HFS") -> Grid:
    iop, step = GRIDS[name]
    return Grid.from_dicom_like(
        iop, (-217.3, 143.7, -911.25), (0.9765625, 1.171875), np.arange(shape_zyx[0]) * step, *shape_zyx[1:]
    )


def voxel_cc(grid: Grid) -> float:
    assert grid.plane_spacing_mm is not None
    return grid.row_spacing_mm * grid.column_spacing_mm * grid.plane_spacing_mm / 1000.0


def assert_exact(mask: Mask, grid: Grid, solid: PrismSolid) -> None:
    assert np.array_equal(solid_mask(solid, grid), mask)
    assert solid.volume_cc == pytest.approx(int(mask.sum()) * voxel_cc(grid), rel=VOLUME_RTOL)


masks = arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7)), elements=st.booleans())


@given(masks, st.sampled_from(sorted(GRIDS)))
@settings(max_examples=200, deadline=None)
def test_the_outline_of_any_mask_is_that_mask_in_any_orientation(mask: Mask, name: str) -> None:
    if mask.shape[0] == 1:
        mask = np.concatenate([mask, np.zeros_like(mask)])  # a grid of one plane has no voxel volume
    grid = grid_of(mask.shape, name)
    outline = mask_outline(mask, grid)
    if not mask.any():
        assert outline.contours == []
        return
    assert_exact(mask, grid, outline.solid())


@given(masks)
@settings(max_examples=100, deadline=None)
def test_contours_alone_are_the_mask_where_its_median_gap_is_one_plane(mask: Mask) -> None:
    mask = np.concatenate([mask, np.ones((3, *mask.shape[1:]), bool), mask[::-1]])
    grid = grid_of(mask.shape)
    contours = mask_outlines(mask, grid)
    gaps = np.diff(np.flatnonzero(mask.any(axis=(1, 2))))
    if np.median(gaps) == 1:
        solid = PrismSolid.from_contours(contours, single_plane_thickness_mm=grid.plane_spacing_mm)
        assert_exact(mask, grid, solid)


def test_empty_planes_stay_empty_though_the_gap_is_as_wide_as_the_others() -> None:
    """Outlines on planes 0, 2 and 4 alone mean a structure drawn on every second plane, which is filled between."""
    mask = np.zeros((5, 4, 4), bool)
    mask[::2, 1:3, 1:3] = True
    grid = grid_of(mask.shape)
    assert_exact(mask, grid, mask_outline(mask, grid).solid())
    filled = PrismSolid.from_contours(mask_outlines(mask, grid), single_plane_thickness_mm=None)
    assert solid_mask(filled, grid).any(axis=(1, 2)).all()


@pytest.mark.parametrize("tilt_deg", [0.001, 0.02, 0.1, 0.5, 2.0])
def test_single_voxels_far_apart_on_a_slightly_tilted_image_are_exact(tilt_deg: float) -> None:
    """Each contour is flat along z to within a hundredth of a mm, but the planes of the image are not: taken as axial,
    voxels of one plane would count as many planes, each as thick as the difference."""
    tilt = np.deg2rad(tilt_deg)
    iop = [np.cos(tilt), 0.0, np.sin(tilt), 0.0, 1.0, 0.0]
    grid = Grid.from_dicom_like(iop, (-250.0, 100.0, 40.0), (1.0, 1.0), np.arange(6) * 2.0, 3, 400)
    mask = np.zeros(grid.shape_zyx, bool)
    mask[1:5, 1, 5::80] = True
    assert_exact(mask, grid, mask_outline(mask, grid).solid())


def test_an_outline_that_was_written_and_read_is_still_the_mask(tmp_path: Path) -> None:
    mask = np.zeros((5, 4, 4), bool)
    mask[::2, 1:3, 1:3] = True
    grid = grid_of(mask.shape, "oblique")
    path = tmp_path / "contours.parquet"
    write_contours(path, [("set", "structure", mask_outline(mask, grid))])
    assert_exact(mask, grid, read_contours(path)["set", "structure"].solid())


@given(masks)
@settings(max_examples=100, deadline=None)
def test_rings_turn_at_every_vertex_and_their_number_is_that_of_pieces_and_holes(mask: Mask) -> None:
    grid = Grid.from_dicom_like(GRIDS["HFS"][0], (0, 0, 0), (1, 1), np.arange(mask.shape[0]), *mask.shape[1:])
    contours = mask_outlines(mask, grid)
    outer = holes = 0
    for plane in mask:
        outer += ndimage.label(plane)[1]
        padded = np.pad(~plane, 1, constant_values=True)
        holes += ndimage.label(padded, structure=np.ones((3, 3)))[1] - 1
    areas = [signed_area_mm2(c[:, :2]) for c in contours]
    assert (sum(a > 0 for a in areas), sum(a < 0 for a in areas)) == (outer, holes)
    for contour in contours:
        before, after = contour - np.roll(contour, 1, axis=0), np.roll(contour, -1, axis=0) - contour
        assert (np.einsum("ij,ij->i", before, after) == 0.0).all()  # right angles everywhere
        assert (np.abs(contour[:, :2] % 1.0) == 0.5).all()  # borders of pixels
    assert sum(areas) == mask.sum()


@pytest.mark.parametrize("pixels", [
    pytest.param([(0, 0)], id="one pixel in the corner of the image"),
    pytest.param([(3, 4)], id="one pixel in the opposite corner"),
    pytest.param([(1, 1), (2, 2)], id="two that meet in a corner"),
    pytest.param([(1, 2), (2, 1)], id="two that meet in the other corner"),
    pytest.param([(r, c) for r in range(4) for c in range(5)], id="the whole image"),
    pytest.param([(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)], id="a hole that opens in a corner"),
])  # fmt: skip
def test_few_pixels_are_exact(pixels: list[tuple[int, int]]) -> None:
    mask = np.zeros((3, 4, 5), bool)
    for r, c in pixels:
        mask[1, r, c] = True
    assert_exact(mask, grid_of(mask.shape), mask_outline(mask, grid_of(mask.shape)).solid())


def test_a_part_of_a_mask_lies_where_its_offset_says() -> None:
    mask = np.zeros((6, 9, 8), bool)
    mask[2:4, 3:7, 1:4] = True
    grid = grid_of(mask.shape, "oblique")
    whole = mask_outlines(mask, grid)
    part = mask_outlines(mask[1:5, 2:8, 1:6], grid, first_zyx=(1, 2, 1))
    assert all(np.array_equal(a, b) for a, b in zip(whole, part, strict=True))
    with pytest.raises(ValueError, match="does not lie on a grid"):
        mask_outlines(mask, grid, first_zyx=(0, 0, 1))

"""Boxes of voxels that may reach beyond the image."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.rasterize import solid_mask
from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.structures.regions import Region, common_box, region_of

GRID = Grid.from_dicom_like(
    (0.8, 0.6, 0.0, -0.36, 0.48, 0.8), (3.0, -7.0, 11.0), (2.0, 2.5), 3.0 * np.arange(10), 12, 14
)
places = st.tuples(*(st.integers(-6, 6),) * 3)
sizes = st.tuples(*(st.integers(1, 7),) * 3)


def covered(region: Region) -> set[tuple[int, ...]]:
    return {tuple(int(v) for v in i) for i in np.argwhere(region.mask_zyx) + np.array(region.first_zyx)}


@given(places, sizes, places, sizes)
def test_a_region_on_another_box_keeps_its_places(first, shape, other, other_shape):
    mask = np.random.default_rng(sum(shape)).random(shape) < 0.5
    region = Region(mask, first)
    moved = Region(region.on(other, other_shape), other)
    box = {
        (z, y, x)
        for z in range(other[0], other[0] + other_shape[0])
        for y in range(other[1], other[1] + other_shape[1])
        for x in range(other[2], other[2] + other_shape[2])
    }
    assert covered(moved) == covered(region) & box


@given(places, sizes, places, sizes)
def test_the_common_box_holds_both_and_the_margin(first, shape, other, other_shape):
    regions = [Region(np.ones(shape, bool), first), Region(np.ones(other_shape, bool), other)]
    begin, size = common_box(regions, (1, 2, 3))
    for region in regions:
        assert covered(Region(region.on(begin, size), begin)) == covered(region)
    low = np.minimum(first, other) - np.array([1, 2, 3])
    high = np.maximum(np.add(first, shape), np.add(other, other_shape)) + np.array([1, 2, 3])
    assert begin == tuple(low)
    assert size == tuple(high - low)


def box_solid(first_zyx, last_zyx) -> PrismSolid:
    """Contours on planes of GRID, half a voxel around the voxels from first to last."""
    (z0, y0, x0), (z1, y1, x1) = first_zyx, last_zyx
    corners = [(y0 - 0.5, x0 - 0.5), (y0 - 0.5, x1 + 0.5), (y1 + 0.5, x1 + 0.5), (y1 + 0.5, x0 - 0.5)]
    contours = [GRID.index_zyx_to_patient(np.array([[z, y, x] for y, x in corners], float)) for z in range(z0, z1 + 1)]
    return PrismSolid.from_contours(contours, single_plane_thickness_mm=3.0)


def test_inside_the_image_it_is_the_mask_of_the_image():
    solid = box_solid((2, 3, 4), (5, 7, 9))
    region = region_of(solid, GRID)
    assert np.array_equal(region.on((0, 0, 0), GRID.shape_zyx), solid_mask(solid, GRID))
    assert region.outside_pct(GRID) == 0.0


def test_beyond_the_image_nothing_is_cut_and_the_part_outside_is_counted():
    solid = box_solid((-3, 3, 10), (2, 7, 17))
    region = region_of(solid, GRID)
    assert covered(region) == {(z, y, x) for z in range(-3, 3) for y in range(3, 8) for x in range(10, 18)}
    assert np.array_equal(region.on((0, 0, 0), GRID.shape_zyx), solid_mask(solid, GRID))
    assert region.outside_pct(GRID) == 100.0 * (1 - (3 * 5 * 4) / (6 * 5 * 8))
    outline = region.outline(GRID)
    assert abs(outline.solid().volume_cc - 6 * 5 * 8 * 15.0 / 1000) < 1e-9
    assert Region(np.zeros((2, 2, 2), bool), (0, 0, 0)).outside_pct(GRID) == 0.0

"""Masks: voxel centres against a formula, coverage against the exact volume, any orientation of the image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.rasterize import UnknownThicknessError, solid_coverage, solid_mask
from rtpipeline.geometry.solid import PrismSolid

IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def ring_of(radius: float, z: float, centre: tuple[float, float] = (0.0, 0.0), n: int = 240) -> np.ndarray:
    angle = np.linspace(0.01, 0.01 + 2.0 * np.pi, n, endpoint=False)
    return np.c_[centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), np.full(n, z)]


def make_grid(
    iop: list[float] = IDENTITY,
    ipp: tuple[float, float, float] = (-20.3, -18.1, -12.0),
    spacing: tuple[float, float] = (1.1, 0.9),
    offsets: np.ndarray | None = None,
    shape: tuple[int, int] = (34, 46),
) -> Grid:
    return Grid.from_dicom_like(iop, ipp, spacing, np.arange(13) * 2.0 if offsets is None else offsets, *shape)


def voxel_centres(grid: Grid) -> np.ndarray:
    """(z, y, x, 3) by the standard's formula, not by the grid's own methods."""
    k, j, i = np.meshgrid(*[np.arange(n) for n in grid.shape_zyx], indexing="ij")
    normal = np.cross(grid.row_direction, grid.column_direction)
    return (
        grid.origin_xyz_mm
        + grid.plane_offsets_mm[k][..., None] * normal
        + j[..., None] * grid.row_spacing_mm * grid.column_direction
        + i[..., None] * grid.column_spacing_mm * grid.row_direction
    )


def voxel_cc(grid: Grid) -> float:
    return grid.row_spacing_mm * grid.column_spacing_mm * (grid.plane_spacing_mm or 0.0) / 1000.0


def test_a_sphere_has_the_voxels_whose_centre_is_inside_its_contour() -> None:
    grid = make_grid()
    heights = -12.0 + np.arange(13) * 2.0
    contours = [ring_of(np.sqrt(100 - z * z), z) for z in heights if abs(z) < 10]
    solid = PrismSolid.from_contours(contours, single_plane_thickness_mm=None)
    points = voxel_centres(grid)
    distance = np.linalg.norm(points, axis=-1)
    mask = solid_mask(solid, grid)
    # a polygon of 240 corners lies up to 0.001 mm inside its circle
    assert np.array_equal(mask[distance < 9.99], np.ones_like(mask[distance < 9.99]))
    assert not mask[distance > 10.0].any()
    assert (mask.sum() * voxel_cc(grid)) == pytest.approx(solid.volume_cc, rel=0.03)


def test_ring_and_keyhole_fill_the_same_voxels_and_leave_the_hole() -> None:
    grid = make_grid()
    planes = (-2.0, 0.0, 2.0)
    inner = ring_of(4, 0.0)[::-1]
    keyhole = np.concatenate([ring_of(9, 0.0), ring_of(9, 0.0)[:1], np.roll(inner, 1, axis=0), inner[-1:]])
    ring = [c for z in planes for c in (ring_of(9, z), ring_of(4, z))]
    masks = [
        solid_mask(PrismSolid.from_contours(c, single_plane_thickness_mm=None), grid)
        for c in (ring, [keyhole + np.array([0, 0, z]) for z in planes])
    ]
    assert np.array_equal(masks[0], masks[1])
    radius = np.linalg.norm(voxel_centres(grid)[..., :2], axis=-1)
    for mask in masks:
        assert not mask[:, radius[0] < 3.99].any()
        assert mask[5:8][:, (radius[0] > 4.0) & (radius[0] < 8.99)].all()
        assert not mask[:5].any() and not mask[8:].any()


@pytest.mark.parametrize("iop", [
    [1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, -1, 0], [-1, 0, 0, 0, 1, 0], [1, 0, 0, 0, -1, 0],
    [0, 1, 0, -1, 0, 0], [0, -1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 0], [0, -1, 0, -1, 0, 0],
    [0.8, 0.6, 0, -0.6, 0.8, 0],
])  # fmt: skip
@pytest.mark.parametrize("descending", [False, True])
def test_the_mask_lies_at_the_same_place_whatever_the_rows_and_columns(iop: list[float], descending: bool) -> None:
    normal = np.cross(iop[:3], iop[3:])
    offsets = np.arange(15) * (-2.0 if descending else 2.0)
    # the grid's middle voxel lies near the structure, wherever its corner is
    corner = np.array([5.0, -3.0, 1.0]) - 20.0 * np.array(iop[:3]) - 20.0 * np.array(iop[3:]) - offsets[7] * normal
    grid = make_grid(iop, tuple(corner), (1.0, 1.3), offsets, (45, 35))
    contours = [ring_of(7.0 - 0.4 * z, z, (5.0, -3.0)) for z in (-4.2, -2.2, -0.2, 1.8, 3.8)]
    solid = PrismSolid.from_contours(contours, single_plane_thickness_mm=None)
    points = voxel_centres(grid)
    got = points[solid_mask(solid, grid)]
    inside = solid.contains(points.reshape(-1, 3)).reshape(grid.shape_zyx)
    assert len(got) > 300
    assert np.array_equal(solid_mask(solid, grid), inside)
    coverage = solid_coverage(solid, grid)
    assert coverage.sum() * voxel_cc(grid) == pytest.approx(solid.volume_cc, rel=1e-5)
    centroid = np.average(points.reshape(-1, 3), axis=0, weights=coverage.ravel())
    assert centroid == pytest.approx(solid.centroid_xyz_mm, abs=0.3)  # a fifth of a voxel


def test_coverage_of_contours_between_image_planes_keeps_the_volume() -> None:
    for shift, spacing in itertools.product((0.0, 0.7), (1.5, 3.0, 5.0)):
        contours = [ring_of(8, z + shift) for z in np.arange(-6.0, 6.1, spacing)]
        solid = PrismSolid.from_contours(contours, single_plane_thickness_mm=None)
        grid = make_grid()
        assert solid_coverage(solid, grid).sum() * voxel_cc(grid) == pytest.approx(solid.volume_cc, rel=1e-5)


def test_contours_on_every_second_slice_fill_the_slices_between() -> None:
    solid = PrismSolid.from_contours([ring_of(8, z) for z in (-4.0, 0.0, 4.0)], single_plane_thickness_mm=None)
    filled = solid_mask(solid, make_grid()).any(axis=(1, 2))
    # slabs reach from -6 (inside) to 6 (outside): slices -6, -4, ..., 4
    assert np.flatnonzero(filled).tolist() == [3, 4, 5, 6, 7, 8]


def test_oblique_contours_are_filled_too() -> None:
    angle = np.deg2rad(25.0)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    solid = PrismSolid.from_contours(
        [ring_of(9, z) @ turn.T for z in np.arange(-5.0, 5.1, 2.5)], single_plane_thickness_mm=None
    )
    grid = make_grid()
    points = voxel_centres(grid) @ turn
    expected = (np.linalg.norm(points[..., :2], axis=-1) < 8.99) & (np.abs(points[..., 2]) < 6.24)
    outside = (np.linalg.norm(points[..., :2], axis=-1) > 9.01) | (np.abs(points[..., 2]) > 6.26)
    mask = solid_mask(solid, grid)
    assert mask[expected].all() and not mask[outside].any()
    coverage = solid_coverage(solid, grid)
    assert coverage.sum() * voxel_cc(grid) == pytest.approx(solid.volume_cc, rel=0.01)  # 27 points per voxel


def test_what_leaves_the_image_is_cut_off_and_the_rest_stays() -> None:
    grid = make_grid()
    solid = PrismSolid.from_contours([ring_of(8, z, (-20.0, 0.0)) for z in (0.0, 2.0)], single_plane_thickness_mm=None)
    mask, coverage = solid_mask(solid, grid), solid_coverage(solid, grid)
    assert mask[:, :, 0].any()
    points = voxel_centres(grid)
    assert np.array_equal(mask, solid.contains(points.reshape(-1, 3)).reshape(grid.shape_zyx))
    assert 0.4 < coverage.sum() * voxel_cc(grid) / (solid.volume_cc or 1.0) < 0.6


def test_a_plane_of_unknown_thickness_has_no_voxels() -> None:
    solid = PrismSolid.from_contours([ring_of(8, 0.0)], single_plane_thickness_mm=None)
    for rasterize in (solid_mask, solid_coverage):
        with pytest.raises(UnknownThicknessError, match="single_plane_thickness_mm"):
            rasterize(solid, make_grid())
    one = PrismSolid.from_contours([ring_of(8, 0.0)], single_plane_thickness_mm=2.0)
    assert solid_mask(one, make_grid()).any(axis=(1, 2)).sum() == 1

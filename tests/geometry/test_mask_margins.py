"""Margins of voxel masks against closed forms, and against distances found by another route."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from rtpipeline.geometry import mask_margins
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.mask_margins import LATTICE_SHARE, Margins, grown, reach_zyx, shrunk, spacing_zyx_mm, window

ROUNDING = 1e-9
"""Relative; positions and volumes are sums of a few products."""

POSITIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
}
SIDES = {
    "left_mm": (0, 1), "right_mm": (0, -1), "posterior_mm": (1, 1), "anterior_mm": (1, -1),
    "superior_mm": (2, 1), "inferior_mm": (2, -1),
}  # fmt: skip
"""Patient axis and direction of each side (DICOM PS3.3 C.7.6.2.1.1: left, posterior and superior are positive)."""


def grid_of(iop=(1, 0, 0, 0, 1, 0), shape=(24, 40, 36), spacing=(2.0, 2.0, 2.0), descending=False) -> Grid:
    offsets = spacing[0] * np.arange(shape[0]) * (-1 if descending else 1)
    return Grid.from_dicom_like(iop, (3.0, -7.0, 11.0), spacing[1:], offsets, shape[1], shape[2])


def extent_xyz_mm(mask, grid) -> np.ndarray:
    """(2, 3) least and greatest patient coordinate of the centres of a mask's voxels."""
    centres = grid.index_zyx_to_patient(np.argwhere(mask).astype(float))
    return np.array([centres.min(axis=0), centres.max(axis=0)])


def centres_of(grid) -> np.ndarray:
    """(z, y, x, 3) patient positions of the voxel centres."""
    return grid.index_zyx_to_patient(np.moveaxis(np.indices(grid.shape_zyx), 0, -1).astype(float))


def box_in(shape, half=(3, 4, 5)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(n // 2 - h, n // 2 + h + 1) for n, h in zip(shape, half, strict=True))] = True
    return mask


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("position", list(POSITIONS))
@pytest.mark.parametrize("side", list(SIDES))
def test_a_box_grows_to_one_side_of_the_patient_by_exactly_its_margin(side, position, descending):
    grid = grid_of(POSITIONS[position], (30, 30, 30), descending=descending)
    box = box_in(grid.shape_zyx)
    before, after = extent_xyz_mm(box, grid), extent_xyz_mm(grown(box, grid, Margins(**{side: 6.0})), grid)
    axis, sign = SIDES[side]
    expected = before.copy()
    expected[(sign + 1) // 2, axis] += sign * 6.0
    assert after == pytest.approx(expected, rel=ROUNDING)
    inner = extent_xyz_mm(shrunk(box, grid, Margins(**{side: 4.0})), grid)
    expected = before.copy()
    expected[(sign + 1) // 2, axis] -= sign * 4.0
    assert inner == pytest.approx(expected, rel=ROUNDING)


def test_a_box_grown_on_six_sides_has_each_of_them_and_the_corners_of_an_ellipsoid():
    grid = grid_of(spacing=(3.0, 2.0, 2.5), shape=(30, 50, 50))
    box = box_in(grid.shape_zyx)
    margins = Margins(10.0, 5.0, 8.0, 6.0, 15.0, 3.0)
    result = grown(box, grid, margins)
    before, after = extent_xyz_mm(box, grid), extent_xyz_mm(result, grid)
    assert after - before == pytest.approx(np.array([[-5.0, -6.0, -3.0], [10.0, 8.0, 15.0]]), rel=ROUNDING)
    # a voxel beyond the left, posterior, superior corner belongs to it as far as the ellipsoid of these margins says,
    # longer by the share of a voxel (2.5, 2 and 3 mm along x, y and z)
    corner = np.array([before[1, 0], before[1, 1], before[1, 2]])
    centres = centres_of(grid)
    beyond = np.all(centres > corner + 1e-6, axis=-1)
    semi_axes_mm = np.array([10.0, 8.0, 15.0]) + LATTICE_SHARE * np.array([2.5, 2.0, 3.0])
    share = (((centres - corner) / semi_axes_mm) ** 2).sum(axis=-1)
    assert 0 < np.count_nonzero(beyond & result) < np.count_nonzero(beyond)
    assert np.array_equal(result[beyond], share[beyond] <= 1.0)


@pytest.mark.parametrize("position", ["HFS", "HFDL", "coronal"])
@pytest.mark.parametrize("margin_mm", [2.0, 4.9, 7.5])
def test_a_uniform_margin_is_the_distance_of_centres(position, margin_mm):
    """By the Euclidean distance transform, which knows nothing of patients or octants, in units of the semi-axes."""
    grid = grid_of(POSITIONS[position], spacing=(3.0, 1.7, 2.2))
    mask = np.random.default_rng(3).random(grid.shape_zyx) < 3e-4
    edges_mm = np.array(spacing_zyx_mm(grid))
    units = edges_mm / (margin_mm + LATTICE_SHARE * edges_mm)
    distance = ndimage.distance_transform_edt(~mask, sampling=units)
    assert np.array_equal(grown(mask, grid, Margins.uniform(margin_mm)), distance <= 1 + 1e-9)
    solid = ~mask
    solid[[0, -1]] = solid[:, [0, -1]] = solid[:, :, [0, -1]] = False
    depth = ndimage.distance_transform_edt(np.pad(solid, 1), sampling=units)[1:-1, 1:-1, 1:-1]
    assert np.array_equal(shrunk(solid, grid, Margins.uniform(margin_mm)), depth > 1 + 1e-9)


def test_unequal_margins_on_an_oblique_grid_are_those_of_the_patient():
    """Every pair of voxel and mask voxel tried, in patient millimetres."""
    grid = grid_of((0.8, 0.6, 0.0, -0.36, 0.48, 0.8), (12, 14, 16), (3.0, 2.0, 2.5))
    mask = np.random.default_rng(5).random(grid.shape_zyx) < 2e-3
    margins = Margins(7.0, 3.0, 5.0, 0.5, 9.0, 2.0)
    centres = grid.index_zyx_to_patient(np.argwhere(np.ones(grid.shape_zyx, bool)).astype(float))
    sources = grid.index_zyx_to_patient(np.argwhere(mask).astype(float))
    shift = centres[:, None] - sources[None]
    steps = np.array([3.0 * grid.normal, 2.0 * grid.column_direction, 2.5 * grid.row_direction])
    extent = np.linalg.norm(steps, axis=0)
    semi_axes = np.where(shift > 0, np.array([7.0, 5.0, 9.0]), np.array([3.0, 0.5, 2.0])) + LATTICE_SHARE * extent
    expected = (((shift / semi_axes) ** 2).sum(axis=-1) <= 1.0).any(axis=1).reshape(grid.shape_zyx)
    result = grown(mask, grid, margins)
    assert mask.sum() < expected.sum() < expected.size
    assert np.array_equal(result, expected)
    mirror = shrunk(~mask, grid, margins)
    inside = np.zeros(grid.shape_zyx, bool)
    reach = reach_zyx(margins, grid)
    inside[tuple(slice(r, n - r) for r, n in zip(reach, grid.shape_zyx, strict=True))] = True
    assert np.array_equal(mirror[inside], ~grown(mask, grid, margins.mirrored())[inside])


GROWN_SHARE, SHRUNK_SHARE = 0.15, 0.25
"""Of the largest voxel edge: how far the radius of a sphere may be off, since the reach has steps of a voxel. A sphere
that shrinks is hollow as seen from outside, where the nearest centres lie closer to its surface."""


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 1.5, 1.5), (3.0, 1.0, 1.0), (3.0, 2.5, 2.5)])
@pytest.mark.parametrize("margin_mm", [3.0, 5.0, 10.0])
def test_a_sphere_with_a_margin_is_the_larger_sphere_within_its_voxels(spacing, margin_mm):
    """With h half the diagonal of a voxel and e the addition to the reach: no centre beyond R + r + e is reached, and
    every centre within R + r + e - 2 h is, because some centre of the sphere lies within h of any point at R - h."""
    radius_mm = 14.0
    shape = tuple(2 * int(np.ceil((radius_mm + margin_mm + 4) / s)) + 1 for s in spacing)
    grid = grid_of(spacing=spacing, shape=shape)
    middle = grid.index_zyx_to_patient(np.array(shape) / 2 + np.array([0.3, 0.2, -0.4]))
    distance_mm = np.linalg.norm(centres_of(grid) - middle, axis=-1)
    result = grown(distance_mm <= radius_mm, grid, Margins.uniform(margin_mm))
    h, extra_mm = 0.5 * float(np.linalg.norm(spacing)), LATTICE_SHARE * np.array(spacing)
    assert not result[distance_mm > radius_mm + margin_mm + extra_mm.max()].any()
    assert result[distance_mm <= radius_mm + margin_mm + extra_mm.min() - 2 * h].all()
    volume_mm3 = np.count_nonzero(result) * float(np.prod(spacing))
    reached_mm = (volume_mm3 / (4 / 3 * np.pi)) ** (1 / 3)
    assert reached_mm == pytest.approx(radius_mm + margin_mm, abs=GROWN_SHARE * max(spacing))
    back = shrunk(result, grid, Margins.uniform(margin_mm))
    assert back[distance_mm <= radius_mm].all()  # closing never loses anything
    inner = shrunk(distance_mm <= radius_mm, grid, Margins.uniform(3.0))
    inner_mm = (np.count_nonzero(inner) * float(np.prod(spacing)) / (4 / 3 * np.pi)) ** (1 / 3)
    assert inner_mm == pytest.approx(radius_mm - 3.0, abs=SHRUNK_SHARE * max(spacing))


def test_nothing_grows_by_nothing_and_what_leaves_the_array_is_cut():
    grid = grid_of(shape=(8, 9, 10))
    mask = np.zeros(grid.shape_zyx, bool)
    mask[0, 0, 0] = mask[7, 8, 9] = True
    assert np.array_equal(grown(mask, grid, Margins()), mask)
    assert np.array_equal(shrunk(mask, grid, Margins()), mask)
    assert not grown(np.zeros_like(mask), grid, Margins.uniform(5.0)).any()
    result = grown(mask, grid, Margins.uniform(2.0))
    assert np.count_nonzero(result) == 8  # each with three neighbours inside
    assert not shrunk(np.ones_like(mask), grid, Margins.uniform(2.0))[0].any()  # the array's end is an outer border


def test_slabs_of_planes_give_what_one_transform_gives(monkeypatch):
    grid = grid_of(shape=(40, 20, 20), spacing=(1.0, 2.0, 2.0))
    mask = np.random.default_rng(7).random(grid.shape_zyx) < 1e-3
    whole = grown(mask, grid, Margins(4.0, 2.0, 6.0, 3.0, 5.0, 1.0))
    monkeypatch.setattr("rtpipeline.geometry.mask_margins.BLOCK_VOXELS", 15_000)
    assert np.array_equal(grown(mask, grid, Margins(4.0, 2.0, 6.0, 3.0, 5.0, 1.0)), whole)


def test_a_margin_deeper_than_a_slab_takes_few_transforms_and_is_still_the_distance(monkeypatch):
    """A slab of one plane with 24 planes of margin on either side took twenty times as long as it had to."""
    grid = grid_of(shape=(40, 20, 20), spacing=(1.0, 2.0, 2.0))
    mask = np.random.default_rng(8).random(grid.shape_zyx) < 1e-3
    transforms = []
    backwards = mask_margins.fft.irfftn
    monkeypatch.setattr(mask_margins, "BLOCK_VOXELS", 1)
    monkeypatch.setattr(mask_margins.fft, "irfftn", lambda *a: transforms.append(a) or backwards(*a))
    margin_mm = 5.5  # with a third of a voxel 6.17 mm across a row, 5.83 mm across planes: 5 planes
    result = grown(mask, grid, Margins.uniform(margin_mm))
    z, y, x = np.meshgrid(np.arange(-5, 6), np.arange(-3, 4), np.arange(-3, 4), indexing="ij")
    ball = (z / (margin_mm + 1 / 3)) ** 2 + ((2 * y) ** 2 + (2 * x) ** 2) / (margin_mm + 2 / 3) ** 2 <= 1.0
    assert np.array_equal(result, ndimage.binary_dilation(mask, ball))
    assert len(transforms) == 4  # 40 planes by 10


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_margins_are_finite_and_not_negative(wrong):
    with pytest.raises(ValueError, match="left_mm"):
        Margins(left_mm=wrong)


@pytest.mark.parametrize("descending", [False, True])
def test_a_window_has_the_voxels_of_its_grid_also_beyond_it(descending):
    grid = grid_of((0.8, 0.6, 0.0, -0.36, 0.48, 0.8), (6, 7, 8), (3.0, 2.0, 2.5), descending)
    for first, shape in (((1, 2, 3), (2, 3, 4)), ((-2, -1, 4), (12, 5, 9)), ((9, 0, 0), (3, 2, 2))):
        part = window(grid, first, shape)
        index = np.argwhere(np.ones(shape, bool)).astype(float)
        assert part.index_zyx_to_patient(index) == pytest.approx(
            grid.index_zyx_to_patient(index + np.array(first)), abs=1e-9
        )

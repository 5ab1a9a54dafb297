from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rtpipeline.structures.surfaces import (
    dice,
    hausdorff_mm,
    hd95_mm,
    surface_dice,
    surface_distances,
    surface_elements,
)

SPACING_MM = (3.0, 0.9765625, 1.25)
EXACT = 1e-12
"""Sums and products of a few floats."""
AREA_OF_SPHERE = 0.17
"""Measured excess of the elements' area on grids as anisotropic as 3 : 1 (stairs exceed by 50 %)."""


def box(shape_zyx, first_zyx, size_zyx):
    mask = np.zeros(shape_zyx, bool)
    mask[tuple(slice(f, f + n) for f, n in zip(first_zyx, size_zyx, strict=True))] = True
    return mask


def ball(radius_mm, spacing_mm, reach_mm):
    axes = [np.arange(-math.ceil(reach_mm / s), math.ceil(reach_mm / s) + 1) * s for s in spacing_mm]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return z**2 + y**2 + x**2 <= radius_mm**2


def test_a_mask_agrees_with_itself():
    mask = box((8, 9, 10), (1, 2, 3), (4, 5, 6))
    distances = surface_distances(mask, mask, SPACING_MM)
    assert (dice(mask, mask), hd95_mm(distances), hausdorff_mm(distances)) == (1.0, 0.0, 0.0)
    assert surface_dice(distances, 0.0) == 1.0


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("voxels", [1, 2, 3])
def test_a_shifted_box_is_as_far_away_as_it_was_shifted(axis, voxels):
    size = (6, 7, 8)
    first = [4, 4, 4]
    a = box((14, 15, 16), first, size)
    first[axis] += voxels
    b = box((14, 15, 16), first, size)
    distances = surface_distances(a, b, SPACING_MM)
    shift_mm = voxels * SPACING_MM[axis]
    assert dice(a, b) == pytest.approx(1 - voxels / size[axis], abs=EXACT)
    assert hausdorff_mm(distances) == pytest.approx(shift_mm, abs=EXACT)
    # a face across the shift is more than 5 % of the surface, and moves as a whole
    assert hd95_mm(distances) == pytest.approx(shift_mm, abs=EXACT)
    assert surface_dice(distances, shift_mm) == 1.0
    assert 0.0 < surface_dice(distances, shift_mm - 0.01) < 1.0


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.5, 0.9765625, 0.9765625)])
def test_concentric_spheres_are_their_difference_apart(spacing_mm):
    inner_mm, outer_mm = 14.0, 20.0
    inner, outer = (ball(r, spacing_mm, outer_mm + 3) for r in (inner_mm, outer_mm))
    distances = surface_distances(inner, outer, spacing_mm)
    diagonal_mm = float(np.linalg.norm(spacing_mm))  # each surface is known to half a diagonal
    gap_mm = outer_mm - inner_mm
    assert dice(inner, outer) == pytest.approx(2 * inner_mm**3 / (inner_mm**3 + outer_mm**3), abs=0.02)
    assert hd95_mm(distances) == pytest.approx(gap_mm, abs=diagonal_mm)
    assert hausdorff_mm(distances) == pytest.approx(gap_mm, abs=diagonal_mm)
    assert surface_dice(distances, gap_mm + diagonal_mm) == 1.0
    assert surface_dice(distances, gap_mm - diagonal_mm) == 0.0


def test_disjoint_boxes_have_nothing_in_common():
    a, b = box((4, 4, 30), (0, 0, 0), (4, 4, 4)), box((4, 4, 30), (0, 0, 24), (4, 4, 6))
    distances = surface_distances(a, b, (1.0, 1.0, 1.0))
    assert dice(a, b) == 0.0
    # from the far face of each to the near face of the other; those faces are more than 5 % of the surface
    assert hausdorff_mm(distances) == hd95_mm(distances) == 26.0
    assert surface_dice(distances, 19.99) == 0.0
    assert surface_dice(distances, 20.0) > 0.0


def test_a_percentile_ignores_a_spike_of_little_area():
    a = box((40, 40, 40), (5, 5, 5), (20, 20, 20))
    b = a.copy()
    b[25:35, 15, 15] = True
    distances = surface_distances(a, b, (1.0, 1.0, 1.0))
    assert hausdorff_mm(distances) == 10.0
    assert hd95_mm(distances) == 0.0


def test_the_percentile_is_by_area_and_not_by_the_number_of_elements():
    # a flat box on planes 10 mm apart: its two large faces are few elements on the rim and many inside, by closed form
    spacing_mm = (10.0, 1.0, 1.0)
    a, b = box((12, 10, 10), (2, 0, 0), (3, 10, 10)), box((12, 10, 10), (2, 0, 0), (4, 10, 10))
    distances = surface_distances(a, b, spacing_mm)
    far = distances.b_to_a_mm > 5.0  # the last face of b and its rim, one plane beyond a
    assert far.sum() == 11 * 11
    # 9 x 9 whole elements; on the rim a quarter face each of top and sides: (0.5 x 1, 0.5 x 10), at corners 3 quarters
    rim, corner = math.hypot(0.5, 5.0), math.sqrt(0.25**2 + 2 * 2.5**2)
    assert distances.area_b_mm2[far].sum() == pytest.approx(81 + 36 * rim + 4 * corner, rel=EXACT)


def test_an_empty_mask_has_no_surface():
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    assert dice(empty, empty) is None
    assert dice(empty, full) == 0.0
    with pytest.raises(ValueError, match="without voxels"):
        surface_distances(empty, full, (1, 1, 1))
    for measure in (dice, lambda a, b: surface_distances(a, b, (1, 1, 1))):
        with pytest.raises(ValueError, match="one grid"):
            measure(full, np.ones((3, 3, 4), bool))


def test_faces_of_a_box_have_their_area():
    size = np.array((4, 5, 6))
    _, area = surface_elements(box((6, 7, 8), (1, 1, 1), size), SPACING_MM)
    dz, dy, dx = SPACING_MM
    z, y, x = size * SPACING_MM
    # elements on edges and corners cut the stairs: whole faces lose a half voxel to each edge, edges are diagonals
    faces = 2 * ((y - dy) * (x - dx) + (z - dz) * (x - dx) + (z - dz) * (y - dy))
    edges = 2 * ((x - dx) * math.hypot(dz, dy) + (y - dy) * math.hypot(dz, dx) + (z - dz) * math.hypot(dy, dx))
    corners = 2 * math.sqrt((dy * dx) ** 2 + (dz * dx) ** 2 + (dz * dy) ** 2)
    assert area.sum() == pytest.approx(faces + edges + corners, rel=EXACT)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0)])
def test_a_sphere_has_about_its_area(spacing_mm):
    _, area = surface_elements(ball(20.0, spacing_mm, 23.0), spacing_mm)
    assert 1.0 <= area.sum() / (4 * math.pi * 20.0**2) <= 1 + AREA_OF_SPHERE


masks = arrays(bool, (4, 5, 6))


@settings(deadline=None, max_examples=60)
@given(masks, masks)
def test_every_surface_has_area_and_its_complement_has_the_same(a, b):
    points, area = surface_elements(a, SPACING_MM)
    assert (area > 0).all() and len(points) == len(np.unique(points, axis=0))
    around = ~np.pad(a, 1)
    outer, outer_area = surface_elements(around, SPACING_MM)
    inside = ((outer > 0) & (outer < np.array(around.shape) * SPACING_MM)).all(axis=1)
    order, outer_order = np.lexsort(points.T), np.lexsort(outer[inside].T)
    assert np.allclose(points[order] + SPACING_MM, outer[inside][outer_order], atol=EXACT)
    assert area.sum() == pytest.approx(outer_area[inside].sum(), rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(masks, masks, st.floats(0.0, 6.0))
def test_both_orders_give_the_same_and_distances_are_those_of_all_pairs(a, b, tolerance_mm):
    if not a.any() or not b.any():
        return
    there, back = surface_distances(a, b, SPACING_MM), surface_distances(b, a, SPACING_MM)
    assert dice(a, b) == dice(b, a)
    assert hd95_mm(there) == hd95_mm(back) <= hausdorff_mm(there)
    assert surface_dice(there, tolerance_mm) == pytest.approx(surface_dice(back, tolerance_mm), rel=1e-12)
    (pa, _), (pb, _) = surface_elements(a, SPACING_MM), surface_elements(b, SPACING_MM)
    all_pairs = np.linalg.norm(pa[:, None] - pb[None], axis=2)
    assert np.allclose(there.a_to_b_mm, all_pairs.min(axis=1), atol=1e-12)
    assert np.allclose(there.b_to_a_mm, all_pairs.min(axis=0), atol=1e-12)


def itk_image(mask, spacing_mm):
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(tuple(reversed(spacing_mm)))
    return image


@pytest.mark.parametrize("shift_zyx", [(0, 0, 0), (1, 0, 0), (0, 3, 2), (2, 4, 5)])
def test_dice_and_hausdorff_distance_are_those_of_itk(shift_zyx):
    shape, spacing_mm = (30, 44, 46), (2.5, 0.9765625, 1.1)
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")

    def ellipsoid(centre, radii):
        return sum(((g - c) / r) ** 2 for g, c, r in zip((z, y, x), centre, radii, strict=True)) <= 1

    a = ellipsoid((14, 20, 20), (9, 14, 12))
    b = ellipsoid(np.add((14, 20, 20), shift_zyx), (8, 14, 13))
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(itk_image(a, spacing_mm), itk_image(b, spacing_mm))
    assert dice(a, b) == pytest.approx(overlap.GetDiceCoefficient(), abs=EXACT)
    hausdorff = SimpleITK.HausdorffDistanceImageFilter()
    hausdorff.Execute(itk_image(a, spacing_mm), itk_image(b, spacing_mm))
    # ITK measures between voxel centres, here between voxel corners: half a diagonal at each end
    diagonal_mm = float(np.linalg.norm(spacing_mm))
    ours_mm = hausdorff_mm(surface_distances(a, b, spacing_mm))
    assert ours_mm == pytest.approx(hausdorff.GetHausdorffDistance(), abs=diagonal_mm)

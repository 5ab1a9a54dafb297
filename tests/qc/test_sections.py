"""Sections of solids against closed forms: boxes, rings, tilted prisms, and the solid's own `contains`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.qc.sections import section, stack_outline
from rtpipeline.qc.views import Frame, View, patient_box, views

EXACT_PIXELS = 1e-6


def square(half, z, centre=(0.0, 0.0)) -> np.ndarray:
    x, y = centre
    ring = [[x - half, y - half], [x + half, y - half], [x + half, y + half], [x - half, y + half]]
    return np.c_[ring, np.full(4, z)].astype(float)


def box_solid(half=10.0, planes=(0, 3, 6, 9), centre=(5.0, -4.0)) -> PrismSolid:
    return PrismSolid.from_contours([square(half, z, centre) for z in planes], single_plane_thickness_mm=None)


def of(solid: PrismSolid, centre) -> dict[str, View]:
    return {v.name: v for v in views(patient_box(solid.corners_xyz_mm, 15.0), np.asarray(centre, float))}


def area(lines, height: int, width: int) -> float:
    """Pixels inside, by crossing number along rows through pixel centres."""
    inside = np.zeros((height, width), bool)
    for ring in lines:
        for (x0, y0), (x1, y1) in pairwise(np.vstack([ring, ring[:1]])):
            for row in range(height):
                y = row + 0.5
                if (y0 <= y) != (y1 <= y):
                    x = x0 + (x1 - x0) * (y - y0) / (y1 - y0)
                    inside[row, max(0, int(np.ceil(x - 0.5))) :] ^= True
    return float(inside.sum())


def length(ring) -> float:
    return float(np.linalg.norm(np.roll(ring, -1, axis=0) - ring, axis=1).sum())


def test_along_the_contours_the_section_is_the_contour_of_the_slab():
    solid = box_solid()
    view = of(solid, (5, -4, 4.4))["axial"]  # between planes 3 and 6: the slab of 3 ends at 4.5
    (points,) = section(solid, view)
    np.testing.assert_allclose(points, view.to_picture(square(10.0, 3.0, (5.0, -4.0))), atol=EXACT_PIXELS)


@pytest.mark.parametrize(("z", "there"), [(-1.4, True), (-1.6, False), (10.4, True), (10.6, False)])
def test_a_plane_beyond_the_end_caps_cuts_nothing(z, there):
    solid = box_solid()
    assert bool(section(solid, of(solid, (5, -4, z))["axial"])) is there


@pytest.mark.parametrize("name", ["coronal", "sagittal"])
def test_across_the_contours_a_box_gives_one_rectangle_with_its_caps(name):
    solid = box_solid()
    view = of(solid, (5, -4, 4))[name]
    (ends,) = section(solid, view)
    size = (ends.max(axis=0) - ends.min(axis=0)) * view.pixel_mm
    np.testing.assert_allclose(size, [20.0, 12.0], atol=1e-6)  # four planes of 3 mm
    np.testing.assert_allclose(
        length(ends) * view.pixel_mm, 2 * (20.0 + 12.0), atol=1e-6
    )  # no border between the layers is drawn


def test_a_hole_is_a_hole_in_every_view():
    rings = [square(half, z) for half in (12.0, 5.0) for z in (0, 2, 4, 6, 8)]
    solid = PrismSolid.from_contours(rings, single_plane_thickness_mm=None)
    for name, expected_mm2 in (("axial", 24.0**2 - 10.0**2), ("coronal", 14.0 * 10.0), ("sagittal", 14.0 * 10.0)):
        view = of(solid, (0.1, 0.1, 4))[name]
        found = area(section(solid, view), view.rows, view.columns) * view.pixel_mm**2
        assert found == pytest.approx(expected_mm2, rel=0.02), name  # borders lie on pixels' edges only by chance


def test_pieces_with_a_gap_between_them_are_drawn_apart():
    solid = box_solid(planes=(0, 3, 6, 30, 33, 36))
    view = of(solid, (5, -4, 20))["coronal"]
    pieces = section(solid, view)
    np.testing.assert_allclose([length(p) * view.pixel_mm for p in pieces], 2 * (20.0 + 9.0), atol=1e-6)
    assert len(pieces) == 2


@pytest.mark.parametrize("degrees", [3.0, 25.0])
def test_oblique_sections_agree_with_the_solid_itself(degrees):
    solid = box_solid()
    axes = Rotation.from_euler("xy", [degrees, 7.0], degrees=True).as_matrix().T
    along = solid.corners_xyz_mm @ axes.T
    frame = Frame(axes, along.min(axis=0) - 10, along.max(axis=0) + 10)
    for view in views(frame, np.array([5.0, -4.0, 4.5])):
        centres = view.centres_xyz_mm()
        truth = float(solid.contains(centres.reshape(-1, 3)).sum())
        assert truth > 0
        assert area(section(solid, view), view.rows, view.columns) == truth


def test_a_contour_without_thickness_is_drawn_in_its_plane_alone():
    solid = PrismSolid.from_contours([square(10.0, 4.0)], single_plane_thickness_mm=None)
    frame = Frame(np.eye(3), np.array([-20.0, -20.0, -10.0]), np.array([20.0, 20.0, 15.0]))
    assert len(section(solid, views(frame, np.array([0, 0, 4.0]))[0])) == 1
    assert section(solid, views(frame, np.array([0, 0, 5.0]))[0]) == []
    assert section(solid, views(frame, np.array([0, 0, 4.0]))[1]) == []


def test_the_same_solid_in_planes_that_run_the_other_way_gives_the_same_picture():
    up, down = box_solid(planes=(0, 3, 6, 9)), box_solid(planes=(9, 6, 3, 0))
    for name, view in of(up, (5, -4, 4)).items():
        assert area(section(up, view), view.rows, view.columns) == area(section(down, view), view.rows, view.columns), (
            name
        )


def test_the_outline_of_a_stack_leaves_out_what_touches():
    layers = np.array([[0.0, 1.0], [1.0, 2.0], [3.0, 4.0]])
    ends = [np.array([0.0, 4.0]), np.array([1.0, 2.0]), np.array([0.0, 1.0])]
    rings = stack_outline(layers, ends)
    assert len(rings) == 2
    edges = [sorted(pair) for r in rings for pair in pairwise([*map(tuple, r.tolist()), tuple(r[0].tolist())])]
    flat = sorted((a, b) for a, b in edges if a[1] == b[1])
    assert flat == [
        ((0.0, 0.0), (4.0, 0.0)),
        ((0.0, 1.0), (1.0, 1.0)),
        ((0.0, 3.0), (1.0, 3.0)),
        ((0.0, 4.0), (1.0, 4.0)),
        ((1.0, 2.0), (2.0, 2.0)),
        ((2.0, 1.0), (4.0, 1.0)),
    ]

"""Solids of contours: volumes known beforehand, for every way in which contours are drawn and stacked."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.geometry.solid import EmptySolidError, NonPlanarContourError, PrismSolid

VOLUME_RTOL = 1e-9
"""Volumes are sums of exact areas times thicknesses; oblique frames cost a few digits."""


def disc(radius: float, z: float, centre: tuple[float, float] = (0.0, 0.0), n: int = 80) -> np.ndarray:
    angle = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    return np.c_[centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), np.full(n, z)]


def disc_area(radius: float, n: int = 80) -> float:
    return 0.5 * n * radius**2 * np.sin(2.0 * np.pi / n)


def sphere(radius: float, spacing: float, centre_z: float = 0.0) -> list[np.ndarray]:
    n = round(2.0 * radius / spacing)
    heights = (np.arange(n) - 0.5 * (n - 1)) * spacing
    return [disc(np.sqrt(radius**2 - z * z), centre_z + z, n=200) for z in heights]


def volume(contours: list[np.ndarray], thickness: float | None = None) -> float | None:
    return PrismSolid.from_contours(contours, single_plane_thickness_mm=thickness).volume_cc


def rotation(seed: int) -> np.ndarray:
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return q * np.sign(np.linalg.det(q))


def test_a_cylinder_reaches_half_a_spacing_beyond_its_end_contours() -> None:
    solid = PrismSolid.from_contours([disc(10, z) for z in (0.0, 3.0, 6.0)], single_plane_thickness_mm=None)
    assert solid.volume_cc == pytest.approx(disc_area(10) * 9.0 / 1000.0, rel=VOLUME_RTOL)
    assert solid.slabs_mm is not None
    assert solid.slabs_mm.tolist() == [[-1.5, 1.5], [1.5, 4.5], [4.5, 7.5]]
    assert solid.nominal_spacing_mm == 3.0
    assert solid.n_gaps == 0
    assert solid.end_cap == "prism"


def test_uneven_spacing_shares_each_gap_between_its_two_planes() -> None:
    solid = PrismSolid.from_contours([disc(10, z) for z in (0.0, 2.0, 5.0, 8.0)], single_plane_thickness_mm=None)
    assert solid.slabs_mm is not None
    assert solid.slabs_mm.tolist() == [[-1.5, 1.0], [1.0, 3.5], [3.5, 6.5], [6.5, 9.5]]


def test_a_gap_ends_the_solid_on_both_sides() -> None:
    # two 20 mm spheres, 60 mm apart: bridging the gap would make 10.8 cc of them
    contours = sphere(10.0, 1.0) + sphere(10.0, 1.0, centre_z=60.0)
    solid = PrismSolid.from_contours(contours, single_plane_thickness_mm=None)
    assert solid.n_gaps == 1
    one = volume(sphere(10.0, 1.0))
    assert one is not None
    assert solid.volume_cc == pytest.approx(2.0 * one, rel=VOLUME_RTOL)
    assert solid.volume_cc == pytest.approx(8.4, abs=0.05)


def test_a_gap_of_exactly_one_and_a_half_spacings_does_not_end_it() -> None:
    heights = np.array([0.0, 2.0, 4.0, 7.0, 9.0, 11.0])
    assert PrismSolid.from_contours([disc(5, z) for z in heights], single_plane_thickness_mm=None).n_gaps == 0
    heights[3:] += 0.1
    assert PrismSolid.from_contours([disc(5, z) for z in heights], single_plane_thickness_mm=None).n_gaps == 1


@pytest.mark.parametrize(
    ("heights", "nominal", "n_gaps"),
    [
        ((0, 3, 63), 3.0, 1),  # a mean of 31.5 mm would add 28 mm to both ends
        ((0, 3, 6, 60, 90), 3.0, 2),
        ((0, 3, 9), 4.5, 0),  # 3 and 6 mm slices mixed
        ((0, 3, 6, 12, 18), 4.5, 0),
        ((0, 3, 6, 9, 15), 3.0, 1),
    ],
)
def test_the_nominal_spacing_is_the_median_of_what_may_be_regular(
    heights: tuple[float, ...], nominal: float, n_gaps: int
) -> None:
    solid = PrismSolid.from_contours([disc(5, z) for z in heights], single_plane_thickness_mm=None)
    assert (solid.nominal_spacing_mm, solid.n_gaps) == (nominal, n_gaps)


def test_holes_keyholes_and_islands_make_the_volume_of_their_area() -> None:
    planes = (0.0, 2.5, 5.0, 7.5)
    inner = disc(6, 0.0)[::-1]
    inner = np.roll(inner, 1, axis=0)
    keyhole = np.concatenate([disc(12, 0.0), disc(12, 0.0)[:1], inner, inner[:1]])
    ring = (disc_area(12) - disc_area(6)) * 10.0 / 1000.0
    assert volume([c for z in planes for c in (disc(12, z), disc(6, z))]) == pytest.approx(ring, rel=VOLUME_RTOL)
    assert volume([c for z in planes for c in (disc(6, z)[::-1], disc(12, z))]) == pytest.approx(ring, rel=VOLUME_RTOL)
    assert volume([keyhole + np.array([0, 0, z]) for z in planes]) == pytest.approx(ring, rel=VOLUME_RTOL)
    with_island = [c for z in planes for c in (disc(12, z), disc(6, z), disc(2, z))]
    assert volume(with_island) == pytest.approx(ring + disc_area(2) * 0.01, rel=VOLUME_RTOL)


@pytest.mark.parametrize("seed", range(5))
def test_any_orientation_and_any_order_give_the_same_solid(seed: int) -> None:
    contours = [c for z in (0.0, 2.0, 4.5, 6.0) for c in (disc(12, z, (3.0, 1.0)), disc(5, z, (5.0, 2.0)))]
    straight = PrismSolid.from_contours(contours, single_plane_thickness_mm=None)
    rng = np.random.default_rng(seed)
    turn, shift = rotation(seed), rng.uniform(-200, 200, 3)
    turned = [np.roll(c, int(rng.integers(80)), axis=0)[:: rng.choice([-1, 1])] @ turn.T + shift for c in contours]
    oblique = PrismSolid.from_contours([turned[i] for i in rng.permutation(8)], single_plane_thickness_mm=None)
    assert oblique.volume_cc == pytest.approx(straight.volume_cc, rel=VOLUME_RTOL)
    assert abs(oblique.normal @ (turn @ [0, 0, 1])) == pytest.approx(1.0, abs=1e-12)
    assert np.allclose(oblique.axes @ oblique.axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(oblique.axes) == pytest.approx(1.0)
    assert oblique.centroid_xyz_mm is not None and straight.centroid_xyz_mm is not None
    assert np.allclose(oblique.centroid_xyz_mm, turn @ straight.centroid_xyz_mm + shift, atol=1e-8)
    inside = rng.uniform(-12, 18, (400, 3)) * [1, 1, 0.6]
    assert np.array_equal(oblique.contains(inside @ turn.T + shift), straight.contains(inside))


def test_coronal_and_sagittal_contours_snap_to_the_patient_axis() -> None:
    axial = [disc(10, z) for z in (0.0, 3.0)]
    for order in ((0, 2, 1), (2, 0, 1), (1, 2, 0)):
        solid = PrismSolid.from_contours([c[:, order] for c in axial], single_plane_thickness_mm=None)
        assert sorted(np.abs(solid.normal).tolist()) == [0.0, 0.0, 1.0]
        assert solid.volume_cc == pytest.approx(disc_area(10) * 6.0 / 1000.0, rel=VOLUME_RTOL)


def test_the_bounding_box_and_the_centroid_are_in_patient_coordinates() -> None:
    solid = PrismSolid.from_contours(
        [disc(10, z, (-40.0, 25.0), n=4) for z in (100.0, 102.0)], single_plane_thickness_mm=None
    )
    assert np.allclose(solid.bounding_box_xyz_mm, [[-50, 15, 99], [-30, 35, 103]])
    assert solid.centroid_xyz_mm == pytest.approx(np.array([-40.0, 25.0, 101.0]))


def test_a_single_plane_is_as_thick_as_the_caller_says_and_else_has_no_volume() -> None:
    assert volume([disc(10, 5.0)], thickness=2.5) == pytest.approx(disc_area(10) * 2.5 / 1000.0, rel=VOLUME_RTOL)
    solid = PrismSolid.from_contours([disc(10, 5.0)], single_plane_thickness_mm=None)
    assert solid.volume_cc is None
    assert solid.slabs_mm is None
    assert not solid.contains(np.array([[0.0, 0.0, 5.0]])).any()
    assert (
        PrismSolid.from_contours([disc(4, 0.0), disc(4, 3.0)], single_plane_thickness_mm=99.0).nominal_spacing_mm == 3.0
    )


def test_positions_written_with_rounding_are_one_plane() -> None:
    solid = PrismSolid.from_contours(
        [disc(10, 0.0), disc(3, 0.004), disc(10, 3.0), disc(3, 2.998)], single_plane_thickness_mm=None
    )
    assert len(solid.plane_offsets_mm) == 2
    # the planes are taken where their contours are on average: 2.997 mm apart instead of 3
    assert solid.volume_cc == pytest.approx((disc_area(10) - disc_area(3)) * 2 * 2.997 / 1000.0, rel=1e-6)


def test_a_stray_point_or_line_neither_counts_nor_changes_its_neighbours() -> None:
    stack = [disc(10, z) for z in (0.0, 3.0, 6.0)]
    stray = [np.array([[0.0, 0.0, 7.5]]), np.array([[0.0, 0, 4.5], [5, 5, 4.5], [10, 10, 4.5]])]
    solid = PrismSolid.from_contours(stack + stray, single_plane_thickness_mm=None)
    assert solid.n_degenerate_contours == 2
    assert solid.volume_cc == pytest.approx(disc_area(10) * 9.0 / 1000.0, rel=VOLUME_RTOL)


def test_contours_that_cannot_make_a_solid_are_refused() -> None:
    with pytest.raises(EmptySolidError, match="1 contours, none with 3 points"):
        PrismSolid.from_contours([np.zeros((2, 3))], single_plane_thickness_mm=3.0)
    with pytest.raises(EmptySolidError, match="none with an area"):
        PrismSolid.from_contours([np.array([[0.0, 0, 0], [1, 1, 0], [2, 2, 0]])], single_plane_thickness_mm=3.0)
    bent = disc(20, 0.0)
    bent[:20, 2] += 3.0
    with pytest.raises(NonPlanarContourError, match=r"need <= 0\.5 mm"):
        PrismSolid.from_contours([bent], single_plane_thickness_mm=3.0)
    with pytest.raises(NonPlanarContourError):
        PrismSolid.from_contours([disc(20, 0.0), disc(20, 0.0)[:, [0, 2, 1]]], single_plane_thickness_mm=3.0)
    with pytest.raises(ValueError, match="contour 1 has coordinates that are not finite"):
        PrismSolid.from_contours([disc(5, 0), np.full((4, 3), np.nan)], single_plane_thickness_mm=3.0)
    with pytest.raises(ValueError, match="contour 0 has shape \\(80, 2\\)"):
        PrismSolid.from_contours([disc(5, 0)[:, :2]], single_plane_thickness_mm=3.0)
    with pytest.raises(ValueError, match="single_plane_thickness_mm is -1"):
        PrismSolid.from_contours([disc(5, 0)], single_plane_thickness_mm=-1.0)


def test_contours_that_are_almost_lines_stay_axial() -> None:
    """A line along x with noise along z alone fits the coronal plane exactly, and is an axial contour all the same."""
    line = np.array([[0.0, 7.0, 1.0], [40.0, 7.0, 1.005], [80.0, 7.0, 1.0], [40.0, 7.0, 0.996]])
    wide = disc(10.0, 4.0) + np.where(np.arange(80)[:, None] % 2 == 1, np.array([0.0, 0.0, 0.004]), 0.0)
    assert PrismSolid.from_contours([wide, line], single_plane_thickness_mm=3.0).normal.tolist() == [0.0, 0.0, 1.0]
    with pytest.raises(EmptySolidError):
        PrismSolid.from_contours([line], single_plane_thickness_mm=3.0)


def test_heights_that_are_rounded_are_no_tilt() -> None:
    """Two small contours 200 mm apart, written with 0.01 mm: a plane through their noise would part them."""
    noise = np.where(np.arange(80) % 3 == 0, 0.005, -0.003)[:, None] * np.array([0.0, 0.0, 1.0])
    solid = PrismSolid.from_contours(
        [disc(2.0, 4.0) + noise, disc(2.0, 4.0, centre=(200.0, 0.0)) + noise], single_plane_thickness_mm=3.0
    )
    assert solid.normal.tolist() == [0.0, 0.0, 1.0]
    assert len(solid.plane_offsets_mm) == 1

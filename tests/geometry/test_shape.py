"""The solid between contours: bodies with a closed form, laws of symmetry, and every way in which regions part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rtpipeline.geometry.shape import shape_solid
from rtpipeline.geometry.solid import PrismSolid

ROUNDING = 1e-9
"""Relative: the same solid, computed another way."""

EXACT = 2e-4
"""Relative: areas of the polygons are those of the circles, so that only the layers' arithmetic is left."""

SAME_VOLUME = 1e-4
"""Promised of rings, keyholes and islands: 0.01 %."""

Section = Callable[[float], tuple[float, tuple[float, float]]]


def disc(radius: float, z: float, centre: tuple[float, float] = (0.0, 0.0), n: int = 90) -> np.ndarray:
    """A regular polygon with the area of the circle."""
    fair = radius * np.sqrt(2.0 * np.pi / n / np.sin(2.0 * np.pi / n))
    angle = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    return np.c_[centre[0] + fair * np.cos(angle), centre[1] + fair * np.sin(angle), np.full(n, z)]


def heights(half: float, spacing: float, phase: float = 0.5) -> np.ndarray:
    z = (np.arange(-200, 200) + phase) * spacing
    return z[np.abs(z) < half - 1e-6]


def shaped(contours: list[np.ndarray], thickness: float | None = None) -> PrismSolid:
    return shape_solid(PrismSolid.from_contours(contours, single_plane_thickness_mm=thickness))


def volume(contours: list[np.ndarray], thickness: float | None = None) -> float:
    found = shaped(contours, thickness).volume_cc
    assert found is not None
    return 1000.0 * found


def sphere(radius: float, spacing: float, phase: float = 0.5, centre=(0.0, 0.0, 0.0)) -> list[np.ndarray]:
    return [disc(np.sqrt(radius**2 - z * z), centre[2] + z, centre[:2]) for z in heights(radius, spacing, phase)]


def rotation(seed: int) -> np.ndarray:
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return q * np.sign(np.linalg.det(q))


@pytest.mark.parametrize("phase", [0.0, 0.13, 0.5, 0.77])
@pytest.mark.parametrize(("radius", "spacing"), [(3.0, 1.0), (6.0, 2.0), (12.0, 3.0), (24.0, 3.0)])
def test_a_sphere_has_its_volume_wherever_the_slices_cut_it(radius: float, spacing: float, phase: float) -> None:
    solid = shaped(sphere(radius, spacing, phase))
    assert solid.volume_cc == pytest.approx(4.0 / 3.0 * np.pi * radius**3 / 1000.0, rel=EXACT)
    assert solid.slabs_mm is not None
    # poles lie where they are when they are less than a gap from the last plane
    assert solid.slabs_mm[-1, 1] == pytest.approx(radius, abs=1e-3 * spacing)
    assert solid.slabs_mm[0, 0] == pytest.approx(-radius, abs=1e-3 * spacing)
    assert solid.centroid_xyz_mm == pytest.approx(np.zeros(3), abs=1e-3 * radius)


@pytest.mark.parametrize("spacing", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("radius", [3.0, 6.0, 12.0])
def test_a_cone_whose_base_lies_half_a_gap_below_its_first_plane_has_its_volume(radius: float, spacing: float) -> None:
    n = round(2.0 * radius / spacing)
    z = (np.arange(n) - 0.5 * (n - 1)) * spacing
    for tilt in (0.0, 0.4):
        contours = [disc(0.5 * (radius - h), h, (tilt * h, 0.0)) for h in z]
        assert volume(contours) == pytest.approx(2.0 / 3.0 * np.pi * radius**3, rel=EXACT)


@pytest.mark.parametrize("tilt", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("spacing", [1.0, 3.0])
def test_a_cylinder_keeps_half_a_gap_at_full_area_however_it_is_tilted(spacing: float, tilt: float) -> None:
    z = np.arange(4) * spacing
    solid = shaped([disc(5.0, h, (tilt * h, -0.5 * tilt * h)) for h in z])
    assert solid.volume_cc == pytest.approx(np.pi * 25.0 * 4.0 * spacing / 1000.0, rel=EXACT)
    assert solid.slabs_mm is not None
    assert (solid.slabs_mm[0, 0], solid.slabs_mm[-1, 1]) == pytest.approx((-0.5 * spacing, 3.5 * spacing), abs=1e-6)
    # sections are circles about the axis, and not the ellipses of interpolated distances
    outline_mm = tilt * np.hypot(1.0, 0.5) * 0.5 * spacing
    inside = [
        [tilt * h + 4.9 * a - outline_mm * a, -0.5 * tilt * h, h] for h in np.linspace(0, z[-1], 30) for a in (-1, 1)
    ]
    outside = [
        [tilt * h + (5.1 + outline_mm) * a, -0.5 * tilt * h, h] for h in np.linspace(0, z[-1], 30) for a in (-1, 1)
    ]
    assert solid.contains(np.array(inside)).all()
    assert not solid.contains(np.array(outside)).any()


def test_an_end_drawn_much_smaller_leaves_the_cylinder_before_it_alone() -> None:
    """The parabola about the last whole section would make the cylinder bulge before it narrows."""
    contours = [disc(6.0, 3.0 * k) for k in range(5)] + [disc(2.0, 15.0)]
    solid = shaped(contours)
    whole = solid.plane_offsets_mm < 12.0
    assert solid.areas_mm2[whole] == pytest.approx(np.full(whole.sum(), np.pi * 36.0), rel=1e-3)
    # between the last two planes the area falls evenly or nearly, and the rest is closed before half a gap
    assert solid.volume_cc == pytest.approx((np.pi * 36.0 * 13.5 + 3.0 * np.pi * 20.0) / 1000.0, rel=0.02)


def test_the_same_contour_on_all_planes_is_the_prism_itself() -> None:
    ell = np.array([[0, 0], [20, 0], [20, 8], [9, 8], [9, 20], [0, 20.0]])
    for outline in (ell, disc(7.0, 0.0)[:, :2], ell[:4]):
        contours = [np.c_[outline, np.full(len(outline), z)] for z in (0.0, 2.0, 4.0, 6.5)]
        literal = PrismSolid.from_contours(contours, single_plane_thickness_mm=None)
        solid = shape_solid(literal)
        assert solid.slabs_mm == pytest.approx(literal.slabs_mm)
        assert solid.moments == pytest.approx(literal.moments, rel=ROUNDING)
        assert (solid.end_cap, literal.end_cap) == ("shape", "prism")


def test_two_planes_of_one_size_are_those_of_a_ball_and_of_unlike_sizes_of_a_cone() -> None:
    for phase in (0.35, 0.5):
        assert volume(sphere(3.0, 3.0, phase)) == pytest.approx(4.0 / 3.0 * np.pi * 27.0, rel=EXACT)
    # as wide as 1 and 4 mm at 0 and 3 mm: the tip is at -1 mm, the base half a gap above the second plane
    assert volume([disc(1.0, 0.0), disc(4.0, 3.0)]) == pytest.approx(np.pi / 3.0 * 5.5**3, rel=EXACT)
    # too wide to be a ball without a third plane, too narrow to be one that two planes are likely to meet
    assert volume([disc(9.0, 0.0), disc(9.0, 3.0)]) == pytest.approx(np.pi * 81.0 * 6.0, rel=0.01)
    assert volume([disc(1.0, 0.0), disc(1.0, 3.0)]) == pytest.approx(np.pi * 6.0, rel=0.12)


def test_one_plane_stays_a_prism() -> None:
    assert volume([disc(4.0, 0.0)], thickness=2.5) == pytest.approx(np.pi * 16.0 * 2.5, rel=EXACT)
    without = shaped([disc(4.0, 0.0)])
    assert (without.volume_cc, without.end_cap) == (None, "shape")


def test_two_spheres_apart_are_two_spheres() -> None:
    solid = shaped(sphere(10.0, 1.0) + sphere(10.0, 1.0, centre=(0.0, 0.0, 60.0)))
    assert solid.volume_cc == pytest.approx(8.3776, rel=EXACT)
    assert solid.n_gaps == 1


def test_real_gaps_are_closed_on_both_sides() -> None:
    """A sphere with its middle planes not drawn is two caps, each closed as an end is."""
    drawn = [c for c in sphere(12.0, 2.0) if abs(c[0, 2]) > 4.5]
    solid = shaped(drawn)
    one = [c for c in drawn if c[0, 2] > 0]
    assert solid.n_gaps == 1
    assert solid.volume_cc == pytest.approx(2.0 * volume(one) / 1000.0, rel=ROUNDING)


def ring_contours(outer: Callable[[float], float], inner: Callable[[float], float], z: np.ndarray) -> list[np.ndarray]:
    return [c for h in z for c in (disc(outer(h), h), disc(inner(h), h)) if c[0, 0] > 0]


def keyholes(outer: Callable[[float], float], inner: Callable[[float], float], z: np.ndarray) -> list[np.ndarray]:
    found = []
    for h in z:
        a, b = disc(outer(h), h), np.roll(disc(inner(h), h)[::-1], 1, axis=0)
        found.append(np.concatenate([a, a[:1], b, b[:1]]) if inner(h) > 0 else a)
    return found


@pytest.mark.parametrize(
    ("outer", "inner", "truth"),
    [
        (lambda z: 12.0, lambda z: 6.0, np.pi * 108.0 * 24.0),
        (lambda z: np.sqrt(144.0 - z * z), lambda z: np.sqrt(max(36.0 - z * z, 0.0)), 4 / 3 * np.pi * (12**3 - 6**3)),
        (lambda z: np.sqrt(225.0 - z * z), lambda z: 5.0, None),
    ],
    ids=["pipe", "hollow sphere", "drilled sphere"],
)
def test_a_ring_is_one_solid_as_two_contours_and_as_a_keyhole(outer, inner, truth) -> None:
    z = heights(12.0, 2.0)
    two, one = volume(ring_contours(outer, inner, z)), volume(keyholes(outer, inner, z))
    assert one == pytest.approx(two, rel=SAME_VOLUME)
    if truth is not None:
        assert two == pytest.approx(truth, rel=EXACT)


def test_an_island_in_a_hole_and_beside_are_added() -> None:
    z = np.arange(8) * 2.0
    island = [disc(2.0 + 0.1 * h, h) for h in z]
    ring = ring_contours(lambda h: 12.0 - 0.1 * h, lambda h: 6.0 + 0.1 * h, z)
    beside = [disc(np.sqrt(64.0 - (h - 7.0) ** 2), h, (40.0, 3.0)) for h in z]
    apart = sum(volume(part) for part in (island, ring, beside))
    assert volume(island + ring + beside) == pytest.approx(apart, rel=SAME_VOLUME)


def test_parts_that_end_in_other_planes_have_caps_of_their_own() -> None:
    """Two spheres side by side in one structure, of different size and height."""
    for phase in (0.2, 0.5):
        both = sphere(12.0, 2.0, phase) + sphere(6.6, 2.0, phase, centre=(40.0, 0.0, 0.0))
        assert volume(both) == pytest.approx(4 / 3 * np.pi * (12.0**3 + 6.6**3), rel=EXACT)


def test_branches_merge_at_areas_between() -> None:
    legs = [disc(6.0, h, (x, 0.0)) for h in (0.0, 3.0, 6.0) for x in (-8.0, 8.0)]
    trunk = [disc(11.0, h) for h in (9.0, 12.0, 15.0)]
    below, above = 2.0 * np.pi * 36.0, np.pi * 121.0
    expected = below * 7.5 + above * 7.5 + 3.0 * 0.5 * (below + above)
    solid = shaped(legs + trunk)
    assert 1000.0 * (solid.volume_cc or 0) == pytest.approx(expected, rel=5e-3)
    middle = (solid.plane_offsets_mm > 6.0) & (solid.plane_offsets_mm < 9.0)
    assert middle.sum() >= 2
    assert (solid.areas_mm2[middle] < above).all() and (solid.areas_mm2[middle] > below).all()


def test_a_ring_that_opens_to_a_crescent_stays_between_both() -> None:
    closed = [c for z in (0.0, 3.0) for c in (disc(12.0, z), disc(6.0, z))]
    crescent = []
    for z in (6.0, 9.0):
        angle = np.linspace(0.5, 2 * np.pi - 0.5, 80)
        arc = np.c_[np.cos(angle), np.sin(angle)]
        crescent.append(np.c_[np.concatenate([12 * arc, 6 * arc[::-1]]), np.full(160, z)])
    solid = shaped(closed + crescent)
    ring_mm2, open_mm2 = np.pi * 108.0, 108.0 * (np.pi - 0.5)
    assert solid.areas_mm2.min() > 0.99 * open_mm2 and solid.areas_mm2.max() < 1.01 * ring_mm2
    low, high = 9.0 * open_mm2 + 3.0 * ring_mm2, 9.0 * ring_mm2 + 3.0 * open_mm2
    assert low < 1000.0 * (solid.volume_cc or 0) < high


def test_a_horseshoe_is_capped_within_itself() -> None:
    """Scaled about its centre, which lies outside it, a cap would fill the opening."""

    def horseshoe(radius: float, z: float) -> np.ndarray:
        angle = np.linspace(0.6, 2 * np.pi - 0.6, 120)
        arc = np.c_[np.cos(angle), np.sin(angle)]
        outline = np.concatenate([(20 + radius) * arc, (20 - radius) * arc[::-1]])
        return np.c_[outline, np.full(len(outline), z)]

    z = heights(6.0, 2.0)
    solid = shaped([horseshoe(np.sqrt(36.0 - h * h), h) for h in z])
    slabs = solid.slabs_mm
    assert slabs is not None
    cap = slabs[:, 0] > z[-1]
    assert cap.any()
    for k in np.flatnonzero(cap):
        first, last = solid.contour_starts[solid.plane_starts[[k, k + 1]]]
        distance = np.hypot(*solid.points_uv_mm[first:last].T)
        assert distance.min() > 14.0 and distance.max() < 26.0


def test_crossing_and_touching_contours_are_their_even_odd_region() -> None:
    z = (0.0, 2.0, 4.0)
    for shift in (12.0, 20.0):
        contours = [c for h in z for c in (disc(10.0, h), disc(10.0, h, (shift, 0.0)))]
        literal = PrismSolid.from_contours(contours, single_plane_thickness_mm=None)
        assert shape_solid(literal).volume_cc == pytest.approx(literal.volume_cc, rel=SAME_VOLUME)


@pytest.mark.parametrize("seed", range(4))
def test_any_orientation_mirror_and_order_give_the_same_solid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = (0.0, 2.0, 4.5, 6.0, 8.0)
    contours = [c for h in z for c in (disc(12 - 0.1 * h * h, h, (0.3 * h, 1.0)), disc(2 + 0.2 * h, h, (2.0, 2.0)))]
    contours += [disc(4.0, h, (40.0 + 3.0 * h, 0.0)) for h in z[1:3]]
    straight = shaped(contours)
    turn, shift = rotation(seed), rng.uniform(-200, 200, 3)
    if seed % 2:
        turn = turn @ np.diag([1.0, -1.0, 1.0])
    turned = [np.roll(c, int(rng.integers(80)), axis=0)[:: rng.choice([-1, 1])] @ turn.T + shift for c in contours]
    oblique = shaped([turned[i] for i in rng.permutation(len(turned))])
    assert oblique.volume_cc == pytest.approx(straight.volume_cc, rel=1e-7)
    assert oblique.centroid_xyz_mm is not None and straight.centroid_xyz_mm is not None
    assert oblique.centroid_xyz_mm == pytest.approx(turn @ straight.centroid_xyz_mm + shift, abs=1e-4)
    points = rng.uniform(-14, 14, (2000, 3)) + np.array([0.0, 0.0, 4.0])
    same = oblique.contains(points @ turn.T + shift) == straight.contains(points)
    assert same.mean() > 0.998


def test_a_structure_cut_in_two_adds_up() -> None:
    """Cut by a plane along the axis; the halves of each section are cut from its polygon."""
    whole = [disc(np.sqrt(144.0 - h * h), h, n=80) for h in heights(12.0, 2.0)]
    halves: list[list[np.ndarray]] = [[], []]
    for contour in whole:
        halves[0].append(contour[contour[:, 1] >= -1e-9])
        halves[1].append(contour[(contour[:, 1] <= 1e-9)])
    assert sum(volume(half) for half in halves) == pytest.approx(volume(whole), rel=SAME_VOLUME)


@pytest.mark.parametrize("seed", range(12))
def test_any_stack_of_contours_stays_within_sane_limits(seed: int) -> None:
    """Random blobs, holes and islands: no layer without area, none over another, none a whole gap beyond the ends."""
    rng = np.random.default_rng(seed)
    contours = []
    z = np.cumsum(rng.choice([1.0, 2.0, 2.5, 3.0], 9))
    for h in z:
        for _ in range(rng.integers(1, 5)):
            n = int(rng.integers(5, 40))
            angle = np.sort(rng.uniform(0, 2 * np.pi, n))
            r = rng.uniform(2, 9) * rng.uniform(0.6, 1.4, n)
            centre = rng.uniform(-12, 12, 2)
            contours.append(np.c_[centre + r[:, None] * np.c_[np.cos(angle), np.sin(angle)], np.full(n, h)])
    literal = PrismSolid.from_contours(contours, single_plane_thickness_mm=None)
    solid = shape_solid(literal)
    slabs, gap = solid.slabs_mm, literal.nominal_spacing_mm
    assert slabs is not None and gap is not None and literal.slabs_mm is not None
    assert (slabs[:, 1] > slabs[:, 0]).all()
    assert (slabs[1:, 0] >= slabs[:-1, 1] - 1e-9).all()
    assert slabs[0, 0] >= z[0] - gap and slabs[-1, 1] <= z[-1] + gap
    assert (solid.areas_mm2 > 0).all()
    assert solid.areas_mm2.max() < 2.1 * literal.areas_mm2.max()
    assert solid.volume_cc == pytest.approx(literal.volume_cc, rel=0.5)

"""What is outside the grid or marked unknown: counted for the volume, not for the dose."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import compute_dvh
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.solid import PrismSolid

COVERAGE_ATOL_PCT = 2e-5
"""A box cut by planes of the grid's box is cut exactly, but for the 1e-6 mm that count as rounding."""


def box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], spacing: float = 2.0) -> PrismSolid:
    rectangle = np.array([[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]])
    planes = np.arange(z[0] + 0.5 * spacing, z[1], spacing)
    return PrismSolid.from_contours([np.c_[rectangle, np.full(4, p)] for p in planes], single_plane_thickness_mm=None)


def ramp(iop: tuple[int, ...] = (1, 0, 0, 0, 1, 0), descending: bool = False) -> DoseVolume:
    """1 Gy per mm along patient x, voxel centres from -20 to 20 mm in x, y and z."""
    row, column = np.array(iop[:3], float), np.array(iop[3:], float)
    offsets = np.arange(17) * (-2.5 if descending else 2.5)
    middle = 20.0 * (row + column + (-1.0 if descending else 1.0) * np.cross(row, column))
    grid = Grid.from_dicom_like(iop, (-middle).tolist(), [2.5, 2.5], offsets, 17, 17)
    index = np.stack(np.meshgrid(*[np.arange(17)] * 3, indexing="ij"), axis=-1)
    return DoseVolume(grid, 50.0 + grid.index_zyx_to_patient(index)[..., 0])


def test_everything_inside_is_covered_to_the_last_bit() -> None:
    assert compute_dvh(box((-9, 9), (-7, 7), (-8, 8)), ramp()).coverage_pct == 100.0
    # faces on the outermost voxel centres still count as inside
    assert compute_dvh(box((-20, 20), (-20, 20), (-20, 20)), ramp()).coverage_pct == 100.0


@pytest.mark.parametrize("iop", [(1, 0, 0, 0, 1, 0), (0, 1, 0, -1, 0, 0), (-1, 0, 0, 0, 1, 0), (0, 0, 1, 1, 0, 0)])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("solid", "share"),
    [
        (box((-10, 20.3), (-5, 5), (-4, 4)), 30.0 / 30.3),
        (box((-10, 10), (13.7, 23.7), (-4, 4)), 6.3 / 10.0),
        (box((-10, 10), (-5, 5), (10.0, 30.0)), 0.5),
        (box((0, 40), (0, 40), (0, 40)), 0.125),
    ],
)
def test_the_covered_share_is_exact_where_the_grid_cuts_the_structure(
    solid: PrismSolid, share: float, iop: tuple[int, ...], descending: bool
) -> None:
    dvh = compute_dvh(solid, ramp(iop, descending))
    assert dvh.coverage_pct == pytest.approx(100.0 * share, abs=COVERAGE_ATOL_PCT)
    assert dvh.volume_cc == pytest.approx(np.prod(np.ptp(solid.bounding_box_xyz_mm, axis=0)) / 1000.0)
    assert dvh.volume_edges_cc[0] == pytest.approx(share * dvh.volume_cc, rel=1e-6)


def test_the_dose_of_the_known_part_is_not_touched_by_the_unknown() -> None:
    # 10 of 40 mm lie inside; a dose of 0 outside would pull the mean down and the minimum to 0
    dvh = compute_dvh(box((10, 50), (-5, 5), (-4, 4)), ramp())
    assert dvh.coverage_pct == pytest.approx(25.0, abs=COVERAGE_ATOL_PCT)
    assert dvh.dmin_gy == pytest.approx(60.0)
    assert dvh.dmax_gy == pytest.approx(70.0, abs=1e-5)
    assert dvh.dmean_gy == pytest.approx(65.0)
    # percentages refer to the whole volume: what is not known to be hot does not count as hot
    assert dvh.volume_at_dose_pct(60.0) == pytest.approx(25.0, abs=1e-5)
    assert dvh.volume_at_dose_pct(65.0) == pytest.approx(12.5, abs=1e-5)
    assert dvh.dose_at_volume_pct(12.5) == pytest.approx(65.0)
    assert dvh.dose_at_volume_pct(26.0) is None


def test_a_structure_that_the_grid_misses_has_a_volume_and_no_dose() -> None:
    dvh = compute_dvh(box((30, 40), (-5, 5), (-4, 4)), ramp())
    assert dvh.volume_cc == pytest.approx(0.8)
    assert dvh.coverage_pct == 0.0
    assert (dvh.dmin_gy, dvh.dmax_gy, dvh.dmean_gy) == (None, None, None)
    assert dvh.dose_at_volume_pct(50) is None
    assert dvh.volume_at_dose_cc(1.0) == 0.0
    assert dvh.geud_gy(2.0) is None
    assert [len(a) for a in dvh.compact_curve()] == [0, 0]


def test_a_mask_that_ends_half_way_cuts_exactly_at_its_last_voxel_centre() -> None:
    dose = ramp()
    known = np.ones(dose.grid.shape_zyx, bool)
    known[:, :, 11:] = False  # voxel centres up to x = 5 are known
    dvh = compute_dvh(box((-10, 10), (-5, 5), (-4, 4)), DoseVolume(dose.grid, dose.dose_gy, known))
    assert dvh.coverage_pct == pytest.approx(75.0, abs=0.01)
    assert dvh.dmax_gy == pytest.approx(55.0, abs=0.01)


def test_voxels_that_are_not_finite_are_unknown() -> None:
    dose = ramp()
    values = dose.dose_gy.copy()
    values[8, 8, 8] = np.nan
    dvh = compute_dvh(box((-10, 10), (-10, 10), (-10, 10)), DoseVolume(dose.grid, values))
    # the eight cells around the centre have a corner there: 5 mm of 20 along each axis
    assert dvh.coverage_pct == pytest.approx(100.0 * (1.0 - (5.0 / 20.0) ** 3), abs=0.5)
    assert dvh.dmean_gy == pytest.approx(50.0, abs=0.05)
    assert np.isfinite(dvh.volume_edges_cc).all()


def test_one_plane_of_dose_can_not_be_interpolated() -> None:
    grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [-20, -20, 0], [2.5, 2.5], [0.0], 17, 17)
    dvh = compute_dvh(box((-5, 5), (-5, 5), (-4, 4)), DoseVolume(grid, np.ones(grid.shape_zyx)))
    assert dvh.coverage_pct == 0.0
    assert dvh.dmax_gy is None
    unknown = np.zeros((17, 17, 17), bool)
    assert compute_dvh(box((-5, 5), (-5, 5), (-4, 4)), DoseVolume(ramp().grid, ramp().dose_gy, unknown)).n_samples == 0


def test_an_oblique_grid_box_cuts_to_a_thousandth() -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    row, column = np.array([c, s, 0.0]), np.array([-s, c, 0.0])
    corner = -20.0 * row - 20.0 * column + np.array([0, 0, -20.0])
    grid = Grid.from_dicom_like([*row, *column], corner.tolist(), [2.5, 2.5], np.arange(17) * 2.5, 17, 17)
    solid = box((5, 35), (-8, 8), (-6, 6))
    rng = np.random.default_rng(8)
    points = rng.uniform([5, -8], [35, 8], (400_000, 2))
    expected = np.mean((np.abs(points @ row[:2]) <= 20.0) & (np.abs(points @ column[:2]) <= 20.0))
    dvh = compute_dvh(solid, DoseVolume(grid, np.ones(grid.shape_zyx)))
    assert dvh.coverage_pct == pytest.approx(100.0 * expected, abs=0.3)  # the random points: 0.08 %

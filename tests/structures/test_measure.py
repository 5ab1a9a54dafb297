from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.contracts.findings import Severity
from rtpipeline.geometry.grid import Grid
from rtpipeline.structures.measure import measure


def image(*, planes=20, spacing_mm=3.0, rows=50, columns=60, pixel_mm=2.0, iop=(1, 0, 0, 0, 1, 0), ipp=(0.0, 0.0, 0.0)):
    offsets = spacing_mm * np.arange(planes)
    return Grid.from_dicom_like(iop, ipp, (pixel_mm, pixel_mm), offsets, rows, columns)


def box(x_mm, y_mm, z_mm):
    """Rectangles at the given z positions."""
    (x0, x1), (y0, y1) = x_mm, y_mm
    return [np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]]) for z in z_mm]


def codes(measured):
    return [f.code for f in measured.findings]


INSIDE_Z = np.arange(9.0, 31.0, 3.0)


def test_a_box_on_the_slices_measures_its_volume_and_raises_nothing():
    measured = measure(box((20, 60), (20, 50), INSIDE_Z), image(), "s")
    assert measured.solid.volume_cc == pytest.approx(40 * 30 * 24 / 1000, rel=1e-9)
    assert (measured.status, measured.outside_image_pct, codes(measured)) == ("ok", 0.0, [])


def test_the_part_outside_the_image_is_the_part_beyond_the_outer_voxel_faces():
    # columns reach from -1 to 119 mm: of 40 mm from 99 to 139 a half lies outside
    measured = measure(box((99, 139), (20, 50), INSIDE_Z), image(), "s")
    assert measured.outside_image_pct == pytest.approx(50.0, abs=0.1)
    assert codes(measured) == ["SS_OUTSIDE_IMAGE"]


@pytest.mark.parametrize("iop", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, 1, 0), (0, 1, 0, -1, 0, 0), (-1, 0, 0, 0, -1, 0)])
def test_the_part_outside_follows_the_direction_cosines(iop):
    grid = image(iop=iop, ipp=(0.0, 0.0, 0.0), rows=60, columns=60)
    middle = grid.origin_xyz_mm + 59 * (grid.row_direction + grid.column_direction)
    x, y = float(middle[0]), float(middle[1])
    z = float(grid.normal[2])
    inside = measure(box((x - 20, x + 20), (y - 20, y + 20), np.sort(z * INSIDE_Z)), grid, "s")
    assert (inside.outside_image_pct, codes(inside)) == (0.0, [])
    # shifted by half the field along the rows: the half of it leaves the image
    far = grid.origin_xyz_mm + 119 * grid.row_direction + 59 * grid.column_direction
    x, y = float(far[0]), float(far[1])
    half = measure(box((x - 20, x + 20), (y - 20, y + 20), np.sort(z * INSIDE_Z)), grid, "s")
    assert half.outside_image_pct == pytest.approx(50.0, abs=0.1)


def test_contours_between_slices_stay_where_they_are_and_are_told():
    measured = measure(box((20, 60), (20, 50), INSIDE_Z + 1.3), image(), "s")
    assert measured.solid.plane_offsets_mm[0] == pytest.approx(10.3)
    (found,) = measured.findings
    assert (found.code, found.severity) == ("SS_CONTOUR_OFF_SLICE", Severity.INFO)
    assert "1.30 mm" in found.measured


def test_a_contour_on_a_plane_that_fills_a_gap_is_on_a_slice():
    whole = image()
    gap = Grid.from_dicom_like((1, 0, 0, 0, 1, 0), (0.0, 0.0, 0.0), (2.0, 2.0), 3.0 * np.r_[:5, 6:20], 50, 60)
    contours = box((20, 60), (20, 50), INSIDE_Z)
    assert codes(measure(contours, gap, "s")) == ["SS_CONTOUR_OFF_SLICE"]
    assert codes(measure(contours, gap, "s", voxel=whole)) == []


def test_planes_at_an_angle_to_the_slices_are_a_warning():
    tilted = np.array([1.0, 0, 0, 0, np.cos(0.2), np.sin(0.2)])
    measured = measure(box((20, 60), (20, 50), INSIDE_Z), image(iop=tuple(tilted)), "s")
    off = [f for f in measured.findings if f.code == "SS_CONTOUR_OFF_SLICE"]
    assert [f.severity for f in off] == [Severity.WARNING]
    assert "11.46 degrees" in off[0].measured


def test_a_gap_is_told_and_not_bridged():
    z = np.r_[9.0, 12.0, 15.0, 24.0, 27.0, 30.0]
    measured = measure(box((20, 60), (20, 50), z), image(), "s")
    assert measured.solid.volume_cc == pytest.approx(40 * 30 * 18 / 1000, rel=1e-9)
    assert codes(measured) == ["SS_SLICE_GAP"]


def test_a_tiny_structure_is_told():
    assert codes(measure(box((20, 23), (20, 23), [9.0, 12.0]), image(), "s")) == ["SS_TINY"]


def test_one_contour_takes_the_thickness_of_the_image_and_without_one_has_no_volume():
    one = box((20, 60), (20, 50), [9.0])
    with_image = measure(one, image(), "s")
    assert with_image.solid.volume_cc == pytest.approx(40 * 30 * 3 / 1000, rel=1e-9)
    without = measure(one, None, "s")
    assert (without.status, without.outside_image_pct, codes(without)) == ("no_volume", None, ["SS_NO_VOLUME"])


def test_contours_without_area_are_degenerate_and_crooked_ones_nonplanar():
    line = [np.array([[0.0, 0, 0], [1, 0, 0]])]
    assert measure(line, image(), "s").status == "degenerate"
    crooked = box((20, 60), (20, 50), [9.0])
    crooked[0][2, 2] += 5.0
    crooked[0][0, 2] += 5.0
    crooked[0][1, 2] -= 5.0
    measured = measure(crooked, image(), "s")
    assert (measured.status, codes(measured)) == ("nonplanar", ["SS_CONTOUR_NONPLANAR"])

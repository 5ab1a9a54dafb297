"""The file of outlines, and what a known plane spacing makes of contours with planes missing in between."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.geometry.outlines import Outline, read_contours, write_contours

ROUNDING = 1e-12
"""Relative; a volume is a sum of a few products."""


def square(z_mm: float) -> np.ndarray:
    return np.array([[0.0, 0.0, z_mm], [10.0, 0.0, z_mm], [10.0, 10.0, z_mm], [0.0, 10.0, z_mm]])


def test_planes_that_are_known_to_be_3_mm_apart_are_not_joined_over_6_mm():
    """A mask with voxels on every second plane is half empty; contours on every second slice are a whole structure."""
    drawn = [square(z) for z in (0.0, 6.0, 12.0)]
    assert Outline(3.0, drawn).solid().volume_cc == pytest.approx(100 * 18 / 1000, rel=ROUNDING)
    of_voxels = Outline(3.0, drawn, plane_spacing_mm=3.0).solid()
    assert of_voxels.volume_cc == pytest.approx(100 * 9 / 1000, rel=ROUNDING)
    assert (of_voxels.n_gaps, of_voxels.nominal_spacing_mm) == (2, 3.0)


def test_only_what_was_drawn_is_interpolated_and_capped():
    """A label map says of every voxel whether it belongs to the structure, so its outlines stay prisms."""
    drawn = [square(z) * np.array([scale, scale, 1.0]) for z, scale in ((0.0, 1.0), (3.0, 1.2), (6.0, 1.4))]
    literal, shape = Outline(3.0, drawn).solid(), Outline(3.0, drawn).solid("shape")
    assert (literal.end_cap, shape.end_cap) == ("prism", "shape")
    assert literal.volume_cc != pytest.approx(shape.volume_cc, rel=1e-3)
    # a pyramid's section goes with the square of the height: 10 mm wide at 0, 14 mm at 6 mm, half a gap beyond both
    assert shape.volume_cc == pytest.approx((15.0**3 - 9.0**3) / (3 * 2 / 3) / 1000, rel=1e-9)
    of_voxels = Outline(3.0, drawn, plane_spacing_mm=3.0)
    assert of_voxels.solid("shape").end_cap == "prism"
    assert of_voxels.solid("shape").volume_cc == of_voxels.solid().volume_cc


def test_what_is_written_is_read_again(tmp_path):
    rows = [
        ("rs-01", "a", Outline(None, [square(1.0), square(4.0)])),
        ("rs-01", "b", Outline(2.5, [square(1.0)])),
        ("seg", "a", Outline(3.0, [square(0.1)], plane_spacing_mm=3.0)),
    ]
    write_contours(tmp_path / "contours.parquet", rows)
    found = read_contours(tmp_path / "contours.parquet")
    assert list(found) == [(set_id, structure_id) for set_id, structure_id, _ in rows]
    for set_id, structure_id, outline in rows:
        read = found[set_id, structure_id]
        assert read.single_plane_thickness_mm == outline.single_plane_thickness_mm
        assert read.plane_spacing_mm == outline.plane_spacing_mm
        assert all(np.array_equal(a, b) for a, b in zip(read.contours, outline.contours, strict=True))

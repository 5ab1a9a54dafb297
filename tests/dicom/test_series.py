"""Order, place and kind of slices: from positions and cosines alone."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpipeline.dicom.series import (
    SeriesGeometryError,
    SliceHeader,
    duplicate_groups,
    orthonormal,
    separate_duplicates,
    split_by_geometry,
    stack_planes,
)

ROUNDING_MM = 1e-9
"""Positions are computed in float64 from numbers of a few hundred mm."""

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def header(k: int, position: tuple[float, float, float], **changes: object) -> SliceHeader:
    made = SliceHeader(
        uid=f"1.2.{k}",
        frame=0,
        position_mm=position,
        orientation=AXIAL,
        pixel_spacing_mm=(2.0, 1.0),
        rows=4,
        columns=5,
        image_type="ORIGINAL\\PRIMARY\\AXIAL",
        acquisition_number=1,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def axial(offsets: list[float]) -> list[SliceHeader]:
    return [header(k, (-10.0, 5.0, z)) for k, z in enumerate(offsets)]


def rotation(about: tuple[float, float, float], degrees: float) -> np.ndarray:
    x, y, z = np.array(about) / np.linalg.norm(about)
    a = np.radians(degrees)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * k @ k


@given(st.permutations(range(9)))
def test_the_order_of_arrival_and_the_names_decide_nothing(order: list[int]) -> None:
    slices = axial([3.0 * k for k in range(9)])
    renamed = [replace(slices[i], uid=f"9.{order[i]}") for i in order]
    stack = stack_planes(renamed)
    assert [s.position_mm for s in stack.slices] == [s.position_mm for s in slices]
    assert stack.offsets_mm == pytest.approx(np.arange(9) * 3.0, abs=ROUNDING_MM)


@pytest.mark.parametrize("degrees", [0.0, 20.0, 90.0, 180.0, 211.0])
def test_planes_are_sorted_along_the_normal_in_any_orientation(degrees: float) -> None:
    turn = rotation((1.0, 2.0, -0.5), degrees)
    slices = axial([0.0, 2.5, 5.0, 7.5])
    turned = [
        replace(
            s,
            position_mm=tuple(turn @ s.position_mm),
            orientation=(*(turn @ AXIAL[:3]), *(turn @ AXIAL[3:])),
        )
        for s in slices
    ]
    random.Random(3).shuffle(turned)
    stack = stack_planes(turned)
    assert stack.offsets_mm == pytest.approx([0.0, 2.5, 5.0, 7.5], abs=ROUNDING_MM)
    assert stack.normal == pytest.approx(turn @ [0.0, 0.0, 1.0], abs=ROUNDING_MM)
    assert np.abs(stack.shifts_mm).max() < ROUNDING_MM
    assert not stack.is_sheared


def test_a_tilted_gantry_is_the_angle_between_the_normal_and_the_line_of_first_pixels() -> None:
    # the planes are vertical but the table moves along z: positions differ in z only, the cosines lean by 12 degrees
    lean = rotation((1.0, 0.0, 0.0), 12.0)
    orientation = (*(lean @ AXIAL[:3]), *(lean @ AXIAL[3:]))
    stack = stack_planes([header(k, (0.0, 0.0, 5.0 * k), orientation=orientation) for k in range(6)])
    assert stack.shear_deg == pytest.approx(12.0, abs=1e-6)
    assert stack.is_sheared
    assert np.diff(stack.offsets_mm) == pytest.approx(5.0 * np.cos(np.radians(12.0)))


def test_rounded_positions_are_no_tilt() -> None:
    stack = stack_planes([header(k, (round(0.004 * (k % 2), 3), 0.0, 1.0 * k)) for k in range(60)])
    assert stack.shear_deg < 0.01
    assert not stack.is_sheared


def test_a_slow_drift_of_more_than_half_a_pixel_is_corrected_below_the_angle() -> None:
    stack = stack_planes([header(k, (0.008 * k, 0.0, 1.0 * k)) for k in range(100)])
    assert stack.shear_deg < 0.5
    assert stack.is_sheared


def test_localizers_and_other_kinds_of_slices_are_split_off() -> None:
    slices = axial([3.0 * k for k in range(8)])
    scout = header(90, (0.0, 0.0, 0.0), image_type="ORIGINAL\\PRIMARY\\LOCALIZER")
    coronal = header(91, (0.0, 0.0, 0.0), orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    wide = header(92, (0.0, 0.0, 0.0), rows=8)
    groups = split_by_geometry([scout, coronal, *slices, wide])
    assert {s.uid for s in groups[0]} == {s.uid for s in slices}
    assert len(groups) == 4


def test_a_majority_of_localizers_is_still_not_the_main_group() -> None:
    scouts = [header(50 + k, (0.0, 0.0, k), image_type="ORIGINAL\\PRIMARY\\LOCALIZER") for k in range(5)]
    assert not split_by_geometry([*scouts, *axial([0.0, 3.0])])[0][0].is_localizer


def test_rounded_cosines_do_not_split_a_series() -> None:
    slices = axial([3.0 * k for k in range(8)])
    slices[3] = replace(slices[3], orientation=(1.0, 0.0004, 0.0, -0.0004, 1.0, 0.0))
    assert len(split_by_geometry(slices)) == 1


def test_cosines_that_are_no_directions_are_refused() -> None:
    with pytest.raises(SeriesGeometryError, match="lengths"):
        orthonormal((1.0, 0.0, 0.0, 0.5, 0.5, 0.0))
    with pytest.raises(SeriesGeometryError, match="product"):
        orthonormal((1.0, 0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5), 0.0))


def test_missing_values_are_no_geometry() -> None:
    good = header(1, (0.0, 0.0, 0.0))
    assert good.has_geometry
    for change in (
        {"position_mm": None},
        {"orientation": None},
        {"pixel_spacing_mm": None},
        {"pixel_spacing_mm": (0.0, 1.0)},
        {"position_mm": (0.0, np.nan, 0.0)},
        {"orientation": (1.0, 0.0, 0.0)},
        {"rows": 0},
    ):
        assert not replace(good, **change).has_geometry  # type: ignore[arg-type]


def phases(by: str) -> list[SliceHeader]:
    return [
        header(100 * phase + k, (0.0, 0.0, 3.0 * k), **{by: f"0{phase}0000" if by == "acquisition_time" else phase})
        for phase in (1, 2, 3)
        for k in range(5)
    ]


@pytest.mark.parametrize("by", ["temporal_position", "acquisition_number", "acquisition_time"])
def test_phases_in_one_series_are_told_apart_by_their_tag(by: str) -> None:
    slices = phases(by)
    assert len(duplicate_groups(stack_planes(slices))) == 5
    random.Random(1).shuffle(slices)
    found = separate_duplicates(slices)
    assert found is not None
    assert found.parts == 3
    assert found.by == by.replace("_", " ")
    assert [s.uid for s in found.kept] == [f"1.2.{100 + k}" for k in range(5)]
    assert not duplicate_groups(stack_planes(found.kept))


def test_the_part_that_a_structure_set_references_is_used() -> None:
    found = separate_duplicates(phases("acquisition_number"), frozenset({"1.2.203", "1.2.204"}))
    assert found is not None
    assert found.referenced
    assert {s.acquisition_number for s in found.kept} == {2}


def test_slices_that_no_tag_tells_apart_stay_together() -> None:
    twice = [*axial([0.0, 3.0, 6.0]), header(9, (-10.0, 5.0, 3.0))]
    assert separate_duplicates(twice) is None


def test_a_tag_of_its_own_for_every_slice_separates_nothing() -> None:
    twice = [replace(s, acquisition_number=k) for k, s in enumerate(axial([0.0, 3.0, 6.0, 3.0]))]
    assert separate_duplicates(twice) is None

"""Areas between and beyond planes: every quadratic is met exactly, everything else stays within limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.geometry.area_guide import area_between, cap_reach, cap_share

ROUNDING = 1e-9


def mean_of(section, low: float, high: float) -> float:
    """Mean of a polynomial of degree two, by its primitive."""
    primitive = section.integ()
    return float(primitive(high) - primitive(low)) / (high - low)


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (0.4, 1.1), (2.5, 3.0)])
def test_the_area_between_two_planes_of_a_quadratic_body_is_its_own(low: float, high: float) -> None:
    for section in (np.polynomial.Polynomial([40.0, 3.0, -1.0]), np.polynomial.Polynomial([9.0, 12.0, 4.0])):
        slope = section.deriv()
        found = area_between(section(0.0), section(3.0), slope(0.0), slope(3.0), 3.0, low, high)
        assert found == pytest.approx(mean_of(section, low, high), rel=ROUNDING)


@settings(max_examples=100, deadline=None)
@given(st.floats(1.0, 500.0), st.floats(1.0, 500.0), st.floats(-900.0, 900.0), st.floats(-900.0, 900.0))
def test_no_slope_takes_the_area_far_from_both_planes(a0: float, a1: float, s0: float, s1: float) -> None:
    gap = 3.0
    whole = area_between(a0, a1, s0, s1, gap, 0.0, gap)
    assert 0.5 * min(a0, a1) - ROUNDING <= whole
    assert whole <= max(1.15 * max(a0, a1), max(a0, a1) + np.pi / 4 * gap * gap) + ROUNDING


def test_a_cap_ends_where_the_area_does() -> None:
    # a sphere of 10 mm, 1.2 mm below its pole; a cone 1.2 mm below its tip; a cylinder; a growing base
    height = 10.0 - 1.2
    sphere = (np.pi * (100.0 - height**2), -2.0 * np.pi * height, -np.pi)
    assert cap_reach(*sphere, 1.0, 2.0) == pytest.approx(1.2, rel=ROUNDING)
    cone = (np.pi * 1.44, -2.0 * np.pi * 1.2, np.pi)
    assert cap_reach(*cone, 1.0, 2.0) == pytest.approx(1.2, rel=1e-6)
    assert cap_reach(50.0, 0.0, 0.0, 1.0, 2.0) == 1.0
    assert cap_reach(50.0, 4.0, 1.0, 1.0, 2.0) == 1.0


def test_the_end_of_a_cap_moves_without_a_jump_to_half_the_gap() -> None:
    ends = [cap_reach(50.0, -50.0 / root, 0.0, 1.0, 2.0) for root in np.linspace(0.1, 4.0, 400)]
    assert max(ends) == pytest.approx(2.0, abs=0.02)
    assert np.abs(np.diff(ends)).max() < 0.03
    assert ends[-1] == 1.0


def test_the_mean_area_of_a_cap_counts_nothing_beyond_its_end() -> None:
    cap = np.array([np.pi * 19.0, -2.0 * np.pi * 9.0, -np.pi, 1.0])  # a sphere of 10 mm, 1 mm below its pole
    section = np.polynomial.Polynomial([1.0, cap[1] / cap[0], cap[2] / cap[0]])
    assert cap_share(cap, 0.0, 1.0) == pytest.approx(mean_of(section, 0.0, 1.0), rel=ROUNDING)
    assert cap_share(cap, 0.5, 2.0) == pytest.approx(mean_of(section, 0.5, 1.0) / 3.0, rel=ROUNDING)
    assert cap_share(cap, 1.0, 2.0) == 0.0

"""Ways between frames of reference: either direction, chains of two, and none where registrations disagree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from rtpipeline.dose.frames import (
    AGREE_DEG,
    AGREE_MM,
    SAME_FRAME,
    FrameLink,
    RegistrationsDisagreeError,
    find_route,
)
from tests.geometry.test_rigid import angles, motion, shifts

ROUNDING_MM = 1e-9
"""float64 at coordinates of some hundred mm."""

REGION = np.array([[x, y, z] for x in (-100.0, 120.0) for y in (-80.0, 60.0) for z in (0.0, 150.0)])

A_TO_B = motion((2.0, -1.0, 4.0), (10.0, -20.0, 35.0))
B_TO_C = motion((0.0, 30.0, 0.0), (-5.0, 0.0, 400.0))


def at(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """By homogeneous coordinates, as the standard writes it (PS3.3 C.20.2.1.1)."""
    return np.array([(matrix @ [*p, 1.0])[:3] for p in points])


def test_within_one_frame_nothing_moves_and_no_registration_is_named():
    assert find_route([], "a", "a", REGION) is SAME_FRAME
    assert SAME_FRAME.is_identity


@pytest.mark.parametrize(("source", "target"), [("", "a"), ("a", ""), ("", "")])
def test_a_frame_that_is_not_stated_is_tied_to_nothing(source, target):
    assert find_route([FrameLink("reg-01", "", "a", np.eye(4))], source, target, REGION) is None


def test_a_registration_serves_in_both_directions():
    links = [FrameLink("reg-01", "a", "b", A_TO_B)]
    there, back = find_route(links, "a", "b", REGION), find_route(links, "b", "a", REGION)
    assert there.reg_ids == back.reg_ids == ("reg-01",)
    assert np.abs(at(REGION, there.matrix) - at(REGION, A_TO_B)).max() <= ROUNDING_MM
    assert np.abs(at(at(REGION, A_TO_B), back.matrix) - REGION).max() <= ROUNDING_MM


CHAINS = {
    "one after the other": [FrameLink("reg-01", "a", "b", A_TO_B), FrameLink("reg-02", "b", "c", B_TO_C)],
    "the second backwards": [
        FrameLink("reg-01", "a", "b", A_TO_B), FrameLink("reg-02", "c", "b", np.linalg.inv(B_TO_C)),
    ],
    "both to a frame of their own": [
        FrameLink("reg-01", "a", "b", A_TO_B), FrameLink("reg-01", "c", "b", np.linalg.inv(B_TO_C)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", CHAINS)
def test_two_registrations_are_applied_one_after_the_other(case):
    route = find_route(CHAINS[case], "a", "c", REGION)
    assert np.abs(at(REGION, route.matrix) - at(at(REGION, A_TO_B), B_TO_C)).max() <= ROUNDING_MM
    assert route.reg_ids == tuple(dict.fromkeys(link.reg_id for link in CHAINS[case]))


def test_three_in_a_row_are_too_many():
    chain = [FrameLink(f"reg-0{n}", a, b, A_TO_B) for n, (a, b) in enumerate(("ab", "bc", "cd"), start=1)]
    assert find_route(chain, "a", "c", REGION) is not None
    assert find_route(chain, "a", "d", REGION) is None


def test_a_registration_of_the_two_frames_comes_before_a_chain():
    direct = FrameLink("reg-09", "a", "c", motion(shift_mm=(1.0, 2.0, 3.0)))
    route = find_route([*CHAINS["one after the other"], direct], "a", "c", REGION)
    assert route.reg_ids == ("reg-09",)
    assert np.array_equal(route.matrix, direct.matrix)


def test_what_registrations_do_not_tie_has_no_way():
    assert find_route([FrameLink("reg-01", "c", "d", A_TO_B)], "a", "b", REGION) is None


def off(matrix: np.ndarray, shift_mm: float = 0.0, degrees: float = 0.0) -> np.ndarray:
    """The matrix after a shift and a turn about the middle of the region."""
    turn = motion((0.0, 0.0, degrees))
    middle = at(REGION, matrix).mean(axis=0)
    turn[:3, 3] = middle - turn[:3, :3] @ middle + np.array([0.0, shift_mm, 0.0])
    return turn @ matrix


@pytest.mark.parametrize(
    ("shift_mm", "degrees", "agree"),
    [
        (0.5 * AGREE_MM, 0.0, True),
        (2.0 * AGREE_MM, 0.0, False),
        (0.0, 0.5 * AGREE_DEG, True),
        (0.0, 2.0 * AGREE_DEG, False),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_two_registrations_count_only_when_they_agree(shift_mm, degrees, agree, backwards):
    second = off(A_TO_B, shift_mm, degrees)
    other = FrameLink("reg-02", "b", "a", np.linalg.inv(second)) if backwards else FrameLink("reg-02", "a", "b", second)
    links = [other, FrameLink("reg-01", "a", "b", A_TO_B)]
    if agree:
        assert find_route(links, "a", "b", REGION).reg_ids == ("reg-01",)
    else:
        with pytest.raises(RegistrationsDisagreeError, match="reg-01 and reg-02 differ by up to"):
            find_route(links, "a", "b", REGION)


def test_a_turn_that_only_the_far_end_of_the_region_feels_is_a_difference():
    """0.01 degrees are 0.09 mm at 500 mm, and 0.17 mm at a metre."""
    second = off(A_TO_B, degrees=0.9 * AGREE_DEG)
    links = [FrameLink("reg-01", "a", "b", A_TO_B), FrameLink("reg-02", "a", "b", second)]
    assert find_route(links, "a", "b", REGION) is not None
    with pytest.raises(RegistrationsDisagreeError):
        find_route(links, "a", "b", np.array([[1000.0, 1000.0, 0.0]]))


def test_two_chains_that_lead_apart_lead_nowhere():
    by_d = [FrameLink("reg-03", "a", "d", A_TO_B), FrameLink("reg-04", "d", "c", off(B_TO_C, 1.0))]
    with pytest.raises(RegistrationsDisagreeError, match="reg-01 with reg-02 and reg-03 with reg-04 differ"):
        find_route([*CHAINS["one after the other"], *by_d], "a", "c", REGION)


@settings(max_examples=30, deadline=None)
@given(angles, shifts, angles, shifts)
def test_there_and_back_is_where_it_began_and_the_order_of_objects_changes_nothing(a1, s1, a2, s2):
    links = [FrameLink("reg-01", "a", "b", motion(a1, s1)), FrameLink("reg-02", "c", "b", motion(a2, s2))]
    there, back = find_route(links, "a", "c", REGION), find_route(links, "c", "a", REGION)
    assert np.abs(at(at(REGION, there.matrix), back.matrix) - REGION).max() <= 1e-7  # of some thousand mm
    for other in itertools.permutations(links):
        assert np.array_equal(find_route(other, "a", "c", REGION).matrix, there.matrix)

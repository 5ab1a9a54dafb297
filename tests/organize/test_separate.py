"""Slices at one position: whatever is told apart holds each position once, and nothing is dropped."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.organize.separate import repeats, separate_repeats, separate_spacings


@settings(max_examples=60, deadline=None)
@given(
    volumes=st.integers(2, 5),
    slices=st.integers(3, 12),
    shuffle=st.integers(0, 1000),
    informative=st.sampled_from(["first", "second", "none"]),
)
def test_volumes_are_told_apart_by_the_attribute_that_does_or_not_at_all(
    volumes: int, slices: int, shuffle: int, informative: str
) -> None:
    order = np.random.default_rng(shuffle).permutation(volumes * slices)
    truth = np.repeat(np.arange(volumes), slices)[order]
    position = np.tile(2.5 * np.arange(slices), volumes)[order]
    alike = np.zeros(len(order), dtype=np.int64)
    attributes = [
        ("first", truth if informative == "first" else alike),
        ("second", truth if informative == "second" else alike),
    ]
    found = separate_repeats(position, attributes, [])
    assert found.separable == (informative != "none")
    if found.separable:
        assert found.split_by == informative
        assert repeats(position, found.labels) == 0
        assert {tuple(np.flatnonzero(found.labels == k)) for k in np.unique(found.labels)} == {
            tuple(np.flatnonzero(truth == k)) for k in range(volumes)
        }


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=30),
    st.lists(st.sets(st.integers(0, 29), min_size=1), max_size=4),
)
def test_any_references_leave_no_position_twice_in_one_volume(heights: list[int], sets: list[set[int]]) -> None:
    position = 3.0 * np.array(heights, dtype=float)
    referenced = [np.array(sorted(i for i in s if i < len(heights)), dtype=np.int64) for s in sets]
    found = separate_repeats(position, [], [r for r in referenced if len(r)])
    assert len(found.labels) == len(heights)
    if found.separable:
        for label in np.unique(found.labels[found.labels >= 0]):
            inside = position[found.labels == label]
            assert repeats(inside, np.zeros(len(inside), dtype=np.int64)) == 0
    else:
        assert set(found.labels.tolist()) == {0}


def test_sets_on_separate_slices_of_one_volume_do_not_tear_it_apart() -> None:
    position = 3.0 * np.array([*range(12), 5])
    found = separate_repeats(position, [], [np.arange(0, 6), np.arange(8, 11)])
    assert found.labels.tolist() == [0] * 12 + [-1]


def test_an_attribute_that_differs_from_slice_to_slice_tells_nothing_apart() -> None:
    position = np.array([0.0, 3.0, 6.0, 6.0])
    assert not separate_repeats(position, [("acquisition_time", np.arange(4))], []).separable


def test_thickness_written_with_noise_is_one_thickness() -> None:
    position = 2.5 * np.arange(20)
    noisy = 2.5 + 0.0002 * (np.arange(20) % 2)
    assert set(separate_spacings(position, noisy, []).labels.tolist()) == {0}

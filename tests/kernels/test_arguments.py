"""The key of a value and the key of numba's type of it are the same, and other values have other keys."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import pytest

from rtpipeline.kernels.arguments import key_of, key_of_type


class Pair(NamedTuple):
    left: Any
    right: Any


class OtherPair(NamedTuple):
    left: Any
    right: Any


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


VALUES: tuple[Any, ...] = (
    *(1, -(2**62), 1.5, True, None, np.int64(3), np.float64(2.0), np.bool_(False)),
    *(np.empty(3), np.empty((2, 3)), np.empty((2, 3, 4)), np.empty(0), np.empty(3, bool), np.empty(3, np.int64)),
    *(np.empty(3, np.uint8), np.empty(3, np.float32), np.empty((4, 4)).T, np.empty(9)[::2], np.empty((4, 6))[:, 1:3]),
    *(read_only(np.empty(3)), np.frombuffer(b"abc", np.uint8), np.empty((3, 1)), np.empty(())),
    *((1.0, 2), (1.0, 2.0), Pair(np.empty(3), 1), Pair(1.0, 2.0), OtherPair(1.0, 2.0), Pair(Pair(1, 2), (1.0,))),
)

UNPACKED: tuple[Any, ...] = (
    *("text", b"abc", 2**63, 1j, np.float32(1.0), np.int32(1), np.uint64(1), [1.0], {1: 2}),
    np.ma.masked_array([1.0]),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_and_its_type_have_the_same_key(value: Any) -> None:
    assert key_of(value) is not None
    assert key_of(value) == key_of_type(numba.typeof(value))


def test_two_values_have_the_same_key_just_when_numba_gives_them_the_same_type() -> None:
    for one in VALUES:
        for other in VALUES:
            assert (key_of(one) == key_of(other)) == (numba.typeof(one) == numba.typeof(other)), (one, other)


@pytest.mark.parametrize("value", UNPACKED, ids=lambda value: type(value).__name__)
def test_values_that_no_pack_holds_code_for_have_no_key(value: Any) -> None:
    assert key_of(value) is None


def test_numbers_known_when_compiling_are_no_arguments_of_python() -> None:
    assert key_of_type(numba.types.literal(2)) is None
    assert key_of_type(numba.types.float32) is None


def test_an_array_of_the_other_byte_order_is_another_kind() -> None:
    assert key_of(np.empty(3, ">f8")) not in {key_of(value) for value in VALUES}

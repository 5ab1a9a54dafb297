"""Decimal strings read by compiled code: to the last bit what Python reads, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.dicom.decimal_text import plain_decimals
from rtpipeline.dicom.element_values import LONG_VALUE, decimals

DECIMALS = st.builds(
    lambda sign, whole, part, exponent: f"{sign}{whole}{part}{exponent}"[:16],
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 10**7).map(str),
    st.integers(0, 10**6).map(lambda n: f".{n}") | st.just(".") | st.just(""),
    st.integers(-9, 9).map(lambda n: f"e{n}") | st.integers(0, 9).map(lambda n: f"E+{n}") | st.just(""),
)


@settings(deadline=None)  # the first example loads the compiled code
@given(st.lists(DECIMALS, min_size=1, max_size=40), st.sampled_from(["\\", " \\", "\\ ", " \\ "]))
def test_every_number_is_the_float_that_is_nearest_to_its_text(texts, separator):
    expected = []
    for text in texts:
        try:
            expected.append(float(text))
        except ValueError:  # the sixteenth character cut an exponent
            expected = None
            break
    found = plain_decimals(separator.join(texts).encode())
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.tobytes() == np.array(expected).tobytes()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"1\\",
        b"\\1",
        b"1\\\\2",
        b"1 2",
        b"-",
        b".",
        b"1e",
        b"1.2.3",
        b"+-1",
        b"nan",
        b"inf",
        b"0x1",
        b"1,5",
        b"1_0",
    ],
)
def test_what_is_no_number_is_refused(value):
    assert plain_decimals(value) is None


@pytest.mark.parametrize("value", [b"12345678901234567", b"1e30", b"1e-30", b"1e99999999"])
def test_what_would_not_be_exact_is_left_to_others(value):
    assert plain_decimals(value) is None


def test_long_values_are_the_same_through_either_way():
    texts = [f"{0.37 * n - 50:.3f}" for n in range(LONG_VALUE)]
    plain, odd = "\\".join(texts), "\\".join([*texts, "12345678901234567"])
    assert decimals(plain.encode()).tolist() == [float(t) for t in texts]
    assert decimals(odd.encode()).tolist() == [*(float(t) for t in texts), 12345678901234567.0]
    assert decimals(f"{plain}\\x".encode()) is None

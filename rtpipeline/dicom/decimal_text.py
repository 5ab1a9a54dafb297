"""Decimal strings (VR DS, PS3.5 6.2) as float64, many at once: the bytes of ContourData hold a million numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtpipeline.kernels import kernel

EXACT_MANTISSA = 2**53
"""Whole numbers up to here are exact in float64."""

EXACT_POWERS = np.array([10.0**n for n in range(23)])
"""Powers of ten that float64 holds exactly, so that one multiplication or division rounds as it should (Clinger 1990,
How to read floating point numbers accurately)."""

SPACE, PLUS, MINUS, POINT, ZERO, NINE, BACKSLASH = (ord(c) for c in " +-.09\\")
UPPER_E, LOWER_E = ord("E"), ord("e")


def plain_decimals(value: bytes) -> NDArray[np.float64] | None:
    r"""(n,) the numbers of a value like `1.5\-2\3e-1 `, each the float64 nearest to its text.

    None where one of them is empty, no number, or longer than what is exact (more than 15 to 16 digits).
    """
    text = np.frombuffer(value, np.uint8)
    numbers = np.empty(value.count(b"\\") + 1)
    return numbers if _read(text, numbers) else None


@kernel(error_model="numpy")
def _read(text: NDArray[np.uint8], numbers: NDArray[np.float64]) -> bool:
    """Fills `numbers`; False where a value is not plain."""
    i, n = 0, text.shape[0]
    for number in range(numbers.shape[0]):
        while i < n and text[i] == SPACE:
            i += 1
        negative = i < n and text[i] == MINUS
        if i < n and (text[i] == MINUS or text[i] == PLUS):
            i += 1
        mantissa, digits, shift = 0, 0, 0
        after_point = False
        while i < n:
            c = text[i]
            if ZERO <= c <= NINE:
                mantissa = 10 * mantissa + (c - ZERO)
                if mantissa > EXACT_MANTISSA:
                    return False
                digits += 1
                shift -= after_point
            elif c == POINT and not after_point:
                after_point = True
            else:
                break
            i += 1
        if digits == 0:
            return False
        if i < n and (text[i] == UPPER_E or text[i] == LOWER_E):
            i += 1
            below = i < n and text[i] == MINUS
            if i < n and (text[i] == MINUS or text[i] == PLUS):
                i += 1
            exponent, digits = 0, 0
            while i < n and ZERO <= text[i] <= NINE and digits < 4:
                exponent = 10 * exponent + (text[i] - ZERO)
                digits += 1
                i += 1
            if digits == 0:
                return False
            shift += -exponent if below else exponent
        if abs(shift) >= EXACT_POWERS.shape[0]:
            return False
        size = mantissa / EXACT_POWERS[-shift] if shift < 0 else mantissa * EXACT_POWERS[shift]
        numbers[number] = -size if negative else size
        while i < n and text[i] == SPACE:
            i += 1
        if i < n and text[i] != BACKSLASH:
            return False
        i += 1
    return True

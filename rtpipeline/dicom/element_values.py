"""Values of a data set as plain Python, taken from the raw bytes where that is exact and fast.

The data set is pydicom's or, where that is not needed, the one of `plain_file`.

Absent, empty and unreadable values are None (text: ''): one bad value of one element must not cost an object. A
sequence that cannot be taken apart does: what it holds is not known, and must not pass for absent.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from rtpipeline.dicom.charset import Charset
from rtpipeline.dicom.decimal_text import plain_decimals
from rtpipeline.dicom.tags import tag_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from rtpipeline.dicom.plain_file import PlainDataset

AnyDataset: TypeAlias = "Dataset | PlainDataset"
Kind = TypeVar("Kind", bound="Dataset | PlainDataset")


def conversion_errors() -> tuple[type[Exception], ...]:
    """What pydicom raises when it takes a sequence or a binary value apart, which it does on access."""
    from pydicom.errors import BytesLengthException

    return (
        *(ValueError, TypeError, EOFError, OSError, KeyError, AttributeError, NotImplementedError, RecursionError),
        BytesLengthException,
        struct.error,
    )


LONG_VALUE = 200
"""Bytes from which on a value is read by compiled code, so that short ones do not load it."""


class UnreadableElementError(ValueError):
    """A sequence that cannot be taken apart; the message names its keyword and holds no value."""


def _value(ds: AnyDataset, keyword: str) -> object:
    """The element's raw bytes, or its converted value where it was set by a program; None when absent."""
    tag = tag_of(keyword)
    element = ds.get_item(tag) if tag in ds else None
    return None if element is None else element.value


def text(ds: AnyDataset, keyword: str, charset: Charset | None = None) -> str:
    """Text of an element without padding, values joined by a backslash; '' when absent."""
    value = _value(ds, keyword)
    if value is None:
        return ""
    if isinstance(value, bytes):
        return charset.decode(value) if charset else value.decode("latin-1").strip("\0 ")
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value).strip("\0 ")
    return "\\".join(str(v) for v in value).strip("\0 ")


def term(ds: AnyDataset, keyword: str) -> str:
    """A defined term (CS): the first value, upper case; '' when absent."""
    return text(ds, keyword).split("\\")[0].strip().upper()


def charset_of(ds: AnyDataset) -> Charset:
    """The character set that an object declares."""
    return Charset(text(ds, "SpecificCharacterSet").encode("latin-1", "replace"))


def decimals(value: object) -> NDArray[np.float64] | None:
    """(n,) the numbers of a DS or IS value; None where it is empty or one of them is no number.

    Bytes are converted in one pass: through pydicom's decimal strings the same takes hundreds of times longer.
    """
    if value is None:
        return None
    if isinstance(value, bytes):
        stripped = value.strip(b"\0 ")
        if len(stripped) > LONG_VALUE and (many := plain_decimals(stripped)) is not None:
            return many
        parts: object = stripped.split(b"\\") if stripped else []
    elif isinstance(value, str):
        parts = value.split("\\") if value.strip() else []
    elif isinstance(value, Iterable):
        parts = list(value)
    else:
        parts = [value]
    try:
        found = np.array(parts, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return found if found.ndim == 1 and len(found) else None


def numbers(ds: AnyDataset, keyword: str) -> tuple[float, ...] | None:
    """All finite numbers of a DS or IS element; None where it is absent, empty, or one is no finite number."""
    found = decimals(_value(ds, keyword))
    if found is None or not np.isfinite(found).all():
        return None
    return tuple(float(v) for v in found)


def number(ds: AnyDataset, keyword: str) -> float | None:
    """The first number of a DS or IS element; None where there is none."""
    found = numbers(ds, keyword)
    return found[0] if found else None


def integer(ds: AnyDataset, keyword: str) -> int | None:
    """A whole number (IS or DS); None where there is none."""
    found = number(ds, keyword)
    return int(found) if found is not None and found == math.floor(found) else None


def unsigned(ds: AnyDataset, keyword: str) -> int | None:
    """A binary whole number (US, UL); None where there is none."""
    try:
        value = ds.get(keyword)
    except conversion_errors():
        return None
    return value if isinstance(value, int) else None


def items(ds: Kind, keyword: str) -> list[Kind]:
    """Items of a sequence; none where it is absent or empty.

    Raises
    ------
    UnreadableElementError: it is there, but its bytes are no items.
    """
    try:
        value = ds.get(keyword)
        found: list[Kind] = list(value) if value else []  # type: ignore[arg-type]
    except conversion_errors() as error:
        raise UnreadableElementError(f"{keyword} cannot be taken apart: {type(error).__name__}") from None
    if not all(hasattr(item, "get_item") for item in found):
        raise UnreadableElementError(f"{keyword} is no sequence")
    return found

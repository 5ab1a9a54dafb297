"""Typed values of raw elements; what is absent, empty or no number is None or '', never a guess."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

from rtpipeline.dicom.charset import Charset
from rtpipeline.dicom.dictionary import keyword
from rtpipeline.dicom.elements import Elements

INT64_MAX = 2**63 - 1


class Values:
    """Reads the elements of a data set or of one of its items.

    Parameters
    ----------
    notes: receives the keyword of each value that is not of its type.
    """

    def __init__(self, elements: Elements, charset: Charset, *, big_endian: bool, notes: list[str]) -> None:
        self.elements = elements
        self.charset = charset
        self.big_endian = big_endian
        self.notes = notes

    def raw(self, tag: int) -> bytes:
        """Bytes without padding; b"" where absent or a sequence."""
        value = self.elements.get(tag, b"")
        return value.strip(b"\0 ") if isinstance(value, bytes) else b""

    def text(self, tag: int) -> str:
        """Decoded text; '' where absent."""
        return self.charset.decode(self.raw(tag))

    def uid(self, tag: int) -> str:
        """A UID as written, valid or not; '' where absent."""
        return self.raw(tag).decode("latin-1")

    def numbers(self, tag: int) -> list[float] | None:
        """Finite decimal strings (DS, IS); None where absent, empty, or one of them is no number."""
        raw = self.raw(tag)
        if not raw:
            return None
        try:
            found = [float(text) for text in raw.split(b"\\")]
        except ValueError:
            found = [math.nan]
        if not all(map(math.isfinite, found)):
            self._note(tag)
            return None
        return found

    def number(self, tag: int) -> float | None:
        """The first decimal string; None where absent or no number."""
        found = self.numbers(tag)
        return found[0] if found else None

    def integer(self, tag: int) -> int | None:
        """An integer string (IS); None where absent or no whole number."""
        raw = self.raw(tag).split(b"\\")[0]
        if not raw:
            return None
        try:
            return _bounded(int(raw))
        except ValueError:
            number = self.number(tag)  # `12.0` is written by some systems
            if number is not None and number == int(number):
                return _bounded(int(number))
            self._note(tag)
            return None

    def unsigned(self, tag: int) -> int | None:
        """A US or UL value; None where absent or of another length."""
        value = self.elements.get(tag)
        if not isinstance(value, bytes) or not value:
            return None
        order = ">" if self.big_endian else "<"
        if len(value) in (2, 4):
            return int(struct.unpack(order + ("H" if len(value) == 2 else "L"), value)[0])
        self._note(tag)
        return None

    def items(self, tag: int) -> list[Values]:
        """Items of a sequence; none where it is absent."""
        value = self.elements.get(tag)
        if not isinstance(value, list):
            return []
        return [Values(item, self.charset, big_endian=self.big_endian, notes=self.notes) for item in value]

    def _note(self, tag: int) -> None:
        text = f"{keyword(tag)} is no number"
        if text not in self.notes and len(self.notes) < 8:
            self.notes.append(text)


def _bounded(number: int) -> int | None:
    return number if -INT64_MAX <= number <= INT64_MAX else None


def unique(texts: Iterable[str]) -> list[str]:
    """Non-empty texts, each once, in their first order."""
    return list(dict.fromkeys(text for text in texts if text))

"""Text of DICOM elements: decoded as SpecificCharacterSet says, and what did not decode."""

from __future__ import annotations

import codecs
import warnings
from functools import lru_cache

ESCAPE = b"\x1b"
_MULTIBYTE = frozenset({"utf-8", "gb18030", "gbk"})


@lru_cache(maxsize=64)
def _encodings(declared: bytes) -> tuple[tuple[str, ...], str]:
    """Python encodings of a SpecificCharacterSet, and what is wrong with it ('' normally)."""
    from pydicom.charset import convert_encodings

    terms = [term.strip() for term in declared.decode("latin-1").strip("\0 ").split("\\")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = tuple(convert_encodings(terms))
        except (LookupError, ValueError):
            return ("latin-1",), "unknown character set"
    return found, "character set not defined by the standard" if caught else ""


class Charset:
    """Decodes the text of one object, and keeps what went wrong.

    Text outside ASCII in an object that declares no character set is taken as UTF-8 where it is valid UTF-8, else as
    Latin-1: both are guesses and count as a problem (PS3.5 6.1.2.3 allows ASCII only there).
    """

    def __init__(self, declared: bytes = b"", parent: Charset | None = None) -> None:
        self.declared = declared.strip(b"\0 ")
        self.problems: set[str] = parent.problems if parent else set()

    def nested(self, declared: bytes) -> Charset:
        """For a sequence item with a character set of its own; problems are shared."""
        return Charset(declared, self)

    def decode(self, value: bytes, *, is_name: bool = False) -> str:
        """The text of `value`, padding removed."""
        value = value.strip(b"\0 ")
        if value.isascii() and ESCAPE not in value:
            return value.decode("ascii")
        if self.declared in (b"", b"ISO_IR 6", b"ISO 2022 IR 6"):
            self.problems.add("text outside ASCII without a declared character set")
            return _as_utf8(value) or value.decode("latin-1")
        from pydicom.charset import decode_bytes
        from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

        encodings, problem = _encodings(self.declared)
        if problem:
            self.problems.add(problem)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                text, decoded = decode_bytes(value, encodings, PN_DELIMS if is_name else TEXT_VR_DELIMS), True
                text.encode("utf-8")  # pydicom takes any codec of Python, and some of them make half characters
            except (LookupError, ValueError):  # UnicodeError is a ValueError
                text, decoded = value.decode("latin-1"), False
        if caught or not decoded:
            self.problems.add("text does not decode with the declared character set")
            if "\N{REPLACEMENT CHARACTER}" in text:
                text = value.decode("latin-1")  # mostly what was meant, and no letter is lost
        elif ESCAPE not in value and codecs.lookup(encodings[0]).name not in _MULTIBYTE and _as_utf8(value):
            # one byte encodings decode anything; two bytes that form UTF-8 are hardly ever meant as two Latin letters
            self.problems.add("text looks like UTF-8 under another declared character set")
        return text


def _as_utf8(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return ""

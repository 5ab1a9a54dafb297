"""Types of elements by tag, from pydicom's dictionaries (PS3.6), cached."""

from __future__ import annotations

from functools import lru_cache

from pydicom.datadict import dictionary_VR, keyword_for_tag, private_dictionary_VR

CHARSET_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Text in SpecificCharacterSet (PS3.5 6.1.2.3)."""
TEXT_VRS = CHARSET_VRS | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
NUMBER_TEXT_VRS = frozenset({"DS", "IS"})

BINARY_BYTES = {
    **dict.fromkeys(("US", "SS", "OW", "US or SS", "US or OW", "US or SS or OW"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OF", "OL", "AT"), 4),
    **dict.fromkeys(("FD", "OD", "SV", "UV", "OV"), 8),
}
"""Bytes of one value of a binary type."""

SEQUENCE, CHARSET_TEXT, TEXT = -3, -2, -1
"""Codes of `storage`; the codes of binary values are the bytes of one value."""

STORAGE: dict[int, int] = {}
"""Answers of `storage` so far, for loops that meet every element of an export; public tags only."""


def public_vr(tag: int) -> str:
    """Value representation by the dictionary, such as `US or SS`; `UN` for a private or unknown tag."""
    if tag >> 16 & 1:
        return "UN"
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def storage(tag: int) -> int:
    """How the value of a public element is stored, by the dictionary: `SEQUENCE`, text, or bytes of one value."""
    code = STORAGE.get(tag)
    if code is None:
        vr = public_vr(tag)
        if vr == "SQ":
            code = SEQUENCE
        elif vr in TEXT_VRS:
            code = CHARSET_TEXT if vr in CHARSET_VRS else TEXT
        else:
            code = BINARY_BYTES.get(vr, 1)
        if not tag >> 16 & 1 and len(STORAGE) < 20_000:  # hostile files can hold any tag
            STORAGE[tag] = code
    return code


@lru_cache(maxsize=4096)
def private_vr(tag: int, creator: str) -> str:
    """Value representation of a private element by its creator; `UN` where unknown."""
    try:
        return str(private_dictionary_VR(tag, creator))
    except KeyError:
        return "UN"


def keyword(tag: int) -> str:
    """Keyword such as `PatientPosition`; `(gggg,eeee)` where there is none."""
    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"

"""Structure sets and doses of the usual kind read without pydicom: little endian, every length as it should be.

Importing pydicom takes 0.2 s and building its objects as long again for a large structure set, more than the numbers
of a small case. This reader gives what `element_values` asks for, takes nothing for granted, and refuses every file
that is not plain; those go to pydicom. Tests compare the two.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from rtpipeline.dicom.tags import TAGS, tag_of

IMPLICIT_OF_SYNTAX = {b"1.2.840.10008.1.2": True, b"1.2.840.10008.1.2.1": False}
TRANSFER_SYNTAX, GROUP_LENGTH = 0x00020010, 0x00020000
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
MAX_DEPTH = 16

LONG_LENGTH = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
SHORT_LENGTH = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US"}
)  # fmt: skip

IMPLICIT_VRS = {
    **{tag: b"SQ" for keyword, tag in TAGS.items() if keyword.endswith("Sequence")},
    **{TAGS[k]: b"US" for k in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")},
}
"""Value representations that matter, where the file does not write them."""

_HEAD = struct.Struct("<HH2sH").unpack_from
_LENGTH = struct.Struct("<L").unpack_from
_ITEM_HEAD = struct.Struct("<HHL").unpack_from
_NUMBERS = {b"US": "<H", b"UL": "<L"}


class NotPlainError(ValueError):
    """The file is for pydicom to read; the message holds no value."""


class PlainElement(NamedTuple):
    """Value representation and value: raw bytes, or the items of a sequence."""

    vr: bytes
    value: bytes | list[PlainDataset]


class PlainDataset:
    """The elements of an object or an item, with the little of pydicom's `Dataset` that `element_values` needs."""

    __slots__ = ("_elements",)

    original_encoding = (False, True)
    """As pydicom has it: whether implicit (which nobody asks), whether little endian."""

    def __init__(self, elements: dict[int, PlainElement]) -> None:
        self._elements = elements

    def __contains__(self, key: int | str) -> bool:
        return (tag_of(key) if isinstance(key, str) else key) in self._elements

    def get_item(self, key: int | str) -> PlainElement:
        """The element of a tag or keyword; raises KeyError where there is none."""
        return self._elements[tag_of(key) if isinstance(key, str) else key]

    def get(self, keyword: str, default: object = None) -> object:
        """Items of a sequence, the number of a US or UL element, else the raw bytes; `default` when absent."""
        element = self._elements.get(tag_of(keyword))
        if element is None:
            return default
        form = _NUMBERS.get(element.vr)
        if form is not None and isinstance(element.value, bytes) and len(element.value) == struct.calcsize(form):
            return struct.unpack(form, element.value)[0]
        return element.value

    @property
    def PixelData(self) -> bytes:  # noqa: N802 (the keyword of the standard, as pydicom has it)
        """Stored values."""
        value = self.get_item("PixelData").value
        return value if isinstance(value, bytes) else b""


def read_plain(path: Path) -> PlainDataset:
    """The object of a file.

    Raises
    ------
    NotPlainError: another transfer syntax, an unknown value representation, or lengths that do not fit.
    OSError: from reading it.
    """
    data = path.read_bytes()
    if data[128:132] != b"DICM":
        raise NotPlainError("no preamble")
    try:
        start, implicit = _after_meta(data)
        return PlainDataset(_elements(data, start, len(data), implicit, 0)[0])
    except struct.error:
        raise NotPlainError("ends inside an element") from None


def _after_meta(data: bytes) -> tuple[int, bool]:
    """Where the data set begins behind a file meta group that states its length, and whether it is implicit."""
    meta, start = _elements(data, 132, 144, False, 0)
    length = meta.get(GROUP_LENGTH)
    if length is None or not isinstance(length.value, bytes) or len(length.value) != 4:
        raise NotPlainError("file meta group without its length")
    end = start + _LENGTH(length.value)[0]
    meta, _ = _elements(data, start, end, False, 0)
    syntax = meta.get(TRANSFER_SYNTAX)
    implicit = None
    if syntax is not None and isinstance(syntax.value, bytes):
        implicit = IMPLICIT_OF_SYNTAX.get(syntax.value.strip(b"\0 "))
    if implicit is None:
        raise NotPlainError("another transfer syntax")
    return end, implicit


def _elements(
    data: bytes, position: int, end: int | None, implicit: bool, depth: int
) -> tuple[dict[int, PlainElement], int]:
    """Elements from `position` to `end`, or to the delimiter of their item; and the offset behind them."""
    found: dict[int, PlainElement] = {}
    limit = len(data) if end is None else end
    while position < limit:
        tag, vr, length, position = _head(data, position, implicit)
        if tag == ITEM_END and end is None:
            return found, position
        if tag in found or tag >> 16 == 0xFFFE or (vr == b"UN" and not tag >> 16 & 1):
            raise NotPlainError("an element twice, a delimiter, or a public element of unknown type")
        if vr == b"SQ":
            after = None if length == UNDEFINED else position + length
            items, position = _items(data, position, after, implicit, depth + 1)
            found[tag] = PlainElement(vr, items)
        else:
            if length == UNDEFINED or position + length > limit:
                raise NotPlainError("a length that does not fit")
            found[tag] = PlainElement(vr, data[position : position + length])
            position += length
    if position != limit or end is None:
        raise NotPlainError("elements do not end where they should")
    return found, position


def _head(data: bytes, position: int, implicit: bool) -> tuple[int, bytes, int, int]:
    """Tag, value representation, length, and offset of the value."""
    group, number, vr, length = _HEAD(data, position)
    tag = group << 16 | number
    if implicit or group == 0xFFFE:
        length = _LENGTH(data, position + 4)[0]
        is_sequence = length == UNDEFINED and tag != TAGS["PixelData"]
        return tag, b"SQ" if is_sequence else IMPLICIT_VRS.get(tag, b""), length, position + 8
    if vr in SHORT_LENGTH:
        return tag, vr, length, position + 8
    if vr in LONG_LENGTH:
        return tag, vr, _LENGTH(data, position + 8)[0], position + 12
    raise NotPlainError("unknown value representation")


def _items(data: bytes, position: int, end: int | None, implicit: bool, depth: int) -> tuple[list[PlainDataset], int]:
    """Items from `position` to `end`, or to the delimiter of their sequence; and the offset behind them."""
    if depth > MAX_DEPTH:
        raise NotPlainError("sequences nested too deep")
    found: list[PlainDataset] = []
    while end is None or position < end:
        group, number, length = _ITEM_HEAD(data, position)
        tag = group << 16 | number
        position += 8
        if tag == SEQUENCE_END and end is None:
            return found, position
        item_end = None if length == UNDEFINED else position + length
        if tag != ITEM or (item_end is not None and item_end > (len(data) if end is None else end)):
            raise NotPlainError("no item where one should be")
        elements, position = _elements(data, position, item_end, implicit, depth)
        found.append(PlainDataset(elements))
    if position != end:
        raise NotPlainError("items do not end where their sequence does")
    return found, position

"""Parsing of data elements (PS3.5 section 7): tags, lengths and raw values, nothing decoded.

The scan meets every file of an export once and needs some fifty of its values. pydicom builds an object for each
element and interprets it on access (about 600 headers a second, measured); this parser slices bytes, several times
faster, and has one failure, `MalformedError`, where pydicom can raise a dozen. What stages compute with is read by
pydicom in `open.py`; tests compare the two on every file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from rtpipeline.dicom.dictionary import BINARY_BYTES, SEQUENCE, STORAGE, TEXT_VRS, private_vr, storage
from rtpipeline.dicom.window import Window

Value: TypeAlias = "bytes | list[Elements]"
Elements: TypeAlias = "dict[int, Value]"
"""Public elements by tag (group << 16 | element): raw bytes without the padding removed, or the items of a sequence."""

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXELS_FROM = 0x7FE00008  # Float, Double Float and (7FE0,0010) Pixel Data
PIXEL_DATA = 0x7FE00010
MAX_DEPTH = 32
"""Nesting of sequences; RT plans reach 6, structured reports about 12."""

_LONG_LENGTH = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT_LENGTH = frozenset(
    {
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO"),
        *(b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    }
)


class MalformedError(ValueError):
    """The bytes are no data elements, or end inside one; the message says where, and holds no value."""


class CutError(MalformedError):
    """The object ends inside an element."""


@dataclass(slots=True)
class PixelElement:
    """Where the pixel data is; it is not read."""

    tag: int
    offset: int
    """of the first byte of the value, in the window"""
    length: int | None
    """bytes; None for encapsulated pixel data"""


@dataclass(slots=True)
class DataSet:
    """The elements of one object up to its pixel data."""

    elements: Elements
    pixels: PixelElement | None = None
    end: int = 0
    """offset behind the last element that was read"""
    private_text: bool = False
    """a private element other than a creator holds text"""
    notes: list[str] = field(default_factory=list)
    """what could not be taken apart and stands as bytes, or has a length that its type does not allow"""
    cut: str = ""
    """why reading ended before the end; '' normally"""


def tag_text(tag: int) -> str:
    """`(gggg,eeee)`."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def looks_explicit(data: bytes, offset: int) -> bool:
    """Whether a value representation stands behind the tag at `offset`; a length there would exceed 16 kB."""
    code = data[offset + 4 : offset + 6]
    return code in _LONG_LENGTH or code in _SHORT_LENGTH


def parse(
    window: Window,
    start: int,
    *,
    implicit: bool,
    big_endian: bool = False,
    stop_at: int = PIXELS_FROM,
) -> DataSet:
    """The top-level data set from offset `start` on; it ends before the first tag of `stop_at` or more.

    An object that ends inside an element gives what came before, and `cut`. A sequence of known length whose items
    cannot be taken apart stays bytes, with a note, since the element behind it can still be found.

    Raises
    ------
    HeaderTooLargeError: see `Window.fill`.
    """
    parser = _Parser(window, big_endian)
    found = DataSet({})
    parser.found = found
    try:
        parser.top_level(start, implicit, stop_at)
    except MalformedError as error:
        found.cut = str(error)
    return found


class _Parser:
    """One pass over one data set. Offsets count from the start of the window."""

    found: DataSet

    def __init__(self, window: Window, big_endian: bool) -> None:
        self.window = window
        order = ">" if big_endian else "<"
        self.unpack_implicit = struct.Struct(order + "HHL").unpack_from
        self.unpack_explicit = struct.Struct(order + "HH2sH").unpack_from
        self.unpack_length = struct.Struct(order + "L").unpack_from
        self.creators: dict[int, str] = {}

    def top_level(self, position: int, implicit: bool, stop_at: int) -> None:
        """Fills `found` up to the first tag of `stop_at` or more, or the end of the object."""
        found, into, known = self.found, self.found.elements, STORAGE.get
        unpack = self.unpack_implicit if implicit else self.unpack_explicit
        data = self.window.data
        size = len(data)
        while True:
            # what most elements are, short and public, without the calls that the others need
            while position + 12 <= size:
                head = unpack(data, position)
                tag, after = head[0] << 16 | head[1], position + 8 + head[-1]
                code = known(tag, SEQUENCE)
                if code == SEQUENCE or tag >= stop_at or after > size or not (implicit or head[2] in _SHORT_LENGTH):
                    break
                if code > 1 and head[-1] % code:
                    break
                into[tag] = data[position + 8 : after]
                position = after
            found.end = position
            if position + 12 > size:
                data = self.window.fill(position + 12)
                size = len(data)
                if position + 8 > size and not any(data[position:]):
                    return  # the end, or zeros that pad a file
            tag, vr, length, value = self.head(data, position, implicit)
            if tag >= stop_at:
                if PIXELS_FROM <= tag <= PIXEL_DATA and length:  # an empty value is as good as none
                    found.pixels = PixelElement(tag, value, None if length == UNDEFINED else length)
                return
            if tag >> 16 == 0xFFFE:
                raise MalformedError(f"delimiter outside a sequence at byte {position}")
            position = self.element(into, tag, vr, length, value, implicit, 0, None)
            data = self.window.data
            size = len(data)

    def head(self, data: bytes, position: int, implicit: bool) -> tuple[int, bytes | None, int, int]:
        """Tag, value representation (None where not written), length and offset of the value."""
        if position + 8 > len(data):
            raise CutError(f"ends inside an element at byte {position}")
        if not implicit:
            group, element, vr, length = self.unpack_explicit(data, position)
            if vr in _SHORT_LENGTH:
                return group << 16 | element, vr, length, position + 8
            if vr in _LONG_LENGTH:
                if position + 12 > len(data):
                    raise CutError(f"ends inside an element at byte {position}")
                return group << 16 | element, vr, self.unpack_length(data, position + 8)[0], position + 12
            if group != 0xFFFE and vr.isalpha() and vr.isupper():
                # a representation of later editions, or a private one: short form, as pydicom assumes too
                return group << 16 | element, vr, length, position + 8
            # some writers switch to implicit inside sequences (pydicom#1067); delimiters have no representation either
        group, element, length = self.unpack_implicit(data, position)
        return group << 16 | element, None, length, position + 8

    def element(
        self,
        into: Elements,
        tag: int,
        vr: bytes | None,
        length: int,
        value: int,
        implicit: bool,
        depth: int,
        end: int | None,
    ) -> int:
        """Stores one public element, looks at a private one, and gives the offset behind it."""
        private = bool(tag >> 16 & 1)
        sequence = vr == b"SQ" or (
            (vr is None or vr == b"UN") and (storage(tag) == SEQUENCE or (length == UNDEFINED and tag != PIXEL_DATA))
        )
        # PS3.5 6.2.2: sequences written as UN are implicit little endian inside; not every writer knows
        items_implicit = implicit or (
            sequence and vr != b"SQ" and not looks_explicit(self.window.fill(value + 16), value + 8)
        )
        if length == UNDEFINED:
            if sequence:
                items, after = self.items(value, None, items_implicit, depth + 1)
                if not private:
                    into[tag] = items
                return after
            after = self.fragments_end(value)
            if not private:
                into[tag] = self.window.data[value:after]
            return after
        after = value + length
        if end is not None and after > end:
            raise MalformedError(f"{tag_text(tag)} at byte {value} reaches beyond its item")
        data = self.window.fill(after)
        if after > len(data):
            raise CutError(f"ends inside {tag_text(tag)}, which needs {after} bytes of {len(data)}")
        if private:
            self.private(tag, vr, data[value:after])
        elif sequence and length:
            into[tag] = self.known_items(tag, value, after, items_implicit, depth)
        elif sequence:
            into[tag] = []
        else:
            into[tag] = data[value:after]
            self.check_length(tag, storage(tag), length)
        return after

    def known_items(self, tag: int, value: int, after: int, implicit: bool, depth: int) -> Value:
        """Items of a sequence of known length; its bytes, with a note, where they cannot be taken apart."""
        try:
            return self.items(value, after, implicit, depth + 1)[0]
        except MalformedError as error:
            if depth:
                raise
            self.note(f"{tag_text(tag)} cannot be taken apart: {error}")
            return self.window.data[value:after]

    def items(self, position: int, end: int | None, implicit: bool, depth: int) -> tuple[list[Elements], int]:
        """Items from `position` to `end`, or to the delimiter; and the offset behind them."""
        if depth > MAX_DEPTH:
            raise MalformedError(f"sequences nested deeper than {MAX_DEPTH}")
        found: list[Elements] = []
        while end is None or position < end:
            data = self.window.fill(position + 8)
            if position + 8 > len(data):
                raise CutError(f"ends inside a sequence at byte {position}")
            group, element, length = self.unpack_implicit(data, position)
            tag = group << 16 | element
            position += 8
            if tag == SEQUENCE_END:
                break
            if tag != ITEM:
                raise MalformedError(f"{tag_text(tag)} at byte {position - 8} where an item is expected")
            item_end = None if length == UNDEFINED else position + length
            if end is not None and item_end is not None and item_end > end:
                raise MalformedError(f"item at byte {position} reaches beyond its sequence")
            item: Elements = {}
            position = self.item(item, position, item_end, implicit, depth)
            found.append(item)
        if end is not None and position > end:
            raise MalformedError(f"items reach beyond the end of their sequence at byte {end}")
        return found, position

    def item(self, into: Elements, position: int, end: int | None, implicit: bool, depth: int) -> int:
        """Elements of one item, to `end` or to its delimiter; gives the offset behind it."""
        if end is not None:
            data = self.window.fill(end)
            if end > len(data):
                raise CutError(f"ends inside an item, which needs {end} bytes of {len(data)}")
        while end is None or position < end:
            data = self.window.data
            if position + 12 > len(data):
                data = self.window.fill(position + 12)
            tag, vr, length, value = self.head(data, position, implicit)
            if tag == ITEM_END:
                return value
            position = self.element(into, tag, vr, length, value, implicit, depth, end)
        return position

    def fragments_end(self, position: int) -> int:
        """Offset behind the delimiter of encapsulated bytes (PS3.5 A.4) that start at `position`."""
        while True:
            data = self.window.fill(position + 8)
            if position + 8 > len(data):
                raise CutError(f"ends inside encapsulated data at byte {position}")
            group, element, length = self.unpack_implicit(data, position)
            position += 8
            if group << 16 | element == SEQUENCE_END:
                return position
            if group << 16 | element != ITEM or length == UNDEFINED:
                raise MalformedError(f"no fragment at byte {position - 8} of encapsulated data")
            position += length

    def private(self, tag: int, vr: bytes | None, value: bytes) -> None:
        """Remembers creators; notes text, and lengths that do not fit the type of a known private element."""
        if tag & 0xFF00 == 0:
            if tag & 0xFFFF >= 0x10:
                self.creators[tag] = value.decode("latin-1").strip("\0 ")
            return
        creator = self.creators.get((tag & 0xFFFF0000) | (tag >> 8 & 0xFF), "")
        known = private_vr(tag, creator) if creator else "UN"
        size = BINARY_BYTES.get(known)
        if size is not None:
            self.check_length(tag, size, len(value))
        elif not self.found.private_text:
            if known == "UN" and vr is not None:
                known = vr.decode("latin-1")
            text = value.strip(b"\0 ")
            if known in TEXT_VRS or (known == "UN" and text.isascii() and text.decode("ascii").isprintable()):
                self.found.private_text = any(chr(byte).isalpha() for byte in text)

    def check_length(self, tag: int, size: int, length: int) -> None:
        """A note where `length` is no multiple of the size of a binary value."""
        if size > 1 and length % size:
            self.note(f"{tag_text(tag)} has {length} bytes, no multiple of {size}")

    def note(self, text: str) -> None:
        """Adds a note; a few are enough to tell what is wrong with an object."""
        if len(self.found.notes) < 5:
            self.found.notes.append(text)

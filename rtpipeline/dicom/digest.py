"""Digests of decoded content, the same for explicit and implicit VR, either byte order, and any character set.

`header`: every public element but those about the file rather than the object. `essential`: only what changes geometry,
pixels, contours, dose or plan. Two copies of one object with equal `essential` and pixels may stand in for each other.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from rtpipeline.dicom.charset import Charset
from rtpipeline.dicom.dictionary import CHARSET_TEXT, NUMBER_TEXT_VRS, STORAGE, TEXT, public_vr, storage
from rtpipeline.dicom.elements import PIXELS_FROM, Elements, Value

SPECIFIC_CHARACTER_SET = 0x00080005
_HEAD = struct.Struct(">LL").pack
_SKIPPED = -9
_CODES: dict[int, int] = {}

_NOT_CONTENT = frozenset(
    {
        0x00080001,  # LengthToEnd, retired
        SPECIFIC_CHARACTER_SET,
        0x00080012,  # InstanceCreationDate
        0x00080013,  # InstanceCreationTime
        0x00080014,  # InstanceCreatorUID
        0xFFFCFFFC,  # DataSetTrailingPadding
    }
)

_ESSENTIAL_GROUPS = frozenset({0x0028, 0x3002, 0x3004, 0x3006, 0x3008, 0x300A, 0x300C, 0x0054, 0x0062, 0x0070, 0x5200})
_ESSENTIAL_TAGS = frozenset(
    {
        0x00080016,  # SOPClassUID
        0x00180050,  # SliceThickness
        0x00200032,  # ImagePositionPatient
        0x00200037,  # ImageOrientationPatient
        0x00200052,  # FrameOfReferenceUID
    }
)
_DESCRIPTIVE = frozenset(
    {
        # how it is shown
        *(0x00280106, 0x00280107, 0x00281050, 0x00281051, 0x00281055, 0x00281056, 0x00280301, 0x00282110, 0x00282112),
        *(0x00282114, 0x3006002A),
        # labels, descriptions, dates
        *(0x30020002, 0x30020003, 0x30020004, 0x30040006, 0x30060002, 0x30060004, 0x30060006, 0x30060008, 0x30060009),
        *(0x30060028, 0x30060088, 0x30060085, 0x300A0002, 0x300A0003, 0x300A0004, 0x300A0006, 0x300A0007, 0x300A000E),
        *(0x300A0016, 0x300A00C3, 0x00700080, 0x00700081, 0x00700082, 0x00700083, 0x00700084),
    }
)
"""Elements of the essential groups that change no number."""


def header_sha256(elements: Elements, *, big_endian: bool = False, charset: Charset | None = None) -> str:
    """64 hex digits over every public element, sequences included, as tag and decoded value.

    Left out: group 0002, group lengths, InstanceCreation*, SpecificCharacterSet, private elements, pixel data. The
    value representation does not count; text counts as UTF-8 without padding, binary values as little endian.
    `charset` gathers what did not decode.
    """
    parts: list[bytes] = []
    _append(parts, elements, charset or charset_of(elements), big_endian)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def content_sha256(header: str, pixels: str) -> str:
    """64 hex digits over header and pixel digest; '' as `pixels` of an object without any."""
    return hashlib.sha256(f"{header}:{pixels}".encode()).hexdigest()


def essential_sha256(elements: Elements, *, big_endian: bool = False) -> str:
    """64 hex digits over the elements that geometry, contours, dose and plan hang on; numbers compared as numbers."""
    digest, charset = hashlib.sha256(), charset_of(elements)
    for tag in sorted(elements):
        if tag in _ESSENTIAL_TAGS or tag >> 16 in _ESSENTIAL_GROUPS:
            for leaf in _leaves(tag, elements[tag], charset, big_endian):
                digest.update(leaf)
    return digest.hexdigest()


def element_digests(elements: Elements, *, big_endian: bool = False) -> dict[int, bytes]:
    """A short digest of each top-level element that counts as content: tells which ones differ."""
    found: dict[int, bytes] = {}
    charset = charset_of(elements)
    for tag, value in elements.items():
        if _is_content(tag):
            parts: list[bytes] = []
            _append(parts, {tag: value}, charset, big_endian)
            found[tag] = hashlib.sha256(b"".join(parts)).digest()[:8]
    return found


def charset_of(elements: Elements) -> Charset:
    """The character set that a data set declares."""
    declared = elements.get(SPECIFIC_CHARACTER_SET, b"")
    return Charset(declared if isinstance(declared, bytes) else b"")


def _is_content(tag: int) -> bool:
    return tag & 0xFFFF != 0 and tag < PIXELS_FROM and tag not in _NOT_CONTENT


def _append(parts: list[bytes], elements: Elements, charset: Charset, big_endian: bool) -> None:
    """Appends tag, length and decoded value of each element, in tag order; of a sequence, its items."""
    known = _CODES.get
    for tag in sorted(elements):
        code = known(tag)
        if code is None:
            code = _code(tag)
        if code == _SKIPPED:
            continue
        value = elements[tag]
        if isinstance(value, bytes):
            if code == TEXT or (code == CHARSET_TEXT and value.isascii() and b"\x1b" not in value):
                value = value.strip(b"\0 ")
            elif big_endian or code < 0:
                value = canonical(tag, value, charset, big_endian)
            parts += (_HEAD(tag, len(value)), value)
        else:
            parts.append(_HEAD(tag, len(value)))
            for item in value:
                own = item.get(SPECIFIC_CHARACTER_SET)
                parts.append(b"{")
                _append(parts, item, charset.nested(own) if isinstance(own, bytes) else charset, big_endian)
                parts.append(b"}")


def _code(tag: int) -> int:
    """`storage` of an element that counts as content, else `_SKIPPED`; cached for the tags of the dictionary."""
    code = storage(tag) if _is_content(tag) else _SKIPPED
    if tag in STORAGE:
        _CODES[tag] = code
    return code


def canonical(tag: int, value: bytes, charset: Charset, big_endian: bool) -> bytes:
    """A value as bytes that do not depend on the encoding."""
    code = storage(tag)
    if code in (TEXT, CHARSET_TEXT):
        value = value.strip(b"\0 ")
        if code == CHARSET_TEXT and (not value.isascii() or b"\x1b" in value):
            return charset.decode(value, is_name=public_vr(tag) == "PN").encode("utf-8", "surrogatepass")
        return value
    if not big_endian:
        return value
    return swapped(value, 2 if public_vr(tag) == "AT" else max(code, 1))  # AT: group and element, 2 bytes each


def swapped(value: bytes, size: int) -> bytes:
    """Byte order of every `size` bytes reversed; a rest that is no whole value stays."""
    whole = len(value) - len(value) % size
    return b"".join(value[i : i + size][::-1] for i in range(0, whole, size)) + value[whole:]


def _leaves(tag: int, value: Value, charset: Charset, big_endian: bool) -> Iterator[bytes]:
    """Tag, structure and value of everything below an essential element, without what is descriptive."""
    if not _is_content(tag) or tag in _DESCRIPTIVE or tag >> 16 in (0x300E, 0x0040):
        return
    yield b"%08x" % tag
    if isinstance(value, bytes):
        decoded = canonical(tag, value, charset, big_endian)
        yield _as_numbers(decoded) if public_vr(tag) in NUMBER_TEXT_VRS else decoded
        yield b";"
        return
    for item in value:
        yield b"{"
        for inner in sorted(item):
            yield from _leaves(inner, item[inner], charset, big_endian)
        yield b"}"


def _as_numbers(value: bytes) -> bytes:
    """Decimal strings as numbers, so that `1`, `1.0` and `1e0` are one value."""
    try:
        return b"\\".join(repr(float(text)).encode() for text in value.split(b"\\") if text.strip())
    except ValueError:
        return value

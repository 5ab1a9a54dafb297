"""From bytes to data elements: preamble, file meta group, transfer syntax stated or inferred, deflation."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from rtpipeline.dicom.elements import DataSet, Elements, looks_explicit, parse
from rtpipeline.dicom.file_kinds import kind_of_file
from rtpipeline.dicom.window import CHUNK_BYTES, HeaderTooLargeError, Window

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
GE_IMPLICIT = "1.2.840.113619.5.2"  # implicit little endian with big endian pixels
DICOMDIR = "1.2.840.10008.1.3.10"

_MODALITIES = frozenset({"CT", "MR", "PT", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTIMAGE", "RTRECORD", "REG", "SEG"})
"""Of objects that are recognised without preamble and without UIDs."""
_GROUPS_AT_START = frozenset({0x0000, 0x0002, 0x0008})


class NoObjectError(Exception):
    """The file is no DICOM object; the argument says what kind of file it is."""


class DamagedError(Exception):
    """A DICOM object too damaged, or too large, to tell what it is.

    Parameters
    ----------
    code: of the finding.
    measured: what was found.
    """

    def __init__(self, code: str, measured: str) -> None:
        super().__init__(measured)
        self.code = code
        self.measured = measured


class _DeflatedError(ValueError):
    """A deflated data set that does not inflate."""


@dataclass(slots=True)
class Syntax:
    """How a data set is encoded."""

    uid: str
    stated: bool
    implicit: bool
    big_endian: bool
    note: str = ""


@dataclass(slots=True)
class ParsedObject:
    """The elements of one object up to its pixel data."""

    file: Window
    """bytes of the file or member"""
    window: Window
    """bytes that offsets of the data set count in: `file`, or the inflated data set"""
    has_preamble: bool
    meta: Elements
    """file meta group (0002)"""
    syntax: Syntax
    data_set: DataSet


def parse_object(window: Window) -> ParsedObject:
    """Preamble, file meta group and elements of one object, from its first byte.

    Raises
    ------
    NoObjectError: it is none.
    DamagedError: it is one, but nothing in it can be read.
    ArchiveReadError, OSError: from the source behind the window.
    """
    data = window.fill(132)
    has_preamble = data[128:132] == b"DICM"
    if not has_preamble and not _may_start_data_set(data):
        raise NoObjectError(kind_of_file(data))
    try:
        parsed = _parsed(window, has_preamble)
    except HeaderTooLargeError as error:
        raise DamagedError("FILE_UNSUPPORTED", str(error)) from error
    except _DeflatedError as error:
        raise DamagedError("FILE_TRUNCATED", str(error)) from error
    if _is_object(parsed):
        return parsed
    if has_preamble:
        raise DamagedError("FILE_TRUNCATED", parsed.data_set.cut or "no elements behind the preamble")
    raise NoObjectError(kind_of_file(data))


def _may_start_data_set(data: bytes) -> bool:
    """Whether the first tag belongs to the groups that data sets without preamble begin with, in either byte order."""
    if len(data) < 16 or (data[0] and data[1]):
        return False
    return int.from_bytes(data[:2], "little") in _GROUPS_AT_START or int.from_bytes(data[:2], "big") == 0x0008


def _parsed(file: Window, has_preamble: bool) -> ParsedObject:
    meta = _group(file, 132 if has_preamble else 0, 0x0002)
    start = _group(file, meta.end, 0x0000).end
    stated = plain(meta.elements, 0x00020010)
    if plain(meta.elements, 0x00020002) == DICOMDIR:
        raise NoObjectError("DICOMDIR")
    window = file
    if stated == DEFLATED_LE:
        window, start = _inflated(file, start), 0
    syntax = _syntax(window, start, stated)
    data_set = parse(window, start, implicit=syntax.implicit, big_endian=syntax.big_endian)
    return ParsedObject(file, window, has_preamble, meta.elements, syntax, data_set)


def _group(window: Window, start: int, group: int) -> DataSet:
    """Elements of one group at `start`: file meta (0002) is explicit little endian, commands (0000) are implicit."""
    data = window.fill(start + 8)
    if int.from_bytes(data[start : start + 2], "little") != group or len(data) < start + 8:
        return DataSet({}, end=start)
    if group == 0 and not any(data[start : start + 8]):
        return DataSet({}, end=start)  # zeros
    return parse(window, start, implicit=not looks_explicit(data, start), stop_at=(group + 1) << 16)


def _syntax(window: Window, start: int, stated: str) -> Syntax:
    """The encoding as stated, corrected by what the first element shows; inferred where it is not stated.

    Monaco and XiO omit the file meta group; the length of the pixel data, checked later, proves the guess.
    """
    data = window.fill(start + 12)
    explicit = looks_explicit(data, start)
    if not stated:
        # group 0008 read in the wrong byte order is 0800
        if explicit and int.from_bytes(data[start : start + 2], "little") >= 0x0100:
            return Syntax(EXPLICIT_BE, False, False, True)
        return Syntax(EXPLICIT_LE if explicit else IMPLICIT_LE, False, not explicit, False)
    implicit = stated in (IMPLICIT_LE, GE_IMPLICIT)
    note = ""
    if implicit == explicit and len(data) >= start + 8:
        note = f"transfer syntax states {'implicit' if implicit else 'explicit'} VR, the elements are not"
        implicit = not implicit
    return Syntax(stated, True, implicit, stated == EXPLICIT_BE and not implicit, note)


def _inflated(window: Window, start: int) -> Window:
    """The data set behind the file meta group, inflated as it is read (PS3.5 A.5)."""
    inflate, parts = zlib.decompressobj(-zlib.MAX_WBITS), window.stream(start)

    def read(count: int) -> bytes:
        try:
            while not inflate.eof:
                source = inflate.unconsumed_tail or next(parts, b"")
                data = inflate.decompress(source, min(count, CHUNK_BYTES))
                if data or not source:
                    return data
        except zlib.error as error:
            raise _DeflatedError("deflated data set does not inflate") from error
        return b""

    return Window(read, None)


def _is_object(parsed: ParsedObject) -> bool:
    """Whether these elements are a DICOM object. Without preamble, only plausible identifiers make it one."""
    elements = parsed.data_set.elements
    sop_class, sop_instance = plain(elements, 0x00080016), plain(elements, 0x00080018)
    if parsed.has_preamble and elements and (parsed.syntax.stated or (sop_class and sop_instance)):
        return True
    if sop_class.startswith("1.2.840.") and sop_instance:
        return True
    # a dose without any UID exists in the wild: it is an object, and FILE_MISSING_UID says what it lacks
    return plain(elements, 0x00080060) in _MODALITIES and len(elements) >= 5


def plain(elements: Elements, tag: int) -> str:
    """An ASCII value without padding; '' where absent."""
    value = elements.get(tag, b"")
    return value.decode("latin-1").strip("\0 ") if isinstance(value, bytes) else ""

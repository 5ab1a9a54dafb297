"""One object, read once: its row of the index, and what is wrong with it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rtpipeline.dicom.elements import DataSet, looks_explicit, parse
from rtpipeline.dicom.file_kinds import kind_of_file
from rtpipeline.dicom.row import Problem, RowBuilder, Syntax, plain
from rtpipeline.dicom.window import CHUNK_BYTES, HeaderTooLargeError, Window

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
GE_IMPLICIT = "1.2.840.113619.5.2"  # implicit little endian with big endian pixels
DICOMDIR = "1.2.840.10008.1.3.10"

_MODALITIES = frozenset(
    {
        "CT",
        "MR",
        "PT",
        "NM",
        "US",
        "CR",
        "DX",
        "RTSTRUCT",
        "RTPLAN",
        "RTDOSE",
        "RTIMAGE",
        "RTRECORD",
        "REG",
        "SEG",
        "OT",
    }
)
"""Of objects that are recognised without preamble and without UIDs."""
_GROUPS_AT_START = frozenset({0x0000, 0x0002, 0x0008})


@dataclass(slots=True)
class Header:
    """What reading one object gives."""

    row: dict[str, Any] | None
    """columns of SCAN_FIELDS but where it is; None where it is no object, or too damaged to name"""
    not_dicom: str = ""
    """what kind of file it is instead"""
    problems: list[Problem] = field(default_factory=list)


class _DeflatedError(ValueError):
    """A deflated data set that does not inflate."""


def read_header(window: Window, *, with_content: bool = False) -> Header:
    """The row of one object; of images only the header is read, of RT objects everything.

    Parameters
    ----------
    with_content: digest of the whole content for images too.

    Raises
    ------
    ArchiveReadError, OSError: from the source behind the window.
    """
    data = window.fill(132)
    has_preamble = data[128:132] == b"DICM"
    start = 132 if has_preamble else 0
    if not has_preamble and not _may_start_data_set(data):
        return Header(None, not_dicom=kind_of_file(data))
    try:
        header = _read(window, start, has_preamble, with_content)
    except HeaderTooLargeError as error:
        return Header(None, problems=[Problem("FILE_UNSUPPORTED", str(error))])
    except _DeflatedError as error:
        return Header(None, problems=[Problem("FILE_TRUNCATED", str(error))])
    if header is None:
        return Header(None, not_dicom=kind_of_file(data))
    return header


def _may_start_data_set(data: bytes) -> bool:
    """Whether the first tag belongs to the groups that data sets without preamble begin with, in either byte order."""
    if len(data) < 16 or (data[0] and data[1]):
        return False
    return int.from_bytes(data[:2], "little") in _GROUPS_AT_START or int.from_bytes(data[:2], "big") == 0x0008


def _read(window: Window, start: int, has_preamble: bool, with_content: bool) -> Header | None:
    meta = _group(window, start, 0x0002)
    after_meta = _group(window, meta.end, 0x0000).end
    stated = plain(meta.elements, 0x00020010)
    if plain(meta.elements, 0x00020002) == DICOMDIR:
        return Header(None, not_dicom="DICOMDIR")
    if stated == DEFLATED_LE:
        window, after_meta = _inflated(window, after_meta), 0
    syntax = _syntax(window, after_meta, stated)
    found = parse(window, after_meta, implicit=syntax.implicit, big_endian=syntax.big_endian)
    if not _is_object(found, has_preamble, bool(stated)):
        if has_preamble:
            return Header(None, problems=[Problem("FILE_TRUNCATED", found.cut or "no elements after the preamble")])
        return None
    builder = RowBuilder(window, meta.elements, found, syntax, has_preamble)
    return Header(builder.build(with_content), problems=builder.problems)


def _group(window: Window, start: int, group: int) -> DataSet:
    """Elements of one group at `start`: file meta (0002) is explicit little endian, commands (0000) are implicit."""
    data = window.fill(start + 8)
    if int.from_bytes(data[start : start + 2], "little") != group or len(data) < start + 8:
        return DataSet({}, end=start)
    if group == 0 and not any(data[start : start + 8]):
        return DataSet({}, end=start)  # zeros
    outside: Callable[[int], bool] = lambda tag: tag >> 16 != group  # noqa: E731
    return parse(window, start, implicit=not looks_explicit(data, start), stop=outside)


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


def _is_object(found: DataSet, has_preamble: bool, has_syntax: bool) -> bool:
    """Whether these elements are a DICOM object. Without preamble, only plausible identifiers make it one."""
    elements = found.elements
    if has_preamble and has_syntax and elements:
        return True
    sop_class = plain(elements, 0x00080016)
    if sop_class.startswith("1.2.840.") and plain(elements, 0x00080018):
        return True
    # a dose without any UID exists in the wild: it is an object, and FILE_MISSING_UID says what it lacks
    return plain(elements, 0x00080060) in _MODALITIES and len(elements) >= 5

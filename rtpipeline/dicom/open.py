"""Reading indexed objects again: from files and archives, as pydicom data sets or as bytes.

Members of an archive are read in one stream through it, since a compressed tar cannot be entered in the middle: ask for
many rows at once.
"""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import pydicom
from pydicom import config as pydicom_config
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.dicom import decoders  # noqa: F401  (what reads pixels later must not meet the decoder it removes)
from rtpipeline.dicom.archives import ArchiveReadError, Refusals, Selection
from rtpipeline.dicom.bucket_sources import BucketFile
from rtpipeline.dicom.objects import SourceFile
from rtpipeline.dicom.sources import Source, locate
from rtpipeline.dicom.window import Window
from rtpipeline.errors import DataError
from rtpipeline.store.transfers import in_order

Row: TypeAlias = Mapping[str, Any]
"""A row of the index; `source`, `path`, `member` say where the object is."""

AHEAD_BYTES = 8 * 1024**2
"""Objects up to this size are fetched whole before they are asked for."""
AHEAD_THREADS = 8

PYDICOM_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,  # and UnicodeError
    NotImplementedError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    struct.error,
    zlib.error,
)
"""What pydicom raises on damaged or hostile bytes, found by fuzzing; one boundary turns them into a finding."""

# Warnings and log lines of pydicom quote values, which may identify a patient, also when an element is first looked at
# long after reading; what they say about the file stands in the index as notes.
pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")


def read_dataset(source_paths: Sequence[Source], row: Row, *, stop_before_pixels: bool = False) -> pydicom.Dataset:
    """One object of the index, with a transfer syntax even where the file has none.

    Raises
    ------
    DataError: it is gone, or cannot be read; carries the finding.
    """
    for _, data_set in open_many([row], source_paths, stop_before_pixels=stop_before_pixels):
        return data_set
    raise _gone(row)


def open_many(
    rows: Iterable[Row], source_paths: Sequence[Source], *, stop_before_pixels: bool = False
) -> Iterator[tuple[Row, pydicom.Dataset]]:
    """(row, data set) of every row, each file or archive opened once; by file, then as stored in it.

    Raises
    ------
    DataError: one of them is gone, or cannot be read; carries the finding.
    """
    for row, window in open_windows(rows, source_paths):
        try:
            data = b"".join(window.stream(0))
        except ArchiveReadError as error:
            raise _unreadable(row, str(error)) from error
        yield row, dataset_of(data, row, stop_before_pixels=stop_before_pixels)


def open_windows(rows: Iterable[Row], source_paths: Sequence[Source]) -> Iterator[tuple[Row, Window]]:
    """(row, bytes) of every row, each file or archive opened once; a window is valid until the next one is asked for.

    Raises
    ------
    DataError: one of them is gone, or its file cannot be read; carries the finding.
    """
    by_file: dict[tuple[int, str], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        by_file[row["source"], row["path"]][row["member"]] = row
    for wanted, opened in _opened(by_file, source_paths):
        missing = dict(wanted)
        try:
            with opened() as file:
                for member, window in file.objects(refusals=Refusals(), select=Selection(wanted)):
                    if member in missing:
                        yield missing.pop(member), window
                    if not missing:
                        break
        except (ArchiveReadError, OSError) as error:
            raise _unreadable(next(iter(wanted.values())), type(error).__name__) from error
        if missing:
            raise _gone(next(iter(missing.values())))


def _opened(
    by_file: Mapping[tuple[int, str], Mapping[str, Row]], source_paths: Sequence[Source]
) -> Iterator[tuple[Mapping[str, Row], Callable[[], SourceFile]]]:
    """The rows of each file, and what opens it. Files in a bucket are asked for some ahead, small ones whole."""

    def open_file(place: tuple[int, str], wanted: Mapping[str, Row]) -> SourceFile:
        source, path = place
        file = locate(source_paths[source], path)
        if isinstance(file, BucketFile) and set(wanted) == {""}:
            size = wanted[""].get("size", 0)
            file = replace(file, first=size) if file.first < size <= AHEAD_BYTES else file
        return SourceFile(file)

    def open_ahead(item: tuple[tuple[int, str], Mapping[str, Row]]) -> Callable[[], SourceFile]:
        try:
            file = open_file(*item)
        except OSError as error:
            return partial(_raise, error)
        return lambda: file

    if len(by_file) == 1 or all(isinstance(source, Path) for source in source_paths):
        for place, wanted in by_file.items():
            yield wanted, partial(open_file, place, wanted)
        return
    yield from zip(by_file.values(), in_order(open_ahead, by_file.items(), threads=AHEAD_THREADS), strict=True)


def _raise(error: OSError) -> SourceFile:
    raise error


def dataset_of(data: bytes, row: Row, *, stop_before_pixels: bool = False) -> pydicom.Dataset:
    """The data set of one object's bytes; `row` gives the transfer syntax where the file does not.

    Raises
    ------
    DataError: pydicom cannot read it; carries the finding.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = pydicom.dcmread(BytesIO(data), force=True, stop_before_pixels=stop_before_pixels)
    except PYDICOM_ERRORS as error:
        raise _unreadable(row, type(error).__name__) from error
    if "TransferSyntaxUID" not in data_set.file_meta and row["transfer_syntax_uid"]:
        data_set.file_meta.TransferSyntaxUID = UID(row["transfer_syntax_uid"])
    return data_set


def _name(row: Row) -> str:
    """Pseudonymous name; the hash is in the index once organize has run."""
    label = {"image": row.get("modality") or "image"}.get(row["kind"], str(row["kind"]).upper())
    return f"{label} {row['object_hash']}" if row.get("object_hash") else f"{label} object"


def _unreadable(row: Row, error: str) -> DataError:
    found = finding("FILE_TRUNCATED", _name(row), f"cannot be read: {error}", expected="an object as it was indexed")
    return _data_error(found)


def _gone(row: Row) -> DataError:
    found = finding(
        "FILE_TRUNCATED",
        _name(row),
        "no longer in the export",
        expected="an object as it was indexed",
        remedy="put the file back, or run organize again",
    )
    return _data_error(found)


def _data_error(found: Finding) -> DataError:
    return DataError(f"{found.object}: {found.measured}; expected {found.expected}. {found.remedy}", [found])

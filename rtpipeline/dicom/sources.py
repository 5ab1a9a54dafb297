"""The files below the inputs, in one fixed order, without opening any of them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rtpipeline.errors import TransientError

if TYPE_CHECKING:
    from rtpipeline.dicom.bucket_sources import BucketFile, BucketSource

Source: TypeAlias = "Path | BucketSource"
"""Where an export lies: a folder, archive or single file, or the like in a bucket (`bucket_sources.sources_of`)."""

SYSTEM_FOLDERS = frozenset({".snapshot", ".zfs", "@eaDir", "$RECYCLE.BIN", "System Volume Information", ".Trash"})
"""Snapshots and bins of storage systems: they repeat the data beside them, so they are counted and not entered."""

TRANSIENT_ERRNOS = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
)
"""Failures of the storage or of this process, that say nothing about the file."""

_ESCAPED_BYTE = re.compile(r"\\udc([89a-f][0-9a-f])")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file below a source."""

    source: int
    """number of the source, from 0"""
    path: str
    """below the source, with /; of a source that is a file: its name"""
    size: int
    """bytes"""
    mtime_ns: int
    key: str = ""
    """of the object, where the source is in a bucket"""


@dataclass
class Walk:
    """What a walk met besides files."""

    unreadable: list[tuple[int, str, str]] = field(default_factory=list)
    """(source, path, name of the error) of folders and files that could not be listed"""
    system_folders: dict[int, int] = field(default_factory=dict)
    """number of system folders that were not entered, by source"""


def stored_name(name: str) -> str:
    """A file or member name as valid Unicode: bytes that are no UTF-8 (surrogates) written as `\\udcXX`."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace").decode("utf-8")
    return name


def locate(source: Source, path: str, key: str = "") -> Path | BucketFile:
    """The file that `path` of the index names below `source`; undoes `stored_name`.

    Parameters
    ----------
    key: of the object, where the source is in a bucket and its listing is at hand.

    Raises
    ------
    OSError: a source in a bucket has no such file. (Of a local one opening it says so.)
    """
    if not isinstance(source, Path):
        return source.find(path, key)
    if path == source.name and source.is_file():
        return source
    plain = source / path
    # the source itself is asked for only where its name leaves a doubt: a stat for every file adds up on a network
    if "\\udc" not in path or plain.exists():
        return plain
    return source / _ESCAPED_BYTE.sub(lambda found: chr(int("dc" + found[1], 16)), path)


def walk(sources: Sequence[Source], *, ignore: Sequence[Path] = (), met: Walk | None = None) -> Iterator[FileEntry]:
    """Every regular file below the sources, by source, then by path in code point order of its parts.

    Symbolic links are followed; a folder that was entered already within one source is not entered again.

    Parameters
    ----------
    sources: folders or single files (an archive, say), also in buckets.
    ignore: folders that are left out, such as an output store inside the input.
    met: receives what could not be listed.

    Raises
    ------
    TransientError: the storage failed.
    """
    met = met if met is not None else Walk()
    left_out = {path.resolve() for path in ignore}
    for number, source in enumerate(sources):
        if not isinstance(source, Path):
            yield from source.entries(number, met)
            continue
        if source.is_file():
            status = source.stat()
            yield FileEntry(number, stored_name(source.name), status.st_size, status.st_mtime_ns)
            continue
        yield from _below(number, source, left_out, met)


def _below(number: int, source: Path, left_out: set[Path], met: Walk) -> Iterator[FileEntry]:
    entered: set[tuple[int, int]] = set()
    # a stack and no recursion: the kernel allows folders nested deeper than Python's calls
    stack = [iter(_entries(number, source, "", left_out, entered, met))]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
            continue
        path, entry = found
        try:
            if entry.is_dir():
                if entry.name in SYSTEM_FOLDERS:
                    met.system_folders[number] = met.system_folders.get(number, 0) + 1
                else:
                    stack.append(iter(_entries(number, Path(entry.path), path + "/", left_out, entered, met)))
            elif entry.is_file():
                status = entry.stat()
                yield FileEntry(number, stored_name(path), status.st_size, status.st_mtime_ns)
        except OSError as error:
            met.unreadable.append((number, stored_name(path), _name_of(error)))


def _entries(
    number: int, folder: Path, prefix: str, left_out: set[Path], entered: set[tuple[int, int]], met: Walk
) -> list[tuple[str, os.DirEntry[str]]]:
    """Path below the source and entry of all that one folder holds, by name; none of a folder entered before."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in entered or (left_out and folder.resolve() in left_out):
            return []
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as found:
            return [(prefix + entry.name, entry) for entry in sorted(found, key=lambda entry: entry.name)]
    except OSError as error:
        met.unreadable.append((number, stored_name(prefix), _name_of(error)))
        return []


def _name_of(error: OSError) -> str:
    """What went wrong, without the path that the message holds.

    Raises
    ------
    TransientError: the storage failed; what lies there is not known and may be read next time.
    """
    if error.errno in TRANSIENT_ERRNOS:
        raise TransientError(f"The storage failed while the input was listed ({error.strerror}).") from error
    kind = type(error).__name__
    return errno.errorcode.get(error.errno or 0, kind) if kind == "OSError" else kind


def listing(sources: Sequence[Source], *, ignore: Sequence[Path] = ()) -> list[tuple[int, str, int, int]]:
    """(source, path, bytes, mtime in ns) of every file, sorted; no file is opened."""
    found = [(entry.source, entry.path, entry.size, entry.mtime_ns) for entry in walk(sources, ignore=ignore)]
    return sorted(found)


def listing_digest(sources: Sequence[Source], *, ignore: Sequence[Path] = ()) -> str:
    """64 hex digits over path below its source, size and modification time of every file: what organize depends on.

    The place of the sources themselves does not count, so a mounted copy with the same times has the same digest.
    """
    return digest_of(listing(sources, ignore=ignore))


def digest_of(listed: Iterable[tuple[int, str, int, int]]) -> str:
    """The digest of a sorted `listing`."""
    digest = hashlib.sha256()
    for source, path, size, mtime_ns in listed:
        digest.update(f"{source}\0{path}\0{size}\0{mtime_ns}\n".encode())
    return digest.hexdigest()


def absolute(source: Source) -> Source:
    """The same source, whatever the working folder becomes."""
    return source.absolute() if isinstance(source, Path) else source


def resolved(source: Source) -> Source:
    """The source without symbolic links.

    Raises
    ------
    FileNotFoundError: a local one does not exist.
    """
    return source.resolve(strict=True) if isinstance(source, Path) else source

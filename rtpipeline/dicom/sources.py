"""The files below the input folders, in one fixed order, without opening any of them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM_FOLDERS = frozenset({".snapshot", ".zfs", "@eaDir", "$RECYCLE.BIN", "System Volume Information", ".Trash"})
"""Snapshots and bins of storage systems: they repeat the data beside them, so they are counted and not entered."""

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


def locate(source: Path, path: str) -> Path:
    """The file that `path` of the index names below `source`; undoes `stored_name`."""
    if path == source.name and source.is_file():
        return source
    plain = source / path
    # the source itself is asked for only where its name leaves a doubt: a stat for every file adds up on a network
    if "\\udc" not in path or plain.exists():
        return plain
    return source / _ESCAPED_BYTE.sub(lambda found: chr(int("dc" + found[1], 16)), path)


def walk(sources: Sequence[Path], *, ignore: Sequence[Path] = (), met: Walk | None = None) -> Iterator[FileEntry]:
    """Every regular file below the sources, by source, then by path in code point order of its parts.

    Symbolic links are followed; a folder that was entered already within one source is not entered again.

    Parameters
    ----------
    sources: folders or single files (an archive, say).
    ignore: folders that are left out, such as an output store inside the input.
    met: receives what could not be listed.
    """
    met = met if met is not None else Walk()
    left_out = {path.resolve() for path in ignore}
    for number, source in enumerate(sources):
        if source.is_file():
            status = source.stat()
            yield FileEntry(number, stored_name(source.name), status.st_size, status.st_mtime_ns)
            continue
        yield from _below(number, source, "", left_out, set(), met)


def _below(
    number: int, folder: Path, prefix: str, left_out: set[Path], entered: set[tuple[int, int]], met: Walk
) -> Iterator[FileEntry]:
    # an explicit stack would bound the depth as well, but paths are limited to 4096 bytes by the kernel already
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in entered or (left_out and folder.resolve() in left_out):
            return
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
        met.unreadable.append((number, stored_name(prefix), type(error).__name__))
        return
    for entry in entries:
        path = prefix + entry.name
        try:
            if entry.is_dir():
                if entry.name in SYSTEM_FOLDERS:
                    met.system_folders[number] = met.system_folders.get(number, 0) + 1
                else:
                    yield from _below(number, folder / entry.name, path + "/", left_out, entered, met)
            elif entry.is_file():
                status = entry.stat()
                yield FileEntry(number, stored_name(path), status.st_size, status.st_mtime_ns)
        except (PermissionError, FileNotFoundError) as error:
            met.unreadable.append((number, stored_name(path), type(error).__name__))


def listing(sources: Sequence[Path], *, ignore: Sequence[Path] = ()) -> list[tuple[int, str, int, int]]:
    """(source, path, bytes, mtime in ns) of every file, sorted; no file is opened."""
    found = [(entry.source, entry.path, entry.size, entry.mtime_ns) for entry in walk(sources, ignore=ignore)]
    return sorted(found)


def listing_digest(sources: Sequence[Path], *, ignore: Sequence[Path] = ()) -> str:
    """64 hex digits over path below its source, size and modification time of every file: what organize depends on.

    The place of the sources themselves does not count, so a mounted copy with the same times has the same digest.
    """
    digest = hashlib.sha256()
    for source, path, size, mtime_ns in listing(sources, ignore=ignore):
        digest.update(f"{source}\0{path}\0{size}\0{mtime_ns}\n".encode())
    return digest.hexdigest()

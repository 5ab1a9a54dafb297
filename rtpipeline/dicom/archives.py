"""Members of zip and tar archives and compressed files, as streams: nothing is unpacked to disk.

Archives are known by their content, not by their name. Nested ones are entered, their member names joined with `!/`.
What is unsafe is refused and counted: paths that leave the archive, links, encrypted members, bombs.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, BinaryIO, cast

from rtpipeline.dicom.sources import stored_name
from rtpipeline.dicom.window import Window, WindowFile

JOINT = "!/"
MAX_DEPTH = 4
"""Archives inside archives; a compressed tar counts twice."""
MAX_MEMBER_BYTES = 16 * 1024**3
FREE_BYTES = 1024**3
"""No ratio is too high below this: empty phantoms compress 5,000-fold."""
MAX_RATIO = 1000
"""Unpacked against packed bytes; clinical images reach 10, and deflate cannot exceed 1032."""
SPOOL_BYTES = 64 * 1024**2
TAR_BLOCK_BYTES = 1024**2
MAX_TAR_HEADER_BYTES = 1024**2
"""Of an extended header, which tarfile reads whole; it holds names and times, and paths end at 4096 bytes."""

READ_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,  # and UnicodeError: names, sizes and dates that make no sense
    OverflowError,
    IndexError,
    gzip.BadGzipFile,
)
"""What the archive modules of the standard library raise on damaged or hostile archives."""


class ArchiveReadError(Exception):
    """The archive cannot be read on; the message names the kind of error and nothing of the content."""


class BombError(ArchiveReadError):
    """Unpacks to far more than it holds."""


@dataclass
class Refusals:
    """What was not opened in one archive, and what was read under a changed name."""

    refused: Counter[str] = field(default_factory=Counter)
    renamed: int = 0
    """members whose names are no UTF-8"""
    stopped: str = ""
    """why the archive was not read to its end"""


def sniff(head: bytes) -> str:
    """`zip`, `tar`, `gz`, `bz2`, `xz`, an archive kind that is not read (`7z`, `rar`, `zstd`), or ''.

    head: at least the first 512 bytes. Office documents are zip archives too and count as documents.
    """
    if head[128:132] == b"DICM":
        return ""
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return "" if first in (b"[Content_Types].xml", b"mimetype", b"_rels/.rels") else "zip"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return "tar" if _is_tar(head) else ""


_MAGIC = (
    (b"\x1f\x8b\x08", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
READABLE = frozenset({"zip", "tar", "gz", "bz2", "xz"})


def _is_tar(head: bytes) -> bool:
    """By the checksum of the first header block (POSIX.1-2001 pax, ustar interchange format)."""
    block = head[:512]
    if len(block) < 512 or not block[0]:
        return False
    try:
        stated = int(block[148:156].strip(b"\0 "), 8)
    except ValueError:
        return False
    return stated == sum(block[:148]) + 8 * 32 + sum(block[156:])


class _TarMember(tarfile.TarInfo):
    """Refuses extended headers that hold more than names."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:  # the hook that tarfile has for subclasses
        if self.type in _TAR_EXTENDED and self.size > MAX_TAR_HEADER_BYTES:
            raise BombError(f"a name of {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]


_TAR_EXTENDED = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"X")
"""The last is Solaris' form of XHDTYPE."""


class Budget:
    """Counts unpacked bytes of one outermost archive, whatever the nesting."""

    def __init__(self, packed_bytes: int) -> None:
        self.limit = max(FREE_BYTES, MAX_RATIO * packed_bytes)
        self.unpacked = 0

    def add(self, count: int) -> None:
        """Raises BombError beyond the limit."""
        self.unpacked += count
        if self.unpacked > self.limit:
            raise BombError(f"more than {self.limit} bytes unpacked, {MAX_RATIO} times its size")


def everything(name: str) -> bool:
    """Selects every member."""
    return True


class Selection:
    """Selects members by their full names, and the nested archives that hold them."""

    def __init__(self, members: Iterable[str]) -> None:
        self._names = set(members)
        for name in list(self._names):
            steps = name.split(JOINT)
            self._names.update(JOINT.join(steps[:depth]) + JOINT for depth in range(1, len(steps)))

    def __call__(self, name: str) -> bool:
        """Whether a member, or an archive with `!/` behind its name, is wanted."""
        return name in self._names


@dataclass
class MemberReader:
    """Iterates over the members of one archive.

    Parameters
    ----------
    select: whether a member is wanted, by its full name; for a nested archive, by its name and `!/`.
    refusals: receives what was refused.
    budget: of the outermost archive.
    """

    refusals: Refusals
    budget: Budget
    select: Callable[[str], bool] = everything

    def members(
        self, kind: str, file: BinaryIO, name: str, *, prefix: str = "", depth: int = 1, part: slice | None = None
    ) -> Iterator[tuple[str, Window]]:
        """(name, bytes) of each member in stored order; a window is valid until the next one is asked for.

        Parameters
        ----------
        file: from its first byte on; a zip must be seekable.
        name: of the archive itself; what a single compressed file inside is called after.
        part: of a zip, the members by position in its directory.

        Raises
        ------
        ArchiveReadError: in the middle of the archive; what came before is good.
        """
        if depth > MAX_DEPTH:
            self.refusals.refused[f"nested deeper than {MAX_DEPTH} archives"] += 1
            return
        try:
            if kind == "zip":
                found = self._zip(file, prefix, part)
            elif kind == "tar":
                found = self._tar(file, prefix)
            else:
                found = self._compressed(kind, file, name, prefix, depth)
            for member, window in found:
                try:
                    inner = sniff(window.fill(512))
                except BombError:
                    raise
                except ArchiveReadError as error:
                    if kind != "zip":  # of a stream, what follows cannot be found either
                        raise
                    self.refusals.refused[f"member that cannot be read ({error})"] += 1
                    continue
                if inner in READABLE:
                    if self.select(member + JOINT):
                        yield from self._nested(inner, window, member, depth)
                elif inner:
                    self.refusals.refused[f"{inner} archive, a kind that is not read"] += 1
                elif self.select(member):
                    yield member, window
        except READ_ERRORS as error:
            raise ArchiveReadError(type(error).__name__) from error

    def _nested(self, kind: str, window: Window, member: str, depth: int) -> Iterator[tuple[str, Window]]:
        """An archive inside an archive; one that cannot be read ends here and not the outer one."""
        base, name = member + JOINT, PurePosixPath(member).name
        try:
            if kind != "zip":
                outer = cast(BinaryIO, io.BufferedReader(WindowFile(window), TAR_BLOCK_BYTES))
                yield from self.members(kind, outer, name, prefix=base, depth=depth + 1)
                return
            # the directory of a zip is at its end
            with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
                for chunk in window.stream(0):
                    spool.write(chunk)
                yield from self.members(kind, cast(BinaryIO, spool), name, prefix=base, depth=depth + 1)
        except BombError:
            raise
        except ArchiveReadError as error:
            self.refusals.refused[f"nested archive that cannot be read ({error})"] += 1

    def _zip(self, file: BinaryIO, prefix: str, part: slice | None) -> Iterator[tuple[str, Window]]:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            first = {info.filename: number for number, info in reversed(list(enumerate(infos)))}
            for number in range(len(infos))[part or slice(None)]:
                info = infos[number]
                if info.is_dir():
                    continue
                name = self._safe_name(info.filename, prefix, repeated=first[info.filename] != number)
                if name is None or self._refused(_zip_problem(info)):
                    continue
                if not info.flag_bits & 0x800 and not info.filename.isascii():
                    self.refusals.renamed += 1
                try:
                    with archive.open(info) as member:
                        yield name, Window(self._guarded(member), info.file_size)
                except READ_ERRORS as error:
                    self.refusals.refused[f"member that cannot be read ({type(error).__name__})"] += 1

    def _tar(self, file: BinaryIO, prefix: str) -> Iterator[tuple[str, Window]]:
        seen: set[str] = set()
        with tarfile.open(
            fileobj=file, mode="r|", bufsize=TAR_BLOCK_BYTES, errors="surrogateescape", tarinfo=_TarMember
        ) as archive:
            for info in archive:
                # a stream never goes back to a member, and the list of all of them would grow without bound
                archive.members = []  # type: ignore[attr-defined]
                if info.isdir():
                    continue
                name = self._safe_name(info.name, prefix, repeated=info.name in seen)
                seen.add(info.name)
                if name is None or self._refused(_tar_problem(info)):
                    continue
                if stored_name(info.name) != info.name:
                    self.refusals.renamed += 1
                member = archive.extractfile(info)
                if member is not None:
                    yield name, Window(self._guarded(member), info.size)

    def _compressed(
        self, kind: str, file: BinaryIO, name: str, prefix: str, depth: int
    ) -> Iterator[tuple[str, Window]]:
        """The one file inside; a compressed tar is one archive to its users, so its members stand for it."""
        opener: Callable[[BinaryIO], IO[bytes]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}[kind]  # type: ignore[assignment]
        with opener(file) as stream:
            window = Window(self._guarded(stream), None)
            if _is_tar(window.fill(512)):
                inside = cast(BinaryIO, io.BufferedReader(WindowFile(window), TAR_BLOCK_BYTES))
                yield from self.members("tar", inside, name, prefix=prefix, depth=depth + 1)
                return
            path = PurePosixPath(name)
            inner = path.stem if path.suffix.lower() in (".gz", ".bz2", ".xz") else name
            yield prefix + (inner or "content"), window

    def _guarded(self, member: IO[bytes]) -> Callable[[int], bytes]:
        """`member.read` that counts bytes and has one kind of error."""

        def read(count: int) -> bytes:
            try:
                data = member.read(count)
            except READ_ERRORS as error:
                raise ArchiveReadError(type(error).__name__) from error
            self.budget.add(len(data))
            return data

        return read

    def _safe_name(self, name: str, prefix: str, *, repeated: bool) -> str | None:
        """The name for the index; None where the member is refused for it."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or "\0" in name:
            problem = "empty name"
        elif parts[0].startswith("/") or parts[0].endswith(":"):
            problem = "absolute path"
        elif ".." in parts:
            problem = "path with `..`"
        else:
            problem = "name that an earlier member has" if repeated else ""
        return None if self._refused(problem) else prefix + stored_name("/".join(parts))

    def _refused(self, problem: str) -> bool:
        if problem:
            self.refusals.refused[problem] += 1
        return bool(problem)


def _zip_problem(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 0x1:
        return "encrypted"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "link"
    # no bzip2: zipfile unpacks what it reads at once, and 4 kB of it can hold gigabytes
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        return f"compression method {info.compress_type}"
    return _size_problem(info.file_size, info.compress_size)


def _tar_problem(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "link"
    if not info.isreg():
        return "device or other special file"
    return _size_problem(info.size, None)


def _size_problem(size: int, packed: int | None) -> str:
    if size > MAX_MEMBER_BYTES:
        return f"larger than {MAX_MEMBER_BYTES} bytes"
    if packed is not None and size > FREE_BYTES and size > MAX_RATIO * packed:
        return f"more than {MAX_RATIO} times its packed size"
    return ""

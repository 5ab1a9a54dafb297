"""The objects inside one file of an export: the file itself, or the members of an archive."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from rtpipeline.dicom.archives import READ_ERRORS, READABLE, Budget, MemberReader, Refusals, everything, sniff
from rtpipeline.dicom.bucket_sources import BucketFile
from rtpipeline.dicom.sources import stored_name
from rtpipeline.dicom.window import Window

STREAM_BUFFER_BYTES = 1024**2


class SourceFile:
    """An open file of an export, known by its content; close it or use it in `with`.

    Raises
    ------
    OSError: it cannot be opened or read.
    TransientError, UsageError: the same of a bucket.
    """

    def __init__(self, path: Path | BucketFile) -> None:
        self.name = stored_name(path.name)
        self._streams: list[BinaryIO] = []
        self._raw = path.open("rb", buffering=0) if isinstance(path, Path) else path.open_object()
        try:
            self.size = self._length()
            self.window = Window(self._raw.read, self.size, self._read_at)
            self.archive_kind = sniff(self.window.fill(512))
        except OSError:
            self._raw.close()
            raise

    def __enter__(self) -> SourceFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            stream.close()
        self._raw.close()

    def member_count(self) -> int:
        """Entries of a zip archive."""
        try:
            with zipfile.ZipFile(self._stream()) as archive:
                return len(archive.infolist())
        except READ_ERRORS:
            return 0

    def objects(
        self,
        *,
        refusals: Refusals,
        select: Callable[[str], bool] = everything,
        part: slice | None = None,
    ) -> Iterator[tuple[str, Window]]:
        """(member, bytes): one with member '' for a plain file, else the members of the archive; asked for once.

        Raises
        ------
        ArchiveReadError: the archive cannot be read on; what came before is good.
        """
        if not self.archive_kind:
            yield "", self.window
        elif self.archive_kind in READABLE:
            reader = MemberReader(refusals, Budget(self.size), select)
            yield from reader.members(self.archive_kind, self._stream(), self.name, part=part)
        else:
            refusals.refused[f"{self.archive_kind} archive, a kind that is not read"] += 1

    def _length(self) -> int:
        """Size in bytes; of an object, known with its first bytes."""
        if isinstance(self._raw, io.FileIO):
            return os.fstat(self._raw.fileno()).st_size
        try:
            return self._raw.size
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such object") from None

    def _read_at(self, offset: int, count: int) -> bytes:
        if isinstance(self._raw, io.FileIO):
            return os.pread(self._raw.fileno(), count, offset)
        return self._raw.read_at(offset, count)

    def _stream(self) -> BinaryIO:
        own: io.RawIOBase
        if isinstance(self._raw, io.FileIO):
            self._raw.seek(0)
            # a descriptor of its own, because archive modules close what they are given
            own = io.FileIO(os.dup(self._raw.fileno()), "rb")
        else:
            own = self._raw.again()
        stream = cast(BinaryIO, io.BufferedReader(own, STREAM_BUFFER_BYTES))
        self._streams.append(stream)
        return stream

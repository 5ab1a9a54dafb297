"""The bytes of one object as far as they have been read: one sequential read, whatever the file or archive behind."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

FIRST_READ_BYTES = 32 * 1024
"""Holds the header of nearly every image slice, so a slice costs one read."""
CHUNK_BYTES = 1024 * 1024
MAX_HEADER_BYTES = 1024**3
"""More than any structure set seen; a longer header is refused, because it has to be held in memory."""


class HeaderTooLargeError(ValueError):
    """The elements before the pixel data exceed `MAX_HEADER_BYTES`."""


class Window:
    """Keeps the bytes from the start on while the header is parsed, and streams what follows without keeping it.

    Parameters
    ----------
    read: reads up to n bytes, b"" at the end; never seeks.
    size: bytes there are; None where only reading to the end tells (a file compressed by itself).
    read_at: reads n bytes at an offset, where the source can; saves reading over pixel data.
    """

    def __init__(
        self, read: Callable[[int], bytes], size: int | None, read_at: Callable[[int, int], bytes] | None = None
    ) -> None:
        self._read = read
        self._read_at = read_at
        self._ended = False
        self._passed = 0
        self.size = size
        self.data = b""

    @classmethod
    def of_bytes(cls, data: bytes) -> Window:
        """A window over bytes in memory."""
        return cls(io.BytesIO(data).read, len(data))

    def fill(self, upto: int) -> bytes:
        """All bytes kept so far, at least up to offset `upto` where the object is that long.

        Raises
        ------
        HeaderTooLargeError: `upto` lies beyond `MAX_HEADER_BYTES`, and the object is that long.
        """
        have = len(self.data)
        if self._ended or upto <= have or (self.size is not None and have >= self.size):
            return self.data
        if upto > MAX_HEADER_BYTES:
            if self.size is not None and self.size < upto:
                return self.data
            raise HeaderTooLargeError(f"header of more than {MAX_HEADER_BYTES} bytes")
        # doubling keeps the copies that `bytes` needs below twice the length
        goal = max(upto, 2 * have, FIRST_READ_BYTES)
        parts = [self.data]
        while have < goal:
            part = self._read(goal - have)
            if not part:
                self._ended = True
                break
            parts.append(part)
            have += len(part)
        self.data = b"".join(parts)
        return self.data

    def stream(self, start: int) -> Iterator[bytes]:
        """The bytes from offset `start` to the end; can be asked for once, and ends the use of `fill`."""
        if start < len(self.data):
            yield self.data[start:]
            skip = 0
        else:
            skip = start - len(self.data)
        while not self._ended:
            part = self._read(CHUNK_BYTES)
            if not part:
                self._ended = True
                return
            self._passed += len(part)
            if skip:
                skip, part = max(0, skip - len(part)), part[skip:]
            if part:
                yield part

    def total(self) -> int:
        """Length of the object in bytes; reads to the end where the size is not known."""
        if self.size is not None:
            return self.size
        for _ in self.stream(len(self.data)):
            pass
        return len(self.data) + self._passed

    def at(self, offset: int, count: int) -> bytes | None:
        """Up to `count` bytes at any offset, without reading what lies before; None where the source cannot."""
        if offset + count <= len(self.data):
            return self.data[offset : offset + count]
        return self._read_at(offset, count) if self._read_at else None


class WindowFile(io.RawIOBase):
    """A window as a non-seekable file from its first byte on, for a decompressor or `tarfile`."""

    def __init__(self, window: Window) -> None:
        self._parts = window.stream(0)
        self._left = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fills `buffer` as far as the next part reaches."""
        if not self._left:
            self._left = next(self._parts, b"")
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

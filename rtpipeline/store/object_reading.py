"""Reading an object of a bucket in parts: one range, asked for again where the connection broke; a seekable file."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

from rtpipeline.errors import TransientError, UsageError
from rtpipeline.store.s3_client import endpoint, s3_client
from rtpipeline.store.s3_errors import ABSENT, END_OF_OBJECT, PRECONDITION, ObjectReplacedError, ask, code_of

BLOCK_BYTES = 1024**2
BODY_ATTEMPTS = 6
"""Times in a row that a body may break without a byte more than before."""
PAUSE_S = 0.1
FIRST_AHEAD_BYTES = 64 * 1024
FIRST_HOP_BYTES = 4 * 1024
MOST_AHEAD_BYTES = 8 * 1024**2


class RangeReading:
    """One range of an object.

    Parameters
    ----------
    bucket, key: the object, by its whole key.
    offset, count: in bytes; None for all that follows.
    etag: what the object has to be still; '' for as it is found.
    """

    def __init__(self, bucket: str, key: str, offset: int = 0, count: int | None = None, etag: str = "") -> None:
        self.etag = etag
        self.size: int | None = None
        """of the whole object in bytes; known with the first block, and to `blocks` that gave none"""
        self._bucket = bucket
        self._key = key
        self._position = offset
        self._end = None if count is None else offset + count

    def blocks(self) -> Iterator[bytes]:
        """The bytes of the range as far as the object reaches.

        Raises
        ------
        KeyError: there is no such object.
        TransientError: it was replaced meanwhile, or the connection breaks every time.
        """
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        broken = 0
        while True:
            body = self._ask()
            if body is None:
                return
            start, end = self._position, self._end or 0
            try:
                while self._position < end and (block := body.read(min(BLOCK_BYTES, end - self._position))):
                    self._position += len(block)
                    yield block
            except (BotoCoreError, HTTPError, OSError):
                pass  # what is missing is asked for again
            finally:
                body.close()
            if self._position == end:
                return
            broken = 0 if self._position > start else broken + 1
            if broken == BODY_ATTEMPTS:
                raise TransientError(f"the connection to {endpoint()} broke {broken} times in the same object")
            time.sleep(PAUSE_S * 2**broken)

    def _ask(self) -> Any | None:
        """The body from the position on; None where the object ends before."""
        from botocore.exceptions import ClientError

        options = {"IfMatch": self.etag} if self.etag else {}
        ranged = self._position > 0 or self._end is not None
        if ranged:
            options["Range"] = f"bytes={self._position}-{'' if self._end is None else self._end - 1}"

        def get() -> Any | None:
            try:
                return s3_client().get_object(Bucket=self._bucket, Key=self._key, **options)
            except ClientError as error:
                code = code_of(error)
                if code in ABSENT:
                    raise KeyError(self._key) from None
                if code in END_OF_OBJECT:
                    headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
                    self.size = _total(headers.get("content-range", ""))
                    return None
                if code in PRECONDITION:
                    raise ObjectReplacedError("an object changed while it was read; try again") from error
                raise

        answer = ask(self._bucket, get)
        if answer is None:
            return None
        if ranged and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            answer["Body"].close()
            raise UsageError(f"{endpoint()} does not give parts of objects (HTTP Range), which is needed here")
        self._end = self._position + answer["ContentLength"]
        self.size = _total(answer.get("ContentRange", "")) if ranged else self._end
        self.etag = answer.get("ETag", "")
        return answer["Body"]


def _total(content_range: str) -> int | None:
    """Size of the whole from `bytes 0-7/123` (RFC 9110, 14.4)."""
    total = content_range.rpartition("/")[2]
    return int(total) if total.isdigit() else None


class ObjectFile(io.RawIOBase):
    """An object as a seekable file. Reads fetch a little ahead, twice as much each time while they follow on.

    Reading raises KeyError where there is no such object, TransientError where it was replaced since the first read or
    the server fails, UsageError where it denies.

    Parameters
    ----------
    bucket, key: the object, by its whole key.
    size: in bytes; None when the first read is to tell it.
    first: bytes that the first read fetches at least.
    """

    def __init__(self, bucket: str, key: str, size: int | None = None, first: int = FIRST_AHEAD_BYTES) -> None:
        self._bucket = bucket
        self._key = key
        self._size = size
        self._etag = ""
        self._position = 0
        self._start = 0
        self._held = b""
        self._ahead = self._first = first
        self._hop = FIRST_HOP_BYTES

    @property
    def size(self) -> int:
        """Bytes of the object; asks for its first ones where that is not known."""
        if self._size is None:
            self._fetch(0, self._first)
        assert self._size is not None
        return self._size

    def again(self) -> ObjectFile:
        """The same object as another file, from its start."""
        other = ObjectFile(self._bucket, self._key, self.size, FIRST_AHEAD_BYTES)
        other._etag = self._etag
        if self._start == 0:
            other._held = self._held
        return other

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves; fetches nothing but, from the end, the size."""
        base = 0 if whence == io.SEEK_SET else self._position if whence == io.SEEK_CUR else self.size
        if base + offset < 0:
            raise ValueError("before the start of the object")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer` as far as what is held reaches."""
        view = memoryview(buffer).cast("B")
        held_end = self._start + len(self._held)
        if not self._start <= self._position < held_end:
            wanted = len(view) if self._size is None else min(len(view), self._size - self._position)
            if wanted <= 0:
                return 0
            follows = held_end > 0 and self._position == held_end
            self._ahead = min(2 * self._ahead, MOST_AHEAD_BYTES) if follows else self._first
            self._fetch(self._position, max(wanted, self._ahead))
        begin = self._position - self._start
        part = self._held[begin : begin + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes at an offset, without moving. Each fetch takes twice as much as the one before: whoever
        hops over many small parts comes to read large blocks."""
        if not self._start <= offset or offset + count > self._start + len(self._held):
            self._fetch(offset, max(count, self._hop))
            self._hop = min(2 * self._hop, MOST_AHEAD_BYTES)
        begin = offset - self._start
        return self._held[begin : begin + count]

    def _fetch(self, offset: int, count: int) -> None:
        if self._size is not None:
            count = min(count, self._size - offset)
        self._start, self._held = offset, b""
        if count <= 0:
            return
        reading = RangeReading(self._bucket, self._key, offset, count, self._etag)
        try:
            self._held = b"".join(reading.blocks())
        except KeyError:
            if self._size is None:
                raise
            raise TransientError("an object went away while it was read; try again") from None
        self._etag = reading.etag
        if self._size is None:
            self._size = offset + len(self._held) if reading.size is None else reading.size
        if len(self._held) < min(count, self._size - offset):
            raise TransientError("an object became shorter while it was read; try again")

"""Objects in an S3 bucket, below a prefix. How S3 is found and signed to: `s3_client.py`; its errors: `s3_errors.py`.

A request is repeated on a server error, throttling or a broken connection; a download that was cut goes on where it
stopped. What is written exists whole or not at all.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from rtpipeline.errors import TransientError, UsageError
from rtpipeline.store.folder import TEMPORARY_PREFIX
from rtpipeline.store.object_reading import ObjectFile, RangeReading
from rtpipeline.store.s3_client import PART_ATTEMPTS, s3_client
from rtpipeline.store.s3_errors import ABSENT, PRECONDITION, ask, code_of, of_answer, status_of

SCHEME = "s3://"
PART_BYTES = 16 * 1024**2
"""Size of the parts of a large upload; S3 asks for 5 MiB at least."""
PART_THREADS = 4
PROBE_ATTEMPTS = 2
DELETED_AT_ONCE = 1000
NOT_IMPLEMENTED = 501


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of a bucket."""

    key: str
    """below the prefix that was asked"""
    size: int
    """bytes"""
    etag: str
    modified_ns: int
    """whole seconds since 1970, in ns: what every answer of S3 gives"""


def is_url(text: object) -> bool:
    """Whether this is the URL of a bucket or of what lies in one, and no local path."""
    return isinstance(text, str) and text.startswith(SCHEME)


def split_url(url: str) -> tuple[str, str]:
    """(bucket, key or prefix without / at its end) of `s3://bucket/key`.

    Raises
    ------
    UsageError: it is no such URL.
    """
    bucket, _, rest = url.removeprefix(SCHEME).partition("/")
    if not is_url(url) or not bucket:
        raise UsageError(f"{url!r} is no s3://bucket/prefix")
    return bucket, rest.strip("/")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket below a prefix. A plain value: it can go to another process, which opens connections of its own."""

    name: str
    prefix: str
    """'' or ending in /"""

    @classmethod
    def open(cls, url: str) -> Bucket:
        """`s3://bucket/prefix`; nothing is asked of the server yet.

        Raises
        ------
        UsageError: it is no such URL.
        """
        name, prefix = split_url(url)
        return cls(name, prefix + "/" if prefix else "")

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`, without / at its end."""
        return f"{SCHEME}{self.name}/{self.prefix}".rstrip("/")

    def child(self, *parts: str) -> Bucket:
        """The bucket below `prefix/part/part`."""
        below = "/".join(part.strip("/") for part in parts if part.strip("/"))
        return Bucket(self.name, f"{self.prefix}{below}/" if below else self.prefix)

    def check(self) -> None:
        """Asks for one object name with few attempts, so that a wrong set-up is told at once.

        Raises
        ------
        UsageError, TransientError: as every call here.
        """
        ask(
            self.name,
            lambda: s3_client().list_objects_v2(Bucket=self.name, Prefix=self.prefix, MaxKeys=1),
            attempts=PROBE_ATTEMPTS,
        )

    def versioning(self) -> str | None:
        """`Enabled`, `Suspended`, or '' where it was never on; None where the server does not say.

        Raises
        ------
        UsageError, TransientError: the server cannot be asked at all.
        """
        from botocore.exceptions import ClientError

        def asked() -> str | None:
            try:
                return str(s3_client().get_bucket_versioning(Bucket=self.name).get("Status", ""))
            except ClientError as error:
                # no permission to ask, or a server that knows no versions (501): no reason to fail
                if status_of(error) < 500 or status_of(error) == NOT_IMPLEMENTED:
                    return None
                raise

        return ask(self.name, asked)

    def list(self, below: str = "") -> Iterator[Entry]:
        """Every object whose key begins with `below`, in the server's order, 1000 a request."""
        options = {"Bucket": self.name, "Prefix": self.prefix + below}
        while True:
            page = ask(self.name, lambda: s3_client().list_objects_v2(**options))
            for found in page.get("Contents", ()):
                yield self._entry(found["Key"].removeprefix(self.prefix), found["Size"], found)
            if not page.get("IsTruncated"):
                return
            options["ContinuationToken"] = page["NextContinuationToken"]

    def folders(self) -> Iterator[str]:
        """Names up to the next / of what lies here, as folders of a disk; each page of 1000 is one request."""
        options = {"Bucket": self.name, "Prefix": self.prefix, "Delimiter": "/"}
        while True:
            page = ask(self.name, lambda: s3_client().list_objects_v2(**options))
            for found in page.get("CommonPrefixes", ()):
                yield found["Prefix"].removeprefix(self.prefix).rstrip("/")
            if not page.get("IsTruncated"):
                return
            options["ContinuationToken"] = page["NextContinuationToken"]

    def entry(self, key: str) -> Entry | None:
        """What is known of an object; None where there is none."""
        from botocore.exceptions import ClientError

        def head() -> dict[str, Any] | None:
            try:
                found: dict[str, Any] = s3_client().head_object(Bucket=self.name, Key=self.prefix + key)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
            return found

        found = ask(self.name, head)
        return None if found is None else self._entry(key, found["ContentLength"], found)

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none."""
        found = self.entry(key)
        return None if found is None else found.size

    def get(self, key: str) -> bytes:
        """Content of an object.

        Raises
        ------
        KeyError: there is none.
        """
        return b"".join(RangeReading(self.name, self.prefix + key).blocks())

    def read_range(self, key: str, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; b"" beyond the end.

        Raises
        ------
        KeyError: there is no such object.
        """
        return b"".join(RangeReading(self.name, self.prefix + key, offset, count).blocks()) if count > 0 else b""

    def open_file(self, key: str) -> ObjectFile:
        """The object as a seekable file that fetches what is read.

        Raises
        ------
        KeyError: there is none.
        """
        found = self.entry(key)
        if found is None:
            raise KeyError(key)
        return ObjectFile(self.name, self.prefix + key, found.size)

    def download(self, key: str, path: Path) -> None:
        """The object as a file, which appears whole or not at all.

        Raises
        ------
        KeyError: there is none.
        OSError: the file cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                for block in RangeReading(self.name, self.prefix + key).blocks():
                    file.write(block)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write an object; False where `if_absent` and there is one already.

        A server that does not know `If-None-Match` (S3 clones of before 2025) writes in any case. Where the first
        attempt was written and its answer lost, the second finds the object and gives False.
        """
        from botocore.exceptions import ClientError

        checksum = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        condition = {"IfNoneMatch": "*"} if if_absent else {}

        def put() -> bool:
            try:
                s3_client().put_object(
                    Bucket=self.name, Key=self.prefix + key, Body=data, ContentMD5=checksum, **condition
                )
            except ClientError as error:
                # of a conflict with another writer (409) who was first is known when asked again
                if if_absent and code_of(error) in PRECONDITION:
                    return False
                raise
            return True

        return ask(self.name, put)

    def upload(self, path: Path, key: str) -> None:
        """Write a file's content as an object, large ones in parallel parts.

        Raises
        ------
        TransientError: the file changed meanwhile; there is no object then.
        """
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            if before.st_size <= PART_BYTES:
                content = file.read()
                if len(content) == before.st_size:
                    self.put(key, content)
                    return
            else:
                self._upload_parts(file, key)
                after = os.fstat(file.fileno())
                if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
                    return
                self.delete([key])
        raise TransientError("a file changed while it was uploaded; nothing was kept of it")

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that do not exist are no error."""
        rest = iter(keys)
        while batch := list(islice(rest, DELETED_AT_ONCE)):
            request = {"Objects": [{"Key": self.prefix + key} for key in batch], "Quiet": True}
            answer = ask(self.name, partial(s3_client().delete_objects, Bucket=self.name, Delete=request))
            for refused in answer.get("Errors", ()):
                if refused.get("Code") not in ABSENT:
                    raise of_answer(self.name, "DeleteObjects", str(refused.get("Code")), 0)

    def _entry(self, key: str, size: int, found: dict[str, Any]) -> Entry:
        modified_ns = int(found["LastModified"].timestamp()) * 10**9
        return Entry(key, size, found.get("ETag", "").strip('"'), modified_ns)

    def _upload_parts(self, file: Any, key: str) -> None:
        from boto3.s3.transfer import TransferConfig

        parts = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=PART_THREADS
        )

        def send() -> None:
            # takes the parts back when one of them fails; closes nothing
            file.seek(0)
            s3_client(PART_ATTEMPTS).upload_fileobj(file, self.name, self.prefix + key, Config=parts)

        ask(self.name, send, attempts=2)

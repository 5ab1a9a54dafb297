"""An export in a bucket: the objects below a prefix, or what an upload has listed (a managed source).

A managed source holds paths, sizes and times as they were where the files came from, so its listing digest and all that
is read from it equal those of the folder; of the objects below a prefix the time is the one that the server gives.
"""

from __future__ import annotations

import errno
import gzip
import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rtpipeline.dicom.sources import SYSTEM_FOLDERS, FileEntry, Source, Walk
from rtpipeline.errors import UsageError
from rtpipeline.store.bucket import Bucket, is_url
from rtpipeline.store.object_reading import ObjectFile
from rtpipeline.store.transfers import in_order

SOURCES = "private/sources"
OBJECTS = "private/objects"
READY = "cohort.ready"
"""Object at the top of a folder of the inbox that marks it as ready; written again for new data."""
FIRST_READ_BYTES = 32 * 1024
"""As a window reads first: holds the header of nearly every image slice, which then costs one request."""
FETCH_THREADS = 16

_MANAGED = re.compile(
    r"(?P<cohort>s3://[^/]+(?:/.+)?)/private/sources/(?P<name>[0-9a-f]{12}\.json\.gz)(?:#(?P<root>\d+))?"
)


@dataclass(frozen=True, slots=True)
class BucketFile:
    """A file of an export that is an object."""

    bucket: Bucket
    key: str
    name: str
    """last part of its path"""
    first: int = FIRST_READ_BYTES
    """bytes that the first request asks for"""

    def open_object(self) -> ObjectFile:
        """The object as a seekable file; nothing is fetched yet."""
        return ObjectFile(self.bucket.name, self.bucket.prefix + self.key, first=self.first)


class BucketSource(ABC):
    """A source in a bucket; a plain value that other processes can be given."""

    bucket: Bucket

    @abstractmethod
    def entries(self, number: int, met: Walk) -> Iterator[FileEntry]:
        """Its files, by path in code point order of the parts."""

    @abstractmethod
    def find(self, path: str, key: str = "") -> BucketFile:
        """The object behind a path; `key` where the listing told it.

        Raises
        ------
        FileNotFoundError: the source has no such path.
        OSError: the file could not be read when it was uploaded.
        """

    @abstractmethod
    def check(self) -> None:
        """Whether there is anything.

        Raises
        ------
        UsageError: there is not.
        """


@dataclass(frozen=True, slots=True)
class BucketPrefix(BucketSource):
    """The objects below a prefix, or the one object (an archive) that has just this key."""

    bucket: Bucket

    def __str__(self) -> str:
        return self.bucket.url

    def entries(self, number: int, met: Walk) -> Iterator[FileEntry]:
        """Objects as files. Those whose keys are no paths (an empty part, a `..`) are told in `met`."""
        alone = _alone(self.bucket)
        if alone is not None:
            holder, name = alone
            found = holder.entry(name)
            if found is not None:
                yield FileEntry(number, name, found.size, found.modified_ns, name)
            return
        system: set[tuple[str, ...]] = set()
        listed = sorted((tuple(entry.key.split("/")), entry) for entry in self.bucket.list())
        for parts, entry in listed:
            inside = next((at for at, part in enumerate(parts[:-1]) if part in SYSTEM_FOLDERS), None)
            if inside is not None:
                system.add(parts[: inside + 1])
            elif (not parts[-1] and not entry.size) or entry.key == READY:
                continue  # a folder's placeholder, or the mark that says all is there: no part of the export
            elif not is_path(entry.key):
                met.unreadable.append((number, entry.key, "ENAMETOOLONG" if _is_long(parts) else "EINVAL"))
            else:
                yield FileEntry(number, entry.key, entry.size, entry.modified_ns, entry.key)
        if system:
            met.system_folders[number] = met.system_folders.get(number, 0) + len(system)

    def find(self, path: str, key: str = "") -> BucketFile:
        """The object below the prefix."""
        alone = _alone(self.bucket)
        name = path.rpartition("/")[2]
        return BucketFile(alone[0] if alone is not None else self.bucket, key or path, name)

    def check(self) -> None:
        """Whether any object is there."""
        self.bucket.check()
        if _alone(self.bucket) is None and next(self.bucket.list(), None) is None:
            raise UsageError(f"{self} holds no object; give the prefix or the archive of the export.")


@lru_cache(maxsize=64)
def _alone(bucket: Bucket) -> tuple[Bucket, str] | None:
    """Where the prefix is the key of an object itself: the bucket above, and its name."""
    folder, _, name = bucket.prefix.rstrip("/").rpartition("/")
    if not name:
        return None
    above = Bucket(bucket.name, f"{folder}/" if folder else "")
    return (above, name) if above.entry(name) is not None else None


def is_path(key: str) -> bool:
    """Whether a key can be a path below a folder, so that no two keys are one file and none lies outside."""
    parts = key.split("/")
    return not any(part in ("", ".", "..") for part in parts) and "\0" not in key and not _is_long(parts)


def _is_long(parts: Iterable[str]) -> bool:
    return any(len(part.encode()) > 255 for part in parts)


@dataclass(frozen=True, slots=True)
class ManagedSource(BucketSource):
    """One of the folders that an upload has listed."""

    bucket: Bucket
    """the cohort's"""
    name: str
    """of the list, below `private/sources/`"""
    root: int = 0
    """number of the folder, where several were uploaded together"""

    def __str__(self) -> str:
        return f"{self.bucket.url}/{SOURCES}/{self.name}#{self.root}"

    def entries(self, number: int, met: Walk) -> Iterator[FileEntry]:
        """The files as they were listed; what could not be listed then is told in `met`."""
        listing = read_listing(self.bucket, self.name)
        met.unreadable += [(number, path, error) for root, path, error in listing.unreadable if root == self.root]
        system = listing.system_folders.get(self.root, 0)
        if system:
            met.system_folders[number] = met.system_folders.get(number, 0) + system
        for path, file in listing.files.get(self.root, {}).items():
            key = object_key(file.sha256) if file.sha256 else ""
            yield FileEntry(number, path, file.size, file.mtime_ns, key)

    def find(self, path: str, key: str = "") -> BucketFile:
        """The object that holds the file's content."""
        name = path.rpartition("/")[2]
        if key:
            return BucketFile(self.bucket, key, name)
        file = read_listing(self.bucket, self.name).files.get(self.root, {}).get(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "not in the uploaded list")
        if not file.sha256:
            raise _LOST.get(file.error, OSError)("could not be read when it was uploaded")
        return BucketFile(self.bucket, object_key(file.sha256), name)

    def check(self) -> None:
        """Whether the list is there."""
        read_listing(self.bucket, self.name)


_LOST: dict[str, type[OSError]] = {
    kind.__name__: kind for kind in (PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
}


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """What is known of one uploaded file."""

    size: int
    mtime_ns: int
    sha256: str
    """'' where it could not be read"""
    error: str = ""
    """name of the error then"""


@dataclass(frozen=True)
class Listing:
    """Content of a managed source's list."""

    files: Mapping[int, Mapping[str, UploadedFile]]
    """by folder and path"""
    unreadable: Sequence[tuple[int, str, str]] = ()
    """(folder, path, name of the error) of what could not be listed"""
    system_folders: Mapping[int, int] = field(default_factory=dict)
    roots: int = 1
    """folders that were uploaded together"""

    def content(self) -> bytes:
        """As it is stored: JSON, compressed, the same bytes for the same list."""
        files = [
            {"root": root, "path": path, "size": file.size, "mtime_ns": file.mtime_ns, "sha256": file.sha256}
            | ({"error": file.error} if file.error else {})
            for root, below in sorted(self.files.items())
            for path, file in below.items()
        ]
        value = {
            "roots": self.roots,
            "unreadable": sorted(self.unreadable),
            "system_folders": [[root, count] for root, count in sorted(self.system_folders.items())],
            "files": files,
        }
        return gzip.compress(json.dumps(value, separators=(",", ":")).encode(), 6, mtime=0)

    @classmethod
    def parse(cls, content: bytes) -> Listing:
        """What `content` gave.

        Raises
        ------
        ValueError, KeyError, TypeError, OSError, EOFError: it is none.
        """
        value: dict[str, Any] = json.loads(gzip.decompress(content))
        files: dict[int, dict[str, UploadedFile]] = {}
        for row in value["files"]:
            file = UploadedFile(row["size"], row["mtime_ns"], row["sha256"], row.get("error", ""))
            files.setdefault(row["root"], {})[row["path"]] = file
        unreadable = [(root, path, error) for root, path, error in value["unreadable"]]
        return cls(files, unreadable, dict(value["system_folders"]), value["roots"])


def object_key(sha256: str) -> str:
    """Key of uploaded content below the cohort: by what it is, so that no key names a patient."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def read_listing(bucket: Bucket, name: str) -> Listing:
    """The list of a managed source; kept for this process, since a list never changes under its name.

    Raises
    ------
    UsageError: there is none, or it is not one.
    """
    with _reading_list:  # threads that ask at once wait for one answer
        return _read_listing(bucket, name)


_reading_list = threading.Lock()


@lru_cache(maxsize=4)
def _read_listing(bucket: Bucket, name: str) -> Listing:
    try:
        return Listing.parse(bucket.get(f"{SOURCES}/{name}"))
    except KeyError:
        raise UsageError(f"there is no uploaded source {name} at {bucket.url}; upload it again.") from None
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise UsageError(f"{bucket.url}/{SOURCES}/{name} is no list of an upload ({type(error).__name__}).") from error


def sources_of(text: str | Path) -> tuple[Source, ...]:
    """The sources that a path or URL names: one, but of a managed source every folder that was uploaded.

    Raises
    ------
    UsageError: it is no such URL, or there is no such list.
    """
    text = str(text)
    if not is_url(text):
        return (Path(text),)
    managed = _MANAGED.fullmatch(text)
    if managed is None:
        return (BucketPrefix(Bucket.open(text)),)
    bucket, name = Bucket.open(managed["cohort"]), managed["name"]
    if managed["root"] is not None:
        return (ManagedSource(bucket, name, int(managed["root"])),)
    return tuple(ManagedSource(bucket, name, root) for root in range(read_listing(bucket, name).roots))


def fetch_files(source: BucketSource, paths: Iterable[str], folder: Path) -> int:
    """Downloads the given files of a source to `folder/<path>`, several at once; bytes fetched.

    A path that the source does not have (any more) is left out: whoever opens it then says so.

    Raises
    ------
    UsageError: a path leads out of the folder.
    """
    wanted = sorted(set(paths))
    for path in wanted:
        if not is_path(path):
            raise UsageError("a path of the index leads out of the folder that it is to be fetched to")

    def fetch(path: str) -> int:
        try:
            file = source.find(path)
        except OSError:
            return 0
        try:
            file.bucket.download(file.key, folder / path)
        except KeyError:
            return 0
        return (folder / path).stat().st_size

    return sum(in_order(fetch, wanted, threads=FETCH_THREADS))

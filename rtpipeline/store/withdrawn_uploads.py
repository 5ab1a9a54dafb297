"""Uploaded files of a withdrawn patient, and the lists that hold them.

A file stays only where it is known to be of other patients alone. Of the files that a list of his names, those that
nobody's are (a DICOMDIR, notes) go as well, since they may speak of him, and so do archives that hold him with others.
The list of what remains takes the place of his, under the name that its own content gives it, so that nobody takes a
part of an export for the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq

from rtpipeline.dicom.bucket_sources import OBJECTS, SOURCES, BucketFile, BucketSource, Listing, object_key
from rtpipeline.dicom.scan import scan
from rtpipeline.dicom.sources import FileEntry, Walk, digest_of
from rtpipeline.errors import UsageError
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.keys import DIGEST_HEX

SHA256_HEX = 64


@dataclass(frozen=True)
class Withdrawn:
    """Who leaves the cohort, and who is in it."""

    patients: Sequence[str]
    """pseudonyms"""
    keys: Collection[str]
    """what the export calls them; empty where that is not known any more"""
    known: Collection[str] = ()
    """what the export calls every patient of the cohort"""

    def is_theirs(self, key: str, patient_id: str = "") -> bool:
        """Whether an object is of them, by its patient key and, where it was placed, its patient's pseudonym."""
        if patient_id:
            return patient_id in self.patients
        # of patients that the cohort does not know any more nobody can say that they are others
        return key in self.keys if self.keys else bool(key) and key not in self.known


@dataclass
class Holders:
    """Whose objects a file holds."""

    theirs: bool = False
    others: bool = False

    def add(self, *, theirs: bool) -> None:
        """One more object."""
        self.theirs |= theirs
        self.others |= not theirs


@dataclass
class UploadsToGo:
    """What is to be removed and written of uploaded files; keys below the cohort."""

    lists: dict[str, bytes | None] = field(default_factory=dict)
    """key of a list to remove, and the list of what remains of it; None where nothing does"""
    objects: list[str] = field(default_factory=list)
    shared: int = 0
    """archives among them that hold other patients too"""
    nobodys: int = 0
    """files among them that name no patient"""

    @property
    def new_lists(self) -> dict[str, bytes]:
        """Key and content of the lists to write."""
        return {_list_key(Listing.parse(content)): content for content in self.lists.values() if content is not None}


def uploads_to_go(cohort: Bucket, index: Path, withdrawn: Withdrawn) -> UploadsToGo:
    """Which uploaded files and lists of a cohort have to go. Files that the index does not know are read.

    Parameters
    ----------
    index: `index.parquet`, from before it is rewritten.

    Raises
    ------
    UsageError: a list is none. TransientError: the bucket failed.
    """
    sizes = {entry.key[-SHA256_HEX:]: entry.size for entry in cohort.list(f"{OBJECTS}/")}
    lists = dict(_lists(cohort))
    holders = _holders(cohort, sizes, lists, index, withdrawn)
    listed_with_him: set[str] = set()
    unlisted = set(sizes)
    found = UploadsToGo()
    for key, listing in lists.items():
        contents = {file.sha256 for below in listing.files.values() for file in below.values()} - {""}
        unlisted -= contents
        if any(holders[sha256].theirs for sha256 in contents if sha256 in holders):
            listed_with_him |= contents
            found.lists[key] = _rest(listing, holders)
    for sha256 in sorted(sizes):
        whose = holders.get(sha256, Holders())
        is_nobodys = not whose.theirs and not whose.others
        if whose.theirs or (is_nobodys and (sha256 in unlisted or sha256 in listed_with_him)):
            found.objects.append(object_key(sha256))
            found.shared += whose.theirs and whose.others
            found.nobodys += is_nobodys
    return found


def _lists(cohort: Bucket) -> Iterator[tuple[str, Listing]]:
    for entry in cohort.list(f"{SOURCES}/"):
        try:
            yield entry.key, Listing.parse(cohort.get(entry.key))
        except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
            name = PurePosixPath(entry.key).name
            raise UsageError(
                f"{cohort.url}/{SOURCES}/{name} is no list of an upload ({type(error).__name__}), so whose files it "
                "names cannot be told; remove it, or upload again, then repeat the command. Nothing was removed."
            ) from error


def _rest(listing: Listing, holders: Mapping[str, Holders]) -> bytes | None:
    """The list of what is of others alone; without what could not be read, whose path may name anybody."""

    def stays(sha256: str) -> bool:
        return sha256 in holders and holders[sha256].others and not holders[sha256].theirs

    files = {
        root: {path: file for path, file in below.items() if stays(file.sha256)}
        for root, below in listing.files.items()
    }
    return replace(listing, files=files, unreadable=()).content() if any(files.values()) else None


def _list_key(listing: Listing) -> str:
    listed = sorted(
        (root, path, file.size, file.mtime_ns) for root, below in listing.files.items() for path, file in below.items()
    )
    return f"{SOURCES}/{digest_of(listed)[:DIGEST_HEX]}.json.gz"


def _holders(
    cohort: Bucket, sizes: Mapping[str, int], lists: Mapping[str, Listing], index: Path, withdrawn: Withdrawn
) -> dict[str, Holders]:
    """Whose objects each uploaded file holds, by its content; absent for what is no DICOM."""
    indexed = _indexed(index, withdrawn)
    found: dict[str, Holders] = {}
    for listing in lists.values():
        for root, below in listing.files.items():
            for path, file in below.items():
                whose = indexed.get((root, path, file.mtime_ns))
                if whose is not None and file.sha256:
                    known = found.setdefault(file.sha256, Holders())
                    known.theirs |= whose.theirs
                    known.others |= whose.others
    unknown = {sha256: size for sha256, size in sizes.items() if sha256 not in found}
    return found | _read(cohort, unknown, withdrawn)


def _indexed(index: Path, withdrawn: Withdrawn) -> dict[tuple[int, str, int], Holders]:
    """By source, path and time of a file, as far as the index says."""
    found: dict[tuple[int, str, int], Holders] = defaultdict(Holders)
    if not index.is_file():
        return found
    names = ("source", "path", "mtime_ns", "patient_key", "patient_id")
    table = pq.read_table(index, columns=list(names))
    for source, path, mtime_ns, key, patient_id in zip(*(table[name].to_pylist() for name in names), strict=True):
        if key or patient_id:
            found[source, path, mtime_ns].add(theirs=withdrawn.is_theirs(key, patient_id))
    return dict(found)


def _read(cohort: Bucket, unknown: Mapping[str, int], withdrawn: Withdrawn) -> dict[str, Holders]:
    """What the headers of uploaded files say."""
    found: dict[str, Holders] = defaultdict(Holders)
    if unknown:
        table = scan([_Contents(cohort, tuple(sorted(unknown.items())))], workers=1, secret=b"").table
        for sha256, key in zip(table["path"].to_pylist(), table["patient_key"].to_pylist(), strict=True):
            if key:
                found[sha256].add(theirs=withdrawn.is_theirs(key))
    return dict(found)


@dataclass(frozen=True, slots=True)
class _Contents(BucketSource):
    """Uploaded files by their content, whatever list names them."""

    bucket: Bucket
    sizes: tuple[tuple[str, int], ...]
    """sha256 and bytes"""

    def entries(self, number: int, met: Walk) -> Iterator[FileEntry]:
        """Each under its sha256."""
        for sha256, size in self.sizes:
            yield FileEntry(number, sha256, size, 0, object_key(sha256))

    def find(self, path: str, key: str = "") -> BucketFile:
        """The object of a sha256."""
        return BucketFile(self.bucket, key or object_key(path), path)

    def check(self) -> None:
        """They were listed a moment ago."""

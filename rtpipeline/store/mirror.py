"""Parts of a store in a bucket as a store on disk, so that what plans and what collects works on both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath

from rtpipeline.errors import TransientError
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.folder import CohortFolder, passing_folder
from rtpipeline.store.packing import DATA, OBJECTS, RECORD, TABLES, unpack, unpack_tables
from rtpipeline.store.transfers import in_order

THREADS = 32
"""Requests at once: each takes longer on its way than the server needs for it."""

FEW = 300
"""Up to so many records are asked for one by one; for more the bucket is listed first."""


def mirror_records(store: Bucket, folder: CohortFolder, paths: Collection[PurePosixPath]) -> int:
    """Fetch the `stage.json` of those of some outputs that are there; their number.

    One without its archives is none: uploads go on after one of them has failed, and what is recorded would never be
    computed again.

    Parameters
    ----------
    paths: output folders below the store.

    Raises
    ------
    TransientError, UsageError: as every call of a bucket.
    """
    is_listed = len(paths) > FEW
    wanted = _existing(store, f"{folder.cohort}/courses/") & set(paths) if is_listed else set(paths)

    def fetch(path: PurePosixPath) -> bool:
        content = get(store, path / RECORD) if is_listed or _existing(store, f"{path}/") else None
        if content is not None:
            # a copy that nobody else reads: tens of thousands are not worth a flush to the disk each
            target = folder.store / path
            target.mkdir(parents=True, exist_ok=True)
            (target / RECORD).write_bytes(content)
        return content is not None

    return sum(in_order(fetch, sorted(wanted), threads=THREADS))


def _existing(store: Bucket, below: str) -> set[PurePosixPath]:
    """Folders below a prefix that hold every object of an output."""
    found: dict[PurePosixPath, set[str]] = {}
    for entry in store.list(below):
        path = PurePosixPath(entry.key)
        found.setdefault(path.parent, set()).add(path.name)
    return {folder for folder, names in found.items() if names.issuperset(OBJECTS)}


def mirror_outputs(
    store: Bucket, folder: CohortFolder, paths: Iterable[PurePosixPath], *, tables_only: bool = True
) -> list[PurePosixPath]:
    """Fetch and unpack outputs at their place; returns those that are absent, or half replaced by another.

    Raises
    ------
    TransientError, UsageError: as every call of a bucket; an archive holds an unsafe member.
    """
    names = (RECORD, TABLES) if tables_only else (RECORD, TABLES, DATA)

    def fetch(path: PurePosixPath) -> PurePosixPath | None:
        target = folder.store / path
        with passing_folder(target) as packed:
            try:
                for name in names:
                    store.download(str(path / name), packed / name)
            except KeyError:
                return path
            return None if unpacked(unpack_tables if tables_only else unpack, packed, target) else path

    return [path for path in in_order(fetch, sorted(paths), threads=THREADS) if path is not None]


def unpacked(how: Callable[[Path, Path], None], packed: Path, target: Path) -> bool:
    """Whether `how` could unpack; False where the objects are not of one output."""
    try:
        how(packed, target)
    except TransientError:
        return False
    return True


def get(store: Bucket, path: PurePosixPath | str) -> bytes | None:
    """Content of an object; None where there is none."""
    try:
        return store.get(str(path))
    except KeyError:
        return None

"""Outputs of a cohort that no current key names, and folders that killed processes have left; in a bucket as well."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rtpipeline.store.bucket import Bucket, Entry
from rtpipeline.store.folder import TEMPORARY_PREFIX, CohortFolder
from rtpipeline.store.keys import key, stage_path
from rtpipeline.store.packing import removal_order

UNNAMED = "no current key"
DEPTHS = {"organize": 2, "courses": 4}
"""Parts of an output's path below the cohort, by the first one."""


@dataclass(frozen=True)
class Removable:
    """A folder, or the objects of one, that can go."""

    path: PurePosixPath
    """below the store"""
    size_bytes: int
    why: str
    keys: tuple[str, ...] = ()
    """in a bucket: of its objects, below the store"""


def removable(folder: CohortFolder, plans: Iterable[dict[str, Any]]) -> list[Removable]:
    """What can be removed so that every output named by these plans stays.

    Parameters
    ----------
    plans: `plan.json` of the runs that are kept.
    """
    kept = _kept(folder.cohort, plans)

    def found(path: Path, why: str) -> Removable:
        return Removable(PurePosixPath(path.relative_to(folder.store).as_posix()), _size(path), why)

    unnamed = [found(path, UNNAMED) for path in _outputs(folder)]
    left = [
        found(path, "left by a process that was killed")
        for pattern in ("*", "*/*", "courses/*/*", "courses/*/*/*")
        for path in sorted(folder.root.glob(pattern))
        if path.name.startswith(TEMPORARY_PREFIX)
    ]
    return [item for item in unnamed if item.path not in kept] + left


def removable_objects(store: Bucket, cohort: str, plans: Iterable[dict[str, Any]]) -> list[Removable]:
    """The same of a store in a bucket; what uploads that were cut have left of an output counts as one.

    Raises
    ------
    UsageError, TransientError: as every call of a bucket.
    """
    outputs: dict[PurePosixPath, list[Entry]] = {}
    for first, depth in DEPTHS.items():
        for entry in store.list(f"{key(cohort, first)}/"):
            parts = entry.key.split("/")
            if len(parts) > depth + 1:
                outputs.setdefault(PurePosixPath(*parts[: depth + 1]), []).append(entry)
    kept = _kept(cohort, plans)
    return [
        Removable(path, sum(e.size for e in entries), UNNAMED, tuple(e.key for e in entries))
        for path, entries in sorted(outputs.items())
        if path not in kept
    ]


def _kept(cohort: str, plans: Iterable[dict[str, Any]]) -> set[PurePosixPath]:
    kept: set[PurePosixPath] = set()
    for plan in plans:
        kept.add(stage_path(cohort, "organize", plan["organize_key"]))
        for course in plan["courses"]:
            kept.update(key(cohort, entry["folder"]) for entry in course["stages"].values())
    return kept


def _outputs(folder: CohortFolder) -> Iterator[Path]:
    for pattern in ("organize/*", "courses/*/*/*"):
        for path in sorted(folder.root.glob(pattern)):
            if path.is_dir() and not path.name.startswith(TEMPORARY_PREFIX):
                yield path


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())


def remove(folder: CohortFolder, found: Iterable[Removable]) -> None:
    """Remove folders, and those above that are empty then."""
    for item in found:
        path = folder.store / item.path
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        _remove_empty_parents(path, folder.root)


def remove_objects(store: Bucket, found: Iterable[Removable]) -> None:
    """Remove outputs from a bucket, their records first."""
    store.delete(removal_order(key for item in found for key in item.keys))


def _remove_empty_parents(path: Path, root: Path) -> None:
    """Remove the folders above a removed one that are empty now, up to `root`."""
    for parent in path.parents:
        if parent == root or not parent.is_relative_to(root) or any(parent.iterdir()):
            return
        parent.rmdir()

"""Outputs of a cohort that no current key names, and folders that killed processes have left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtpipeline.store.folder import TEMPORARY_PREFIX, CohortFolder
from rtpipeline.store.keys import stage_path


@dataclass(frozen=True)
class Removable:
    """A folder that can go."""

    path: Path
    """below the cohort's folder"""
    size_bytes: int
    why: str


def removable(folder: CohortFolder, plans: Iterable[dict[str, Any]]) -> list[Removable]:
    """What can be removed so that every output named by these plans stays.

    Parameters
    ----------
    plans: `plan.json` of the runs that are kept.
    """
    kept = _kept(folder, plans)
    found = [Removable(path, _size(path), "no current key") for path in _outputs(folder) if path not in kept]
    for pattern in ("*", "*/*", "courses/*/*", "courses/*/*/*"):
        for path in sorted(folder.root.glob(pattern)):
            if path.name.startswith(TEMPORARY_PREFIX):
                found.append(Removable(path, _size(path), "left by a process that was killed"))
    return found


def _kept(folder: CohortFolder, plans: Iterable[dict[str, Any]]) -> set[Path]:
    kept: set[Path] = set()
    for plan in plans:
        kept.add(folder.store / stage_path(folder.cohort, "organize", plan["organize_key"]))
        for course in plan["courses"]:
            kept.update(folder.root / entry["folder"] for entry in course["stages"].values())
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


def remove_empty_parents(path: Path, root: Path) -> None:
    """Remove the folders above a removed one that are empty now, up to `root`."""
    for parent in path.parents:
        if parent == root or not parent.is_relative_to(root) or any(parent.iterdir()):
            return
        parent.rmdir()

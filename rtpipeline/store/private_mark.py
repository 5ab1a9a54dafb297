"""The object `private/organize_key`: which organize the cohort's private files are of, and how large they are.

Argo goes on uploading when one object has failed, so the mark can be there beside older files than those it speaks of;
sizes tell them apart. Whoever reads a course's rows of the index compares them with its digest besides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MARKER = "organize_key"
FILES = ("index.parquet", "identity.parquet", "registry.json")


def mark(key: str, private: Path) -> bytes:
    """The mark of a key and the files in a folder."""
    return "".join([f"{key}\n", *(f"{(private / name).stat().st_size} {name}\n" for name in FILES)]).encode()


def marked_key(content: bytes | None) -> str:
    """The key of a mark; '' without one."""
    return content.decode().partition("\n")[0].strip() if content else ""


def is_whole(content: bytes, size_of: Callable[[str], int | None]) -> bool:
    """Whether the files of a mark are there as large as it says; a mark of one machine says no sizes.

    Parameters
    ----------
    size_of: size of a private file in bytes by its name; None where there is none.
    """
    sizes = [line.split(" ", 1) for line in content.decode().splitlines()[1:]]
    return all(size_of(name) == int(size) for size, name in sizes)

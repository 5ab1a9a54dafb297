"""A stage's output as the three objects that it is in a bucket: `data.tgz`, `tables.tgz` and `stage.json`.

`tables.tgz` holds what aggregation collects of every course, so that it need not fetch the images; `data.tgz` all else.
Objects are replaced one after the other, so each archive begins with the digest of the whole output: parts of two
outputs never pass for one. Same output, same bytes: sorted, without times and owners, gzip without compression.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from rtpipeline.errors import TransientError, UsageError
from rtpipeline.store.folder import staged
from rtpipeline.store.keys import output_digest

DATA, TABLES, RECORD = "data.tgz", "tables.tgz", "stage.json"
OBJECTS = (DATA, TABLES, RECORD)
"""In the order in which they are uploaded: the record last."""

COLLECTED_SUFFIXES = frozenset({".parquet", ".json", ".html"})
"""Of the files that lie at the top of an output: tables, facts of plans and doses, the course page."""

MARK = ".output_digest"
"""First member of each archive; no file of the output."""

COPY_BYTES = 1 << 20


def is_collected(name: str) -> bool:
    """Whether a file (its path below the output) is among what aggregation reads."""
    path = PurePosixPath(name)
    return len(path.parts) == 1 and path.suffix in COLLECTED_SUFFIXES


def pack(folder: Path, out: Path) -> None:
    """Pack a complete output folder into `out`, which appears by a rename.

    Raises
    ------
    UsageError: the folder is not complete, or holds something that is neither file nor folder.
    """
    if not (folder / RECORD).is_file():
        raise UsageError(f"{folder.name} holds no {RECORD}; only a complete output can be packed.")
    digest = json.loads((folder / RECORD).read_bytes())["output_digest"]
    with staged(out) as scratch:
        names = _names(folder)
        _write(folder, [n for n in names if not is_collected(n)], digest, scratch / DATA)
        _write(folder, [n for n in names if is_collected(n)], digest, scratch / TABLES)
        shutil.copyfile(folder / RECORD, scratch / RECORD)


def removal_order(keys: Iterable[str]) -> list[str]:
    """Keys of outputs in the order of their removal: records first, so that nothing counts that is half gone."""
    return sorted(keys, key=lambda key: (PurePosixPath(key).name != RECORD, key))


def is_packed(packed: Path) -> bool:
    """Whether all three objects are there; what they hold may still be of two outputs."""
    return all((packed / name).is_file() for name in OBJECTS)


def unpack(packed: Path, folder: Path) -> None:
    """The output folder as it was before `pack`; an older one there makes way.

    Raises
    ------
    TransientError: an object is missing or cut, or they are not of one output.
    UsageError: an archive holds a member that would not stay inside the folder, or is no file.
    """
    _unpack(packed, folder, (DATA, TABLES))


def unpack_tables(packed: Path, folder: Path) -> None:
    """Of an output only what aggregation reads, with its `stage.json`; raises as `unpack` does."""
    _unpack(packed, folder, (TABLES,))


def _unpack(packed: Path, folder: Path, archives: Sequence[str]) -> None:
    record = _record(packed)
    with staged(folder) as scratch:
        for name in archives:
            _extract(packed / name, record["output_digest"], scratch)
        if DATA in archives and output_digest(scratch) != record["output_digest"]:
            raise TransientError(f"{DATA} and {TABLES} are not the output that {RECORD} tells of.")
        shutil.copyfile(packed / RECORD, scratch / RECORD)


def _record(packed: Path) -> dict[str, str]:
    try:
        record: dict[str, str] = json.loads((packed / RECORD).read_bytes())
    except FileNotFoundError:
        raise TransientError(f"{RECORD} is missing.") from None
    except ValueError:
        raise TransientError(f"{RECORD} is cut.") from None
    return record


def _names(folder: Path) -> list[str]:
    """All below a folder but its record, sorted; folders end with a slash."""
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UsageError(f"{path.relative_to(folder).as_posix()} is neither a file nor a folder.")
        found.append(path.relative_to(folder).as_posix() + ("/" if path.is_dir() else ""))
    return sorted(name for name in found if name != RECORD)


def _write(folder: Path, names: Sequence[str], digest: str, path: Path) -> None:
    with path.open("wb") as raw, packed_stream(raw) as archive:
        add_bytes(archive, MARK, digest.encode())
        for name in names:
            if name.endswith("/"):
                archive.addfile(member(name.rstrip("/"), is_folder=True))
                continue
            with (folder / name).open("rb") as file:
                archive.addfile(member(name, size=(folder / name).stat().st_size), file)


@contextmanager
def packed_stream(raw: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """An archive to write into: tar in a gzip stream without compression, name and time."""
    with (
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=0, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, bufsize=COPY_BYTES) as archive,
    ):
        yield archive


def member(name: str, *, size: int = 0, is_folder: bool = False) -> tarfile.TarInfo:
    """A member without time and owner."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    if is_folder:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Write one file into an archive."""
    archive.addfile(member(name, size=len(content)), io.BytesIO(content))


@contextmanager
def members(path: Path) -> Iterator[Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]]:
    """The members of an archive in their order, each with its content (None of a folder), to be read as they come.

    Raises
    ------
    TransientError: the archive is missing or cut, also where that shows while content is read.
    UsageError: a member has an absolute name, leads out of the folder, or is neither file nor folder.
    """
    try:
        with tarfile.open(path, mode="r|gz", bufsize=COPY_BYTES) as archive:
            yield _checked(archive, path.name)
    except FileNotFoundError:
        raise TransientError(f"{path.name} is missing.") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise TransientError(f"{path.name} is cut or no archive ({type(error).__name__}).") from None


def _checked(archive: tarfile.TarFile, name: str) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    for info in archive:
        parts = PurePosixPath(info.name).parts
        if not parts or info.name.startswith("/") or ".." in parts:
            raise UsageError(f"{name} holds a member that leads out of its folder.")
        if not (info.isreg() or info.isdir()):
            raise UsageError(f"{name} holds a member that is neither a file nor a folder.")
        yield info, archive.extractfile(info) if info.isreg() else None


def _extract(path: Path, digest: str, folder: Path) -> None:
    """Write the members of an archive below a folder; its mark has to be the digest."""
    with members(path) as found:
        info, content = next(found, (None, None))
        if info is None or info.name != MARK or content is None or content.read() != digest.encode():
            raise TransientError(f"{path.name} is not of the output that {RECORD} tells of.")
        for info, content in found:
            if info.name == RECORD:
                raise UsageError(f"{path.name} holds a {RECORD}.")
            write_member(info, content, folder)


def write_member(info: tarfile.TarInfo, content: IO[bytes] | None, folder: Path) -> None:
    """Write one member below a folder, in which no other has its name."""
    target = folder / info.name
    if content is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(content, file, COPY_BYTES)

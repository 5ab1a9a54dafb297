"""What one worker of the scan does: reads some files, gives rows and counted problems."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pyarrow as pa

from rtpipeline.contracts.index import SCAN_SCHEMA
from rtpipeline.dicom.archives import ArchiveReadError, BombError, Refusals, Selection, everything
from rtpipeline.dicom.header import read_header
from rtpipeline.dicom.objects import SourceFile
from rtpipeline.dicom.scan_findings import (
    Tally,
    count_problem,
    count_refusals,
    file_subject,
    source_subject,
)
from rtpipeline.dicom.sources import TRANSIENT_ERRNOS, FileEntry, Source, locate
from rtpipeline.dicom.window import Window
from rtpipeline.errors import OutOfMemoryError, TransientError
from rtpipeline.store.transfers import in_order

ZIP_PART_MEMBERS = 512
"""Members of a zip that one task reads at least; a zip can be entered anywhere, a tar only read through."""
ZIP_PARTS = 32
"""Tasks at most for one zip, since each of them reads its directory."""
BUCKET_THREADS = 8
"""Files of a bucket that one worker reads at once; each may be a structure set that is held whole."""


@dataclass(frozen=True)
class ScanTask:
    """Files that one call reads."""

    sources: tuple[Source, ...]
    entries: tuple[FileEntry, ...]
    with_content: bool
    part: slice | None = None
    """of the members of the only entry, a zip"""
    members: frozenset[str] | None = None
    """of the only entry, an archive, the members to read; None for all"""


@dataclass
class ScanBatch:
    """What reading a task gave."""

    rows: pa.RecordBatch
    tally: Tally = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    not_dicom: Counter[str] = field(default_factory=Counter)
    parts: list[ScanTask] = field(default_factory=list)
    """what is left to read: the parts of large zips"""


_NO_ROWS = pa.RecordBatch.from_pylist([], SCAN_SCHEMA)
_stop_requested: Event | None = None


def start_worker(stop: Event, environment: dict[str, str]) -> None:
    """First call in a worker, with its parent's environment (where a bucket is, and with what keys it is read).

    Ctrl-C goes to the whole process group; the parent alone decides how to end.
    """
    global _stop_requested
    os.environ.clear()
    os.environ.update(environment)
    _stop_requested = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def read_task(task: ScanTask) -> ScanBatch:
    """Rows and problems of the files of a task."""
    rows: list[dict[str, Any]] = []
    batch = ScanBatch(_NO_ROWS)
    if all(isinstance(source, Path) for source in task.sources):
        for entry in task.entries:
            _read_entry(task, entry, rows, batch)
    else:
        # of a bucket several files at once, since each answer takes its time whoever asks
        for one_rows, one in in_order(lambda entry: _alone(task, entry), task.entries, threads=BUCKET_THREADS):
            rows += one_rows
            batch.tally.update(one.tally)
            batch.counts.update(one.counts)
            batch.not_dicom.update(one.not_dicom)
            batch.parts += one.parts
    batch.rows = record_batch(rows)
    return batch


def _alone(task: ScanTask, entry: FileEntry) -> tuple[list[dict[str, Any]], ScanBatch]:
    rows: list[dict[str, Any]] = []
    batch = ScanBatch(_NO_ROWS)
    _read_entry(task, entry, rows, batch)
    return rows, batch


def _read_entry(task: ScanTask, entry: FileEntry, rows: list[dict[str, Any]], batch: ScanBatch) -> None:
    """Appends the rows of one file, and counts it and what keeps it from being read."""
    if _stop_requested is not None and _stop_requested.is_set():
        return
    try:
        _read_file(task, entry, rows, batch)
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        batch.tally["FILE_TRUNCATED", file_subject(entry.path), f"cannot be opened: {type(error).__name__}"] += 1
    except MemoryError as error:
        raise OutOfMemoryError("Memory ran out while DICOM headers were read; run with fewer workers.") from error
    except OSError as error:
        if error.errno in TRANSIENT_ERRNOS:
            raise TransientError(f"The storage failed while DICOM headers were read ({error.strerror}).") from error
        batch.tally["FILE_TRUNCATED", file_subject(entry.path), f"cannot be read: {type(error).__name__}"] += 1
    if task.part is None or not task.part.start:
        batch.counts["files"] += 1


def _read_file(task: ScanTask, entry: FileEntry, rows: list[dict[str, Any]], batch: ScanBatch) -> None:
    """Appends the rows of one file, and counts what is wrong with it."""
    refusals = Refusals()
    archive = file_subject(entry.path, label="archive")
    with SourceFile(locate(task.sources[entry.source], entry.path, entry.key)) as file:
        if file.archive_kind == "zip" and task.part is None and task.members is None:
            members = file.member_count()
            step = max(ZIP_PART_MEMBERS, -(-members // ZIP_PARTS))
            if members > step:
                parts = [slice(start, start + step) for start in range(0, members, step)]
                batch.parts += [ScanTask(task.sources, (entry,), task.with_content, part) for part in parts]
                return
        if file.archive_kind and not (task.part and task.part.start):
            batch.counts["archives"] += 1
        select = Selection(task.members) if task.members is not None else everything
        try:
            for member, window in file.objects(refusals=refusals, select=select, part=task.part):
                batch.counts["members"] += bool(member)
                _read_object(entry, member, window, task.with_content, rows, batch)
        except BombError as error:
            refusals.refused[f"the rest of the archive, a bomb ({error})"] += 1
        except ArchiveReadError as error:
            refusals.stopped = f"archive cannot be read to its end ({error})"
    count_refusals(batch.tally, refusals, archive)


def _read_object(
    entry: FileEntry, member: str, window: Window, with_content: bool, rows: list[dict[str, Any]], batch: ScanBatch
) -> None:
    file = file_subject(entry.path, member)
    try:
        header = read_header(window, with_content=with_content)
    except BombError:
        raise
    except ArchiveReadError as error:
        batch.tally["FILE_TRUNCATED", file, f"member cannot be read ({error})"] += 1
        return
    if header.not_dicom:
        batch.not_dicom[header.not_dicom] += 1
        batch.tally["FILE_NOT_DICOM", source_subject(entry.source), header.not_dicom] += 1
    if header.row is not None:
        header.row.update(source=entry.source, path=entry.path, member=member, mtime_ns=entry.mtime_ns)
        rows.append(header.row)
    for problem in header.problems:
        count_problem(batch.tally, problem, header.row, entry.source, file)


def record_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Rows as columns of SCAN_SCHEMA."""
    columns = [pa.array([row[name.name] for row in rows], name.type) for name in SCAN_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=SCAN_SCHEMA)

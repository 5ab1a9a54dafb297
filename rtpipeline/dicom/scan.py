"""The one pass over an export: every file is opened once, its header read once, RT objects read whole once.

Image slices whose SOP instance UID occurs again are read a second time, for the digest of their pixels.
"""

from __future__ import annotations

import errno
import multiprocessing
import signal
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rtpipeline.contracts.findings import Finding
from rtpipeline.contracts.index import SCAN_SCHEMA
from rtpipeline.dicom.archives import ArchiveReadError, BombError, Refusals, Selection, everything
from rtpipeline.dicom.duplicates import Opener, content_opener
from rtpipeline.dicom.header import read_header
from rtpipeline.dicom.objects import SourceFile
from rtpipeline.dicom.scan_findings import (
    Tally,
    count_problem,
    count_refusals,
    file_subject,
    findings_of,
    source_subject,
)
from rtpipeline.dicom.sources import FileEntry, Walk, locate, walk
from rtpipeline.dicom.window import Window
from rtpipeline.errors import OutOfMemoryError, TransientError

CHUNK_FILES = 64
CHUNK_BYTES = 256 * 1024**2
ZIP_PART_MEMBERS = 512
"""Members of a zip that one task reads at least; a zip can be entered anywhere, a tar only read through."""
ZIP_PARTS = 32
"""Tasks at most for one zip, since each of them reads its directory."""
QUEUED_PER_WORKER = 4

_TRANSIENT = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
)


@dataclass
class ScanResult:
    """What an export holds."""

    table: pa.Table
    """SCAN_SCHEMA, by source, path and member"""
    findings: list[Finding]
    counts: dict[str, Any]
    """files, bytes, archives, members, second_reads; objects by kind; not_dicom by kind of file"""
    opener: Opener
    """reads objects of the table again, for `duplicates.resolve`"""


@dataclass(frozen=True)
class _Task:
    """Files that one call reads."""

    sources: tuple[Path, ...]
    entries: tuple[FileEntry, ...]
    with_content: bool
    part: slice | None = None
    """of the members of the only entry, a zip"""
    members: frozenset[str] | None = None
    """of the only entry, an archive, the members to read; None for all"""


@dataclass
class _Batch:
    """What reading a task gave."""

    rows: pa.RecordBatch
    tally: Tally = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    not_dicom: Counter[str] = field(default_factory=Counter)
    parts: list[_Task] = field(default_factory=list)
    """what is left to read: the parts of large zips"""


def scan(
    sources: Sequence[Path],
    *,
    workers: int,
    secret: bytes,
    verify_content: bool = False,
    progress: Callable[[int, int], None] | None = None,
    ignore: Sequence[Path] = (),
) -> ScanResult:
    """Index of every DICOM object below the sources, the same for every number of workers.

    Parameters
    ----------
    sources: folders, archives or single files.
    workers: processes; 1 reads in this process.
    secret: of the cohort, for the names in findings.
    verify_content: digest of the whole content of every object, instead of RT objects and colliding UIDs only.
    progress: called with the files done and the files known so far.
    ignore: folders below the sources that are left out.

    Raises
    ------
    TransientError: a worker died, or the storage failed.
    """
    met = Walk()
    roots = tuple(path.resolve() for path in sources)
    entries = list(walk(roots, ignore=ignore, met=met))
    state = _Gathered(progress, len(entries))
    with _Pool(workers) as pool:
        pool.run(_tasks(roots, entries, verify_content), state.add)
        table = _table(state.batches)
        again = _colliding(table)
        if again:
            state.total += len({(source, path) for source, path, _ in again})
            table = _with_content(table, pool, roots, entries, again, state)
    for _, path, error in met.unreadable:
        state.tally["FILE_TRUNCATED", file_subject(path, label="folder or file"), f"cannot be listed: {error}"] += 1
    for source, number in met.system_folders.items():
        state.tally["FILE_NOT_DICOM", source_subject(source), "folder of the storage system, not entered"] += number
    kinds = pc.value_counts(table["kind"]).to_pylist() if table.num_rows else []
    counts: dict[str, Any] = {
        "files": len(entries),
        "bytes": sum(entry.size for entry in entries),
        "archives": state.counts["archives"],
        "members": state.counts["members"],
        "second_reads": len(again),
        "objects": {row["values"]: row["counts"] for row in sorted(kinds, key=lambda row: str(row["values"]))},
        "not_dicom": dict(sorted(state.not_dicom.items())),
    }
    return ScanResult(table, findings_of(state.tally, secret), counts, content_opener(roots))


class _Gathered:
    """Sums of the batches as they come in, whatever their order."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.tally: Tally = Counter()
        self.counts: Counter[str] = Counter()
        self.not_dicom: Counter[str] = Counter()
        self.total = total
        self._progress = progress

    def add(self, batch: _Batch) -> None:
        """One batch of the first pass."""
        self.batches.append(batch.rows)
        self.tally.update(batch.tally)
        self.not_dicom.update(batch.not_dicom)
        self.count(batch)

    def count(self, batch: _Batch) -> None:
        """Progress only."""
        self.counts.update(batch.counts)
        if self._progress:
            self._progress(self.counts["files"], self.total)


def _tasks(sources: tuple[Path, ...], entries: Iterable[FileEntry], with_content: bool) -> Iterator[_Task]:
    """Chunks of files; large ones first and alone, so that no archive is still read when all else is done."""
    entries = list(entries)
    large = sorted((e for e in entries if e.size > CHUNK_BYTES), key=lambda entry: -entry.size)
    yield from (_Task(sources, (entry,), with_content) for entry in large)
    chunk: list[FileEntry] = []
    size = 0
    for entry in entries:
        if entry.size > CHUNK_BYTES:
            continue
        if len(chunk) == CHUNK_FILES or (chunk and size + entry.size > CHUNK_BYTES):
            yield _Task(sources, tuple(chunk), with_content)
            chunk, size = [], 0
        chunk.append(entry)
        size += entry.size
    if chunk:
        yield _Task(sources, tuple(chunk), with_content)


class _Pool:
    """Runs tasks in processes, or in this one; a few tasks ahead, so memory stays bounded."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None
        self._stop: Event | None = None

    def __enter__(self) -> _Pool:
        if self._workers > 1:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__])
            self._stop = context.Event()
            self._executor = ProcessPoolExecutor(self._workers, context, _start_worker, (self._stop,))
        return self

    def __exit__(self, *exception: object) -> None:
        if self._executor is not None and self._stop is not None:
            self._stop.set()
            self._executor.shutdown(wait=True, cancel_futures=True)

    def run(self, tasks: Iterable[_Task], take: Callable[[_Batch], None]) -> None:
        """Calls `take` with every batch, and reads the parts of large zips that batches leave."""
        queue = deque(tasks)
        if self._executor is None:
            while queue:
                batch = _read_task(queue.popleft())
                queue.extend(batch.parts)
                take(batch)
            return
        running: set[Future[_Batch]] = set()
        try:
            while queue or running:
                while queue and len(running) < QUEUED_PER_WORKER * self._workers:
                    running.add(self._executor.submit(_read_task, queue.popleft()))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    batch = future.result()
                    queue.extend(batch.parts)
                    take(batch)
        except BrokenProcessPool as error:
            raise TransientError(
                "A process that reads DICOM headers ended unexpectedly, perhaps for lack of memory. "
                "Run again with fewer workers or more memory."
            ) from error


_stop_requested: Event | None = None


def _start_worker(stop: Event) -> None:
    """Ctrl-C goes to the whole process group; the parent alone decides how to end."""
    global _stop_requested
    _stop_requested = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_task(task: _Task) -> _Batch:
    """Rows and problems of the files of a task."""
    rows: list[dict[str, Any]] = []
    batch = _Batch(pa.RecordBatch.from_pylist([], SCAN_SCHEMA))
    for entry in task.entries:
        if _stop_requested is not None and _stop_requested.is_set():
            break
        try:
            _read_file(task, entry, rows, batch)
        except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
            batch.tally["FILE_TRUNCATED", file_subject(entry.path), f"cannot be opened: {type(error).__name__}"] += 1
        except MemoryError as error:
            raise OutOfMemoryError("Memory ran out while DICOM headers were read; run with fewer workers.") from error
        except OSError as error:
            if error.errno in _TRANSIENT:
                raise TransientError(f"The storage failed while DICOM headers were read ({error.strerror}).") from error
            batch.tally["FILE_TRUNCATED", file_subject(entry.path), f"cannot be read: {type(error).__name__}"] += 1
        if task.part is None or not task.part.start:
            batch.counts["files"] += 1
    batch.rows = _record_batch(rows)
    return batch


def _read_file(task: _Task, entry: FileEntry, rows: list[dict[str, Any]], batch: _Batch) -> None:
    """Appends the rows of one file, and counts what is wrong with it."""
    refusals = Refusals()
    archive = file_subject(entry.path, label="archive")
    with SourceFile(locate(task.sources[entry.source], entry.path)) as file:
        if file.archive_kind == "zip" and task.part is None and task.members is None:
            members = file.member_count()
            step = max(ZIP_PART_MEMBERS, -(-members // ZIP_PARTS))
            if members > step:
                parts = [slice(start, start + step) for start in range(0, members, step)]
                batch.parts += [_Task(task.sources, (entry,), task.with_content, part) for part in parts]
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
    entry: FileEntry, member: str, window: Window, with_content: bool, rows: list[dict[str, Any]], batch: _Batch
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


def _record_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    columns = [pa.array([row[name.name] for row in rows], name.type) for name in SCAN_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=SCAN_SCHEMA)


def _table(batches: list[pa.RecordBatch]) -> pa.Table:
    table = pa.Table.from_batches(batches, SCAN_SCHEMA)
    return table.sort_by([("source", "ascending"), ("path", "ascending"), ("member", "ascending")]).combine_chunks()


def _colliding(table: pa.Table) -> set[tuple[int, str, str]]:
    """(source, path, member) of objects without content digest whose SOP instance UID another object has too."""
    uids = table["sop_instance_uid"]
    counts = pc.value_counts(uids)
    shared = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    again = table.filter(
        pc.and_(
            pc.and_(pc.is_in(uids, shared), pc.not_equal(uids, "")),
            pc.equal(table["content_sha256"], ""),
        )
    )
    columns = again.select(["source", "path", "member"]).to_pydict()
    return set(zip(columns["source"], columns["path"], columns["member"], strict=True))


def _with_content(
    table: pa.Table,
    pool: _Pool,
    sources: tuple[Path, ...],
    entries: list[FileEntry],
    again: set[tuple[int, str, str]],
    state: _Gathered,
) -> pa.Table:
    """The table with content digests of the objects in `again`, which are read a second time."""
    members: dict[tuple[int, str], set[str]] = defaultdict(set)
    for source, path, member in again:
        members[source, path].add(member)
    chosen = [entry for entry in entries if (entry.source, entry.path) in members]
    plain = [entry for entry in chosen if members[entry.source, entry.path] == {""}]
    tasks = [
        *(
            _Task(sources, (entry,), True, members=frozenset(members[entry.source, entry.path]))
            for entry in chosen
            if members[entry.source, entry.path] != {""}
        ),
        *_tasks(sources, plain, True),
    ]
    digests: dict[tuple[int, str, str], str] = {}

    def take(batch: _Batch) -> None:
        columns = batch.rows.select(["source", "path", "member", "content_sha256"]).to_pydict()
        keys = zip(columns["source"], columns["path"], columns["member"], strict=True)
        digests.update(zip(keys, columns["content_sha256"], strict=True))
        state.count(batch)

    pool.run(tasks, take)
    keys = zip(*(table[name].to_pylist() for name in ("source", "path", "member")), strict=True)
    old = table["content_sha256"].to_pylist()
    new = [digests.get(key, text) if key in again else text for key, text in zip(keys, old, strict=True)]
    position = table.schema.get_field_index("content_sha256")
    return table.set_column(position, table.schema.field(position), pa.array(new, pa.string()))

"""The one pass over an export: every file is opened once, its header read once, RT objects read whole once.

Image slices whose SOP instance UID occurs again are read a second time, for the digest of their pixels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rtpipeline.contracts.findings import Finding
from rtpipeline.contracts.index import SCAN_SCHEMA
from rtpipeline.dicom.duplicates import Opener, content_opener
from rtpipeline.dicom.scan_findings import Tally, file_subject, findings_of, source_subject
from rtpipeline.dicom.scan_pool import ScanPool
from rtpipeline.dicom.scan_tasks import ScanBatch, ScanTask
from rtpipeline.dicom.sources import FileEntry, Source, Walk, resolved, walk
from rtpipeline.errors import UsageError

CHUNK_FILES = 64
CHUNK_BYTES = 256 * 1024**2


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


def scan(
    sources: Sequence[Source],
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
    sources: folders, archives or single files, also in buckets.
    workers: processes; 1 reads in this process.
    secret: of the cohort, for the names in findings.
    verify_content: digest of the whole content of every object, instead of RT objects and colliding UIDs only.
    progress: called with the files done and the files known so far.
    ignore: folders below the sources that are left out.

    Raises
    ------
    UsageError: a source does not exist.
    TransientError: a worker died, or the storage failed.
    """
    met = Walk()
    roots = tuple(_existing(number, source) for number, source in enumerate(sources))
    entries = list(walk(roots, ignore=ignore, met=met))
    state = _Gathered(progress, len(entries))
    with ScanPool(workers) as pool:
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


def _existing(number: int, source: Source) -> Source:
    try:
        return resolved(source)
    except OSError as error:
        raise UsageError(f"input {number} does not exist; give folders, archives or files that can be read.") from error


class _Gathered:
    """Sums of the batches as they come in, whatever their order."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.tally: Tally = Counter()
        self.counts: Counter[str] = Counter()
        self.not_dicom: Counter[str] = Counter()
        self.total = total
        self._progress = progress
        self._done = 0

    def add(self, batch: ScanBatch) -> None:
        """One batch of the first pass."""
        self.batches.append(batch.rows)
        self.tally.update(batch.tally)
        self.not_dicom.update(batch.not_dicom)
        self.counts.update(batch.counts)
        self.advance(batch)

    def advance(self, batch: ScanBatch) -> None:
        """The files of a batch are done."""
        self._done += batch.counts["files"]
        if self._progress:
            self._progress(self._done, self.total)


def _tasks(sources: tuple[Source, ...], entries: Iterable[FileEntry], with_content: bool) -> Iterator[ScanTask]:
    """Chunks of files; large ones first and alone, so that no archive is still read when all else is done."""
    entries = list(entries)
    large = sorted((e for e in entries if e.size > CHUNK_BYTES), key=lambda entry: -entry.size)
    yield from (ScanTask(sources, (entry,), with_content) for entry in large)
    chunk: list[FileEntry] = []
    size = 0
    for entry in entries:
        if entry.size > CHUNK_BYTES:
            continue
        if len(chunk) == CHUNK_FILES or (chunk and size + entry.size > CHUNK_BYTES):
            yield ScanTask(sources, tuple(chunk), with_content)
            chunk, size = [], 0
        chunk.append(entry)
        size += entry.size
    if chunk:
        yield ScanTask(sources, tuple(chunk), with_content)


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
    pool: ScanPool,
    sources: tuple[Source, ...],
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
            ScanTask(sources, (entry,), True, members=frozenset(members[entry.source, entry.path]))
            for entry in chosen
            if members[entry.source, entry.path] != {""}
        ),
        *_tasks(sources, plain, True),
    ]
    digests: dict[tuple[int, str, str], str] = {}

    def take(batch: ScanBatch) -> None:
        columns = batch.rows.select(["source", "path", "member", "content_sha256"]).to_pydict()
        keys = zip(columns["source"], columns["path"], columns["member"], strict=True)
        digests.update(zip(keys, columns["content_sha256"], strict=True))
        state.advance(batch)

    pool.run(tasks, take)
    keys = zip(*(table[name].to_pylist() for name in ("source", "path", "member")), strict=True)
    old = table["content_sha256"].to_pylist()
    new = [digests.get(key, text) if key in again else text for key, text in zip(keys, old, strict=True)]
    position = table.schema.get_field_index("content_sha256")
    return table.set_column(position, table.schema.field(position), pa.array(new, pa.string()))

"""Local folders into a bucket as a managed source: files by what they hold, then a list of what the folders hold.

No key names a patient: content is named by its sha256, and the list, which holds the paths, lies under `private/`.
A file that is there already is not sent again, so an upload that was cut goes on where it stopped, and the next export
of the same patients sends what is new.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rtpipeline.dicom.bucket_sources import OBJECTS, SOURCES, Listing, UploadedFile, object_key
from rtpipeline.dicom.sources import TRANSIENT_ERRNOS, FileEntry, Walk, digest_of, locate, walk
from rtpipeline.errors import TransientError, UsageError
from rtpipeline.store.bucket import PART_BYTES, Bucket
from rtpipeline.store.keys import DIGEST_HEX, file_sha256
from rtpipeline.store.transfers import in_order

log = logging.getLogger(__name__)

UPLOAD_THREADS = 16


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How far an upload is."""

    files: int
    """done, sent or found there"""
    files_total: int
    bytes: int
    bytes_total: int
    files_sent: int
    bytes_sent: int


def upload_source(
    folders: Sequence[Path],
    cohort_bucket: Bucket,
    progress: Callable[[UploadProgress], None] | None = None,
    *,
    threads: int = UPLOAD_THREADS,
) -> str:
    """Uploads folders, archives or single files; the URL of the managed source (several folders are one such source).

    The list is written last, so a source that has a list is whole. Its name is the listing digest: the same files with
    the same times are the same source.

    Parameters
    ----------
    cohort_bucket: `<prefix><cohort>`.
    progress: called after every file, from one thread at a time.

    Raises
    ------
    UsageError: a folder does not exist, or the bucket cannot be written.
    TransientError: storage or bucket failed, or a file changed meanwhile; what was sent is kept.
    """
    roots = [folder.absolute() for folder in folders]
    for folder, root in zip(folders, roots, strict=True):
        if not root.exists():
            raise UsageError(f"{folder} does not exist; give the folder or archive of the export.")
    met = Walk()
    entries = list(walk(roots, met=met))
    listed = sorted((entry.source, entry.path, entry.size, entry.mtime_ns) for entry in entries)
    name = f"{digest_of(listed)[:DIGEST_HEX]}.json.gz"
    upload = _Upload(roots, cohort_bucket, entries, progress)
    files: dict[int, dict[str, UploadedFile]] = {}
    for entry, file in zip(entries, in_order(upload.file, entries, threads=threads), strict=True):
        files.setdefault(entry.source, {})[entry.path] = file
    content = Listing(files, met.unreadable, met.system_folders, len(roots)).content()
    cohort_bucket.put(f"{SOURCES}/{name}", content)
    done = upload.done
    log.info("upload: %d files, %d of them sent (%d bytes)", done.files, done.files_sent, done.bytes_sent)
    return f"{cohort_bucket.url}/{SOURCES}/{name}"


class _Upload:
    """What the threads of one upload share."""

    def __init__(
        self,
        roots: Sequence[Path],
        bucket: Bucket,
        entries: Sequence[FileEntry],
        progress: Callable[[UploadProgress], None] | None,
    ) -> None:
        self.done = UploadProgress(0, len(entries), 0, sum(entry.size for entry in entries), 0, 0)
        self._roots = roots
        self._bucket = bucket
        self._progress = progress
        self._lock = threading.Lock()
        self._there = {(entry.key[-64:], entry.size) for entry in bucket.list(f"{OBJECTS}/")}

    def file(self, entry: FileEntry) -> UploadedFile:
        """Sends one file if it is not there; what the list is to say of it."""
        try:
            sha256, sent = self._send(entry)
        except OSError as error:
            if error.errno in TRANSIENT_ERRNOS:
                raise TransientError(f"The storage failed while files were uploaded ({error.strerror}).") from error
            # it cannot be read here, and whoever scans the source finds it so
            self._count(entry, sent=False)
            return UploadedFile(entry.size, entry.mtime_ns, "", type(error).__name__)
        self._count(entry, sent=sent)
        return UploadedFile(entry.size, entry.mtime_ns, sha256)

    def _send(self, entry: FileEntry) -> tuple[str, bool]:
        """sha256 of a file, which is an object now, and whether it was sent."""
        path = locate(self._roots[entry.source], entry.path)
        assert isinstance(path, Path)
        # small files are read once, so that name and content belong together whatever becomes of the file
        content = path.read_bytes() if entry.size <= PART_BYTES else None
        sha256 = file_sha256(path) if content is None else hashlib.sha256(content).hexdigest()
        self._unchanged(entry, path)
        if not self._claim(sha256, entry.size):
            return sha256, False
        if content is None:
            self._bucket.upload(path, object_key(sha256))
            self._unchanged(entry, path, sha256)
        else:
            self._bucket.put(object_key(sha256), content)
        return sha256, True

    def _unchanged(self, entry: FileEntry, path: Path, sent: str = "") -> None:
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime_ns):
            return
        if sent:
            self._bucket.delete([object_key(sent)])
        raise TransientError("a file changed while it was uploaded; upload again when the export has ended.")

    def _claim(self, sha256: str, size: int) -> bool:
        """Whether this thread is the one to send it."""
        with self._lock:
            if (sha256, size) in self._there:
                return False
            self._there.add((sha256, size))
            return True

    def _count(self, entry: FileEntry, *, sent: bool) -> None:
        with self._lock:
            done = self.done
            self.done = replace(
                done,
                files=done.files + 1,
                bytes=done.bytes + entry.size,
                files_sent=done.files_sent + sent,
                bytes_sent=done.bytes_sent + entry.size * sent,
            )
            if self._progress is not None:
                self._progress(self.done)

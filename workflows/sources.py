"""The data of a cohort: folders here, which are uploaded, or what lies in a bucket already."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rtpipeline.errors import TransientError, UsageError
from rtpipeline.execution.display import HEARTBEAT_S
from rtpipeline.store.bucket import Bucket, is_url
from rtpipeline.store.keys import DIGEST_HEX

if TYPE_CHECKING:
    from rtpipeline.store.upload import UploadProgress

SOURCES = "private/sources"
"""Where lists of uploads lie below a cohort."""

GB = 1e9
LIVE_S = 0.5
OBJECTS_PER_COURSE = 100
"""A course has one image series or more, of about a hundred slices: for a guess at the number of courses."""


@dataclass(frozen=True)
class Holding:
    """What sources hold."""

    digest: str
    """of path, size and time of every object"""
    objects: int

    @property
    def courses_guess(self) -> int:
        """How many courses that may be, rather too few than too many."""
        return self.objects // OBJECTS_PER_COURSE


def checked(texts: Sequence[str]) -> tuple[Path | str, ...]:
    """The sources of a command line: one URL, or folders and archives that exist.

    Raises
    ------
    UsageError: neither.
    """
    urls = [text for text in texts if is_url(text)]
    if urls and len(texts) > 1:
        raise UsageError(f"--source {urls[0]}: a source in a bucket has to be the only one.")
    if urls:
        return tuple(urls)
    for text in texts:
        if "://" in text:
            raise UsageError(f"--source {text}: only s3:// and folders of this machine can be read.")
        if not Path(text).exists():
            raise UsageError(f"--source {text} does not exist; give the folder of the export, or s3://bucket/prefix.")
    return tuple(Path(text).absolute() for text in texts)


def are_local(sources: Sequence[Path | str]) -> bool:
    """Whether they lie on this machine."""
    return not any(is_url(source) for source in sources)


def holding(sources: Sequence[Path | str]) -> Holding:
    """What sources hold; no file is opened.

    Raises
    ------
    UsageError, TransientError: a bucket cannot be listed. OSError: a folder cannot be.
    """
    from rtpipeline.dicom.bucket_sources import sources_of
    from rtpipeline.dicom.sources import digest_of, listing

    listed = listing([found for source in sources for found in sources_of(source)])
    return Holding(digest_of(listed), len(listed))


def managed_url(sources: Sequence[Path | str], held: Holding, cohort: Bucket) -> str:
    """Where the sources lie in the bucket, or will once they are uploaded."""
    return f"{cohort.url}/{SOURCES}/{_list_of(held)}" if are_local(sources) else str(sources[0])


def uploaded(sources: Sequence[Path | str], held: Holding, cohort: Bucket, stream: TextIO) -> str:
    """Where the sources lie in the bucket; local ones are uploaded, unless their list is there already.

    Parameters
    ----------
    stream: is told how far it is.

    Raises
    ------
    TransientError: files changed meanwhile.
    """
    url = managed_url(sources, held, cohort)
    if not are_local(sources) or cohort.entry(f"{SOURCES}/{_list_of(held)}") is not None:
        return url
    from rtpipeline.store.upload import upload_source

    found = upload_source([Path(source) for source in sources], cohort, UploadLines(stream))
    if found != url:
        raise TransientError("the folders of --source changed since they were listed; submit again.")
    return url


def _list_of(held: Holding) -> str:
    return f"{held.digest[:DIGEST_HEX]}.json.gz"


class UploadLines:
    """How far an upload is: one line that is written over on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._said_s = time.monotonic()

    def __call__(self, done: UploadProgress) -> None:
        now, finished = time.monotonic(), done.files == done.files_total
        if not finished and now - self._said_s < (LIVE_S if self._live else HEARTBEAT_S):
            return
        self._said_s = now
        text = (
            f"upload: {done.files}/{done.files_total} files, {done.bytes / GB:.2f} of {done.bytes_total / GB:.2f} GB, "
            f"{done.files_sent} sent"
        )
        self._stream.write(f"\r\x1b[K{text}{chr(10) * finished}" if self._live else f"{text}\n")
        self._stream.flush()

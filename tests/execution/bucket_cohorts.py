"""A cohort of two patients that ran into a bucket once, as objects that any prefix can be given."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from rtpipeline.store.bucket import Bucket
from rtpipeline.store.transfers import in_order

GONE, STAYS = "DEMO-901", "DEMO-902"
NAME = "Withdrawn^Person"
THREADS = 8


@dataclass(frozen=True)
class MadeCohort:
    """What the run has left."""

    root: Path
    """has `export`, `secret` and `c.yaml`"""
    objects: dict[str, bytes]
    """by key below the store"""
    source: str
    """key of the list of the upload below the store"""

    def put(self, url: str) -> Bucket:
        """The same cohort at another place."""
        store = Bucket.open(url)
        for _ in in_order(lambda key: store.put(key, self.objects[key]), self.objects, threads=THREADS):
            pass
        return store


def objects_of(store: Bucket, below: str = "") -> dict[str, bytes]:
    """Content of every object, by key."""
    keys = [entry.key for entry in store.list(below)]
    return dict(zip(keys, in_order(store.get, keys, threads=THREADS), strict=True))


def texts(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """What an object says, in plain: members of archives, cells of tables, at every depth."""
    if content[:2] == b"\x1f\x8b" and name.endswith(".tgz"):
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for info in archive:
                file = archive.extractfile(info) if info.isreg() else None
                yield from texts(f"{name}!{info.name}", file.read() if file else b"")
    elif content[:2] == b"\x1f\x8b":
        import gzip

        yield from texts(f"{name}!plain", gzip.decompress(content))
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            for member in inner.namelist():
                yield from texts(f"{name}!{member}", inner.read(member))
    elif content[:4] == b"PAR1":
        yield name, str(pq.read_table(io.BytesIO(content)).to_pylist()).encode()
    else:
        yield name, content


def told(objects: dict[str, bytes], words: set[str]) -> list[tuple[str, str]]:
    """Objects and members of them that have one of the words in name or content."""
    return [
        (name, word)
        for key, content in objects.items()
        for name, text in texts(key, content)
        for word in words
        if word.encode() in text or word in name
    ]


def without_patient(objects: dict[str, bytes], patient: str) -> dict[str, bytes]:
    """Those whose keys do not lie below one of a patient's courses."""
    return {key: content for key, content in objects.items() if f"/courses/{patient}-c" not in key}

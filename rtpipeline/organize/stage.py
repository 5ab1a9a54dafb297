"""Stage organize: reads the export once, writes `courses.json` and, under `private/`, index, registry and identity."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rtpipeline.dicom.duplicates import resolve
from rtpipeline.dicom.scan import scan
from rtpipeline.errors import UsageError
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.organize.cohort import OrganizeResult, OrganizeSettings, organize
from rtpipeline.organize.ledger import identity_table
from rtpipeline.organize.user_manifest import load_user_manifest
from rtpipeline.store.folder import write_atomically

log = logging.getLogger(__name__)

INDEX_FILE = "index.parquet"
REGISTRY_FILE = "registry.json"
IDENTITY_FILE = "identity.parquet"
HEARTBEAT_S = 30.0
ROWS_PER_GROUP = 20_000
"""Of the index: a course's rows are read without the others."""


def run(context: StageContext) -> StageOutcome:
    """Scan the sources, decide patients and courses, write them.

    Raises
    ------
    UsageError: no source or no private folder was given.
    """
    if not context.sources:
        raise UsageError("stage organize needs at least one --input.")
    if context.private is None:
        raise UsageError("stage organize needs --private DIR.")
    secret = context.secret()
    config = context.config
    scanned = scan(
        context.sources,
        workers=context.workers,
        verify_content=config.organize.verify_content,
        secret=secret,
        progress=Heartbeat(),
        ignore=own_folders(context.private, context.cohort),
    )
    context.report(*scanned.findings)
    use, findings = resolve(scanned.table, scanned.opener, secret)
    context.report(*findings)
    found = organize(
        scanned.table,
        cohort=context.cohort,
        secret=secret,
        settings=OrganizeSettings(
            config.identity, config.course_gap_days, config.organize.prepare_images, config.organize.verify_content
        ),
        registry=read_registry(context.private),
        manifest_rows=load_user_manifest(config.manifest) if config.manifest is not None else (),
        use=use,
    )
    context.report(*found.findings)
    write(found, context.out, context.private)
    return _outcome(found)


class Heartbeat:
    """A log line every so often while files are read."""

    def __init__(self, every_s: float = HEARTBEAT_S) -> None:
        self._every_s = every_s
        self._last = time.monotonic()

    def __call__(self, done: int, known: int) -> None:
        """Files read so far, of those known."""
        now = time.monotonic()
        if now - self._last >= self._every_s:
            self._last = now
            log.info("organize: %d of %d files read", done, known)


def own_folders(private: Path, cohort: str) -> tuple[Path, ...]:
    """What must not be read back as an export: the cohort's folder of the store, where that holds `private`."""
    return (private.parent,) if private.name == "private" and private.parent.name == cohort else (private,)


def read_registry(private: Path) -> dict[str, Any] | None:
    """Content of `registry.json`; None before the first run."""
    path = private / REGISTRY_FILE
    return json.loads(path.read_bytes()) if path.is_file() else None


def write(found: OrganizeResult, out: Path, private: Path) -> None:
    """Write the public manifest and the private files, each whole or not at all; the registry last."""
    found.manifest.save(out)
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(private / INDEX_FILE, _parquet(found.index))
    write_atomically(private / IDENTITY_FILE, _parquet(identity_table(found.identity)))
    write_atomically(private / REGISTRY_FILE, (json.dumps(found.registry, indent=1) + "\n").encode())


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=ROWS_PER_GROUP, compression="zstd")
    return sink.getvalue().to_pybytes()


def _outcome(found: OrganizeResult) -> StageOutcome:
    counts = dict(found.manifest.counts)
    excluded = sum(c.status == "excluded" for c in found.manifest.courses)
    counts["courses_excluded"] = excluded
    log.info("organize: %d patients, %d courses, %d of them excluded", counts["patients"], counts["courses"], excluded)
    if not counts["objects"]:
        return StageOutcome(status="done", reason="no DICOM object in the sources", counts=counts)
    return StageOutcome(counts=counts)

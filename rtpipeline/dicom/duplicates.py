"""Objects that share a SOP instance UID: copies of one object, of which one is used, or different ones, all refused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.dicom.archives import ArchiveReadError
from rtpipeline.dicom.content import Content, read_content
from rtpipeline.dicom.decoders import can_decode
from rtpipeline.dicom.encoding import DamagedError, NoObjectError
from rtpipeline.dicom.open import Row, open_windows
from rtpipeline.dicom.scan_findings import Subject, subject_of
from rtpipeline.dicom.sources import Source

Opener = Callable[[Sequence[Row]], Iterable[tuple[Row, Content]]]
"""Reads what objects are compared by; each row in turn, in any order; a row that cannot be read is left out."""

USED, DUPLICATE, CONFLICT, QUARANTINED = "used", "duplicate", "conflict", "quarantined"
MANY = 8
"""Elements that one finding names."""

_COLUMNS = [
    *("source", "path", "member", "size", "kind", "modality", "transfer_syntax_uid", "sop_instance_uid", "series_uid"),
    *("content_sha256", "header_sha256"),
]


def content_opener(source_paths: Sequence[Source]) -> Opener:
    """Reads the objects from the export."""

    def read(rows: Sequence[Row]) -> Iterable[tuple[Row, Content]]:
        windows = open_windows(rows, source_paths)
        while True:
            try:
                row, window = next(windows)
                yield row, read_content(window)
            except StopIteration:
                return
            except (NoObjectError, DamagedError, ArchiveReadError):
                continue  # the file changed since the scan: not equal to anything

    return read


@dataclass
class _Tally:
    """Counts for one finding."""

    objects: int = 0
    copies: int = 0
    elements: Counter[str] = field(default_factory=Counter)


def resolve(table: pa.Table, opener: Opener, secret: bytes) -> tuple[list[str], list[Finding]]:
    """What becomes of each row, by rows of equal SOP instance UID.

    Rows of equal content, or that differ only in elements which change neither geometry nor pixels, contours, dose or
    plan: the first that can be decoded, in the order of the table, is `used`, the others are `duplicate`. Otherwise
    all of them are `conflict`. A row whose file is cut is `quarantined` and compared with nothing. Rows without a
    SOP instance UID, and those that share it with no other, are `used`.

    Parameters
    ----------
    table: SCAN_SCHEMA, with `content_sha256` where UIDs collide, as `scan` gives it.
    opener: reads those objects again whose content differs.

    Returns
    -------
    `use` of each row, and findings: one for each series of images and each other object.
    """
    use = [QUARANTINED if ok is False else USED for ok in table["pixel_bytes_ok"].to_pylist()]
    duplicates: dict[Subject, _Tally] = defaultdict(_Tally)
    conflicts: dict[Subject, _Tally] = defaultdict(_Tally)
    groups = _groups(table, use)
    contents = _contents(groups, opener)
    for group in groups:
        kept = min(group, key=lambda at: not can_decode(group[at]["transfer_syntax_uid"]))
        differing = _differing(group, kept, contents)
        tally = (conflicts if differing is None else duplicates)[subject_of(group[kept])]
        tally.objects += 1
        tally.copies += len(group) - 1
        tally.elements.update(_all_differences(group, kept, contents) if differing is None else differing)
        for at in group:
            use[at] = CONFLICT if differing is None else USED if at == kept else DUPLICATE
    found = [_finding("FILE_DUPLICATE", subject.name(secret), tally) for subject, tally in duplicates.items()]
    found += [_finding("FILE_UID_CONFLICT", subject.name(secret), tally) for subject, tally in conflicts.items()]
    return use, sorted(found, key=lambda one: (one.code, one.object))


Group = dict[int, Row]
"""Rows of one SOP instance UID by their position in the table."""


def _groups(table: pa.Table, use: list[str]) -> list[Group]:
    """Whole rows that share a SOP instance UID with another whole row, in table order."""
    if not table.num_rows:  # kernels of older pyarrow end the process on tables without chunks
        return []
    uids = table["sop_instance_uid"]
    counts = pc.value_counts(uids)
    shared = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    mask = pc.and_(pc.is_in(uids, shared), pc.not_equal(uids, ""))
    positions = pc.indices_nonzero(mask).to_pylist()
    groups: dict[str, Group] = defaultdict(dict)
    for at, row in zip(positions, table.select(_COLUMNS).filter(mask).to_pylist(), strict=True):
        if use[at] != QUARANTINED:
            groups[row["sop_instance_uid"]][at] = row
    return [group for group in groups.values() if len(group) > 1]


def _contents(groups: Iterable[Group], opener: Opener) -> dict[tuple[str, str], Content]:
    """By SOP instance UID and content digest, of those groups whose digests differ."""
    needed: dict[tuple[str, str], Row] = {}
    for group in groups:
        digests = {row["content_sha256"]: row for row in group.values()}
        if len(digests) > 1:
            needed.update({(row["sop_instance_uid"], digest): row for digest, row in digests.items()})
    rows = list(needed.values())
    found: dict[tuple[str, str], Content] = {}
    if rows:
        for row, content in opener(rows):
            found[row["sop_instance_uid"], row["content_sha256"]] = content
    return found


def _differing(group: Group, kept: int, contents: dict[tuple[str, str], Content]) -> list[str] | None:
    """Elements in which the copies differ without harm; None where they are different objects, or cannot be read."""
    names: list[str] = []
    for one, other in _pairs(group, kept, contents):
        if one is None or other is None or not one.same(other):
            return None
        names += one.differing(other)
    return list(dict.fromkeys(names))


def _all_differences(group: Group, kept: int, contents: dict[tuple[str, str], Content]) -> list[str]:
    names: list[str] = []
    for one, other in _pairs(group, kept, contents):
        names += one.differing(other) if one is not None and other is not None else ["content that cannot be read"]
    return list(dict.fromkeys(names))


def _pairs(
    group: Group, kept: int, contents: dict[tuple[str, str], Content]
) -> list[tuple[Content | None, Content | None]]:
    """The kept copy against each other content of the group."""
    uid, digest = group[kept]["sop_instance_uid"], group[kept]["content_sha256"]
    if any(not row["content_sha256"] for row in group.values()):
        return [(None, None)]  # the second read failed: nothing proves them equal
    others = dict.fromkeys(row["content_sha256"] for row in group.values() if row["content_sha256"] != digest)
    return [(contents.get((uid, digest)), contents.get((uid, other))) for other in others]


def _finding(code: str, name: str, tally: _Tally) -> Finding:
    shown = sorted(tally.elements)[:MANY]
    more = len(tally.elements) - len(shown)
    elements = ", ".join(shown) + (f" and {more} more" if more else "")
    what = "1 object" if tally.objects == 1 else f"{tally.objects} objects"
    copies = "1 further copy" if tally.copies == 1 else f"{tally.copies} further copies"
    if code == "FILE_DUPLICATE":
        measured = f"{what}, {copies}" + (f"; they differ only in {elements}" if elements else "")
    else:
        measured = f"{what}, {copies} with the same SOP instance UID; they differ in {elements}"
    return finding(code, name, measured)

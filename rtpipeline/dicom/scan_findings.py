"""What the scan says about files, as findings: counted for each object or series, named by keyed hashes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtpipeline.contracts.findings import Finding, Severity, finding
from rtpipeline.dicom.archives import JOINT, Refusals
from rtpipeline.dicom.row import Problem
from rtpipeline.store.identity import keyed_hash

MANY = 3
"""Different measurements that one finding spells out."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a problem is about: a kind of thing, and the identifier that its hash is made from."""

    label: str
    key: str

    def name(self, secret: bytes) -> str:
        """As in findings, such as `RTDOSE 3f2a91c0d4e5`."""
        return f"{self.label} {keyed_hash(secret, self.key)}" if self.key else self.label


Tally = Counter[tuple[str, Subject, str]]
"""Occurrences by code, subject and measurement."""

_BY_SOURCE = frozenset({"PRIVATE_TAGS", "FILE_NOT_DICOM"})


def source_subject(source: int) -> Subject:
    """An input folder, by its number."""
    return Subject(f"input {source}", "")


def file_subject(path: str, member: str = "", label: str = "file") -> Subject:
    """A file or member that has no UID to be named by."""
    return Subject(label, path + (JOINT + member if member else ""))


def subject_of(row: Mapping[str, Any]) -> Subject:
    """An image slice counts to its series; other objects stand for themselves; without UIDs the file does."""
    modality = str(row["modality"])
    # free text has no place in a finding, and a modality is at most 16 letters
    label = modality if modality.isalnum() and len(modality) <= 16 and modality.isascii() else "object"
    if row["kind"] in ("rtstruct", "rtplan", "rtdose", "reg"):
        label = str(row["kind"]).upper()
    elif row["kind"] == "rtrecord":
        label = "RTRECORD"
    elif row["series_uid"]:
        return Subject(f"{label} series", str(row["series_uid"]))
    if row["sop_instance_uid"]:
        return Subject(label, str(row["sop_instance_uid"]))
    return file_subject(str(row["path"]), str(row["member"]), f"{label} file")


def count_problem(tally: Tally, problem: Problem, row: Mapping[str, Any] | None, source: int, file: Subject) -> None:
    """Adds one problem of an object; `row` is None where the object could not be named."""
    if problem.code in _BY_SOURCE:
        subject = source_subject(source)
    else:
        subject = subject_of(row) if row is not None else file
    tally[problem.code, subject, problem.measured] += 1


def count_refusals(tally: Tally, refusals: Refusals, archive: Subject) -> None:
    """Adds what was refused in one archive."""
    for reason, number in refusals.refused.items():
        tally["ARCHIVE_UNSAFE", archive, reason] += number
    if refusals.renamed:
        tally["ARCHIVE_UNSAFE", archive, RENAMED] += refusals.renamed
    if refusals.stopped:
        tally["FILE_TRUNCATED", archive, refusals.stopped] += 1


RENAMED = "name that is not UTF-8"


def findings_of(tally: Tally, secret: bytes) -> list[Finding]:
    """One finding for each code and subject, in a fixed order."""
    grouped: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for (code, subject, measured), number in tally.items():
        if code == "ARCHIVE_UNSAFE" and measured == RENAMED:
            code = "ARCHIVE_UNSAFE:" + RENAMED
        grouped[code, subject.name(secret)][measured] += number
    return [_finding(code, name, grouped[code, name]) for code, name in sorted(grouped)]


def _finding(code: str, name: str, measured: Counter[str]) -> Finding:
    number = sum(measured.values())
    texts = [text for text, _ in sorted(measured.items(), key=lambda pair: (-pair[1], pair[0]))]
    if code == "FILE_NOT_DICOM":
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(measured.items()))
        return finding(code, name, f"{number} files: {kinds}")
    if code == "PRIVATE_TAGS":
        return finding(code, name, f"{number} objects with text in private elements")
    if code.startswith("ARCHIVE_UNSAFE"):
        reasons = ", ".join(f"{count} {text}" for text, count in sorted(measured.items()))
        if code != "ARCHIVE_UNSAFE":
            return finding(
                "ARCHIVE_UNSAFE",
                name,
                f"members: {reasons}",
                severity=Severity.WARNING,
                expected="names in UTF-8",
                action="read; the index holds an escaped name",
                remedy="none needed",
            )
        return finding(code, name, f"members refused: {reasons}")
    told = "; ".join(texts[:MANY]) + (f"; and {len(texts) - MANY} more" if len(texts) > MANY else "")
    unknown = code == "FILE_NO_TRANSFER_SYNTAX" and any("not found" in text for text in texts)
    severity = Severity.ERROR if unknown else None
    return finding(code, name, told if number == 1 else f"{number} objects: {told}", severity=severity)

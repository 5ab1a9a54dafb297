"""What the DICOM objects that the pipeline makes have in common: their header, their UIDs, and what they say they are.

They hang on the pseudonymous headers of prepare_images, so they hold nobody's name, and they hold no time: the same
input gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from rtpipeline import __version__
from rtpipeline.dicom.deidentify import EMPTIED, MAX_TEXT, plain_text, pseudonymous_uid

IMPLEMENTATION_UID = pseudonymous_uid(b"RTpipeline", "implementation class")
"""Of this pipeline, as the writer of a file (PS3.10 7.1)."""

NO_DATE, NO_TIME = "19000101", "000000"
"""Where a date must stand: neither the patient's nor today's. LongitudinalTemporalInformationModified says REMOVED."""

FOR_PHANTOMS = "FOR PHANTOMS ONLY"

PATIENT_AND_STUDY = (
    "SpecificCharacterSet", "PatientName", "PatientID", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified", "StudyInstanceUID",
    "FrameOfReferenceUID",
)  # fmt: skip
"""What a new object takes from the header of its image."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Code:
    """A coded concept: value, scheme (`SCT`), meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Made:
    """Who made an object, as it says of itself.

    phantom: by networks that know nothing but the demo's phantom; its texts say so.
    """

    algorithm: str
    version: str
    phantom: bool

    @property
    def algorithm_name(self) -> str:
        """At most 64 characters, which is what LO holds (PS3.5 6.2)."""
        return self._marked(self.algorithm)

    @property
    def description(self) -> str:
        """SeriesDescription: the same for everything that the algorithm made."""
        return self._marked(f"RTpipeline {self.algorithm} {self.version}")

    def _marked(self, text: str) -> str:
        mark = f" {FOR_PHANTOMS}" if self.phantom else ""
        return plain_text(text)[: MAX_TEXT - len(mark)] + mark


def one_text(text: str) -> str:
    """A name as one value of LO: a backslash would make it two, control characters are not allowed (PS3.5 6.2)."""
    return "".join(c for c in text.replace("\\", "/") if c.isprintable()).strip()[:MAX_TEXT]


def content_uid(kind: str, parts: Iterable[str | bytes]) -> str:
    """A UID made of what an object holds: the same content gives the same UID, other content another one."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return pseudonymous_uid(digest.digest(), kind)


def instances(template: Sequence[Dataset]) -> list[Dataset]:
    """One header for each instance of an image: the planes of an enhanced object share theirs.

    Raises
    ------
    ValueError: there is none.
    """
    found: dict[str, Dataset] = {}
    for ds in template:
        found.setdefault(str(ds.SOPInstanceUID), ds)
    if not found:
        raise ValueError("an object needs the header of at least one plane of its image")
    return list(found.values())


def add_header(ds: Dataset, first: Dataset, made: Made, *, modality: str, sop_class_uid: str) -> None:
    """Patient, study, frame of reference, series and equipment of a new object, from the header of its image."""
    for keyword in PATIENT_AND_STUDY:
        if keyword in first:
            ds[keyword] = first[keyword]
    for keyword in EMPTIED:
        setattr(ds, keyword, "")
    ds.SOPClassUID, ds.Modality = sop_class_uid, modality
    ds.SeriesDescription = made.description
    ds.InstanceNumber = 1
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "RTpipeline", "RTpipeline", __version__


def reference_to(image: Dataset) -> Dataset:
    """An item that names an instance."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item


def save(path: Path, ds: Dataset, transfer_syntax_uid: str) -> None:
    """Write a Part 10 file; its meta information holds nothing of the library that wrote it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(IMPLEMENTATION_UID), "RTPIPELINE"
    ds.file_meta = meta
    dcmwrite(path, ds, enforce_file_format=True)

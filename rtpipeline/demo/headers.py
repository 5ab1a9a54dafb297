"""The modules that all objects of one study share, and the way they are saved (PS3.3 C.7, PS3.10)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from rtpipeline.demo.marker import DEMO_MANUFACTURER, DEMO_MODEL

UID_ROOT = "1.2.826.0.1.3680043.8.498."
DECIMAL_PLACES = 4
"""Decimals of every position that is written (0.1 micrometre; a DS value has room for 16 characters)."""


@dataclass(frozen=True)
class UidMaker:
    """UIDs that depend on nothing but the seed, the scope (a patient) and what they name."""

    seed: int
    scope: str

    def __call__(self, *what: object) -> UID:
        """The UID of `what`, for instance `uids("ct", 3)`."""
        return generate_uid(prefix=UID_ROOT, entropy_srcs=["/".join(str(v) for v in (self.seed, self.scope, *what))])


@dataclass(frozen=True)
class Study:
    """One patient's study: what every object of it repeats. Dates are YYYYMMDD, times HHMMSS."""

    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    study_date: str
    study_uid: str
    frame_of_reference_uid: str
    uids: UidMaker
    patient_position: str = "HFS"
    study_time: str = "083000"
    study_id: str = "1"
    accession_number: str = "A0001"
    referring_physician: str = "Demo^Physician"
    description: str = "Synthetic torso"


def make_study(seed: int, patient_id: str, patient_name: str, **fields: str) -> Study:
    """A study whose UIDs follow from seed and patient_id; `fields` are other fields of `Study`."""
    uids = UidMaker(seed, patient_id)
    values = {
        "birth_date": "19580214",
        "sex": "O",
        "study_date": "20240304",
        "study_uid": uids("study"),
        "frame_of_reference_uid": uids("frame of reference"),
        **fields,
    }
    return Study(patient_id=patient_id, patient_name=patient_name, uids=uids, **values)


def decimal_text(value: float) -> str:
    """A DS value with at most four decimals and no exponent."""
    text = f"{value:.{DECIMAL_PLACES}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def decimal_texts(values: Iterable[float]) -> list[str]:
    """`decimal_text` of each value."""
    return [decimal_text(float(v)) for v in values]


def new_object(
    study: Study, *, sop_class_uid: str, sop_instance_uid: str, modality: str, date: str, time: str
) -> Dataset:
    """A dataset with meta header, Patient, General Study, General Equipment and SOP Common modules."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.InstanceCreationDate, ds.InstanceCreationTime = date, time
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class_uid, sop_instance_uid
    ds.StudyDate, ds.StudyTime = study.study_date, study.study_time
    ds.AccessionNumber = study.accession_number
    ds.Modality = modality
    ds.Manufacturer, ds.ManufacturerModelName = DEMO_MANUFACTURER, DEMO_MODEL
    ds.InstitutionName, ds.StationName = "Demo Hospital", "DEMO"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "1"
    ds.ReferringPhysicianName = study.referring_physician
    ds.StudyDescription = study.description
    ds.PatientName, ds.PatientID = study.patient_name, study.patient_id
    ds.PatientBirthDate, ds.PatientSex = study.birth_date, study.sex
    ds.StudyInstanceUID, ds.StudyID = study.study_uid, study.study_id
    return ds


def reference_to(target: Dataset) -> Dataset:
    """An item with ReferencedSOPClassUID and ReferencedSOPInstanceUID of `target`."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = target.SOPClassUID, target.SOPInstanceUID
    return item


def save(ds: Dataset, target: Path | BytesIO) -> None:
    """Write `ds` as a Part 10 file, explicit VR little endian; the meta header follows the dataset's UIDs.

    Folders of a path are made. A transfer syntax that the caller has set in `ds.file_meta` is kept.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = ds.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)
    meta.ImplementationClassUID = UID(UID_ROOT + "1")
    meta.ImplementationVersionName = "RTPIPELINE_DEMO"
    ds.file_meta = meta
    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(target, enforce_file_format=True)

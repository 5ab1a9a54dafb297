"""Small DICOM objects and files for the tests of the scan, written by pydicom: a route of its own to the bytes."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from rtpipeline.contracts.findings import Finding
from rtpipeline.dicom.scan import ScanResult, scan

SECRET = b"a secret of tests"
CT = "1.2.840.10008.5.1.4.1.1.2"
STRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
DOSE = "1.2.840.10008.5.1.4.1.1.481.2"


def identified(sop_class: str, modality: str, uid: str, series: str) -> Dataset:
    """The part that every object has."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = sop_class, uid, modality
    ds.StudyDate, ds.StudyTime = "20240102", "0304"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Doe^Jo", "P1", "19500101", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "2.25.1", series, "2.25.9"
    return ds


def ct_slice(number: int = 1, *, series: str = "2.25.2", uid: str | None = None, size: int = 8) -> Dataset:
    """One axial slice of `size` x `size` pixels at z = 3 mm x number."""
    ds = identified(CT, "CT", uid or f"{series}.{number}", series)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Manufacturer, ds.SeriesDescription = "Maker", "Thorax"
    ds.AcquisitionDate, ds.AcquisitionTime = "20240101", "111213.5"
    ds.SliceThickness, ds.PatientPosition = "3.0", "HFS"
    ds.SeriesNumber, ds.InstanceNumber = 4, number
    ds.ImagePositionPatient = [-4.0, -4.5, 3.0 * number]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = size
    ds.PixelSpacing = [1.5, 1.25]
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 1
    ds.RescaleIntercept, ds.RescaleSlope = "-1024", "1"
    values = np.arange(size * size, dtype="<i2") + number
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def structure_set(uid: str = "2.25.3.1", images: Sequence[str] = ("2.25.2.1", "2.25.2.2")) -> Dataset:
    """Two structures on one series: a square on each image, and one that is not drawn."""
    ds = identified(STRUCT, "RTSTRUCT", uid, "2.25.3")
    del ds.FrameOfReferenceUID
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "Plan", "20240105", "101112"
    series = item(SeriesInstanceUID="2.25.2", ContourImageSequence=[item(ReferencedSOPInstanceUID=i) for i in images])
    study = item(ReferencedSOPInstanceUID="2.25.1", RTReferencedSeriesSequence=[series])
    ds.ReferencedFrameOfReferenceSequence = [
        item(FrameOfReferenceUID="2.25.9", RTReferencedStudySequence=[study]),
    ]
    ds.StructureSetROISequence = [
        item(ROINumber=7, ReferencedFrameOfReferenceUID="2.25.9", ROIName="Heart"),
        item(ROINumber=8, ReferencedFrameOfReferenceUID="2.25.99", ROIName="Empty"),
    ]
    contours = [
        item(
            ContourImageSequence=[item(ReferencedSOPInstanceUID=image)],
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=4,
            ContourData=[0, 0, z, 9, 0, z, 9, 9, z, 0, 9, z],
        )
        for z, image in enumerate(images)
    ]
    ds.ROIContourSequence = [
        item(ROIDisplayColor=[255, 0, 0], ContourSequence=contours, ReferencedROINumber=7),
        item(ReferencedROINumber=8),
    ]
    ds.ApprovalStatus = "APPROVED"
    return ds


def dose(uid: str = "2.25.5.1", *, frames: int = 3, scaling: str = "0.001", seed: int = 0) -> Dataset:
    """A dose grid of 4 x 5 pixels a frame, 32 bits."""
    ds = identified(DOSE, "RTDOSE", uid, "2.25.5")
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.NumberOfFrames = 1, "MONOCHROME2", frames
    ds.Rows, ds.Columns, ds.PixelSpacing = 4, 5, [2, 2]
    ds.BitsAllocated = ds.BitsStored = 32
    ds.HighBit, ds.PixelRepresentation = 31, 0
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType = "GY", "PHYSICAL", "BEAM"
    ds.GridFrameOffsetVector, ds.DoseGridScaling = [2.0 * i for i in range(frames)], scaling
    beam = item(ReferencedBeamNumber=2)
    group = item(ReferencedBeamSequence=[beam], ReferencedFractionGroupNumber=1)
    ds.ReferencedRTPlanSequence = [item(ReferencedSOPInstanceUID="2.25.4.1", ReferencedFractionGroupSequence=[group])]
    ds.PixelData = np.random.default_rng(seed).integers(0, 60_000, (frames, 4, 5), dtype="<u4").tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def item(**elements: Any) -> Dataset:
    """A sequence item."""
    ds = Dataset()
    for name, value in elements.items():
        setattr(ds, name, value)
    return ds


def part10(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Bytes of a file with preamble and file meta; RLE-encoded where the transfer syntax says so."""
    ds = deepcopy(ds)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", CT)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "2.25.404")
    if syntax == ExplicitVRBigEndian and "PixelData" in ds:  # pydicom writes pixel bytes as they are
        ds.PixelData = np.frombuffer(ds.PixelData, f"<u{ds.BitsAllocated // 8}").byteswap().tobytes()
    if syntax == RLELossless:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(RLELossless, generate_instance_uid=False)
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def bare(ds: Dataset, syntax: str = ImplicitVRLittleEndian) -> bytes:
    """Bytes of the data set alone, without preamble and file meta, as Monaco writes them."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = UID(syntax).is_implicit_VR
    buffer.is_little_endian = UID(syntax).is_little_endian
    write_dataset(buffer, deepcopy(ds))
    return buffer.getvalue()


def put(folder: Path, files: dict[str, bytes]) -> Path:
    """Writes files below a folder; gives the folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def scanned(*sources: Path, workers: int = 1, verify_content: bool = False) -> ScanResult:
    """Scan with the secret of the tests."""
    return scan(sources, workers=workers, secret=SECRET, verify_content=verify_content)


def codes(findings: Sequence[Finding]) -> list[str]:
    """Codes in order."""
    return [one.code for one in findings]

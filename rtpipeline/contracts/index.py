"""The private index: one row for each DICOM object of an export, made in one pass over the files.

`dicom.scan` writes it, `organize` adds what each object is part of, `prepare_*` read the objects of a course by it.
It holds original UIDs, names and paths and therefore lives under `private/` only.
"""

from __future__ import annotations

from typing import Any, TypedDict

import pyarrow as pa

SCAN_FIELDS: list[tuple[str, pa.DataType, str]] = [
    # where it is
    ("source", pa.int16(), "number of the --input it was found under, from 0"),
    ("path", pa.string(), "path of the file below its source, with /; of the outer archive for a member"),
    ("member", pa.string(), "path inside the archive ('' for a plain file); nested archives joined with '!/'"),
    ("size", pa.int64(), "bytes of the file or member"),
    ("mtime_ns", pa.int64(), "modification time of the file (of the archive for a member), ns"),
    # how it reads
    ("has_preamble", pa.bool_(), "DICM magic present"),
    ("has_file_meta", pa.bool_(), "transfer syntax stated in the file meta group"),
    ("transfer_syntax_uid", pa.string(), "stated or inferred"),
    ("sop_class_uid", pa.string(), ""),
    ("sop_instance_uid", pa.string(), ""),
    ("modality", pa.string(), "Modality as written"),
    ("kind", pa.string(), "by SOP class: image, rtstruct, rtplan, rtdose, reg, rtrecord, rtimage, seg, other"),
    (
        "header_sha256",
        pa.string(),
        "decoded public elements without group 0002, InstanceCreation*, private tags, pixels",
    ),
    (
        "content_sha256",
        pa.string(),
        "whole decoded content (as header_sha256, with pixels); RT objects and colliding UIDs",
    ),
    ("pixel_bytes_ok", pa.bool_(), "length of PixelData fits rows x columns x frames x bits; null without pixels"),
    # patient and study
    ("patient_key", pa.string(), "PatientID + issuer, stripped; '' when empty"),
    ("patient_name", pa.string(), ""),
    ("birth_date", pa.string(), "as written"),
    ("sex", pa.string(), ""),
    ("age", pa.string(), "PatientAge as written"),
    ("study_uid", pa.string(), ""),
    ("series_uid", pa.string(), ""),
    ("frame_uid", pa.string(), "FrameOfReferenceUID (the referenced one for RTSTRUCT without its own)"),
    (
        "date",
        pa.string(),
        "yyyymmdd, best of: plan date, structure set date, acquisition, content, series, study; '' unknown",
    ),
    ("time", pa.string(), "hhmmss of the same source"),
    ("study_date", pa.string(), ""),
    ("study_description", pa.string(), ""),
    ("series_description", pa.string(), ""),
    ("series_number", pa.int64(), ""),
    ("instance_number", pa.int64(), ""),
    ("acquisition_number", pa.int64(), ""),
    ("acquisition_time", pa.string(), ""),
    ("temporal_position", pa.int64(), "TemporalPositionIdentifier"),
    ("image_type", pa.string(), "values joined with backslash, upper case"),
    ("image_comments", pa.string(), ""),
    ("manufacturer", pa.string(), ""),
    ("model", pa.string(), "ManufacturerModelName"),
    ("contrast_agent", pa.string(), ""),
    ("burned_in", pa.string(), "BurnedInAnnotation"),
    ("approval_status", pa.string(), ""),
    # image geometry
    ("rows", pa.int32(), ""),
    ("columns", pa.int32(), ""),
    ("frames", pa.int32(), "NumberOfFrames, 1 when absent and pixels exist"),
    ("position", pa.list_(pa.float64()), "ImagePositionPatient, mm"),
    ("orientation", pa.list_(pa.float64()), "ImageOrientationPatient"),
    ("pixel_spacing", pa.list_(pa.float64()), "row spacing, column spacing, mm"),
    ("slice_thickness", pa.float64(), "mm"),
    ("gantry_tilt", pa.float64(), "degrees as written"),
    ("patient_position", pa.string(), "HFS ...; compared, never used for geometry"),
    ("rescale_slope", pa.float64(), "null when absent"),
    ("rescale_intercept", pa.float64(), "null when absent"),
    ("bits_allocated", pa.int16(), ""),
    ("pixel_signed", pa.bool_(), ""),
    ("units", pa.string(), "Units (PET) or DoseUnits"),
    (
        "non_geometric_note",
        pa.string(),
        "what could not be decoded, such as a private element of wrong length; '' normally",
    ),
    ("facts", pa.string(), "JSON of the RT object's references and light facts, see *Facts below; '' for images"),
]
"""Filled by the scan. Empty string for absent text, null for absent numbers."""

ORGANIZE_FIELDS: list[tuple[str, pa.DataType, str]] = [
    ("use", pa.string(), "used, duplicate, conflict, quarantined, not_used"),
    ("reason", pa.string(), "finding code or short reason when not used"),
    ("patient_id", pa.string(), "pseudonym"),
    ("course_id", pa.string(), ""),
    ("object_id", pa.string(), "image_id, structure_set_id, plan_id, rtdose_id, reg_id or record_id within the course"),
    (
        "object_hash",
        pa.string(),
        "keyed hash of the SOP instance UID (of the series UID for image slices), as in findings",
    ),
]
"""Added by organize."""

SCAN_SCHEMA = pa.schema([pa.field(n, t) for n, t, _ in SCAN_FIELDS])
INDEX_SCHEMA = pa.schema([pa.field(n, t) for n, t, _ in [*SCAN_FIELDS, *ORGANIZE_FIELDS]])

SOP_KINDS = {
    "1.2.840.10008.5.1.4.1.1.481.3": "rtstruct",
    "1.2.840.10008.5.1.4.1.1.481.5": "rtplan",
    "1.2.840.10008.5.1.4.1.1.481.8": "rtplan",  # RT Ion Plan
    "1.2.840.10008.5.1.4.1.1.481.2": "rtdose",
    "1.2.840.10008.5.1.4.1.1.66.1": "reg",
    "1.2.840.10008.5.1.4.1.1.66.3": "reg",  # deformable
    "1.2.840.10008.5.1.4.1.1.481.4": "rtrecord",  # beams
    "1.2.840.10008.5.1.4.1.1.481.6": "rtrecord",  # brachy
    "1.2.840.10008.5.1.4.1.1.481.7": "rtrecord",  # summary
    "1.2.840.10008.5.1.4.1.1.481.9": "rtrecord",  # ion beams
    "1.2.840.10008.5.1.4.1.1.481.1": "rtimage",
    "1.2.840.10008.5.1.4.1.1.66.4": "seg",
    "1.2.840.10008.5.1.4.1.1.2": "image",  # CT
    "1.2.840.10008.5.1.4.1.1.2.1": "image",  # enhanced CT
    "1.2.840.10008.5.1.4.1.1.4": "image",  # MR
    "1.2.840.10008.5.1.4.1.1.4.1": "image",  # enhanced MR
    "1.2.840.10008.5.1.4.1.1.128": "image",  # PET
}
"""SOP class UID to `kind`; anything else is `other` (PS3.4 B.5)."""


class StructFacts(TypedDict):
    """`facts` of an RTSTRUCT."""

    label: str
    approval_status: str
    frame_uids: list[str]  # ReferencedFrameOfReferenceSequence and ROIs' ReferencedFrameOfReferenceUID
    referenced_series: list[str]
    referenced_images: list[str]  # SOP instance UIDs: RTReferencedSeries' and contours' ContourImageSequence, unique
    rois: int
    rois_with_contours: int
    contours: int
    contour_points: list[list[float]]  # first points of at most 64 closed contours, evenly chosen, patient mm


class PlanFacts(TypedDict):
    """`facts` of an RTPLAN or RT Ion Plan."""

    label: str
    plan_class: str  # photon (external: photon, electron), ion, brachy
    approval_status: str
    intent: str
    geometry: str  # PATIENT or TREATMENT_DEVICE
    structure_set_uid: str
    referenced_plans: list[dict[str, str]]  # {uid, relationship}
    referenced_doses: list[str]
    fraction_groups: list[dict[str, Any]]  # {number, fractions_planned, beams: [n], setups: [n]}
    rx_gy: list[float]  # TargetPrescriptionDose of TARGET dose references


class DoseFacts(TypedDict):
    """`facts` of an RTDOSE."""

    units: str
    dose_type: str
    summation_type: str
    scaling: float | None
    plan_uids: list[str]  # every item of ReferencedRTPlanSequence
    structure_set_uids: list[str]
    fraction_group: int | None
    beams: list[int]  # ReferencedBeamNumber, or brachy setups
    has_pixels: bool
    has_dvh: bool
    offsets: list[float]  # GridFrameOffsetVector


class RegFacts(TypedDict):
    """`facts` of a spatial registration."""

    frame_uids: list[str]
    matrix_types: list[str]
    valid: bool
    problem: str


class RecordFacts(TypedDict):
    """`facts` of a treatment record."""

    plan_uids: list[str]
    fraction_numbers: list[int]
    date: str
    time: str


class ReferenceFacts(TypedDict):
    """`facts` of rtimage, seg and other objects: what they refer to."""

    plan_uids: list[str]
    series_uids: list[str]

"""Headers without pixels and without identity, from which SEG and RTSTRUCT objects are written later.

Nothing is removed from a header here: a new one is made, of attributes that are known to say nothing about a person
(a whitelist after the Basic Application Level Confidentiality Profile, PS3.15 E.1). UIDs are replaced by keyed hashes:
the same original gives the same replacement in every object of a cohort, so references hold, and only who has the
cohort's secret and the private index (both under `private/`) can find the original.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from rtpipeline.dicom.series import SliceHeader

TEMPLATE_VERSION = 1

CODED = ("Modality", "ImageType", "BodyPartExamined", "PatientPosition", "PhotometricInterpretation", "Units")
"""Kept as far as they are code strings (upper case letters, digits, space, underscore; PS3.5 6.2)."""

TEXTS = ("Manufacturer", "ManufacturerModelName", "ConvolutionKernel")
"""Kept with plain letters, digits and punctuation only."""

NUMBERS = (
    "SeriesNumber", "SliceThickness", "SpacingBetweenSlices", "KVP", "SamplesPerPixel", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip
"""Kept."""

HEADER_KEYWORDS = ("SOPClassUID", *CODED, *TEXTS, *NUMBERS)
"""All that a template takes from the original header."""

EMPTIED = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
    "PositionReferenceIndicator",
)  # fmt: skip
"""Type 2: must be there, may be empty."""

_CODE = re.compile(r"[A-Z0-9 _]{1,16}")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 ._+/()-]")
MAX_TEXT = 64

METHOD = "RTpipeline: listed attributes only, UIDs replaced, no dates"


def pseudonymous_uid(secret: bytes, uid: str) -> str:
    """A UID below 2.25 (PS3.5 B.2) from HMAC-SHA256(secret, uid), as an RFC 9562 version 8 UUID."""
    digest = hmac.new(secret, b"uid\0" + uid.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 0x8 << 76  # version 8: custom
    number = number & ~(0x3 << 62) | 0x2 << 62  # variant of RFC 9562
    return f"2.25.{uuid.UUID(int=number).int}"


def plain_text(value: Any) -> str:
    """Text of a device attribute with plain characters only, several values joined with a slash, shortened."""
    values = value if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
    text = "/".join("" if v is None else str(v) for v in values)
    return _NOT_PLAIN.sub("", text).strip()[:MAX_TEXT]


def code_values(value: Any) -> list[str]:
    """The values that are code strings; anything else is left out."""
    values = value if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
    return [v for v in (str(x).strip() for x in values if x is not None) if _CODE.fullmatch(v)]


def series_template(
    first: Dataset, planes: Sequence[SliceHeader], *, patient_id: str, study_uid: str, series_uid: str,
    frame_uid: str, secret: bytes,
) -> dict[str, Any]:  # fmt: skip
    """Plain values for template.json: the series' header and a reference for each original plane, in their order.

    first: header of the first plane. patient_id: the pseudonym. The UIDs are the original ones; an empty frame_uid (the
    series states no frame of reference) gets one that is made from the series.
    """
    header = Dataset()
    for keyword in CODED:
        values = code_values(first.get(keyword))
        if values:
            setattr(header, keyword, values if len(values) > 1 else values[0])
    for keyword in TEXTS:
        text = plain_text(first.get(keyword))
        if text:
            setattr(header, keyword, text)
    for keyword in NUMBERS:
        value = first.get(keyword)
        if value is not None and value != "" and not isinstance(value, bytes | str):
            setattr(header, keyword, value)
    for keyword in EMPTIED:
        setattr(header, keyword, "")
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SOPClassUID = str(first.SOPClassUID)
    header.PatientName = header.PatientID = patient_id
    header.PatientIdentityRemoved, header.DeidentificationMethod = "YES", METHOD
    header.DeidentificationMethodCodeSequence = DicomSequence([_profile()])
    header.LongitudinalTemporalInformationModified = "REMOVED"
    header.StudyInstanceUID = pseudonymous_uid(secret, study_uid)
    header.SeriesInstanceUID = pseudonymous_uid(secret, series_uid)
    header.FrameOfReferenceUID = pseudonymous_uid(secret, frame_uid or f"frame of reference of {series_uid}")
    return {
        "template_version": TEMPLATE_VERSION,
        "frame_of_reference_stated": bool(frame_uid),
        "header": header.to_json_dict(),
        "planes": [
            {
                "sop_instance_uid": pseudonymous_uid(secret, plane.uid),
                "frame_number": plane.frame + 1,
                "position_xyz_mm": list(plane.position_mm or ()),
                "orientation": list(plane.orientation or ()),
                "pixel_spacing_mm": list(plane.pixel_spacing_mm or ()),
            }
            for plane in planes
        ],
    }


def _profile() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    return code


def template_datasets(template: dict[str, Any]) -> list[Dataset]:
    """One header without pixels for each original plane, in the order of `planes` in geometry.json.

    Planes of an enhanced object share their SOPInstanceUID; `frame_number` of the template tells them apart.
    """
    datasets = []
    for number, plane in enumerate(template["planes"], start=1):
        ds = Dataset.from_json(template["header"])
        ds.SOPInstanceUID = plane["sop_instance_uid"]
        ds.InstanceNumber = number
        # DS has room for 16 characters; geometry.json keeps the full precision
        ds.ImagePositionPatient = [_decimal(v) for v in plane["position_xyz_mm"]]
        ds.ImageOrientationPatient = [_decimal(v) for v in plane["orientation"]]
        ds.PixelSpacing = [_decimal(v) for v in plane["pixel_spacing_mm"]]
        datasets.append(ds)
    return datasets


def _decimal(value: float) -> str:
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    text = text if len(text) <= 16 else f"{value:.10g}"
    return "0" if text in ("-0", "") else text

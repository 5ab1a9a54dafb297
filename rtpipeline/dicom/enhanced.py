"""Enhanced multi-frame CT and MR: the planes of one object from its functional groups (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

from rtpipeline.dicom.series import SliceHeader

ENHANCED_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR
        "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET
    }
)


def frame_macro(ds: Dataset, frame: int, sequence: str) -> Dataset | None:
    """The item of a functional group macro that holds for a frame: its own, else the one all frames share."""
    per_frame = ds.get("PerFrameFunctionalGroupsSequence") or []
    groups = [per_frame[frame]] if frame < len(per_frame) else []
    groups += list(ds.get("SharedFunctionalGroupsSequence") or [])[:1]
    for group in groups:
        items = group.get(sequence)
        if items:
            return items[0]
    return None


def headers_of_frames(ds: Dataset) -> list[SliceHeader]:
    """One header for each frame; what a frame does not state is None or empty."""
    return [_header(ds, frame) for frame in range(int(ds.get("NumberOfFrames") or 1))]


def _header(ds: Dataset, frame: int) -> SliceHeader:
    def value(sequence: str, keyword: str) -> Any:
        item = frame_macro(ds, frame, sequence)
        return item.get(keyword) if item is not None else None

    def numbers(values: Sequence[Any] | None) -> tuple[float, ...] | None:
        return tuple(float(v) for v in values) if values else None

    frame_type = value("CTImageFrameTypeSequence", "FrameType") or value("MRImageFrameTypeSequence", "FrameType")
    thickness = value("PixelMeasuresSequence", "SliceThickness")
    return SliceHeader(
        uid=str(ds.SOPInstanceUID),
        frame=frame,
        position_mm=numbers(value("PlanePositionSequence", "ImagePositionPatient")),
        orientation=numbers(value("PlaneOrientationSequence", "ImageOrientationPatient")),
        pixel_spacing_mm=numbers(value("PixelMeasuresSequence", "PixelSpacing")),
        rows=int(ds.get("Rows") or 0),
        columns=int(ds.get("Columns") or 0),
        thickness_mm=float(thickness) if thickness else None,
        image_type="\\".join(frame_type or ds.get("ImageType") or []),
        patient_position=str(ds.get("PatientPosition") or ""),
        temporal_position=value("FrameContentSequence", "TemporalPositionIndex"),
        acquisition_number=value("FrameContentSequence", "FrameAcquisitionNumber"),
        acquisition_time=str(value("FrameContentSequence", "FrameAcquisitionDateTime") or ""),
    )

"""RT Structure Set Storage (PS3.3 A.19) of outlines, on the pseudonymous headers of their image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

from rtpipeline.dicom.deidentify import MAX_TEXT
from rtpipeline.dicom.derived import Made, Rgb, add_header, content_uid, instances, one_text, reference_to, save

DECIMAL_PLACES = 4
"""Of coordinates in mm: 1e-4 mm is a thousandth of what could move a border over a voxel's centre, and a coordinate of
a few thousand mm stays within the 16 characters of DS (PS3.5 6.2)."""

ON_PLANE_MM = 1e-2
"""A contour this near to an image plane names it."""

DETACHED_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
"""The (retired) SOP class that RTReferencedStudySequence names (PS3.3 C.8.8.5)."""

CONTOUR_DATA = Tag(0x3006, 0x0050)


@dataclass(frozen=True)
class OutlinedStructure:
    """One structure: its number (1 or more, unique), name, closed contours (n, 3) in patient mm, and colour."""

    number: int
    name: str
    contours: Sequence[NDArray[np.float64]]
    colour: Rgb


def write_rtstruct(
    path: Path, structures: Sequence[OutlinedStructure], template: Sequence[Dataset], *, made: Made, label: str
) -> None:
    """Write the contours of structures as an RTSTRUCT; the same content gives the same bytes.

    Its frame of reference, study and referenced instances are the template's. A contour names the image instance in
    whose plane it lies; planes that no instance has (interpolated ones), and those of an enhanced image, which share
    one instance, are not named.

    Parameters
    ----------
    template: headers of the image's original planes (`prepare.image_files.load_template`).
    label: StructureSetLabel, of which 16 characters are kept.

    Raises
    ------
    ValueError: no structure, no header, or a number twice.
    """
    numbers = [s.number for s in structures]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"{len(numbers)} structures with {len(set(numbers))} numbers; need at least 1, each its own")
    images = instances(template)
    first, texts = images[0], [[_contour_text(c) for c in s.contours] for s in structures]
    ds = Dataset()
    add_header(ds, first, made, modality="RTSTRUCT", sop_class_uid=RTStructureSetStorage)
    parts = [str(first.SeriesInstanceUID), made.description, label]
    parts += [f"{s.number} {s.name} {s.colour}" for s in structures]
    parts += [text for contours in texts for text in contours]
    ds.SOPInstanceUID = content_uid("structure set", parts)
    ds.SeriesInstanceUID, ds.SeriesNumber = content_uid("structure set series", parts), None
    ds.OperatorsName = ""
    ds.StructureSetLabel, ds.StructureSetName = label[:16].strip(), label[:MAX_TEXT].strip()
    ds.StructureSetDate = ds.StructureSetTime = ""
    ds.ReferencedFrameOfReferenceSequence = DicomSequence([_referenced_frame(first, images)])
    ds.StructureSetROISequence = DicomSequence([_roi(s, first, made) for s in structures])
    planes = _Planes(template if len(images) == len(template) else [])
    ds.ROIContourSequence = DicomSequence([_contours(s, t, planes) for s, t in zip(structures, texts, strict=True)])
    ds.RTROIObservationsSequence = DicomSequence([_observation(s) for s in structures])
    ds.ApprovalStatus = "UNAPPROVED"
    save(path, ds, ExplicitVRLittleEndian)


class _Planes:
    """The image instances by where their planes lie along the normal of the first."""

    def __init__(self, images: Sequence[Dataset]) -> None:
        self._references = [reference_to(image) for image in images]
        if images:
            cosines = np.array(images[0].ImageOrientationPatient, float)
            self._normal = np.cross(cosines[:3], cosines[3:])
            positions = np.array([image.ImagePositionPatient for image in images], float)
            self._offsets_mm = positions @ self._normal

    def of(self, contour: NDArray[np.float64]) -> Dataset | None:
        if not self._references:
            return None
        distances_mm = np.abs(self._offsets_mm - contour.mean(axis=0) @ self._normal)
        nearest = int(np.argmin(distances_mm))
        return self._references[nearest] if distances_mm[nearest] <= ON_PLANE_MM else None


def _referenced_frame(first: Dataset, images: Sequence[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = DicomSequence([reference_to(image) for image in images])
    study = Dataset()
    study.ReferencedSOPClassUID = DETACHED_STUDY_MANAGEMENT
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = DicomSequence([series])
    frame = Dataset()
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = DicomSequence([study])
    return frame


def _roi(structure: OutlinedStructure, first: Dataset, made: Made) -> Dataset:
    item = Dataset()
    item.ROINumber = structure.number
    item.ReferencedFrameOfReferenceUID = first.FrameOfReferenceUID
    item.ROIName = one_text(structure.name)
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    item.ROIGenerationDescription = made.algorithm_name
    return item


def _contours(structure: OutlinedStructure, texts: list[str], planes: _Planes) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(structure.colour)
    item.ReferencedROINumber = structure.number
    contours = []
    for points, text in zip(structure.contours, texts, strict=True):
        contour = Dataset()
        image = planes.of(points)
        if image is not None:
            contour.ContourImageSequence = DicomSequence([image])
        contour.ContourGeometricType = "CLOSED_PLANAR"
        contour.NumberOfContourPoints = len(points)
        _set_contour_data(contour, text)
        contours.append(contour)
    item.ContourSequence = DicomSequence(contours)
    return item


def _observation(structure: OutlinedStructure) -> Dataset:
    item = Dataset()
    item.ObservationNumber = structure.number
    item.ReferencedROINumber = structure.number
    item.RTROIInterpretedType = item.ROIInterpreter = ""
    return item


def _contour_text(points_xyz_mm: NDArray[np.float64]) -> str:
    """The value of ContourData: decimals without trailing zeros, joined by backslashes."""
    flat = np.round(np.asarray(points_xyz_mm, float), DECIMAL_PLACES).ravel() + 0.0  # no -0
    return "\\".join(f"{v:.{DECIMAL_PLACES}f}".rstrip("0").rstrip(".") for v in flat.tolist())


def _set_contour_data(item: Dataset, text: str) -> None:
    """Put the text in as it is to be written: through pydicom's decimal strings it would take most of the time."""
    value = text.encode("ascii")
    value += b" " * (len(value) % 2)
    item[CONTOUR_DATA] = RawDataElement(CONTOUR_DATA, "DS", len(value), value, 0, False, True)
    item.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=default_encoding)

"""RT Structure Set Storage (PS3.3 A.19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import RTStructureSetStorage

from rtpipeline.demo.headers import DECIMAL_PLACES, Study, new_object, reference_to
from rtpipeline.demo.rois import Roi

DETACHED_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
"""The (retired) SOP class that RTReferencedStudySequence names, by PS3.3 table C.8-41."""

CONTOUR_DATA = Tag(0x3006, 0x0050)


def rtstruct_dataset(
    rois: Sequence[Roi],
    study: Study,
    images: Sequence[Dataset],
    *,
    label: str = "Structures",
    approval: str = "APPROVED",
    series_number: int = 2,
    time: str = "100500",
) -> Dataset:
    """The structure set of `rois`, drawn on `images` (CT datasets, which need not be exported with it)."""
    ds = new_object(
        study,
        sop_class_uid=RTStructureSetStorage,
        sop_instance_uid=study.uids("structure set", label),
        modality="RTSTRUCT",
        date=study.study_date,
        time=time,
    )
    ds.SeriesDate, ds.SeriesTime, ds.SeriesDescription = study.study_date, time, label
    ds.SeriesInstanceUID, ds.SeriesNumber = study.uids("structure set series", label), series_number
    ds.OperatorsName, ds.InstanceNumber = "", 1
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = study.frame_of_reference_uid, ""
    ds.StructureSetLabel, ds.StructureSetName = label[:16], label
    ds.StructureSetDate, ds.StructureSetTime = study.study_date, time
    ds.ReferencedFrameOfReferenceSequence = [_referenced_frame(study, images)]
    ds.StructureSetROISequence = [_structure_set_roi(roi, study) for roi in rois]
    image_at = {_plane_key(float(image.ImagePositionPatient[2])): image for image in images}
    ds.ROIContourSequence = [_roi_contour(roi, image_at) for roi in rois]
    ds.RTROIObservationsSequence = [_observation(roi) for roi in rois]
    ds.ApprovalStatus = approval
    if approval != "UNAPPROVED":
        ds.ReviewDate, ds.ReviewTime, ds.ReviewerName = study.study_date, time, "Demo^Reviewer"
    return ds


def _referenced_frame(study: Study, images: Sequence[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ContourImageSequence = [reference_to(image) for image in images]
    referenced_study = Dataset()
    referenced_study.ReferencedSOPClassUID = DETACHED_STUDY_MANAGEMENT
    referenced_study.ReferencedSOPInstanceUID = images[0].StudyInstanceUID
    referenced_study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = study.frame_of_reference_uid
    frame.RTReferencedStudySequence = [referenced_study]
    return frame


def _structure_set_roi(roi: Roi, study: Study) -> Dataset:
    item = Dataset()
    item.ROINumber = roi.number
    item.ReferencedFrameOfReferenceUID = study.frame_of_reference_uid
    item.ROIName = roi.name
    item.ROIGenerationAlgorithm = "MANUAL"
    return item


def _roi_contour(roi: Roi, image_at: Mapping[int, Dataset]) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(roi.colour)
    item.ReferencedROINumber = roi.number
    item.ContourSequence = [
        contour_item(points, image_at.get(_plane_key(float(points[0, 2]))), roi.geometric_type)
        for points in roi.contours
    ]
    return item


def _observation(roi: Roi) -> Dataset:
    item = Dataset()
    item.ObservationNumber = roi.number
    item.ReferencedROINumber = roi.number
    item.RTROIInterpretedType = roi.interpreted_type
    item.ROIInterpreter = ""
    return item


def contour_item(
    points_xyz_mm: NDArray[np.float64], image: Dataset | None = None, geometric_type: str = "CLOSED_PLANAR"
) -> Dataset:
    """An item of ContourSequence with (n, 3) points; it names `image`, in whose plane they lie, if there is one."""
    item = Dataset()
    if image is not None:
        item.ContourImageSequence = [reference_to(image)]
    item.ContourGeometricType = geometric_type
    item.NumberOfContourPoints = len(points_xyz_mm)
    set_contour_data(item, points_xyz_mm)
    return item


def set_contour_data(item: Dataset, points_xyz_mm: NDArray[np.float64]) -> None:
    """Put (n, 3) points into ContourData, with the fixed number of decimals.

    As raw bytes, in an item that is said to have been read in this encoding: so they are written as they are, where
    going through pydicom's decimal strings would take most of the time.
    """
    text = "\\".join(f"{v:.{DECIMAL_PLACES}f}" for v in np.asarray(points_xyz_mm, float).ravel().tolist())
    value = text.encode("ascii")
    value += b" " * (len(value) % 2)
    item[CONTOUR_DATA] = RawDataElement(CONTOUR_DATA, "DS", len(value), value, 0, False, True)
    item.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=default_encoding)


def _plane_key(z_mm: float) -> int:
    """Equal for heights that agree to the decimals that are written."""
    return round(z_mm * 10**DECIMAL_PLACES)

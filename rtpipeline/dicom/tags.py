"""Tags of keywords. Those by which structure sets and doses are read stand here, so that this needs no dictionary."""

from __future__ import annotations

from functools import lru_cache

TAGS = {
    "TransferSyntaxUID": 0x00020010,
    "SpecificCharacterSet": 0x00080005,
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "ReferencedSOPInstanceUID": 0x00081155,
    "SeriesInstanceUID": 0x0020000E,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "PixelRepresentation": 0x00280103,
    "DVHType": 0x30040001,
    "DoseUnits": 0x30040002,
    "DoseType": 0x30040004,
    "SpatialTransformOfDose": 0x30040005,
    "DoseSummationType": 0x3004000A,
    "GridFrameOffsetVector": 0x3004000C,
    "DoseGridScaling": 0x3004000E,
    "DVHSequence": 0x30040050,
    "DVHDoseScaling": 0x30040052,
    "DVHVolumeUnits": 0x30040054,
    "DVHData": 0x30040058,
    "DVHReferencedROISequence": 0x30040060,
    "DVHROIContributionType": 0x30040062,
    "DVHMinimumDose": 0x30040070,
    "DVHMaximumDose": 0x30040072,
    "DVHMeanDose": 0x30040074,
    "ReferencedFrameOfReferenceSequence": 0x30060010,
    "StructureSetROISequence": 0x30060020,
    "ROINumber": 0x30060022,
    "ReferencedFrameOfReferenceUID": 0x30060024,
    "ROIName": 0x30060026,
    "ROIDisplayColor": 0x3006002A,
    "ROIGenerationAlgorithm": 0x30060036,
    "ROIContourSequence": 0x30060039,
    "ContourSequence": 0x30060040,
    "ContourGeometricType": 0x30060042,
    "RTROIObservationsSequence": 0x30060080,
    "ReferencedROINumber": 0x30060084,
    "RTROIInterpretedType": 0x300600A4,
    "ReferencedRTPlanSequence": 0x300C0002,
    "ReferencedBeamSequence": 0x300C0004,
    "ReferencedBeamNumber": 0x300C0006,
    "ReferencedBrachyApplicationSetupSequence": 0x300C000A,
    "ReferencedBrachyApplicationSetupNumber": 0x300C000C,
    "ReferencedFractionGroupSequence": 0x300C0020,
    "ReferencedFractionGroupNumber": 0x300C0022,
    "ReferencedStructureSetSequence": 0x300C0060,
    "PixelData": 0x7FE00010,
}
"""Group and element by keyword (PS3.6 chapter 6)."""


def tag_of(keyword: str) -> int:
    """Group << 16 | element; raises KeyError for what is no keyword of the standard."""
    return TAGS[keyword] if keyword in TAGS else _from_dictionary(keyword)


@lru_cache(maxsize=1024)
def _from_dictionary(keyword: str) -> int:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(f"{keyword} is no keyword of the data dictionary")
    return tag

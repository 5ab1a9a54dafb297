"""CT Image Storage objects of a volume (PS3.3 A.3)."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from rtpipeline.demo.grid import GridGeometry, Volume
from rtpipeline.demo.headers import Study, decimal_text, decimal_texts, new_object


def ct_datasets(
    image: Volume, study: Study, *, series: str = "planning CT", series_number: int = 1, time: str = "083200"
) -> list[Dataset]:
    """One dataset per plane of `image`, whose values are HU that fit into int16.

    series: its description; together with the study it also decides the series' and the slices' UIDs.
    """
    pixels = np.asarray(image.values).astype("<i2")
    positions = image.geometry.plane_positions_mm()
    slices = []
    for k in range(len(pixels)):
        ds = _header(study, series=series, series_number=series_number, number=k + 1, time=time)
        _put_plane(ds, image.geometry, pixels[k], positions[k])
        slices.append(ds)
    return slices


def _header(study: Study, *, series: str, series_number: int, number: int, time: str) -> Dataset:
    ds = new_object(
        study,
        sop_class_uid=CTImageStorage,
        sop_instance_uid=study.uids(series, "slice", number),
        modality="CT",
        date=study.study_date,
        time=time,
    )
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = study.study_date
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = time
    ds.SeriesDescription = series
    ds.SeriesInstanceUID, ds.SeriesNumber = study.uids(series, "series"), series_number
    ds.PatientPosition = study.patient_position
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = study.frame_of_reference_uid, ""
    ds.BodyPartExamined, ds.KVP, ds.ConvolutionKernel = "CHEST", "120", "B30f"
    ds.AcquisitionNumber, ds.InstanceNumber = 1, number
    return ds


def _put_plane(ds: Dataset, grid: GridGeometry, pixels: np.ndarray, position_mm: np.ndarray) -> None:
    ds.ImageOrientationPatient = decimal_texts(grid.orientation)
    ds.ImagePositionPatient = decimal_texts(position_mm)
    ds.SliceLocation = decimal_text(float(position_mm @ grid.normal))
    ds.PixelSpacing = decimal_texts(grid.pixel_spacing_mm)
    offsets = grid.plane_offsets_mm
    ds.SliceThickness = decimal_text(abs(offsets[1] - offsets[0])) if len(offsets) > 1 else ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = grid.rows, grid.columns
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    ds.PixelData = pixels.tobytes()

"""RT Dose Storage (PS3.3 A.18 and C.8.8.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import RTDoseStorage

from rtpipeline.demo.grid import GridGeometry
from rtpipeline.demo.headers import Study, decimal_texts, new_object, reference_to

GRID_SCALING_GY = "0.000001"
"""DoseGridScaling: a stored value is off by at most 5e-7 Gy, and 32 bits reach to 4295 Gy."""

GRID_FRAME_OFFSET_VECTOR = Tag(0x3004, 0x000C)


def rtdose_dataset(
    dose_gy: NDArray[np.float64],
    geometry: GridGeometry,
    study: Study,
    *,
    plan: Dataset | None,
    structure_set: Dataset | None,
    summation: str = "PLAN",
    beam_number: int | None = None,
    absolute_offsets: bool = False,
    grid_scaling_gy: str = GRID_SCALING_GY,
    bits: int = 32,
    dvhs: Sequence[Dataset] = (),
    series_number: int = 4,
    instance_number: int = 1,
) -> Dataset:
    """The dose grid `dose_gy` (plane, row, column) that belongs to `plan`.

    beam_number: for summation BEAM; the reference then names fraction group 1 and this beam. absolute_offsets: the
    GridFrameOffsetVector holds the planes' z (PS3.3 C.8.8.3.2 b), which only orientation 1\\0\\0\\0\\1\\0 allows.
    bits: 16 or 32 per stored value. dvhs: items of DVHSequence; the standard wants at least one beside a reference to
    a structure set. Raises ValueError for a dose that the stored values cannot hold.
    """
    stored = np.rint(dose_gy / float(grid_scaling_gy))
    if stored.min() < 0 or stored.max() > 2**bits - 1:
        span = f"{dose_gy.min():.3f} to {dose_gy.max():.3f} Gy"
        raise ValueError(f"a dose of {span} does not fit into {bits} unsigned bits of {grid_scaling_gy} Gy")
    date = str(plan.RTPlanDate) if plan is not None else study.study_date
    time = "150000"
    ds = new_object(
        study,
        sop_class_uid=RTDoseStorage,
        sop_instance_uid=study.uids("dose", plan.RTPlanLabel if plan is not None else "", summation, beam_number or 0),
        modality="RTDOSE",
        date=date,
        time=time,
    )
    ds.SeriesDate = ds.ContentDate = date
    ds.SeriesTime = ds.ContentTime = time
    ds.SeriesDescription, ds.SeriesNumber, ds.OperatorsName = "Doses", series_number, ""
    ds.SeriesInstanceUID = study.uids("dose series", plan.RTPlanLabel if plan is not None else "")
    ds.InstanceNumber, ds.PatientOrientation = instance_number, ""
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = study.frame_of_reference_uid, ""
    _put_grid(ds, geometry, absolute_offsets=absolute_offsets)
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType = "GY", "PHYSICAL", summation
    ds.DoseGridScaling, ds.TissueHeterogeneityCorrection = grid_scaling_gy, "IMAGE"
    if plan is not None:
        ds.ReferencedRTPlanSequence = [_plan_reference(plan, beam_number)]
    if structure_set is not None:
        ds.ReferencedStructureSetSequence = [reference_to(structure_set)]
    if dvhs:
        ds.DVHSequence = list(dvhs)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit, ds.PixelRepresentation = bits - 1, 0
    ds.PixelData = stored.astype(f"<u{bits // 8}").tobytes()
    return ds


def _put_grid(ds: Dataset, geometry: GridGeometry, *, absolute_offsets: bool) -> None:
    offsets = np.array(geometry.plane_offsets_mm)
    if absolute_offsets:
        if geometry.orientation != (1, 0, 0, 0, 1, 0):
            raise ValueError(f"absolute frame offsets need orientation 1,0,0,0,1,0, not {geometry.orientation}")
        offsets = offsets + geometry.origin_mm[2]
    ds.ImageOrientationPatient = decimal_texts(geometry.orientation)
    ds.ImagePositionPatient = decimal_texts(geometry.origin_mm)
    ds.PixelSpacing = decimal_texts(geometry.pixel_spacing_mm)
    ds.SliceThickness = ""
    ds.Rows, ds.Columns = geometry.rows, geometry.columns
    ds.NumberOfFrames, ds.FrameIncrementPointer = len(offsets), GRID_FRAME_OFFSET_VECTOR
    ds.GridFrameOffsetVector = decimal_texts(offsets)


def _plan_reference(plan: Dataset, beam_number: int | None) -> Dataset:
    item = reference_to(plan)
    if beam_number is not None:
        beam = Dataset()
        beam.ReferencedBeamNumber = beam_number
        group = Dataset()
        group.ReferencedFractionGroupNumber = 1
        group.ReferencedBeamSequence = [beam]
        item.ReferencedFractionGroupSequence = [group]
    return item

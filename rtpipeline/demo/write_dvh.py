"""Items of DVHSequence, as a planning system stores its own histograms (RT DVH module, PS3.3 C.8.8.4)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydicom.dataset import Dataset

from rtpipeline.demo.headers import decimal_text, decimal_texts
from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.prism_stack import PrismStack
from rtpipeline.demo.rois import Roi

BIN_GY = 0.5
TARGET_TYPES = ("GTV", "CTV", "PTV")


def target_dvhs(rois: Iterable[Roi], dose: LinearDose) -> list[Dataset]:
    """The exact cumulative DVH of every target among `rois` in a linear dose."""
    return [_dvh(roi, dose) for roi in rois if roi.interpreted_type in TARGET_TYPES]


def _dvh(roi: Roi, dose: LinearDose) -> Dataset:
    stack = PrismStack.from_contours(roi.contours)
    dmin_gy, dmax_gy = stack.extremes_gy(dose)
    levels_gy = BIN_GY * np.arange(int(np.ceil(dmax_gy / BIN_GY)) + 1)
    volumes_cc = [stack.volume_above_cc(dose, float(level)) for level in levels_gy]
    referenced = Dataset()
    referenced.ReferencedROINumber, referenced.DVHROIContributionType = roi.number, "INCLUDED"
    item = Dataset()
    item.DVHType, item.DoseUnits, item.DoseType = "CUMULATIVE", "GY", "PHYSICAL"
    item.DVHDoseScaling, item.DVHVolumeUnits, item.DVHNumberOfBins = "1", "CM3", len(levels_gy)
    # pairs of a bin's width and the volume that receives at least the dose at the bin's lower end
    item.DVHData = decimal_texts(np.column_stack([np.full(len(levels_gy), BIN_GY), volumes_cc]).ravel())
    item.DVHReferencedROISequence = [referenced]
    item.DVHMinimumDose, item.DVHMaximumDose = decimal_text(dmin_gy), decimal_text(dmax_gy)
    item.DVHMeanDose = decimal_text(stack.mean_gy(dose))
    return item

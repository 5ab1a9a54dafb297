"""Histograms that a planning system stored with its dose (PS3.3 C.8.8.4), for comparison with ours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.dicom.element_values import AnyDataset, integer, items, number, numbers, term


@dataclass(frozen=True)
class TpsDvh:
    """One item of DVHSequence as a cumulative curve.

    rois: (ROI number, INCLUDED or EXCLUDED). dose, upper: lower and upper edge of each bin, in `dose_units`, from 0 on.
    volume: volume at or above that dose, in `volume_units`. The three written values have no stated unit: some systems
    write them in % of the prescription although the curve is in Gy (Eclipse), so they are never used as Gy.
    """

    rois: tuple[tuple[int, str], ...]
    dose_units: str
    dose_type: str
    volume_units: str
    dose: NDArray[np.float64]
    upper: NDArray[np.float64]
    volume: NDArray[np.float64]
    written_min: float | None
    written_max: float | None
    written_mean: float | None

    @property
    def roi_number(self) -> int | None:
        """The ROI when one is included and none excluded."""
        return self.rois[0][0] if len(self.rois) == 1 and self.rois[0][1] == "INCLUDED" else None

    @property
    def _differential(self) -> NDArray[np.float64]:
        """Volume between each bin's lower edge and the next."""
        return self.volume - np.append(self.volume[1:], 0.0)

    @property
    def minimum(self) -> float | None:
        """Lower edge of the lowest bin that holds volume, in `dose_units`; None without volume."""
        filled = np.flatnonzero(self._differential > 0)
        return float(self.dose[filled[0]]) if len(filled) else None

    @property
    def maximum(self) -> float | None:
        """Upper edge of the highest bin that holds volume, in `dose_units`; None without volume."""
        filled = np.flatnonzero(self._differential > 0)
        return float(self.upper[filled[-1]]) if len(filled) else None

    @property
    def mean(self) -> float | None:
        """Mean of the bins' middles weighted with their volume, in `dose_units`; None without volume."""
        shares = self._differential
        total = float(shares.sum())
        return float((0.5 * (self.dose + self.upper) * shares).sum()) / total if total > 0 else None


def parse_dvhs(ds: AnyDataset) -> list[TpsDvh]:
    """The object's curves; items without data or ROI are left out."""
    found = []
    for item in items(ds, "DVHSequence"):
        rois = [
            (roi_number, term(roi, "DVHROIContributionType") or "INCLUDED")
            for roi in items(item, "DVHReferencedROISequence")
            if (roi_number := integer(roi, "ReferencedROINumber")) is not None
        ]
        pairs = numbers(item, "DVHData")
        scaling = number(item, "DVHDoseScaling")
        if not rois or pairs is None or len(pairs) % 2 or not scaling:
            continue
        widths, volumes = np.array(pairs[0::2]) * scaling, np.array(pairs[1::2])
        if term(item, "DVHType") == "DIFFERENTIAL":
            volumes = np.cumsum(volumes[::-1])[::-1]
        found.append(
            TpsDvh(
                rois=tuple(rois),
                dose_units=term(item, "DoseUnits"),
                dose_type=term(item, "DoseType"),
                volume_units=term(item, "DVHVolumeUnits"),
                dose=np.cumsum(widths) - widths,
                upper=np.cumsum(widths),
                volume=volumes,
                written_min=number(item, "DVHMinimumDose"),
                written_max=number(item, "DVHMaximumDose"),
                written_mean=number(item, "DVHMeanDose"),
            )
        )
    return found

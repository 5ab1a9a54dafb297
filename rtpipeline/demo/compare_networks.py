"""What the networks found in the demo beside the phantom that the images show.

Label maps are read with SimpleITK, which places them in patient coordinates by itself: no code is shared with what
wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK
from numpy.typing import NDArray

from rtpipeline.demo.anatomy import build_anatomy
from rtpipeline.demo.labels import LABEL_IDS, LUNG_IDS
from rtpipeline.demo.patients import DemoPatient
from rtpipeline.demo.phantom import Phantom, make_phantom

GROUPS: dict[str, tuple[int, ...]] = {
    "liver": (LABEL_IDS["liver"],),
    "heart": (LABEL_IDS["heart"],),
    "lungs": LUNG_IDS,
    "kidney_left": (LABEL_IDS["kidney_left"],),
    "kidney_right": (LABEL_IDS["kidney_right"],),
    "femur_left": (LABEL_IDS["femur_left"],),
    "femur_right": (LABEL_IDS["femur_right"],),
}
"""Organs to the class numbers of TotalSegmentator's task `total` that they consist of."""

ORGAN_DICE, LESION_DICE = 0.7, 0.5
"""What tiny networks must reach: they were trained for minutes."""

TASK, LESION_MODEL = "total", "phantom_gtv"
SMALLEST_CC = 10.0
"""Of an organ that the image's end cuts, less than this is not asked for."""


@dataclass(frozen=True)
class Overlap:
    """Dice coefficient of one organ of one patient against the phantom."""

    patient: str
    structure: str
    dice: float
    limit: float

    def __str__(self) -> str:
        return f"{self.patient} {self.structure}: Dice {self.dice:.3f}, at least {self.limit} is needed"


def network_overlaps(
    seed: int, patients: dict[str, str], segmentation: pd.DataFrame, cohort: Path
) -> Iterator[Overlap]:
    """Dice of every organ and lesion that a network was asked for.

    Parameters
    ----------
    seed: of the demo cohort. patients: demo patient id to pseudonym. segmentation: the table. cohort: the cohort's
    folder of the store, which holds the label maps.
    """
    for number, (key, patient_id) in enumerate(patients.items(), start=1):
        rows = segmentation[segmentation["patient_id"] == patient_id]
        if rows.empty:
            continue
        kind = DemoPatient(number).kind
        phantom = make_phantom(build_anatomy(seed * 1000 + number), kind.spacing_xyz_mm, kind.z_range_mm)
        for (source, model), mine in rows.groupby(["structure_source", "model"], sort=True):
            found = read_on_phantom(_path(cohort, str(source), mine.iloc[0]), phantom)
            if (source, model) == ("totalsegmentator", TASK):
                for name, labels in GROUPS.items():
                    truth = np.isin(phantom.labels, labels)
                    if truth.sum() * np.prod(phantom.spacing_mm) / 1000 >= SMALLEST_CC:
                        yield Overlap(key, name, dice(truth, np.isin(found, labels)), ORGAN_DICE)
            elif (source, model) == ("custom", LESION_MODEL):
                yield Overlap(key, "lesion", dice(phantom.lesion, found > 0), LESION_DICE)


def _path(cohort: Path, source: str, row: pd.Series) -> Path:
    stage = "segmentation" if source == "totalsegmentator" else "custom_models"
    output = cohort / "courses" / row["course_id"] / stage / row["stage_key"]
    return output / "segmentations" / row["image_id"] / row["model"] / "label_map.nii.gz"


def read_on_phantom(path: Path, phantom: Phantom) -> NDArray[np.int64]:
    """A label map in the phantom's order of voxels [x, y, z], by the patient coordinates of both.

    Raises
    ------
    ValueError: the label map does not lie on the phantom's lattice.
    """
    image = SimpleITK.ReadImage(str(path))
    directions = np.array(image.GetDirection()).reshape(3, 3)
    values = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.int64)
    axes = np.abs(directions).argmax(axis=0)
    order = np.argsort(axes)
    backwards = directions[axes, np.arange(3)] < 0
    values = np.flip(values, tuple(int(i) for i in np.flatnonzero(backwards))).transpose(order)
    corner = np.array(
        image.TransformIndexToPhysicalPoint([(n - 1) * int(b) for n, b in zip(image.GetSize(), backwards, strict=True)])
    )
    if values.shape != phantom.labels.shape or not np.allclose(corner, phantom.lower_mm, atol=0.05):
        raise ValueError(
            f"label map {values.shape} at {corner.round(2)}; "
            f"phantom {phantom.labels.shape} at {phantom.lower_mm.round(2)}"
        )
    return values


def dice(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|)."""
    return float(2 * (left & right).sum() / (left.sum() + right.sum()))

"""Which regions of the body an image shows, measured from TotalSegmentator's label map, and whether a model fits them.

A region's anchors are its vertebrae and its organs. A vertebra counts from 1 cc, an organ from the volume that tells it
from a cut or stray piece; paired organs and lobes are added up. Present: enough vertebrae, or an organ.
confidence = 0.7 min(vertebrae / needed, 1) + 0.3 (an organ found), so that organs alone never reach the usual 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rtpipeline.segmentation.label_map import LabelMap

VERTEBRA_CC = 1.0
"""Least volume of a vertebra that counts; the sacrum counts as one."""

VERTEBRAE_WEIGHT, ORGAN_WEIGHT = 0.7, 0.3


@dataclass(frozen=True)
class Organ:
    """Classes that are added up, and from which volume they are found."""

    name: str
    classes: tuple[str, ...]
    least_cc: float


@dataclass(frozen=True)
class Anchors:
    """What stands for a region."""

    vertebrae: tuple[str, ...]
    needed: int
    organs: tuple[Organ, ...]

    @property
    def classes(self) -> set[str]:
        """Every class of TotalSegmentator's `total` that it looks at."""
        return {*self.vertebrae, *(name for organ in self.organs for name in organ.classes)}


def _vertebrae(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"vertebrae_{letter}{number}" for number in range(1, count + 1))


def _sides(name: str) -> tuple[str, str]:
    return f"{name}_left", f"{name}_right"


LUNG_LOBES = (
    "lung_upper_lobe_left", "lung_lower_lobe_left",
    "lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right",
)  # fmt: skip

REGIONS: dict[str, Anchors] = {
    "HEAD_NECK": Anchors(
        _vertebrae("C", 7), 1, (Organ("brain", ("brain",), 50.0), Organ("skull", ("skull",), 50.0))
    ),
    "THORAX": Anchors(
        _vertebrae("T", 12), 3, (Organ("lungs", LUNG_LOBES, 200.0), Organ("heart", ("heart",), 50.0))
    ),
    "ABDOMEN": Anchors(
        _vertebrae("L", 5), 2,
        (Organ("liver", ("liver",), 100.0), Organ("spleen", ("spleen",), 30.0),
         Organ("kidneys", _sides("kidney"), 40.0)),
    ),
    "PELVIS": Anchors(
        ("sacrum", "vertebrae_S1"), 1,
        (Organ("hips", _sides("hip"), 30.0), Organ("bladder", ("urinary_bladder",), 10.0)),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Region:
    """A measured region. vertebrae: how many were found; organs: those found, by name."""

    present: bool
    confidence: float
    vertebrae: int
    organs: tuple[str, ...]


def measure_regions(volumes_cc: Mapping[str, float]) -> dict[str, Region]:
    """The regions by name, from the volume of every class that was asked for (0 where it was not found).

    A region with an anchor that was not asked for is left out: it is unknown, not absent.
    """
    found = {}
    for name, anchors in REGIONS.items():
        if not anchors.classes <= volumes_cc.keys():
            continue
        vertebrae = sum(volumes_cc[v] > VERTEBRA_CC for v in anchors.vertebrae)
        organs = tuple(o.name for o in anchors.organs if sum(volumes_cc[c] for c in o.classes) >= o.least_cc)
        confidence = VERTEBRAE_WEIGHT * min(vertebrae / anchors.needed, 1.0) + ORGAN_WEIGHT * bool(organs)
        found[name] = Region(vertebrae >= anchors.needed or bool(organs), round(confidence, 4), vertebrae, organs)
    return found


def class_volumes_cc(label_map: LabelMap, subset: Sequence[str] | None = None) -> dict[str, float]:
    """Volume of every class of a label map, cc; of those in `subset` alone where nothing else was asked for."""
    counts = np.bincount(label_map.values.ravel(), minlength=max(label_map.names, default=0) + 1)
    grid = label_map.grid
    if grid.plane_spacing_mm is None:
        raise ValueError("a label map of one plane has no volume")
    voxel_cc = grid.row_spacing_mm * grid.column_spacing_mm * grid.plane_spacing_mm / 1000.0
    return {
        name: float(counts[number] * voxel_cc)
        for number, name in sorted(label_map.names.items())
        if subset is None or name in subset
    }


@dataclass(frozen=True)
class Gate:
    """Whether a model may run. refused: what is missing, empty when it may; unknown: regions that nobody measured."""

    refused: tuple[str, ...]
    unknown: tuple[str, ...]


def gate(required: Sequence[str], least_confidence: float, measured: Mapping[str, Region]) -> Gate:
    """Hold measured regions against what a model requires. An unknown region refuses nothing."""
    refused = []
    for name in dict.fromkeys(required):
        region = measured.get(name)
        if region is None:
            continue
        if not region.present:
            refused.append(f"{name} absent")
        elif region.confidence < least_confidence:
            refused.append(f"{name} with confidence {region.confidence:.2f}")
    return Gate(tuple(refused), tuple(n for n in dict.fromkeys(required) if n not in measured))


def as_json(measured: Mapping[str, Region]) -> dict[str, Any]:
    """Plain values for `body_regions.json`."""
    return {name: {**asdict(region), "organs": list(region.organs)} for name, region in measured.items()}

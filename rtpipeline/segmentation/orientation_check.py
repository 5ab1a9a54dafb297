"""Whether a label map is mirrored against the patient: anatomy that everybody shares, voted on in patient coordinates.

A network or a file format that turns an axis gives a map that looks right and is wrong throughout. One pair that is
confused is not that: the map is refused only when most of the clear votes of an axis are against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.segmentation.label_map import LabelMap

MARGIN_MM = 10.0
"""Centres nearer to each other than this along an axis say nothing."""

SMALLEST_CC = 0.5
"""Pieces smaller than this are more often an error of the network than the organ."""

Centres = Mapping[str, NDArray[np.float64]]

SPINE = ("vertebrae_", "sacrum")
IN_FRONT_OF_SPINE = ("heart", "liver", "stomach", "urinary_bladder", "small_bowel", "sternum")
HEAD_TO_FOOT = ("brain", "lung_upper_lobe_left", "heart", "liver", "urinary_bladder", "femur_left")
"""Each lies above the next but one in everybody; neighbours overlap, so only others are compared."""


@dataclass(frozen=True)
class Votes:
    """Of one axis: comparisons that agree with anatomy, those that do not, and the latter's names."""

    axis: str
    right: int
    wrong: tuple[str, ...]

    @property
    def is_mirrored(self) -> bool:
        """More than half of the clear votes are against anatomy."""
        return len(self.wrong) > self.right


def centres_xyz_mm(label_map: LabelMap) -> dict[str, NDArray[np.float64]]:
    """Centroid of every structure of at least SMALLEST_CC, in patient mm (LPS)."""
    values, grid = label_map.values, label_map.grid
    flat = np.asarray(values).ravel()
    size = int(flat.max(initial=0)) + 1
    counts = np.bincount(flat, minlength=size)
    sums = np.empty((size, 3))
    for axis in range(3):
        index = np.arange(values.shape[axis], dtype=np.float64)
        shape = [1, 1, 1]
        shape[axis] = -1
        sums[:, axis] = np.bincount(flat, np.broadcast_to(index.reshape(shape), values.shape).ravel(), minlength=size)
    voxel_cc = grid.row_spacing_mm * grid.column_spacing_mm * (grid.plane_spacing_mm or 0.0) / 1000
    found = [n for n in label_map.names if n < size and counts[n] * voxel_cc >= SMALLEST_CC]
    return {label_map.names[n]: grid.index_zyx_to_patient(sums[n] / counts[n]) for n in found}


def orientation_votes(centres: Centres) -> list[Votes]:
    """The votes along left-right, front-back and head-foot (x, y, z of patient coordinates)."""
    return [
        _count("left and right", _left_right(centres)),
        _count("front and back", _front_back(centres)),
        _count("head and foot", _head_foot(centres)),
    ]


def _count(axis: str, distances: Iterator[tuple[str, float]]) -> Votes:
    clear = [(name, mm) for name, mm in distances if abs(mm) >= MARGIN_MM]
    return Votes(axis, sum(mm > 0 for _, mm in clear), tuple(name for name, mm in clear if mm < 0))


def _left_right(centres: Centres) -> Iterator[tuple[str, float]]:
    """mm by which left structures lie left of their partner, and unpaired ones on their side of the middle."""
    middles = []
    for left in sorted(centres):
        if not left.endswith("_left"):
            continue
        right = left.removesuffix("_left") + "_right"
        if right in centres:
            yield left.removesuffix("_left"), float(centres[left][0] - centres[right][0])
            middles.append(float(centres[left][0] + centres[right][0]) / 2)
    if "spleen" in centres and "liver" in centres:
        yield "spleen, liver", float(centres["spleen"][0] - centres["liver"][0])
    if middles:
        middle = float(np.median(middles))
        for name, side in (("heart", 1), ("spleen", 1), ("liver", -1)):
            if name in centres:
                yield f"{name}, midline", side * (float(centres[name][0]) - middle)


def _front_back(centres: Centres) -> Iterator[tuple[str, float]]:
    """mm by which the nearest part of the spine lies behind organs that are in front of it."""
    spine = {name: point for name, point in sorted(centres.items()) if name.startswith(SPINE)}
    for organ in IN_FRONT_OF_SPINE:
        if organ in centres and spine:
            level = min(spine.values(), key=lambda point: abs(float(point[2] - centres[organ][2])))
            yield f"{organ}, spine", float(level[1] - centres[organ][1])


def _head_foot(centres: Centres) -> Iterator[tuple[str, float]]:
    """mm by which upper structures lie above lower ones, vertebrae by their numbers too."""
    present = [name for name in HEAD_TO_FOOT if name in centres]
    for upper, lower in zip(present, present[2:], strict=False):
        yield f"{upper}, {lower}", float(centres[upper][2] - centres[lower][2])
    order = [f"vertebrae_{part}{n}" for part, count in (("C", 7), ("T", 12), ("L", 5)) for n in range(1, count + 1)]
    spine = [name for name in order if name in centres]
    for upper, lower in zip(spine, spine[2:], strict=False):
        yield f"{upper}, {lower}", float(centres[upper][2] - centres[lower][2])

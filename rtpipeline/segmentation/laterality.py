"""On which side of the body a structure lies, against the side in its name. Patient coordinates only, never indices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rtpipeline.geometry.grid import Grid

SWAPPED_MM = 10.0
"""A structure this far beyond the middle, on the side that its name does not say, is on the wrong side."""

SIDES = {"left": 1.0, "right": -1.0}
"""x grows to the patient's left (LPS)."""

NAMED_FOR_BLOOD = re.compile(r"(^|_)(atrium|ventricle|ventricular|coronary)(_|$)")
"""The left and right heart lie one before the other, and the right ventricle left of the middle."""

OF_THE_BRAIN = re.compile(r"ventricle_(frontal|occipital|temporal|body|trigone)")

IN_THE_MIDDLE = re.compile(r"vertebrae_.+|sacrum|sternum|spinal_cord")
"""Structures that are one and in the middle."""

BODY_HU = -300.0
"""Between air and fat."""

BODY_CELL_MM = 4.0
"""The body is found on every so many mm: its middle needs no more."""


def side_of(name: str) -> Literal["left", "right"] | None:
    """The side that a name says, as a word of its own (`kidney_left`, `rib_left_4`, `left_lung`); None without one."""
    words = name.casefold().split("_")
    if NAMED_FOR_BLOOD.search(name.casefold()) and not OF_THE_BRAIN.search(name.casefold()):
        return None
    left, right = "left" in words, "right" in words
    if left == right:
        return None
    return "left" if left else "right"


def partner_of(name: str) -> str:
    """The same structure of the other side."""
    other = {"left": "right", "right": "left"}
    return "_".join(other.get(word, word) for word in name.casefold().split("_"))


def midline_x_mm(centroids_xyz_mm: Mapping[str, NDArray[np.float64]]) -> float | None:
    """Patient x of the body's middle, by its structures; None when no pair and no structure of the middle is there.

    The median over the middles of pairs and over structures that lie in the middle. The middle of a pair is the same
    when the two are swapped, so a swap cannot hide itself.
    """
    middles = list(_middles(centroids_xyz_mm))
    return float(np.median(middles)) if middles else None


def _middles(centroids: Mapping[str, NDArray[np.float64]]) -> Iterator[float]:
    by_name = {name.casefold(): float(point[0]) for name, point in centroids.items()}
    for name, x in sorted(by_name.items()):
        partner = partner_of(name)
        if side_of(name) == "left" and partner in by_name:
            yield 0.5 * (x + by_name[partner])
        elif IN_THE_MIDDLE.fullmatch(name):
            yield x


def body_midline_x_mm(values_hu: NDArray[Any], grid: Grid) -> float | None:
    """Patient x of the middle of the body in a CT: the median over the largest piece denser than BODY_HU, air inside it
    included (a collapsed or missing lung shall not move it).

    values_hu: (z, y, x) on `grid`. None when nothing is that dense.
    """
    spacing_mm = (grid.plane_spacing_mm or BODY_CELL_MM, grid.row_spacing_mm, grid.column_spacing_mm)
    step = tuple(max(1, int(BODY_CELL_MM / mm)) for mm in spacing_mm)
    dense = values_hu[:: step[0], :: step[1], :: step[2]] > BODY_HU
    # what only touches the body, such as the couch, hangs on few voxels
    pieces, count = ndimage.label(ndimage.binary_opening(dense) if min(dense.shape) > 2 else dense)
    if not count:
        return None
    largest = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    body = np.stack([ndimage.binary_fill_holes(plane) for plane in largest])
    return float(np.median(grid.index_zyx_to_patient(np.argwhere(body) * np.array(step))[:, 0]))


def laterality(name: str, centroid_xyz_mm: NDArray[np.float64], midline_mm: float | None) -> str | None:
    """`ok`, or `swapped` when clearly on the other side than the name says; None without a side or a midline."""
    side = side_of(name)
    if side is None or midline_mm is None:
        return None
    return "swapped" if SIDES[side] * (float(centroid_xyz_mm[0]) - midline_mm) < -SWAPPED_MM else "ok"

"""What the values of an image say about it: range, air, and whether the body is cut off at the edge of the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[Any]

AIR_RANGE_HU = (-1150, -700)
"""Values among which air is looked for."""

AIR_MIN_SHARE = 1e-3
"""Without this share of voxels among them there is no estimate of air."""

BODY_ABOVE_HU = -300.0
"""Body and solid things are denser than this, lung and foam are not."""

EDGE_GRID_MM = 3.0
"""The search for cut-off bodies looks at pixels this far apart."""

TABLE_THICKNESS_MM = 12.0
"""Things thinner than this (shells of tables and masks, cables) are no body."""

CONTACT_MM = 20.0
"""A body touches the edge when it does so over this length at least."""

EDGE_PLANES = 64
"""Planes that are looked at, evenly over the volume."""


@dataclass(frozen=True)
class ValueRange:
    """Lowest and highest value of a volume, and the median of what looks like air (HU; None where there is none)."""

    lowest: float
    highest: float
    air: float | None


def value_range(values: Array, *, is_hu: bool, fill: float | None = None) -> ValueRange:
    """Range of (z, y, x) values, plane by plane. fill: value of voxels that were not measured; they are no air."""
    lowest, highest = np.inf, -np.inf
    low, high = AIR_RANGE_HU
    counts = np.zeros(high - low + 1, np.int64)
    for plane in values:
        lowest, highest = min(lowest, float(plane.min())), max(highest, float(plane.max()))
        if is_hu and lowest < high:
            among = plane[(plane >= low) & (plane <= high)]
            if fill is not None:
                among = among[among != fill]
            counts += np.bincount(np.rint(among).astype(np.int64) - low, minlength=len(counts))
    total = int(counts.sum())
    if not is_hu or total < AIR_MIN_SHARE * values.size:
        return ValueRange(lowest, highest, None)
    return ValueRange(lowest, highest, float(low + np.searchsorted(np.cumsum(counts), (total + 1) // 2)))


def planes_cut_off(values: Array, pixel_spacing_mm: tuple[float, float], fill: float | None = None) -> tuple[int, int]:
    """Planes in which the body reaches the edge of the field, and planes looked at.

    values: (z, y, x) HU. pixel_spacing_mm: between rows, between columns. fill: value outside the reconstructed field
    (a circle, often); None when the field is the whole matrix.
    """
    chosen = np.unique(np.rint(np.linspace(0, len(values) - 1, min(EDGE_PLANES, len(values)))).astype(int))
    rows, columns = (_every(n, spacing) for n, spacing in zip(values.shape[1:], pixel_spacing_mm, strict=True))
    grid_mm = tuple(
        float(np.ptp(index) * spacing / max(len(index) - 1, 1))
        for index, spacing in zip((rows, columns), pixel_spacing_mm, strict=True)
    )
    cut = sum(_touches_edge(values[k][np.ix_(rows, columns)], grid_mm, fill) for k in chosen)
    return int(cut), len(chosen)


def _every(count: int, spacing_mm: float) -> NDArray[np.int64]:
    """Indices about EDGE_GRID_MM apart, the last one included: the edge itself must be looked at."""
    return np.unique(np.append(np.arange(0, count, max(1, int(EDGE_GRID_MM / spacing_mm))), count - 1))


def _touches_edge(plane: Array, grid_mm: tuple[float, ...], fill: float | None) -> bool:
    outside = plane == fill if fill is not None else np.zeros(plane.shape, bool)
    # beyond the matrix counts as body while thin things are removed, so that a body at the edge stays at the edge
    margin = [int(np.ceil(TABLE_THICKNESS_MM / 2 / mm)) for mm in grid_mm]
    body = np.pad((plane > BODY_ABOVE_HU) & ~outside, [(m, m) for m in margin], mode="edge")
    ball = _ellipse(margin)
    body = ndimage.binary_opening(body, ball)[margin[0] : -margin[0], margin[1] : -margin[1]]
    field_edge = ~ndimage.binary_erosion(~outside, np.ones((3, 3), bool), border_value=0) & ~outside
    labels, count = ndimage.label(body & field_edge, np.ones((3, 3), bool))
    if count == 0:
        return False
    longest = int(np.bincount(labels.ravel())[1:].max())
    return longest * min(grid_mm) >= CONTACT_MM


def _ellipse(radii: list[int]) -> NDArray[np.bool_]:
    down, across = np.ogrid[-radii[0] : radii[0] + 1, -radii[1] : radii[1] + 1]
    return (down / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1.0

"""From the offsets of a stack's planes to a uniform grid along the normal: what is missing, what is irregular.

A volume file knows one spacing. Real series have gaps, zones of another spacing and rounded positions; each is told
apart here, from numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LATTICE_TOLERANCE_MM = 0.1
"""Planes this near to equal steps lie on them: positions are often written with one decimal."""

LATTICE_TOLERANCE_SHARE = 0.25
"""... but never further from them than this share of the step."""

MISSING_SHARE = 0.25
"""Series of which more intervals than this are too long have zones of two spacings rather than slices missing."""

ZONE_LENGTH = 4
"""So many equally long intervals next to each other are a zone of another spacing, not slices missing one by one."""

FILL_FROM = 1.5
"""An interval longer than this many steps of the volume needs planes between its ends."""

MAX_PLANES_FACTOR = 8
"""Resampling to the finest spacing makes at most so many planes for each original one."""

SNAP_MM = 1e-6
"""A plane of the volume this near to an original plane is that plane: rounding of the offsets."""

Kind = Literal["uniform", "missing", "nonuniform", "gap_too_large"]


@dataclass(frozen=True)
class PlanePlan:
    """Planes of the volume and how each is made from the original ones.

    voxel_offsets_mm: (m,) uniform, from the first original plane. Plane k is `(1 - weight[k])` of original plane
    `lower[k]` and `weight[k]` of the next one; weight 0 is a copy. missing: slices that are not there.
    largest_gap_mm: the longest interval between original planes.
    """

    kind: Kind
    step_mm: float
    voxel_offsets_mm: Array
    lower: NDArray[np.int64]
    weight: Array
    missing: int
    largest_gap_mm: float

    @property
    def filled(self) -> tuple[int, ...]:
        """Planes of the volume that are no original plane."""
        return tuple(int(k) for k in np.flatnonzero(self.weight > 0.0))


def plan_planes(offsets_mm: ArrayLike, max_gap_mm: float) -> PlanePlan:
    """How a stack becomes planes of equal distance.

    offsets_mm: (n,) strictly ascending, n >= 2. uniform: the planes as they are. missing: intervals of n steps, few of
    them; filled linearly between the neighbours. nonuniform: resampled to the finest spacing, made a little finer so
    that both end planes are kept. gap_too_large: an interval that needs filling is longer than max_gap_mm; nothing is
    filled and the plan holds the original planes only.
    """
    offsets = np.asarray(offsets_mm, float) - float(np.asarray(offsets_mm, float)[0])
    steps = np.diff(offsets)
    if len(steps) < 1 or steps.min() <= 0.0:
        raise ValueError("plane offsets must be two or more, strictly ascending")
    counts = _counts_on_lattice(offsets, steps)
    step = float(offsets[-1] / counts.sum()) if counts is not None else float(steps.min())
    longest = float(steps.max())
    if counts is not None and counts.max() == 1:
        return _copies("uniform", offsets, step, longest)
    if np.any((steps > max_gap_mm) & (steps > FILL_FROM * step)):
        return _copies("gap_too_large", offsets, step, longest, missing=_missing(steps, step))
    if counts is not None and _looks_like_missing(counts):
        return _on_lattice(offsets, counts, step, longest)
    return _resampled(offsets, steps, longest)


def _counts_on_lattice(offsets: Array, steps: Array) -> NDArray[np.int64] | None:
    """Steps of each interval when all planes lie on equal steps of the commonest length, else None."""
    for length in (np.sort(steps)[(len(steps) - 1) // 2], steps.min()):
        counts = np.rint(steps / length).astype(np.int64)
        if counts.min() < 1:
            continue
        step = offsets[-1] / counts.sum()
        tolerance = min(LATTICE_TOLERANCE_MM, LATTICE_TOLERANCE_SHARE * step)
        nodes = np.concatenate([[0], np.cumsum(counts)]) * step
        # the best parallel lattice, since the first plane is rounded like any other
        residual = offsets - nodes
        if np.ptp(residual) / 2 <= tolerance:
            return counts
    return None


def _looks_like_missing(counts: NDArray[np.int64]) -> bool:
    long = counts > 1
    if long.sum() > max(1.0, MISSING_SHARE * len(counts)):
        return False
    run = 0
    for k, is_long in enumerate(long):
        run = run + 1 if is_long and k > 0 and long[k - 1] and counts[k] == counts[k - 1] else int(is_long)
        if run >= ZONE_LENGTH:
            return False
    return True


def _missing(steps: Array, step: float) -> int:
    return int(np.sum(np.maximum(np.rint(steps / step).astype(int) - 1, 0)))


def _copies(kind: Kind, offsets: Array, step: float, longest: float, missing: int = 0) -> PlanePlan:
    n = len(offsets)
    return PlanePlan(kind, step, _uniform(n, step), np.arange(n), np.zeros(n), missing, longest)


def _on_lattice(offsets: Array, counts: NDArray[np.int64], step: float, longest: float) -> PlanePlan:
    lower = np.append(np.repeat(np.arange(len(counts)), counts), len(counts))
    weight = np.append(np.concatenate([np.arange(c) / c for c in counts]), 0.0)
    total = int(counts.sum())
    return PlanePlan("missing", step, _uniform(total + 1, step), lower, weight, total - len(counts), longest)


def _resampled(offsets: Array, steps: Array, longest: float) -> PlanePlan:
    span = float(offsets[-1])
    finest = max(float(steps.min()), span / (MAX_PLANES_FACTOR * len(steps)))
    intervals = int(np.ceil(span / finest - 1e-6))
    step = span / intervals
    voxel = _uniform(intervals + 1, step)
    lower = np.clip(np.searchsorted(offsets, voxel, side="right") - 1, 0, len(offsets) - 2)
    weight = (voxel - offsets[lower]) / (offsets[lower + 1] - offsets[lower])
    at_upper = np.abs(voxel - offsets[lower + 1]) <= SNAP_MM
    at_lower = np.abs(voxel - offsets[lower]) <= SNAP_MM
    lower = np.where(at_upper, lower + 1, lower)
    weight = np.where(at_upper | at_lower, 0.0, weight)
    return PlanePlan("nonuniform", step, voxel, lower, weight, 0, longest)


def _uniform(count: int, step: float) -> Array:
    return np.arange(count, dtype=np.float64) * np.float64(step)

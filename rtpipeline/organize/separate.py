"""Slices of one stack of a series that lie at the same position, or at two spacings, taken apart.

4D phases, repeated acquisitions and differently reconstructed volumes are exported under one SeriesInstanceUID. Here is
decided which slices form one volume: by an attribute that tells them apart, else by what a structure set references.
Nothing is guessed: what cannot be told apart stays together and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rtpipeline.organize.columns import combined

POSITION_TOLERANCE_MM = 0.01
"""Two slices nearer than this lie at one position; a tenth of the finest spacing in use."""
THICKNESS_TOLERANCE_MM = 0.1
"""Scanners write 2.4998 for 2.5 mm within one volume."""
SPACING_AGREES = 0.1
"""A volume of its own has steps within this fraction of its slice thickness."""


@dataclass(frozen=True)
class Separation:
    """How the slices of one stack belong together."""

    labels: np.ndarray
    """(n,) int64, one volume each; -1 for copies left over"""
    split_by: str
    """attribute, `structure_set`, or '' when there was nothing to separate"""
    separable: bool


def repeats(position_mm: np.ndarray, labels: np.ndarray) -> int:
    """Number of slices that lie where another of the same label lies. position_mm: (n,) along the normal."""
    order = np.lexsort((position_mm, labels))
    near = np.diff(position_mm[order]) < POSITION_TOLERANCE_MM
    return int(np.count_nonzero(near & (np.diff(labels[order]) == 0)))


def separate_repeats(
    position_mm: np.ndarray, attributes: Sequence[tuple[str, np.ndarray]], referenced: Sequence[np.ndarray]
) -> Separation:
    """Volumes among slices of which some share a position.

    Parameters
    ----------
    position_mm: (n,) along the slice normal.
    attributes: (name, codes (n,)) in the order in which they are tried.
    referenced: for each structure set, the slices (indices) it references, at least one.
    """
    whole = np.zeros(len(position_mm), dtype=np.int64)
    usable = [(name, codes) for name, codes in attributes if 1 < len(np.unique(codes)) <= len(codes) // 2]
    for name, codes in usable:
        if repeats(position_mm, combined(codes)) == 0:
            return Separation(combined(codes), name, True)
    labels = whole
    names: list[str] = []
    for name, codes in usable:
        finer = combined(labels, codes)
        if repeats(position_mm, finer) < repeats(position_mm, labels) and len(np.unique(finer)) <= len(codes) // 2:
            labels, names = finer, [*names, name]
    if names and repeats(position_mm, labels) == 0:
        return Separation(labels, "+".join(names), True)
    return _by_structure_sets(position_mm, referenced)


def _by_structure_sets(position_mm: np.ndarray, referenced: Sequence[np.ndarray]) -> Separation:
    """Volumes made of the slices that structure sets reference: sets that can lie on one volume do."""
    n = len(position_mm)
    labels = np.full(n, -1, dtype=np.int64)
    count = 0
    for slices in sorted(referenced, key=lambda s: (-len(s), s.tolist())):
        taken = np.unique(labels[slices][labels[slices] >= 0]).tolist()
        if len(taken) > 1:
            continue
        for label in taken or range(count + 1):
            members = np.union1d(np.flatnonzero(labels == label), slices)
            if repeats(position_mm[members], np.zeros(len(members), dtype=np.int64)) == 0:
                labels[slices] = label
                count = max(count, label + 1)
                break
    free = np.flatnonzero(labels < 0)
    if count == 0:
        return Separation(np.zeros(n, dtype=np.int64), "", False)
    if count == 1 and len(free):
        # the slices beyond the contours belong to the volume too, unless the volume holds their position already
        taken_mm = np.sort(position_mm[labels == 0])
        clear = free[_distance_mm(position_mm[free], taken_mm) >= POSITION_TOLERANCE_MM]
        if repeats(position_mm[clear], np.zeros(len(clear), dtype=np.int64)):
            return Separation(np.zeros(n, dtype=np.int64), "", False)
        labels[clear] = 0
    return Separation(labels, "structure_set", True)


def _distance_mm(points_mm: np.ndarray, taken_mm: np.ndarray) -> np.ndarray:
    after = np.clip(np.searchsorted(taken_mm, points_mm), 0, len(taken_mm) - 1)
    before = np.clip(after - 1, 0, len(taken_mm) - 1)
    return np.minimum(np.abs(points_mm - taken_mm[after]), np.abs(points_mm - taken_mm[before]))


def separate_spacings(
    position_mm: np.ndarray, thickness_mm: np.ndarray, referenced: Sequence[np.ndarray]
) -> Separation:
    """Volumes of different slice thickness that cover the same range although no two slices coincide.

    Only where each has steps that fit its own thickness and no structure set uses slices of two of them; slices of
    two thicknesses one behind the other are one volume.
    """
    one = Separation(np.zeros(len(position_mm), dtype=np.int64), "", True)
    if not np.isfinite(thickness_mm).all():
        return one
    order = np.argsort(thickness_mm, kind="stable")
    labels = np.empty(len(order), dtype=np.int64)
    labels[order] = np.cumsum(np.diff(thickness_mm[order], prepend=thickness_mm[order[0]]) > THICKNESS_TOLERANCE_MM)
    kinds = np.unique(labels)
    if len(kinds) < 2 or any(len(np.unique(labels[s])) > 1 for s in referenced):
        return one
    ranges = []
    for kind in kinds:
        at = np.sort(position_mm[labels == kind])
        step_mm = np.median(np.diff(at)) if len(at) > 2 else np.nan
        if not abs(step_mm - np.median(thickness_mm[labels == kind])) <= SPACING_AGREES * step_mm:
            return one
        ranges.append((at[0], at[-1]))
    ranges.sort()
    overlap = all(second[0] < first[1] for first, second in pairwise(ranges))
    return Separation(labels, "slice_thickness", True) if overlap else one

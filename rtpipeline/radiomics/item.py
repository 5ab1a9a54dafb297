"""The features of one structure as a work item: what a worker process is sent and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtpipeline.geometry.grid import Grid
from rtpipeline.radiomics.profiles import Profile


@dataclass(frozen=True)
class Item:
    """A structure on an image.

    values: file (`.npy`) of the whole image (z, y, x), of which a worker reads what the structure needs. mask_zyx: the
    structure's box, which begins at `offset_zyx` of `grid`, the whole image's. intensity: mean and standard deviation
    of the whole image, for profiles that normalise.
    """

    values: Path
    mask_zyx: NDArray[np.bool_]
    offset_zyx: tuple[int, int, int]
    grid: Grid
    profile: Profile
    intensity: tuple[float, float] | None


@dataclass(frozen=True)
class Features:
    """Features by name, with status `ok`, or why there are none."""

    status: str
    reason: str
    values: dict[str, float]


def compute(item: Item) -> Features:
    """Features of a structure; a mask that cannot be used is a status."""
    from rtpipeline.radiomics.extract import NoFeatures, extract_features

    values = np.load(item.values, mmap_mode="r")
    mask = np.zeros(values.shape, bool)  # pages that stay zero take no memory
    mask[tuple(slice(o, o + n) for o, n in zip(item.offset_zyx, item.mask_zyx.shape, strict=True))] = item.mask_zyx
    try:
        found = extract_features(values, mask, item.grid, item.profile, intensity=item.intensity)
    except NoFeatures as lacking:
        return Features(lacking.status, lacking.reason, {})
    return Features("ok", "", found)

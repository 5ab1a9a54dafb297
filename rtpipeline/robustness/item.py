"""One state of one structure as a work item: what a worker process is sent and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtpipeline.radiomics.frame import Frame
from rtpipeline.radiomics.profiles import Profile
from rtpipeline.robustness.states import State


@dataclass(frozen=True)
class Item:
    """values: file (`.npy`) of the whole image. intensity: its mean and standard deviation as it is, for profiles that
    normalise. The other fields are those of `chain.Subject`.
    """

    values: Path
    mask_zyx: NDArray[np.bool_]
    offset_zyx: tuple[int, int, int]
    frame: Frame
    profile: Profile
    intensity: tuple[float, float] | None
    states: tuple[State, ...]
    state: State
    correlation_mm: float
    noise_seed: int
    contour_seed: int


@dataclass(frozen=True)
class StateFeatures:
    """Features by name, with status `ok`, or why there are none; voxels and noise of the state where it has a mask."""

    status: str
    reason: str
    voxels: int | None = None
    noise_sd: float | None = None
    values: dict[str, float] = field(default_factory=dict)


def compute(item: Item) -> StateFeatures:
    """Features of a structure in a state; a mask that cannot be used is a status."""
    from rtpipeline.radiomics.extract import NoFeatures, extract_features
    from rtpipeline.robustness.chain import Dropped, Subject

    subject = Subject(
        np.load(item.values, mmap_mode="r"),
        item.mask_zyx,
        item.offset_zyx,
        item.frame,
        item.profile,
        item.states,
        item.correlation_mm,
    )
    try:
        part = subject.perturbed(item.state, item.noise_seed, item.contour_seed)
    except Dropped as dropped:
        return StateFeatures(dropped.status, dropped.reason)
    try:
        found = extract_features(
            part.values_zyx,
            part.mask_zyx,
            item.frame,
            item.profile,
            offset_zyx=part.offset_zyx,
            intensity=item.intensity,
        )
    except NoFeatures as lacking:
        return StateFeatures(lacking.status, lacking.reason, part.voxels, part.noise_sd)
    return StateFeatures("ok", "", part.voxels, part.noise_sd, found)

"""Perturbation states as data: what is done to image and structure in each, by profile, and the seeds of chance.

The chain of a state is noise, motion of the voxel grid (translation and rotation), volume, contour; after Zwanenburg A,
Leger S, Agolli L, et al. Assessing robustness of radiomic features by image perturbation. Sci Rep 9 (2019) 614.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

Xyz = tuple[float, float, float]
STILL: Xyz = (0.0, 0.0, 0.0)
ORIGINAL = "original"


@dataclass(frozen=True)
class State:
    """One state; every default means that the factor does nothing.

    noise_levels: standard deviation of the noise, in multiples of the image's own level. noise_sd: the same in the
    image's units, instead. shift_voxels_xyz, shift_xyz_mm: by which the grid is moved along its own axes; they add.
    rotation_deg: of the grid, in its planes, about the middle of the structure, from the row direction towards the
    column direction. volume_pct: of the structure. contour_sd_mm: of the outline's random displacement, independent for
    each realisation. contour_offset_mm: the same displacement everywhere, outwards when positive.
    """

    noise_levels: float = 0.0
    noise_sd: float = 0.0
    noise_realisation: int = 0
    shift_voxels_xyz: Xyz = STILL
    shift_xyz_mm: Xyz = STILL
    rotation_deg: float = 0.0
    volume_pct: float = 0.0
    contour_sd_mm: float = 0.0
    contour_realisation: int = 0
    contour_offset_mm: float = 0.0

    @property
    def name(self) -> str:
        """Unique among the states of a profile: what differs from the original."""
        parts = []
        if self.has_noise:
            level = f"{self.noise_levels:g}x" if self.noise_levels else f"{self.noise_sd:g}"
            parts.append(f"noise_{level}_{self.noise_realisation}")
        if self.shift_voxels_xyz != STILL:
            parts.append("shift_" + "_".join(f"{v:+g}" for v in self.shift_voxels_xyz))
        if self.shift_xyz_mm != STILL:
            parts.append("shift_" + "_".join(f"{v:+g}" for v in self.shift_xyz_mm) + "_mm")
        if self.rotation_deg:
            parts.append(f"rotation_{self.rotation_deg:+g}")
        if self.volume_pct:
            parts.append(f"volume_{self.volume_pct:+g}")
        if self.contour_sd_mm:
            parts.append(f"contour_{self.contour_sd_mm:g}_{self.contour_realisation}")
        if self.contour_offset_mm:
            parts.append(f"offset_{self.contour_offset_mm:+g}")
        return " ".join(parts) or ORIGINAL

    @property
    def has_noise(self) -> bool:
        """Whether the values change before any motion."""
        return self.noise_levels > 0 or self.noise_sd > 0

    @property
    def moves(self) -> bool:
        """Whether image and structure are sampled anew."""
        return (self.shift_voxels_xyz, self.shift_xyz_mm, self.rotation_deg) != (STILL, STILL, 0.0)

    @property
    def reshapes(self) -> bool:
        """Whether the structure changes within its image."""
        return (self.volume_pct, self.contour_sd_mm, self.contour_offset_mm) != (0.0, 0.0, 0.0)

    def only(self, modes: Iterable[str]) -> State:
        """The state with the factors of the given modes alone."""
        kept = {name for mode in modes for name in FIELDS_OF_MODE[mode]}
        return replace(State(), **{f.name: getattr(self, f.name) for f in fields(self) if f.name in kept})


FIELDS_OF_MODE: dict[str, tuple[str, ...]] = {
    "noise": ("noise_levels", "noise_sd", "noise_realisation"),
    "translation": ("shift_voxels_xyz", "shift_xyz_mm"),
    "rotation": ("rotation_deg",),
    "volume": ("volume_pct",),
    "contour": ("contour_sd_mm", "contour_realisation", "contour_offset_mm"),
}


def _product(*axes: Sequence[State]) -> tuple[State, ...]:
    """Every combination; the axes change different factors."""
    combined = []
    for states in itertools.product(*axes):
        changes = {f.name: getattr(s, f.name) for s in states for f in fields(s) if getattr(s, f.name) != f.default}
        combined.append(replace(State(), **changes))
    return tuple(combined)


def _noise(*realisations: int) -> tuple[State, ...]:
    return (State(), *(State(noise_levels=1.0, noise_realisation=r) for r in realisations))


def _pose(shift: float, rotation_deg: float) -> State:
    # along all three axes at once; no half voxels, at which a flat face of a mask is a tie
    return State(shift_voxels_xyz=(shift, shift, shift), rotation_deg=rotation_deg)


def _volumes(*volumes_pct: float) -> tuple[State, ...]:
    return tuple(State(volume_pct=v) for v in volumes_pct)


def _contours(sd_mm: float, *realisations: int) -> tuple[State, ...]:
    return (State(), *(State(contour_sd_mm=sd_mm, contour_realisation=r) for r in realisations))


_DEMO = (
    State(),
    *_noise(1, 2)[1:],
    State(shift_voxels_xyz=(0.25, 0.0, 0.0)),
    State(shift_voxels_xyz=(0.25, 0.25, 0.25)),
    State(rotation_deg=3.0),
    State(rotation_deg=-3.0),
    *_volumes(-10.0, 10.0),
    *_contours(1.0, 1, 2)[1:],
    *_product(_noise(1)[1:], [_pose(0.25, 3.0)], _volumes(10.0), _contours(1.0, 1)[1:]),
)
_MILD = _product(
    _noise(1),
    [State(), _pose(0.25, 3.0)],
    [
        State(),
        State(volume_pct=-10.0, contour_sd_mm=1.0, contour_realisation=1),
        State(volume_pct=10.0, contour_sd_mm=1.0, contour_realisation=2),
    ],
)
_STANDARD = _product(
    _noise(1, 2),
    [State(), _pose(0.25, 3.0), _pose(-0.4, -3.0)],
    _volumes(0.0, -15.0, 15.0),
    _contours(1.5, 1, 2),
)
_AGGRESSIVE = _product(
    _noise(1, 2),
    [
        State(),
        *(
            _pose(sign * shift, sign * turn)
            for shift, turn in ((0.25, 3.0), (0.4, 6.0), (0.25, 10.0))
            for sign in (1, -1)
        ),
    ],
    _volumes(0.0, -15.0, 15.0, -30.0, 30.0),
    _contours(2.0, 1, 2),
)
_NTCV_SEED = _product(
    [State(), State(noise_sd=10.0, noise_realisation=1), State(noise_sd=20.0, noise_realisation=1)],
    [State(), State(shift_xyz_mm=(0.0, 0.0, 4.0)), State(shift_xyz_mm=(0.0, 0.0, -4.0))],
    [State(), State(contour_offset_mm=-1.5), State(contour_offset_mm=1.5)],
    _volumes(0.0, -15.0, 15.0),
)

PROFILES: dict[str, tuple[State, ...]] = {
    "demo": _DEMO,
    "mild": _MILD,
    "standard": _STANDARD,
    "aggressive": _AGGRESSIVE,
    "ntcv-seed": _NTCV_SEED,
}
"""12, 12, 81, 315 and 81 states. demo: each factor alone, then all together; the others: every combination of their
levels. ntcv-seed: fixed noise, motion along the normal of the planes alone, and uniform offsets, for comparison with
figures that were made so."""


def states_of(profile: str, modes: Iterable[str], contour_sd_mm: float | None = None) -> tuple[State, ...]:
    """States of a profile with the factors of the given modes, each once, the original first.

    contour_sd_mm: of the outline's random displacement, instead of the profile's.
    """
    chosen = tuple(modes)
    states = []
    for state in PROFILES[profile]:
        kept = state.only(chosen)
        if kept.contour_sd_mm and contour_sd_mm is not None:
            kept = replace(kept, contour_sd_mm=contour_sd_mm)
        states.append(kept)
    return tuple(dict.fromkeys(states))


def seed_of(seed: int, image_digest: str, roi_key: str, factor: str, realisation: int) -> int:
    """Seed of the random numbers of a factor's realisation for one structure, for `numpy.random.default_rng`.

    It depends on nothing else: not on workers, the order of the work, other states or pseudonyms.
    """
    words = hashlib.sha256("\0".join((image_digest, roi_key, factor)).encode()).digest()
    spawned = np.random.SeedSequence([seed, *np.frombuffer(words, "<u4").tolist(), realisation])
    return int(spawned.generate_state(1, np.uint64)[0] >> np.uint64(1))  # fits a signed column

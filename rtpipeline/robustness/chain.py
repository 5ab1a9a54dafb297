"""One structure on one image in a state: the part of the image and the mask that its features come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtpipeline.radiomics.frame import SPLINE_MARGIN_VOXELS, Frame
from rtpipeline.radiomics.profiles import Profile
from rtpipeline.robustness import perturb
from rtpipeline.robustness.perturb import Array, Mask
from rtpipeline.robustness.states import State

Ints = NDArray[np.int_]
Box = tuple[slice, slice, slice]

NOISE_RIM_VOXELS = 5
"""The image's noise is measured in the structure's box and this far around it, in its planes."""

ROUNDING_VOXELS = 2
"""Around everything that has a bound in mm: masks are voxels, and a bound is met to about one."""

EDGE_TOLERANCE_VOXELS = 1e-6
"""A place that rounding puts outside the image is inside."""


class Dropped(Exception):  # noqa: N818 - not an error: a status of the row
    """A state in which the structure cannot be used. status: scan_edge or vanished."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason

    def __reduce__(self) -> tuple[type[Dropped], tuple[str, str]]:
        return Dropped, (self.status, self.reason)


@dataclass(frozen=True, eq=False)
class Perturbed:
    """values_zyx and mask_zyx begin at `offset_zyx` of the image's grid. noise_sd: what was added, in its units."""

    values_zyx: NDArray[Any]
    mask_zyx: Mask
    offset_zyx: tuple[int, int, int]
    noise_sd: float

    @property
    def voxels(self) -> int:
        """Voxels of the structure."""
        return int(np.count_nonzero(self.mask_zyx))


@dataclass(frozen=True, eq=False)
class Subject:
    """A structure on an image, as it is, and the states it will go through.

    values_zyx: (z, y, x) the whole image. mask_zyx: the structure's box, which begins at `offset_zyx`. frame: of the
    whole image. profile: of the features, which says how much of the surroundings they need. correlation_mm: of the
    outline's random displacement.
    """

    values_zyx: NDArray[Any]
    mask_zyx: Mask
    offset_zyx: tuple[int, int, int]
    frame: Frame
    profile: Profile
    states: tuple[State, ...]
    correlation_mm: float

    def perturbed(self, state: State, noise_seed: int, contour_seed: int) -> Perturbed:
        """Image and mask in a state. The seeds are used where the state has random numbers.

        Raises
        ------
        Dropped: a voxel of the perturbed structure lies outside the image, or none is left.
        """
        matrix, offset = perturb.motion(self.spacing_zyx_mm, self._shift_mm(state), state.rotation_deg, self.centre_zyx)
        first = np.array(self.offset_zyx) - self.rim
        room = np.pad(self.mask_zyx, [(int(r), int(r)) for r in self.rim])
        if state.moves:
            room = perturb.moved_mask(room, matrix, matrix @ first + offset - first, _shape(room))
        room = self._reshaped(room, state, contour_seed)
        mask, begin = self._within_image(room, first, matrix, offset)
        noise_sd = state.noise_sd + state.noise_levels * self.noise_level
        values, at = self.values_zyx, np.zeros(3, int)
        if state.has_noise or state.moves:
            values, at = self._noisy(noise_sd, noise_seed)
        if state.moves:
            target = self._clipped(begin - self.need, begin + mask.shape + self.need)
            start = _starts(target)
            size = (target[0].stop - start[0], target[1].stop - start[1], target[2].stop - start[2])
            values = perturb.moved_values(values, matrix, matrix @ start + offset - at, size)
            at = start
        whole = np.zeros(values.shape, bool)  # pages that stay zero take no memory
        whole[_box(begin - at, begin - at + mask.shape)] = mask
        return Perturbed(values, whole, (int(at[0]), int(at[1]), int(at[2])), noise_sd)

    @cached_property
    def spacing_zyx_mm(self) -> Array:
        """Voxel edges in the order of the arrays."""
        return np.array(self.frame.spacing_xyz_mm[::-1], np.float64)

    @cached_property
    def centre_zyx(self) -> Array:
        """Middle of the structure's box, in voxels of the image: what a rotation is about."""
        return np.array(self.offset_zyx) + (np.array(self.mask_zyx.shape) - 1) / 2

    @cached_property
    def noise_level(self) -> float:
        """Of the image around the structure, see `perturb.noise_level`."""
        around = np.array([0, NOISE_RIM_VOXELS, NOISE_RIM_VOXELS])
        first = np.array(self.offset_zyx)
        return perturb.noise_level(self.values_zyx[self._clipped(first - around, first + self.mask_zyx.shape + around)])

    @cached_property
    def rim(self) -> Ints:
        """(3,) voxels around the box that hold the structure in every state.

        Random outlines are drawn on box and rim, so that a realisation is the same in all states. Growth by volume: of
        all bodies a ball needs the thickest shell for a given growth (Brunn and Minkowski).
        """
        radius_mm = (3 * np.count_nonzero(self.mask_zyx) * self.spacing_zyx_mm.prod() / (4 * np.pi)) ** (1 / 3)
        most = np.zeros(3)
        for state in self.states:
            growth = max(0.0, (1 + state.volume_pct / 100) ** (1 / 3) - 1) * radius_mm
            outline = max(0.0, perturb.CONTOUR_CLIP_SD * state.contour_sd_mm + state.contour_offset_mm)
            most = np.maximum(most, self._motion_mm(state, np.zeros(3)) + growth + outline)
        return np.ceil(most / self.spacing_zyx_mm).astype(int) + ROUNDING_VOXELS

    @cached_property
    def need(self) -> Ints:
        """(3,) voxels around a mask that its features look at."""
        settings = self.profile.settings
        wanted = np.array((settings.get("resampledPixelSpacing") or (0, 0, 0))[::-1], np.float64)
        coarser = np.maximum(1.0, wanted / self.spacing_zyx_mm)
        padding = np.ceil(settings.get("padDistance", 5) * coarser).astype(int)
        return padding + SPLINE_MARGIN_VOXELS + ROUNDING_VOXELS

    @cached_property
    def source(self) -> Box:
        """The part of the image that any state needs; noise is drawn on it, the same in all states of a realisation."""
        around = self.rim + self.need
        motions = [self._motion_mm(state, around * self.spacing_zyx_mm) for state in self.states]
        moved = np.ceil(np.max(motions, axis=0) / self.spacing_zyx_mm).astype(int)
        margin = around + moved + SPLINE_MARGIN_VOXELS
        first = np.array(self.offset_zyx)
        return self._clipped(first - margin, first + self.mask_zyx.shape + margin)

    def _motion_mm(self, state: State, around_mm: Array) -> Array:
        """(3,) bound of how far a point of the box, or so far around it, is moved."""
        half_mm = np.array(self.mask_zyx.shape) / 2 * self.spacing_zyx_mm + around_mm
        turn = 2 * np.sin(np.deg2rad(abs(state.rotation_deg)) / 2) * np.hypot(half_mm[1], half_mm[2])
        return np.abs(self._shift_mm(state)) + np.array([0.0, turn, turn])

    def _shift_mm(self, state: State) -> Array:
        return np.array(state.shift_voxels_xyz[::-1]) * self.spacing_zyx_mm + np.array(state.shift_xyz_mm[::-1])

    def _reshaped(self, room: Mask, state: State, contour_seed: int) -> Mask:
        """Volume, then outline."""
        voxels = int(np.count_nonzero(room))
        if state.volume_pct and voxels:
            wanted = int(np.floor(voxels * (1 + state.volume_pct / 100) + 0.5))
            distance = perturb.signed_distance_mm(room, self.spacing_zyx_mm)
            room = perturb.with_voxels(room, distance, wanted, self.spacing_zyx_mm)
        if (state.contour_sd_mm or state.contour_offset_mm) and room.any():
            displacement: Array | float = state.contour_offset_mm
            if state.contour_sd_mm:
                field = perturb.random_field(_shape(room), self.spacing_zyx_mm, self.correlation_mm, contour_seed)
                limit = perturb.CONTOUR_CLIP_SD
                displacement = displacement + state.contour_sd_mm * np.clip(field, -limit, limit)
            room = perturb.displaced(perturb.signed_distance_mm(room, self.spacing_zyx_mm), displacement)
        return room

    def _within_image(self, room: Mask, first: Ints, matrix: Array, offset: Array) -> tuple[Mask, Ints]:
        """The mask cut to its box, and where that begins; its voxels, and where they are sampled, are in the image."""
        at = np.argwhere(room)
        if not len(at):
            raise Dropped("vanished", "no voxel is left of the structure")
        places = np.concatenate([at + first, (at + first) @ matrix.T + offset])
        beyond = np.maximum(-places.min(axis=0), places.max(axis=0) - (np.array(self.values_zyx.shape) - 1))
        if (beyond > EDGE_TOLERANCE_VOXELS).any():
            worst_mm = float((beyond * self.spacing_zyx_mm).max())
            raise Dropped("scan_edge", f"reaches {worst_mm:.1f} mm beyond the outermost voxel centres of the image")
        low, high = at.min(axis=0), at.max(axis=0) + 1
        return room[_box(low, high)], low + first

    def _noisy(self, noise_sd: float, noise_seed: int) -> tuple[Array, Ints]:
        """The source with its noise, and where it begins."""
        values = np.asarray(self.values_zyx[self.source], np.float64)
        if noise_sd > 0:
            values = values + noise_sd * perturb.white_noise(_shape(values), noise_seed)
        return values, _starts(self.source)

    def _clipped(self, low: Ints, high: Ints) -> Box:
        return _box(np.maximum(low, 0), np.minimum(high, self.values_zyx.shape))


def _box(low: Ints, high: Ints) -> Box:
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def _starts(box: Box) -> Ints:
    return np.array([s.start for s in box])


def _shape(values: NDArray[Any]) -> tuple[int, int, int]:
    z, y, x = values.shape
    return z, y, x

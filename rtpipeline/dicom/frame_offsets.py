"""Where the planes of a multi-frame dose lie (PS3.3 C.8.8.3.2, GridFrameOffsetVector)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FIRST_PLANE_TOLERANCE_MM = 0.05
"""First absolute offset against ImagePositionPatient z: the two are often written with different decimals."""

ZERO_TOLERANCE_MM = 1e-6
"""A first offset this small is zero: the relative form."""

AXIAL_TOLERANCE = 1e-4
"""Of a direction cosine against 1 in the orientation that the absolute form needs."""


@dataclass(frozen=True)
class PlaneOffsets:
    """offsets_mm: along the normal from the first plane, its own included (0). form: `relative` or `absolute`."""

    offsets_mm: tuple[float, ...]
    form: str


class FrameOffsetError(ValueError):
    """The offsets do not say where the planes lie; the message says why."""


def plane_offsets(
    vector: Sequence[float] | None, orientation: Sequence[float], position_xyz_mm: Sequence[float], frames: int
) -> PlaneOffsets:
    """Offsets of the planes from the first, which lies at ImagePositionPatient.

    a) First value 0: offsets along row x column direction. b) First value equal to the z of ImagePositionPatient and
    orientation 1,0,0,0,1,0: the planes' z. Where the normal points along +z the two read the same whatever the row
    direction, so that is accepted too; along any other normal the absolute form is ambiguous.

    Raises
    ------
    FrameOffsetError: none given, another number than frames, not strictly monotonic, or neither form.
    """
    if frames == 1:
        return PlaneOffsets((0.0,), "relative")  # one plane lies at ImagePositionPatient, whatever the vector says
    if vector is None:
        raise FrameOffsetError(f"GridFrameOffsetVector missing, {frames} frames")
    if len(vector) != frames:
        raise FrameOffsetError(f"{len(vector)} offsets for {frames} frames")
    offsets = np.asarray(vector, float)
    steps = np.diff(offsets)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise FrameOffsetError("offsets neither ascend nor descend strictly")
    first = float(offsets[0])
    if abs(first) <= ZERO_TOLERANCE_MM:
        return PlaneOffsets((0.0, *(float(v) for v in offsets[1:])), "relative")
    normal = np.cross(orientation[:3], orientation[3:])
    if abs(first - position_xyz_mm[2]) > FIRST_PLANE_TOLERANCE_MM:
        raise FrameOffsetError(f"first offset {first:g} mm is neither 0 nor the z of the first plane")
    if abs(normal[2] - 1.0) > AXIAL_TOLERANCE:
        raise FrameOffsetError(f"first offset {first:g} mm is the z of the first plane, but the normal is not +z")
    return PlaneOffsets(tuple(float(v) for v in offsets - first), "absolute")

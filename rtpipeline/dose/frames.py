"""Ways between frames of reference: rigid registrations, applied in either direction and in chains of two.

| registrations between two frames | way |
|---|---|
| one, or several that say the same | it, in the direction that is needed (the first by its id) |
| several that say different things | none |
| none, but from both to a third frame | through that frame, when all such ways say the same |
| none | none: the same coordinates in two frames are never assumed |

Two ways say the same when they take no corner of the region further apart than `AGREE_MM` and turn by the same within
`AGREE_DEG`. A chain does not contradict a registration that was made for the two frames themselves: errors add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.geometry.rigid import carried, inverse, is_identity, turn_deg

AGREE_MM = 0.1
"""How far apart two registrations of the same frames may take a point of the region."""

AGREE_DEG = 0.01
"""By how much their rotations may differ."""

MAX_STEPS = 2
"""Registrations in a row: to a common third frame and on from there."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FrameLink:
    """A registration object's word on two frames. matrix: (4, 4), from coordinates of `source` to those of `target`."""

    reg_id: str
    source: str
    target: str
    matrix: Array


@dataclass(frozen=True)
class Route:
    """How to get from one frame to another. reg_ids: registrations on the way; none within one frame."""

    matrix: Array
    reg_ids: tuple[str, ...] = ()

    @property
    def is_identity(self) -> bool:
        """Whether both frames hold the same coordinates."""
        return not self.reg_ids or is_identity(self.matrix)

    def then(self, step: Route) -> Route:
        """This way and another one after it."""
        return Route(step.matrix @ self.matrix, tuple(dict.fromkeys((*self.reg_ids, *step.reg_ids))))


SAME_FRAME = Route(np.eye(4))
"""Within one frame of reference."""


class RegistrationsDisagreeError(ValueError):
    """Registrations lead to different places; the message says which, and how far apart."""


def find_route(links: Iterable[FrameLink], source: str, target: str, region_xyz_mm: Array) -> Route | None:
    """The shortest way from one frame to another; None where registrations do not tie them.

    Parameters
    ----------
    source, target: frames of reference; an empty one is tied to nothing.
    region_xyz_mm: (n, 3) points in mm of `source` at which ways are compared, such as the corners of a dose grid.

    Raises
    ------
    RegistrationsDisagreeError: several ways of that length lead to different places.
    """
    if not source or not target:
        return None
    if source == target:
        return SAME_FRAME
    ordered = sorted(links, key=lambda link: (link.reg_id, link.source, link.target))
    reached = [(source, frozenset({source}), SAME_FRAME)]
    for _ in range(MAX_STEPS):
        reached = [
            (frame, passed | {frame}, so_far.then(step))
            for at, passed, so_far in reached
            for frame, step in _steps(ordered, at)
            if frame not in passed
        ]
        found = [route for frame, _, route in reached if frame == target]
        if found:
            _same(found, region_xyz_mm)
            return found[0]
    return None


def _steps(links: Sequence[FrameLink], at: str) -> list[tuple[str, Route]]:
    """Frames that one registration leads to from `at`, either way round."""
    steps = [(link.target, Route(link.matrix, (link.reg_id,))) for link in links if link.source == at]
    back = [(link.source, Route(inverse(link.matrix), (link.reg_id,))) for link in links if link.target == at]
    return sorted(steps + back, key=lambda step: (step[1].reg_ids, step[0]))


def _same(routes: Sequence[Route], region_xyz_mm: Array) -> None:
    first = routes[0]
    for other in routes[1:]:
        apart = carried(first.matrix, region_xyz_mm) - carried(other.matrix, region_xyz_mm)
        apart_mm = float(np.linalg.norm(apart, axis=1).max())
        apart_deg = turn_deg(first.matrix[:3, :3].T @ other.matrix[:3, :3])
        if apart_mm > AGREE_MM or apart_deg > AGREE_DEG:
            names = " and ".join(" with ".join(r.reg_ids) for r in (first, other))
            raise RegistrationsDisagreeError(f"{names} differ by up to {apart_mm:.2f} mm and {apart_deg:.2f} degrees")

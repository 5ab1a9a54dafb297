"""Which image a structure set was drawn on, and which of several sets on one image comes first."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rtpipeline.organize.components import ImageHits, referenced_series
from rtpipeline.organize.objects import ScanObject, is_uid, texts
from rtpipeline.organize.slice_planes import drawn_on, misfit_mm

ImageLink = Literal["series", "images", "frame_of_reference", "none"]
VOLUME_RANK = {"ct": 0, "ct_4d_average": 1, "ct_4d_phase": 2, "cbct": 3, "ct_mip": 4, "mr": 5, "pt": 6, "localizer": 7}
REFORMATTED = frozenset({"REFORMATTED", "MPR", "CSAPARALLEL", "CSA REFORMAT", "CURVED"})
AXIAL_COSINE = 0.7
"""Of slice normal and body axis; no gantry tilts by 45 degrees."""


@dataclass(frozen=True)
class Binding:
    """The image of one structure set."""

    part: int | None
    """object number of the image part"""
    link: ImageLink
    referenced: int
    """images it references"""
    present: int
    """of these, in the image it is bound to"""
    names_images: bool
    """it references images or series at all"""


def volume_order(part: ScanObject) -> tuple[int, bool, int, int, str, str]:
    """Sorts images: the kind most fit for planning, as acquired, the largest first, then by date and hash."""
    assert part.image is not None
    kind = VOLUME_RANK.get(part.image.image_class, len(VOLUME_RANK))
    return (kind, is_reformatted(part), -part.image.instances, *part.sort_key)


def is_reformatted(part: ScanObject) -> bool:
    """Whether a CT was resliced: said by its ImageType, or to be seen from slices that are not axial."""
    assert part.image is not None
    said = bool(REFORMATTED & set(part.image.image_type.upper().split("\\")))
    planes = part.image.planes
    steep = planes is not None and abs(float(planes.axes[2, 2])) < AXIAL_COSINE
    return part.image.modality == "CT" and (said or steep)


def frames_of(thing: ScanObject) -> set[str]:
    """Frames of reference that an object lies in."""
    return {uid for uid in (thing.frame_uid, *texts(thing.facts, "frame_uids")) if is_uid(uid)}


def bind_images(
    structure_sets: Sequence[ScanObject], parts: Mapping[int, ScanObject], hits: ImageHits
) -> dict[int, Binding]:
    """The image of each structure set, among the image parts of its patient.

    By the images it references, else by the series; by the frame of reference only where its contours lie on the
    slices of exactly one volume of that frame.
    """
    return {s.number: _binding(s, parts, hits) for s in structure_sets}


def _binding(one: ScanObject, parts: Mapping[int, ScanObject], hits: ImageHits) -> Binding:
    referenced = hits.referenced.get(one.number, 0)
    series = set(referenced_series(one))
    names_images = bool(referenced or series)
    found = {n: c for n, c in hits.parts.get(one.number, {}).items() if n in parts}
    if found:
        best = min(found, key=lambda n: (-found[n], *volume_order(parts[n])))
        return Binding(best, "images", referenced, found[best], names_images)
    volumes = [p for p in parts.values() if p.image is not None and p.image.image_class != "localizer"]
    of_series = [p for p in volumes if p.uid in series]
    if of_series and (len(of_series) == 1 or not any(p.image and p.image.split_by for p in of_series)):
        return Binding(min(of_series, key=volume_order).number, "series", referenced, 0, names_images)
    frames = frames_of(one)
    of_frame = sorted((p for p in volumes if p.frame_uid in frames), key=volume_order)
    points = np.array(one.facts.get("contour_points") or [], dtype=float).reshape(-1, 3)
    fitting = drawn_on([misfit_mm(p.image.planes, points) for p in of_frame if p.image is not None])
    if fitting is not None:
        return Binding(of_frame[fitting].number, "frame_of_reference", referenced, 0, names_images)
    return Binding(None, "none", referenced, 0, names_images)


def primary_sets(
    structure_sets: Sequence[ScanObject],
    bindings: Mapping[int, Binding],
    plan_rank: Mapping[str, int],
) -> set[int]:
    """Object numbers of the first set on each image: referenced by a plan, then approved, then newest.

    plan_rank: UID of a referenced structure set -> 0 by a selected plan, 1 by another plan.
    """
    groups: dict[Hashable, list[ScanObject]] = {}
    for one in structure_sets:
        groups.setdefault(drawing_ground(one, bindings[one.number]), []).append(one)
    return {min(group, key=lambda s: _precedence(s, plan_rank)).number for group in groups.values()}


def drawing_ground(one: ScanObject, binding: Binding) -> Hashable:
    """What makes structure sets rivals: the image, or the absent series, frame or set they were drawn on."""
    if binding.part is not None:
        return ("part", binding.part)
    series = sorted(referenced_series(one))
    return ("series", series[0]) if series else ("frame", min(frames_of(one), default=one.uid))


def _precedence(one: ScanObject, plan_rank: Mapping[str, int]) -> tuple[int, bool, int, str]:
    approved = one.facts.get("approval_status") == "APPROVED"
    return (plan_rank.get(one.uid, 2), not approved, -(one.day or 0), one.order)

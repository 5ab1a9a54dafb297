"""Which doses apply to a structure, and the way between their frames of reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtpipeline.contracts.manifests import Course
from rtpipeline.geometry.outlines import Outline
from rtpipeline.geometry.rigid import carried, inverse

IMAGE_FRAME = "image_frame"
"""Rule of structures that were made on an image: the image lies in the dose's frame of reference, or in that of one of
its own structure sets that the dose applies to."""


@dataclass(frozen=True)
class DoseLink:
    """Why a dose applies to a structure.

    registrations: ids of those that lead from the dose's frame of reference to the structure's. matrix: (4, 4) that
    they come to; None where both hold the same coordinates.
    """

    rule: str
    registrations: tuple[str, ...] = ()
    matrix: NDArray[np.float64] | None = None

    def in_dose_frame(self, drawn: Outline) -> Outline:
        """The structure in the frame of reference of the dose: the dose stays where it was calculated."""
        if self.matrix is None:
            return drawn
        back = inverse(self.matrix)
        return replace(drawn, contours=[carried(back, contour) for contour in drawn.contours])


def dose_link(dose_facts: Mapping[str, Any], structure: Mapping[str, Any], course: Course) -> DoseLink | None:
    """Why a dose applies to a structure; None when it does not.

    Parameters
    ----------
    dose_facts: entry of `doses.json`.
    structure: row of the table `structures`.
    """
    links = {str(e["structure_set_id"]): e for e in dose_facts["structure_sets"]}
    if structure["structure_source"] == "manual":
        entry = links.get(structure["structure_set_id"])
        return None if entry is None else _link(str(entry["link"]), entry)
    frame = next((i.frame_hash for i in course.images if i.image_id == structure["image_id"]), None)
    if frame is None:
        return None
    if frame == dose_facts["frame_hash"]:
        return DoseLink(IMAGE_FRAME)
    for ref in course.structure_sets:
        if ref.image_id == structure["image_id"] and ref.frame_hash == frame and ref.structure_set_id in links:
            return _link(IMAGE_FRAME, links[ref.structure_set_id])
    return None


def _link(rule: str, entry: Mapping[str, Any]) -> DoseLink:
    matrix = entry.get("matrix")
    return DoseLink(rule, tuple(entry.get("registrations", ())), None if matrix is None else np.array(matrix, float))


def registrations(dose_facts: Mapping[str, Any], link: DoseLink) -> str | None:
    """Ids of the registrations that brought the parts of a dose together and the dose to a structure, joined with ;."""
    of_parts = [reg_id for way in dose_facts.get("part_routes", {}).values() for reg_id in way["registrations"]]
    return ";".join(sorted({*of_parts, *link.registrations})) or None

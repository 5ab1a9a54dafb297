"""What a structure's name lets expect, and its contours do not bear out: for a person to look at, nothing is changed.

After the kind of rules in arXiv 2406.14486. Names raise findings here and decide nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.geometry.solid import PrismSolid

SIDES = {"l": "left", "lt": "left", "left": "left", "li": "left", "links": "left", "sin": "left",
         "r": "right", "rt": "right", "right": "right", "re": "right", "rechts": "right", "dex": "right"}  # fmt: skip
"""Words of a name that say a side: TG-263 and its neighbours in English, German and Latin."""

SIDE_TOLERANCE_MM = 5.0
"""Centres nearer than this along x say nothing about sides."""

LARGEST_CC: dict[str, float] = {
    "spinalcord": 150, "cord": 150, "myelon": 150, "medullaspinalis": 150,
    "brain": 7000, "brainstem": 150, "chiasm": 10, "opticnrv": 10, "opticnerve": 10, "lens": 2, "eye": 40,
    "parotid": 125, "submandibular": 60, "submandibula": 60, "cochlea": 5, "pituitary": 5, "thyroid": 100,
    "heart": 4000, "lung": 6000, "esophagus": 200, "oesophagus": 200,
    "liver": 9000, "kidney": 800, "spleen": 2500, "pancreas": 700,
    "bladder": 2500, "prostate": 500, "rectum": 1000,
}  # fmt: skip
"""Five times the organ of the reference adult (ICRP Publication 89) and more, so that disease and a generous hand stay
below; lung, bladder and rectum by what they hold when full, spleen and prostate by what disease makes of them. There is
no smallest volume: an organ may be cut by the scan."""


@dataclass(frozen=True)
class Drawn:
    """A structure with a volume. label: how findings name it."""

    label: str
    name: str
    roi_type: str
    solid: PrismSolid


def plausibility_findings(drawn: Sequence[Drawn]) -> list[Finding]:
    """SS_PLAUSIBILITY among the structures of one set: swapped sides, organs too large, a GTV off every PTV."""
    return [*_swapped_sides(drawn), *_too_large(drawn), *_off_target(drawn)]


def words_and_side(name: str) -> tuple[str, str]:
    """The name's letters and digits without the word that says a side, and that side (`left`, `right` or '')."""
    parts = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    words = [p.casefold() for p in parts]
    sided = [w for w in words if w in SIDES]
    if len(sided) != 1:
        return "".join(words), ""
    return "".join(w for w in words if w not in SIDES), SIDES[sided[0]]


def _swapped_sides(drawn: Sequence[Drawn]) -> Iterable[Finding]:
    pairs: dict[str, dict[str, list[Drawn]]] = {}
    for one in drawn:
        words, side = words_and_side(one.name)
        if side and words:
            pairs.setdefault(words, {}).setdefault(side, []).append(one)
    for pair in pairs.values():
        left, right = pair.get("left", []), pair.get("right", [])
        if len(left) != 1 or len(right) != 1:
            continue
        ahead_mm = _centre_x_mm(right[0]) - _centre_x_mm(left[0])  # patient coordinates grow towards the left
        if ahead_mm > SIDE_TOLERANCE_MM:
            measured = f"centre {ahead_mm:.1f} mm to the right of that of '{right[0].name}'"
            yield finding("SS_PLAUSIBILITY", left[0].label, measured, expected="left of its counterpart")


def _centre_x_mm(one: Drawn) -> float:
    centre = one.solid.centroid_xyz_mm
    return float("nan") if centre is None else float(centre[0])


def _too_large(drawn: Sequence[Drawn]) -> Iterable[Finding]:
    for one in drawn:
        largest, volume = LARGEST_CC.get(words_and_side(one.name)[0]), one.solid.volume_cc
        if largest is not None and volume is not None and volume > largest:
            yield finding("SS_PLAUSIBILITY", one.label, f"{volume:.1f} cc", expected=f"at most {largest:g} cc")


def _off_target(drawn: Sequence[Drawn]) -> Iterable[Finding]:
    boxes = [d.solid.bounding_box_xyz_mm for d in drawn if d.roi_type == "PTV"]
    for one in drawn:
        if one.roi_type != "GTV" or not boxes:
            continue
        low, high = one.solid.bounding_box_xyz_mm
        if not any(np.all(low <= box[1]) and np.all(high >= box[0]) for box in boxes):
            measured = f"outside the {len(boxes)} PTV of its set" if len(boxes) > 1 else "outside the PTV of its set"
            yield finding("SS_PLAUSIBILITY", one.label, measured, expected="inside a PTV")

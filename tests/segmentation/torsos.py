"""The demo's person from hip to shoulder as a CT export in any patient position, and how well organs are found."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from rtpipeline.demo.anatomy import build_anatomy
from rtpipeline.demo.labels import LABEL_IDS
from rtpipeline.demo.phantom import FULL_Z_MM, Phantom, make_phantom
from rtpipeline.segmentation.label_map import LabelMap
from tests.segmentation.lesions import dice, in_patient, save_ct

SPACING_MM = (3.0, 3.0, 5.0)
PERSON = 7004

ORGANS = {
    "liver": ("liver",),
    "heart": ("heart",),
    "lungs": tuple(name for name in LABEL_IDS if name.startswith("lung_")),
    "kidney_left": ("kidney_left",),
    "kidney_right": ("kidney_right",),
    "femur_left": ("femur_left",),
    "femur_right": ("femur_right",),
}


@cache
def torso() -> Phantom:
    """(x, y, z) arrays of the whole torso."""
    return make_phantom(build_anatomy(PERSON), SPACING_MM, FULL_Z_MM)


def save_torso(folder: Path, position: str, manufacturer: str | None = None) -> Path:
    """Write its CT; with another manufacturer it does not carry the demo's marker."""
    return save_ct(torso(), folder, position, manufacturer)


def organ_dice(label_map: LabelMap) -> dict[str, float]:
    """Dice of each organ against the phantom, compared in patient coordinates."""
    found = in_patient(label_map.values, label_map.grid, torso())
    return {
        organ: dice(
            np.isin(found, [LABEL_IDS[n] for n in names]), np.isin(torso().labels, [LABEL_IDS[n] for n in names])
        )
        for organ, names in ORGANS.items()
    }

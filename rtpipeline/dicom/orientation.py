"""How the axes of an image lie in the patient, and whether the stated position fits. Nothing is ever flipped."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

ALIGNED_TOLERANCE_DEG = 0.5
"""Axes within this angle of the patient's axes count as along them."""

Plane = Literal["axial", "coronal", "sagittal", "oblique"]

DOWN_OF_POSITION: dict[str, tuple[float, float, float]] = {
    "S": (0.0, 1.0, 0.0),
    "P": (0.0, -1.0, 0.0),
    "DL": (1.0, 0.0, 0.0),
    "DR": (-1.0, 0.0, 0.0),
}
"""Direction of the table in the patient (LPS) by the last letters of PatientPosition (PS3.3 C.7.3.1.1.2)."""

CONFLICT_DEG = 45.0
"""Angle between image columns and the table's direction from which a CT contradicts its patient position."""


def plane_class(orientation: ArrayLike) -> Plane:
    """`axial`, `coronal` or `sagittal` when rows, columns and normal run along the patient's axes, else `oblique`.

    orientation: 6 direction cosines.
    """
    cosines = np.asarray(orientation, float)
    axes = np.array([cosines[:3], cosines[3:], np.cross(cosines[:3], cosines[3:])])
    if np.any(np.degrees(np.arccos(np.clip(np.abs(axes).max(axis=1), 0.0, 1.0))) > ALIGNED_TOLERANCE_DEG):
        return "oblique"
    planes: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
    return planes[int(np.argmax(np.abs(axes[2])))]


def obliquity_deg(orientation: ArrayLike) -> float:
    """Largest angle between an axis of the image and the patient axis nearest to it."""
    cosines = np.asarray(orientation, float)
    axes = np.array([cosines[:3], cosines[3:], np.cross(cosines[:3], cosines[3:])])
    return float(np.degrees(np.arccos(np.clip(np.abs(axes).max(axis=1).min(), 0.0, 1.0))))


def axis_code(orientation: ArrayLike) -> str:
    """Where columns, rows and planes run to, as three letters: `LPS` for an axial head-first supine image."""
    cosines = np.asarray(orientation, float)
    letters = np.array([["R", "L"], ["A", "P"], ["I", "S"]])
    code = ""
    for axis in (cosines[:3], cosines[3:], np.cross(cosines[:3], cosines[3:])):
        k = int(np.argmax(np.abs(axis)))
        code += str(letters[k][int(axis[k] > 0)])
    return code


def position_conflict(orientation: ArrayLike, patient_position: str) -> str | None:
    """What contradicts PatientPosition in an axial CT, or None.

    On a CT scanner the columns of an axial image run towards the table, which lies behind a supine, before a prone
    patient, and on the named side of a lying one. Other modalities reformat freely, so this holds for CT only.
    """
    down = _table_direction(orientation, patient_position)
    if down is None:
        return None
    column: NDArray[np.float64] = np.asarray(orientation, float)[3:]
    angle = float(np.degrees(np.arccos(np.clip(column @ down, -1.0, 1.0))))
    if angle <= CONFLICT_DEG:
        return None
    return f"PatientPosition {patient_position.strip()}, image columns {angle:.0f} degrees from the table's direction"


def unusual_view(orientation: ArrayLike, patient_position: str) -> str | None:
    """Note on an axial CT that shows the patient from the other end than the front of the gantry, or None.

    Seen from there, planes follow each other towards the head of a head-first and towards the feet of a feet-first
    patient. Scanners write feet-first images in either view, so this is no contradiction.
    """
    if _table_direction(orientation, patient_position) is None or position_conflict(orientation, patient_position):
        return None
    cosines = np.asarray(orientation, float)
    towards_head = float(np.cross(cosines[:3], cosines[3:])[2]) > 0
    head_first = patient_position.strip().upper().startswith("HF")
    if towards_head == head_first:
        return None
    return f"PatientPosition {patient_position.strip()}, planes run towards the {'head' if towards_head else 'feet'}"


def _table_direction(orientation: ArrayLike, patient_position: str) -> NDArray[np.float64] | None:
    position = patient_position.strip().upper()
    down = DOWN_OF_POSITION.get(position[2:]) if position[:2] in ("HF", "FF") else None
    return np.array(down) if down is not None and plane_class(orientation) == "axial" else None

"""A row of the table `robustness` before its features: the state as columns, and which structures have rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from rtpipeline.nomenclature.targets import is_target
from rtpipeline.radiomics.frame import Frame
from rtpipeline.robustness.states import State

TARGET_TYPES = ("GTV", "CTV", "PTV")
DRAWN = ("manual", "custom")
"""Sources of targets; a derived or cropped one is a second copy."""


def is_selected(row: dict[str, Any], structures: list[str] | None) -> bool:
    """Whether a structure is perturbed. row: of the table `structures`. structures: of the configuration."""
    name = row["structure_name_tg263"]
    if structures is not None:
        return bool({row["structure_name"], name} & set(structures))
    target = row["roi_type"] in TARGET_TYPES or (name is not None and is_target(name))
    return target and row["structure_source"] in DRAWN


def state_columns(state: State, frame: Frame | None, seeds: dict[str, int]) -> dict[str, Any]:
    """A state as columns; seeds: by factor. frame: of the image, without which a motion in voxels is null."""
    columns: dict[str, Any] = {
        "state": state.name,
        "noise_sd": None if state.noise_levels else state.noise_sd,
        "rotation_deg": state.rotation_deg,
        "volume_pct": state.volume_pct,
        "contour_sd_mm": state.contour_sd_mm,
        "contour_offset_mm": state.contour_offset_mm,
    }
    if state.has_noise:
        columns |= {"noise_realisation": state.noise_realisation, "noise_seed": seeds["noise"]}
    if state.contour_sd_mm:
        columns |= {"contour_realisation": state.contour_realisation, "contour_seed": seeds["contour"]}
    if frame is not None:
        along = np.array(state.shift_voxels_xyz) * frame.spacing_xyz_mm + np.array(state.shift_xyz_mm)
        moved = np.round(np.reshape(frame.direction, (3, 3)) @ along, 9) + 0.0  # no -0
        columns |= {f"translation_{axis}_mm": float(v) for axis, v in zip("xyz", moved, strict=True)}
    return columns

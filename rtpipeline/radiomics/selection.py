"""Which structures get features: by the configuration, and by their masks."""

from __future__ import annotations

from typing import Any

from rtpipeline.config import RadiomicsConfig
from rtpipeline.radiomics.profiles import Profile
from rtpipeline.structures.masks import StructureMask

LEFT_OUT = ("bones", "m1", "m2", "table", "support", "body", "external")
"""What says something of the couch or of everything; `structures` takes it in by name."""
LEFT_OUT_PREFIX = "couch"

OUTSIDE_LIMIT_PCT = 5.0
"""Features of a part say little of the whole; below this a structure counts as cut by the last slice."""


def plain(name: str) -> str:
    """A name without case, blanks and signs: `Couch_Surface` and `couch surface` are one."""
    return "".join(c for c in name.casefold() if c.isalnum())


def refusal(row: dict[str, Any], config: RadiomicsConfig) -> tuple[str, str] | None:
    """Status and reason where the configuration leaves a structure out; None where it does not.

    row: of the table `structures`.
    """
    if config.sources is not None and row["structure_source"] not in config.sources:
        return "not_selected", f"source {row['structure_source']} is not in radiomics.sources"
    names = {row["structure_name"], row["structure_name_tg263"]} - {None}
    if {plain(name) for name in names} & {plain(name) for name in config.skip_rois}:
        return "skipped", "left out by name"
    if config.structures is not None:
        return None if names & set(config.structures) else ("not_selected", "not in radiomics.structures")
    if any(plain(name) in LEFT_OUT or plain(name).startswith(LEFT_OUT_PREFIX) for name in names):
        return "skipped", "left out by name"
    return None


def unusable(mask: StructureMask, profile: Profile, config: RadiomicsConfig) -> tuple[str, str] | None:
    """Status and reason where a mask leaves its image or is too small or large; None where it can be used."""
    grid = mask.grid
    spacing_xyz_mm = (grid.column_spacing_mm, grid.row_spacing_mm, grid.plane_spacing_mm or 0.0)
    computed = max(mask.voxels, profile.resampled_voxels(mask.voxels, spacing_xyz_mm))
    if mask.lost_pct > OUTSIDE_LIMIT_PCT:
        return "outside_image", f"{mask.lost_pct:.1f} % of the volume outside the image; limit {OUTSIDE_LIMIT_PCT:g} %"
    if mask.voxels < config.min_voxels:
        return "too_small", f"{mask.voxels} voxels; need {config.min_voxels}"
    if computed > config.max_voxels:
        return "too_large", f"{computed} voxels once resampled; limit {config.max_voxels}"
    return None

"""Prepared images for features: each looked at once, with its profile, or with why it has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtpipeline.config import RadiomicsConfig
from rtpipeline.contracts.findings import finding
from rtpipeline.execution.context import StageContext
from rtpipeline.prepare.image_files import ImageGeometry, image_folder, load_geometry, load_values
from rtpipeline.radiomics.extract import whole_intensity
from rtpipeline.radiomics.profiles import Profile, load_profile


@dataclass(frozen=True)
class FeatureImage:
    """A prepared image and how its features are computed; without a profile, why not.

    values: file (`.npy`) of the whole image, for workers to map. intensity: mean and standard deviation of the whole
    image, for profiles that normalise.
    """

    geometry: ImageGeometry
    values: Path | None
    profile: Profile | None
    status: str
    reason: str
    intensity: tuple[float, float] | None = None


def is_prepared(prepared: Path, image_id: str) -> bool:
    """Whether prepare_images made this image."""
    return (image_folder(prepared, image_id) / "geometry.json").is_file()


class Images:
    """Images by id, each looked at once; the values of those with a profile lie in a file that workers map.

    An image that gets no features is reported as a finding when it is first asked for.
    """

    def __init__(self, context: StageContext, config: RadiomicsConfig, scratch: Path) -> None:
        self._context, self._scratch = context, scratch
        self._profiles = {modality: load_profile(given) for modality, given in config.parameters_of.items()}
        self._known: dict[str, FeatureImage] = {}

    def __getitem__(self, image_id: str) -> FeatureImage:
        if image_id not in self._known:
            self._known[image_id] = self._look(image_id)
        return self._known[image_id]

    def _look(self, image_id: str) -> FeatureImage:
        folder = image_folder(self._context.input("prepare_images"), image_id)
        geometry = load_geometry(folder)
        modality, hu_status = geometry.facts.get("modality"), geometry.facts.get("hu_status")
        if modality == "CT" and hu_status != "calibrated":
            self._context.report(finding("RAD_NOT_CALIBRATED", image_id, f"hu_status {hu_status}"))
            return FeatureImage(geometry, None, None, "not_calibrated", f"hu_status {hu_status}; need calibrated")
        profile = self._profiles.get(str(modality))
        if profile is None:
            self._context.report(finding("RAD_NO_SUV", image_id, f"modality {modality}"))
            return FeatureImage(geometry, None, None, "not_computed", f"modality {modality}; need CT or MR")
        values = load_values(folder)
        if values.shape != geometry.voxel.shape_zyx:
            reason = f"image {values.shape}, grid {geometry.voxel.shape_zyx}"
            return FeatureImage(geometry, None, profile, "geometry", reason)
        path = self._scratch / f"{image_id}.npy"
        np.save(path, values)
        intensity = whole_intensity(values) if profile.normalises else None
        return FeatureImage(geometry, path, profile, "ok", "", intensity)

"""Images and masks for features, from integer arithmetic: the same voxels with every version of every library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name its manual uses
from numpy.typing import NDArray
from radiomics.featureextractor import RadiomicsFeatureExtractor

from rtpipeline.radiomics.frame import Frame
from rtpipeline.radiomics.profiles import Profile

Xyz = tuple[float, float, float]
ODD_ORIGIN_MM: Xyz = (-249.511719, -120.3, -200.3)
OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Phantom:
    """values_zyx: int16, HU-like. mask_zyx: a ball with a dent, off the centre."""

    values_zyx: NDArray[np.int16]
    mask_zyx: NDArray[np.bool_]
    frame: Frame

    @property
    def image(self) -> sitk.Image:
        return self.frame.image(self.values_zyx)

    @property
    def mask(self) -> sitk.Image:
        return self.frame.image(self.mask_zyx.astype(np.uint8))


def phantom(
    *,
    shape_zyx: tuple[int, int, int] = (32, 32, 32),
    spacing_xyz_mm: Xyz = (1.25, 1.25, 2.5),
    origin_xyz_mm: Xyz = ODD_ORIGIN_MM,
    direction: tuple[float, ...] = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0),
    radius_mm: float = 9.0,
    seed: int = 1,
) -> Phantom:
    """Smoothed integer noise of about 60 HU on a ramp, and a ball with a dent."""
    rng = np.random.RandomState(seed)  # its sequence never changes
    noise = rng.randint(-400, 401, shape_zyx).astype(np.int32)
    for axis in range(3):
        noise = np.roll(noise, 1, axis) + noise + np.roll(noise, -1, axis)
    z, y, x = np.indices(shape_zyx, np.int32)
    values = (noise // 12 + 3 * x - 2 * y + z).astype(np.int16)
    centre = [(n - 1) // 2 + 1 for n in shape_zyx]
    gaps = [(i - c) * s for i, c, s in zip((z, y, x), centre, spacing_xyz_mm[::-1], strict=True)]
    ball = sum(g**2 for g in gaps) < radius_mm**2
    dent = (np.abs(gaps[1]) < radius_mm / 4) & (gaps[2] > radius_mm / 3)
    size = (shape_zyx[2], shape_zyx[1], shape_zyx[0])
    return Phantom(values, ball & ~dent, Frame(size, spacing_xyz_mm, origin_xyz_mm, direction))


def by_library(image: sitk.Image, mask: sitk.Image, profile: Profile, **settings: object) -> dict[str, float]:
    """What PyRadiomics itself gives for a whole image as it is and a whole mask."""
    extractor = RadiomicsFeatureExtractor(additionalInfo=False)
    extractor.settings.update(profile.settings, additionalInfo=False, **settings)
    extractor.enabledImagetypes = {name: dict(values) for name, values in profile.image_types.items()}
    extractor.enabledFeatures = {name: list(values) for name, values in profile.feature_classes.items()}
    return {name: float(value) for name, value in extractor.execute(image, mask).items()}


def as_float(image: sitk.Image) -> sitk.Image:
    return sitk.Cast(image, sitk.sitkFloat64)


def worst_difference(found: dict[str, float], expected: dict[str, float]) -> float:
    """Largest relative difference over all features; NaN equals NaN, and names and their order have to be the same."""
    assert list(found) == list(expected)
    a, b = np.array(list(found.values())), np.array(list(expected.values()))
    assert np.array_equal(np.isnan(a), np.isnan(b))
    scale = np.maximum(np.abs(b), 1e-12)
    return float(np.nanmax(np.abs(a - b) / scale, initial=0.0))

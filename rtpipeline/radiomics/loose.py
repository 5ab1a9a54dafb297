"""Features of two loose files: an image and a mask on its voxels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name its manual uses

from rtpipeline.errors import UsageError
from rtpipeline.radiomics.extract import NoFeatures, extract_features
from rtpipeline.radiomics.frame import Frame
from rtpipeline.radiomics.profiles import Profile

GRID_TOLERANCE_MM = 1e-3
"""How far voxels of image and mask may lie apart: headers in single precision differ by less."""


def loose_row(image_path: Path, mask_path: Path, label: int, profile: Profile) -> dict[str, Any]:
    """Names, label, profile, status and features (None for null) of the voxels of a mask with a label.

    Raises
    ------
    UsageError: a file that cannot be read or is not 3D, grids that differ, a label that no voxel has.
    """
    image, mask = _read(image_path, "image"), _read(mask_path, "mask")
    _same_grid(Frame.of_image(image), Frame.of_image(mask))
    labels = sitk.GetArrayViewFromImage(mask)
    inside = labels == label
    if not inside.any():
        present = sorted(float(v) for v in np.unique(labels) if v != 0)
        found = f"has {', '.join(f'{v:g}' for v in present[:20])}" if present else "is empty"
        raise UsageError(f"mask {mask_path.name}: no voxel has label {label}; it {found}. Give --label N.")
    values = sitk.GetArrayViewFromImage(image)
    if not np.isfinite(values).all():
        raise UsageError(f"image {image_path.name}: {np.count_nonzero(~np.isfinite(values))} voxels are not finite.")
    row = {"image": image_path.name, "mask": mask_path.name, "label": label, "profile": profile.name}
    row |= {"settings_digest": profile.digest, "voxels": int(np.count_nonzero(inside))}
    try:
        features = extract_features(values, inside, Frame.of_image(image), profile)
    except NoFeatures as lacking:
        return row | {"status": lacking.status, "reason": lacking.reason}
    finite = {name: value if math.isfinite(value) else None for name, value in features.items()}
    return row | {"status": "ok", "reason": None, **finite}


def _read(path: Path, what: str) -> sitk.Image:
    if not path.is_file():
        raise UsageError(f"{what} {path} is not a file; need NIfTI, NRRD or MetaImage.")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise UsageError(
                f"{what} {path}: its axes are not at right angles; resample it onto axes that are."
            ) from None
        raise UsageError(f"{what} {path} cannot be read; need NIfTI, NRRD or MetaImage.") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        size = " x ".join(map(str, image.GetSize()))
        raise UsageError(
            f"{what} {path.name} is {size} with {image.GetNumberOfComponentsPerPixel()} values a voxel; "
            "need three dimensions and one value."
        )
    if image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise UsageError(f"{what} {path.name} holds complex numbers; write their magnitude to a file first.")
    return image


def _same_grid(image: Frame, mask: Frame) -> None:
    if image.size_xyz != mask.size_xyz:
        raise UsageError(f"image of {image.size_xyz} voxels (x, y, z), mask of {mask.size_xyz}; need one grid.")
    apart = max(
        float(np.linalg.norm(image.position_xyz_mm(corner) - mask.position_xyz_mm(corner)))
        for corner in np.ndindex(2, 2, 2)
    )
    if apart > GRID_TOLERANCE_MM:
        raise UsageError(
            f"voxels of image and mask lie up to {apart:.3g} mm apart; need one grid, within {GRID_TOLERANCE_MM:g} mm. "
            "Resample the mask onto the image first."
        )

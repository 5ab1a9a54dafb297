"""A person's CT at any voxel spacing and z range: shapes painted in order, texture, blur and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rtpipeline.demo.anatomy import Anatomy
from rtpipeline.demo.canvas import Canvas
from rtpipeline.demo.labels import BOWEL_IDS, LUNG_IDS

FULL_Z_MM = (0.0, 510.0)
FOV_XY_MM = (360.0, 264.0)
NOISE_HU = 18.0
NOISE_SEED_OFFSET = 100_003
BLUR_VOXELS = 0.45
"""Standard deviation of the blur that stands for partial volume."""


@dataclass(frozen=True)
class Phantom:
    """Arrays with index order [x, y, z], along increasing LPS coordinates.

    hu: int16. labels: uint8, ids of `LABEL_IDS`. lesion: bool. lower_mm: centre of voxel [0, 0, 0].
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    lesion: NDArray[np.bool_]
    lower_mm: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]


def make_phantom(
    anatomy: Anatomy,
    spacing_xyz_mm: Sequence[float] = (2.5, 2.5, 3.0),
    z_range_mm: Sequence[float] = FULL_Z_MM,
    fov_xy_mm: Sequence[float] = FOV_XY_MM,
) -> Phantom:
    """The CT of `anatomy`. The field of view has to contain the lesion only if the lesion is wanted."""
    canvas = Canvas(spacing_xyz_mm, z_range_mm, fov_xy_mm)
    for shape in anatomy.shapes:
        canvas.paint(*shape.bounds_mm(), shape.inside, shape.hu, shape.label)
    lesion = _paint_lesion(canvas, anatomy)
    hu = _with_texture_and_noise(canvas, anatomy)
    return Phantom(hu, canvas.labels, lesion, canvas.lower_mm, canvas.spacing_mm)


def _paint_lesion(canvas: Canvas, anatomy: Anatomy) -> NDArray[np.bool_]:
    """Paint the lesion where there is lung; its labels stay those of the lung, as a class of its own is not known."""
    lesion = np.zeros(canvas.shape_xyz, bool)
    part = canvas.box(*anatomy.lesion.bounds_mm())
    if part is not None:
        lesion[part] = canvas.inside(part, anatomy.lesion.inside) & np.isin(canvas.labels[part], LUNG_IDS)
        canvas.hu[lesion] = anatomy.lesion.hu
    return lesion


def _with_texture_and_noise(canvas: Canvas, anatomy: Anatomy) -> NDArray[np.int16]:
    hu = canvas.hu
    texture = ndimage.zoom(anatomy.texture, np.array(canvas.shape_xyz) / anatomy.texture.shape, order=1)
    soft = (hu > -150) & (hu < 250)
    hu[soft] += 8 * texture[soft]
    bowel = np.isin(canvas.labels, BOWEL_IDS)
    hu[bowel] += 35 * texture[bowel]
    hu = ndimage.gaussian_filter(hu, BLUR_VOXELS)
    white = np.random.RandomState(anatomy.seed + NOISE_SEED_OFFSET).normal(0, 1, canvas.shape_xyz).astype(np.float32)
    # partly correlated, as reconstruction kernels leave it; 1.9 restores the variance that the filter takes away
    hu += NOISE_HU * (0.6 * white + 0.8 * 1.9 * ndimage.gaussian_filter(white, 0.6))
    return np.clip(np.round(hu), -1024, 3071).astype(np.int16)

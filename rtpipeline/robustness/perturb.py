"""What a state does to values and masks, as functions of arrays. Axes are (z, y, x); spacing is in mm a voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CONTOUR_CLIP_SD = 3.0
"""An outline moves by at most this many standard deviations, so that its surroundings can be bounded."""

SNAP_BITS = 30
"""Interpolated values are rounded to 2^-30 of the image's largest: below any noise, far above rounding. At a voxel of
the image a spline then gives its value to the last bit, and not one that rounding puts on the other side of a bin."""

DISTANCE_DECIMALS = 6
"""mm; distances that differ by less are ties."""


def noise_level(values_zyx: NDArray[Any]) -> float:
    """Standard deviation of the white noise of an image, by its planes' finest diagonal details; 0 below 2 x 2 pixels.

    Median absolute value of the Haar wavelet's diagonal coefficients over 0.6745, at every offset instead of every
    second one (Donoho DL, Johnstone IM. Ideal spatial adaptation by wavelet shrinkage. Biometrika 81 (1994) 425-455;
    Chang SG, Yu B, Vetterli M. Adaptive wavelet thresholding. IEEE Trans Image Process 9 (2000) 1532-1546).
    """
    v = np.asarray(values_zyx, np.float64)
    detail = (v[:, :-1, :-1] - v[:, 1:, :-1] - v[:, :-1, 1:] + v[:, 1:, 1:]) / 2
    return float(np.median(np.abs(detail)) / 0.6745) if detail.size else 0.0


def white_noise(shape_zyx: tuple[int, int, int], seed: int) -> Array:
    """Gaussian noise of mean 0 and standard deviation 1, independent in each voxel."""
    return np.random.default_rng(seed).standard_normal(shape_zyx)


def motion(
    spacing_zyx_mm: Array, shift_zyx_mm: Array, rotation_deg: float, centre_zyx: Array
) -> tuple[NDArray[np.float64], Array]:
    """Matrix (3, 3) and offset (3,) that take an index of the moved grid to the place in the grid as it was.

    A point i of the moved grid lies at centre + R (i - centre) + shift, in mm; R turns x towards y. centre_zyx: in
    voxels.
    """
    angle = np.deg2rad(rotation_deg)
    turn = np.array(
        [[1.0, 0.0, 0.0], [0.0, np.cos(angle), np.sin(angle)], [0.0, -np.sin(angle), np.cos(angle)]]
    )  # rows and columns z, y, x
    matrix = turn * spacing_zyx_mm / spacing_zyx_mm[:, None]
    return matrix, centre_zyx - matrix @ centre_zyx + shift_zyx_mm / spacing_zyx_mm


def moved_values(values_zyx: Array, matrix: Array, offset: Array, shape_zyx: tuple[int, int, int]) -> Array:
    """Values at `matrix @ i + offset` for every index i of an array of the given shape, by a cubic B-spline.

    Beyond the array its mirror image is taken, as ITK does.
    """
    coefficients = ndimage.spline_filter(values_zyx, order=3, mode="mirror")
    moved = ndimage.affine_transform(
        coefficients, matrix, offset, output_shape=shape_zyx, order=3, mode="mirror", prefilter=False
    )
    largest = float(np.abs(values_zyx).max())
    step = 2.0 ** (np.floor(np.log2(largest)) - SNAP_BITS) if largest > 0 else 1.0
    return np.asarray(np.round(moved / step) * step)


def moved_mask(mask_zyx: Mask, matrix: Array, offset: Array, shape_zyx: tuple[int, int, int]) -> Mask:
    """Where the linearly interpolated mask is at least one half. Beyond the array there is nothing."""
    weights = ndimage.affine_transform(
        mask_zyx.astype(np.float64), matrix, offset, output_shape=shape_zyx, order=1, mode="grid-constant"
    )
    return np.asarray(weights >= 0.5 - 1e-9)


def signed_distance_mm(mask_zyx: Mask, spacing_zyx_mm: Array) -> Array:
    """Distance of each voxel's centre from the surface of a mask, negative inside; both sides need a voxel.

    The surface is the middles of the faces between voxels of both sides, on a grid of half steps: exact above a face on
    voxels of any shape, and on average right for surfaces that run across the voxels, whose edges and corners stand out
    on either side. A transform between voxel centres alone would be half a voxel too large.
    """
    elsewhere = np.ones([2 * n - 1 for n in mask_zyx.shape], bool)
    for axis in range(3):
        along, faces = np.swapaxes(mask_zyx, 0, axis), np.swapaxes(elsewhere, 0, axis)
        faces[1::2, ::2, ::2] = along[1:] == along[:-1]
    distance = ndimage.distance_transform_edt(elsewhere, sampling=spacing_zyx_mm / 2)[::2, ::2, ::2]
    return np.round(np.where(mask_zyx, -distance, distance), DISTANCE_DECIMALS)


def with_voxels(mask_zyx: Mask, distance_mm: Array, voxels: int, spacing_zyx_mm: Array) -> Mask:
    """The mask grown or shrunk to a number of voxels, in the order of their distance from its surface.

    Ties go to the voxel nearer to the mask's centre of mass, then to the first in the array.
    """
    inside = np.nonzero(mask_zyx)
    grid = np.indices(mask_zyx.shape)
    from_centre = sum(
        ((g - i.mean()) * s) ** 2 for g, i, s in zip(grid, inside, spacing_zyx_mm, strict=True)
    )  # squared: the order is the same
    order = np.lexsort((np.round(from_centre, DISTANCE_DECIMALS).ravel(), distance_mm.ravel()))
    chosen = np.zeros(mask_zyx.size, bool)
    chosen[order[:voxels]] = True
    return chosen.reshape(mask_zyx.shape)


def random_field(shape_zyx: tuple[int, int, int], spacing_zyx_mm: Array, correlation_mm: float, seed: int) -> Array:
    """Gaussian random field of mean 0 and standard deviation 1 whose correlation falls to 1/e at a distance.

    White noise smoothed with a Gaussian of half that distance, exp(-r^2 / (4 s^2)) in closed form, periodic at the ends
    of the array, over the standard deviation that the smoothing leaves.
    """
    sigmas = correlation_mm / 2 / spacing_zyx_mm
    field = ndimage.gaussian_filter(white_noise(shape_zyx, seed), sigmas, mode="wrap")
    scale = 1.0
    for length, sigma in zip(shape_zyx, sigmas, strict=True):
        pulse = np.zeros(length)
        pulse[0] = 1.0
        scale *= float(np.sqrt((ndimage.gaussian_filter1d(pulse, sigma, mode="wrap") ** 2).sum()))
    return np.asarray(field / scale)


def displaced(distance_mm: Array, displacement_mm: Array | float) -> Mask:
    """The mask whose surface lies `displacement_mm` (positive outwards) from the one that the distances are of."""
    return np.asarray(distance_mm < displacement_mm)

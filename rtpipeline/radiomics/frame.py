"""Where the voxels of an image lie, as ITK says it, and the part of PyRadiomics' resampling grid a structure needs.

The grid follows from the whole image, whatever part of it is resampled: cropping first and letting the library make the
grid would move it, and a structure's mask with it (at 2.5 mm slices by whole planes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name its manual uses
from numpy.typing import NDArray

from rtpipeline.geometry.grid import Grid

SPLINE_MARGIN_VOXELS = 28
"""The prefilter of a cubic B-spline forgets a voxel by sqrt(3) - 2 = -0.268 a step (Unser 1999): 28 leave 1e-16."""


@dataclass(frozen=True)
class Frame:
    """Geometry of a whole image: size, spacing in mm, position of the first voxel and direction matrix (row-major)."""

    size_xyz: tuple[int, int, int]
    spacing_xyz_mm: tuple[float, float, float]
    origin_xyz_mm: tuple[float, float, float]
    direction: tuple[float, ...]

    @classmethod
    def of_grid(cls, grid: Grid) -> Frame:
        """Frame of a grid with equal plane gaps.

        Raises ValueError for a single plane and for planes at unequal distances.
        """
        if len(grid.plane_offsets_mm) < 2 or not grid.is_uniform:
            raise ValueError(f"grid of {len(grid.plane_offsets_mm)} planes; need two or more at equal distances")
        step = float(grid.plane_offsets_mm[1])  # the first offset is 0: this is the spacing to the last bit
        normal = grid.normal * np.sign(step)
        return cls(
            (grid.columns, grid.rows, len(grid.plane_offsets_mm)),
            (grid.column_spacing_mm, grid.row_spacing_mm, abs(step)),
            _triple(grid.origin_xyz_mm),
            tuple(np.c_[grid.row_direction, grid.column_direction, normal].ravel().tolist()),
        )

    @classmethod
    def of_image(cls, image: sitk.Image) -> Frame:
        """Frame of a 3D image of SimpleITK."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Shape of an array of the whole image."""
        return self.size_xyz[2], self.size_xyz[1], self.size_xyz[0]

    def position_xyz_mm(self, corner_xyz: tuple[int, ...]) -> NDArray[np.float64]:
        """Position of a corner voxel; 0 is the first and 1 the last in each direction."""
        steps = np.array(corner_xyz) * (np.array(self.size_xyz) - 1) * self.spacing_xyz_mm
        return np.asarray(self.origin_xyz_mm) + np.reshape(self.direction, (3, 3)) @ steps

    def image(self, values_zyx: NDArray[Any], offset_zyx: tuple[int, int, int] = (0, 0, 0)) -> sitk.Image:
        """Values that begin at a voxel of this frame, as an image of SimpleITK."""
        image = sitk.GetImageFromArray(values_zyx)
        image.SetSpacing(self.spacing_xyz_mm)
        image.SetDirection(self.direction)
        first = np.asarray(offset_zyx[::-1], float) * self.spacing_xyz_mm
        image.SetOrigin(_triple(np.asarray(self.origin_xyz_mm) + np.reshape(self.direction, (3, 3)) @ first))
        return image


@dataclass(frozen=True)
class Lattice:
    """Part of the resampling grid around a structure; first_index_xyz: its first point, in voxels of the image."""

    size_xyz: tuple[int, int, int]
    spacing_xyz_mm: tuple[float, float, float]
    first_index_xyz: tuple[float, float, float]
    step_xyz: tuple[float, float, float]
    """in voxels of the image"""

    def reach_zyx(self, frame: Frame, margin_voxels: int) -> tuple[slice, slice, slice]:
        """Voxels of the image within `margin_voxels` of the lattice."""
        slices = []
        for axis in (2, 1, 0):
            low = self.first_index_xyz[axis]
            high = low + (self.size_xyz[axis] - 1) * self.step_xyz[axis]
            start = max(0, int(np.floor(low)) - margin_voxels)
            slices.append(slice(start, min(frame.size_xyz[axis], int(np.ceil(high)) + 1 + margin_voxels)))
        return slices[0], slices[1], slices[2]

    def resampler(self, frame: Frame, whole: sitk.Image) -> sitk.ResampleImageFilter:
        """ITK's resampling onto this lattice. whole: any image with the geometry of the whole image."""
        resample = sitk.ResampleImageFilter()
        resample.SetOutputSpacing(self.spacing_xyz_mm)
        resample.SetOutputDirection(frame.direction)
        resample.SetSize(self.size_xyz)
        resample.SetOutputOrigin(whole.TransformContinuousIndexToPhysicalPoint(self.first_index_xyz))
        return resample


def resampling_lattice(
    frame: Frame, first_xyz: NDArray[np.int_], size_xyz: NDArray[np.int_], settings: dict[str, Any]
) -> Lattice | None:
    """PyRadiomics' resampling grid for a structure whose box begins at a voxel and has a size; None when the image has
    the wanted spacing already.

    As `radiomics.imageoperations.resampleImage` of PyRadiomics 3.1: aligned with the corner of the image, `padDistance`
    voxels around the box, a spacing of 0 or a box of one voxel keeps the image's spacing in that direction.
    """
    spacing = np.array(frame.spacing_xyz_mm)
    wanted = np.array(settings["resampledPixelSpacing"], float)
    wanted = np.where((wanted == 0) | (size_xyz == 1), spacing, wanted)
    if np.allclose(spacing, wanted):
        return None
    ratio, pad = spacing / wanted, settings.get("padDistance", 5)
    low = np.maximum(np.floor((first_xyz - 0.5) * ratio - pad), 0)
    high = np.minimum(
        np.ceil((first_xyz + size_xyz - 0.5) * ratio + pad), np.ceil(np.array(frame.size_xyz) * ratio) - 1
    )
    size = (high - low + 1).astype(int)
    first_index = 0.5 * (wanted - spacing) / spacing + low / ratio
    return Lattice(
        (int(size[0]), int(size[1]), int(size[2])), _triple(wanted), _triple(first_index), _triple(wanted / spacing)
    )


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z

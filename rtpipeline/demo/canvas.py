"""A voxel volume on which shapes are painted one over the other.

Arrays have the index order [x, y, z], each along increasing patient coordinate (LPS, mm).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Inside = Callable[[Floats, Floats, Floats], Mask]
"""Whether points lie in a shape; x, y, z broadcast against each other."""

AIR_HU = -1000.0


class Canvas:
    """HU (float32) and label ids (uint8) of every voxel, air and 0 at first.

    fov_xy_mm: width and depth, centred on x = y = 0. z_range_mm: lower and upper face of the stack of planes.
    """

    def __init__(self, spacing_xyz_mm: Sequence[float], z_range_mm: Sequence[float], fov_xy_mm: Sequence[float]):
        self.spacing_mm = np.asarray(spacing_xyz_mm, float)
        nx, ny = (round(fov_xy_mm[i] / self.spacing_mm[i]) for i in range(2))
        nz = max(1, round((z_range_mm[1] - z_range_mm[0]) / self.spacing_mm[2]))
        self.shape_xyz = (nx, ny, nz)
        self.lower_mm = np.array(
            [
                -(nx - 1) / 2 * self.spacing_mm[0],
                -(ny - 1) / 2 * self.spacing_mm[1],
                z_range_mm[0] + self.spacing_mm[2] / 2,
            ]
        )
        self.axes_mm = [self.lower_mm[i] + self.spacing_mm[i] * np.arange(self.shape_xyz[i]) for i in range(3)]
        self.hu = np.full(self.shape_xyz, AIR_HU, np.float32)
        self.labels = np.zeros(self.shape_xyz, np.uint8)

    def box(self, lower_mm: Floats, upper_mm: Floats) -> tuple[slice, slice, slice] | None:
        """The part of the arrays that covers a box in patient coordinates; None where the box is outside."""
        slices = []
        for i in range(3):
            first = np.floor((lower_mm[i] - self.lower_mm[i]) / self.spacing_mm[i])
            last = np.ceil((upper_mm[i] - self.lower_mm[i]) / self.spacing_mm[i]) + 1
            start, stop = max(int(max(first, 0)), 0), int(min(last, self.shape_xyz[i]))
            if stop <= start:
                return None
            slices.append(slice(start, stop))
        return slices[0], slices[1], slices[2]

    def inside(self, part: tuple[slice, slice, slice], inside: Inside) -> Mask:
        """The test `inside` at every voxel centre of `part`."""
        x, y, z = (self.axes_mm[i][part[i]] for i in range(3))
        mask = inside(x[:, None, None], y[None, :, None], z[None, None, :])
        return np.broadcast_to(mask, self.labels[part].shape)

    def paint(self, lower_mm: Floats, upper_mm: Floats, inside: Inside, hu: float, label: int | None) -> None:
        """Overwrite HU, and the label unless it is None, wherever `inside` holds within the box."""
        part = self.box(lower_mm, upper_mm)
        if part is None:
            return
        mask = self.inside(part, inside)
        self.hu[part][mask] = hu
        if label is not None:
            self.labels[part][mask] = label

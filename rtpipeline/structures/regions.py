"""Voxels on the lattice of an image that may reach beyond the image, so that no structure is cut at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.mask_margins import window
from rtpipeline.geometry.mask_outlines import mask_outline
from rtpipeline.geometry.outlines import Outline
from rtpipeline.geometry.rasterize import solid_mask
from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.structures.masks import rasterize

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Region:
    """mask_zyx: (z, y, x) bool. first_zyx: voxel of the image at which it begins; it may be negative."""

    mask_zyx: Mask
    first_zyx: tuple[int, int, int]

    def on(self, first_zyx: tuple[int, int, int], shape_zyx: tuple[int, int, int]) -> Mask:
        """(z, y, x) bool on another box of the lattice; what lies outside that is cut off."""
        out = np.zeros(shape_zyx, bool)
        ours, theirs = [], []
        for mine, length, begin, size in zip(self.first_zyx, self.mask_zyx.shape, first_zyx, shape_zyx, strict=True):
            low, high = max(mine, begin), min(mine + length, begin + size)
            if low >= high:
                return out
            ours.append(slice(low - mine, high - mine))
            theirs.append(slice(low - begin, high - begin))
        out[tuple(theirs)] = self.mask_zyx[tuple(ours)]
        return out

    def outline(self, grid: Grid) -> Outline:
        """Its outline along voxels, in patient mm. grid: voxel grid of the image."""
        z, y, x = self.mask_zyx.shape
        return mask_outline(self.mask_zyx, window(grid, self.first_zyx, (z, y, x)))

    def outside_pct(self, grid: Grid) -> float:
        """Part of its voxels outside the image, percent; 0 for no voxels."""
        total = int(np.count_nonzero(self.mask_zyx))
        inside = int(np.count_nonzero(self.on((0, 0, 0), grid.shape_zyx)))
        return 100.0 * (total - inside) / total if total else 0.0


def region_of(solid: PrismSolid, grid: Grid) -> Region:
    """Voxels whose centre lies in the solid, also those beyond the image.

    Within the image they are those of `masks.rasterize`, to the voxel.
    """
    corners = grid.patient_to_index_zyx(solid.corners_xyz_mm)
    low, high = corners.min(axis=0), corners.max(axis=0)
    if np.all(low >= -0.5) and np.all(high <= np.array(grid.shape_zyx) - 0.5):
        mask = rasterize(solid, grid)
        return Region(mask.mask_zyx, mask.offset_zyx)
    z0, y0, x0 = (int(v) for v in np.floor(low).astype(int) - 1)
    z1, y1, x1 = (int(v) for v in np.ceil(high).astype(int) + 2)
    # two planes at least, since a grid of one has no thickness
    first, shape = (z0, y0, x0), (max(z1 - z0, 2), y1 - y0, x1 - x0)
    return Region(solid_mask(solid, window(grid, first, shape)), first)


def common_box(
    regions: Sequence[Region], reach_zyx: tuple[int, int, int]
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First voxel and shape of the box that holds all regions and `reach_zyx` more voxels to every side."""
    reach = np.array(reach_zyx)
    first = np.min([r.first_zyx for r in regions], axis=0) - reach
    last = np.max([np.add(r.first_zyx, r.mask_zyx.shape) for r in regions], axis=0) + reach
    z, y, x = (int(v) for v in first)
    # two planes at least, since a grid of one has no thickness
    depth, rows, columns = (int(v) for v in last - first)
    return (z, y, x), (max(depth, 2), max(rows, 1), max(columns, 1))

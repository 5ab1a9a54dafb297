"""Volume inside an isodose of the whole dose grid, as the indices of Paddick need it."""

from __future__ import annotations

import numpy as np
from numba import njit

from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.interpolation import Bools
from rtpipeline.geometry.even_odd import Array

PARTS = 4
"""A cell between eight voxel centres that the isodose crosses is cut into PARTS^3; in each the dose is linear."""

NARROW_SHARE = 1e-6
"""A second spread narrower than this share of the first changes nothing."""


@njit(cache=True)
def _is_open(dose: Array, known: Bools, level: float) -> bool:
    """Whether a voxel at or above the level lies on the border of the grid or next to an unknown one."""
    nz, ny, nx = dose.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                if dose[k, j, i] < level or (known.shape[0] > 0 and not known[k, j, i]):
                    continue
                if k == 0 or j == 0 or i == 0 or k == nz - 1 or j == ny - 1 or i == nx - 1:
                    return True
                if known.shape[0] > 0:
                    for dk in range(-1, 2):
                        for dj in range(-1, 2):
                            for di in range(-1, 2):
                                if not known[k + dk, j + dj, i + di]:
                                    return True
    return False


@njit(cache=True)
def _share_of_spread(above: float, wide: float, narrow: float) -> float:
    """Share above 0 of a distribution with its mean at `above`: the sum of two even spreads of these full widths."""
    if wide <= 0.0:
        return 1.0 if above >= 0.0 else 0.0
    if narrow < NARROW_SHARE * wide:
        return min(max(0.5 + above / wide, 0.0), 1.0)
    outer, inner = 0.5 * (wide + narrow), 0.5 * (wide - narrow)
    total = max(above + outer, 0.0) ** 2 - max(above + inner, 0.0) ** 2
    total += max(above - outer, 0.0) ** 2 - max(above - inner, 0.0) ** 2
    return min(max(total / (2.0 * wide * narrow), 0.0), 1.0)


@njit(cache=True)
def _share_above(corners: Array, level: float) -> float:
    """Share of a cell where the trilinear dose of its corners (2, 2, 2) reaches the level."""
    total = 0.0
    for a in range(PARTS):
        z = (a + 0.5) / PARTS
        plane = corners[0] + (corners[1] - corners[0]) * z
        by_z = corners[1] - corners[0]
        for b in range(PARTS):
            y = (b + 0.5) / PARTS
            low, high = plane[0, 0] + (plane[1, 0] - plane[0, 0]) * y, plane[0, 1] + (plane[1, 1] - plane[0, 1]) * y
            zl, zh = by_z[0, 0] + (by_z[1, 0] - by_z[0, 0]) * y, by_z[0, 1] + (by_z[1, 1] - by_z[0, 1]) * y
            yl, yh = plane[1, 0] - plane[0, 0], plane[1, 1] - plane[0, 1]
            for c in range(PARTS):
                x = (c + 0.5) / PARTS
                gx, gy, gz = high - low, yl + (yh - yl) * x, zl + (zh - zl) * x
                # the dose over a part is the sum of three even spreads: the widest, and one for the other two together
                wide = max(abs(gx), abs(gy), abs(gz))
                narrow = np.sqrt(max(gx * gx + gy * gy + gz * gz - wide * wide, 0.0))
                wide, narrow = max(wide, narrow), min(wide, narrow)
                total += _share_of_spread(low + (high - low) * x - level, wide / PARTS, narrow / PARTS)
    return total / PARTS**3


@njit(cache=True)
def _volume_in_cells(dose: Array, offsets: Array, level: float) -> float:
    """Volume at or above the level, in mm along the normal times cells in the plane."""
    nz, ny, nx = dose.shape
    volume = 0.0
    for k in range(nz - 1):
        gap = offsets[k + 1] - offsets[k]
        for j in range(ny - 1):
            for i in range(nx - 1):
                corners = dose[k : k + 2, j : j + 2, i : i + 2]
                least, greatest = corners.min(), corners.max()
                if least >= level:
                    volume += gap
                elif greatest >= level:
                    volume += gap * _share_above(corners, level)
    return volume


def isodose_volume_cc(dose: DoseVolume, level_gy: float) -> float | None:
    """Volume (cc) of the whole grid that receives at least `level_gy`, dose trilinear between voxel centres.

    None when the isodose reaches the border of the grid or a voxel of unknown dose: it may go on beyond. Raises
    ValueError for a level that is not above 0.
    """
    if not level_gy > 0.0:
        raise ValueError(f"isodose level is {level_gy} Gy; need more than 0")
    known = dose.ascending_known
    mask = np.empty((0, 0, 0), bool) if known is None else known
    if min(dose.grid.shape_zyx) < 2 or _is_open(dose.ascending_gy, mask, level_gy):
        return None
    cells = _volume_in_cells(dose.ascending_gy, dose.offsets_mm, level_gy)
    return float(cells) * dose.grid.row_spacing_mm * dose.grid.column_spacing_mm / 1000.0

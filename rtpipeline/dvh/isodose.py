"""Volume inside an isodose of the whole dose grid, as the indices of Paddick need it.

Interpolated like the dose of the structures, so that the volume inside an isodose and that of a target inside it can be
compared.
"""

from __future__ import annotations

import numpy as np

from rtpipeline.dvh.dose_volume import DoseVolume, Interpolation
from rtpipeline.dvh.interpolation import Field, index_weights, plane_weights
from rtpipeline.dvh.spline import Bools
from rtpipeline.geometry.even_odd import Array
from rtpipeline.kernels import kernel

PARTS = 4
"""A cell between eight voxel centres that the isodose crosses is cut into PARTS^3, each with a dose as if linear."""

NARROW_SHARE = 1e-6
"""A second spread narrower than this share of the first changes nothing."""


@kernel()
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


@kernel()
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


@kernel()
def _share_above(
    coefficients: Array, k: int, j: int, i: int, level: float, along_z: Array, along_line: Array, work: Array
) -> float:
    """Share of a cell where the dose reaches the level.

    along_z, along_line: (PARTS, 2, 4) weights at the middles of the parts; work: space, (3, 4, 4).
    """
    total = 0.0
    for a in range(PARTS):
        for m in range(4):
            for n in range(4):
                value, by_z = 0.0, 0.0
                for q in range(4):
                    c = coefficients[k + q, j + m, i + n]
                    value += along_z[a, 0, q] * c
                    by_z += along_z[a, 1, q] * c
                work[0, m, n], work[1, m, n] = value, by_z
        for b in range(PARTS):
            for n in range(4):
                value, by_y, by_z = 0.0, 0.0, 0.0
                for m in range(4):
                    value += along_line[b, 0, m] * work[0, m, n]
                    by_y += along_line[b, 1, m] * work[0, m, n]
                    by_z += along_line[b, 0, m] * work[1, m, n]
                work[2, 0, n], work[2, 1, n], work[2, 2, n] = value, by_y, by_z
            for c in range(PARTS):
                value, gx, gy, gz = 0.0, 0.0, 0.0, 0.0
                for n in range(4):
                    value += along_line[c, 0, n] * work[2, 0, n]
                    gx += along_line[c, 1, n] * work[2, 0, n]
                    gy += along_line[c, 0, n] * work[2, 1, n]
                    gz += along_line[c, 0, n] * work[2, 2, n]
                # the dose over a part is the sum of three even spreads: the widest, and one for the other two together
                wide = max(abs(gx), abs(gy), abs(gz))
                narrow = np.sqrt(max(gx * gx + gy * gy + gz * gz - wide * wide, 0.0))
                wide, narrow = max(wide, narrow), min(wide, narrow)
                total += _share_of_spread(value - level, wide / PARTS, narrow / PARTS)
    return total / PARTS**3


@kernel()
def _volume_in_cells(field: Field, known: Bools, level: float) -> float:
    """Volume at or above the level, in mm along the normal times cells in the plane.

    The dose of a cell lies between the least and the greatest of its coefficients, so most cells need no more.
    """
    coefficients, offsets = field.coefficients, field.offsets
    nz, ny, nx = coefficients.shape[0] - 2, coefficients.shape[1] - 2, coefficients.shape[2] - 2
    first, last = (0, 4) if field.is_cubic else (1, 3)
    along_z, along_line = np.empty((PARTS, 2, 4)), np.empty((PARTS, 2, 4))
    for part in range(PARTS):
        index_weights(field.is_cubic, (part + 0.5) / PARTS, 0, 2, along_line[part])
    least, greatest = np.empty(nx + 2), np.empty(nx + 2)
    work = np.empty((3, 4, 4))
    volume = 0.0
    for k in range(nz - 1):
        gap = offsets[k + 1] - offsets[k]
        for part in range(PARTS):
            plane_weights(field, k, offsets[k] + (part + 0.5) / PARTS * gap, along_z[part])
            for m in range(4):
                along_z[part, 1, m] *= gap
        for j in range(ny - 1):
            for i in range(nx + 2):
                least[i], greatest[i] = np.inf, -np.inf
            for q in range(first, last):
                for m in range(first, last):
                    for i in range(nx + 2):
                        c = coefficients[k + q, j + m, i]
                        least[i], greatest[i] = min(least[i], c), max(greatest[i], c)
            for i in range(nx - 1):
                low, high = np.inf, -np.inf
                for n in range(first, last):
                    low, high = min(low, least[i + n]), max(high, greatest[i + n])
                if high < level or (known.shape[0] > 0 and not known[k : k + 2, j : j + 2, i : i + 2].all()):
                    continue
                if low >= level:
                    volume += gap
                else:
                    volume += gap * _share_above(coefficients, k, j, i, level, along_z, along_line, work)
    return volume


def isodose_volume_cc(dose: DoseVolume, level_gy: float, interpolation: Interpolation = "linear") -> float | None:
    """Volume (cc) of the whole grid that receives at least `level_gy`; interpolation: see `DoseVolume`.

    None when the isodose reaches the border of the grid or a voxel of unknown dose: it may go on beyond. Raises
    ValueError for a level that is not above 0.
    """
    if not level_gy > 0.0:
        raise ValueError(f"isodose level is {level_gy} Gy; need more than 0")
    known = dose.ascending_known
    mask = np.empty((0, 0, 0), bool) if known is None else known
    if min(dose.grid.shape_zyx) < 2 or _is_open(dose.ascending_gy, mask, level_gy):
        return None
    cells = _volume_in_cells(dose.interpolated(interpolation), mask, level_gy)
    return float(cells) * dose.grid.row_spacing_mm * dose.grid.column_spacing_mm / 1000.0

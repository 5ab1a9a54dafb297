"""Margins around voxel masks, different on each side of the patient, exact between voxel centres; and index windows.

A margin says how far a structure grows to the patient's left, right, posterior, anterior, superior and inferior. In
between, the reach is an ellipsoid with the margins of that octant as its semi-axes (Stroom & Storchi, Phys Med Biol
42:745, 1997). A voxel belongs to the grown mask when its centre lies within that reach of the centre of a mask voxel
(Minkowski sum on the lattice). Directions are those of the patient (DICOM LPS), whatever way the grid lies.

The outermost centres of a mask lie inside the surface that it stands for, so that reaching from centre to centre by the
margin itself falls short of it: by 0.15 mm on voxels of 1 mm and 0.9 mm on 2.5 x 2.5 x 3 mm (spheres of 10 to 20 mm
radius, margins of 3 to 10 mm). The semi-axes are therefore longer by LATTICE_SHARE of a voxel, which leaves less than
0.15 of a voxel (0.25 where it shrinks), and changes nothing where a flat border moves by whole voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from rtpipeline.geometry.grid import Array, Grid

Mask = NDArray[np.bool_]

REACH_TOLERANCE = 1e-6
"""A centre this share of the margin beyond it is still reached: 4 voxels of 2.5 mm are 10 mm, in floating point too."""

LATTICE_SHARE = 1.0 / 3.0
"""Share of a voxel's extent that is added to the reach. From 0 to below 1 it makes no difference to a flat border with
a margin of whole voxels; on curved surfaces 0 falls short and a half goes too far."""

BLOCK_VOXELS = 4_000_000
"""Voxels that one Fourier transform takes at most, unless the margin itself needs more planes: a slab is at least as
deep as its margins above and below together, or most of the work would be on those."""


@dataclass(frozen=True)
class Margins:
    """How far a border moves to each side of the patient, mm; all of them at least 0."""

    left_mm: float = 0.0
    right_mm: float = 0.0
    posterior_mm: float = 0.0
    anterior_mm: float = 0.0
    superior_mm: float = 0.0
    inferior_mm: float = 0.0

    def __post_init__(self) -> None:
        for name, value in self.__dict__.items():
            if not (np.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} is {value}; need a number of at least 0")

    @classmethod
    def uniform(cls, margin_mm: float) -> Margins:
        """The same margin on all sides."""
        return cls(*(margin_mm,) * 6)

    @property
    def largest_mm(self) -> float:
        """The largest of them."""
        return max(self.__dict__.values())

    def mirrored(self) -> Margins:
        """Left and right, posterior and anterior, superior and inferior exchanged."""
        return Margins(
            self.right_mm, self.left_mm, self.anterior_mm, self.posterior_mm, self.inferior_mm, self.superior_mm
        )


def reach_zyx(margins: Margins, grid: Grid) -> tuple[int, int, int]:
    """Voxels along plane, row and column that a margin may reach at most, to either side."""
    if margins.largest_mm == 0.0:
        return 0, 0, 0
    reach_mm = margins.largest_mm + LATTICE_SHARE * float(_voxel_extents_xyz_mm(grid).max())
    z, y, x = (int(np.floor(reach_mm / s + REACH_TOLERANCE)) for s in spacing_zyx_mm(grid))
    return z, y, x


def _voxel_extents_xyz_mm(grid: Grid) -> Array:
    """Extent of a voxel along each patient axis: its edges where the axes agree, in quadrature on an oblique grid."""
    return np.sqrt((_steps_mm(grid) ** 2).sum(axis=0))


def _steps_mm(grid: Grid) -> Array:
    """(3, 3) patient displacement of one step along plane, row and column index."""
    axes = np.stack([np.sign(_up(grid)) * grid.normal, grid.column_direction, grid.row_direction])
    return axes * np.array(spacing_zyx_mm(grid))[:, None]


def spacing_zyx_mm(grid: Grid) -> tuple[float, float, float]:
    """Distance between voxel centres along plane, row and column.

    Raises ValueError for a grid of one plane, which has no thickness.
    """
    if grid.plane_spacing_mm is None:
        raise ValueError("a grid of one plane has no thickness; need at least two planes")
    return grid.plane_spacing_mm, grid.row_spacing_mm, grid.column_spacing_mm


def grown(mask_zyx: Mask, grid: Grid, margins: Margins) -> Mask:
    """(z, y, x) bool: the mask with a margin, cut off at the array; pad it by `reach_zyx` where nothing may be lost.

    mask_zyx: on uniform planes, its index directions and spacings those of `grid`; it may be any part of it.
    """
    ball = _reached(grid, margins)
    ball = ball[tuple(slice(r // 2 - h, r // 2 + h + 1) for r, h in zip(ball.shape, _half_extent(ball), strict=True))]
    if ball.size == 1 or not mask_zyx.any():
        return mask_zyx.copy()
    return _minkowski(mask_zyx, ball)


def shrunk(mask_zyx: Mask, grid: Grid, margins: Margins) -> Mask:
    """(z, y, x) bool: the mask with its border moved inwards on each side by its margin.

    The complement of what the complement grows to. What lies outside the array is no part of the structure.
    """
    pad = [(r, r) for r in reach_zyx(margins, grid)]
    # a left border moves in as the outside grows to the right
    outside = grown(~np.pad(mask_zyx, pad), grid, margins.mirrored())
    inner = tuple(slice(low, low + n) for (low, _), n in zip(pad, mask_zyx.shape, strict=True))
    return ~outside[inner]


def _reached(grid: Grid, margins: Margins) -> Mask:
    """Displacements in voxels, from the middle of an array of odd shape, that the margins reach."""
    half = reach_zyx(margins, grid)
    index = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), axis=-1)
    shift_xyz_mm = index @ _steps_mm(grid)
    ahead = np.array([margins.left_mm, margins.posterior_mm, margins.superior_mm])
    behind = np.array([margins.right_mm, margins.anterior_mm, margins.inferior_mm])
    semi_axes_mm = np.where(shift_xyz_mm >= 0.0, ahead, behind) + LATTICE_SHARE * _voxel_extents_xyz_mm(grid)
    return np.asarray(((shift_xyz_mm / semi_axes_mm) ** 2).sum(axis=-1) <= (1.0 + REACH_TOLERANCE) ** 2)


def _up(grid: Grid) -> float:
    return float(grid.plane_offsets_mm[1] - grid.plane_offsets_mm[0])


def _half_extent(ball: Mask) -> tuple[int, ...]:
    found = np.abs(np.argwhere(ball) - np.array(ball.shape) // 2).max(axis=0)
    return tuple(int(n) for n in found)


def _minkowski(mask: Mask, ball: Mask) -> Mask:
    """Voxels of the array that a displacement in `ball` takes a mask voxel to.

    By counting with Fourier transforms, a slab of planes at a time: the counts are whole numbers and the transforms
    are right to 1e-9, so that more or less than a half decides without error.
    """
    hz, hy, hx = (n // 2 for n in ball.shape)
    plane = [fft.next_fast_len(n + 2 * h, real=True) for n, h in zip(mask.shape[1:], (hy, hx), strict=True)]
    step = max(1, 2 * hz, BLOCK_VOXELS // (plane[0] * plane[1]) - 2 * hz)
    # what wraps round falls on the margins of the slab, which are not read
    depth = fft.next_fast_len(min(step, mask.shape[0]) + 2 * hz, real=True)
    shape = (depth, *plane)
    spectrum = fft.rfftn(ball.astype(np.float64), shape)
    out = np.zeros_like(mask)
    for first in range(0, mask.shape[0], step):
        last = min(first + step, mask.shape[0])
        low, high = max(first - hz, 0), min(last + hz, mask.shape[0])
        part = mask[low:high]
        if not part.any():
            continue
        counts = fft.irfftn(fft.rfftn(part.astype(np.float64), shape) * spectrum, shape)
        at = first - low + hz
        out[first:last] = counts[at : at + last - first, hy : hy + mask.shape[1], hx : hx + mask.shape[2]] > 0.5
    return out


def window(grid: Grid, first_zyx: tuple[int, int, int], shape_zyx: tuple[int, int, int]) -> Grid:
    """The part of a uniform grid that begins at voxel `first_zyx`; it may reach beyond the grid on any side.

    Raises ValueError for a grid of one plane, or for planes that are not uniform.
    """
    if not grid.is_uniform:
        raise ValueError("planes at unequal distances; need a uniform grid")
    step_mm = float(np.sign(_up(grid))) * spacing_zyx_mm(grid)[0]
    offsets = _offsets(grid, first_zyx[0], shape_zyx[0], step_mm)
    origin: Array = (
        grid.origin_xyz_mm
        + offsets[0] * grid.normal
        + first_zyx[1] * grid.row_spacing_mm * grid.column_direction
        + first_zyx[2] * grid.column_spacing_mm * grid.row_direction
    )
    return replace(
        grid,
        origin_xyz_mm=origin,
        plane_offsets_mm=offsets - offsets[0],
        rows=shape_zyx[1],
        columns=shape_zyx[2],
    )


def _offsets(grid: Grid, first: int, count: int, step_mm: float) -> Array:
    """Offsets of planes by index: those of the grid where it has them, in its step beyond."""
    index = np.arange(first, first + count)
    n = len(grid.plane_offsets_mm)
    beyond = np.where(index < 0, index, np.where(index >= n, index - (n - 1), 0))
    return grid.plane_offsets_mm[np.clip(index, 0, n - 1)] + beyond * step_mm

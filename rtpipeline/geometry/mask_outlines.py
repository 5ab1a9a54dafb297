"""Outlines of a voxel mask: closed contours along the borders of its pixels, so that their solid is the mask itself.

A contour runs between pixels (along the cracks, half a voxel from every voxel centre) and has a vertex wherever it
turns. Filling the contours of a plane by the even-odd rule gives its pixels back exactly, and the prisms of the planes
are the voxels: no smoothing, no lost corner pixel, no half-voxel shift.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtpipeline.geometry.even_odd import Array, Ints
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.outlines import Contour, Outline
from rtpipeline.kernels import kernel

NOWHERE = (0, 0, 0)

STEP = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]], np.int64)
"""(row, column) step of each heading: along the row, along the column, and back. Turning right is the next heading."""

AHEAD = np.array([[[0, 0], [-1, 0]], [[0, -1], [0, 0]], [[-1, -1], [0, -1]], [[-1, 0], [-1, -1]]], np.int64)
"""By heading, the pixel on the right and the pixel on the left beyond a corner, as (row, column) from the corner.

Corner (r, c) is the upper left one of pixel (r, c)."""


def mask_outlines(
    mask_zyx: NDArray[np.bool_], grid: Grid, *, first_zyx: tuple[int, int, int] = NOWHERE
) -> list[Contour]:
    """Closed contours around the True voxels, (n, 3) in patient mm each, by plane, top row first.

    Outer borders run clockwise as the image is shown, borders of holes the other way. Pixels that meet in a corner only
    belong to different rings there (4-connected), so rings may touch but never cross.

    Parameters
    ----------
    mask_zyx: (z, y, x) bool on `grid`, or the part of it that begins at voxel `first_zyx`.

    Raises
    ------
    ValueError: the mask reaches beyond the grid.
    """
    mask = np.asarray(mask_zyx, bool)
    if mask.ndim != 3 or any(f < 0 or f + n > m for f, n, m in zip(first_zyx, mask.shape, grid.shape_zyx, strict=True)):
        raise ValueError(f"mask of shape {mask.shape} from {first_zyx} does not lie on a grid of {grid.shape_zyx}")
    box = bounding_box(mask)
    if box is None:
        return []
    corners, starts, planes = _trace(np.pad(mask[box], ((0, 0), (1, 1), (1, 1))))
    begin = np.array(first_zyx) + [s.start for s in box]
    # corner (r, c) of the padded part lies half a voxel before the centre of its pixel (r, c)
    index = np.c_[np.repeat(planes, np.diff(starts)) + begin[0], corners + (begin[1:] - 1.5)]
    points = grid.index_zyx_to_patient(index)
    return [points[a:b] for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]


def mask_outline(mask_zyx: NDArray[np.bool_], grid: Grid, *, first_zyx: tuple[int, int, int] = NOWHERE) -> Outline:
    """The mask as an outline whose solid is exactly its voxels, on a grid of uniform planes.

    The outline says how far apart the planes are, so a mask with empty planes in between, however many, is not filled
    there: without that, contours on every second plane mean a structure drawn on every second plane.
    """
    spacing_mm = grid.plane_spacing_mm
    return Outline(spacing_mm, mask_outlines(mask_zyx, grid, first_zyx=first_zyx), plane_spacing_mm=spacing_mm)


def bounding_box(mask_zyx: NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """Smallest box around the True voxels; None for an empty mask."""
    planes = np.flatnonzero(np.any(mask_zyx, axis=(1, 2)))
    if not len(planes):
        return None
    z = slice(int(planes[0]), int(planes[-1]) + 1)
    flat = np.any(mask_zyx[z], axis=0)
    rows, columns = np.flatnonzero(np.any(flat, axis=1)), np.flatnonzero(np.any(flat, axis=0))
    return z, slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


@kernel()
def _count(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Vertices of all rings, and an upper bound of the number of rings; the mask has an empty margin."""
    vertices, tops = 0, 0
    for k in range(mask.shape[0]):
        for r in range(1, mask.shape[1]):
            for c in range(1, mask.shape[2]):
                a, b = mask[k, r - 1, c - 1], mask[k, r - 1, c]
                d, e = mask[k, r, c - 1], mask[k, r, c]
                if (a != b) != (d != e):
                    vertices += 1
                elif a != b and a != d:
                    vertices += 2  # two pixels that meet in this corner only: both rings turn here
                tops += e and not b and not (d and not a)
    return vertices, tops


@kernel()
def _trace(mask: NDArray[np.bool_]) -> tuple[Array, Ints, Ints]:
    """Rings of a mask with an empty margin: corners (n, 2) as (row, column), first corner of each ring, its plane.

    Each ring is followed with the mask on its right. Every ring has a crack with mask below and none above, so looking
    for those finds all of them; the first one found in reading order begins at a turn.
    """
    n_vertices, n_tops = _count(mask)
    corners = np.empty((n_vertices, 2))
    starts = np.zeros(n_tops + 1, np.int64)
    planes = np.empty(n_tops, np.int64)
    seen = np.zeros(mask.shape[1:], np.bool_)
    n, rings = 0, 0
    for k in range(mask.shape[0]):
        seen[:] = False
        for r in range(1, mask.shape[1]):
            for c in range(1, mask.shape[2]):
                if not mask[k, r, c] or mask[k, r - 1, c] or seen[r, c]:
                    continue
                y, x, heading = r, c, 0
                while True:
                    corners[n, 0], corners[n, 1] = y, x
                    n += 1
                    while True:
                        if heading == 0:
                            seen[y, x] = True
                        y, x = y + STEP[heading, 0], x + STEP[heading, 1]
                        right = mask[k, y + AHEAD[heading, 0, 0], x + AHEAD[heading, 0, 1]]
                        left = mask[k, y + AHEAD[heading, 1, 0], x + AHEAD[heading, 1, 1]]
                        if not right:
                            heading = (heading + 1) % 4
                            break
                        if left:
                            heading = (heading + 3) % 4
                            break
                    if y == r and x == c and heading == 0:
                        break
                planes[rings] = k
                rings += 1
                starts[rings] = n
    return corners[:n], starts[: rings + 1], planes[:rings]

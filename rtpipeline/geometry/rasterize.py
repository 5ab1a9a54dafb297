"""Voxel masks of a solid on an image grid, for radiomics and for pictures. A DVH needs none of this.

The solid is the one the DVH uses, so a contour reaches half way to its neighbours and each image plane takes the
contour of the slab it lies in: off-slice contours move by half a spacing at most, and planes between widely spaced
contours are filled. Polygons are never rounded to pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtpipeline.geometry.coverage import coverage_lattice
from rtpipeline.geometry.even_odd import Array, Ints
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.polygon import signed_edges
from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.kernels import kernel

PARALLEL_MM = 0.05
"""Contour planes count as parallel to the image when a plane of the solid tilts by less than this over its extent."""

OBLIQUE_PARTS = 3
"""Parts per axis into which a voxel is cut for its covered share when contours are oblique to the image."""


class UnknownThicknessError(ValueError):
    """The solid is a single plane of unknown thickness and has no voxels."""


def solid_mask(solid: PrismSolid, grid: Grid) -> NDArray[np.bool_]:
    """(z, y, x) bool: voxels whose centre lies in the solid; what lies outside the grid is cut off.

    A centre exactly on a border belongs to the region on its far side (greater coordinate), so neighbouring regions
    share no voxel. Raises UnknownThicknessError for a single plane without thickness.
    """
    slabs = _slabs(solid)
    if not _is_parallel(solid, grid):
        return _oblique_mask(solid, grid, np.zeros(3))
    mask = np.zeros(grid.shape_zyx, bool)
    offsets = _plane_offsets_in_solid(solid, grid)
    plane = np.searchsorted(slabs[:, 0], offsets, side="right") - 1
    inside = (plane >= 0) & (offsets < slabs[plane, 1])
    filled: dict[int, NDArray[np.bool_]] = {}
    for k in np.flatnonzero(inside):
        p = int(plane[k])
        if p not in filled:
            contours = _contours_in_pixels(solid, p, grid)
            points, starts = np.concatenate(contours), np.r_[0, np.cumsum([len(c) for c in contours])]
            filled[p] = _fill(points, starts.astype(np.int64), grid.rows, grid.columns)
        mask[k] = filled[p]
    return mask


def solid_coverage(solid: PrismSolid, grid: Grid) -> NDArray[np.float32]:
    """(z, y, x) float32 in 0 .. 1: share of each voxel that the solid covers.

    Exact when the contour planes are parallel to the image; else counted on OBLIQUE_PARTS^3 points per voxel. A voxel
    reaches half way to the neighbouring planes; on a grid of one plane it is as thick as the solid. Raises
    UnknownThicknessError for a single contour plane without thickness.
    """
    slabs = _slabs(solid)
    if not _is_parallel(solid, grid):
        parts = (np.arange(OBLIQUE_PARTS) + 0.5) / OBLIQUE_PARTS - 0.5
        shifts = [np.array([a, b, c]) for a in parts for b in parts for c in parts]
        total = np.zeros(grid.shape_zyx, np.float32)
        for shift in shifts:
            total += _oblique_mask(solid, grid, shift)
        return total / np.float32(len(shifts))
    coverage = np.zeros(grid.shape_zyx, np.float32)
    for k, (low, high) in enumerate(_layers_in_solid(solid, grid, slabs)):
        overlap = np.minimum(slabs[:, 1], high) - np.maximum(slabs[:, 0], low)
        for p in np.flatnonzero(overlap > 0.0):
            edges = signed_edges(_contours_in_pixels(solid, int(p), grid))
            share = float(overlap[p] / (high - low))
            _add_coverage(coverage[k], edges, share)
    return np.clip(coverage, 0.0, 1.0)


def _slabs(solid: PrismSolid) -> Array:
    if solid.slabs_mm is None:
        raise UnknownThicknessError("single contour plane of unknown thickness; need single_plane_thickness_mm")
    return solid.slabs_mm


def _is_parallel(solid: PrismSolid, grid: Grid) -> bool:
    low, high = solid.bounds_uvw_mm
    return float(np.linalg.norm(np.cross(solid.normal, grid.normal)) * np.linalg.norm(high - low)) <= PARALLEL_MM


def _plane_offsets_in_solid(solid: PrismSolid, grid: Grid) -> Array:
    """Position of each image plane along the solid's normal, at the solid's middle (mm)."""
    direction = float(np.sign(grid.normal @ solid.normal))
    middle = solid.corners_xyz_mm.mean(axis=0)
    along = float((middle - grid.origin_xyz_mm) @ grid.normal)
    return float(middle @ solid.normal) + direction * (grid.plane_offsets_mm - along)


def _layers_in_solid(solid: PrismSolid, grid: Grid, slabs: Array) -> list[tuple[float, float]]:
    """Lower and upper end of each image plane's voxels along the solid's normal (mm)."""
    thickness = float(slabs[:, 1].max() - slabs[:, 0].min())
    shift = _plane_offsets_in_solid(solid, grid)
    direction = float(np.sign(grid.normal @ solid.normal))
    ends = grid.plane_bounds_mm(single_plane_thickness_mm=thickness) - grid.plane_offsets_mm[:, None]
    layers = np.sort(shift[:, None] + direction * ends, axis=1)
    return [(float(low), float(high)) for low, high in layers]


def _contours_in_pixels(solid: PrismSolid, plane: int, grid: Grid) -> list[Array]:
    """Contours of one plane as (n, 2) continuous (column, row) index; pixel centres are whole numbers."""
    matrix = grid.patient_to_plane_matrix[1:]
    contours = []
    for c in range(solid.plane_starts[plane], solid.plane_starts[plane + 1]):
        uv = solid.points_uv_mm[solid.contour_starts[c] : solid.contour_starts[c + 1]]
        points = np.c_[uv, np.full(len(uv), solid.plane_offsets_mm[plane])] @ solid.axes
        row_column = points @ matrix[:, :3].T + matrix[:, 3]
        contours.append(row_column[:, ::-1])
    return contours


def _add_coverage(plane: NDArray[np.float32], edges: Array, share: float) -> None:
    """Add the covered share of each pixel of one plane, inside the window that the edges reach."""
    if len(edges) == 0:
        return
    x, y = edges[:, [0, 2]], edges[:, [1, 3]]
    c0, c1 = max(int(np.floor(x.min() + 0.5)), 0), min(int(np.floor(x.max() + 0.5)) + 1, plane.shape[1])
    r0, r1 = max(int(np.floor(y.min() + 0.5)), 0), min(int(np.floor(y.max() + 0.5)) + 1, plane.shape[0])
    if c0 < c1 and r0 < r1:
        covered = coverage_lattice(edges, c0 - 0.5, r0 - 0.5, 1.0, 1.0, (r1 - r0, c1 - c0))
        plane[r0:r1, c0:c1] += (share * covered).astype(np.float32)


def _oblique_mask(solid: PrismSolid, grid: Grid, shift_zyx: Array) -> NDArray[np.bool_]:
    """Voxels whose centre, moved by a share of a voxel, lies in the solid; planes of any orientation."""
    corners = grid.patient_to_index_zyx(solid.corners_xyz_mm)
    first = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    last = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, grid.shape_zyx)
    mask = np.zeros(grid.shape_zyx, bool)
    j, i = np.meshgrid(np.arange(first[1], last[1]), np.arange(first[2], last[2]), indexing="ij")
    for k in range(first[0], last[0]):
        index = np.stack([np.full(j.shape, k), j, i], axis=-1).reshape(-1, 3) + shift_zyx
        mask[k, first[1] : last[1], first[2] : last[2]] = solid.contains(grid.index_zyx_to_patient(index)).reshape(
            j.shape
        )
    return mask


@kernel()
def _fill(points: Array, starts: Ints, rows: int, columns: int) -> NDArray[np.bool_]:
    """Pixel centres inside closed contours (column, row), even-odd: each edge flips all pixels to its right."""
    mask = np.zeros((rows, columns), np.bool_)
    for contour in range(starts.shape[0] - 1):
        for p in range(starts[contour], starts[contour + 1]):
            q = p + 1 if p + 1 < starts[contour + 1] else starts[contour]
            x0, y0, x1, y1 = points[p, 0], points[p, 1], points[q, 0], points[q, 1]
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            # half-open in y: a vertex on a row belongs to exactly one of the two edges that meet there
            for row in range(max(int(np.ceil(y0)), 0), min(int(np.ceil(y1)), rows)):
                x = x0 + (x1 - x0) * ((row - y0) / (y1 - y0))
                column = max(int(np.ceil(x)), 0)
                if column < columns:
                    mask[row, column] = not mask[row, column]
    for row in range(rows):
        inside = False
        for column in range(columns):
            inside = inside != mask[row, column]
            mask[row, column] = inside
    return mask

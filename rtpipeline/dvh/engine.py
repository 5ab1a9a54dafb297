"""From a solid and a dose to a dose-volume histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtpipeline.dvh.curve import Dvh, graded_edges, volume_above
from rtpipeline.dvh.dose_volume import DoseVolume, Interpolation
from rtpipeline.dvh.extremes import climb, node_extremes, surface_extremes
from rtpipeline.dvh.interpolation import Field
from rtpipeline.dvh.sampling import sample_cells, totals
from rtpipeline.dvh.sampling_parallel import sample_cells_parallel
from rtpipeline.geometry.even_odd import Array, Ints
from rtpipeline.geometry.solid import PrismSolid

__all__ = ["DEFAULT_SAMPLING", "DoseVolume", "Interpolation", "Sampling", "compute_dvh"]

_ALL_KNOWN = np.empty((0, 0, 0), bool)
"""Stands for the mask when every voxel is known (compiled code takes no None)."""


PARALLEL_TOLERANCE = 1e-6
"""Shift (mm or voxels) within the solid that is rounding of direction cosines and not a tilt."""

LAYER_TOLERANCE = 1e-9
"""A slab that is a whole number of cells thick but for rounding gets no extra layer."""


STEEP_SHARE = 0.1
"""Cells across which the dose changes by more than this share of the grid's greatest are cut further."""


ROUNDING_SHARE = 1e-12
"""A dose this near to the grid's least or greatest value, as a share of the greatest, is that value: a uniform dose is
one step and not a curve of rounding errors."""


MAX_WINDOW_CELLS = 4_000_000
"""Cells of the lattice around one plane (500 MB): small pieces of one plane may lie far apart."""


@dataclass(frozen=True)
class Sampling:
    """How finely a solid is cut into cells.

    target_cells: the cell size follows from the structure's volume, so that a small structure gets as many cells as
    a large one. dose_fraction: cells are never larger than this share of the finest dose spacing ... max_cells: ...
    unless there would be more of them than this.
    """

    target_cells: int = 30_000
    dose_fraction: float = 0.75
    max_cells: int = 200_000

    def __post_init__(self) -> None:
        if self.target_cells < 1 or self.max_cells < self.target_cells or not self.dose_fraction > 0.0:
            raise ValueError(f"{self}; need 1 <= target_cells <= max_cells and dose_fraction > 0")

    def cell_mm(
        self, areas_mm2: Array, thicknesses_mm: Array, dose_spacing_mm: float, window_mm2: float = 0.0
    ) -> float:
        """Edge (mm) of the cells; layers of a slab are as thick as that or thinner.

        window_mm2: the largest rectangle around the contours of one plane.
        """

        def size_for(n_cells: int) -> float:
            # a slab thinner than the cell is one layer, so its area counts and not its volume
            volume, area = float(areas_mm2 @ thicknesses_mm), float(areas_mm2.sum())
            return max((volume / n_cells) ** (1.0 / 3.0), (area / n_cells) ** 0.5)

        coarsest = min(size_for(self.target_cells), self.dose_fraction * dose_spacing_mm)
        return max(coarsest, size_for(self.max_cells), (window_mm2 / MAX_WINDOW_CELLS) ** 0.5)


DEFAULT_SAMPLING = Sampling()


def compute_dvh(
    solid: PrismSolid,
    dose: DoseVolume,
    *,
    sampling: Sampling = DEFAULT_SAMPLING,
    interpolation: Interpolation = "linear",
) -> Dvh:
    """Dose-volume histogram of the solid in the dose; both in the same patient frame, in any orientation.

    interpolation: of the dose between voxel centres; 'linear' is trilinear, 'cubic' the spline of `spline`. Where the
    dose is unknown the solid counts for the volume and for nothing else. Raises ValueError for a solid without volume
    (a single plane of unknown thickness) and for an unknown interpolation.
    """
    volume_cc, slabs, thicknesses = solid.volume_cc, solid.slabs_mm, solid.thicknesses_mm
    if not volume_cc or slabs is None or thicknesses is None:
        raise ValueError("solid has no volume (a single plane of unknown thickness, or planes that cancel); need one")
    cell_mm = sampling.cell_mm(solid.areas_mm2, thicknesses, dose.finest_spacing_mm, _largest_window_mm2(solid))
    dmin_gy, dmax_gy, dmean_gy, coverage_pct = None, None, None, 0.0
    edges, volumes, n_samples = np.empty(0), np.empty(0), 0

    placed = _place(solid, slabs, thicknesses, dose, cell_mm, interpolation)
    if placed is not None:
        samples, unknown_mm3, shift_mm3_gy, cell_extremes = _sample(solid, placed, STEEP_SHARE * dose.extremes_gy[1])
        n_samples = len(samples)
    if placed is not None and n_samples > 0:
        sampled_mm3, dose_mm3_gy = totals(samples)
        dmin_gy, dmax_gy = _extremes(solid, dose, placed, cell_extremes)
        dmean_gy = (dose_mm3_gy + shift_mm3_gy) / sampled_mm3
        known_share = sampled_mm3 / (sampled_mm3 + unknown_mm3)
        coverage_pct = 100.0 * known_share
        edges, volumes = np.array([dmin_gy]), np.array([sampled_mm3])
        if dmax_gy > dmin_gy:
            edges, scale = graded_edges(dmin_gy, dmax_gy)
            volumes = volume_above(samples, edges, scale)
        # the cells add up to the exact volume but for rounding; the curve starts at exactly that
        volumes = volumes * (volume_cc * known_share / volumes[0])
    return Dvh(
        volume_cc=volume_cc,
        coverage_pct=coverage_pct,
        dmin_gy=dmin_gy,
        dmax_gy=dmax_gy,
        dmean_gy=dmean_gy,
        dose_edges_gy=edges,
        volume_edges_cc=volumes,
        sampling_mm=cell_mm,
        n_samples=n_samples,
        interpolation=interpolation,
        end_cap=solid.end_cap,
    )


def _largest_window_mm2(solid: PrismSolid) -> float:
    first = solid.contour_starts[solid.plane_starts[:-1]]
    low = np.minimum.reduceat(solid.points_uv_mm, first, axis=0)
    high = np.maximum.reduceat(solid.points_uv_mm, first, axis=0)
    return float((high - low).prod(axis=1).max())


@dataclass(frozen=True, eq=False)
class _Placement:
    """Where a solid lies in a dose, and how it is cut. See `sampling` for the frames.

    matrix: (3, 4) solid to dose; corners: (8, 3) of the solid's bounding box in the dose's (offset, row, column);
    field: the interpolated dose; box: (3, 2) where it can be interpolated; known: mask or (0, 0, 0);
    u_is_column: see `_parallel_axes`.
    """

    slabs_mm: Array
    n_layers: Ints
    cell_mm: float
    matrix: Array
    corners: Array
    field: Field
    box: Array
    known: np.ndarray
    u_is_column: bool | None


def _place(
    solid: PrismSolid,
    slabs_mm: Array,
    thicknesses_mm: Array,
    dose: DoseVolume,
    cell_mm: float,
    interpolation: Interpolation,
) -> _Placement | None:
    """None when nothing can be interpolated in this dose."""
    if dose.known_box is None:
        return None
    to_dose = dose.grid.patient_to_plane_matrix
    matrix = np.c_[to_dose[:, :3] @ solid.axes.T, to_dose[:, 3]]
    return _Placement(
        slabs_mm=slabs_mm,
        n_layers=np.maximum(1, np.ceil(thicknesses_mm / cell_mm - LAYER_TOLERANCE)).astype(np.int64),
        cell_mm=cell_mm,
        matrix=matrix,
        corners=solid.corners_xyz_mm @ to_dose[:, :3].T + to_dose[:, 3],
        field=dose.interpolated(interpolation),
        box=dose.known_box,
        known=_ALL_KNOWN if dose.ascending_known is None else dose.ascending_known,
        u_is_column=_parallel_axes(matrix, solid.bounds_uvw_mm),
    )


def _sample(solid: PrismSolid, placed: _Placement, steep_gy: float) -> tuple[Array, float, float, Array]:
    """What `sample_cells` returns for the solid, the samples without the room behind them."""
    low, high = solid.bounds_uvw_mm[:, :2]
    shape = np.maximum(1, np.ceil((high - low) / placed.cell_mm)).astype(np.int64)
    # a hair wider than the solid, so that the last vertex does not fall out by rounding
    cell = (high - low) / shape * (1.0 + 1e-9)
    inside_box = bool(np.all(placed.corners >= placed.box[:, 0]) and np.all(placed.corners <= placed.box[:, 1]))
    body = (solid.edges, solid.edge_starts, placed.slabs_mm, placed.n_layers)
    field = (placed.matrix, placed.field, placed.known, placed.box)
    # whole cells, a third more for those on the border, and room for one more layer; the table grows when that is short
    room = min(int(shape.prod()), MAX_WINDOW_CELLS)
    capacity = int(1.3 * float(solid.areas_mm2 @ placed.n_layers) / float(cell.prod())) + room
    if placed.u_is_column is not None:
        samples, n, unknown_mm3, shift_mm3_gy, found = sample_cells_parallel(
            *body, low, cell, shape, *field, placed.u_is_column, steep_gy, capacity
        )
    else:
        samples, n, unknown_mm3, shift_mm3_gy, found = sample_cells(
            *body, low, cell, shape, *field, inside_box, steep_gy, capacity
        )
    return samples[:n], unknown_mm3, shift_mm3_gy, found


def _parallel_axes(matrix: Array, bounds_uvw_mm: Array) -> bool | None:
    """Whether the dose's columns run along u (True) or v (False); None when its axes are not parallel to the solid's.

    Parallel means that what the other entries of the matrix add anywhere in the solid is only rounding.
    """
    farthest_mm = float(np.abs(bounds_uvw_mm).max())
    for u_is_column, rows in ((True, (2, 1, 0)), (False, (1, 2, 0))):
        others = matrix[:, :3].copy()
        others[rows, (0, 1, 2)] = 0.0
        if float(np.abs(others).max()) * farthest_mm <= PARALLEL_TOLERANCE:
            return u_is_column
    return None


def _extremes(solid: PrismSolid, dose: DoseVolume, placed: _Placement, in_cells: Array) -> tuple[float, float]:
    """Least and greatest dose (Gy): of the cells, the walls, the voxel centres inside, and near the best of each."""
    field = (placed.matrix, placed.field, placed.known, placed.box)
    on_walls = surface_extremes(
        solid.points_uv_mm,
        solid.contour_starts,
        solid.plane_starts,
        placed.slabs_mm,
        placed.n_layers,
        placed.cell_mm,
        *field,
        placed.u_is_column is not None,
    )
    least, greatest = float(min(in_cells[0, 0], on_walls[0, 0])), float(max(in_cells[1, 0], on_walls[1, 0]))
    first, last = placed.corners.min(axis=0), placed.corners.max(axis=0)
    window = np.empty((3, 2), np.int64)
    window[0] = np.searchsorted(dose.offsets_mm, first[0]), np.searchsorted(dose.offsets_mm, last[0], side="right")
    for axis in (1, 2):
        window[axis] = np.clip([np.ceil(first[axis]), np.floor(last[axis]) + 1], 0, dose.grid.shape_zyx[axis])
    inverse = np.linalg.inv(placed.matrix[:, :3])
    body = (solid.edges, solid.edge_starts, placed.slabs_mm, solid.bounds_uvw_mm)
    at_nodes = node_extremes(
        *body,
        np.c_[inverse, -inverse @ placed.matrix[:, 3]],
        window,
        dose.ascending_gy,
        dose.offsets_mm,
        placed.known,
        least,
        greatest,
    )
    for found in (in_cells, on_walls, at_nodes):
        if np.isfinite(found[0, 0]):
            least = min(least, climb(*body, *field, found[0], placed.cell_mm, -1.0))
        if np.isfinite(found[1, 0]):
            greatest = max(greatest, climb(*body, *field, found[1], placed.cell_mm, 1.0))
    return _without_rounding(least, dose), _without_rounding(greatest, dose)


def _without_rounding(dose_gy: float, dose: DoseVolume) -> float:
    tolerance = ROUNDING_SHARE * max(map(abs, dose.extremes_gy))
    return next((value for value in dose.extremes_gy if abs(dose_gy - value) <= tolerance), float(dose_gy))

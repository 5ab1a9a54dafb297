"""From a solid and a dose to a dose-volume histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from rtpipeline.dvh.curve import Dvh, graded_edges, volume_above
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.kernels import node_extremes, sample_cells, surface_extremes
from rtpipeline.geometry.even_odd import Array, Ints
from rtpipeline.geometry.solid import PrismSolid

__all__ = ["DEFAULT_SAMPLING", "DoseVolume", "Interpolation", "Sampling", "compute_dvh"]

Interpolation = Literal["linear"]

_ALL_KNOWN = np.empty((0, 0, 0), bool)
"""Stands for the mask when every voxel is known (compiled code takes no None)."""


@dataclass(frozen=True)
class Sampling:
    """How finely a solid is cut into cells.

    target_cells: the cell size follows from the structure's volume, so that a small structure gets as many cells as
    a large one. dose_fraction: cells are never larger than this share of the finest dose spacing ... max_cells: ...
    unless there would be more of them than this.
    """

    target_cells: int = 40_000
    dose_fraction: float = 0.5
    max_cells: int = 4_000_000

    def __post_init__(self) -> None:
        if self.target_cells < 1 or self.max_cells < self.target_cells or not self.dose_fraction > 0.0:
            raise ValueError(f"{self}; need 1 <= target_cells <= max_cells and dose_fraction > 0")

    def cell_mm(self, areas_mm2: Array, thicknesses_mm: Array, dose_spacing_mm: float) -> float:
        """Edge (mm) of the cells; layers of a slab are as thick as that or thinner."""

        def size_for(n_cells: int) -> float:
            # a slab thinner than the cell is one layer, so its area counts and not its volume
            volume, area = float(areas_mm2 @ thicknesses_mm), float(areas_mm2.sum())
            return max((volume / n_cells) ** (1.0 / 3.0), (area / n_cells) ** 0.5)

        coarsest = min(size_for(self.target_cells), self.dose_fraction * dose_spacing_mm)
        return max(coarsest, size_for(self.max_cells))


DEFAULT_SAMPLING = Sampling()


def compute_dvh(
    solid: PrismSolid,
    dose: DoseVolume,
    *,
    sampling: Sampling = DEFAULT_SAMPLING,
    interpolation: Interpolation = "linear",
) -> Dvh:
    """Dose-volume histogram of the solid in the dose; both in the same patient frame, in any orientation.

    interpolation: of the dose between voxel centres; 'linear' is trilinear. Where the dose is unknown the solid counts
    for the volume and for nothing else. Raises ValueError for a solid without volume (a single plane of unknown
    thickness) and for an unknown interpolation.
    """
    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation {interpolation!r}; need one of {', '.join(get_args(Interpolation))}")
    volume_cc, slabs, thicknesses = solid.volume_cc, solid.slabs_mm, solid.thicknesses_mm
    if not volume_cc or slabs is None or thicknesses is None:
        raise ValueError("solid has no volume (a single plane of unknown thickness, or planes that cancel); need one")
    cell_mm = sampling.cell_mm(solid.areas_mm2, thicknesses, dose.finest_spacing_mm)
    box = dose.known_box
    if box is None:
        return _without_dose(volume_cc, cell_mm, interpolation, solid.end_cap)

    matrix = _solid_to_dose(solid, dose)
    corners = solid.corners_xyz_mm @ dose.grid.patient_to_plane_matrix[:, :3].T
    corners += dose.grid.patient_to_plane_matrix[:, 3]
    inside_box = bool(np.all(corners >= box[:, 0]) and np.all(corners <= box[:, 1]))
    n_layers = np.maximum(1, np.ceil(thicknesses / cell_mm - 1e-9)).astype(np.int64)
    origin, cell, shape = _lattice(solid, cell_mm)
    known = _ALL_KNOWN if dose.ascending_known is None else dose.ascending_known
    samples, unknown_mm3 = sample_cells(
        solid.edges,
        solid.edge_starts,
        slabs,
        n_layers,
        origin,
        cell,
        shape,
        matrix,
        dose.ascending_gy,
        dose.offsets_mm,
        known,
        box,
        inside_box,
    )
    if len(samples) == 0:
        return _without_dose(volume_cc, cell_mm, interpolation, solid.end_cap)
    least, greatest = _extremes(solid, slabs, dose, samples, n_layers, cell_mm, matrix, corners, box, known)

    sampled_mm3 = float(samples[:, 2].sum())
    known_share = sampled_mm3 / (sampled_mm3 + unknown_mm3)
    if greatest > least:
        edges, scale = graded_edges(least, greatest)
        volumes = volume_above(samples, edges, scale)
    else:
        edges, volumes = np.array([least]), np.array([sampled_mm3])
    return Dvh(
        volume_cc=volume_cc,
        coverage_pct=100.0 * known_share,
        dmin_gy=least,
        dmax_gy=greatest,
        dmean_gy=float(samples[:, 0] @ samples[:, 2]) / sampled_mm3,
        dose_edges_gy=edges,
        # the cells add up to the exact volume but for rounding; the curve starts at exactly that
        volume_edges_cc=volumes * (volume_cc * known_share / volumes[0]),
        sampling_mm=cell_mm,
        n_samples=len(samples),
        interpolation=interpolation,
        end_cap=solid.end_cap,
    )


def _without_dose(volume_cc: float, cell_mm: float, interpolation: str, end_cap: str) -> Dvh:
    return Dvh(
        volume_cc=volume_cc,
        coverage_pct=0.0,
        dmin_gy=None,
        dmax_gy=None,
        dmean_gy=None,
        dose_edges_gy=np.empty(0),
        volume_edges_cc=np.empty(0),
        sampling_mm=cell_mm,
        n_samples=0,
        interpolation=interpolation,
        end_cap=end_cap,
    )


def _solid_to_dose(solid: PrismSolid, dose: DoseVolume) -> Array:
    """(3, 4) from (u, v, w, 1) in the solid's frame to (offset along the dose's normal, row, column)."""
    matrix = dose.grid.patient_to_plane_matrix
    return np.c_[matrix[:, :3] @ solid.axes.T, matrix[:, 3]]


def _lattice(solid: PrismSolid, cell_mm: float) -> tuple[Array, Array, Ints]:
    """Corner (mm), cell size (mm) and (columns, rows) of a lattice over the solid's extent in u, v."""
    low, high = solid.bounds_uvw_mm[:, :2]
    shape = np.maximum(1, np.ceil((high - low) / cell_mm)).astype(np.int64)
    # a hair wider than the solid, so that the last vertex does not fall out by rounding
    cell = (high - low) / shape * (1.0 + 1e-9)
    return low, cell, shape


def _extremes(
    solid: PrismSolid,
    slabs: Array,
    dose: DoseVolume,
    samples: Array,
    n_layers: Ints,
    cell_mm: float,
    matrix: Array,
    corners: Array,
    box: Array,
    known: np.ndarray,
) -> tuple[float, float]:
    """Least and greatest dose (Gy) of cells, walls and the voxel centres inside the solid."""
    least, greatest = surface_extremes(
        solid.points_uv_mm,
        solid.contour_starts,
        solid.plane_starts,
        slabs,
        n_layers,
        cell_mm,
        matrix,
        dose.ascending_gy,
        dose.offsets_mm,
        known,
        box,
    )
    least, greatest = min(least, samples[:, 0].min()), max(greatest, samples[:, 0].max())
    first, last = corners.min(axis=0), corners.max(axis=0)
    window = np.empty((3, 2), np.int64)
    window[0] = np.searchsorted(dose.offsets_mm, first[0]), np.searchsorted(dose.offsets_mm, last[0], side="right")
    for axis in (1, 2):
        n = dose.grid.shape_zyx[axis]
        window[axis] = np.clip([np.ceil(first[axis]), np.floor(last[axis]) + 1], 0, n)
    inverse = np.linalg.inv(matrix[:, :3])
    least, greatest = node_extremes(
        solid.edges,
        solid.edge_starts,
        slabs,
        solid.bounds_uvw_mm,
        np.c_[inverse, -inverse @ matrix[:, 3]],
        window,
        dose.ascending_gy,
        dose.offsets_mm,
        known,
        least,
        greatest,
    )
    return float(least), float(greatest)

"""How far the surfaces of two voxel masks lie apart. Masks and spacings in, mm out; no tables, no findings.

A surface element stands at a corner where eight voxels meet of which some are inside and some are not (Nikolov et al.
2018, arXiv 1809.04430, whose surface-distance library places its elements there). Its area is that of the voxel faces
around the corner, added as vectors, so that a slanted surface is not counted as the stairs that voxels make of it (a
sphere's area comes out 5 to 15 % too large instead of 50 %; areas serve as weights only).
Distances are exact Euclidean distances between elements, by a k-d tree: memory goes with the surface, not the volume.
What lies outside the array is outside the mask, so a structure cut by the image has a surface there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROUNDING_MM = 1e-6
"""A distance that exceeds the tolerance by less than this is equal to it; spacings are decimal numbers in binary."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distance of every surface element of one mask to the nearest one of the other (mm), and its area (mm2)."""

    a_to_b_mm: Array
    area_a_mm2: Array
    b_to_a_mm: Array
    area_b_mm2: Array


def dice(a_zyx: Mask, b_zyx: Mask) -> float | None:
    """2 |A and B| / (|A| + |B|) of two masks on one grid (Dice 1945); None when both are empty.

    Raises ValueError when the shapes differ.
    """
    _refuse_other_shape(a_zyx, b_zyx)
    total = np.count_nonzero(a_zyx) + np.count_nonzero(b_zyx)
    return float(2.0 * np.count_nonzero(a_zyx & b_zyx) / total) if total else None


def surface_distances(a_zyx: Mask, b_zyx: Mask, spacing_zyx_mm: Sequence[float]) -> SurfaceDistances:
    """Distances between the surfaces of two masks on one grid with orthogonal axes, in any orientation to the patient.

    Raises
    ------
    ValueError: the shapes differ, or a mask is empty and has no surface.
    """
    _refuse_other_shape(a_zyx, b_zyx)
    points_a, area_a = surface_elements(a_zyx, spacing_zyx_mm)
    points_b, area_b = surface_elements(b_zyx, spacing_zyx_mm)
    if not len(points_a) or not len(points_b):
        raise ValueError("a mask without voxels has no surface; need two masks with voxels")
    return SurfaceDistances(_nearest_mm(points_a, points_b), area_a, _nearest_mm(points_b, points_a), area_b)


def hausdorff_mm(distances: SurfaceDistances, percent: float = 100.0) -> float:
    """The larger of the two directed percentiles of surface distance, mm (Huttenlocher 1993; percentiles by area).

    A directed percentile is the least distance within which `percent` of that surface's area lies from the other
    surface. 100 gives the Hausdorff distance.
    """
    return max(
        _percentile(distances.a_to_b_mm, distances.area_a_mm2, percent),
        _percentile(distances.b_to_a_mm, distances.area_b_mm2, percent),
    )


def hd95_mm(distances: SurfaceDistances) -> float:
    """The larger of the two directed 95th percentiles of surface distance, mm; see `hausdorff_mm`."""
    return hausdorff_mm(distances, 95.0)


def surface_dice(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Share of both surfaces that lies within the tolerance of the other one (Nikolov et al. 2018)."""
    limit = tolerance_mm + ROUNDING_MM
    near = (
        distances.area_a_mm2[distances.a_to_b_mm <= limit].sum()
        + distances.area_b_mm2[distances.b_to_a_mm <= limit].sum()
    )
    return float(near / (distances.area_a_mm2.sum() + distances.area_b_mm2.sum()))


def surface_elements(mask_zyx: Mask, spacing_zyx_mm: Sequence[float]) -> tuple[Array, Array]:
    """Surface elements of a mask: (n, 3) position (z, y, x) in mm from the array's corner, (n,) area in mm2."""
    padded = np.pad(np.asarray(mask_zyx, bool), 1).view(np.uint8)
    code = np.zeros(tuple(n - 1 for n in padded.shape), np.uint8)
    for bit, (k, j, i) in enumerate(_CORNERS):
        ends = (code.shape[0] + k, code.shape[1] + j, code.shape[2] + i)
        code |= padded[k : ends[0], j : ends[1], i : ends[2]] << bit
    at = np.flatnonzero((code != 0) & (code != 255))
    spacing = np.asarray(spacing_zyx_mm, float)
    points = np.stack(np.unravel_index(at, code.shape), axis=1) * spacing
    return points, _areas_mm2(spacing)[code.ravel()[at]]


_CORNERS = [(k, j, i) for k in (0, 1) for j in (0, 1) for i in (0, 1)]
"""The eight voxels around a corner; voxel n is bit n of the code."""


def _areas_mm2(spacing_zyx_mm: Array) -> Array:
    """(256,) area of the surface element of each code."""
    z, y, x = spacing_zyx_mm
    face_mm2 = np.array([y * x, z * x, z * y]) / 4.0  # a quarter of each face touches the corner
    return np.linalg.norm(_quarter_faces() * face_mm2, axis=2).sum(axis=1)


@cache
def _quarter_faces() -> Array:
    """(256, 4, 3) by code: net number of quarter faces across z, y and x of each piece of the surface.

    The surface is that of the voxels inside, by pieces that share faces: at most four.
    """
    net = np.zeros((256, 4, 3))
    for code in range(256):
        inside = np.array([code >> bit & 1 for bit in range(8)], bool).reshape(2, 2, 2)
        # of two complementary codes the one with fewer voxels says the pieces: it has the same surface
        pieces, n = label(inside if inside.sum() <= 4 else ~inside)
        for p in range(n):
            piece = (pieces == p + 1).astype(int)
            for axis in range(3):
                net[code, p, axis] = np.diff(piece, axis=axis).sum()
    return net


def _nearest_mm(from_points: Array, to_points: Array) -> Array:
    # points on a lattice have many equal coordinates, which a balanced tree is slow to sort
    distance, _ = cKDTree(to_points, balanced_tree=False, compact_nodes=False).query(from_points)
    return np.asarray(distance, float)


def _percentile(distance_mm: Array, area_mm2: Array, percent: float) -> float:
    order = np.argsort(distance_mm, kind="stable")
    share = np.cumsum(area_mm2[order])
    # rounding of the sum must not push the limit beyond the last element
    first = np.searchsorted(share, share[-1] * (percent / 100.0) * (1.0 - 1e-12))
    return float(distance_mm[order][min(int(first), len(order) - 1)])


def _refuse_other_shape(a_zyx: Mask, b_zyx: Mask) -> None:
    if a_zyx.shape != b_zyx.shape:
        raise ValueError(f"masks of shapes {a_zyx.shape} and {b_zyx.shape}; need one grid")

"""A stack of parallel pixel planes in patient coordinates: where every voxel of an image or a dose lies.

Patient coordinates are DICOM's LPS in mm. Arrays are (z, y, x) = (plane, row, column). Directions come from the
direction cosines alone; no patient position and no slice order flips anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DIRECTION_TOLERANCE = 1e-3
"""Deviation of a direction cosine triple from unit length, and of their product from 0, that is still rounding."""

ORIGIN_TOLERANCE_MM = 1e-3
"""Two grids agree when their origins and planes differ by no more than this."""

SPACING_RELATIVE_TOLERANCE = 1e-5
"""Two grids agree when their pixel spacings differ by no more than this share."""

UNIFORM_TOLERANCE_MM = 1e-2
"""Plane gaps that differ by no more than this count as uniform (positions are written with few decimals)."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Pixel planes with common in-plane axes.

    origin_xyz_mm: (3,) patient position of the centre of pixel (row 0, column 0) of plane 0. row_direction: (3,) unit
    vector of increasing column index (first triple of ImageOrientationPatient); column_direction: (3,) of increasing
    row index (second triple), PS3.3 C.7.6.2.1.1. column_spacing_mm: between columns (PixelSpacing[1]);
    row_spacing_mm: between rows (PixelSpacing[0]). plane_offsets_mm: (n,) along the normal from plane 0, which has
    offset 0; strictly monotonic, either way, and not necessarily uniform. Raises ValueError when these do not hold.
    """

    origin_xyz_mm: Array
    row_direction: Array
    column_direction: Array
    column_spacing_mm: float
    row_spacing_mm: float
    plane_offsets_mm: Array
    rows: int
    columns: int

    def __post_init__(self) -> None:
        for name in ("origin_xyz_mm", "row_direction", "column_direction"):
            object.__setattr__(self, name, _vector(name, getattr(self, name)))
        row, column = self.row_direction, self.column_direction
        for name, direction in (("row_direction", row), ("column_direction", column)):
            length = float(np.linalg.norm(direction))
            if abs(length - 1.0) > DIRECTION_TOLERANCE:
                raise ValueError(f"{name} {direction.tolist()} has length {length:.6g}; need 1")
        if abs(float(row @ column)) > DIRECTION_TOLERANCE:
            raise ValueError(f"row_direction and column_direction have product {row @ column:.6g}; need 0")
        for name in ("column_spacing_mm", "row_spacing_mm"):
            spacing = float(getattr(self, name))
            if not (np.isfinite(spacing) and spacing > 0.0):
                raise ValueError(f"{name} is {spacing}; need a positive number of mm")
            object.__setattr__(self, name, spacing)
        for name in ("rows", "columns"):
            if int(getattr(self, name)) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; need at least 1")
            object.__setattr__(self, name, int(getattr(self, name)))
        object.__setattr__(self, "plane_offsets_mm", _offsets(self.plane_offsets_mm))

    @classmethod
    def from_dicom_like(
        cls,
        iop: Sequence[float],
        ipp: Sequence[float],
        pixel_spacing: Sequence[float],
        offsets: ArrayLike,
        rows: int,
        columns: int,
    ) -> Grid:
        """Grid from the values of ImageOrientationPatient (6), ImagePositionPatient of plane 0 (3), PixelSpacing
        (between rows, between columns; mm), and the planes' offsets along the normal from plane 0 (mm, first 0).

        Raises ValueError for wrong counts and for anything that is not finite, unit, orthogonal or monotonic.
        """
        for name, values, count in (("iop", iop, 6), ("ipp", ipp, 3), ("pixel_spacing", pixel_spacing, 2)):
            if len(values) != count:
                raise ValueError(f"{name} has {len(values)} values; need {count}")
        return cls(
            origin_xyz_mm=np.asarray(ipp, float),
            row_direction=np.asarray(iop[:3], float),
            column_direction=np.asarray(iop[3:], float),
            column_spacing_mm=float(pixel_spacing[1]),
            row_spacing_mm=float(pixel_spacing[0]),
            plane_offsets_mm=np.asarray(offsets, float),
            rows=rows,
            columns=columns,
        )

    @property
    def normal(self) -> Array:
        """Unit vector (3,) of increasing plane offset: row_direction x column_direction."""
        normal = np.cross(self.row_direction, self.column_direction)
        return normal / np.linalg.norm(normal)

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """(planes, rows, columns)."""
        return len(self.plane_offsets_mm), self.rows, self.columns

    @property
    def plane_origins_xyz_mm(self) -> Array:
        """(n, 3) patient position of pixel (0, 0) of every plane."""
        return self.origin_xyz_mm + self.plane_offsets_mm[:, None] * self.normal

    @property
    def plane_spacing_mm(self) -> float | None:
        """Median distance between neighbouring planes; None for a single plane."""
        if len(self.plane_offsets_mm) < 2:
            return None
        gaps = np.sort(np.abs(np.diff(self.plane_offsets_mm)))  # np.median brings numpy.ma with it, slow to import
        return float(gaps[(len(gaps) - 1) // 2] + gaps[len(gaps) // 2]) / 2.0

    @property
    def is_uniform(self) -> bool:
        """Whether all plane gaps agree within UNIFORM_TOLERANCE_MM (true for one plane)."""
        gaps = np.diff(self.plane_offsets_mm)
        return bool(len(gaps) == 0 or np.ptp(gaps) <= UNIFORM_TOLERANCE_MM)

    def plane_bounds_mm(self, *, single_plane_thickness_mm: float | None = None) -> Array:
        """(n, 2) lower and upper offset of the layer that each plane stands for: half the gap to its neighbours.

        End planes reach out by half their only gap. A single plane needs `single_plane_thickness_mm`, else ValueError.
        """
        offsets = self.plane_offsets_mm
        if len(offsets) == 1:
            if single_plane_thickness_mm is None:
                raise ValueError("a grid of one plane has no thickness; need single_plane_thickness_mm")
            return np.array([[-0.5, 0.5]]) * single_plane_thickness_mm + offsets[:, None]
        middles = 0.5 * (offsets[1:] + offsets[:-1])
        edges = np.r_[2.0 * offsets[0] - middles[0], middles, 2.0 * offsets[-1] - middles[-1]]
        return np.sort(np.c_[edges[:-1], edges[1:]], axis=1)

    @property
    def patient_to_plane_matrix(self) -> Array:
        """(3, 4) matrix that takes (x, y, z, 1) in patient mm to (offset along the normal in mm, row, column)."""
        axes = np.c_[
            self.normal, self.column_direction * self.row_spacing_mm, self.row_direction * self.column_spacing_mm
        ]
        inverse = np.linalg.inv(axes)
        return np.c_[inverse, -inverse @ self.origin_xyz_mm]

    def patient_to_index_zyx(self, points_xyz_mm: ArrayLike) -> Array:
        """Continuous (plane, row, column) index of patient points, (..., 3) to (..., 3).

        Between planes the index runs linearly; beyond the end planes it goes on with the end gap. Raises ValueError on
        a grid of one plane for a point off that plane.
        """
        points = np.asarray(points_xyz_mm, float)
        matrix = self.patient_to_plane_matrix
        index = points @ matrix[:, :3].T + matrix[:, 3]
        index[..., 0] = self._plane_index(index[..., 0])
        return index

    def index_zyx_to_patient(self, index_zyx: ArrayLike) -> Array:
        """Patient position (x, y, z) in mm of continuous (plane, row, column) indices, (..., 3) to (..., 3)."""
        index = np.asarray(index_zyx, float)
        return (
            self.origin_xyz_mm
            + self._plane_offset(index[..., 0])[..., None] * self.normal
            + index[..., 1:2] * (self.column_direction * self.row_spacing_mm)
            + index[..., 2:3] * (self.row_direction * self.column_spacing_mm)
        )

    def _plane_index(self, offset_mm: Array) -> Array:
        offsets = self.plane_offsets_mm
        if len(offsets) == 1:
            if np.any(np.abs(offset_mm - offsets[0]) > ORIGIN_TOLERANCE_MM):
                raise ValueError(f"point off the only plane by {np.abs(offset_mm).max():.6g} mm; need a second plane")
            return np.zeros_like(offset_mm)
        sign = 1.0 if offsets[1] > offsets[0] else -1.0
        below = np.clip(np.searchsorted(sign * offsets, sign * offset_mm, side="right") - 1, 0, len(offsets) - 2)
        return below + (offset_mm - offsets[below]) / (offsets[below + 1] - offsets[below])

    def _plane_offset(self, plane_index: Array) -> Array:
        offsets = self.plane_offsets_mm
        if len(offsets) == 1:
            if np.any(np.abs(plane_index) > ORIGIN_TOLERANCE_MM):
                raise ValueError(f"plane index {np.abs(plane_index).max():.6g} on a grid of one plane; need 0")
            return np.zeros_like(plane_index)
        below = np.clip(np.floor(plane_index).astype(int), 0, len(offsets) - 2)
        return offsets[below] + (plane_index - below) * (offsets[below + 1] - offsets[below])

    def matches(self, other: Grid, *, tolerance_mm: float = ORIGIN_TOLERANCE_MM) -> bool:
        """Whether both grids have the same shape and every voxel of one lies within tolerance_mm of the other's."""
        if self.shape_zyx != other.shape_zyx:
            return False
        last = np.array(self.shape_zyx) - 1
        ends = np.array([[k, j * last[1], i * last[2]] for k in range(last[0] + 1) for j in (0, 1) for i in (0, 1)])
        gap = np.linalg.norm(self.index_zyx_to_patient(ends) - other.index_zyx_to_patient(ends), axis=1)
        return bool(
            gap.max() <= tolerance_mm
            and np.isclose(self.row_spacing_mm, other.row_spacing_mm, rtol=SPACING_RELATIVE_TOLERANCE, atol=0)
            and np.isclose(self.column_spacing_mm, other.column_spacing_mm, rtol=SPACING_RELATIVE_TOLERANCE, atol=0)
        )

    def __eq__(self, other: object) -> bool:
        """Equality within the named tolerances, see `matches`."""
        return self.matches(other) if isinstance(other, Grid) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equality within a tolerance is not transitive

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`; Python writes float64 so that reading returns the same bits."""
        return {
            "frame": "patient LPS, mm",
            "origin_xyz_mm": self.origin_xyz_mm.tolist(),
            "row_direction": self.row_direction.tolist(),
            "column_direction": self.column_direction.tolist(),
            "column_spacing_mm": self.column_spacing_mm,
            "row_spacing_mm": self.row_spacing_mm,
            "plane_offsets_mm": self.plane_offsets_mm.tolist(),
            "rows": self.rows,
            "columns": self.columns,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Grid:
        """The grid that `to_json` described. Raises KeyError for a missing entry, ValueError for an impossible one."""
        names = (
            "origin_xyz_mm",
            "row_direction",
            "column_direction",
            "column_spacing_mm",
            "row_spacing_mm",
            "plane_offsets_mm",
            "rows",
            "columns",
        )
        return cls(**{name: values[name] for name in names})


def _vector(name: str, values: ArrayLike) -> Array:
    vector = np.array(values, dtype=np.float64)
    if vector.shape != (3,) or not np.all(np.isfinite(vector)):
        raise ValueError(f"{name} is {vector.tolist()}; need 3 finite numbers")
    return vector


def _offsets(values: ArrayLike) -> Array:
    offsets = np.array(values, dtype=np.float64)
    if offsets.ndim != 1 or len(offsets) < 1 or not np.all(np.isfinite(offsets)):
        raise ValueError(f"plane_offsets_mm has shape {offsets.shape} or is not finite; need (n,) finite numbers")
    gaps = np.diff(offsets)
    if len(gaps) and not (np.all(gaps > 0.0) or np.all(gaps < 0.0)):
        wrong = int(np.argmax(np.sign(gaps) != np.sign(gaps[0]))) if gaps[0] != 0.0 else 0
        raise ValueError(
            f"plane_offsets_mm goes from {offsets[wrong]:.6g} to {offsets[wrong + 1]:.6g} at plane {wrong + 1}; "
            "need strictly ascending or strictly descending"
        )
    if abs(offsets[0]) > ORIGIN_TOLERANCE_MM:
        raise ValueError(
            f"plane_offsets_mm starts at {offsets[0]:.6g}; need 0, because offsets count from plane 0 "
            "(take the first value away from absolute positions)"
        )
    return offsets

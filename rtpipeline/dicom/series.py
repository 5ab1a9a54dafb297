"""The slices of one image series: which belong together, in which order they lie, and where.

Only positions and direction cosines count (PS3.3 C.7.6.2.1.1): file names, instance numbers, slice locations and the
order in which slices arrive decide nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COSINE_TOLERANCE = 1e-3
"""Two slices are parallel when no direction cosine differs by more (0.06 degrees: rounding of three decimals)."""

ORTHOGONALITY_TOLERANCE = 1e-2
"""Row and column direction that are further from unit length or from a right angle are no geometry."""

SPACING_TOLERANCE_MM = 1e-3
"""Two slices have the same pixels when their pixel spacings differ by no more."""

DUPLICATE_TOLERANCE_MM = 0.01
"""Two planes nearer than this lie at one position (the finest scans have 0.1 mm between planes)."""

TILT_TOLERANCE_DEG = 0.5
"""Angle between the planes' normal and the line through their first pixels from which a series counts as sheared."""

DRIFT_TOLERANCE_PIXELS = 0.5
"""In-plane displacement from which another pixel would be nearest, so that it is corrected whatever the angle."""


class SeriesGeometryError(ValueError):
    """The slices give no usable geometry; the message says what was found."""


@dataclass(frozen=True)
class SliceHeader:
    """What one image plane says about itself; None for what it does not say.

    uid: SOP instance; frame: number within the instance, from 0. position_mm, orientation (6 cosines), pixel_spacing_mm
    (between rows, between columns) as in DICOM, patient LPS.
    """

    uid: str
    frame: int
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, ...] | None
    rows: int
    columns: int
    thickness_mm: float | None = None
    image_type: str = ""
    patient_position: str = ""
    temporal_position: int | None = None
    acquisition_number: int | None = None
    acquisition_time: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """Identity of the plane."""
        return self.uid, self.frame

    @property
    def is_localizer(self) -> bool:
        """Whether ImageType says that it is a scout."""
        return "LOCALIZER" in self.image_type.upper().split("\\")

    @property
    def has_geometry(self) -> bool:
        """Whether position, orientation and pixel spacing are there, finite, and of the right count."""
        parts = ((self.position_mm, 3), (self.orientation, 6), (self.pixel_spacing_mm, 2))
        if self.rows < 1 or self.columns < 1:
            return False
        if any(values is None or len(values) != count or not np.all(np.isfinite(values)) for values, count in parts):
            return False
        return min(self.pixel_spacing_mm or (0.0,)) > 0


def header_from_row(row: Mapping[str, Any]) -> SliceHeader:
    """The header of a single-frame image from its row of the private index."""

    def numbers(name: str) -> tuple[float, ...] | None:
        values = row.get(name)
        return tuple(float(v) for v in values) if values is not None else None

    return SliceHeader(
        uid=row["sop_instance_uid"],
        frame=0,
        position_mm=numbers("position"),
        orientation=numbers("orientation"),
        pixel_spacing_mm=numbers("pixel_spacing"),
        rows=int(row.get("rows") or 0),
        columns=int(row.get("columns") or 0),
        thickness_mm=row.get("slice_thickness"),
        image_type=row.get("image_type") or "",
        patient_position=row.get("patient_position") or "",
        temporal_position=row.get("temporal_position"),
        acquisition_number=row.get("acquisition_number"),
        acquisition_time=row.get("acquisition_time") or "",
    )


def orthonormal(orientation: Sequence[float]) -> tuple[Array, Array, Array]:
    """Row direction, column direction and their cross product as exact unit vectors.

    The column direction is turned within the plane until it is at right angles to the row direction, which removes the
    rounding of the stored cosines. Raises SeriesGeometryError when they are further off than rounding explains.
    """
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    product = float(row @ column)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(product)) > ORTHOGONALITY_TOLERANCE:
        raise SeriesGeometryError(
            f"direction cosines of lengths {lengths[0]:.4f} and {lengths[1]:.4f} with product {product:.4f}"
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return row, column, np.cross(row, column)


def split_by_geometry(slices: Iterable[SliceHeader]) -> list[list[SliceHeader]]:
    """Groups of parallel slices with equal pixels, the main one first.

    The main group is the one with most slices that are no localizers; ties go to the larger matrix, then to the smaller
    cosines, so that the order of the input plays no part. Every slice must have geometry.
    """
    groups: list[list[SliceHeader]] = []
    for item in sorted(slices, key=lambda s: (s.orientation, s.pixel_spacing_mm, s.key)):
        for group in groups:
            if _same_kind(item, group[0]):
                group.append(item)
                break
        else:
            groups.append([item])
    return sorted(
        groups,
        key=lambda g: (g[0].is_localizer, -len(g), -g[0].rows * g[0].columns, g[0].orientation, g[0].pixel_spacing_mm),
    )


def _same_kind(a: SliceHeader, b: SliceHeader) -> bool:
    def apart(left: Sequence[float] | None, right: Sequence[float] | None) -> float:
        return float(np.max(np.abs(np.subtract(left or (), right or ()))))

    return (
        (a.rows, a.columns, a.is_localizer) == (b.rows, b.columns, b.is_localizer)
        and apart(a.orientation, b.orientation) <= COSINE_TOLERANCE
        and apart(a.pixel_spacing_mm, b.pixel_spacing_mm) <= SPACING_TOLERANCE_MM
    )


@dataclass(frozen=True)
class PlaneStack:
    """Parallel planes in the order of their position along the normal.

    offsets_mm: (n,) along the normal from the first plane, ascending. shifts_mm: (n, 2) displacement of each plane's
    first pixel from the first plane's, along row and column direction: zero in a stack that is not sheared.
    """

    slices: tuple[SliceHeader, ...]
    row_direction: Array
    column_direction: Array
    normal: Array
    pixel_spacing_mm: tuple[float, float]
    offsets_mm: Array
    shifts_mm: Array

    @property
    def origin_mm(self) -> Array:
        """(3,) position of the first pixel of the first plane."""
        return np.array(self.slices[0].position_mm, float)

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Planes, rows, columns."""
        return len(self.slices), self.slices[0].rows, self.slices[0].columns

    @property
    def shear_deg(self) -> float:
        """Angle between the normal and the straight line through the planes' first pixels (least squares)."""
        centred = self.offsets_mm - self.offsets_mm.mean()
        denominator = float(centred @ centred)
        if denominator == 0.0:
            return 0.0
        slopes = centred @ self.shifts_mm / denominator
        return float(np.degrees(np.arctan(np.hypot(*slopes))))

    @property
    def largest_shift_pixels(self) -> float:
        """Largest in-plane displacement between two planes, in pixels of the direction it runs in."""
        spacing = np.array(self.pixel_spacing_mm[::-1])  # shifts run along the row (columns) first
        return float(np.max(np.ptp(self.shifts_mm, axis=0) / spacing))

    @property
    def is_sheared(self) -> bool:
        """Whether the planes must be moved within themselves before they form a rectangular volume."""
        return self.shear_deg > TILT_TOLERANCE_DEG or self.largest_shift_pixels > DRIFT_TOLERANCE_PIXELS

    def without(self, indices: Iterable[int]) -> PlaneStack:
        """The stack without some of its planes. Raises SeriesGeometryError when none is left."""
        gone = set(indices)
        return stack_planes([s for k, s in enumerate(self.slices) if k not in gone])


def stack_planes(slices: Sequence[SliceHeader]) -> PlaneStack:
    """Parallel slices sorted by the projection of their position on the common normal.

    Raises SeriesGeometryError without slices, or with direction cosines that are none.
    """
    if not slices:
        raise SeriesGeometryError("no slices")
    # the commonest cosines, so that neither order nor one slice's rounding decides
    counts = Counter(s.orientation for s in slices)
    orientation = min(counts, key=lambda o: (-counts[o], o))
    row, column, normal = orthonormal(orientation or ())
    positions = np.array([s.position_mm for s in slices], float)
    projections = positions @ normal
    order = sorted(range(len(slices)), key=lambda i: (projections[i], slices[i].key))
    displacement = positions[order] - positions[order[0]]
    spacings = np.array([s.pixel_spacing_mm for s in slices], float)
    between_rows, between_columns = (float(v) for v in np.median(spacings, axis=0))
    return PlaneStack(
        slices=tuple(slices[i] for i in order),
        row_direction=row,
        column_direction=column,
        normal=normal,
        pixel_spacing_mm=(between_rows, between_columns),
        offsets_mm=displacement @ normal,
        shifts_mm=np.c_[displacement @ row, displacement @ column],
    )


def duplicate_groups(stack: PlaneStack) -> list[list[int]]:
    """Indices of planes that share one position, for every position that has more than one."""
    groups, current = [], [0]
    for k in range(1, len(stack.slices)):
        if stack.offsets_mm[k] - stack.offsets_mm[current[0]] > DUPLICATE_TOLERANCE_MM:
            groups.append(current)
            current = []
        current.append(k)
    groups.append(current)
    return [g for g in groups if len(g) > 1]


SEPARATORS: tuple[tuple[str, Callable[[SliceHeader], Any]], ...] = (
    ("temporal position", lambda s: s.temporal_position),
    ("acquisition number", lambda s: s.acquisition_number),
    ("acquisition time", lambda s: s.acquisition_time or None),
    ("image type", lambda s: s.image_type or None),
)
"""What tells slices at one position apart, the strongest first."""


@dataclass(frozen=True)
class Separation:
    """Slices at shared positions taken apart by a tag; `kept` is the part that is used."""

    by: str
    parts: int
    kept: tuple[SliceHeader, ...]
    referenced: bool
    """the part was chosen because a structure set references it"""


def separate_duplicates(slices: Sequence[SliceHeader], referenced: frozenset[str] = frozenset()) -> Separation | None:
    """The part of a series with one slice for each position, by the first tag that takes all duplicates apart.

    Of several parts the one that structure sets reference most is used, then the largest, then the first by the tag's
    value. A tag that splits the positions themselves into pieces (a part per slice) is no separator: the part used must
    hold at least half of all positions. None when no tag separates.
    """
    positions = len(_positions(stack_planes(slices)))
    for name, tag in SEPARATORS:
        parts: dict[Any, list[SliceHeader]] = {}
        for item in slices:
            parts.setdefault(tag(item), []).append(item)
        if len(parts) < 2 or None in parts or any(duplicate_groups(stack_planes(p)) for p in parts.values()):
            continue
        hits = {value: sum(s.uid in referenced for s in part) for value, part in parts.items()}
        best = min(parts, key=lambda value: (-hits[value], -len(parts[value]), value))
        if 2 * len(parts[best]) >= positions:
            kept = tuple(sorted(parts[best], key=lambda s: s.key))
            return Separation(name, len(parts), kept, hits[best] > 0)
    return None


def _positions(stack: PlaneStack) -> list[float]:
    shared = {k for group in duplicate_groups(stack) for k in group[1:]}
    return [float(v) for k, v in enumerate(stack.offsets_mm) if k not in shared]

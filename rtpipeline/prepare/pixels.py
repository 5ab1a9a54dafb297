"""From stored pixel values to HU, or to the unit of the modality: rescale and padding of one plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]

CT_FILL_HU = -1024.0
"""What stands where nothing was measured in a CT: the usual lowest value of 12-bit CT."""

OTHER_FILL = 0.0
"""... and in MR and PET: no signal."""

PADDING_BELOW_HU = -900.0
"""Declared padding of a CT above this is no padding: a wrong PixelPaddingValue of 0 would turn water into air."""

UNDECLARED_PADDING_HU = -1500.0
"""A CT value at or below this in a corner of the image is padding that nobody declared (-2000, -3024)."""


@dataclass(frozen=True)
class PixelScale:
    """How the stored values of one plane are to be read (PS3.3 C.7.6.3.1, C.7.5.1.1.2, C.8.2.1.1).

    slope, intercept: None when absent; a slope of 0 counts as absent. rescale_type: as written. padding: lowest and
    highest stored value that means "no pixel here", or None.
    """

    slope: float | None = None
    intercept: float | None = None
    rescale_type: str = ""
    padding: tuple[int, int] | None = None

    @property
    def is_stated(self) -> bool:
        """Whether slope and intercept are both there."""
        return self.slope is not None and self.intercept is not None


def scale_from_dataset(ds: Any, transformation: Any = None) -> PixelScale:
    """The scale of a pydicom Dataset; `transformation` is the item that holds the rescale of an enhanced frame."""
    source = transformation if transformation is not None else ds
    slope, intercept = _number(source, "RescaleSlope"), _number(source, "RescaleIntercept")
    return PixelScale(
        slope=slope or None,
        intercept=intercept,
        rescale_type=str(source.get("RescaleType") or "").strip().upper(),
        padding=_padding(ds),
    )


def _number(ds: Any, keyword: str) -> float | None:
    value = ds.get(keyword)
    if value is None or value == "":
        return None
    number = float(value)
    return number if np.isfinite(number) else None


def _padding(ds: Any) -> tuple[int, int] | None:
    """PixelPaddingValue and PixelPaddingRangeLimit as stored values of the plane's own sign.

    Writers disagree on the sign (63536 for -2000), so the value is wrapped into the range that the pixels can have.
    """
    value = ds.get("PixelPaddingValue")
    if value is None or isinstance(value, bytes | str):
        return None
    limit = ds.get("PixelPaddingRangeLimit")
    bits = int(ds.get("BitsAllocated") or 16)
    signed = int(ds.get("PixelRepresentation") or 0) == 1

    def wrapped(number: Any) -> int:
        stored = int(number) % (1 << bits)
        return stored - (1 << bits) if signed and stored >= 1 << (bits - 1) else stored

    ends = sorted((wrapped(value), wrapped(limit if limit is not None else value)))
    return ends[0], ends[1]


def rescaled(stored: Values, scale: PixelScale) -> Values:
    """Values of a plane: int32 where slope and intercept are whole numbers, else float64. Unstated: as stored."""
    slope = 1.0 if scale.slope is None else scale.slope
    intercept = 0.0 if scale.intercept is None else scale.intercept
    if slope.is_integer() and intercept.is_integer() and stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        return stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    return stored.astype(np.float64) * slope + intercept


@dataclass(frozen=True)
class PlaneValues:
    """Values of one plane after rescale, with what was replaced.

    padded: pixels set to the fill value. undeclared: value of a padding that no tag declares, None otherwise.
    ignored: declared padding value that is none (it lies among the tissues), with pixels that have it.
    """

    values: Values
    padded: int = 0
    undeclared: float | None = None
    ignored: float | None = None


def plane_values(stored: Values, scale: PixelScale, *, is_hu: bool) -> PlaneValues:
    """Stored pixels (rows, columns) as values, padding replaced by the fill value where that is lower than any tissue.

    is_hu: whether the result is on the Hounsfield scale, where padding can be told from tissue by its value; otherwise
    declared padding becomes 0.
    """
    values = rescaled(stored, scale)
    declared = None
    if scale.padding is not None:
        low, high = scale.padding
        declared = (stored >= low) & (stored <= high)
        if not declared.any():
            declared = None
    if not is_hu:
        if declared is None:
            return PlaneValues(values)
        return PlaneValues(np.where(declared, values.dtype.type(OTHER_FILL), values), int(declared.sum()))
    ignored = undeclared = None
    mask = np.zeros(values.shape, bool)
    if declared is not None:
        highest = float(values[declared].max())
        if highest > PADDING_BELOW_HU:
            ignored = highest
        else:
            mask |= declared & (values < CT_FILL_HU)
    corner = _corner_padding(np.where(mask, values.dtype.type(CT_FILL_HU), values))
    if corner is not None:
        undeclared = corner
        mask |= values == corner
    if not mask.any():
        return PlaneValues(values, 0, None, ignored)
    return PlaneValues(np.where(mask, values.dtype.type(CT_FILL_HU), values), int(mask.sum()), undeclared, ignored)


def _corner_padding(values: Values) -> float | None:
    corners = np.array([values[0, 0], values[0, -1], values[-1, 0], values[-1, -1]], float)
    lowest = float(corners.min())
    return lowest if lowest <= UNDECLARED_PADDING_HU else None

"""Stored values of a dose grid: any number of bits, signed or not, either byte order, compressed or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rtpipeline.dicom.element_values import AnyDataset, conversion_errors, integer, unsigned
from rtpipeline.dicom.plain_file import PlainDataset

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

BITS_ALLOCATED = (8, 16, 32, 64)


@dataclass(frozen=True)
class DosePixels:
    """How the values are stored (PS3.3 C.8.8.3.4)."""

    frames: int
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    encoding: str
    """`little endian`, `big endian` or `compressed`"""

    @property
    def is_usual(self) -> bool:
        """32 bits, all of them used, unsigned, little endian: what a planning system writes today."""
        return self.bits_allocated == self.bits_stored == 32 and not self.signed and self.encoding == "little endian"

    def __str__(self) -> str:
        used = "" if self.bits_stored == self.bits_allocated else f" ({self.bits_stored} used)"
        return f"{self.bits_allocated} bits{used} {'signed' if self.signed else 'unsigned'}, {self.encoding}"


class DosePixelError(ValueError):
    """The pixel data does not give the grid's values; the message says why."""


def has_pixels(ds: AnyDataset) -> bool:
    """Whether there is pixel data at all (an empty element is none)."""
    return bool("PixelData" in ds and ds.get_item("PixelData").value)


def describe(ds: AnyDataset) -> DosePixels:
    """How the pixel data is stored.

    Raises
    ------
    DosePixelError: rows, columns or bits are missing or impossible.
    """
    rows, columns = unsigned(ds, "Rows"), unsigned(ds, "Columns")
    allocated = unsigned(ds, "BitsAllocated")
    if not rows or not columns:
        raise DosePixelError(f"rows x columns is {rows} x {columns}")
    if allocated not in BITS_ALLOCATED:
        raise DosePixelError(f"BitsAllocated is {allocated}")
    frames = integer(ds, "NumberOfFrames")
    stored = unsigned(ds, "BitsStored") or allocated
    if not 1 <= stored <= allocated:
        raise DosePixelError(f"BitsStored is {stored} of {allocated}")
    signed = unsigned(ds, "PixelRepresentation")
    if signed not in (0, 1):
        raise DosePixelError(f"PixelRepresentation is {signed}")
    return DosePixels(
        frames=1 if frames is None else frames,
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=bool(signed),
        encoding=_encoding(ds),
    )


def _encoding(ds: AnyDataset) -> str:
    syntax = getattr(ds, "file_meta", {}).get("TransferSyntaxUID")
    if syntax is not None and syntax.is_transfer_syntax and syntax.is_encapsulated:
        return "compressed"
    # as read: without file meta the reader's own finding is all there is; a dataset made in memory is little endian
    little = ds.original_encoding[1] if ds.original_encoding[1] is not None else True
    return "little endian" if little else "big endian"


def stored_values(ds: AnyDataset) -> NDArray[np.integer]:
    """(frames, rows, columns) integers as stored, scaling not applied.

    Raises
    ------
    DosePixelError: what `describe` raises, too few bytes, or pixel data that does not decode.
    """
    pixels = describe(ds)
    shape = (pixels.frames, pixels.rows, pixels.columns)
    if pixels.encoding == "compressed" and not isinstance(ds, PlainDataset):
        return _decoded(ds, pixels)
    order = "<" if pixels.encoding == "little endian" else ">"
    dtype = np.dtype(f"{order}{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")
    data = ds.PixelData
    if len(data) < int(np.prod(shape)) * dtype.itemsize:
        raise DosePixelError(f"{len(data)} bytes of pixel data for {shape} values of {dtype.itemsize} bytes")
    values = np.frombuffer(data, dtype, count=int(np.prod(shape))).reshape(shape)
    unused = pixels.bits_allocated - pixels.bits_stored
    if unused:  # bits above the stored ones are not part of the value (PS3.5 8.1.1); the shift back restores the sign
        values = (values << unused) >> unused
    return values.astype(dtype.newbyteorder("="), copy=False)


def _decoded(ds: Dataset, pixels: DosePixels) -> NDArray[np.integer]:
    from rtpipeline.dicom.decoders import MAX_FRAME_BYTES, can_decode

    if not can_decode(ds.file_meta.TransferSyntaxUID):
        raise DosePixelError(f"no decoder for {ds.file_meta.TransferSyntaxUID.name}")
    if pixels.rows * pixels.columns * pixels.bits_allocated // 8 > MAX_FRAME_BYTES:
        raise DosePixelError(f"compressed planes of {pixels.rows} x {pixels.columns}")
    decoding_errors: tuple[type[Exception], ...] = (RuntimeError, IndexError, *conversion_errors())
    try:
        return np.asarray(ds.pixel_array).reshape(pixels.frames, pixels.rows, pixels.columns)
    except decoding_errors as error:
        raise DosePixelError(f"compressed pixel data does not decode: {type(error).__name__}") from None

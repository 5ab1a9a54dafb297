"""Pixel data of a series into one array, each object read once, in whatever order the export gives them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from rtpipeline.dicom.decoders import MAX_FRAME_BYTES, can_decode
from rtpipeline.dicom.deidentify import HEADER_KEYWORDS
from rtpipeline.dicom.enhanced import ENHANCED_CLASSES, frame_macro, headers_of_frames
from rtpipeline.dicom.series import PlaneStack, SliceHeader, header_from_row
from rtpipeline.prepare.pixels import PixelScale, plane_values, scale_from_dataset
from rtpipeline.prepare.volume import PlaneArray

Row = Mapping[str, Any]
Objects = Callable[[Sequence[Row]], Iterator[tuple[Row, Dataset]]]
"""Reads the objects of some rows of the private index; the order is the reader's."""

HOUNSFIELD_TYPES = frozenset({"", "HU", "HU_MOD"})
"""RescaleType of values on the Hounsfield scale; in a CT nothing stated means HU (PS3.3 C.8.2.1.1.2)."""

DECODE_ERRORS = (
    *(RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, EOFError),
    struct.error,
)
"""What pydicom and the decoders behind it raise on pixel data that cannot be decoded."""


@dataclass
class PlanesRead:
    """What came out of the files.

    planes: (n, rows, columns) in the stack's order, zeros where `failed`. failed: plane to finding code. scales: plane
    to its rescale. first: header of the lowest plane that could be read.
    """

    planes: PlaneArray
    first: Dataset | None = None
    failed: dict[int, str] = field(default_factory=dict)
    scales: dict[int, PixelScale] = field(default_factory=dict)
    padded: int = 0
    undeclared_padding: set[float] = field(default_factory=set)
    ignored_padding: set[float] = field(default_factory=set)

    def hounsfield(self, modality: str) -> list[bool]:
        """For each plane that was read, whether its values are HU."""
        return [is_hounsfield(modality, scale) for scale in self.scales.values()]


def is_hounsfield(modality: str, scale: PixelScale) -> bool:
    """Whether a plane's rescaled values are HU."""
    return modality == "CT" and scale.is_stated and scale.rescale_type in HOUNSFIELD_TYPES


def series_headers(rows: Iterable[Row], objects: Objects) -> list[SliceHeader]:
    """Headers of all planes of a series; only enhanced objects have to be opened for them."""
    rows = list(rows)
    enhanced = [r for r in rows if r["sop_class_uid"] in ENHANCED_CLASSES]
    headers = [header_from_row(r) for r in rows if r["sop_class_uid"] not in ENHANCED_CLASSES]
    if enhanced:
        for _, ds in objects(enhanced):
            headers += headers_of_frames(ds)
    return headers


def read_planes(rows: Sequence[Row], stack: PlaneStack, modality: str, objects: Objects) -> PlanesRead:
    """The rescaled values of every plane of a stack; planes that cannot be decoded are named, the others go on."""
    slots: dict[str, list[tuple[int, int]]] = {}
    for k, plane in enumerate(stack.slices):
        slots.setdefault(plane.uid, []).append((k, plane.frame))
    wanted = [r for r in rows if r["sop_instance_uid"] in slots]
    result = PlanesRead(PlaneArray(stack.shape_zyx))
    first_slot = len(stack.slices)
    seen: set[str] = set()
    for row, ds in objects(wanted):
        uid = row["sop_instance_uid"]
        seen.add(uid)
        lowest = min(k for k, _ in slots[uid])
        if _read_object(ds, slots[uid], modality, result) and lowest < first_slot:
            first_slot, result.first = lowest, _header_of(ds)
    for uid in sorted(slots.keys() - seen):
        result.failed.update(dict.fromkeys((k for k, _ in slots[uid]), "FILE_TRUNCATED"))
    return result


def _read_object(ds: Dataset, slots: Sequence[tuple[int, int]], modality: str, result: PlanesRead) -> bool:
    try:
        stored = _frames(ds)
        planes = [(k, stored[frame], _scale(ds, frame)) for k, frame in slots]
    except DECODE_ERRORS:
        syntax = str(getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", "") or "")
        code = "FILE_TRUNCATED" if not syntax or can_decode(syntax) else "FILE_COMPRESSED"
        result.failed.update(dict.fromkeys((k for k, _ in slots), code))
        return False
    for k, pixels, scale in planes:
        plane = plane_values(pixels, scale, is_hu=is_hounsfield(modality, scale))
        result.planes.put(k, plane.values)
        result.scales[k] = scale
        result.padded += plane.padded
        if plane.undeclared is not None:
            result.undeclared_padding.add(plane.undeclared)
        if plane.ignored is not None:
            result.ignored_padding.add(plane.ignored)
    return True


def _scale(ds: Dataset, frame: int) -> PixelScale:
    return scale_from_dataset(ds, frame_macro(ds, frame, "PixelValueTransformationSequence"))


def _frames(ds: Dataset) -> NDArray[Any]:
    """(frames, rows, columns) stored values. Raises ValueError for colour and for frames too large to be true."""
    if int(ds.get("SamplesPerPixel") or 1) != 1:
        raise ValueError(f"{ds.SamplesPerPixel} samples per pixel; need 1")
    frame_bytes = int(ds.get("Rows") or 0) * int(ds.get("Columns") or 0) * int(ds.get("BitsAllocated") or 0) // 8
    if frame_bytes > MAX_FRAME_BYTES:
        raise ValueError(f"frames of {frame_bytes} bytes; need at most {MAX_FRAME_BYTES}")
    stored = pixel_array(ds)
    return stored if stored.ndim == 3 else stored[np.newaxis]


def _header_of(ds: Dataset) -> Dataset:
    """The attributes that later headers are made from; those whose value cannot be decoded are left out."""
    header = Dataset()
    for keyword in HEADER_KEYWORDS:
        try:
            value = ds.get(keyword)
            if value is not None:
                setattr(header, keyword, value)
        except DECODE_ERRORS:
            continue
    return header


def contents_of(rows: Sequence[Row], objects: Objects) -> Callable[[Sequence[SliceHeader]], dict[tuple[str, int], str]]:
    """Digests of the stored pixels and rescale of some slices, read when asked for."""

    def digests(slices: Sequence[SliceHeader]) -> dict[tuple[str, int], str]:
        wanted = {s.uid: [t.frame for t in slices if t.uid == s.uid] for s in slices}
        found: dict[tuple[str, int], str] = {}
        for row, ds in objects([r for r in rows if r["sop_instance_uid"] in wanted]):
            uid = row["sop_instance_uid"]
            try:
                frames = _frames(ds)
                for frame in wanted[uid]:
                    scale = _scale(ds, frame)
                    stored = np.ascontiguousarray(frames[frame])
                    text = f"{stored.shape} {stored.dtype.str} {scale}".encode()
                    found[uid, frame] = hashlib.sha256(text + stored.tobytes()).hexdigest()
            except DECODE_ERRORS:
                continue
        return found

    return digests

"""Segmentation Storage (PS3.3 A.51) of a label map, on the pseudonymous headers of its image."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, SegmentationStorage

from rtpipeline import __version__
from rtpipeline.dicom.derived import (
    NO_DATE,
    NO_TIME,
    Code,
    Made,
    Rgb,
    add_header,
    content_uid,
    instances,
    one_text,
    save,
)
from rtpipeline.geometry.grid import Grid

TIMES = ("InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime", "ContributingEquipmentSequence")
"""What the library fills with the time of writing, and nobody needs (all Type 3)."""


@dataclass(frozen=True)
class Segment:
    """One structure of a label map: its number there, its name, what it is, on which side, and its colour."""

    label: int
    name: str
    category: Code
    kind: Code
    modifier: Code | None
    colour: Rgb


def write_seg(
    path: Path,
    values_zyx: NDArray[Any],
    grid: Grid,
    segments: Sequence[Segment],
    template: Sequence[Dataset],
    *,
    made: Made,
) -> None:
    """Write the labels as binary segments, one frame for each plane that a segment has; same content, same bytes.

    Frames lie on the planes of `grid`, which are the image's original ones but for those that were interpolated
    between them; where every plane is an original one each frame names its source instance. The file is deflated
    (PS3.5 A.5): a hundred segments are a few MB instead of hundreds.

    Parameters
    ----------
    values_zyx: (z, y, x) label numbers on `grid`, of uniform planes. segments: those to write; each must have a voxel.
    Segments are numbered from 1 in this order. template: headers of the image's original planes.

    Raises
    ------
    ValueError: no segment, no header, a grid of one plane, or a segment without voxels.
    """
    import highdicom as hd  # heavy, and part of the extra `segmentation`

    values = np.asarray(values_zyx)
    numbered = _numbered(values, segments)
    images = instances(template)
    parts: list[str | bytes] = [str(images[0].SeriesInstanceUID), made.description, *(repr(s) for s in segments)]
    parts += [repr(grid.to_json()), str(numbered.dtype), numbered.tobytes()]
    planes = np.flatnonzero(np.any(numbered, axis=(1, 2)))
    first, last = int(planes[0]), int(planes[-1]) + 1
    ds = hd.seg.Segmentation(
        source_images=[_plain_source(image, grid) for image in images],
        pixel_array=hd.Volume(
            numbered[first:last],
            _affine(grid, first),
            coordinate_system="PATIENT",
            frame_of_reference_uid=str(images[0].FrameOfReferenceUID),
        ),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(number, s, made) for number, s in enumerate(segments, start=1)],
        series_instance_uid=content_uid("segmentation series", parts),
        series_number=1,
        sop_instance_uid=content_uid("segmentation", parts),
        instance_number=1,
        manufacturer="RTpipeline",
        manufacturer_model_name="RTpipeline",
        software_versions=__version__,
        device_serial_number="1",
        content_label="SEGMENTATION",
        content_description=made.description,
        omit_empty_frames=True,
    )
    if images[0].SOPClassUID != CTImageStorage:
        _restore_class(ds, images[0].SOPClassUID)
    organization = content_uid("dimension organization", parts)
    for item in [*ds.DimensionOrganizationSequence, *ds.DimensionIndexSequence]:
        item.DimensionOrganizationUID = organization
    for keyword in TIMES:
        if keyword in ds:
            delattr(ds, keyword)
    add_header(ds, images[0], made, modality="SEG", sop_class_uid=SegmentationStorage)
    for keyword, value in (("ContentDate", NO_DATE), ("ContentTime", NO_TIME), ("ContentCreatorName", "")):
        setattr(ds, keyword, value)
    save(path, ds, DeflatedExplicitVRLittleEndian)


def _numbered(values: NDArray[Any], segments: Sequence[Segment]) -> NDArray[Any]:
    """Labels as numbers of segments, 1 for the first; other labels become background."""
    if not segments:
        raise ValueError("a segmentation needs at least one segment")
    sizes = np.bincount(values.ravel(), minlength=max(s.label for s in segments) + 1)
    empty = [s.name for s in segments if sizes[s.label] == 0]
    if empty:
        raise ValueError(f"segments without voxels: {', '.join(empty)}; only those that were found can be written")
    number_of = np.zeros(len(sizes), np.uint8 if len(segments) < 256 else np.uint16)
    for number, segment in enumerate(segments, start=1):
        number_of[segment.label] = number
    return number_of[values]


def _affine(grid: Grid, first_plane: int) -> NDArray[np.float64]:
    """(4, 4) from (plane, row, column) index, counted from `first_plane`, to patient mm."""
    if grid.plane_spacing_mm is None or not grid.is_uniform:
        raise ValueError("a segmentation needs a grid of two or more planes at one spacing")
    affine = np.eye(4)
    sign = float(np.sign(grid.plane_offsets_mm[1]))
    affine[:3, 0] = sign * grid.plane_spacing_mm * grid.normal
    affine[:3, 1] = grid.row_spacing_mm * grid.column_direction
    affine[:3, 2] = grid.column_spacing_mm * grid.row_direction
    affine[:3, 3] = grid.index_zyx_to_patient(np.array([first_plane, 0.0, 0.0]))
    return affine


def _plain_source(image: Dataset, grid: Grid) -> Dataset:
    """A header with what the library asks of a source image and then does not write.

    A thickness, which may be missing (Type 2). No name: patient and study come from `add_header`. The class of a
    single frame, because the library looks for the functional groups of an enhanced image, which no template has.
    """
    source = copy.deepcopy(image)
    source.SliceThickness = grid.plane_spacing_mm
    source.PatientName = ""
    source.SOPClassUID = CTImageStorage
    return source


def _restore_class(ds: Dataset, sop_class_uid: str) -> None:
    """Let references to source images state their class."""
    frames = ds.PerFrameFunctionalGroupsSequence
    named = [d.SourceImageSequence for frame in frames for d in frame.get("DerivationImageSequence", [])]
    named += [ds.SourceImageSequence, *(s.ReferencedInstanceSequence for s in ds.ReferencedSeriesSequence)]
    for item in (i for items in named for i in items):
        item.ReferencedSOPClassUID = sop_class_uid


def _described(number: int, segment: Segment, made: Made) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=one_text(segment.name),
        segmented_property_category=_coded(segment.category),
        segmented_property_type=_coded(segment.kind),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=made.algorithm_name, version=made.version, family=codes.DCM.ArtificialIntelligence
        ),
        display_color=hd.color.CIELabColor.from_rgb(*segment.colour),
    )
    if segment.modifier is not None:
        kind = described.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = DicomSequence([_coded(segment.modifier)])
    return described


def _coded(code: Code) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)

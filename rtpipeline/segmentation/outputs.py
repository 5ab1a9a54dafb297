"""All that a network leaves in the output of its stage: label map, DICOM SEG, RTSTRUCT, and rows of `segmentation`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from scipy import ndimage

from rtpipeline import __version__
from rtpipeline.dicom.derived import Made
from rtpipeline.dicom.write_rtstruct import OutlinedStructure, write_rtstruct
from rtpipeline.dicom.write_seg import Segment, write_seg
from rtpipeline.execution.context import StageContext
from rtpipeline.geometry.mask_outlines import mask_outlines
from rtpipeline.prepare.image_files import ImageGeometry, image_folder, load_geometry, load_template, load_values
from rtpipeline.segmentation.codes import segment
from rtpipeline.segmentation.label_map import LabelMap, write_label_map
from rtpipeline.segmentation.laterality import body_midline_x_mm
from rtpipeline.segmentation.measure import measure_label_map

SEG, RTSTRUCT = "seg.dcm", "rtstruct.dcm"
"""Beside the label map. Not written when no structure was found: neither may be empty."""

LIBRARIES = {"totalsegmentator": "TotalSegmentator", "custom": "nnunetv2"}
"""By source, the package whose version an object states."""


def write_outputs(out: Path, label_map: LabelMap, prepared: Path, context: StageContext) -> list[dict[str, Any]]:
    """Write the files of one label map and return its rows of `contracts.tables.SEGMENTATION`, all columns filled.

    Parameters
    ----------
    out: the stage's output folder. prepared: output of prepare_images, which has the image and its headers.

    Raises
    ------
    ValueError: the values do not lie on the grid, or a voxel has a label without a name.
    """
    image = image_folder(prepared, label_map.image_id)
    geometry = load_geometry(image)
    folder = write_label_map(out, label_map)
    write_dicom(folder, label_map, load_template(image))
    course = context.course()
    keys = {"cohort": context.cohort, "patient_id": course.patient_id, "course_id": course.course_id}
    provenance = {"stage_key": context.stage_key, "rtpipeline_version": __version__}
    measured = measure_label_map(
        label_map,
        modality=geometry.facts["modality"],
        body_midline=lambda: _body_midline_mm(image, geometry),
    )
    return [keys | row | provenance for row in measured]


def write_dicom(folder: Path, label_map: LabelMap, template: Sequence[Dataset]) -> None:
    """Write SEG and RTSTRUCT of the structures that were found, on the headers of the image's planes."""
    boxes = ndimage.find_objects(np.asarray(label_map.values))
    found = [label for label in sorted(label_map.names) if label <= len(boxes) and boxes[label - 1] is not None]
    if not found:
        return
    made, segments = made_by(label_map), [segment(label, label_map.names[label]) for label in found]
    write_seg(folder / SEG, label_map.values, label_map.grid, segments, template, made=made)
    structures = [_outlined(s, label_map, boxes[s.label - 1]) for s in segments]
    write_rtstruct(folder / RTSTRUCT, structures, template, made=made, label=label_map.model)


def made_by(label_map: LabelMap) -> Made:
    """Name and version of the network's library, as the objects state them."""
    library = LIBRARIES[label_map.source]
    try:
        version = importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"  # a label map that was made where the library was installed, and copied here
    return Made(f"{library} {label_map.model}", version, label_map.phantom)


def _outlined(described: Segment, label_map: LabelMap, box: tuple[slice, slice, slice]) -> OutlinedStructure:
    z, y, x = (int(part.start) for part in box)
    contours = mask_outlines(label_map.values[box] == described.label, label_map.grid, first_zyx=(z, y, x))
    return OutlinedStructure(described.label, described.name, contours, described.colour)


def _body_midline_mm(image: Path, geometry: ImageGeometry) -> float | None:
    """Of a CT, whose values tell air from body; None of any other image."""
    if geometry.facts["modality"] != "CT":
        return None
    return body_midline_x_mm(load_values(image), geometry.voxel)

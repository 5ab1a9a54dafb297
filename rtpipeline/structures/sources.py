"""Structures that networks found: every label of every label map, as an outline along its voxels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from scipy import ndimage

from rtpipeline.geometry.mask_outlines import mask_outline
from rtpipeline.geometry.outlines import Outline
from rtpipeline.segmentation.label_map import LabelMap, read_label_maps
from rtpipeline.structures.rows import RowWriter, Structure

NETWORK_STAGES = ("segmentation", "custom_models")


def label_maps(inputs: Mapping[str, Path]) -> Iterator[LabelMap]:
    """Label maps that the stages with networks left, one at a time: each is as large as its image."""
    prepared = inputs.get("prepare_images")
    for stage in NETWORK_STAGES:
        folder = inputs.get(stage)
        if folder is not None and prepared is not None:
            yield from read_label_maps(folder, prepared)


def network_structures(label_map: LabelMap, writer: RowWriter) -> Iterator[Structure]:
    """Every structure that the network was asked for, by label; `empty` where it found no voxel."""
    boxes = ndimage.find_objects(label_map.values, max_label=max(label_map.names, default=0))
    for label, name in sorted(label_map.names.items()):
        box = boxes[label - 1]
        if box is None:
            outline = Outline(label_map.grid.plane_spacing_mm)
        else:
            z, y, x = (int(part.start) for part in box)
            outline = mask_outline(label_map.values[box] == label, label_map.grid, first_zyx=(z, y, x))
        yield writer.of_voxels(
            outline,
            image_id=label_map.image_id,
            set_id=label_map.structure_set_id,
            source=label_map.source,
            structure_id=label_map.structure_id(label),
            name=name,
        )

"""Structures of a torso: the closed-form solids of its organs and targets, drawn on the planes of its CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rtpipeline.demo.anatomy import Anatomy
from rtpipeline.demo.grid import Xyz
from rtpipeline.demo.nominal import CORD_RADIUS_MM
from rtpipeline.demo.rois import Roi, draw
from rtpipeline.demo.solids import Capsule, Ellipsoid, EllipticTube, Shell, Solid, sphere

INTERPRETED_TYPES = {
    "BODY": "EXTERNAL",
    "GTV": "GTV",
    "CTV": "CTV",
    "PTV": "PTV",
    "PTV_HIGH": "PTV",
    "PTV_MIDDLE": "PTV",
    "PTV_LOW": "PTV",
    "RING": "CONTROL",
}
"""RTROIInterpretedType by structure key; ORGAN for all others."""

TARGET_MARGINS_MM = {"GTV": 0.0, "CTV": 5.0, "PTV": 10.0, "PTV_HIGH": 5.0, "PTV_MIDDLE": 9.0, "PTV_LOW": 14.0}
"""Around the lesion; targets are spheres."""

RING_MM = (10.0, 16.0)
"""Inner and outer radius of the ring around the PTV, beyond the lesion's radius."""

LUNG_CENTRE_MM = (69.0, 0.0, 405.0)
LUNG_SEMI_AXES_MM = (43.0, 62.0, 70.0)
"""An ellipsoid inside each lung, in the nominal anatomy."""

CORD_FROM_TO_MM = (275.0, 470.0)


def draw_structures(
    anatomy: Anatomy,
    names: Mapping[str, str],
    planes_z_mm: Sequence[float],
    *,
    keyhole: bool = False,
    number_step: int = 1,
) -> dict[str, Roi]:
    """The ROIs by key, in the order of `names` (key -> name); their numbers count up from 1 by `number_step`."""
    rois = {}
    for i, (key, name) in enumerate(names.items()):
        solid = structure_solid(anatomy, key, (min(planes_z_mm), max(planes_z_mm)), keyhole=keyhole)
        kind = INTERPRETED_TYPES.get(key, "ORGAN")
        rois[key] = draw(1 + i * number_step, name, kind, solid, planes_z_mm)
    return rois


def structure_solid(anatomy: Anatomy, key: str, image_z_mm: tuple[float, float], *, keyhole: bool = False) -> Solid:
    """The solid of one structure; the body's outline ends with the image (`image_z_mm`)."""
    lesion = anatomy.lesion
    centre = _xyz(lesion.centre_mm)
    if key in TARGET_MARGINS_MM:
        return sphere(centre, lesion.radius_mm + TARGET_MARGINS_MM[key])
    if key == "RING":
        inner, outer = (sphere(centre, lesion.radius_mm + margin) for margin in RING_MM)
        return Shell(outer, inner, keyhole)
    if key == "BODY":
        return _body(anatomy, image_z_mm)
    if key in ("LUNG_LEFT", "LUNG_RIGHT"):
        return _lung(anatomy, 1 if key == "LUNG_LEFT" else -1)
    if key == "CORD":
        return _cord(anatomy)
    shape = anatomy.ellipsoid(ORGAN_LABELS[key])
    return Ellipsoid(_xyz(shape.centre_mm), _xyz(shape.semi_axes_mm))


ORGAN_LABELS = {
    "HEART": "heart",
    "KIDNEY_LEFT": "kidney_left",
    "KIDNEY_RIGHT": "kidney_right",
    "BLADDER": "urinary_bladder",
}
"""Structures that are whole ellipsoids of the anatomy."""


def _xyz(values: np.ndarray) -> Xyz:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _body(anatomy: Anatomy, image_z_mm: tuple[float, float]) -> EllipticTube:
    knots, along_x, along_y = (tuple(float(v) for v in values) for values in anatomy.torso.outline_knots())
    x, y, _ = _xyz(anatomy.torso.offset_mm)
    return EllipticTube((x, y), knots, along_x, along_y, *image_z_mm)


def _lung(anatomy: Anatomy, side: int) -> Ellipsoid:
    x, y, z = LUNG_CENTRE_MM
    centre = anatomy.torso.point((side * x, y, z))
    return Ellipsoid(_xyz(centre), _xyz(np.array(LUNG_SEMI_AXES_MM) * anatomy.torso.scale))


def _cord(anatomy: Anatomy) -> Capsule:
    thoracic = [xy for name, xy in anatomy.cord_xy_mm.items() if "_T" in name]
    x, y = (float(v) for v in np.mean(thoracic, axis=0))
    bottom, top = (anatomy.torso.height(z) for z in CORD_FROM_TO_MM)
    return Capsule((x, y), bottom, top, CORD_RADIUS_MM)

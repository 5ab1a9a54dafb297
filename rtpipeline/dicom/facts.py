"""What an RT object refers to, and light facts about it: the `facts` column of the index, as JSON.

Shapes are the `*Facts` of `contracts/index.py`. An RT plan has no field for its kind: plans of the ion SOP class are
`ion`, those with application setups `brachy`, the others external beams (`photon`, which includes electrons).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from rtpipeline.contracts.index import (
    DoseFacts,
    PlanFacts,
    RecordFacts,
    ReferenceFacts,
    RegFacts,
    StructFacts,
)
from rtpipeline.dicom.values import Values, unique

ION_PLAN = "1.2.840.10008.5.1.4.1.1.481.8"
REFERENCED_UID = 0x00081155
FRAME_UID = 0x00200052
SAMPLED_POINTS = 64
"""Points that tell on which image's slices a structure set was drawn."""
RIGID_TOLERANCE = 1e-3
"""Of rotation matrices: DS holds 16 characters, vendors round to 6 digits or fewer."""


def facts_json(kind: str, sop_class_uid: str, values: Values, *, has_pixels: bool) -> str:
    """`facts` of an object of this kind; '' for images."""
    found: Mapping[str, Any]
    if kind == "image":
        return ""
    if kind == "rtstruct":
        found = struct_facts(values)
    elif kind == "rtplan":
        found = plan_facts(values, sop_class_uid)
    elif kind == "rtdose":
        found = dose_facts(values, has_pixels=has_pixels)
    elif kind == "reg":
        found = reg_facts(values)
    elif kind == "rtrecord":
        found = record_facts(values)
    else:
        found = reference_facts(values)
    return json.dumps(found, separators=(",", ":"), allow_nan=False)


def struct_facts(values: Values) -> StructFacts:
    """Of an RT Structure Set (PS3.3 A.19)."""
    frames = values.items(0x30060010)
    series, images = [], []
    for frame in frames:
        for study in frame.items(0x30060012):
            for one in study.items(0x30060014):
                series.append(one.uid(0x0020000E))
                images += [image.uid(REFERENCED_UID) for image in one.items(0x30060016)]
    rois = values.items(0x30060020)
    contours = 0
    with_contours = 0
    points: list[list[float]] = []
    for roi in values.items(0x30060039):
        drawn = roi.items(0x30060040)
        contours += len(drawn)
        with_contours += bool(drawn)
        for contour in drawn:
            images += [image.uid(REFERENCED_UID) for image in contour.items(0x30060016)]
            points += _first_point(contour)
    return StructFacts(
        label=values.text(0x30060002),
        approval_status=values.text(0x300E0002).upper(),
        frame_uids=unique([*(f.uid(FRAME_UID) for f in frames), *(r.uid(0x30060024) for r in rois)]),
        referenced_series=unique(series),
        referenced_images=unique(images),
        rois=len(rois),
        rois_with_contours=with_contours,
        contours=contours,
        contour_points=points[:: max(1, -(-len(points) // SAMPLED_POINTS))],
    )


def _first_point(contour: Values) -> list[list[float]]:
    """The first point of a closed planar contour, in patient mm; none for points and open lines."""
    if not contour.text(0x30060042).upper().startswith("CLOSED"):
        return []
    try:
        point = [float(text) for text in contour.raw(0x30060050).split(b"\\", 3)[:3]]
    except ValueError:
        return []
    return [point] if len(point) == 3 and all(map(math.isfinite, point)) else []


def plan_facts(values: Values, sop_class_uid: str) -> PlanFacts:
    """Of an RT Plan or RT Ion Plan (PS3.3 A.20, A.49)."""
    if sop_class_uid == ION_PLAN:
        plan_class = "ion"
    else:
        plan_class = "brachy" if values.items(0x300A0230) or values.raw(0x300A0202) else "photon"
    groups = [
        {
            "number": group.integer(0x300A0071),
            "fractions_planned": group.integer(0x300A0078),
            "beams": _integers(group, 0x300C0004, 0x300C0006),
            "setups": _integers(group, 0x300C000A, 0x300C000C),
        }
        for group in values.items(0x300A0070)
    ]
    prescribed = [
        reference.number(0x300A0026)
        for reference in values.items(0x300A0010)
        if reference.text(0x300A0020).upper() == "TARGET"
    ]
    return PlanFacts(
        label=values.text(0x300A0002),
        plan_class=plan_class,
        approval_status=values.text(0x300E0002).upper(),
        intent=values.text(0x300A000A).upper(),
        geometry=values.text(0x300A000C).upper(),
        structure_set_uid=next(iter(_referenced(values, 0x300C0060)), ""),
        referenced_plans=[
            {"uid": plan.uid(REFERENCED_UID), "relationship": plan.text(0x300A0055).upper()}
            for plan in values.items(0x300C0002)
        ],
        referenced_doses=_referenced(values, 0x300C0080),
        fraction_groups=groups,
        rx_gy=[dose for dose in prescribed if dose is not None],
    )


def dose_facts(values: Values, *, has_pixels: bool) -> DoseFacts:
    """Of an RT Dose (PS3.3 A.18). Beams and setups are those of every referenced plan and fraction group."""
    groups = [group for plan in values.items(0x300C0002) for group in plan.items(0x300C0020)]
    numbers = [number for group in groups if (number := group.integer(0x300C0022)) is not None]
    beams = [
        number
        for group in groups
        for number in [*_integers(group, 0x300C0004, 0x300C0006), *_integers(group, 0x300C000A, 0x300C000C)]
    ]
    return DoseFacts(
        units=values.text(0x30040002).upper(),
        dose_type=values.text(0x30040004).upper(),
        summation_type=values.text(0x3004000A).upper(),
        scaling=values.number(0x3004000E),
        plan_uids=_referenced(values, 0x300C0002),
        structure_set_uids=_referenced(values, 0x300C0060),
        fraction_group=numbers[0] if len(set(numbers)) == 1 else None,
        beams=beams,
        has_pixels=has_pixels,
        has_dvh=bool(values.items(0x30040050)),
        offsets=values.numbers(0x3004000C) or [],
    )


def reg_facts(values: Values) -> RegFacts:
    """Of a spatial registration (PS3.3 C.20.2): usable when it ties two frames of reference by rigid matrices."""
    items = values.items(0x00700308) or values.items(0x00640002)
    frames = unique([values.uid(FRAME_UID), *(i.uid(FRAME_UID) or i.uid(0x00640003) for i in items)])
    # MatrixRegistrationSequence > MatrixSequence; deformable ones state theirs before and after the grid
    matrices = [
        matrix for item in items for registration in item.items(0x00700309) for matrix in registration.items(0x0070030A)
    ]
    deformable = bool(values.items(0x00640002))
    types = unique(matrix.text(0x0070030C).upper() for matrix in matrices)
    if deformable:
        problem = "deformable"
    elif not matrices:
        problem = "no transformation matrix"
    elif len(frames) < 2:
        problem = f"{len(frames)} frame of reference UIDs, 2 needed"
    elif any(not is_rigid(matrix.numbers(0x300600C6)) for matrix in matrices):
        problem = "a matrix that is not rigid"
    else:
        problem = ""
    return RegFacts(frame_uids=frames, matrix_types=types, valid=not problem, problem=problem)


def is_rigid(matrix: list[float] | None) -> bool:
    """Whether 16 numbers, by rows, are a rotation and a shift in mm (PS3.3 C.20.2.1.1)."""
    if matrix is None or len(matrix) != 16 or matrix[12:] != [0.0, 0.0, 0.0, 1.0]:
        return False
    a, b, c = matrix[0:3], matrix[4:7], matrix[8:11]
    pairs = ((a, a), (b, b), (c, c), (a, b), (a, c), (b, c))
    products = [sum(x * y for x, y in zip(u, v, strict=True)) for u, v in pairs]
    determinant = (
        a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
    )
    wanted = (1, 1, 1, 0, 0, 0)
    close = all(abs(got - want) <= RIGID_TOLERANCE for got, want in zip(products, wanted, strict=True))
    return close and determinant > 0


def record_facts(values: Values) -> RecordFacts:
    """Of a treatment record (PS3.3 A.29, A.30, A.31, A.53): sessions of beams, ion beams or application setups."""
    sessions = [item for tag in (0x30080020, 0x30080021, 0x30080110) for item in values.items(tag)]
    numbers = [number for one in sessions if (number := one.integer(0x30080022)) is not None]
    return RecordFacts(
        plan_uids=_referenced(values, 0x300C0002),
        fraction_numbers=sorted(set(numbers)),
        date=values.text(0x30080250),
        time=values.text(0x30080251),
    )


def reference_facts(values: Values) -> ReferenceFacts:
    """Plans and series that any other object names at its top level."""
    return ReferenceFacts(
        plan_uids=_referenced(values, 0x300C0002),
        series_uids=unique(series.uid(0x0020000E) for series in values.items(0x00081115)),
    )


def _referenced(values: Values, sequence: int) -> list[str]:
    return unique(item.uid(REFERENCED_UID) for item in values.items(sequence))


def _integers(values: Values, sequence: int, tag: int) -> list[int]:
    return [number for item in values.items(sequence) if (number := item.integer(tag)) is not None]

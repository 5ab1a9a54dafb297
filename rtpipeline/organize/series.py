"""Image series as stacks of slices: each part holds slices of one orientation, size and acquisition.

Grouping is done on columns, for all series at once; only series that hold several volumes are looked at one by one.
Order, spacing and gaps of the slices are judged where the volume is made, in prepare_images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from rtpipeline.organize.columns import combined, row_groups, vectors
from rtpipeline.organize.image_class import is_localizer_type, modality_of
from rtpipeline.organize.objects import (
    Identity,
    ImagePart,
    ObjectColumns,
    ScanObject,
    common_fields,
    identity_at,
    ordinal,
    shown_on,
    uid_order,
)
from rtpipeline.organize.separate import (
    POSITION_TOLERANCE_MM,
    THICKNESS_TOLERANCE_MM,
    Separation,
    separate_repeats,
    separate_spacings,
)
from rtpipeline.organize.slice_planes import SlicePlanes

ORIENTATION_TOLERANCE = 2e-3
"""Of direction cosines (0.1 degree) and of pixel spacing (mm) within one stack; vendors write 4 to 6 digits."""
SCOUT_SLICES = 3
SCOUT_FRACTION = 0.1
"""A stack of another orientation or size with at most this many slices, or this part of the main stack, is a scout."""
SEPARATING = (
    "temporal_position",
    "acquisition_number",
    "image_comments",
    "series_description",
    "image_type",
    "slice_thickness",
    "acquisition_time",
)


@dataclass
class _Stacks:
    """Columns of the image rows: everything that splitting needs."""

    rows: np.ndarray
    series: np.ndarray
    stack: np.ndarray
    origin_mm: np.ndarray
    orientation: np.ndarray
    spacing_mm: np.ndarray
    shape_rc: np.ndarray
    position_mm: np.ndarray
    thickness_mm: np.ndarray
    localizer: np.ndarray


def image_parts(
    columns: ObjectColumns, rows: np.ndarray, referenced: Sequence[np.ndarray], first_number: int
) -> list[ScanObject]:
    """The image parts among these rows of the table, numbered from `first_number`.

    Parameters
    ----------
    rows: (n,) rows of usable image objects, in content order.
    referenced: for each structure set the indices into `rows` that it references.
    """
    if len(rows) == 0:
        return []
    stacks = _stacks(columns, rows)
    part, split_by, unseparable = _separated(columns, stacks, referenced)
    used = np.zeros(len(rows), dtype=bool)
    for slices in referenced:
        used[slices] = True
    return _described(columns, stacks, part, split_by, unseparable, used, first_number)


def _stacks(columns: ObjectColumns, rows: np.ndarray) -> _Stacks:
    """Series taken apart by frame of reference, size, orientation and scout; multi-frame objects stand alone."""
    modality = columns.text("sop_class_uid").codes[rows]
    series = combined(columns.text("series_uid").codes[rows], columns.text("patient_key").codes[rows], modality)
    localizer = columns.text("image_type").mask(is_localizer_type)[rows]
    frames = np.nan_to_num(columns.number("frames")[rows], nan=1.0)
    alone = np.where(frames > 1, np.arange(len(rows)), -1)
    group = combined(
        series,
        columns.text("frame_uid").codes[rows],
        localizer.astype(np.int64),
        np.nan_to_num(columns.number("rows")[rows], nan=-1.0),
        np.nan_to_num(columns.number("columns")[rows], nan=-1.0),
        alone,
    )
    taken = pa.array(rows)
    orientation = vectors(columns.values("orientation").take(taken), 6)
    spacing = vectors(columns.values("pixel_spacing").take(taken), 2)
    origin = vectors(columns.values("position").take(taken), 3)
    stack = combined(group, _alike(group, np.hstack([orientation, spacing])))
    normal = np.cross(orientation[:, :3], orientation[:, 3:])
    position_mm = np.einsum("ij,ij->i", origin, normal)
    shape = np.stack([columns.number("rows")[rows], columns.number("columns")[rows]], axis=1)
    thickness = columns.number("slice_thickness")[rows]
    return _Stacks(rows, series, stack, origin, orientation, spacing, shape, position_mm, thickness, localizer)


def _alike(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n,) number of the cluster within the group whose first member has values within the tolerance.

    Rows with a value missing join the largest cluster of their group.
    """
    label = np.zeros(len(group), dtype=np.int64)
    known = np.isfinite(values).all(axis=1)
    remaining, cluster = np.flatnonzero(known), 0
    while len(remaining):
        _, first, inverse = np.unique(group[remaining], return_index=True, return_inverse=True)
        reference = values[remaining[first]][inverse]
        near = np.abs(values[remaining] - reference).max(axis=1) <= ORIENTATION_TOLERANCE
        label[remaining[near]] = cluster
        remaining, cluster = remaining[~near], cluster + 1
    missing = np.flatnonzero(~known)
    if len(missing) and cluster > 1:
        pairs, counts = np.unique(np.stack([group[known], label[known]], axis=1), axis=0, return_counts=True)
        largest = {int(g): int(k) for (g, k), _ in sorted(zip(pairs.tolist(), counts, strict=True), key=lambda x: x[1])}
        label[missing] = [largest.get(int(g), 0) for g in group[missing]]
    return label


def _separated(
    columns: ObjectColumns, stacks: _Stacks, referenced: Sequence[np.ndarray]
) -> tuple[np.ndarray, dict[int, str], set[int]]:
    """Part of each row, what separated a part from its stack, and parts that could not be separated."""
    stack, position = stacks.stack, stacks.position_mm
    order = np.lexsort((position, stack))
    near = (np.diff(position[order]) < POSITION_TOLERANCE_MM) & (np.diff(stack[order]) == 0)
    repeated = set(np.unique(stack[order[1:][near]]).tolist()) if len(order) > 1 else set()
    mixed = _of_several_thicknesses(stack, stacks.thickness_mm) - repeated
    looked_at = repeated | mixed
    part = stack.copy()
    split_by: dict[int, str] = {}
    unseparable: set[int] = set()
    if not looked_at:
        return part, split_by, unseparable
    groups = row_groups(stack)
    sets_of = _sets_of_stacks(stack, referenced, looked_at)
    following = int(stack.max()) + 1
    for number in sorted(looked_at):
        members = groups[number]
        if stacks.localizer[members[0]]:
            continue
        inside = [np.searchsorted(members, slices) for slices in sets_of.get(number, [])]
        separation = (
            _of_repeats(columns, stacks, members, inside)
            if number in repeated
            else separate_spacings(position[members], stacks.thickness_mm[members], inside)
        )
        if not separation.separable:
            unseparable.add(number)
        labels = np.unique(separation.labels)
        for label in labels if len(labels) > 1 else []:
            part[members[separation.labels == label]] = following
            split_by[following] = separation.split_by if label >= 0 else "left_over"
            following += 1
    return part, split_by, unseparable


def _of_repeats(
    columns: ObjectColumns, stacks: _Stacks, members: np.ndarray, inside: Sequence[np.ndarray]
) -> Separation:
    """Separation of a stack; slices without a position go with the first volume."""
    rows, placed = stacks.rows[members], np.isfinite(stacks.position_mm[members])
    attributes = []
    for name in SEPARATING:
        if name in ("temporal_position", "acquisition_number", "slice_thickness"):
            values = np.nan_to_num(columns.number(name)[rows], nan=-1.0)
            codes = combined(np.round(values, 1))
        else:
            codes = columns.text(name).codes[rows]
        attributes.append((name, codes[placed]))
    to_placed = np.cumsum(placed) - 1
    sets = [to_placed[s[placed[s]]] for s in inside]
    found = separate_repeats(stacks.position_mm[members][placed], attributes, [s for s in sets if len(s)])
    labels = np.zeros(len(members), dtype=np.int64)
    labels[placed] = found.labels
    return Separation(labels, found.split_by, found.separable)


def _of_several_thicknesses(stack: np.ndarray, thickness_mm: np.ndarray) -> set[int]:
    order = np.lexsort((thickness_mm, stack))
    steps = (np.diff(thickness_mm[order]) > THICKNESS_TOLERANCE_MM) & (np.diff(stack[order]) == 0)
    return set(np.unique(stack[order[1:][steps]]).tolist()) if len(order) > 1 else set()


def _sets_of_stacks(
    stack: np.ndarray, referenced: Sequence[np.ndarray], wanted: set[int]
) -> dict[int, list[np.ndarray]]:
    """For each wanted stack, the slices of it that each structure set references."""
    found: dict[int, list[np.ndarray]] = {}
    for slices in referenced:
        for number in wanted.intersection(np.unique(stack[slices]).tolist()):
            found.setdefault(number, []).append(np.sort(slices[stack[slices] == number]))
    return found


def _described(
    columns: ObjectColumns,
    stacks: _Stacks,
    part: np.ndarray,
    split_by: dict[int, str],
    unseparable: set[int],
    used: np.ndarray,
    first_number: int,
) -> list[ScanObject]:
    """Parts as objects, in order of first appearance."""
    groups = row_groups(combined(part))
    largest: dict[int, int] = {}
    parts_of: dict[int, int] = {}
    for members in groups:
        series = int(stacks.series[members[0]])
        parts_of[series] = parts_of.get(series, 0) + 1
        if not stacks.localizer[members[0]]:
            largest[series] = max(largest.get(series, 0), len(members))
    identities = _identities(columns, stacks.rows, combined(part))
    days = _days(columns, stacks.rows)
    found = []
    for number, members in enumerate(groups):
        rows = stacks.rows[members]
        row, series, original = int(rows[0]), int(stacks.series[members[0]]), int(part[members[0]])
        main = largest.get(series, 0)
        scout = bool(stacks.localizer[members[0]]) or (
            len(members) < main
            and original not in split_by
            and not used[members].any()
            and len(members) <= max(SCOUT_SLICES, SCOUT_FRACTION * main)
        )
        fields = common_fields(columns, row, identities[number])
        known = days[members][np.isfinite(days[members])]
        found.append(
            ScanObject(
                number=first_number + number,
                kind="image",
                uid=columns.at("series_uid", row),
                order=uid_order(columns.at("sop_instance_uid", row)),
                rows=rows,
                **{**fields, "day": int(known.min()) if len(known) else None},
                image=ImagePart(
                    modality=modality_of(columns.at("sop_class_uid", row), columns.at("modality", row)),
                    image_class="localizer" if scout or split_by.get(original) == "left_over" else "",
                    instances=len(members),
                    image_type=columns.at("image_type", row),
                    description=columns.at("series_description", row),
                    comments=columns.at("image_comments", row),
                    contrast_agent=columns.at("contrast_agent", row),
                    patient_position=columns.at("patient_position", row),
                    separable=original not in unseparable,
                    split_from_series=parts_of[series] > 1,
                    split_by=split_by.get(original, ""),
                    planes=SlicePlanes.of(
                        stacks.origin_mm[members],
                        stacks.orientation[members[0]],
                        stacks.spacing_mm[members[0]],
                        *stacks.shape_rc[members[0]].tolist(),
                    ),
                ),
            )
        )
    return found


def _days(columns: ObjectColumns, rows: np.ndarray) -> np.ndarray:
    """(n,) ordinal of the day of each slice, NaN where unknown."""
    date, study = columns.text("date"), columns.text("study_date")
    pairs = combined(date.codes[rows], study.codes[rows])
    _, first = np.unique(pairs, return_index=True)
    found = [shown_on(ordinal(date.at(int(r))), ordinal(study.at(int(r)))) for r in rows[first]]
    return np.array([np.nan if day is None else day for day in found])[pairs]


def _identities(columns: ObjectColumns, rows: np.ndarray, part: np.ndarray) -> list[tuple[Identity, ...]]:
    """For each part the different identities its slices state."""
    names = ("patient_key", "patient_name", "birth_date")
    stated = combined(part, *(columns.text(name).codes[rows] for name in names))
    _, first = np.unique(stated, return_index=True)
    found: list[set[Identity]] = [set() for _ in range(int(part.max()) + 1)]
    for index in first.tolist():
        found[part[index]].add(identity_at(columns, int(rows[index])))
    return [tuple(sorted(one)) for one in found]

"""Doses that were written one plane to a file, joined into a grid where the planes are proved to belong together.

| planes of one plan, frame of reference, term, dose type and pixel grid | |
|---|---|
| one above the other, each place once, no gap above 1.5 times the median | one grid |
| one of them cannot be used; two at one place; beside one another; a gap | refused, all of them |

Planes of two series are not mixed unless every plane has a series of its own. Each plane keeps its own scaling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rtpipeline.dicom.rtdose import RtDose, is_negative, one_plane
from rtpipeline.geometry.grid import Grid

BESIDE_MM = 0.05
"""Planes whose origins lie further off their common normal are beside one another (positions have few decimals)."""

SAME_PLACE_MM = 0.1
"""Planes nearer than this are two doses of one place."""

LARGEST_GAP = 1.5
"""Of the median gap: beyond it a plane is missing, as between contours (DESIGN 5.3)."""

DECIMALS = 5
"""To which direction cosines and spacings of the planes of one grid agree."""


def join_planes(doses: Mapping[str, RtDose]) -> tuple[dict[str, RtDose], dict[str, tuple[str, ...]]]:
    """Doses with planes joined, and the ids of what was joined under the first of them."""
    groups: dict[tuple[object, ...], list[str]] = {}
    per_series = Counter(d.series_uid for d in doses.values() if d.plane is not None)
    for rtdose_id, dose in sorted(doses.items()):
        if dose.plane is not None:
            groups.setdefault(_key(dose, dose.plane.grid, per_series), []).append(rtdose_id)
    joined, members = dict(sorted(doses.items())), {}
    for ids in groups.values():
        if len(ids) < 2:
            continue
        planes = [doses[i] for i in ids]
        order, problem = _stacked(planes)
        if problem:
            name = f"{ids[0]} ... {ids[-1]}"
            for rtdose_id in ids:
                joined[rtdose_id] = replace(joined[rtdose_id], findings=[])
            found = one_plane(name, f"{len(ids)} objects of one plane: {problem}")
            joined[ids[0]] = replace(joined[ids[0]], findings=[found])
            continue
        joined[ids[0]] = _grid_of(ids[0], [planes[k] for k in order])
        members[ids[0]] = tuple(ids)
        for rtdose_id in ids[1:]:
            del joined[rtdose_id]
    return joined, members


def _key(dose: RtDose, plane: Grid, per_series: Mapping[str, int]) -> tuple[object, ...]:
    """What planes of one grid have in common."""
    geometry = [*plane.row_direction, *plane.column_direction, plane.row_spacing_mm, plane.column_spacing_mm]
    return (
        dose.plans,
        dose.structure_set_uids,
        dose.frame_uid,
        dose.summation_type,
        dose.dose_type,
        dose.units,
        dose.spatial_transform,
        plane.rows,
        plane.columns,
        tuple(round(float(v), DECIMALS) for v in geometry),
        dose.series_uid if per_series[dose.series_uid] > 1 else "",
    )


def _stacked(doses: Sequence[RtDose]) -> tuple[NDArray[np.intp], str]:
    """The order of planes along their normal, and why they are not one grid ('' when they are)."""
    grids = [d.plane.grid for d in doses if d.plane is not None]
    normal = grids[0].normal
    origins = np.array([g.origin_xyz_mm for g in grids]) - grids[0].origin_xyz_mm
    offsets = origins @ normal
    order = np.argsort(offsets, kind="stable")
    gaps = np.diff(offsets[order])
    unusable = sum(d.plane is None or d.plane.stored is None for d in doses)
    if unusable:
        return order, f"{unusable} of them cannot be used"
    if not doses[0].plans and len({d.series_uid for d in doses}) > 1:
        return order, "neither a plan nor a series that they have in common"
    if np.abs(origins - offsets[:, None] * normal).max() > BESIDE_MM:
        return order, "planes beside one another"
    if gaps.min() < SAME_PLACE_MM:
        return order, "two planes at one place"
    if gaps.max() > LARGEST_GAP * float(np.median(gaps)):
        return order, f"a gap of {gaps.max():.2f} mm between planes {float(np.median(gaps)):.2f} mm apart"
    return order, ""


def _grid_of(name: str, doses: Sequence[RtDose]) -> RtDose:
    """One dose of planes in ascending order, with what each says of itself but that it is a single plane."""
    first, grids = doses[0], [d.plane.grid for d in doses if d.plane is not None]
    offsets = np.array([(g.origin_xyz_mm - grids[0].origin_xyz_mm) @ grids[0].normal for g in grids])
    planes = [d.plane.stored for d in doses if d.plane is not None and d.plane.stored is not None]
    scalings = [d.scaling_gy for d in doses if d.scaling_gy is not None]
    stored: NDArray[np.integer] | NDArray[np.float64] = np.concatenate(planes)
    if len(set(scalings)) > 1:
        stored = np.concatenate([np.multiply(p, s, dtype=np.float64) for p, s in zip(planes, scalings, strict=True)])
    scaling = scalings[0] if len(set(scalings)) == 1 else 1.0
    found = {(f.code, f.measured): f for d in doses for f in d.findings if f.code != "DOSE_GRID_INCOMPLETE"}
    findings = list(found.values())
    refused = is_negative(float(stored.min()) * scaling, float(stored.max()) * scaling, name, findings)
    return replace(
        first,
        grid=None if refused else replace(grids[0], plane_offsets_mm=offsets),
        stored=None if refused else stored,
        scaling_gy=scaling,
        plane=None,
        findings=findings,
    )

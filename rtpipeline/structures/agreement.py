"""Where two sources, or two structure sets, have the same structure on one image: how far they agree.

Structures are paired by their TG-263 name. Numbers are those of the voxel masks on the image's grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtpipeline import __version__
from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.geometry.grid import Grid
from rtpipeline.nomenclature.targets import is_target
from rtpipeline.structures.surfaces import dice, hd95_mm, surface_dice, surface_distances

SURFACE_TOLERANCE_MM = 3.0
"""Tolerance of surface Dice: about what observers differ by for organs (Nikolov 2018 has 1 to 3 mm), and a CT plane."""

LEAST_DICE = 0.5
"""Below this two structures of one name are probably not the same thing, or one of them failed."""

ORDER = ("manual", "custom", "totalsegmentator", "derived")
"""Sources that are compared, the one that comes first in a row first. `cropped` is a part of another by intention."""


class BoxedMask(Protocol):
    """A mask cut to its box, as `structures.masks.StructureMask` is."""

    @property
    def mask_zyx(self) -> NDArray[np.bool_]:
        """(z, y, x) bool, the box alone."""

    @property
    def offset_zyx(self) -> tuple[int, int, int]:
        """Where the box begins on the grid."""

    @property
    def grid(self) -> Grid:
        """The voxel grid of the whole image."""


Masks = Callable[[str, str], BoxedMask | None]
"""Mask by structure_set_id and structure_id; None where there is none."""


def agreement_rows(
    structures: Iterable[Mapping[str, Any]],
    masks: Masks,
    *,
    stage_key: str,
    tolerance_mm: float = SURFACE_TOLERANCE_MM,
    least_dice: float = LEAST_DICE,
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Rows of the table `agreement`, sorted by its key, and the findings about pairs that do not agree.

    Parameters
    ----------
    structures: rows of the table `structures` of one course, of every source.
    masks: such as `StructureReader.mask`; each mask is asked for once for each name and image.
    tolerance_mm: of surface Dice.
    least_dice: a Dice below it is the finding SS_SOURCES_DISAGREE, but for targets, which two plans draw for two
        purposes.

    Notes
    -----
    Two structures of one set are no pair, even when they have one name. Status is `ok`; `empty`, a mask has no voxels
    on the image or the structure is empty; `no_mask`, a structure has none (no volume, or not on this image);
    `no_thickness`, the image is a single plane.
    """
    rows: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for group in _same_name(structures):
        found = [masks(s["structure_set_id"], s["structure_id"]) if s["status"] == "ok" else None for s in group]
        for i, j in combinations(range(len(group)), 2):
            a, b = group[i], group[j]
            if a["structure_set_id"] == b["structure_set_id"] and a["structure_source"] == b["structure_source"]:
                continue
            row = _row(a, b, found[i], found[j], tolerance_mm) | {
                "stage_key": stage_key,
                "rtpipeline_version": __version__,
            }
            rows.append(row)
            if row["dice"] is not None and row["dice"] < least_dice and not is_target(row["structure_name_tg263"]):
                findings.append(_disagree(row, least_dice))
    return sorted(rows, key=lambda r: (r["structure_id_a"], r["structure_id_b"])), findings


def _same_name(structures: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Structures of one name on one image, two or more, in the order of sources."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in structures:
        name, image_id = one["structure_name_tg263"], one["image_id"]
        if name and image_id and one["structure_source"] in ORDER:
            groups.setdefault((image_id, name), []).append(one)
    return [
        sorted(g, key=lambda s: (ORDER.index(s["structure_source"]), s["structure_set_id"], s["structure_id"]))
        for _, g in sorted(groups.items())
        if len(g) > 1
    ]


def _row(
    a: Mapping[str, Any], b: Mapping[str, Any], mask_a: BoxedMask | None, mask_b: BoxedMask | None, tolerance_mm: float
) -> dict[str, Any]:
    row: dict[str, Any] = {
        **{k: a[k] for k in ("cohort", "patient_id", "course_id", "image_id", "structure_name_tg263")},
        **{f"{k}_a": a[k] for k in ("structure_id", "structure_source")},
        **{f"{k}_b": b[k] for k in ("structure_id", "structure_source")},
        "volume_a_cc": _volume_cc(mask_a),
        "volume_b_cc": _volume_cc(mask_b),
        **dict.fromkeys(("dice", "hd95_mm", "surface_dice", "surface_dice_tolerance_mm")),
    }
    if mask_a is None or mask_b is None:
        missing = [s["status"] for s, mask in ((a, mask_a), (b, mask_b)) if mask is None]
        return row | {"status": "empty" if set(missing) == {"empty"} else "no_mask"}
    if not mask_a.mask_zyx.any() or not mask_b.mask_zyx.any():
        return row | {"status": "empty"}
    spacing_mm = spacing_zyx_mm(mask_a.grid)
    if spacing_mm is None:
        return row | {"status": "no_thickness"}
    whole_a, whole_b = on_union(mask_a, mask_b)
    distances = surface_distances(whole_a, whole_b, spacing_mm)
    return row | {
        "status": "ok",
        "dice": dice(whole_a, whole_b),
        "hd95_mm": hd95_mm(distances),
        "surface_dice": surface_dice(distances, tolerance_mm),
        "surface_dice_tolerance_mm": tolerance_mm,
    }


def _disagree(row: Mapping[str, Any], least_dice: float) -> Finding:
    return finding(
        "SS_SOURCES_DISAGREE",
        f"{row['structure_id_a']} and {row['structure_id_b']}, both {row['structure_name_tg263']}",
        f"Dice {row['dice']:.3f}, HD95 {row['hd95_mm']:.1f} mm",
        expected=f"Dice of at least {least_dice:g}",
    )


def spacing_zyx_mm(grid: Grid) -> tuple[float, float, float] | None:
    """Edges of a voxel along plane, row and column index; None for a grid of one plane, which has no thickness."""
    if grid.plane_spacing_mm is None:
        return None
    return grid.plane_spacing_mm, grid.row_spacing_mm, grid.column_spacing_mm


def _volume_cc(mask: BoxedMask | None) -> float | None:
    """Voxels times their volume; None without a mask, or without a thickness."""
    spacing_mm = spacing_zyx_mm(mask.grid) if mask is not None else None
    if mask is None or spacing_mm is None:
        return None
    return float(np.count_nonzero(mask.mask_zyx) * np.prod(spacing_mm) / 1000.0)


def on_union(a: BoxedMask, b: BoxedMask) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two masks with voxels, each on the smallest box that holds both.

    Raises ValueError when they lie on different grids.
    """
    if not a.grid.matches(b.grid):
        raise ValueError("masks lie on different grids; need one image")
    first = np.minimum(a.offset_zyx, b.offset_zyx)
    last = np.maximum(np.add(a.offset_zyx, a.mask_zyx.shape), np.add(b.offset_zyx, b.mask_zyx.shape))
    return _placed(a, first, last - first), _placed(b, first, last - first)


def _placed(mask: BoxedMask, first_zyx: NDArray[np.int64], shape_zyx: NDArray[np.int64]) -> NDArray[np.bool_]:
    whole = np.zeros(tuple(shape_zyx.tolist()), bool)
    box = tuple(
        slice(int(o - f), int(o - f) + n)
        for o, f, n in zip(mask.offset_zyx, first_zyx, mask.mask_zyx.shape, strict=True)
    )
    whole[box] = mask.mask_zyx
    return whole

"""Checks of structures, of the networks that made some, and of features. Each function gives the rows of one check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rtpipeline.config import QcConfig
from rtpipeline.nomenclature.targets import is_target as is_target_name
from rtpipeline.qc.measures import Measured, Status, nothing, some
from rtpipeline.qc.outputs import CourseOutputs, Row
from rtpipeline.report.tables import is_target


def volumes(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Structures without a volume, by set; a target without one is worth a warning."""
    rows = outputs.rows("structures", "structures.parquet")
    found = []
    for set_id in dict.fromkeys(r["structure_set_id"] for r in rows):
        own = [r for r in rows if r["structure_set_id"] == set_id]
        empty = [r for r in own if r["status"] != "ok"]
        measured = f"{len(own) - len(empty)} of {len(own)} with a volume"
        if empty:
            measured += "; without: " + some(f"{r['structure_name']} ({r['status']})" for r in empty)
        manual = own[0]["structure_source"] == "manual"
        bad = manual and (len(empty) == len(own) or any(is_target(r) for r in empty))
        found.append(Measured(set_id, "warn" if bad else "pass", measured))
    return found or nothing("no structures")


def names(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """How many names of each set are TG-263 names; custom names are allowed, so that this never warns."""
    rows = outputs.rows("structures", "structures.parquet")
    by_set = Counter(r["structure_set_id"] for r in rows)
    matched = Counter(r["structure_set_id"] for r in rows if r["structure_name_tg263"])
    return [
        Measured(set_id, "pass", f"{matched[set_id]} of {n} names matched") for set_id, n in by_set.items()
    ] or nothing("no structures")


def _label_map_rows(outputs: CourseOutputs) -> list[Row]:
    return [row for stage in ("segmentation", "custom_models") for row in outputs.rows(stage, "segmentation.parquet")]


def networks(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """What each network found."""
    rows = _label_map_rows(outputs)
    found = []
    for set_id in dict.fromkeys(r["structure_set_id"] for r in rows):
        own = [r for r in rows if r["structure_set_id"] == set_id]
        counts = Counter(r["status"] for r in own)
        measured = f"{counts['ok']} of {len(own)} structures found whole, {counts['cut_off']} cut off"
        measured += f", {counts['not_found']} not found"
        if any(r["phantom_weights"] for r in own):
            measured += "; networks that know nothing but the demo's phantom"
        found.append(Measured(set_id, "pass" if counts["ok"] + counts["cut_off"] else "warn", measured))
    return found or nothing("no network was run")


def laterality(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Whether structures with a side lie on it."""
    rows = [r for r in _label_map_rows(outputs) if r["laterality"] is not None]
    found = []
    for set_id in dict.fromkeys(r["structure_set_id"] for r in rows):
        own = [r for r in rows if r["structure_set_id"] == set_id]
        swapped = [r for r in own if r["laterality"] != "ok"]
        measured = f"{len(own) - len(swapped)} of {len(own)} on their side"
        if swapped:
            measured += "; not: " + some(r["structure_name"] for r in swapped)
        # one stray piece on the wrong side is no mirrored map
        status: Status = "pass" if not swapped else "fail" if 2 * len(swapped) >= len(own) else "warn"
        found.append(Measured(set_id, status, measured))
    return found or nothing("no segmented structure with a side")


def agreement(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Structures that exist twice."""
    found = []
    for r in outputs.rows("structures", "agreement.parquet"):
        pair = f"{r['structure_id_a']} and {r['structure_id_b']}, both {r['structure_name_tg263']}"
        if r["status"] != "ok" or r["dice"] is None:
            found.append(Measured(pair, "not_evaluated", str(r["status"])))
            continue
        measured = f"Dice {r['dice']:.3f}"
        if r["hd95_mm"] is not None:
            measured += f", HD95 {r['hd95_mm']:.1f} mm"
        # two plans draw targets of one name for two purposes
        fine = r["dice"] >= config.agreement_dice_minimum or is_target_name(r["structure_name_tg263"])
        expected = f"Dice of at least {config.agreement_dice_minimum:g}"
        found.append(Measured(pair, "pass" if fine else "warn", measured, expected))
    return found or nothing("no structure of two sources")


def features(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Structures with and without radiomic features."""
    return _by_status(outputs.rows("radiomics", "radiomics.parquet", ("structure_name", "status")), "structures")


def perturbed(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """States of structures with and without features."""
    return _by_status(outputs.rows("robustness", "robustness.parquet", ("structure_name", "status")), "states")


NO_LOSS = frozenset(
    {"ok", "skipped", "not_selected", "no_mask", "too_small", "too_large", "one_dimensional", "single_plane",
     "flat_image", "not_computed"}
)  # fmt: skip
"""Statuses of structures that nobody expects features of; every other one but `ok` is worth a warning."""


def _by_status(rows: Sequence[Row], what: str) -> list[Measured]:
    counts = Counter(r["status"] for r in rows)
    found = []
    for status, n in sorted(counts.items()):
        measured = f"{n} of {len(rows)} {what}"
        if status != "ok":
            measured += ": " + some(dict.fromkeys(r["structure_name"] for r in rows if r["status"] == status))
        found.append(Measured(f"status {status}", "pass" if status in NO_LOSS else "warn", measured))
    return found or nothing(f"no {what}")

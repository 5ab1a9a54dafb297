"""Our numbers beside those of the planning system's own curves (DVHSequence of RTDOSE), matched by ROI number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rtpipeline.report.tables import Array, Row

MEASURES = ("volume_cc", "dmean_gy", "d95_gy", "dmax_gy")

SMALLEST = {"volume_cc": 0.01, "dmean_gy": 0.1, "d95_gy": 0.1, "dmax_gy": 0.1}
"""Below this a difference in percent says nothing."""

NOTABLE_PCT = 3.0
"""Differences above are emphasised (the limit of Nelms et al., Med Phys 42:4435, 2015)."""


@dataclass(frozen=True)
class Pair:
    """One measure of one structure, ours and theirs."""

    ours: float | None
    theirs: float | None
    difference_pct: float | None

    @property
    def is_notable(self) -> bool:
        """Whether the difference is large enough to be looked at."""
        return self.difference_pct is not None and abs(self.difference_pct) > NOTABLE_PCT


@dataclass(frozen=True)
class Comparison:
    """One structure in one dose; `pairs` in the order of MEASURES."""

    course_id: str
    structure_name: str
    dose_id: str
    rtdose_id: str
    pairs: tuple[Pair, ...]

    @property
    def worst_pct(self) -> float:
        """Largest difference of its measures."""
        return max((abs(p.difference_pct) for p in self.pairs if p.difference_pct is not None), default=0.0)


def pair(name: str, ours: float | None, theirs: float | None) -> Pair:
    """The two values and their difference in percent of theirs; None where that says nothing."""
    if ours is None or theirs is None or theirs < SMALLEST[name]:
        return Pair(ours, theirs, None)
    return Pair(ours, theirs, 100.0 * (ours - theirs) / theirs)


def dose_at_volume_pct(dose_gy: Array | None, volume_cc: Array | None, volume_pct: float) -> float | None:
    """Dose (Gy) that this share of the volume receives at least, from a cumulative curve; None without a volume."""
    if dose_gy is None or volume_cc is None or len(volume_cc) == 0 or not volume_cc[0] > 0:
        return None
    return float(np.interp(-volume_pct / 100.0 * volume_cc[0], -volume_cc, dose_gy))


def compare(tps: Iterable[Row], structures: Iterable[Row], metrics: Iterable[Row]) -> tuple[list[Comparison], int]:
    """Comparisons, largest difference first, and the number of the planning system's curves without a counterpart.

    A curve is compared when it is of one structure, when that number stands once among the structure sets it may refer
    to, and when one dose of the tables is made of its dose object alone.
    """
    by_roi: dict[tuple[str, int], list[Row]] = {}
    for structure in structures:
        if structure["roi_number"] is not None and structure["structure_source"] == "manual":
            by_roi.setdefault((structure["course_id"], structure["roi_number"]), []).append(structure)
    by_structure: dict[tuple[str, str, str], list[Row]] = {}
    for metric in metrics:
        by_structure.setdefault((metric["course_id"], metric["structure_set_id"], metric["structure_id"]), []).append(
            metric
        )
    found: list[Comparison] = []
    alone = 0
    for curve in tps:
        own = _counterpart(curve, by_roi, by_structure)
        if own is None:
            alone += 1
            continue
        theirs = {
            "volume_cc": curve["volume_cc"],
            "dmean_gy": curve["dmean_gy"],
            "dmax_gy": curve["dmax_gy"],
            "d95_gy": dose_at_volume_pct(curve["dose_gy"], curve["cumulative_volume_cc"], 95.0),
        }
        pairs = tuple(pair(name, own.get(name), theirs[name]) for name in MEASURES)
        found.append(Comparison(curve["course_id"], own["structure_name"], own["dose_id"], curve["rtdose_id"], pairs))
    return sorted(found, key=lambda c: (-c.worst_pct, c.course_id, c.structure_name, c.rtdose_id)), alone


def _counterpart(
    curve: Row, by_roi: dict[tuple[str, int], list[Row]], by_structure: dict[tuple[str, str, str], list[Row]]
) -> Row | None:
    if curve["roi_number"] is None or not curve.get("dose_id"):  # of several structures, or of a part of a dose
        return None
    candidates = by_roi.get((curve["course_id"], curve["roi_number"]), [])
    if curve.get("structure_set_id"):
        candidates = [s for s in candidates if s["structure_set_id"] == curve["structure_set_id"]]
    if len(candidates) != 1:
        return None
    only = candidates[0]
    rows = by_structure.get((only["course_id"], only["structure_set_id"], only["structure_id"]), [])
    rows = [r for r in rows if r["dose_id"] == curve["dose_id"]]
    return rows[0] if len(rows) == 1 else None

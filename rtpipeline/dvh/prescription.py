"""Which prescription belongs to which structure. Never guessed from a name.

Order: the user's manifest, by the structure's name or, for the only ROI of type PTV, of the whole plan; the plan's dose
reference of type TARGET that names the ROI; the plan's single target level when the set has a single ROI of type PTV;
else unknown (null).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SAME_LEVEL_GY = 1e-3
"""Prescriptions this close are one level (decimal strings of different length)."""

TARGET_TYPES = frozenset({"GTV", "CTV", "PTV"})
"""RTROIInterpretedType of targets (PS3.3 C.8.8.8)."""


@dataclass(frozen=True)
class TargetLevel:
    """A dose reference of type TARGET: its level in Gy, and the ROI it names (None: the plan as a whole)."""

    rx_gy: float
    roi_number: int | None


@dataclass(frozen=True)
class StatedRx:
    """A row of the user's manifest that gives a prescription; `structure` None is the whole plan or course."""

    rx_gy: float
    structure: str | None
    plan_id: str | None


@dataclass(frozen=True)
class Prescription:
    """A structure's prescription in Gy and where it comes from; both None when unknown."""

    rx_gy: float | None = None
    source: str | None = None


UNKNOWN = Prescription()


@dataclass(frozen=True)
class Target:
    """What a prescription may be tied to."""

    name: str
    roi_number: int | None
    roi_type: str | None
    in_plan_set: bool
    """its structure set is the one that the plan references: only then do ROI numbers of the plan mean it"""


def is_target(structure: Target, levels: Iterable[TargetLevel], stated: Iterable[StatedRx]) -> bool:
    """By the plan's reference, the interpreted type, or the manifest; never by name."""
    named = structure.in_plan_set and any(level.roi_number == structure.roi_number for level in levels)
    return named or structure.roi_type in TARGET_TYPES or any(row.structure == structure.name for row in stated)


def plan_prescription(
    structure: Target,
    levels: Sequence[TargetLevel],
    stated: Sequence[StatedRx],
    plan_id: str | None,
    n_ptv: int,
) -> Prescription:
    """Prescription of a structure within one plan.

    Parameters
    ----------
    n_ptv: ROIs of type PTV in the structure set.
    """
    for row in sorted(stated, key=lambda r: r.plan_id is None):  # what is said of this plan comes first
        if row.structure == structure.name and row.plan_id in (None, plan_id):
            return Prescription(row.rx_gy, "manifest")
    if not structure.in_plan_set:
        return UNKNOWN
    is_only_ptv = n_ptv == 1 and structure.roi_type == "PTV"
    of_plan = [row.rx_gy for row in stated if row.structure is None and row.plan_id == plan_id]
    whole = _one_level(of_plan or [row.rx_gy for row in stated if row.structure is None and row.plan_id is None])
    if whole is not None and is_only_ptv:
        return Prescription(whole, "manifest")
    named = [level.rx_gy for level in levels if level.roi_number == structure.roi_number]
    if named:
        level = _one_level(named)
        return UNKNOWN if level is None else Prescription(level, "plan_roi")
    single = _one_level([level.rx_gy for level in levels])
    return Prescription(single, "plan_single_level") if single is not None and is_only_ptv else UNKNOWN


def _one_level(doses_gy: Sequence[float]) -> float | None:
    """The level that all of them state, the lowest of them; None where they differ, or there is none."""
    if not doses_gy or max(doses_gy) - min(doses_gy) > SAME_LEVEL_GY:
        return None
    return min(doses_gy)


def total_prescription(
    name: str, parts: Sequence[Prescription], stated: Sequence[StatedRx], *, whole_plans: bool
) -> Prescription:
    """Prescription of the structure `name` over the plans of a course.

    That of the manifest for the course, else the sum where every plan states one and was delivered whole: what a plan
    that was stopped or replaced was to give from then on is in no object.
    """
    for row in stated:
        if row.structure == name and row.plan_id is None:
            return Prescription(row.rx_gy, "manifest")
    if not whole_plans or not parts or any(part.rx_gy is None for part in parts):
        return UNKNOWN
    sources = sorted({part.source or "" for part in parts})
    return Prescription(sum(part.rx_gy for part in parts if part.rx_gy is not None), "+".join(sources))

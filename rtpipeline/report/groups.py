"""Structures over the whole cohort, grouped by name: how often, how large, how much dose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rtpipeline.report.tables import Row, is_target

MEASURES = ("volume_cc", "dmean_gy", "d95_gy", "dmax_gy")


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of the values there are."""

    n: int
    median: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Group:
    """One structure name of one source, over courses."""

    name: str
    source: str
    is_target: bool
    courses: int
    patients: int
    small: bool
    """fewer patients than the configured minimum: do not publish, and hardly a statistic"""
    spreads: tuple[Spread, ...]
    """in the order of MEASURES"""


def spread(values: Iterable[float | None]) -> Spread:
    """Median and quartiles (linear interpolation) of what is not null."""
    known = [v for v in values if v is not None]
    if not known:
        return Spread(0, None, None, None)
    low, median, high = (float(q) for q in np.quantile(known, [0.25, 0.5, 0.75]))
    return Spread(len(known), median, low, high)


def groups(metrics: Iterable[Row], small_cell_minimum: int) -> list[Group]:
    """Groups by source and TG-263 name, else exact name; targets first, then the most frequent.

    A course with several doses counts with its `total` where there is one, else with each dose.
    """
    rows = list(metrics)
    with_total = {(r["course_id"], r["structure_id"]) for r in rows if r["dose_id"] == "total"}
    kept = [r for r in rows if r["dose_id"] == "total" or (r["course_id"], r["structure_id"]) not in with_total]
    named: dict[tuple[str, str], list[Row]] = {}
    for row in kept:
        named.setdefault((row["structure_source"], row["structure_name_tg263"] or row["structure_name"]), []).append(
            row
        )
    found = [_group(source, name, own, small_cell_minimum) for (source, name), own in named.items()]
    return sorted(found, key=lambda g: (not g.is_target, -g.courses, g.name, g.source))


def _group(source: str, name: str, rows: list[Row], small_cell_minimum: int) -> Group:
    patients = len({r["patient_id"] for r in rows})
    return Group(
        name=name,
        source=source,
        is_target=any(is_target(r) for r in rows),
        courses=len({r["course_id"] for r in rows}),
        patients=patients,
        small=patients < small_cell_minimum,
        spreads=tuple(spread(r.get(m) for r in rows) for m in MEASURES),
    )

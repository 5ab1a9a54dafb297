"""The table `robustness_summary`: how far each feature stays the same, over all subjects of the cohort.

A subject is a structure of a course. Subjects are grouped by source, name and modality; of each feature only the
subjects count that have it in every state (complete cases), since a statistic of other states for each subject would
compare what cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtpipeline import __version__
from rtpipeline.config import MetricsConfig, RobustnessConfig
from rtpipeline.contracts.tables import ROBUSTNESS
from rtpipeline.robustness import statistics
from rtpipeline.robustness.labels import Judged, judge

COLUMNS_AT_ONCE = 64
"""Features read together: of 1,000 subjects with 81 states these are 40 MB."""

Row = dict[str, Any]
Array = NDArray[np.float64]

IDENTITY = (
    "cohort", "patient_id", "course_id", "structure_set_id", "structure_id", "structure_source", "structure_name",
    "structure_name_tg263", "modality", "state", "perturbation_profile", "profile",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Group:
    """Structures of one name. row: what its rows have in common. at: (n subjects, k states) rows in the table, -1 where
    there is none."""

    row: Row
    at: NDArray[np.int_]


def summarise(robustness: Path, config: RobustnessConfig) -> list[Row]:
    """Rows of `robustness_summary`.

    robustness: the cohort's table `robustness`. Its features are read a few at a time.
    """
    declared = {column.name for column in ROBUSTNESS.columns}
    features = [name for name in pq.read_schema(robustness).names if name not in declared]
    groups = groups_of(pq.read_table(robustness, columns=list(IDENTITY)).to_pylist())
    rows = []
    for first in range(0, len(features), COLUMNS_AT_ONCE):
        names = features[first : first + COLUMNS_AT_ONCE]
        table = pq.read_table(robustness, columns=names)
        values = np.column_stack([table[name].to_numpy() for name in names]).astype(np.float64)
        for group in groups:
            rows += _rows_of(group, names, values, config)
    return rows


def groups_of(rows: list[Row]) -> list[Group]:
    """Groups of the rows of `robustness`, in the order of their keys."""
    members: dict[tuple[str, str, str], dict[tuple[str, ...], dict[str, int]]] = {}
    for number, row in enumerate(rows):
        key = (row["structure_source"], row["structure_name_tg263"] or row["structure_name"], row["modality"] or "")
        subject = (row["patient_id"], row["course_id"], row["structure_set_id"], row["structure_id"])
        members.setdefault(key, {}).setdefault(subject, {})[row["state"]] = number
    groups = []
    for (source, name, modality), subjects in sorted(members.items()):
        states = sorted({state for found in subjects.values() for state in found})
        at = np.array([[found.get(state, -1) for state in states] for _, found in sorted(subjects.items())])
        one = rows[int(at[at >= 0][0])]
        profiles = sorted({rows[i]["profile"] for i in at[at >= 0].tolist() if rows[i]["profile"] is not None})
        common = {
            "cohort": one["cohort"],
            "structure_source": source,
            "structure_group": name,
            "modality": modality or None,
            "perturbation_profile": one["perturbation_profile"],
            "profile": "+".join(profiles) or None,
            "n_patients": len({subject[0] for subject in subjects}),
            "n_subjects": len(subjects),
            "n_states": len(states),
            "rtpipeline_version": __version__,
        }
        groups.append(Group(common, at))
    return groups


def _rows_of(group: Group, names: list[str], values: Array, config: RobustnessConfig) -> list[Row]:
    """A row for each feature that a subject of the group has at all."""
    own = np.where((group.at >= 0)[..., None], values[group.at], np.nan)
    known = np.isfinite(own)
    complete: NDArray[np.bool_] = np.asarray(known.all(axis=1))
    rows: list[Row] = []
    for columns, subjects in _alike(complete):
        computed = statistics_of(own[subjects][:, :, columns], config.metrics)
        for place, column in enumerate(columns.tolist()):
            if not known[..., column].any():
                continue
            found = {name: _number(numbers[place]) for name, numbers in computed.items()}
            n_complete = int(subjects.sum())
            n_cov = int(found.pop("n_cov") or 0)
            judged = judge(found, n_complete, n_cov, group.row["n_states"], config)
            rows.append(
                group.row
                | {"feature": names[column], "n_complete": n_complete, "n_cov": n_cov}
                | {"n_dropped": group.row["n_subjects"] - n_complete}
                | found
                | _labelled(judged)
            )
    return rows


def _alike(complete: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int_], NDArray[np.bool_]]]:
    """Features with the same complete subjects: their columns, and which subjects. complete: (n, f)."""
    patterns, which = np.unique(complete, axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        yield np.flatnonzero(which.reshape(-1) == number), patterns[:, number]


def statistics_of(values: Array, metrics: MetricsConfig) -> dict[str, Array]:
    """Columns of the summary by name, (f,) each, NaN where undefined. values: (n subjects, k states, f features)."""
    n, k, f = values.shape
    found: dict[str, Array] = {}
    if metrics.icc:
        for name, icc in (
            ("icc_1_1", statistics.icc_1_1),
            ("icc_a_1", statistics.icc_a_1),
            ("icc_c_1", statistics.icc_c_1),
        ):
            result = icc(values)
            found |= {name: result.value, f"{name}_low": result.low, f"{name}_high": result.high}
    defined = statistics.relative_spread_defined(values) if n else np.zeros((0, f), bool)
    found["n_cov"] = defined.sum(axis=0).astype(np.float64) if k > 1 else np.zeros(f)
    for name, unit, is_wanted, measure in (
        ("cov", "_pct", metrics.cov, statistics.cov_pct),
        ("qcd", "", metrics.qcd, statistics.qcd),
    ):
        if is_wanted and n:
            first, median, third = statistics.quartiles(measure(values))
            found |= {f"{name}{unit}": median, f"{name}_q1{unit}": first, f"{name}_q3{unit}": third}
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _labelled(judged: Judged) -> Row:
    return {"label": judged.label, "reason": judged.reason or None, "cov_status": judged.cov_status}

"""Results of a run of the demo cohort beside its closed-form truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rtpipeline.contracts.tables import COURSES, DVH_METRICS, STRUCTURES
from rtpipeline.errors import UsageError

DOSE_COLUMNS = ("dmean_gy", "dmin_gy", "dmax_gy", "d98_gy", "d95_gy", "d50_gy", "d2_gy")


@dataclass(frozen=True)
class Deviation:
    """One number of the tables against its truth."""

    patient: str
    structure: str
    dose: str
    column: str
    found: float
    truth: float
    limit_pct: float

    @property
    def pct(self) -> float:
        """|found - truth| in percent of the truth."""
        return abs(self.found - self.truth) / abs(self.truth) * 100.0

    def __str__(self) -> str:
        where = " ".join(part for part in (self.patient, self.structure, self.dose, self.column) if part)
        return f"{where}: {self.found:.6g} against {self.truth:.6g}, {self.pct:.2g} %"


@dataclass
class Comparison:
    """Every number that has a truth, and what is missing or wrong besides."""

    deviations: list[Deviation] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def largest(self, kind: str) -> Deviation | None:
        """The largest deviation of volumes (`volume`) or doses (`dose`)."""
        chosen = [d for d in self.deviations if (d.column == "volume_cc") == (kind == "volume")]
        return max(chosen, key=lambda d: d.pct, default=None)

    @property
    def failures(self) -> list[str]:
        """Problems, and deviations beyond their limit."""
        return self.problems + [str(d) for d in self.deviations if not d.pct <= d.limit_pct]


def compare(truth_file: Path, results: Path, identity: Path) -> Comparison:
    """Compare the tables of `results` with `truth.json`.

    Parameters
    ----------
    identity: `private/identity.parquet`, which ties pseudonyms to the demo's patient ids.

    Raises
    ------
    UsageError: one of the files does not exist.
    """
    for path in (truth_file, results / "dvh_metrics.parquet", identity):
        if not path.is_file():
            raise UsageError(f"{path} does not exist; run the demo cohort first.")
    truth = json.loads(truth_file.read_text())
    limits = truth["tolerances"]
    pseudonyms = pd.read_parquet(identity, columns=["patient_key", "patient_id"]).drop_duplicates()
    by_key = dict(zip(pseudonyms["patient_key"], pseudonyms["patient_id"], strict=True))
    courses = COURSES.read(results / "courses.parquet")
    structures = STRUCTURES.read(results / "structures.parquet")
    metrics = DVH_METRICS.read(results / "dvh_metrics.parquet")
    comparison = Comparison()
    for key, patient in truth["patients"].items():
        patient_id = by_key.get(key)
        mine = courses[courses["patient_id"] == patient_id]
        if len(mine) != 1:
            comparison.problems.append(f"{key}: {len(mine)} courses instead of 1")
            continue
        kind = mine["course_kind"].iloc[0]
        if kind != patient["kind"]:
            comparison.problems.append(f"{key}: kind {kind} instead of {patient['kind']}")
        rows = structures[structures["patient_id"] == patient_id]
        comparison.deviations += _volumes(key, patient, rows, limits["volume_pct"], comparison.problems)
        rows = metrics[metrics["patient_id"] == patient_id]
        comparison.deviations += _doses(key, patient, rows, limits, comparison.problems)
        _prescriptions(key, patient, rows, comparison.problems)
    return comparison


def _one(rows: pd.DataFrame, name: str, where: str, problems: list[str]) -> dict[str, Any] | None:
    found = rows[rows["structure_name"] == name].to_dict("records")
    if len(found) != 1:
        problems.append(f"{where} {name}: {len(found)} rows instead of 1")
        return None
    return {str(k): v for k, v in found[0].items()}


def _volumes(
    key: str, patient: dict[str, Any], rows: pd.DataFrame, limit_pct: float, problems: list[str]
) -> Iterator[Deviation]:
    for name, expected in patient["structures"].items() if patient["structure_sets"] else ():
        row = _one(rows, name, key, problems)
        if row is not None:
            yield Deviation(key, name, "", "volume_cc", row["volume_cc"], expected["volume_cc"], limit_pct)


def _doses(
    key: str, patient: dict[str, Any], rows: pd.DataFrame, limits: dict[str, float], problems: list[str]
) -> Iterator[Deviation]:
    for label, dose_id in _dose_ids(patient, rows).items():
        chosen = rows[rows["dose_id"] == dose_id]
        for name, expected in patient["dvh"][label].items():
            row = _one(chosen, name, f"{key} {dose_id}", problems)
            if row is None:
                continue
            coverage = expected["dose_coverage_pct"]
            if abs(row["dose_coverage_pct"] - coverage) > limits["dose_coverage_pct"]:
                problems.append(
                    f"{key} {dose_id} {name}: coverage {row['dose_coverage_pct']} % instead of {coverage} %"
                )
            for column in DOSE_COLUMNS:
                if column in expected:
                    yield Deviation(key, name, dose_id, column, row[column], expected[column], limits["dose_pct"])


def _dose_ids(patient: dict[str, Any], rows: pd.DataFrame) -> dict[str, str]:
    """Plan label to dose id: plans are numbered by date, as the truth lists them; the total where one was made."""
    ids = {label: f"plan-{number:02d}" for number, label in enumerate(patient["plans"], start=1)}
    if len(ids) > 1 and (rows["dose_id"] == "total").any():
        ids["total"] = "total"
    return ids


def _prescriptions(key: str, patient: dict[str, Any], rows: pd.DataFrame, problems: list[str]) -> None:
    """Each level stands in the rows of the structure that the plan ties it to."""
    for label, dose_id in _dose_ids(patient, rows).items():
        for level in patient["plans"].get(label, {}).get("prescriptions", []):
            chosen = rows[(rows["dose_id"] == dose_id) & (rows["structure_name"] == (level["structure"] or "PTV"))]
            found = chosen["rx_gy"].dropna().tolist()
            if found != [level["rx_gy"]]:
                problems.append(f"{key} {dose_id}: prescription {found} instead of {level['rx_gy']} Gy")

"""Results of a run of the demo cohort beside its closed-form truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from rtpipeline.contracts.tables import COURSES, DVH_METRICS, FRACTIONS, SEGMENTATION, STRUCTURES
from rtpipeline.demo.compare_networks import Overlap, network_overlaps
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
    overlaps: list[Overlap] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def largest(self, kind: str) -> Deviation | None:
        """The largest deviation of volumes (`volume`) or doses (`dose`)."""
        chosen = [d for d in self.deviations if (d.column == "volume_cc") == (kind == "volume")]
        return max(chosen, key=lambda d: d.pct, default=None)

    @property
    def failures(self) -> list[str]:
        """Problems, and deviations beyond their limit."""
        beyond = [str(d) for d in self.deviations if not d.pct <= d.limit_pct]
        return self.problems + beyond + [str(o) for o in self.overlaps if not o.dice >= o.limit]


def compare(truth_file: Path, results: Path, identity: Path) -> Comparison:
    """Compare the tables of `results`, and the label maps that they name, with `truth.json`.

    Networks and derived structures are compared where the run had them.

    Parameters
    ----------
    identity: `private/identity.parquet`, which ties pseudonyms to the demo's patient ids.

    Raises
    ------
    UsageError: one of the files does not exist.
    """
    tables = (results / f"{t.name}.parquet" for t in (COURSES, STRUCTURES, DVH_METRICS, FRACTIONS))
    for path in (truth_file, *tables, identity):
        if not path.is_file():
            raise UsageError(f"{path} does not exist; run the demo cohort first.")
    truth = json.loads(truth_file.read_text())
    limits = truth["tolerances"]
    pseudonyms = pd.read_parquet(identity, columns=["patient_key", "patient_id"]).drop_duplicates()
    by_key = dict(zip(pseudonyms["patient_key"], pseudonyms["patient_id"], strict=True))
    courses = COURSES.read(results / "courses.parquet")
    structures = STRUCTURES.read(results / "structures.parquet")
    metrics = DVH_METRICS.read(results / "dvh_metrics.parquet")
    fractions = FRACTIONS.read(results / "fractions.parquet")
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
        comparison.deviations += _derived(key, patient, structures[structures["patient_id"] == patient_id], limits)
        _delivery(key, patient, fractions[fractions["patient_id"] == patient_id], comparison.problems)
        _course(key, patient, mine.iloc[0], comparison.problems)
    if (results / "segmentation.parquet").is_file():
        segmentation = SEGMENTATION.read(results / "segmentation.parquet")
        patients = {key: by_key[key] for key in truth["patients"] if key in by_key}
        comparison.overlaps += network_overlaps(truth.get("seed", 0), patients, segmentation, identity.parents[1])
    return comparison


def _derived(key: str, patient: dict[str, Any], rows: pd.DataFrame, limits: dict[str, float]) -> Iterator[Deviation]:
    derived = rows[rows["structure_source"] == "derived"]
    for name, expected in patient.get("derived", {}).items() if len(derived) else ():
        for row in derived[derived["structure_name"] == name].to_dict("records"):
            yield Deviation(key, name, "", "volume_cc", row["volume_cc"], expected, limits["derived_volume_pct"])


def _one(rows: pd.DataFrame, name: str, where: str, problems: list[str]) -> dict[str, Any] | None:
    found = rows[(rows["structure_name"] == name) & (rows["structure_source"] == "manual")].to_dict("records")
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
    for label, dose_id in _dose_ids(patient).items():
        chosen = rows[(rows["dose_id"] == dose_id) & (rows["structure_source"] == "manual")]
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


def _dose_ids(patient: dict[str, Any]) -> dict[str, str]:
    """Plan label to dose id, plans being numbered by date, as the truth lists them; the total where it is proved."""
    ids = _plan_ids(patient)
    if patient["total_proved"]:
        ids["total"] = "total"
    return ids


def _plan_ids(patient: dict[str, Any]) -> dict[str, str]:
    return {label: f"plan-{number:02d}" for number, label in enumerate(patient["plans"], start=1)}


def _prescriptions(key: str, patient: dict[str, Any], rows: pd.DataFrame, problems: list[str]) -> None:
    """Each level stands in the rows of the structure that the plan ties it to, and their sum in those of the total."""
    wanted = [
        (dose_id, level["structure"] or "PTV", level["rx_gy"])
        for label, dose_id in _plan_ids(patient).items()
        for level in patient["plans"][label]["prescriptions"]
    ]
    if patient["total_proved"]:
        wanted += [("total", name, rx_gy) for name, rx_gy in patient["rx_gy"].items()]
    elif (rows["dose_id"] == "total").any():
        problems.append(f"{key}: a total that nothing proves")
    for dose_id, name, rx_gy in wanted:
        mine = (rows["dose_id"] == dose_id) & (rows["structure_name"] == name) & (rows["structure_source"] == "manual")
        found = rows[mine]["rx_gy"].dropna().tolist()
        if found != [rx_gy]:
            problems.append(f"{key} {dose_id}: prescription {found} instead of {rx_gy} Gy")


def _delivery(key: str, patient: dict[str, Any], rows: pd.DataFrame, problems: list[str]) -> None:
    """One row for each planned fraction group, and one for each record with its number, day and monitor units."""
    day_0 = min((plan["day"] for plan in patient["plans"].values()), default=0)
    for label, plan_id in _plan_ids(patient).items():
        plan, mine = patient["plans"][label], rows[rows["plan_id"] == plan_id]
        planned = mine[mine["record_status"] == "planned"]["fractions_planned"].tolist()
        if planned != [plan["fractions"]]:
            problems.append(f"{key} {plan_id}: fractions planned {planned} instead of {plan['fractions']}")
        records = mine[mine["record_status"] == "normal"].sort_values("fraction_number")
        numbers = records[["fraction_number", "day", "delivered_mu"]].astype(object)
        found = list(numbers.where(numbers.notna(), None).itertuples(index=False, name=None))
        wanted = [(d["fraction"], d["day"] - day_0, d["delivered_mu"]) for d in plan["delivered"]]
        if found != wanted:
            first = next((a for a, b in zip_longest(wanted, found) if a != b), None)
            problems.append(f"{key} {plan_id}: {len(found)} records for {len(wanted)}, the first that differs: {first}")


def _course(key: str, patient: dict[str, Any], row: pd.Series, problems: list[str]) -> None:
    """Fractions delivered and the prescription of the whole course, where there is proof; else null."""
    delivered = sum(len(plan["delivered"]) for plan in patient["plans"].values())
    expected: dict[str, Any] = {"fractions_delivered": delivered or None}
    if len(patient["plans"]) > 1:
        proved = patient["total_proved"]
        level_gy = sum(level["rx_gy"] for plan in patient["plans"].values() for level in plan["prescriptions"])
        expected["course_total_status"] = "ok" if proved else "ambiguous"
        expected["plan_rx_total_gy"] = level_gy if proved else None
    for name, value in expected.items():
        found = None if pd.isna(row[name]) else row[name]
        if found != value:
            problems.append(f"{key}: {name} {found} instead of {value}")

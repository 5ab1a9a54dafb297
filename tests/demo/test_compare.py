"""The comparison of results with the truth: right tables pass, and every kind of fault is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rtpipeline.contracts.columns import Table
from rtpipeline.contracts.tables import COURSES, DVH_METRICS, FRACTIONS, STRUCTURES
from rtpipeline.demo.compare import DOSE_COLUMNS, Comparison, compare
from rtpipeline.errors import UsageError

Rows = dict[str, list[dict[str, Any]]]
BY_PLAN_GY = {"A": 50.0, "B": 16.0, "total": 66.0}
DOSE_IDS = {"A": "plan-01", "B": "plan-02", "total": "total"}
NAMES = ("PTV", "Heart")


def a_plan(rx_gy: float, fractions: int, day: int) -> dict[str, Any]:
    """As in truth.json: one level on the PTV and a record of every fraction."""
    return {
        "fractions": fractions,
        "day": day,
        "prescriptions": [{"structure": "PTV", "rx_gy": rx_gy}],
        "delivered": [{"fraction": n, "day": day + n, "delivered_mu": 100.0 + n} for n in range(1, fractions + 1)],
    }


def truth() -> dict[str, Any]:
    """One patient with two phases (3 and 2 fractions), planned on days 5 and 40 after the CT, and one with a CT."""
    dose = lambda gy: {"dose_coverage_pct": 100.0, **dict.fromkeys(DOSE_COLUMNS, gy)}  # noqa: E731
    two_phases = {
        "kind": "planned",
        "structure_sets": 1,
        "structures": {name: {"volume_cc": 80.0} for name in NAMES},
        "plans": {"A": a_plan(50.0, 3, 5), "B": a_plan(16.0, 2, 40)},
        "total_proved": True,
        "rx_gy": {"PTV": 66.0},
        "dvh": {label: {name: dose(gy) for name in NAMES} for label, gy in BY_PLAN_GY.items()},
    }
    only_ct = {
        **{"kind": "images_only", "structure_sets": 0, "structures": {}, "plans": {}},
        **{"total_proved": False, "rx_gy": {}, "dvh": {}},
    }
    return {
        "tolerances": {"volume_pct": 0.1, "dose_pct": 0.5, "dose_coverage_pct": 0.1},
        "patients": {"DEMO-1": two_phases, "DEMO-2": only_ct},
    }


def right_rows() -> Rows:
    """Tables that agree with the truth. Days count from the first plan, day 5 after the CT."""
    structures: list[dict[str, Any]] = [
        {"structure_id": name, "structure_name": name, "volume_cc": 80.0} for name in NAMES
    ]
    metrics: list[dict[str, Any]] = [
        {
            **{"structure_id": name, "structure_name": name, "dose_id": DOSE_IDS[label], "dose_coverage_pct": 100.0},
            **dict.fromkeys(DOSE_COLUMNS, gy),
            "rx_gy": gy if name == "PTV" else None,
        }
        for label, gy in BY_PLAN_GY.items()
        for name in NAMES
    ]
    fractions: list[dict[str, Any]] = [
        {"plan_id": plan_id, "fraction_group": 1, "record_status": "planned", "fractions_planned": planned}
        for plan_id, planned in (("plan-01", 3), ("plan-02", 2))
    ]
    for plan_id, day, number in [("plan-01", d, d) for d in (1, 2, 3)] + [("plan-02", 35 + d, d) for d in (1, 2)]:
        row = {"plan_id": plan_id, "record_id": f"rec-{day:02d}", "fraction_number": number, "day": day}
        fractions.append({**row, "record_status": "normal", "delivered_mu": 100.0 + number})
    delivered = {"fractions_delivered": 5, "course_total_status": "ok", "plan_rx_total_gy": 66.0}
    courses: list[dict[str, Any]] = [
        {"course_kind": "planned", **delivered},
        {"course_kind": "images_only", "patient_id": "p2", "course_total_status": "none"},
    ]
    return {"courses": courses, "structures": structures, "dvh_metrics": metrics, "fractions": fractions}


def write(table: Table, rows: list[dict[str, Any]], folder: Path) -> None:
    filler = {c.name: "x" for c in table.columns if not c.nullable and c.dtype == "string"}
    manual = {"structure_source": "manual"} if table.column("structure_source") else {}
    full = [{**filler, **manual, "patient_id": "p1", "course_id": "c1", **row} for row in rows]
    table.write(table.frame(full), folder / f"{table.name}.parquet")


def compared(folder: Path, rows: Rows, expected: dict[str, Any] | None = None) -> Comparison:
    for table in (COURSES, STRUCTURES, DVH_METRICS, FRACTIONS):
        write(table, rows[table.name], folder)
    (folder / "truth.json").write_text(json.dumps(expected or truth()))
    keys = [{"patient_key": "DEMO-1", "patient_id": "p1"}, {"patient_key": "DEMO-2", "patient_id": "p2"}]
    pd.DataFrame(keys).to_parquet(folder / "identity.parquet")
    return compare(folder / "truth.json", folder, folder / "identity.parquet")


def test_tables_that_agree_pass_and_every_number_is_compared(tmp_path: Path) -> None:
    found = compared(tmp_path, right_rows())
    assert found.failures == []
    assert len(found.deviations) == 2 + len(DOSE_COLUMNS) * len(NAMES) * 3


def row_of(rows: Rows, table: str, **where: Any) -> dict[str, Any]:
    (row,) = (r for r in rows[table] if all(r.get(k) == v for k, v in where.items()))
    return row


def change(table: str, where: dict[str, Any], **values: Any) -> Callable[[Rows], None]:
    return lambda rows: row_of(rows, table, **where).update(values)


def remove(table: str, **where: Any) -> Callable[[Rows], None]:
    return lambda rows: rows[table].remove(row_of(rows, table, **where))


TOTAL_PTV = {"dose_id": "total", "structure_name": "PTV"}
SECOND = {"plan_id": "plan-01", "fraction_number": 2}
COURSE = {"course_kind": "planned"}
FAULTS = {
    "a volume": (change("structures", {"structure_name": "PTV"}, volume_cc=80.1), "DEMO-1 PTV volume_cc"),
    "a volume missing": (change("structures", {"structure_name": "PTV"}, volume_cc=None), "DEMO-1 PTV volume_cc"),
    "a structure missing": (remove("structures", structure_name="PTV"), "DEMO-1 PTV: 0 rows"),
    "a dose of the total": (change("dvh_metrics", TOTAL_PTV, d95_gy=66.4), "DEMO-1 PTV total d95_gy"),
    "coverage": (change("dvh_metrics", TOTAL_PTV, dose_coverage_pct=99.8), "coverage 99.8 %"),
    "a row of a plan missing": (remove("dvh_metrics", dose_id="plan-02", structure_name="Heart"), "Heart: 0 rows"),
    "a row of the total missing": (remove("dvh_metrics", **TOTAL_PTV), "DEMO-1 total PTV: 0 rows"),
    "prescription of a plan": (
        change("dvh_metrics", {"dose_id": "plan-02", "structure_name": "PTV"}, rx_gy=66.0),
        "plan-02: prescription [66.0] instead of 16.0",
    ),
    "prescription of the total": (change("dvh_metrics", TOTAL_PTV, rx_gy=50.0), "[50.0] instead of 66.0"),
    "no prescription of the total": (change("dvh_metrics", TOTAL_PTV, rx_gy=None), "[] instead of 66.0"),
    "day of a record": (change("fractions", SECOND, day=7), "plan-01: 3 records for 3, the first that differs: (2, 2"),
    "units of a record": (change("fractions", SECOND, delivered_mu=101.0), "the first that differs: (2, 2, 102.0)"),
    "units of a record missing": (change("fractions", SECOND, delivered_mu=None), "the first that differs: (2,"),
    "a record missing": (remove("fractions", **SECOND), "plan-01: 2 records for 3, the first that differs: (2,"),
    "a record interrupted": (change("fractions", SECOND, record_status="machine"), "2 records for 3"),
    "fractions planned": (
        change("fractions", {"plan_id": "plan-02", "record_status": "planned"}, fractions_planned=25),
        "plan-02: fractions planned [25] instead of 2",
    ),
    "fractions of the course": (change("courses", COURSE, fractions_delivered=4), "fractions_delivered 4 instead of 5"),
    "status of the total": (change("courses", COURSE, course_total_status="ambiguous"), "ambiguous instead of ok"),
    "prescription of the course": (change("courses", COURSE, plan_rx_total_gy=None), "None instead of 66.0"),
    "kind of a course": (
        change("courses", {"course_kind": "images_only"}, course_kind="other"),
        "kind other instead of images_only",
    ),
    "a course missing": (remove("courses", course_kind="images_only"), "DEMO-2: 0 courses instead of 1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_gives_one_failure_that_names_it(tmp_path: Path, fault: str) -> None:
    make, words = FAULTS[fault]
    rows = right_rows()
    make(rows)
    failures = compared(tmp_path, rows).failures
    # a row that is gone takes its prescription with it
    assert len(failures) == (2 if fault == "a row of the total missing" else 1), failures
    assert words in failures[0]


def test_the_whole_total_missing_is_a_failure_for_every_structure(tmp_path: Path) -> None:
    rows = right_rows()
    rows["dvh_metrics"] = [row for row in rows["dvh_metrics"] if row["dose_id"] != "total"]
    found = compared(tmp_path, rows).failures
    assert [f for f in found if "0 rows" in f] == [f"DEMO-1 total {name}: 0 rows instead of 1" for name in NAMES]


def test_a_total_that_the_truth_does_not_prove_is_a_failure(tmp_path: Path) -> None:
    expected = truth()
    expected["patients"]["DEMO-1"]["total_proved"] = False
    found = compared(tmp_path, right_rows(), expected).failures
    assert "DEMO-1: a total that nothing proves" in found
    assert "DEMO-1: course_total_status ok instead of ambiguous" in found


def test_a_deviation_below_its_limit_is_none(tmp_path: Path) -> None:
    rows = right_rows()
    row_of(rows, "dvh_metrics", **TOTAL_PTV)["dmean_gy"] = 66.0 * 1.0049
    found = compared(tmp_path, rows)
    assert found.failures == []
    largest = found.largest("dose")
    assert largest is not None and (largest.column, round(largest.pct, 2)) == ("dmean_gy", 0.49)


@pytest.mark.parametrize("name", ["truth.json", "fractions.parquet", "courses.parquet", "identity.parquet"])
def test_a_missing_file_is_a_usage_error(tmp_path: Path, name: str) -> None:
    compared(tmp_path, right_rows())
    (tmp_path / name).unlink()
    with pytest.raises(UsageError, match=name):
        compare(tmp_path / "truth.json", tmp_path, tmp_path / "identity.parquet")


@pytest.mark.parametrize(("volume_cc", "failures"), [(102.0, 0), (90.0, 1)])
def test_a_derived_structure_is_held_to_its_closed_form(tmp_path: Path, volume_cc: float, failures: int) -> None:
    rows, expected = right_rows(), truth()
    derived = {"structure_source": "derived", "structure_id": "d", "structure_name": "GTV_grown_5mm"}
    rows["structures"].append({**derived, "volume_cc": volume_cc})
    expected["tolerances"]["derived_volume_pct"] = 5.0
    expected["patients"]["DEMO-1"]["derived"] = {"GTV_grown_5mm": 100.0}
    found = compared(tmp_path, rows, expected)
    assert [f.split(":")[0] for f in found.failures] == ["DEMO-1 GTV_grown_5mm volume_cc"] * failures


def test_an_automatic_structure_of_the_same_name_is_not_taken_for_the_manual_one(tmp_path: Path) -> None:
    rows = right_rows()
    automatic = {"structure_source": "totalsegmentator", "structure_id": "auto", "structure_name": "Heart"}
    rows["structures"].append({**automatic, "volume_cc": 1.0})
    assert compared(tmp_path, rows).failures == []

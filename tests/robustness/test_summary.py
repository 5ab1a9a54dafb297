"""The summary against a table whose variances are known, and against the statistics of each group by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtpipeline.config import parse_config
from rtpipeline.contracts.tables import ROBUSTNESS, ROBUSTNESS_SUMMARY
from rtpipeline.robustness import statistics, summary
from rtpipeline.robustness.labels import judge
from rtpipeline.robustness.summary import summarise

CONFIG = parse_config({}).radiomics_robustness
STEADY, MOVING, SIGNED = "original_firstorder_Mean", "original_glcm_Contrast", "original_firstorder_Skewness"


def row(patient: int, state: str, values: dict[str, float] | None, **changes: Any) -> dict[str, Any]:
    base = {
        "cohort": "c",
        "patient_id": f"p{patient:02d}",
        "course_id": f"p{patient:02d}-c01",
        "image_id": "ct-01",
        "modality": "CT",
        "structure_set_id": "rs-01",
        "structure_source": "manual",
        "structure_id": "manual-rs-01-0001",
        "structure_name": "GTV",
        "state": state,
        "status": "ok" if values else "scan_edge",
        "perturbation_profile": "mild",
        "profile": "ct",
        "stage_key": "k",
        "rtpipeline_version": "0",
    }
    return base | (values or {}) | changes


def cohort(patients: int = 12, states: int = 5) -> list[dict[str, Any]]:
    """STEADY differs between patients alone by far, MOVING within them, SIGNED about zero."""
    rng = np.random.default_rng(1)
    rows = []
    for patient in range(patients):
        level = rng.normal(100, 20)
        for state in range(states):
            values = {
                STEADY: level + rng.normal(0, 0.5),
                MOVING: 50 + rng.normal(0, 10),
                SIGNED: rng.normal(0, 1),
            }
            rows.append(row(patient, f"s{state}", values))
    return rows


def saved(rows: list[dict[str, Any]], folder: Path) -> Path:
    ROBUSTNESS.write(ROBUSTNESS.frame(rows), folder / "robustness.parquet")
    return folder / "robustness.parquet"


def by_feature(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, dict[str, Any]]:
    return {r["feature"]: r for r in rows if all(r[k] == v for k, v in wanted.items())}


def test_a_feature_that_differs_between_patients_alone_is_robust_and_the_others_are_not(tmp_path: Path) -> None:
    found = by_feature(summarise(saved(cohort(), tmp_path), CONFIG))
    assert {name: r["label"] for name, r in found.items()} == {STEADY: "robust", MOVING: "poor", SIGNED: "poor"}
    steady, moving, signed = found[STEADY], found[MOVING], found[SIGNED]
    assert steady["icc_1_1_low"] > 0.99 and steady["reason"] is None and steady["cov_pct"] < 1.0
    assert moving["reason"].startswith("lower bound of ICC(1,1) ") and moving["cov_status"] == "ok"
    assert signed["cov_status"] in ("undefined", "some_undefined") and "CoV does not count" in signed["reason"]
    assert (steady["n_patients"], steady["n_subjects"], steady["n_complete"], steady["n_dropped"]) == (12, 12, 12, 0)
    assert steady["n_states"] == 5
    ROBUSTNESS_SUMMARY.frame(found.values())


def test_the_numbers_are_the_statistics_of_the_complete_cases(tmp_path: Path) -> None:
    rows = cohort()
    rows[7] = row(1, "s2", None)  # patient 1 loses a state, and with it everything
    del rows[-1]  # the last patient has no row of a state
    rows[23].pop(MOVING)  # patient 4 has no value of one feature in one state
    found = by_feature(summarise(saved(rows, tmp_path), CONFIG))
    complete = {STEADY: [0, 2, 3, 4, 5, 6, 7, 8, 9, 10], MOVING: [0, 2, 3, 5, 6, 7, 8, 9, 10]}
    for feature, patients in complete.items():
        values = np.array(
            [[r[feature] for r in rows if r["patient_id"] == f"p{p:02d}"] for p in patients]
        )[:, :, None]  # fmt: skip
        one = found[feature]
        assert (one["n_subjects"], one["n_complete"], one["n_dropped"]) == (12, len(patients), 12 - len(patients))
        for name, icc in (("1_1", statistics.icc_1_1), ("a_1", statistics.icc_a_1), ("c_1", statistics.icc_c_1)):
            expected = icc(values)
            assert one[f"icc_{name}"] == pytest.approx(expected.value[0], rel=1e-9)
            assert one[f"icc_{name}_low"] == pytest.approx(expected.low[0], rel=1e-9)
            assert one[f"icc_{name}_high"] == pytest.approx(expected.high[0], rel=1e-9)
        assert one["cov_pct"] == pytest.approx(np.median(statistics.cov_pct(values)))
        assert one["qcd_q3"] == pytest.approx(np.percentile(statistics.qcd(values), 75))


def test_groups_are_of_one_source_name_and_modality_by_tg263_where_there_is_one(tmp_path: Path) -> None:
    rows = cohort(2, 2)
    others = [
        {"structure_source": "custom", "structure_id": "custom-1"},
        {"structure_name": "tumour", "structure_name_tg263": "GTV", "structure_id": "manual-2"},
        {"structure_name": "tumour", "structure_id": "manual-3"},
        {"modality": "MR", "structure_id": "manual-4", "profile": "mr"},
    ]
    rows += [r | change for change in others for r in cohort(2, 2)]
    found = summarise(saved(rows, tmp_path), CONFIG)
    groups = {(r["structure_source"], r["structure_group"], r["modality"]): r for r in found}
    assert {k: (r["n_subjects"], r["n_patients"]) for k, r in groups.items()} == {
        ("custom", "GTV", "CT"): (2, 2),
        ("manual", "GTV", "CT"): (4, 2),
        ("manual", "GTV", "MR"): (2, 2),
        ("manual", "tumour", "CT"): (2, 2),
    }
    assert groups["manual", "GTV", "MR"]["profile"] == "mr"


def test_a_feature_that_a_group_never_has_has_no_row(tmp_path: Path) -> None:
    rows = cohort(2, 2) + [
        row(p, s, {"original_glcm_Idm": 1.0 + p}, modality="MR") for p in (3, 4) for s in ("s0", "s1")
    ]
    found = summarise(saved(rows, tmp_path), CONFIG)
    assert {r["feature"] for r in found if r["modality"] == "MR"} == {"original_glcm_Idm"}
    assert {r["feature"] for r in found if r["modality"] == "CT"} == {STEADY, MOVING, SIGNED}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (cohort(1, 4), "1 complete subjects; need 2"),
        (cohort(4, 1), "1 state; need 2"),
        ([row(p, f"s{s}", {STEADY: 3.0}) for p in range(3) for s in range(3)], "the same in every subject and state"),
        (
            [row(p, f"s{s}", {STEADY: 3.0} if s else None) for p in range(3) for s in range(2)],
            "0 complete subjects; need 2",
        ),
    ],
)
def test_what_cannot_be_evaluated_says_why(tmp_path: Path, rows: list[dict[str, Any]], reason: str) -> None:
    one = by_feature(summarise(saved(rows, tmp_path), CONFIG))[STEADY]
    assert (one["label"], one["icc_1_1"], one["icc_1_1_low"]) == ("not_evaluable", None, None)
    assert one["reason"] == reason


def test_a_table_without_rows_has_no_summary(tmp_path: Path) -> None:
    assert summarise(saved([], tmp_path), CONFIG) == []
    assert summarise(saved([row(0, "s0", None)], tmp_path), CONFIG) == []


def test_reading_few_columns_at_once_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(cohort(3, 3), tmp_path)
    whole = ROBUSTNESS_SUMMARY.frame(summarise(path, CONFIG))
    monkeypatch.setattr(summary, "COLUMNS_AT_ONCE", 1)
    assert ROBUSTNESS_SUMMARY.frame(summarise(path, CONFIG)).equals(whole)


def test_statistics_that_are_switched_off_are_null(tmp_path: Path) -> None:
    path = saved(cohort(3, 3), tmp_path)
    no_icc = by_feature(
        summarise(path, CONFIG.model_copy(update={"metrics": CONFIG.metrics.model_copy(update={"icc": False})}))
    )
    assert no_icc[STEADY]["label"] == "not_evaluable" and no_icc[STEADY].get("icc_1_1") is None
    assert no_icc[STEADY]["cov_pct"] is not None
    no_cov = by_feature(
        summarise(path, CONFIG.model_copy(update={"metrics": CONFIG.metrics.model_copy(update={"cov": False})}))
    )
    assert no_cov[STEADY].get("cov_pct") is None and no_cov[STEADY]["label"] == "robust"


@pytest.mark.parametrize(
    ("low", "cov", "label", "reason"),
    [
        (0.90, 10.0, "robust", ""),
        (0.899, 10.0, "acceptable", "lower bound of ICC(1,1) 0.899, below 0.9"),
        (0.95, 10.1, "acceptable", "CoV 10.1 %, above 10 %"),
        (0.75, 20.0, "acceptable", "lower bound of ICC(1,1) 0.750, below 0.9; CoV 20.0 %, above 10 %"),
        (0.749, 5.0, "poor", "lower bound of ICC(1,1) 0.749, below 0.75"),
        (0.95, 20.1, "poor", "CoV 20.1 %, above 20 %"),
    ],
)
def test_labels_change_at_the_thresholds(low: float, cov: float, label: str, reason: str) -> None:
    judged = judge({"icc_1_1_low": low, "cov_pct": cov}, 5, 5, 12, CONFIG)
    assert (judged.label, judged.reason, judged.cov_status) == (label, reason, "ok")


def test_where_cov_is_undefined_in_a_subject_the_icc_alone_decides_and_the_row_says_so() -> None:
    judged = judge({"icc_1_1_low": 0.95, "cov_pct": 90.0}, 5, 4, 12, CONFIG)
    assert judged.label == "robust" and judged.cov_status == "some_undefined"
    assert judged.reason == "CoV does not count: defined in 4 of 5 subjects"


def test_thresholds_come_from_the_configuration() -> None:
    loose = parse_config({"radiomics_robustness": {"thresholds": {"robust": {"icc": 0.5, "cov_pct": 50}}}})
    assert judge({"icc_1_1_low": 0.6, "cov_pct": 40.0}, 5, 5, 12, loose.radiomics_robustness).label == "robust"

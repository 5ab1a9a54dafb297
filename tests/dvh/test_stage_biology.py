"""EQD2, BED, gEUD and constraints of whole courses, through the stages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset

from rtpipeline.config import Config, DvhConfig
from rtpipeline.contracts.tables import CONSTRAINTS, DVH_METRICS
from rtpipeline.demo.headers import reference_to
from rtpipeline.demo.small import SmallPatient, small_patient
from tests.synthetic.edits import new_dose, second_plan, tie
from tests.synthetic.faults import FAULTS
from tests.synthetic.pipeline import Chain, run_chain

AB = 3.0
NEAR_GY = 0.03
"""The ends of the box along z depend on the solid (0.02 Gy), the square between voxel centres on interpolation."""

LIMITS = """structure,metric,limit
PTV,V90%,>= 95 %
PTV,D95,>= 99 %
SpinalCord,D0.03cc,< 40
SpinalCord,EQD2 D2%,< 50
PTV,mean,< 60 Gy
Heart,mean,< 26 Gy
"""


def mean_eqd2_of_ptv(parts: list[tuple[float, float]]) -> float:
    """Of plans (dose at the middle in Gy, fractions) that rise by (0.10, -0.06, 0.08) Gy/mm per 50 Gy in a box of
    36 mm: the mean of the square is that of the middle and the variance along each side."""
    bed = 0.0
    for dose, fractions in parts:
        variance = sum((g * dose / 50.0) ** 2 * 36.0**2 / 12.0 for g in (0.10, -0.06, 0.08))
        bed += dose + (dose * dose + variance) / (fractions * AB)
    return bed / (1.0 + 2.0 / AB)


def chain_of(made: SmallPatient, folder: Path, manifest: list[str] | None = None, **dvh: Any) -> Chain:
    """The stages over a patient; `manifest` are rows below plan_uid,structure,fractions_delivered,alpha_beta_gy."""
    settings: dict[str, Any] = {"dvh": DvhConfig(**{"alpha_beta_gy": {"PTV": AB, "SpinalCord": 2.0}, **dvh})}
    if manifest is not None:
        path = folder / "manifest.csv"
        path.write_text("\n".join(["plan_uid,structure,fractions_delivered,alpha_beta_gy", *manifest]) + "\n")
        settings["manifest"] = path
    return run_chain(made.save(folder / "export"), folder / "work", Config(**settings))


def rows_of(chain: Chain, name: str = "PTV") -> dict[str, dict[str, Any]]:
    """Rows of one structure by dose."""
    return {r["dose_id"]: r for r in chain.rows("dvh", "dvh_metrics") if r["structure_name"] == name}


def two_plans(fractions: int = 4, rx_gy: float = 20.0) -> SmallPatient:
    made = small_patient()
    made.extra = second_plan(made, rx_gy=rx_gy, fractions=fractions)
    return made


def delivered(made: SmallPatient, *counts: int) -> list[str]:
    plans: list[Dataset] = [made.rtplan, *made.extra[::2]]  # type: ignore[list-item]
    return [f"{plan.SOPInstanceUID},,{n}," for plan, n in zip(plans, counts, strict=True)]


def test_one_plan_has_eqd2_only_where_alpha_beta_is_declared(tmp_path: Path) -> None:
    limits = tmp_path / "limits.csv"
    limits.write_text(LIMITS)
    chain = chain_of(small_patient(), tmp_path, geud_a={"PTV": -10.0, "BODY": 1.0}, constraints=limits)
    row = rows_of(chain)["plan-01"]
    assert (row["eqd2_status"], row["eqd2_fractions"], row["alpha_beta_source"]) == ("ok", 25.0, "configuration")
    assert row["eqd2_dmean_gy"] == pytest.approx(mean_eqd2_of_ptv([(50.0, 25)]), abs=NEAR_GY)
    assert row["bed_dmean_gy"] == pytest.approx(row["eqd2_dmean_gy"] * (1 + 2 / AB))
    for name in ("dmin", "dmax", "d95", "d2", "d0_03cc"):  # a histogram that is stretched keeps its order
        d = row[f"{name}_gy"]
        assert row[f"eqd2_{name}_gy"] == pytest.approx(d * (d / 25 + AB) / (2 + AB), rel=1e-5), name
    assert row["dmin_gy"] < row["geud_gy"] < row["dmean_gy"]
    assert row["eqd2_dmin_gy"] < row["eqd2_geud_gy"] < row["eqd2_dmean_gy"]
    body = rows_of(chain, "BODY")["plan-01"]
    assert pd.isna(body["eqd2_status"]) and np.isnan(body["eqd2_dmean_gy"]) and np.isnan(body["alpha_beta_gy"])
    assert body["geud_gy"] == pytest.approx(body["dmean_gy"], rel=1e-4)
    assert rows_of(chain, "SpinalCord")["plan-01"]["alpha_beta_gy"] == 2.0
    assert_constraints_hold(chain)


def assert_constraints_hold(chain: Chain) -> None:
    """LIMITS in the only plan."""
    table = CONSTRAINTS.read(chain.folder(chain.course.course_id, "dvh") / "constraints.parquet")
    got = {(r["constraint_structure"], r["metric"]): r for r in table.to_dict("records")}
    ptv, cord = rows_of(chain)["plan-01"], rows_of(chain, "SpinalCord")["plan-01"]
    assert got["PTV", "d95_gy"]["value"] == pytest.approx(100 * ptv["d95_gy"] / 50.0)
    assert got["SpinalCord", "d0_03cc_gy"]["value"] == cord["d0_03cc_gy"]
    assert got["SpinalCord", "eqd2_d2_gy"]["value"] == cord["eqd2_d2_gy"]
    assert {key: r["result"] for key, r in got.items()} == {
        ("PTV", "v90rx_pct"): "pass",
        ("PTV", "d95_gy"): "pass" if ptv["d95_gy"] >= 49.5 else "fail",
        ("SpinalCord", "d0_03cc_gy"): "pass" if cord["d0_03cc_gy"] < 40 else "fail",
        ("SpinalCord", "eqd2_d2_gy"): "pass" if cord["eqd2_d2_gy"] < 50 else "fail",
        ("PTV", "dmean_gy"): "pass",
        ("Heart", "dmean_gy"): "not_evaluable",
    }
    heart = got["Heart", "dmean_gy"]
    assert heart["reason"] == "no structure of this name" and pd.isna(heart["structure_id"])
    assert chain.record(chain.course.course_id, "dvh").counts["constraints_not_evaluable"] == 1
    (found,) = chain.found("CONSTRAINT_NAME")
    assert found.measured == "no structure is called 'Heart'"


def test_two_plans_are_added_in_eqd2_and_not_from_their_total(tmp_path: Path) -> None:
    made = two_plans()
    limits = tmp_path / "limits.csv"
    limits.write_text(LIMITS)
    chain = chain_of(made, tmp_path, delivered(made, 25, 4), constraints=limits)
    rows = rows_of(chain)
    assert {i: r["eqd2_fractions"] for i, r in rows.items()} == {"plan-01": 25.0, "plan-02": 4.0, "total": 29.0}
    expected = mean_eqd2_of_ptv([(50.0, 25), (20.0, 4)])
    assert expected == pytest.approx(82.0, abs=0.2)
    assert rows["total"]["eqd2_dmean_gy"] == pytest.approx(expected, abs=NEAR_GY)
    parts = rows["plan-01"]["eqd2_dmean_gy"] + rows["plan-02"]["eqd2_dmean_gy"]
    assert rows["total"]["eqd2_dmean_gy"] == pytest.approx(parts, abs=NEAR_GY)
    # only the dose of the whole course is held against the table
    assert set(chain.table("dvh", "constraints")["dose_id"].dropna()) == {"total"}


def test_a_boost_comes_through_its_registration_before_it_is_added(tmp_path: Path) -> None:
    source = tmp_path / "export"
    source.mkdir()
    FAULTS["REG_APPLIED/boost"].write(source)
    plans = {ds.RTPlanLabel: ds for ds in map(pydicom.dcmread, source.glob("RTPLAN*"))}
    lines = [f"{plans[label].SOPInstanceUID},{n}" for label, n in (("PLAN1", 25), ("PLAN2", 8))]
    (tmp_path / "manifest.csv").write_text("\n".join(["plan_uid,fractions_delivered", *lines]))
    config = Config(dvh=DvhConfig(alpha_beta_gy={"PTV": AB}), manifest=tmp_path / "manifest.csv")
    rows = rows_of(run_chain(source, tmp_path / "work", config))
    assert rows["total"]["dose_registrations"] == "reg-01" and rows["total"]["eqd2_status"] == "ok"
    assert rows["total"]["eqd2_dmean_gy"] == pytest.approx(mean_eqd2_of_ptv([(50.0, 25), (16.0, 8)]), abs=NEAR_GY)


@pytest.mark.parametrize(("factor", "status"), [(1.4, "ok"), (1.5, "parts_differ")])
def test_a_dose_of_several_plans_has_that_of_its_parts_if_they_are_its_parts(
    tmp_path: Path, factor: float, status: str
) -> None:
    made = two_plans()
    both = new_dose(made, made.dose.scaled(factor), summation="MULTI_PLAN")
    both.ReferencedRTPlanSequence.append(reference_to(made.extra[0]))
    made.extra.append(both)
    total = rows_of(chain_of(made, tmp_path))["total"]
    assert (total["dose_basis"], total["eqd2_status"]) == ("multi_plan", status)
    if status == "ok":
        assert total["eqd2_dmean_gy"] == pytest.approx(mean_eqd2_of_ptv([(50.0, 25), (20.0, 4)]), abs=NEAR_GY)
    else:
        assert np.isnan(total["eqd2_dmean_gy"]) and np.isnan(total["eqd2_fractions"])


def test_a_plan_stopped_after_10_of_25_fractions_has_fractions_of_the_planned_size(tmp_path: Path) -> None:
    made = small_patient()
    chain = chain_of(made, tmp_path, delivered(made, 10))
    total = rows_of(chain)["total"]
    assert total["eqd2_fractions"] == pytest.approx(10.0)
    assert total["eqd2_dmean_gy"] == pytest.approx(0.4 * mean_eqd2_of_ptv([(50.0, 25)]), abs=NEAR_GY)


def test_without_evidence_each_plan_has_its_own_and_no_constraint_is_judged(tmp_path: Path) -> None:
    limits = tmp_path / "limits.csv"
    limits.write_text(LIMITS)
    chain = chain_of(two_plans(), tmp_path, constraints=limits)
    rows = rows_of(chain)
    assert {i: (r["dose_status"], r["eqd2_status"]) for i, r in rows.items()} == {
        "plan-01": ("ambiguous", "ok"), "plan-02": ("ambiguous", "ok"),
    }  # fmt: skip
    bounds = [r for r in chain.rows("dvh", "constraints") if r["constraint_structure"] == "PTV"]
    assert {r["result"] for r in bounds} == {"not_evaluable"}
    assert {r["reason"] for r in bounds} == {"not the dose of the whole course (ambiguous)"}
    assert not np.isnan(bounds[0]["value"])


@pytest.mark.parametrize(
    ("change", "status"),
    [("effective", "effective_dose"), ("no fractions", "fractions_unknown"), ("no plan", "no_plan")],
)
def test_a_dose_that_the_model_does_not_describe_has_none_and_is_told(tmp_path: Path, change: str, status: str) -> None:
    made = small_patient()
    assert made.rtdose is not None and made.rtplan is not None
    if change == "effective":
        made.rtdose.DoseType = "EFFECTIVE"
    elif change == "no fractions":
        made.rtplan.FractionGroupSequence[0].NumberOfFractionsPlanned = None
    else:
        made.rtplan = None
    chain = chain_of(made, tmp_path)
    (row,) = rows_of(chain).values()
    assert row["eqd2_status"] == status and np.isnan(row["eqd2_dmean_gy"]) and np.isnan(row["eqd2_fractions"])
    assert not np.isnan(row["dmean_gy"])
    (found,) = chain.found("EQD2_NOT_COMPUTED")
    assert (found.severity, found.measured) == ("I", f"{status}: PTV, SpinalCord")


def test_concurrent_plans_have_none(tmp_path: Path) -> None:
    made = two_plans()
    tie(made.extra[0], made.rtplan, "CONCURRENT")  # type: ignore[arg-type]
    total = rows_of(chain_of(made, tmp_path))["total"]
    assert total["eqd2_status"] == "concurrent_plans"


def test_the_manifest_gives_alpha_beta_and_wins(tmp_path: Path) -> None:
    chain = chain_of(small_patient(), tmp_path, [",PTV,,10", ",,,4"])
    row = rows_of(chain)["plan-01"]
    assert (row["alpha_beta_gy"], row["alpha_beta_source"]) == (10.0, "manifest")
    assert row["eqd2_dmax_gy"] == pytest.approx(row["dmax_gy"] * (row["dmax_gy"] / 25 + 10.0) / 12.0, rel=1e-5)
    (found,) = chain.found("OBJECT_NOT_USED")
    assert found.measured == "1 rows with alpha_beta_gy and no structure"


def test_nothing_is_computed_that_nobody_declared(tmp_path: Path) -> None:
    chain = chain_of(small_patient(), tmp_path, alpha_beta_gy={})
    table = chain.table("dvh", "dvh_metrics")
    assert not [name for name in table.columns if name.startswith(("bed_", "eqd2_d"))]
    assert table["eqd2_status"].isna().all() and table["geud_gy"].isna().all()
    assert set(DVH_METRICS.read(chain.folder(chain.course.course_id, "dvh") / "dvh_metrics.parquet")["dose_id"]) == {
        "plan-01"
    }
    assert not (chain.folder(chain.course.course_id, "dvh") / "constraints.parquet").exists()
    assert not chain.found("EQD2_NOT_COMPUTED")


def test_configured_metrics_are_the_columns_and_no_others(tmp_path: Path) -> None:
    chain = chain_of(small_patient(), tmp_path, d_pct=[97.5], d_cc=[0.035], v_gy=[12.5], v_rx_pct=[90.0, 102.5])
    names = {n for n in chain.table("dvh", "dvh_metrics").columns if re.fullmatch(r"(eqd2_)?[dv]\d.*", n)}
    assert names == {
        "d97_5_gy", "d0_035cc_gy", "v12_5gy_pct", "v12_5gy_cc", "v90rx_pct", "v102_5rx_pct", "eqd2_d97_5_gy",
        "eqd2_d0_035cc_gy",
    }  # fmt: skip
    row = rows_of(chain)["plan-01"]
    assert not np.isnan([row[name] for name in sorted(names)]).any()

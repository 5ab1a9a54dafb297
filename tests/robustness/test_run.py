"""Robustness within `rtpipeline run`: from exports of two patients to the cohort's summary."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from rtpipeline.demo.small import CENTRE_MM, small_patient
from rtpipeline.demo.solids import Cylinder, sphere
from rtpipeline.robustness.statistics import icc_1_1

COMMAND = [sys.executable, "-m", "rtpipeline"]
BODY = ("EXTERNAL", Cylinder(CENTRE_MM, (50.0, 44.0), 28.6))
SETTINGS = {
    "radiomics": {"profile": "original", "structures": []},
    "radiomics_robustness": {"profile": "demo", "modes": ["translation", "volume"]},
    "segmentation": {"enabled": False},
    "custom_models": {"enabled": False},
}
STATES = 6
"""Of the profile's twelve that these modes leave, the one with all factors included."""


def patient(number: int, radius_mm: float, height_mm: float) -> object:
    target = Cylinder(CENTRE_MM, (14.0, 14.0), height_mm)
    solids = {"BODY": BODY, "GTV": ("GTV", sphere(CENTRE_MM, radius_mm)), "PTV": ("PTV", target)}
    return small_patient(seed=number, patient_id=f"DEMO-{900 + number}", solids=solids)


@pytest.mark.slow
def test_two_patients_give_a_summary_in_which_the_edge_blocks_nothing(tmp_path: Path) -> None:
    for number, (radius_mm, height_mm) in enumerate([(9.0, 20.0), (12.0, 20.0), (14.0, 28.6)], start=1):
        patient(number, radius_mm, height_mm).save(tmp_path / "export" / str(number))  # type: ignore[attr-defined]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    arguments = ("run", "--input", tmp_path / "export", "--output", tmp_path / "store", "--json")
    done = subprocess.run(
        [*COMMAND, *map(str, (*arguments, "--config", tmp_path / "config.yaml"))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["stages"]["robustness"] == {"done": 3}

    latest = tmp_path / "store" / "cohort" / "results" / "latest"
    rows = pq.read_table(latest / "robustness.parquet").to_pylist()
    assert len(rows) == 3 * 2 * STATES
    assert sorted({(r["structure_name"], r["status"]) for r in rows}) == [
        ("GTV", "ok"),
        ("PTV", "ok"),
        ("PTV", "scan_edge"),
    ]
    found = {
        (r["structure_group"], r["feature"]): r
        for r in pq.read_table(latest / "robustness_summary.parquet").to_pylist()
    }
    assert {name for name, _ in found} == {"GTV", "PTV"} and len(found) == 2 * 107
    volume = "original_shape_VoxelVolume"
    counts = {name: found[name, volume] for name in ("GTV", "PTV")}
    assert [(c["n_subjects"], c["n_complete"], c["n_dropped"], c["n_states"]) for c in counts.values()] == [
        (3, 3, 0, STATES),
        (3, 2, 1, STATES),
    ]
    by_patient = {
        p: [r[volume] for r in rows if (r["patient_id"], r["structure_name"]) == (p, "GTV")]
        for p in {r["patient_id"] for r in rows}
    }
    expected = icc_1_1(np.array(list(by_patient.values()))[:, :, None]).value[0]
    assert counts["GTV"]["icc_1_1"] == pytest.approx(expected) and expected > 0.9, "radii of 9, 12 and 14 mm"
    codes = [f["code"] for f in pq.read_table(latest / "findings.parquet").to_pylist() if f["code"].startswith("ROB_")]
    assert codes == ["ROB_EDGE"]
    assert (latest / "csv" / "robustness_summary.csv").stat().st_size > 1000
    assert "Assessing robustness of radiomic features by image perturbation" in (latest / "methods.md").read_text()

"""Features within `rtpipeline run`: workers of a stage that itself was forked from a warm server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from rtpipeline.demo.small import small_patient

COMMAND = [sys.executable, "-m", "rtpipeline"]


def rtpipeline(*arguments: object, code: int = 0) -> dict:
    done = subprocess.run([*COMMAND, *map(str, arguments), "--json"], capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def statuses(store: Path) -> dict[str, str]:
    rows = pq.read_table(store / "cohort" / "results" / "latest" / "radiomics.parquet").to_pylist()
    return {row["structure_name"]: row["status"] for row in rows}


@pytest.mark.slow
def test_structures_that_ran_over_their_time_are_listed_and_retry_computes_them(tmp_path: Path) -> None:
    """With a limit far below what any worker needs, both structures are lost and nothing else of the course."""
    export, store, config = small_patient().save(tmp_path / "export"), tmp_path / "store", tmp_path / "config.yaml"

    def write(structures: list[str], limit_s: float) -> None:
        settings = {
            "radiomics": {"profile": "original", "structures": structures},
            "radiomics_robustness": {"enabled": False},
            "segmentation": {"enabled": False},
            "custom_models": {"enabled": False},
            "timeouts": {"radiomics_roi_s": limit_s},
        }
        config.write_text(yaml.safe_dump(settings))

    run = ("run", "--input", export, "--output", store, "--config", config)
    write(["GTV", "PTV"], 1e-4)
    rtpipeline(*run, code=1)
    assert statuses(store) == {"BODY": "not_selected", "GTV": "timeout", "PTV": "timeout", "SpinalCord": "not_selected"}
    findings = pq.read_table(store / "cohort" / "results" / "latest" / "findings.parquet").to_pylist()
    assert sorted(f["object"].rpartition(" ")[2] for f in findings if f["code"] == "RES_TIMEOUT") == ["'GTV'", "'PTV'"]
    write(["GTV", "PTV"], 600)
    rtpipeline(*run, code=1)  # a limit changes no number, so what is partial stays until it is asked for again
    rtpipeline("retry", "--output", store)
    assert statuses(store) == {"BODY": "not_selected", "GTV": "ok", "PTV": "ok", "SpinalCord": "not_selected"}

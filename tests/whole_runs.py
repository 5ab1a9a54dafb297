"""Runs as a user starts them, in processes of their own, and what they leave."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from rtpipeline.contracts.tables import TABLES

COMMAND = [sys.executable, "-m", "rtpipeline"]
RESULT_TABLES = [name for name in TABLES if name != "findings"]
PROVENANCE_OF_TIME = {"run_id"}
SECRET = "0123456789abcdef0123456789abcdef"


def rtpipeline(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=900)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    return done


def contents(store: Path, cohort: str = "cohort") -> dict[str, pd.DataFrame]:
    """Every result table, without what tells time or host."""
    folder = store / cohort / "results" / "latest"
    found = {}
    for name in [*RESULT_TABLES, "findings"]:
        frame = pq.read_table(folder / f"{name}.parquet").to_pandas()
        found[name] = frame.drop(columns=[c for c in frame.columns if c in PROVENANCE_OF_TIME])
    return found


def assert_same_contents(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> None:
    assert left.keys() == right.keys()
    for name, frame in left.items():
        pd.testing.assert_frame_equal(frame, right[name], check_exact=True, obj=name)


def stage_folders(store: Path) -> dict[str, int]:
    """When each course-stage's record was written: what has run again shows a later time."""
    records = store.glob("*/courses/*/*/[0-9a-f]*/stage.json")  # not those of a killed process, in .partial-*
    return {str(p.parent.relative_to(store)): p.stat().st_mtime_ns for p in records}


def wait_for(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.005)

"""What the report reads from a results folder: rows as plain dictionaries, curves of chosen structures only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtpipeline.aggregation.summary import load_run

Row = dict[str, Any]
Array = NDArray[np.float64]

METRIC_COLUMNS = (
    "patient_id", "course_id", "structure_set_id", "structure_id", "structure_name", "structure_name_tg263",
    "structure_source", "dose_id", "roi_type", "dose_status", "volume_cc", "dose_coverage_pct", "dmin_gy", "dmax_gy",
    "dmean_gy", "rx_gy", "d98_gy", "d95_gy", "d2_gy", "v95rx_pct",
)  # fmt: skip
"""Columns of dvh_metrics that the report shows; those that the configuration left out are absent."""

STRUCTURE_COLUMNS = (
    "course_id", "structure_set_id", "structure_id", "structure_source", "structure_name", "roi_number", "roi_type",
    "status", "volume_cc",
)  # fmt: skip

CURVE_COLUMNS = (
    "course_id", "structure_set_id", "structure_id", "structure_name", "dose_id", "dose_gy", "cumulative_volume_cc",
)  # fmt: skip

TPS_COLUMNS = (
    "course_id", "rtdose_id", "dose_id", "structure_set_id", "roi_number", "volume_cc", "dmean_gy", "dmax_gy",
    "dose_gy", "cumulative_volume_cc",
)  # fmt: skip

CONSTRAINT_COLUMNS = (
    "course_id", "constraint", "constraint_structure", "structure_source", "structure_id", "dose_id", "metric", "limit",
    "value", "limit_unit", "result", "reason",
)  # fmt: skip

QC_COLUMNS = ("course_id", "status")

COURSE_PAGES = "report/courses"
"""Folder of the pages of single courses within a results folder; each is named after its course."""

TARGET_TYPES = frozenset({"GTV", "CTV", "PTV"})


def is_target(row: Row) -> bool:
    """Whether a row of metrics is about a target: by its type, or since it has a prescription."""
    return row.get("roi_type") in TARGET_TYPES or row.get("rx_gy") is not None


@dataclass(frozen=True)
class ResultTables:
    """The tables of a results folder that the report shows; the columns it needs, and curves on demand."""

    folder: Path
    run: Row
    courses: list[Row]
    findings: list[Row]
    plans: list[Row]
    structures: list[Row]
    metrics: list[Row]
    constraints: list[Row] = field(default_factory=list)
    qc: list[Row] = field(default_factory=list)
    pages: frozenset[str] = frozenset()
    """courses that have a page of their own"""

    @classmethod
    def load(cls, folder: Path) -> ResultTables:
        """Read a results folder.

        Raises
        ------
        UsageError: the folder holds no results.
        """
        return cls(
            folder=folder,
            run=load_run(folder),
            courses=_rows(folder, "courses"),
            findings=_rows(folder, "findings"),
            plans=_rows(folder, "plans"),
            structures=_rows(folder, "structures", STRUCTURE_COLUMNS),
            metrics=_rows(folder, "dvh_metrics", METRIC_COLUMNS),
            constraints=_rows(folder, "constraints", CONSTRAINT_COLUMNS),
            qc=_rows(folder, "qc", QC_COLUMNS),
            pages=frozenset(page.stem for page in (folder / COURSE_PAGES).glob("*.html")),
        )

    def curves(self, wanted: Callable[[Row], bool]) -> Iterator[Row]:
        """Rows of dvh_curves whose keys are wanted."""
        return _curve_rows(self.folder / "dvh_curves.parquet", CURVE_COLUMNS, wanted)

    def tps_curves(self, wanted: Callable[[Row], bool]) -> Iterator[Row]:
        """Rows of tps_dvh whose keys are wanted."""
        return _curve_rows(self.folder / "tps_dvh.parquet", TPS_COLUMNS, wanted)


def _rows(folder: Path, name: str, columns: Collection[str] | None = None) -> list[Row]:
    path = folder / f"{name}.parquet"
    present = pq.read_schema(path).names
    rows: list[Row] = pq.read_table(path, columns=[n for n in present if columns is None or n in columns]).to_pylist()
    return rows


def _curve_rows(path: Path, columns: Collection[str], wanted: Callable[[Row], bool]) -> Iterator[Row]:
    """One row group at a time; the lists of a row are arrays, None where they are null."""
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        read = file.read_row_group(group, columns=list(columns))
        lists = [f.name for f in read.schema if pa.types.is_list(f.type)]
        rows: list[Row] = read.drop_columns(lists).to_pylist()
        arrays = {name: read[name].combine_chunks() for name in lists}
        for number, row in enumerate(rows):
            if wanted(row):
                yield row | {name: _array(arrays[name], number) for name in lists}


def _array(lists: pa.ListArray, number: int) -> Array | None:
    value = lists[number].values
    return None if value is None else value.to_numpy(zero_copy_only=False)


def by_course(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by their course, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["course_id"], []).append(row)
    return found

"""What the report reads from a results folder: rows as plain dictionaries, curves of chosen courses only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rtpipeline.aggregation.summary import load_run

Row = dict[str, Any]

METRIC_COLUMNS = (
    "patient_id", "course_id", "structure_set_id", "structure_id", "structure_name", "structure_name_tg263",
    "structure_source", "dose_id", "roi_type", "dose_status", "volume_cc", "dose_coverage_pct", "dmin_gy", "dmax_gy",
    "dmean_gy", "rx_gy", "prescription_source", "d98_gy", "d95_gy", "d50_gy", "d2_gy", "v95rx_pct", "hi_icru83",
    "dose_type", "dose_basis",
)  # fmt: skip
"""Columns of dvh_metrics that the report shows; those that the configuration left out are absent."""

TARGET_TYPES = frozenset({"GTV", "CTV", "PTV"})


def is_target(row: Row) -> bool:
    """Whether a row of metrics is about a target: by its type, or since it has a prescription."""
    return row.get("roi_type") in TARGET_TYPES or row.get("rx_gy") is not None


@dataclass(frozen=True)
class ResultTables:
    """The tables of a results folder that the report shows; metrics with the chosen columns, curves on demand."""

    folder: Path
    run: Row
    courses: list[Row]
    findings: list[Row]
    plans: list[Row]
    structures: list[Row]
    metrics: list[Row]
    tps: list[Row]

    @classmethod
    def load(cls, folder: Path) -> ResultTables:
        """Read a results folder.

        Raises
        ------
        UsageError: the folder holds no results.
        """
        run = load_run(folder)
        return cls(
            folder=folder,
            run=run,
            courses=_rows(folder, "courses"),
            findings=_rows(folder, "findings"),
            plans=_rows(folder, "plans"),
            structures=_rows(folder, "structures"),
            metrics=_rows(folder, "dvh_metrics", METRIC_COLUMNS),
            tps=_rows(folder, "tps_dvh"),
        )

    def curves(
        self, courses: Collection[str] | None = None, structures: Collection[tuple[str, str, str]] | None = None
    ) -> Iterator[Row]:
        """Rows of dvh_curves of the given courses, or of (course, structure_id, dose_id), one row group at a time."""
        file = pq.ParquetFile(self.folder / "dvh_curves.parquet")
        names = [
            "course_id",
            "structure_set_id",
            "structure_id",
            "structure_name",
            "dose_id",
            "dose_gy",
            "cumulative_volume_cc",
        ]
        wanted = set(courses) if courses is not None else {c for c, *_ in structures or ()}
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=names)
            rows = rows.filter(pc.is_in(rows["course_id"], value_set=pa.array(sorted(wanted), pa.string())))
            for row in rows.to_pylist():
                if structures is None or (row["course_id"], row["structure_id"], row["dose_id"]) in structures:
                    yield row


def _rows(folder: Path, name: str, columns: Collection[str] | None = None) -> list[Row]:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        return []
    present = pq.read_schema(path).names
    rows: list[Row] = pq.read_table(path, columns=[n for n in present if columns is None or n in columns]).to_pylist()
    return rows


def by_course(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by their course, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["course_id"], []).append(row)
    return found

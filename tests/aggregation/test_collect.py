"""Many courses' tables as one: the same rows as joining them in memory, whatever the number of threads."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rtpipeline.aggregation import collect
from rtpipeline.aggregation.collect import Part, write_table
from rtpipeline.contracts.columns import Column, Table
from rtpipeline.contracts.tables import COURSE, DVH_METRICS, PATIENT, PROVENANCE, STRUCTURES
from tests.aggregation.fabricate import FabricatedCourse, metric_rows, structure_rows

COURSES = [f"p000000000{n}-c01" for n in range(1, 6)]


def course_parts(folder: Path, table: Table, rows_of) -> tuple[list[Part], list[pd.DataFrame]]:
    parts, frames = [], []
    for course_id in COURSES:
        frame = table.frame(rows_of(FabricatedCourse(course_id)))
        path = folder / f"{course_id}.parquet"
        table.write(frame, path)
        parts.append(Part(path, {"course_id": course_id, "patient_id": course_id[:-4]}))
        frames.append(frame)
    return parts, frames


@pytest.mark.parametrize(("table", "rows_of"), [(STRUCTURES, structure_rows), (DVH_METRICS, metric_rows)])
def test_the_file_holds_what_joining_in_memory_gives(tmp_path, table, rows_of):
    parts, frames = course_parts(tmp_path, table, rows_of)
    assert write_table(table, parts, tmp_path / "all.parquet", threads=3) == []
    expected = table.concat(frames)
    found = table.read(tmp_path / "all.parquet")
    pd.testing.assert_frame_equal(found[expected.columns.tolist()], expected)


def test_bytes_do_not_depend_on_threads(tmp_path):
    parts, _ = course_parts(tmp_path, STRUCTURES, structure_rows)
    for threads in (1, 2, 8):
        write_table(STRUCTURES, parts, tmp_path / f"{threads}.parquet", threads)
    assert len({(tmp_path / f"{t}.parquet").read_bytes() for t in (1, 2, 8)}) == 1


def test_rows_are_the_same_over_many_row_groups(tmp_path, monkeypatch):
    parts, frames = course_parts(tmp_path, STRUCTURES, structure_rows)
    monkeypatch.setattr(collect, "ROW_GROUP_ROWS", 5)
    write_table(STRUCTURES, parts, tmp_path / "all.parquet", threads=2)
    assert pq.ParquetFile(tmp_path / "all.parquet").num_row_groups == len(COURSES)
    pd.testing.assert_frame_equal(STRUCTURES.read(tmp_path / "all.parquet"), STRUCTURES.concat(frames))


def test_a_table_without_parts_has_every_declared_column(tmp_path):
    write_table(DVH_METRICS, [], tmp_path / "none.parquet", threads=1)
    schema = pq.read_schema(tmp_path / "none.parquet")
    assert set(schema.names) == {c.name for c in DVH_METRICS.columns}
    assert pq.read_metadata(tmp_path / "none.parquet").num_rows == 0
    assert schema.field("dmean_gy").metadata == {b"unit": b"Gy"}


def test_provenance_stands_behind_columns_declared_by_pattern(tmp_path):
    parts, _ = course_parts(tmp_path, DVH_METRICS, metric_rows)
    write_table(DVH_METRICS, parts, tmp_path / "all.parquet", threads=1)
    names = pq.read_schema(tmp_path / "all.parquet").names
    assert names[-2:] == [c.name for c in PROVENANCE]
    assert "d95_gy" in names[:-2]


def test_a_course_without_a_metric_gets_null_for_it_not_zero(tmp_path):
    parts, _ = course_parts(tmp_path, DVH_METRICS, metric_rows)
    rows = pq.read_table(parts[0].path).drop_columns(["d95_gy"])
    pq.write_table(rows, parts[0].path)
    write_table(DVH_METRICS, parts, tmp_path / "all.parquet", threads=1)
    found = DVH_METRICS.read(tmp_path / "all.parquet")
    assert found.loc[found["course_id"] == COURSES[0], "d95_gy"].isna().all()
    assert found.loc[found["course_id"] == COURSES[1], "d95_gy"].notna().any()


SMALL = Table("small", "a table", (), (COURSE, PATIENT, Column("n", "Int64", "", "number"), *PROVENANCE))


def test_columns_that_are_the_same_in_all_rows_are_filled_in(tmp_path):
    pq.write_table(pa.table({"n": pa.array([2, 1], pa.int64())}), tmp_path / "part.parquet")
    common = {"course_id": "c", "patient_id": "p", "stage_key": "k", "rtpipeline_version": "v"}
    assert write_table(SMALL, [Part(tmp_path / "part.parquet", common)], tmp_path / "all.parquet", 1) == []
    assert pq.read_table(tmp_path / "all.parquet").to_pylist() == [{**common, "n": 1}, {**common, "n": 2}]


def break_nothing_but(path: Path, how: str) -> None:
    rows = pq.read_table(path)
    if how == "undeclared":
        rows = rows.append_column("patient_name", pa.array(["x"] * len(rows)))
    elif how == "null":
        at = rows.column_names.index("set_role")
        rows = rows.set_column(at, "set_role", pa.nulls(len(rows), pa.string()))
    elif how == "twice":
        rows = pa.concat_tables([rows, rows])
    elif how == "foreign":
        at = rows.column_names.index("course_id")
        rows = rows.set_column(at, "course_id", pa.array([COURSES[0]] * len(rows)))
    pq.write_table(rows, path)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("undeclared", "not declared: patient_name"),
        ("null", "set_role has"),
        ("twice", "key not unique"),
        ("foreign", "another course_id"),
        ("cut", "cannot be read"),
    ],
)
def test_a_part_that_breaks_the_declaration_is_left_out_whole_and_named(tmp_path, how, says):
    parts, frames = course_parts(tmp_path, STRUCTURES, structure_rows)
    break_nothing_but(parts[2].path, how)
    broken = write_table(STRUCTURES, parts, tmp_path / "all.parquet", threads=2)
    assert [b.part.course_id for b in broken] == [COURSES[2]]
    assert says in broken[0].reason
    assert str(tmp_path) not in broken[0].reason
    rest = STRUCTURES.concat([f for n, f in enumerate(frames) if n != 2])
    pd.testing.assert_frame_equal(STRUCTURES.read(tmp_path / "all.parquet"), rest)

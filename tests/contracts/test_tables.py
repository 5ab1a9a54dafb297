from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from rtpipeline.contracts.tables import DVH_METRICS, FINDINGS, STRUCTURES, TABLES, data_dictionary

UNIT_ENDINGS = {"_gy": "Gy", "_cc": "cc", "_pct": "%", "_mm": "mm", "_hu": "HU", "_years": "years"}


def row(**changes):
    base = {
        "cohort": "c", "patient_id": "p1", "course_id": "p1-c01", "structure_set_id": "rs-01",
        "structure_source": "manual", "structure_id": "manual-rs-01-0001",
        "structure_name": "Heart", "set_role": "primary", "status": "ok",
        "stage_key": "k", "rtpipeline_version": "0",
    }  # fmt: skip
    return base | changes


@pytest.mark.parametrize("name", list(TABLES))
def test_names_are_ascii_snake_case_and_end_with_their_unit(name):
    for column in TABLES[name].columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
        for ending, unit in UNIT_ENDINGS.items():
            if column.name.endswith(ending):
                assert column.unit == unit, column.name


@pytest.mark.parametrize("name", list(TABLES))
def test_keys_are_declared_and_come_first(name):
    table = TABLES[name]
    names = [c.name for c in table.columns]
    assert set(table.key) <= set(names)
    assert len(names) == len(set(names))


def test_missing_stays_null_and_a_true_zero_stays_zero(tmp_path):
    frame = STRUCTURES.frame([row(volume_cc=0.0, gaps=0), row(structure_id="manual-rs-01-0002")])
    STRUCTURES.write(frame, tmp_path / "s.parquet")
    back = STRUCTURES.read(tmp_path / "s.parquet")
    assert back["volume_cc"].tolist()[0] == 0.0
    assert back["gaps"].tolist()[0] == 0
    assert back["volume_cc"].isna().tolist() == [False, True]
    assert back["gaps"].isna().tolist() == [False, True]
    assert str(back["gaps"].dtype) == "Int64"
    pd.testing.assert_frame_equal(frame, back)


def test_rows_are_written_in_key_order_whatever_order_they_came_in(tmp_path):
    rows = [row(structure_id=f"manual-rs-01-{n:04d}") for n in (3, 1, 2)]
    for name, order in (("a", rows), ("b", rows[::-1])):
        STRUCTURES.write(STRUCTURES.frame(order), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(), row()], "key not unique"),
        ([row(surprise=1)], "not declared: surprise"),
        ([row(status=None)], "column status has 1 nulls"),
    ],
)
def test_a_frame_that_breaks_its_declaration_is_refused(rows, said):
    with pytest.raises(ValueError, match=said):
        STRUCTURES.frame(rows)


def test_metrics_of_the_configuration_are_declared_by_pattern():
    for name, unit in {
        "d0_03cc_gy": "Gy",
        "d95_gy": "Gy",
        "v12_5gy_cc": "cc",
        "v20gy_pct": "%",
        "v95rx_pct": "%",
    }.items():
        column = DVH_METRICS.column(name)
        assert column is not None
        assert column.unit == unit
    assert DVH_METRICS.column("d95") is None


def test_an_empty_table_has_every_declared_column():
    assert list(FINDINGS.frame([]).columns) == [c.name for c in FINDINGS.columns]


def test_the_data_dictionary_names_every_column_and_the_committed_one_is_current():
    text = data_dictionary()
    for table in TABLES.values():
        assert f"## {table.name}\n" in text
        for column in table.columns:
            assert f"| `{column.name}` |" in text
    committed = Path(__file__).parents[2] / "docs" / "data_dictionary.md"
    assert committed.read_text() == text, "run `make docs`"

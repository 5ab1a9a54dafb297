"""CSV exports: what comes back is what Parquet holds, and no cell is run as a formula."""

from __future__ import annotations

import csv
import io
import subprocess

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rtpipeline.aggregation.exports import DECIMAL_COMMA, PLAIN, flat_names, guard
from rtpipeline.contracts.tables import TABLES
from tests.aggregation.fabricate import EVIL_NAME

EXPORTED = [name for name in TABLES if name != "dvh_curves"]


@pytest.mark.parametrize("dialect", [PLAIN, DECIMAL_COMMA], ids=lambda d: d.folder)
@pytest.mark.parametrize("name", EXPORTED)
def test_numbers_and_texts_come_back_exactly(results, name, dialect):
    path = results / dialect.folder / f"{name}.csv"
    found = pd.read_csv(
        path,
        sep=dialect.separator,
        decimal=dialect.decimal,
        encoding=dialect.encoding,
        keep_default_na=False,
        na_values=[""],
        dtype_backend="numpy_nullable",
    )
    source = results / f"{name}.parquet"
    expected = pq.read_table(source, columns=flat_names(source))
    assert found.columns.tolist() == expected.column_names
    assert len(found) == expected.num_rows
    for field in expected.schema:
        values = expected[field.name].to_pylist()
        for was, read in zip(values, found[field.name].tolist(), strict=True):
            if was is None:
                assert read is pd.NA or read != read, (field.name, was, read)
            else:
                assert read == (guard(was) if isinstance(was, str) else was), (field.name, was, read)


def test_curves_are_left_to_parquet_and_lists_out_of_the_others(results):
    assert not (results / "csv/dvh_curves.csv").exists()
    header = (results / "csv/tps_dvh.csv").read_text().splitlines()[0]
    assert "volume_cc" in header
    assert "cumulative_volume_cc" not in header


def test_only_the_file_for_spreadsheets_begins_with_a_byte_order_mark(results):
    assert (results / "csv/courses.csv").read_bytes()[:3] != b"\xef\xbb\xbf"
    assert (results / "csv_decimal_comma/courses.csv").read_bytes()[:3] == b"\xef\xbb\xbf"


def test_the_decimal_comma_never_needs_quotes(results):
    text = (results / "csv_decimal_comma/dvh_metrics.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text), delimiter=";"))
    assert rows[0]["dmean_gy"] == "50,2"
    assert float(rows[0]["dmean_gy"].replace(",", ".")) == 50.2


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2 mm ring", "@SUM(A1)", "\tx", "\rx"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text):
    assert guard(text) == "'" + text


@pytest.mark.parametrize("text", ["PTV 50", "", "'quoted", "1-2", "Größe"])
def test_other_texts_stay_as_they_are(text):
    assert guard(text) == text


@pytest.mark.parametrize("dialect", [PLAIN, DECIMAL_COMMA], ids=lambda d: d.folder)
def test_no_cell_of_any_csv_begins_like_a_formula(results, dialect):
    seen = 0
    for path in (results / dialect.folder).glob("*.csv"):
        rows = csv.reader(io.StringIO(path.read_text(encoding=dialect.encoding)), delimiter=dialect.separator)
        for cell in (c for row in rows for c in row if c.startswith(("=", "+", "@", "-"))):
            assert np.isfinite(float(cell.replace(",", "."))), cell  # a negative number
        seen += EVIL_NAME.split("(")[0] in path.read_text(encoding=dialect.encoding)
    assert seen  # the name that would be a formula is among the structures


def test_r_reads_the_plain_file_with_its_own_types(results):
    """read.csv takes TRUE and FALSE for logical and an empty field for NA."""
    script = f"x <- read.csv('{results / 'csv/courses.csv'}'); cat(class(x$contrast), class(x$slices), nrow(x))"
    try:
        done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, timeout=120, check=True)
    except FileNotFoundError:
        pytest.skip("R is not installed")
    assert done.stdout == "logical integer 6"

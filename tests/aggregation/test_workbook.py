"""The workbook, read by another program: every number, no formula, a header that explains itself."""

from __future__ import annotations

import openpyxl
import pyarrow.parquet as pq
import pytest

from rtpipeline.aggregation import workbook
from rtpipeline.aggregation.exports import flat_names
from rtpipeline.aggregation.workbook import SHEET_ROWS, Sheet, write_workbook
from rtpipeline.contracts.tables import STRUCTURES, TABLES
from tests.aggregation.fabricate import EVIL_NAME

SIXTEEN_DIGITS = 1e-15
"""Numbers stand in the file with sixteen significant digits."""

SHEETS = [name for name in TABLES if name != "dvh_curves"]


@pytest.fixture(scope="module")
def book(results):
    return openpyxl.load_workbook(results / "rtpipeline_results.xlsx")


def test_sheets_are_the_tables_in_their_order_behind_a_read_me(book):
    assert book.sheetnames == ["read_me", *SHEETS]


@pytest.mark.parametrize("name", SHEETS)
def test_cells_hold_what_parquet_holds(results, book, name):
    source = results / f"{name}.parquet"
    names = flat_names(source)
    expected = [list(row.values()) for row in pq.read_table(source, columns=names).to_pylist()]
    rows = list(book[name].iter_rows(values_only=True))
    assert list(rows[0]) == names
    for was, read in zip(expected, rows[1:], strict=True):
        for value, cell in zip(was, read, strict=True):
            assert cell == (pytest.approx(value, rel=SIXTEEN_DIGITS) if isinstance(value, float) else value)


def test_no_cell_is_a_formula(book):
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not [c for c in cells if c.data_type == "f"]
    assert EVIL_NAME in [c.value for c in cells]


def test_header_is_frozen_filtered_and_explained(book):
    for name in SHEETS:
        sheet = book[name]
        assert sheet.freeze_panes is not None
        assert sheet.freeze_panes.endswith("2")
        assert sheet.auto_filter.ref is not None
        for cell in sheet[1]:
            declared = TABLES[name].column(cell.value)
            assert declared is not None
            assert cell.comment is not None
            assert declared.meaning in cell.comment.text
            assert declared.unit in cell.comment.text


def test_numbers_have_formats_of_their_unit(book):
    sheet = book["dvh_metrics"]
    at = next(c.column for c in sheet[1] if c.value == "dmean_gy")
    assert sheet.cell(2, at).number_format == "0.00"


def test_read_me_says_what_it_is_and_leads_to_the_sheets(book):
    sheet = book["read_me"]
    texts = [str(c.value) for row in sheet.iter_rows() for c in row if c.value is not None]
    assert "For research, not for treatment decisions." in texts
    assert "6" in texts
    links = {c.hyperlink.location for row in sheet.iter_rows() for c in row if c.hyperlink}
    assert links == {f"'{name}'!A1" for name in SHEETS}
    assert any("curves are in the Parquet file" in t for t in texts)


def test_a_course_leads_to_its_first_dose_row(book):
    courses, metrics = book["courses"], book["dvh_metrics"]
    linked = {c.value: c.hyperlink.location for row in courses.iter_rows() for c in row if c.hyperlink}
    assert set(linked) == {"p0000000001-c01", "p0000000005-c02"}
    for course_id, location in linked.items():
        row = int(location.split("!A")[1])
        column = next(c.column for c in metrics[1] if c.value == "course_id")
        assert metrics.cell(row, column).value == course_id
        assert metrics.cell(row - 1, column).value != course_id


def test_a_table_too_large_for_a_sheet_is_named_not_cut(results, tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "MAX_CELLS", 100)
    write_workbook(results, tmp_path / "small.xlsx")
    book = openpyxl.load_workbook(tmp_path / "small.xlsx")
    assert "structures" not in book.sheetnames
    assert any("use Parquet or CSV" in str(c.value) for row in book["read_me"].iter_rows() for c in row)


def test_rows_beyond_the_format_are_left_out_as_a_whole(tmp_path):
    columns = STRUCTURES.columns[:3]
    assert Sheet(STRUCTURES, tmp_path, SHEET_ROWS - 1, columns).left_out == ""
    assert "exceed" in Sheet(STRUCTURES, tmp_path, SHEET_ROWS, columns).left_out

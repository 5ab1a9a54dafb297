"""The workbook: one sheet for each table, a `read_me` first. Written row by row, so that memory stays small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import xlsxwriter

from rtpipeline.aggregation.exports import flat_names, is_curves
from rtpipeline.aggregation.summary import load_run
from rtpipeline.contracts.columns import Column, Table
from rtpipeline.contracts.tables import TABLES

SHEET_ROWS, SHEET_COLUMNS = 1_048_576, 16_384
"""Limits of the file format (ECMA-376, as Excel implements it)."""

MAX_CELLS = 10_000_000
"""Larger sheets take minutes to open; such a table stays in Parquet and CSV."""

CELL_CHARACTERS = 32_767
"""Limit of the file format for one text."""

WORKBOOK = "rtpipeline_results.xlsx"
READ_ME = "read_me"
HEADER_COLOUR = "#DCE6F1"
FORMATS = {"Gy": "0.00", "cc": "0.00", "%": "0.0", "mm": "0.00", "MU": "0.0", "": "0.000", "years": "0", "days": "0"}
WIDE = {
    "measured": 38,
    "expected": 38,
    "action": 38,
    "remedy": 38,
    "object": 34,
    "structure_name": 22,
    "structure_id": 22,
}


@dataclass(frozen=True)
class Sheet:
    """A table as it stands in the workbook, or why it does not."""

    table: Table
    path: Path
    rows: int
    columns: tuple[Column, ...]

    @property
    def left_out(self) -> str:
        """Why the table has no sheet; empty when it has one."""
        if is_curves(self.table):
            return "curves are in the Parquet file only"
        if self.rows >= SHEET_ROWS or len(self.columns) > SHEET_COLUMNS:
            return (
                f"{self.rows:,} rows and {len(self.columns):,} columns exceed what a sheet can hold; use Parquet or CSV"
            )
        if self.rows * len(self.columns) > MAX_CELLS:
            return f"{self.rows:,} rows x {len(self.columns):,} columns are too many for a sheet; use Parquet or CSV"
        return ""


def sheets_of(results: Path) -> list[Sheet]:
    """Every table of a results folder, in the order of the declarations."""
    found = []
    for table in TABLES.values():
        path = results / f"{table.name}.parquet"
        if path.is_file():
            columns = [table.column(n) for n in flat_names(path)]
            found.append(Sheet(table, path, pq.read_metadata(path).num_rows, tuple(c for c in columns if c)))
    return found


def about(run: dict[str, Any], courses: int) -> list[tuple[str, Any]]:
    """Label and value of the lines at the top of `read_me`.

    Parameters
    ----------
    run: content of `run.json`.
    """
    return [
        ("cohort", run["cohort"]),
        ("run", run["run_id"]),
        ("tables written (UTC)", run["aggregated_utc"]),
        ("RTpipeline", run["program"]["rtpipeline"]),
        ("patients", int(run["patients"])),
        ("courses", courses),
    ]


def write_workbook(results: Path, target: Path) -> None:
    """Write the workbook of a results folder.

    Raises
    ------
    UsageError: the folder holds no results.
    """
    run = load_run(results)
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "nan_inf_to_errors": False,
    }
    with xlsxwriter.Workbook(str(target), options) as book:
        created = datetime.fromisoformat(run["aggregated_utc"]).replace(tzinfo=None)
        book.set_properties(
            {
                "title": "RTpipeline results",
                "comments": "For research, not for treatment decisions.",
                "created": created,
            }
        )
        sheets = sheets_of(results)
        pages = {READ_ME: book.add_worksheet(READ_ME)}
        pages |= {s.table.name: book.add_worksheet(s.table.name) for s in sheets if not s.left_out}
        rows = {s.table.name: s.rows for s in sheets}
        _read_me(book, pages[READ_ME], sheets, about(run, rows["courses"]))
        first_rows = _first_rows(results / "dvh_metrics.parquet") if "dvh_metrics" in pages else {}
        for sheet in sheets:
            if not sheet.left_out:
                links = first_rows if sheet.table.name == "courses" else {}
                _table_sheet(book, pages[sheet.table.name], sheet, links)


def _read_me(book: Any, page: Any, sheets: Sequence[Sheet], lines: Sequence[tuple[str, Any]]) -> None:
    title = book.add_format({"bold": True, "font_size": 16})
    warning = book.add_format({"bold": True, "font_color": "#9C2A00", "text_wrap": True, "valign": "top"})
    label = book.add_format({"bold": True, "valign": "top"})
    wrapped = book.add_format({"text_wrap": True, "valign": "top"})
    head = book.add_format({"bold": True, "bg_color": HEADER_COLOUR, "bottom": 1})
    link = book.get_default_url_format()
    page.hide_gridlines(2)
    page.set_column(0, 0, 24)
    page.set_column(1, 1, 10)
    page.set_column(2, 2, 100)
    page.write_string(0, 0, "RTpipeline results", title)
    page.write_string(1, 0, "For research, not for treatment decisions.", warning)
    row = 3
    for name, value in lines:
        page.write_string(row, 0, name, label)
        if isinstance(value, int):
            page.write_number(row, 1, value)
        else:
            page.write_string(row, 2, str(value), wrapped)
        row += 1
    row += 1
    for column, text in enumerate(("sheet", "rows", "content")):
        page.write_string(row, column, text, head)
    for sheet in sheets:
        row += 1
        if sheet.left_out:
            page.write_string(row, 0, sheet.table.name)
        else:
            page.write_url(row, 0, f"internal:'{sheet.table.name}'!A1", link, sheet.table.name)
        page.write_number(row, 1, sheet.rows)
        note = f" ({sheet.left_out})" if sheet.left_out else ""
        page.write_string(row, 2, f"{sheet.table.meaning}{note}", wrapped)
    for text in (
        "An empty cell is a value that does not exist; a status column of its row says why. It is never 0.",
        "The comment on a column's header gives its meaning and unit; data_dictionary.md has all of them.",
        "The Parquet files beside this workbook hold every digit and the curves; the workbook is a copy for reading.",
        "In `courses` the name of a course leads to its first row in `dvh_metrics`.",
    ):
        row += 1 if text[0] != "A" else 2
        page.write_string(row, 0, text)


def _first_rows(path: Path) -> dict[str, int]:
    """Sheet row (1 is the header) of the first row of each course."""
    first: dict[str, int] = {}
    courses = pq.read_table(path, columns=["course_id"])["course_id"].to_pylist()
    for number, course_id in enumerate(courses, start=2):
        first.setdefault(course_id, number)
    return first


def _table_sheet(book: Any, page: Any, sheet: Sheet, links: dict[str, int]) -> None:
    head = book.add_format({"bold": True, "bg_color": HEADER_COLOUR, "bottom": 1, "valign": "top"})
    formats = [
        book.add_format({"num_format": FORMATS.get(c.unit, "0.000")}) if c.dtype == "float64" else None
        for c in sheet.columns
    ]
    key = len(sheet.table.key)
    page.freeze_panes(1, min(key, 3) if key else 0)
    page.autofilter(0, 0, max(sheet.rows, 1), len(sheet.columns) - 1)
    for at, column in enumerate(sheet.columns):
        page.set_column(at, at, WIDE.get(column.name, max(9, min(26, len(column.name) + 3))))
        page.write_string(0, at, column.name, head)
        unit = f"\nunit: {column.unit}" if column.unit else ""
        page.write_comment(0, at, f"{column.meaning}{unit}", {"x_scale": 2, "y_scale": 0.8})
    file = pq.ParquetFile(sheet.path)
    names = [c.name for c in sheet.columns]
    row = 0
    for group in range(file.num_row_groups):
        read = file.read_row_group(group, columns=names)
        for values in zip(*(read[n].to_pylist() for n in names), strict=True):
            row += 1
            for at, value in enumerate(values):
                if value is not None:
                    _write(page, row, at, value, formats[at], sheet.columns[at].name, links)


def _write(page: Any, row: int, at: int, value: Any, style: Any, name: str, links: dict[str, int]) -> None:
    """Write one cell by its type; a text is always a text, whatever it begins with."""
    if isinstance(value, bool):
        page.write_boolean(row, at, value)
    elif isinstance(value, int | float):
        if math.isfinite(value):
            page.write_number(row, at, value, style)
    elif name == "course_id" and value in links:
        page.write_url(row, at, f"internal:'dvh_metrics'!A{links[value]}", None, value)
    else:
        page.write_string(row, at, value[:CELL_CHARACTERS])

"""CSV exports of the tables: `csv/` (comma, decimal point) and `csv_decimal_comma/` (semicolon, decimal comma).

`csv/` is plain UTF-8 for R, pandas and scripts; `csv_decimal_comma/` starts with a byte order mark, since it is meant
for a spreadsheet that is set to a decimal comma, which takes a file without the mark for a Windows code page. Null is
an empty field, true and false are TRUE and FALSE. Lists have no place in a CSV: their columns stay in Parquet, and a
table that is made of them (`dvh_curves`) is not exported.

Structure names come from the export. A text that a spreadsheet would run as a formula gets an apostrophe in front;
Parquet holds it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rtpipeline.contracts.columns import Table
from rtpipeline.contracts.tables import TABLES

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that spreadsheets take for a formula (OWASP, CSV injection)."""


@dataclass(frozen=True)
class CsvDialect:
    """How numbers and fields are set."""

    folder: str
    separator: str
    decimal: str
    encoding: str


PLAIN = CsvDialect("csv", ",", ".", "utf-8")
DECIMAL_COMMA = CsvDialect("csv_decimal_comma", ";", ",", "utf-8-sig")


def is_curves(table: Table) -> bool:
    """Whether a table's measures are lists alone, so that nothing of it fits a CSV or a sheet."""
    return any(c.dtype == "list<float64>" for c in table.columns) and not any(
        c.dtype == "float64" for c in table.columns
    )


def flat_names(path: Path) -> list[str]:
    """Columns of a Parquet table that are no lists."""
    return [f.name for f in pq.read_schema(path) if not pa.types.is_list(f.type)]


def guard(text: str) -> str:
    """The text, with an apostrophe in front where a spreadsheet would run it."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def export_csv(results: Path, out: Path, dialect: CsvDialect) -> list[Path]:
    """Write each table of `results` as a CSV below `out`; the files written, in the order of the declarations."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for table in TABLES.values():
        source = results / f"{table.name}.parquet"
        if source.is_file() and not is_curves(table):
            write_csv(source, out / f"{table.name}.csv", dialect)
            written.append(out / f"{table.name}.csv")
    return written


def write_csv(source: Path, target: Path, dialect: CsvDialect) -> None:
    """One Parquet table as CSV, row group by row group."""
    names = flat_names(source)
    file = pq.ParquetFile(source)
    with target.open("w", encoding=dialect.encoding, newline="") as out:
        pd.DataFrame(columns=names).to_csv(out, sep=dialect.separator, index=False, lineterminator="\n")
        for group in range(file.num_row_groups):
            frame = _texts_guarded(file.read_row_group(group, columns=names))
            frame.to_csv(
                out, sep=dialect.separator, decimal=dialect.decimal, index=False, header=False, lineterminator="\n"
            )


def _texts_guarded(rows: pa.Table) -> pd.DataFrame:
    columns = {}
    for field in rows.schema:
        if pa.types.is_string(field.type):
            values = [None if v is None else guard(v) for v in rows[field.name].to_pylist()]
            columns[field.name] = pd.Series(values, dtype=object)
        elif pa.types.is_boolean(field.type):
            words = {True: "TRUE", False: "FALSE", None: None}
            columns[field.name] = pd.Series([words[v] for v in rows[field.name].to_pylist()], dtype=object)
        elif pa.types.is_integer(field.type):
            columns[field.name] = pd.Series(rows[field.name].to_pylist(), dtype="Int64")
        else:
            columns[field.name] = rows[field.name].to_pandas()
    return pd.DataFrame(columns, columns=rows.column_names)

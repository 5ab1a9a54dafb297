"""What a table is: columns declared with type, unit and meaning, a key, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

DType = Literal["float64", "Int64", "string", "boolean", "list<float64>"]

ARROW_TYPES: dict[str, pa.DataType] = {
    "float64": pa.float64(),
    "Int64": pa.int64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "list<float64>": pa.list_(pa.float64()),
}


@dataclass(frozen=True)
class Column:
    """One column; the unit is also the end of its name."""

    name: str
    dtype: DType
    unit: str
    meaning: str
    nullable: bool = True


@dataclass(frozen=True)
class Pattern:
    """Columns declared by a regular expression, such as D and V metrics that the configuration adds."""

    expression: str
    dtype: DType
    unit: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """A table of the results: its key is unique, and its rows are written in the key's order."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    patterns: tuple[Pattern, ...] = ()

    def column(self, name: str) -> Column | None:
        """The declaration of a column, by name or by pattern; None when it is not declared."""
        for column in self.columns:
            if column.name == name:
                return column
        for pattern in self.patterns:
            if re.fullmatch(pattern.expression, name):
                return Column(name, pattern.dtype, pattern.unit, pattern.meaning)
        return None

    def frame(self, rows: Iterable[dict[str, Any]], extra: Sequence[str] = ()) -> pd.DataFrame:
        """Rows as a frame with every declared column, in the declared order and type, sorted by key.

        Parameters
        ----------
        extra: columns declared by pattern, in the order wanted; others are found in the rows.

        Raises
        ------
        ValueError: a column that is not declared, a missing value in a column that is not nullable, or a key twice.
        """
        rows = list(rows)
        present = list(dict.fromkeys(name for row in rows for name in row))
        undeclared = [name for name in present if self.column(name) is None]
        if undeclared:
            raise ValueError(f"table {self.name}: columns not declared: {', '.join(undeclared)}")
        fixed = [c.name for c in self.columns]
        names = fixed + [n for n in dict.fromkeys([*extra, *present]) if n not in fixed]
        data = {}
        for name in names:
            column = self.column(name)
            assert column is not None
            values = [row.get(name) for row in rows]
            data[name] = _series(values, column)
        frame = pd.DataFrame(data, columns=names)
        self.check(frame)
        return self._sorted(frame)

    def _sorted(self, frame: pd.DataFrame) -> pd.DataFrame:
        return (
            frame.sort_values(list(self.key), kind="stable", na_position="first", ignore_index=True)
            if len(frame)
            else frame
        )

    def check(self, frame: pd.DataFrame) -> None:
        """Raise ValueError where a frame breaks the declaration."""
        for column in self.columns:
            if not column.nullable and frame[column.name].isna().any():
                raise ValueError(
                    f"table {self.name}: column {column.name} has {frame[column.name].isna().sum()} nulls, none allowed"
                )
        if self.key and frame.duplicated(list(self.key)).any():
            twice = frame.loc[frame.duplicated(list(self.key)), list(self.key)].iloc[0].to_dict()
            raise ValueError(f"table {self.name}: key not unique, for example {twice}")

    def schema(self, names: Iterable[str]) -> pa.Schema:
        """Arrow schema of the given columns."""
        fields = []
        for name in names:
            column = self.column(name)
            if column is None:
                raise ValueError(f"table {self.name}: column not declared: {name}")
            fields.append(pa.field(name, ARROW_TYPES[column.dtype], metadata={"unit": column.unit}))
        return pa.schema(fields)

    def write(self, frame: pd.DataFrame, path: Path) -> None:
        """Write Parquet: same content, same bytes."""
        table = pa.Table.from_pandas(frame, schema=self.schema(frame.columns), preserve_index=False)
        pq.write_table(table.replace_schema_metadata({"table": self.name}), path, compression="zstd")

    def read(self, path: Path) -> pd.DataFrame:
        """Read what `write` wrote, with nullable types."""
        return to_frame(pq.read_table(path), self)

    def concat(self, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Frames of many courses as one, columns joined, checked and sorted by key."""
        names = [c.name for c in self.columns]
        for frame in frames:
            names += [n for n in frame.columns if n not in names]
        filled = [f for f in frames if len(f)]
        if not filled:
            return self.frame([])
        joined = pd.concat([f.reindex(columns=names) for f in filled], ignore_index=True)
        typed = pd.DataFrame({n: _series(joined[n].tolist(), self.column(n)) for n in names})  # type: ignore[arg-type]
        self.check(typed)
        return self._sorted(typed)


def _series(values: list[Any], column: Column) -> pd.Series:
    if column.dtype == "list<float64>":
        return pd.Series(values, dtype=object)
    if column.dtype == "float64":
        return pd.Series([float("nan") if _missing(v) else float(v) for v in values], dtype="float64")
    clean = [None if _missing(v) else v for v in values]
    if column.dtype == "string":
        return pd.Series(clean, dtype="string")
    return pd.Series(clean, dtype=column.dtype)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def to_frame(table: pa.Table, declared: Table) -> pd.DataFrame:
    """An Arrow table as a frame in the declared types."""
    data = {}
    for name in table.column_names:
        column = declared.column(name)
        if column is None:
            raise ValueError(f"table {declared.name}: column not declared: {name}")
        data[name] = _series(table[name].to_pylist(), column)
    return pd.DataFrame(data, columns=table.column_names)

"""Tables of many courses as one, in the order of its key, without holding them all in memory.

Courses come in the order of patient and course, which begin every key, so rows are sorted within a course and written
as they come. Reading runs ahead in threads; the file depends neither on their number nor on their speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rtpipeline.contracts.columns import Table
from rtpipeline.contracts.tables import PROVENANCE
from rtpipeline.store.transfers import in_order

ROW_GROUP_ROWS = 8192
"""Rows are written in groups of at least this many; with 600-point curves that is 80 MB."""

ENVELOPE = ("cohort", "patient_id", "course_id", "stage_key", "rtpipeline_version")
"""Columns that a course's table may lack, since they are the same in all of its rows."""

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """The table of one stage of one course, and what its rows have in common."""

    path: Path
    envelope: dict[str, str] = field(default_factory=dict)

    @property
    def course_id(self) -> str:
        """Course that the rows belong to."""
        return self.envelope.get("course_id", "")


@dataclass(frozen=True)
class Broken:
    """A part that could not enter its table, and why."""

    part: Part
    reason: str


def write_table(table: Table, parts: Sequence[Part], path: Path, threads: int) -> list[Broken]:
    """Write the parts as one Parquet file with every declared column; return those that could not be used.

    Parts have to come in the order of patient and course. A part that cannot be read, or that breaks the declaration
    (undeclared column, null where none is allowed, key not unique), is left out whole.
    """
    usable: list[Part] = []
    broken: list[Broken] = []
    names = [c.name for c in table.columns]
    for part, found in _in_order(lambda p: _columns(table, p), parts, threads):
        if isinstance(found, str):
            broken.append(Broken(part, found))
        else:
            usable.append(part)
            names += [n for n in found if n not in names]
    provenance = [c.name for c in PROVENANCE]  # last, also behind columns that are declared by pattern
    names = [n for n in names if n not in provenance] + [n for n in names if n in provenance]
    schema = table.schema(names).with_metadata({"table": table.name})
    waiting: list[pa.Table] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part, rows in _in_order(lambda p: _rows(table, p, schema), usable, threads):
            if isinstance(rows, str):
                broken.append(Broken(part, rows))
                continue
            waiting.append(rows)
            if sum(w.num_rows for w in waiting) >= ROW_GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if rest := [w for w in waiting if w.num_rows]:
            writer.write_table(pa.concat_tables(rest))
    return broken


def _in_order(read: Callable[[Part], T], parts: Sequence[Part], threads: int) -> Iterator[tuple[Part, T | str]]:
    """Results in the order of the parts, read ahead by a bounded number; a string says why a part has none."""

    def guarded(part: Part) -> T | str:
        try:
            return read(part)
        except (OSError, pa.ArrowException) as error:
            return f"cannot be read ({type(error).__name__})"  # their texts quote paths and values
        except ValueError as error:
            return str(error)

    yield from zip(parts, in_order(guarded, parts, threads=threads), strict=True)


def _columns(table: Table, part: Part) -> list[str]:
    names = pq.read_schema(part.path).names
    undeclared = [n for n in names if table.column(n) is None]
    if undeclared:
        raise ValueError(f"columns not declared: {', '.join(undeclared)}")
    return list(names)


def _rows(table: Table, part: Part, schema: pa.Schema) -> pa.Table:
    """The part's rows in the given columns, checked and sorted by key."""
    read = pq.ParquetFile(part.path).read(use_threads=False)  # cheaper than read_table for a small file
    columns = []
    for wanted in schema:
        if wanted.name in read.column_names:
            column = read[wanted.name].cast(wanted.type)
        elif wanted.name in ENVELOPE and wanted.name in part.envelope:
            column = pa.repeat(pa.scalar(part.envelope[wanted.name], wanted.type), read.num_rows)
        else:
            column = pa.nulls(read.num_rows, wanted.type)
        columns.append(column)
    rows = pa.table(columns, schema=schema)
    _check(table, part, rows)
    order = pc.sort_indices(rows, sort_keys=[(n, "ascending", "at_start") for n in _sort_names(table)])
    return rows.take(order)


def _check(table: Table, part: Part, rows: pa.Table) -> None:
    for column in table.columns:
        nulls = rows[column.name].null_count
        if nulls and not column.nullable:
            raise ValueError(f"column {column.name} has {nulls} nulls, none allowed")
    for name in ("cohort", "patient_id", "course_id"):
        expected = part.envelope.get(name)
        if expected is not None and name in rows.column_names:
            others = [v for v in pc.unique(rows[name]).to_pylist() if v not in (expected, None)]
            if others:
                raise ValueError(f"rows of another {name}")
    if table.key and rows.group_by(list(table.key), use_threads=False).aggregate([]).num_rows != rows.num_rows:
        raise ValueError("key not unique")


def _sort_names(table: Table) -> list[str]:
    """The key; for tables without one every column of text or whole numbers, in the declared order."""
    return list(table.key) or [c.name for c in table.columns if c.dtype in ("string", "Int64")]

"""Columns as numbers, so that a million rows are grouped without a loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Coded:
    """A text column: `codes` (n,) int64 into `categories`; equal texts have equal codes."""

    codes: np.ndarray
    categories: pa.Array

    @cached_property
    def words(self) -> list[str]:
        """The categories as Python texts; null counts as ''."""
        return [w or "" for w in self.categories.to_pylist()]

    def at(self, row: int) -> str:
        """The text of one row."""
        return self.words[self.codes[row]]

    def mask(self, accept: Callable[[str], object]) -> np.ndarray:
        """(n,) bool: `accept(text)` for each row, called once for each different text."""
        return np.array([bool(accept(w)) for w in self.words], dtype=bool)[self.codes]


def coded(column: pa.ChunkedArray, order: pa.Array) -> Coded:
    """A text column as codes, rows taken in `order`; null becomes ''."""
    if len(column) == 0:
        return Coded(np.zeros(0, dtype=np.int64), pa.array([], pa.string()))
    dictionary = pc.dictionary_encode(pc.fill_null(column, "")).combine_chunks()
    codes = dictionary.indices.to_numpy(zero_copy_only=False)[order.to_numpy(zero_copy_only=False)]
    return Coded(codes.astype(np.int64), dictionary.dictionary)


def combined(*codes: np.ndarray) -> np.ndarray:
    """(n,) int64 labels from 0: rows are alike when they are alike in every column; numbered by first appearance."""
    label = pd.factorize(codes[0])[0].astype(np.int64)
    for column in codes[1:]:
        other = pd.factorize(column)[0].astype(np.int64)
        label = pd.factorize(label * (int(other.max(initial=0)) + 1) + other)[0].astype(np.int64)
    return label


def vectors(column: pa.ChunkedArray, length: int) -> np.ndarray:
    """(n, length) float64 of a list column; NaN where a row has no list of this length."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    out = np.full((len(array), length), np.nan)
    if len(array) == 0:
        return out
    fits = pc.fill_null(pc.equal(pc.list_value_length(array), length), False).to_numpy(zero_copy_only=False)
    flat = pc.list_flatten(array.filter(pa.array(fits)))
    out[fits] = pc.cast(flat, pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, length)
    return out


def row_groups(labels: np.ndarray) -> list[np.ndarray]:
    """For each label 0..k-1 its rows, ascending."""
    if len(labels) == 0:
        return []
    by_label = np.argsort(labels, kind="stable")
    return np.split(by_label, np.flatnonzero(np.diff(labels[by_label])) + 1)

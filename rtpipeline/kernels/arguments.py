"""What compiled code depends on in an argument: a key of the value, and the same key of numba's type of such values."""

from __future__ import annotations

from typing import Any

import numpy as np

WHOLE, REAL, TRUTH, NOTHING = "int64", "float64", "bool", "none"

SCALARS: dict[type, str] = {
    int: WHOLE,
    np.int64: WHOLE,
    float: REAL,
    np.float64: REAL,
    bool: TRUTH,
    np.bool_: TRUTH,
    type(None): NOTHING,
}

C_ORDER, FORTRAN_ORDER, ALIGNED, WRITEABLE = 0x1, 0x2, 0x100, 0x400
"""Bits of `ndarray.flags.num` (numpy's NPY_ARRAY_...)."""

GREATEST = 2**63 - 1


def key_of(value: Any) -> object:
    """The key of an argument; None for a kind that no pack holds code for."""
    kind = type(value)
    if kind is np.ndarray:
        flags = value.flags.num
        order = C_ORDER if flags & C_ORDER else flags & FORTRAN_ORDER
        return value.dtype.str, value.ndim, flags & (ALIGNED | WRITEABLE) | order
    if kind is int and not -GREATEST <= value <= GREATEST:
        return None
    if kind in SCALARS:
        return SCALARS[kind]
    if isinstance(value, tuple):
        return _class_key(kind), tuple([key_of(item) for item in value])
    return None


def key_of_type(type_: Any) -> object:
    """The key of the values that numba gives this type; None where `key_of` knows no such values."""
    from numba.core import types
    from numba.np.numpy_support import as_dtype

    if isinstance(type_, types.Array):
        order = {"C": C_ORDER, "F": FORTRAN_ORDER, "A": 0}[type_.layout]
        flags = order | (ALIGNED if type_.aligned else 0) | (WRITEABLE if type_.mutable else 0)
        return as_dtype(type_.dtype).str, type_.ndim, flags
    if isinstance(type_, types.UniTuple | types.Tuple | types.NamedTuple | types.NamedUniTuple):
        kind = getattr(type_, "instance_class", tuple)
        items = tuple(key_of_type(item) for item in type_.types)
        return None if None in items else (_class_key(kind), items)
    named = {types.int64: WHOLE, types.float64: REAL, types.boolean: TRUTH, types.none: NOTHING}
    return named.get(type_)


def _class_key(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__

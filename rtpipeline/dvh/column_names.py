"""How numbers stand in the names of columns. Imports nothing, so that reading a configuration stays light."""

from __future__ import annotations

from decimal import Decimal


def column_number(value: float) -> str:
    """A number inside a column name: decimal point as underscore, no trailing zeros (0.03 -> 0_03, 12.50 -> 12_5).

    Raises ValueError for a number that is not above 0.
    """
    if not value > 0.0:
        raise ValueError(f"column for {value}; need a number above 0")
    whole, _, decimals = f"{Decimal(repr(float(value))):f}".partition(".")
    return f"{whole}_{decimals}".rstrip("0").rstrip("_") if decimals else whole

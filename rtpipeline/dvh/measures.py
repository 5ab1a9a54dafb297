"""What can be read from the histograms of a structure, by the names that clinics and the tables use.

| written | is |
|---|---|
| `mean`, `max`, `min`, `Dmean` ..., `dmean_gy` | doses of the whole structure, surface included |
| `D95%`, `D95`, `D0.03cc`, `d95_gy`, `d0_03cc_gy` | dose that this much of it receives at least |
| `V20Gy`, `v20gy_pct`, `v20gy_cc` | volume that receives at least this dose |
| `V95%`, `V95rx`, `v95rx_pct` | volume that receives at least this share of the prescription |
| `CV17.5Gy` | volume in cc that receives less |
| `gEUD`, `HI`, `CI`, `GI`, `volume` | `geud_gy`, `hi_icru83`, `ci_paddick`, `gi_paddick`, `volume_cc` |
| `EQD2 ...`, `BED ...` before a dose or a volume | the same, of EQD2 or BED |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rtpipeline.dvh.column_names import column_number

Quantity = Literal["dose", "eqd2", "bed"]
Unit = Literal["Gy", "% of Rx", "%", "cc", ""]

_NUMBER = r"(\d+(?:[.,_]\d+)?)"
_WHOLE = {
    "mean": "dmean", "dmean": "dmean", "max": "dmax", "dmax": "dmax", "min": "dmin", "dmin": "dmin", "geud": "geud",
    "volume": "volume", "hi": "hi", "hi_icru83": "hi", "ci": "ci", "ci_paddick": "ci", "gi": "gi", "gi_paddick": "gi",
}  # fmt: skip
_OF_PRESCRIPTION_OR_PLAN = frozenset({"volume", "hi", "ci", "gi"})
"""Kinds that are of the physical dose only."""
_WITH_NUMBER: tuple[tuple[str, str], ...] = (
    (rf"d{_NUMBER}cc(?:_?gy)?", "d_cc"),
    (rf"d{_NUMBER}%?(?:_?gy)?", "d_pct"),
    (rf"v{_NUMBER}(?:%rx|%|rx)(?:_?(pct|%|cc))?", "v_rx"),
    (rf"v{_NUMBER}gy(?:_?(pct|%|cc))?", "v_gy"),
    (rf"cv{_NUMBER}gy(?:_?(cc))?", "cv_gy"),
)
_UNITS: Mapping[str, Unit] = {"pct": "%", "%": "%", "cc": "cc"}
NAMES: Mapping[str, str] = {"hi": "hi_icru83", "ci": "ci_paddick", "gi": "gi_paddick"}


class MeasureError(ValueError):
    """A measure that cannot be read; the message says what was found and what is needed."""


@dataclass(frozen=True)
class Measure:
    """A number of a structure: kind as in `parse_measure`, `at` its volume (%, cc), dose (Gy) or share (% of Rx).

    unit: of the number; a volume without a stated unit has '' until its limit says it.
    """

    kind: str
    at: float | None = None
    unit: Unit = ""
    quantity: Quantity = "dose"

    @property
    def is_dose(self) -> bool:
        """Whether it is a dose."""
        return self.kind in ("dmean", "dmax", "dmin", "geud", "d_pct", "d_cc")

    @property
    def is_volume(self) -> bool:
        """Whether it is a volume at a dose, which may be in % or cc."""
        return self.kind in ("v_gy", "v_rx", "cv_gy")

    @property
    def name(self) -> str:
        """As a column of `dvh_metrics` would be called."""
        before = "" if self.quantity == "dose" else f"{self.quantity}_"
        if self.at is None:
            return before + NAMES.get(self.kind, f"{self.kind}_{'cc' if self.kind == 'volume' else 'gy'}")
        number, end = column_number(self.at), "cc" if self.unit == "cc" else "pct"
        names = {
            "d_pct": f"d{number}_gy", "d_cc": f"d{number}cc_gy", "v_gy": f"v{number}gy_{end}",
            "v_rx": f"v{number}rx_{end}", "cv_gy": f"cv{number}gy_{end}",
        }  # fmt: skip
        return before + names[self.kind]


def parse_measure(text: str) -> Measure:
    """The measure that a text names, in any case, with or without spaces; decimal point, comma or underscore.

    Raises
    ------
    MeasureError: it names none, a volume of 0, or more than 100 %.
    """
    said = re.sub(r"[\s\[\]()]", "", text).casefold()
    quantity: Quantity = "dose"
    for word, of in (("eqd2", "eqd2"), ("bed", "bed")):
        if said.startswith(word):
            said, quantity = said.removeprefix(word).removeprefix("_"), of  # type: ignore[assignment]
    kind = _WHOLE.get(re.sub(r"_?(gy|cc)$", "", said), "")
    if kind:
        if kind in _OF_PRESCRIPTION_OR_PLAN and quantity != "dose":
            raise MeasureError(f"{text!r} is no measure of {quantity.upper()}; need a dose or a volume at a dose")
        return Measure(kind, None, "cc" if kind == "volume" else "" if kind in NAMES else "Gy", quantity)
    unit: Unit
    for expression, kind in _WITH_NUMBER:
        found = re.fullmatch(expression, said)
        if found:
            at = float(re.sub("[,_]", ".", found[1]))
            unit = "Gy" if kind in ("d_pct", "d_cc") else _UNITS.get(found[2] or "", "")
            return _numbered(text, kind, at, unit, quantity)
    if re.fullmatch(rf"c?v{_NUMBER}", said):
        raise MeasureError(f"{text!r} says neither Gy nor %; need V20Gy, or V95% for a share of the prescription")
    raise MeasureError(
        f"{text!r} is no measure; need mean, max, min, D95%, D0.03cc, V20Gy, V95%, gEUD, HI, CI, GI, volume, or a "
        "column of dvh_metrics"
    )


def _numbered(text: str, kind: str, at: float, unit: Unit, quantity: Quantity) -> Measure:
    if not at > 0.0:
        raise MeasureError(f"{text!r} is at 0; need a number above 0" + ("; D of no volume is max" if unit else ""))
    if kind == "d_pct" and at > 100.0:
        raise MeasureError(f"{text!r} is at {at:g} %; need at most 100")
    if kind == "v_rx" and quantity != "dose":
        raise MeasureError(f"{text!r}: the prescription is a physical dose; need V in Gy for {quantity.upper()}")
    return Measure(kind, at, "cc" if kind == "cv_gy" else unit, quantity)

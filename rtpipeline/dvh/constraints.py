"""The user's table of dose constraints: `structure,metric,limit`, one constraint a line.

    structure,metric,limit
    Heart,mean,< 26 Gy
    PTV,V95%,>= 95 %
    SpinalCord,D0.03cc,<= 45

`structure` is a name as in the file or of TG-263, `metric` what `measures` reads, `limit` a sign, a number and a unit.
A dose without unit is in Gy, and in % it is a share of the structure's prescription; a volume at a dose in Gy has to
say % or cc once, in its metric or in its limit.
"""

from __future__ import annotations

import csv
import io
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rtpipeline.dvh.measures import Measure, MeasureError, Unit, parse_measure
from rtpipeline.errors import ConfigError

COLUMNS = ("structure", "metric", "limit")
SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_LIMIT = re.compile(r"(<=|>=|<|>|≤|≥|=<|=>)(-?\d+(?:[.,]\d+)?)(gy|%|%rx|%ofrx|cc|cm3|cm³|ml)?")
_UNITS: Mapping[str | None, Unit] = {
    None: "", "gy": "Gy", "%": "%", "%rx": "% of Rx", "%ofrx": "% of Rx", "cc": "cc", "cm3": "cc", "cm³": "cc",
    "ml": "cc",
}  # fmt: skip
_SIGN_OF = {"≤": "<=", "≥": ">=", "=<": "<=", "=>": ">="}

ROUNDING = 1e-6
"""Share of a limit by which a value may differ and still be equal to it: doses are stored in float32."""

Result = Literal["pass", "fail", "not_evaluable"]


@dataclass(frozen=True)
class Constraint:
    """One line of the table. number: its place among the constraints, from 1. limit is in the measure's unit, except
    that a dose's may be in '% of Rx'."""

    number: int
    structure: str
    measure: Measure
    sign: str
    limit: float
    unit: Unit

    @property
    def text(self) -> str:
        """The limit as it is to be read, `<= 45 Gy`."""
        return f"{self.sign} {self.limit:g} {self.unit}".strip()

    def holds(self, value: float) -> bool:
        """Whether a value, in `unit`, keeps to the limit; one that equals it but for rounding counts as equal."""
        if abs(value - self.limit) <= ROUNDING * max(abs(self.limit), 1.0):
            value = self.limit
        return SIGNS[self.sign](value, self.limit)

    @property
    def is_upper(self) -> bool:
        """Whether it bounds from above."""
        return self.sign[0] == "<"


def load_constraints(path: Path) -> list[Constraint]:
    """The constraints of a file, in its order; comma or semicolon separated, UTF-8.

    Raises
    ------
    ConfigError: it cannot be read as such, lacks a column or has an unknown one, an empty structure name, a metric or
        a limit that cannot be read or do not fit each other, or a line twice. The message says line, found and needed.
    """
    where = f"dvh.constraints {path.name}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} cannot be read as UTF-8 text: {type(error).__name__}.") from None
    header = text.partition("\n")[0]
    reader = csv.DictReader(
        io.StringIO(text), delimiter=";" if header.count(";") > header.count(",") else ",", strict=True
    )
    names = [(name or "").strip().casefold() for name in reader.fieldnames or []]
    if sorted(names) != sorted(COLUMNS):
        raise ConfigError(f"{where}: columns are {', '.join(names) or 'none'}; need {', '.join(COLUMNS)}.")
    reader.fieldnames = names
    found: dict[tuple[str, Measure, str], int] = {}
    constraints: list[Constraint] = []
    try:
        for values in reader:
            line = f"{where} line {reader.line_num}"
            if None in values or None in values.values():
                raise ConfigError(f"{line}: {len(COLUMNS)} values are needed; put text with separators into quotes.")
            one = _constraint(values, len(constraints) + 1, line)
            same = found.setdefault((one.structure, one.measure, one.text), reader.line_num)
            if same != reader.line_num:
                raise ConfigError(f"{line}: the same constraint as in line {same}; once is needed.")
            constraints.append(one)
    except csv.Error as error:
        raise ConfigError(f"{where} line {reader.line_num + 1}: {error}.") from None
    return constraints


def _constraint(values: Mapping[str, str], number: int, line: str) -> Constraint:
    structure = values["structure"].strip()
    if not structure:
        raise ConfigError(f"{line}: structure is empty; a name as in the file or of TG-263 is needed.")
    try:
        measure = parse_measure(values["metric"])
    except MeasureError as error:
        raise ConfigError(f"{line}: metric {error}.") from None
    said = re.sub(r"\s", "", values["limit"]).casefold()
    found = _LIMIT.fullmatch(said)
    if not found:
        raise ConfigError(f"{line}: limit is {values['limit']!r}; need one of < <= > >= and a number, such as < 26 Gy.")
    measure, unit = _units(measure, _UNITS[found[3]], values, line)
    sign = _SIGN_OF.get(found[1], found[1])
    return Constraint(number, structure, measure, sign, float(found[2].replace(",", ".")), unit)


def _units(measure: Measure, said: Unit, values: Mapping[str, str], line: str) -> tuple[Measure, Unit]:
    """The measure with the unit that its limit gives it, and the limit's unit."""
    if measure.is_dose:
        allowed: dict[Unit, Unit] = {"": "Gy", "Gy": "Gy"}
        if measure.quantity == "dose":  # the prescription is a physical dose
            allowed |= {"%": "% of Rx", "% of Rx": "% of Rx"}
    elif measure.is_volume:
        own: Unit = measure.unit or said or ("%" if measure.kind == "v_rx" else "")
        if not own:
            raise ConfigError(
                f"{line}: {values['metric'].strip()} {values['limit'].strip()} is in % or in cc; say which."
            )
        allowed = {"": own, own: own} if own in ("%", "cc") else {}
    else:
        allowed = {"": measure.unit, measure.unit: measure.unit}
    if said not in allowed:
        need = " or ".join(repr(u) for u in allowed if u) or ("'%' or 'cc'" if measure.is_volume else "no unit")
        raise ConfigError(f"{line}: limit of {values['metric'].strip()} is in {said!r}; need {need}.")
    unit = allowed[said]
    return (replace(measure, unit=unit), unit) if measure.is_volume else (measure, unit)

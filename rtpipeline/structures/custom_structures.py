"""The YAML of `custom_structures`: which structures are derived from others, and by how much they grow or shrink."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rtpipeline.errors import ConfigError
from rtpipeline.geometry.mask_margins import Margins
from rtpipeline.structures.expressions import (
    DIFFERENCE,
    INTERSECTION,
    SYMMETRIC_DIFFERENCE,
    UNION,
    Expression,
    ExpressionError,
    chain,
    is_union,
    names_in,
    parse,
)

KEYS = ("name", "operation", "source_structures", "expression", "margin", "allow_missing", "description")
OPERATION_SIGNS = {
    "union": UNION, "intersection": INTERSECTION, "subtract": DIFFERENCE, "xor": SYMMETRIC_DIFFERENCE,
}  # fmt: skip
SIDES = ("left_mm", "right_mm", "posterior_mm", "anterior_mm", "superior_mm", "inferior_mm")
UNIFORM = "uniform_mm"

LARGEST_MARGIN_MM = 200.0
"""More is a slip of the unit: it would reach through the patient, and its memory grows with the third power."""


@dataclass(frozen=True)
class Definition:
    """A derived structure: an expression, then grown by the margins above 0 and shrunk by those below.

    allow_missing: a union is made of the sources that there are.
    """

    name: str
    expression: Expression
    grow: Margins
    shrink: Margins
    allow_missing: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """Names that it is made of."""
        return names_in(self.expression)


def load_custom_structures(path: Path) -> list[Definition]:
    """Definitions, each after those that it is made of.

    The file holds a list, at the top or under `custom_structures`; the keys of an entry are KEYS. `margin` is a number
    in mm (negative: shrink) or a mapping of SIDES and `uniform_mm`, which stands for the sides that are not given.

    Raises
    ------
    ConfigError: no such list, an unknown key, a value that does not fit, a name twice, or definitions in a circle.
    """
    where = f"custom_structures {path.name}"
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} is no valid YAML: {' '.join(str(error).split())}") from None
    if isinstance(raw, Mapping):
        unknown = [str(k) for k in raw if k != "custom_structures"]
        if unknown:
            raise ConfigError(f"{where}: unknown key {unknown[0]!r}; a list under `custom_structures` is needed.")
        raw = raw.get("custom_structures")
    if not isinstance(raw, list):
        raise ConfigError(f"{where} holds no list; a list of structures under `custom_structures` is needed.")
    found: dict[str, Definition] = {}
    for number, entry in enumerate(raw, start=1):
        definition = _definition(entry, f"{where} entry {number}")
        if definition.name in found:
            raise ConfigError(f"{where} entry {number}: the name {definition.name!r} stands there twice.")
        found[definition.name] = definition
    return _in_order(found, where)


def _definition(entry: Any, where: str) -> Definition:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where} is {entry!r}; a mapping with `name` is needed.")
    for key in entry:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"keys are {', '.join(KEYS)}."
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"{where}: name is {name!r}; a text is needed.")
    where = f"{where} ({name})"
    expression = _expression(entry, where)
    allow_missing = entry.get("allow_missing", False)
    if not isinstance(allow_missing, bool):
        raise ConfigError(f"{where}: allow_missing is {allow_missing!r}; true or false is needed.")
    if allow_missing and not is_union(expression):
        raise ConfigError(
            f"{where}: allow_missing is for unions only: without a part others would mean something else."
        )
    grow, shrink = _margins(entry.get("margin", 0.0), where)
    return Definition(name.strip(), expression, grow, shrink, allow_missing)


def _expression(entry: Mapping[str, Any], where: str) -> Expression:
    if "expression" in entry:
        if "operation" in entry or "source_structures" in entry:
            raise ConfigError(
                f"{where}: expression stands instead of operation and source_structures, not beside them."
            )
        text = entry["expression"]
        if not isinstance(text, str):
            raise ConfigError(f"{where}: expression is {text!r}; a text is needed.")
        try:
            return parse(text)
        except ExpressionError as error:
            raise ConfigError(f"{where}: expression {error}.") from None
    operation, sources = entry.get("operation", "union"), entry.get("source_structures")
    if not isinstance(operation, str) or operation not in OPERATION_SIGNS:
        raise ConfigError(f"{where}: operation is {operation!r}; one of {', '.join(OPERATION_SIGNS)} is needed.")
    if not isinstance(sources, list) or not sources or not all(isinstance(s, str) and s.strip() for s in sources):
        raise ConfigError(f"{where}: source_structures is {sources!r}; a list of names is needed.")
    return chain(OPERATION_SIGNS[operation], [s.strip() for s in sources])


def _margins(value: Any, where: str) -> tuple[Margins, Margins]:
    """What it grows by and what it shrinks by."""
    if not isinstance(value, Mapping):
        value = {UNIFORM: value}
    for key, number in value.items():
        if key not in (*SIDES, UNIFORM):
            raise ConfigError(f"{where}: unknown key {key!r} of margin; keys are {', '.join((*SIDES, UNIFORM))}.")
        is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
        if not is_number or not math.isfinite(number):
            raise ConfigError(f"{where}: margin {key} is {number!r}; a number of mm is needed.")
        if abs(number) > LARGEST_MARGIN_MM:
            raise ConfigError(f"{where}: margin {key} is {number!r} mm; at most {LARGEST_MARGIN_MM:g} mm is possible.")
    all_round = float(value.get(UNIFORM, 0.0))
    sides = {side: float(value.get(side, all_round)) for side in SIDES}
    grow = Margins(**{side: max(mm, 0.0) for side, mm in sides.items()})
    return grow, Margins(**{side: max(-mm, 0.0) for side, mm in sides.items()})


def _in_order(found: Mapping[str, Definition], where: str) -> list[Definition]:
    """Each after those that it is made of, else in the order of the file."""
    ordered: dict[str, Definition] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise ConfigError(f"{where}: {circle} is a circle; a structure cannot be made of itself.")
        if name in ordered:
            return
        for source in found[name].sources:
            if source in found:
                add(source, (*path, name))
        ordered[name] = found[name]

    for name in found:
        add(name, ())
    return list(ordered.values())

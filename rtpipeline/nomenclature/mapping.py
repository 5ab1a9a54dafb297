"""The user's own table of names: the CSV of `structure_names`, which wins over everything that the list knows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rtpipeline.errors import ConfigError
from rtpipeline.nomenclature.targets import is_target
from rtpipeline.nomenclature.tg263 import nomenclature
from rtpipeline.nomenclature.words import canonical

COLUMNS = ("structure_name", "tg263", "source")
SOURCES = ("manual", "totalsegmentator", "custom", "derived", "cropped")
OWN = "~"
"""A name of the user's own begins with this; no TG-263 name does."""


@dataclass(frozen=True)
class NameMapping:
    """TG-263 name by (structure name exactly as in the file, source); source '' is any. None: has none, by decision."""

    names: Mapping[tuple[str, str], str | None]

    def has(self, name: str, source: str) -> bool:
        """Whether the table says something about the name."""
        return (name, source) in self.names or (name, "") in self.names

    def get(self, name: str, source: str) -> str | None:
        """What it says; a row with the source wins over one without."""
        return self.names[name, source] if (name, source) in self.names else self.names[name, ""]


def load_mapping(path: Path) -> NameMapping:
    """The table `structure_name, tg263 [, source]`; comma or semicolon separated, UTF-8.

    An empty `tg263` says that the structure has no such name, whatever the list knows. A name that is not of TG-263 has
    to begin with `~`.

    Raises
    ------
    ConfigError: it cannot be read as such, lacks a column or has an unknown one, an empty structure name, a source that
        does not exist, a name that is neither of TG-263 nor marked as the user's own, or two rows that contradict.
    """
    where = f"structure_names {path.name}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} cannot be read as UTF-8 text: {type(error).__name__}.") from None
    header = text.partition("\n")[0]
    # not splitlines, which also breaks a name at signs that end no line of a table
    reader = csv.DictReader(
        io.StringIO(text), delimiter=";" if header.count(";") > header.count(",") else ",", strict=True
    )
    reader.fieldnames = _columns(reader.fieldnames, where)
    names: dict[tuple[str, str], str | None] = {}
    try:
        for values in reader:
            line = f"{where} line {reader.line_num}"
            if None in values:
                raise ConfigError(f"{line}: more values than columns; put text with separators into double quotes.")
            if values["tg263"] is None:
                raise ConfigError(
                    f"{line}: no value for tg263; a separator with nothing behind it says that it has none."
                )
            place, said = _row({k: canonical(v or "") for k, v in values.items()}, line)
            if names.setdefault(place, said) != said:
                here, above = said or "nothing", names[place] or "nothing"
                raise ConfigError(f"{line}: '{place[0]}' is {here} here and {above} above; one row is needed.")
    except csv.Error as error:
        raise ConfigError(f"{where} line {reader.line_num + 1}: {error}.") from None
    return NameMapping(names)


def _columns(found: object, where: str) -> list[str]:
    names = [(name or "").strip().casefold() for name in found or []]  # type: ignore[attr-defined]
    unknown = sorted(set(names) - set(COLUMNS))
    missing = [name for name in COLUMNS[:2] if name not in names]
    if unknown or missing or len(set(names)) < len(names):
        fault = (
            f"unknown column '{unknown[0]}'"
            if unknown
            else f"no column '{missing[0]}'"
            if missing
            else "a column twice"
        )
        raise ConfigError(f"{where}: {fault}; columns are structure_name, tg263 and, if needed, source.")
    return names


def _row(values: dict[str, str], line: str) -> tuple[tuple[str, str], str | None]:
    name, said, source = values["structure_name"], values["tg263"], values.get("source", "").casefold()
    if not name:
        raise ConfigError(f"{line}: structure_name is empty; the name as in the file is needed.")
    if source and source not in SOURCES:
        raise ConfigError(f"{line}: source is '{source}'; empty or one of {', '.join(SOURCES)} is needed.")
    if said.startswith(OWN):
        if len(said) == len(OWN):
            raise ConfigError(f"{line}: tg263 is '{OWN}' alone; a name behind it is needed.")
    elif said and not nomenclature().is_name(said) and not is_target(said):
        raise ConfigError(
            f"{line}: tg263 is '{said}', which is no TG-263 name that this version knows; "
            f"correct it, or write {OWN}{said} for a name of your own."
        )
    return (name, source), said or None

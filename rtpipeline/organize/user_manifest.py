"""The user's manifest: one CSV row for a plan, a structure, a patient, or (naming neither plan nor patient) for all."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rtpipeline.contracts.manifests import ManifestRow
from rtpipeline.errors import ConfigError

COLUMNS = ("patient_id", "plan_uid", "structure", "rx_gy", "fractions_delivered", "alpha_beta_gy", "include")
VALUES = COLUMNS[3:]
"""What a row states about the patient, plan and structure that it names."""
YES = frozenset({"1", "true", "yes", "y", "include"})
NO = frozenset({"0", "false", "no", "n", "exclude"})


@dataclass(frozen=True)
class UserRow:
    """One row; what it leaves empty is '' or None."""

    patient_id: str = ""
    """as in the export, or the pseudonym"""
    plan_uid: str = ""
    structure: str = ""
    rx_gy: float | None = None
    fractions_delivered: int | None = None
    alpha_beta_gy: float | None = None
    include: bool | None = None
    line: int = field(default=0, compare=False)
    """in the file, from 1"""

    @property
    def about_patient(self) -> bool:
        """Whether it is about a patient as a whole."""
        return bool(self.patient_id) and not self.plan_uid and not self.structure


def user_row(values: Mapping[str, str | None], where: str = "manifest", line: int = 0) -> UserRow:
    """A row from texts by column name; decimal point or comma.

    Raises
    ------
    ConfigError: a number is none or not above 0, or `include` is neither yes nor no.
    """
    text = {name: (values.get(name) or "").strip() for name in COLUMNS}
    said = text["include"].casefold()
    if said and said not in YES | NO:
        raise ConfigError(f"{where}: include is {said!r}; yes or no is needed.")
    fractions = _number(text, "fractions_delivered", where)
    if fractions is not None and fractions != int(fractions):
        raise ConfigError(f"{where}: fractions_delivered is {fractions:g}; a whole number is needed.")
    return UserRow(
        patient_id=text["patient_id"],
        plan_uid=text["plan_uid"],
        structure=text["structure"],
        rx_gy=_number(text, "rx_gy", where),
        fractions_delivered=None if fractions is None else int(fractions),
        alpha_beta_gy=_number(text, "alpha_beta_gy", where),
        include=None if not said else said in YES,
        line=line,
    )


def _number(text: Mapping[str, str], name: str, where: str) -> float | None:
    """None where nothing is stated."""
    if not text[name]:
        return None
    try:
        value = float(text[name].replace(",", "."))
    except ValueError:
        value = math.nan
    # no fraction may have been delivered yet, or ever
    if not math.isfinite(value) or value < 0 or (value == 0 and name != "fractions_delivered"):
        raise ConfigError(f"{where}: {name} is {text[name]!r}; a number above 0 is needed.")
    return value


def load_user_manifest(path: Path) -> list[UserRow]:
    """Rows of the CSV; comma or semicolon separated, UTF-8.

    Raises
    ------
    ConfigError: it cannot be read as such, has a column that is not known, a value that does not fit, or two rows that
        contradict each other.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"manifest {path.name} cannot be read as UTF-8 text: {type(error).__name__}.") from None
    lines = content.splitlines()
    header = lines[0] if lines else ""
    reader = csv.DictReader(lines, delimiter=";" if header.count(";") > header.count(",") else ",")
    names = [(name or "").strip().casefold() for name in reader.fieldnames or []]
    unknown = sorted(set(names) - set(COLUMNS))
    if unknown or not names:
        found = f"unknown column {unknown[0]!r}" if unknown else "no header"
        raise ConfigError(f"manifest {path.name}: {found}; columns are {', '.join(COLUMNS)}.")
    reader.fieldnames = names
    rows = []
    for values in reader:
        where = f"manifest {path.name} line {reader.line_num}"
        if None in values:
            raise ConfigError(f"{where}: more values than columns; put text with separators into double quotes.")
        rows.append(user_row(values, where, reader.line_num))
    _refuse_contradictions(rows, f"manifest {path.name}")
    return rows


def _refuse_contradictions(rows: Sequence[UserRow], where: str) -> None:
    """Two rows about the same thing with different values: which one was meant must not be left to their order."""
    said: dict[tuple[str, str, str, str], UserRow] = {}
    for row in rows:
        for name in VALUES:
            first = said.setdefault((row.patient_id, row.plan_uid, row.structure, name), row)
            if getattr(first, name) is None:
                said[row.patient_id, row.plan_uid, row.structure, name] = row
            elif getattr(row, name) not in (None, getattr(first, name)):
                raise ConfigError(f"{where}: lines {first.line} and {row.line} give different values of {name}.")


def rows_of_patient(rows: Iterable[UserRow], *ids: str) -> list[UserRow]:
    """Rows that name a patient by any of these ids, or name nobody."""
    return [r for r in rows if not r.patient_id or r.patient_id in ids]


def rows_of_course(rows: Sequence[UserRow], plan_ids: Mapping[str, str]) -> list[ManifestRow]:
    """Of a patient's rows those about one of the course's plans, or about no plan in particular; in a fixed order.

    plan_ids: UID of each plan of the course -> its id.
    """
    mine = [
        ManifestRow(
            plan_id=plan_ids.get(r.plan_uid),
            structure=r.structure or None,
            rx_gy=r.rx_gy,
            fractions_delivered=r.fractions_delivered,
            alpha_beta_gy=r.alpha_beta_gy,
            include=r.include,
        )
        for r in rows
        if not r.plan_uid or r.plan_uid in plan_ids
    ]
    return sorted(mine, key=lambda r: r.model_dump_json())


def rows_about_nothing(rows: Iterable[UserRow], patients: set[str], plans: set[str]) -> list[UserRow]:
    """Rows that name a patient or plan the export does not hold."""
    known_patients, known_plans = {"", *patients}, {"", *plans}
    return [r for r in rows if r.patient_id not in known_patients or r.plan_uid not in known_plans]

"""The user's manifest: one CSV row for a plan, a structure of a plan, or a patient."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rtpipeline.errors import ConfigError

COLUMNS = (
    "patient_id",
    "plan_uid",
    "structure",
    "rx_gy",
    "fractions_delivered",
    "alpha_beta_gy",
    "include",
)
YES = frozenset({"1", "true", "yes", "y", "include"})
NO = frozenset({"0", "false", "no", "n", "exclude"})


@dataclass(frozen=True)
class ManifestRow:
    """One row; what it leaves empty is '' or None."""

    patient_id: str = ""
    """as in the export, or the pseudonym"""
    plan_uid: str = ""
    structure: str = ""
    rx_gy: str = ""
    fractions_delivered: str = ""
    alpha_beta_gy: str = ""
    include: bool | None = None

    @property
    def about_patient(self) -> bool:
        """Whether it is about a patient as a whole."""
        return bool(self.patient_id) and not self.plan_uid and not self.structure

    def content(self) -> dict[str, str | bool | None]:
        """What enters a digest: everything but the patient's id, which links the row and changes no number."""
        row = asdict(self)
        row.pop("patient_id")
        return row


def manifest_row(values: Mapping[str, str | None], where: str = "manifest") -> ManifestRow:
    """A row from texts by column name.

    Raises
    ------
    ConfigError: `include` is neither yes nor no.
    """
    text = {name: (values.get(name) or "").strip() for name in COLUMNS}
    said = text.pop("include").casefold()
    if said and said not in YES | NO:
        raise ConfigError(f"{where}: include is {said!r}; yes or no is needed.")
    return ManifestRow(**text, include=None if not said else said in YES)


def load_user_manifest(path: Path) -> list[ManifestRow]:
    """Rows of the CSV; comma or semicolon separated, UTF-8.

    Raises
    ------
    ConfigError: it cannot be read as such, or has a column that is not known.
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
    return [manifest_row(row, f"manifest {path.name} line {n}") for n, row in enumerate(reader, start=2)]


def rows_of_patient(rows: Iterable[ManifestRow], *ids: str) -> list[ManifestRow]:
    """Rows that name a patient by any of these ids, or name nobody."""
    return [r for r in rows if not r.patient_id or r.patient_id in ids]


def rows_of_course(rows: Sequence[ManifestRow], plan_uids: Iterable[str]) -> list[ManifestRow]:
    """Of a patient's rows those about one of these plans, or about no plan in particular; sorted."""
    plans = set(plan_uids)
    mine = [r for r in rows if (r.plan_uid in plans if r.plan_uid else bool(r.patient_id))]
    return sorted(mine, key=lambda r: tuple(str(v) for v in r.content().values()))

"""The list of TG-263 names that RTpipeline knows, from `tg263.csv`.

Source: AAPM Report 263 (Mayo et al., Standardizing nomenclatures in radiation oncology, 2018), primary names, spelt as
in the report's list, also where it abbreviates or errs (`Colon_Decending`, `Hypothalmus`). The list here is the part
that radiotherapy meets most; it is not complete.

Columns: `forms` says which names a row stands for: empty, the name alone; `LR`, the name with `_L` and with `_R`;
`+LR`, all three. `both` is the name of the pair. `synonyms`, separated by `|`, are whole names in English, German,
Latin, Spanish, French, Polish and others, without the side. `totalsegmentator` are classes of TotalSegmentator that
are the same structure by its own definition (`{side}` is left or right). Not the same, and left out: `small_bowel`
(without the duodenum), `colon` (down to the anus), `vertebrae_*` (whole vertebrae; VB is the body), `hip_*`,
`portal_vein_and_splenic_vein`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeVar

from rtpipeline.nomenclature.words import LEFT, RIGHT, key, words

K = TypeVar("K")

TARGETS = ("GTV", "CTV", "ITV", "IGTV", "ICTV", "PTV")

# name, partially contoured (~), planning risk volume with two digits of mm, side: AAPM Report 263, guiding principles
_BUILT = re.compile(r"(?P<stem>.+?)(?P<partial>~)?(?P<prv>_PRV(?:\d\d)?)?(?P<side>_[LR])?")


@dataclass(frozen=True)
class Nomenclature:
    """names: every listed name. by_case: by the key of its spelling. synonyms: by key of the words without a side, and
    the side (`L`, `R`, `both` or ''). totalsegmentator: by class. Keys that two names share are in none of them."""

    names: frozenset[str]
    by_case: dict[str, str]
    synonyms: dict[tuple[str, str], str]
    totalsegmentator: dict[str, str]

    def is_name(self, name: str) -> bool:
        """Whether the name is listed, or is built from a listed one: `Brain~`, `SpinalCord_PRV05`, `Eye_PRV03_L`."""
        if name in self.names:
            return True
        built = _BUILT.fullmatch(name)
        if built is None or not (built["partial"] or built["prv"]):
            return False
        return f"{built['stem']}{built['side'] or ''}" in self.names


@cache
def nomenclature() -> Nomenclature:
    """The list, read once."""
    names: list[str] = []
    synonyms: list[tuple[tuple[str, str], str]] = []
    classes: list[tuple[str, str]] = []
    for row in rows():
        stem, forms = row["name"], row["forms"]
        for side, word in ((LEFT, "left"), (RIGHT, "right")):
            if forms.endswith("LR"):
                names.append(f"{stem}_{side}")
                synonyms += [((spelt, side), f"{stem}_{side}") for spelt in _spellings(row)]
                classes += [
                    (c.format(side=word), f"{stem}_{side}") for c in _listed(row, "totalsegmentator") if "{" in c
                ]
        if forms != "LR":
            names.append(stem)
            synonyms += [((spelt, ""), stem) for spelt in _spellings(row)]
            classes += [(c, stem) for c in _listed(row, "totalsegmentator") if "{" not in c]
        if row["both"]:
            synonyms += [((spelt, "both"), row["both"]) for spelt in _spellings(row)]
    cases = [(key(words(name)), name) for name in (*names, *TARGETS)]
    return Nomenclature(frozenset(names), _unambiguous(cases), _unambiguous(synonyms), _unambiguous(classes))


def rows() -> Iterator[dict[str, str]]:
    """Rows of `tg263.csv`."""
    text = (files("rtpipeline.nomenclature") / "tg263.csv").read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines())


def _spellings(row: dict[str, str]) -> set[str]:
    return {key(words(name)) for name in (row["name"], *_listed(row, "synonyms"))}


def _listed(row: dict[str, str], column: str) -> list[str]:
    return [text for text in row[column].split("|") if text]


def _unambiguous(pairs: list[tuple[K, str]]) -> dict[K, str]:
    """By key; what two different names share is left out, since nobody can say which was meant."""
    found: dict[K, set[str]] = {}
    for k, name in pairs:
        found.setdefault(k, set()).add(name)
    return {k: next(iter(names)) for k, names in found.items() if len(names) == 1}

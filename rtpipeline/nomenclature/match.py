"""From the name in a file to its TG-263 name, with the evidence. By whole names only.

Never by a part of a name, never by likeness, never with a side that is not written. What could be two names is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from rtpipeline.nomenclature.mapping import NameMapping
from rtpipeline.nomenclature.targets import is_target
from rtpipeline.nomenclature.tg263 import Nomenclature, nomenclature
from rtpipeline.nomenclature.words import (
    canonical,
    has_other_signs,
    key,
    takes_away,
    without_both,
    without_side,
    words,
)

Evidence = Literal["mapping", "exact", "case", "synonym", "totalsegmentator", "target"]

_PRV = re.compile(r"prv(?P<digits>\d+)?(?P<unit>mm)?")


@dataclass(frozen=True)
class NameMatch:
    """tg263: the TG-263 name, None when there is none that is certain. evidence: what the match rests on.

    mapping: the user's table (which may also say that there is none); exact: it is such a name already; case: it
    differs by letter case, spaces and underscores; synonym: a whole name of the list of synonyms, with its side;
    totalsegmentator: the class of a network that is this structure by definition; target: follows the rule for targets.
    """

    tg263: str | None
    evidence: Evidence | None


NO_MATCH = NameMatch(None, None)


def match_name(name: str, *, source: str, mapping: NameMapping | None = None) -> NameMatch:
    """The TG-263 name of a structure.

    Parameters
    ----------
    name: as in the file, or the class of a network.
    source: `structure_source` of the tables: manual, totalsegmentator, custom, derived or cropped. Classes of
        TotalSegmentator are looked up in the list of those alone: their words mean what its authors say.
    mapping: the user's table.
    """
    name = canonical(name)
    if mapping is not None and mapping.has(name, source):
        return NameMatch(mapping.get(name, source), "mapping")
    return _of_totalsegmentator(name) if source == "totalsegmentator" else _of_name(name)


def _of_totalsegmentator(name: str) -> NameMatch:
    found = nomenclature().totalsegmentator.get(name)
    return NameMatch(found, "totalsegmentator") if found else NO_MATCH


@lru_cache(maxsize=4096)
def _of_name(name: str) -> NameMatch:
    known = nomenclature()
    if known.is_name(name):
        return NameMatch(name, "exact")
    if is_target(name):
        return NameMatch(name, "target")
    # a leading underscore marks a structure that is not for evaluation (AAPM Report 263)
    if name.startswith("_") or has_other_signs(name) or takes_away(name):
        return NO_MATCH
    spelt = words(name)
    if re.fullmatch(r"[^\W_](?:[^\W]| )*", name) and key(spelt) in known.by_case:
        return NameMatch(known.by_case[key(spelt)], "case")
    found = _synonym(spelt, known) or _planning_risk_volume(spelt, known)
    return NameMatch(found, "synonym") if found else NO_MATCH


def _synonym(spelt: tuple[str, ...], known: Nomenclature) -> str | None:
    """The name whose synonyms hold all the words, the word of the side taken out."""
    both = without_both(spelt)
    if both is not None:
        return known.synonyms.get((key(both), "both"))
    whole = known.synonyms.get((key(spelt), ""))
    stem, side = without_side(spelt)
    sided = known.synonyms.get((key(stem), side)) if side else None
    return whole or sided if not (whole and sided) else None


def _planning_risk_volume(spelt: tuple[str, ...], known: Nomenclature) -> str | None:
    """`Myelon PRV 3mm` is SpinalCord_PRV03. A number counts as mm when it says so or has the two digits of TG-263."""
    at = [i for i, word in enumerate(spelt) if _PRV.fullmatch(word)]
    if len(at) != 1:
        return None
    before, after = list(spelt[: at[0]]), list(spelt[at[0] + 1 :])
    margin = spelt[at[0]].removeprefix("prv")
    if not margin and after and after[0][0].isdigit():
        margin = after.pop(0)
        if margin.isdigit() and after[:1] == ["mm"]:
            margin += after.pop(0)
    size = re.fullmatch(r"(?P<two>\d\d)|(?P<mm>\d{1,2})mm|", margin)
    base = _synonym((*before, *after), known)
    if size is None or base is None:
        return None
    digits = size["two"] or size["mm"]
    stem, side = (base[:-2], base[-2:]) if base.endswith(("_L", "_R")) else (base, "")
    return f"{stem}_PRV{int(digits):02d}{side}" if digits else f"{stem}_PRV{side}"

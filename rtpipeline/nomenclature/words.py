"""How a structure's name is taken apart: words, numbers, the word that says a side. Nothing is guessed here.

Two names are spelt alike when their keys are equal: letter case, accents, spaces, underscores and the case change in
`SpinalCord` do not count, digits and decimal points do. A single letter stays a word of its own, so that `Lung_S` (its
superior part, by TG-263) is not `Lungs`.
"""

from __future__ import annotations

import re
import unicodedata

LEFT, RIGHT = "L", "R"

SIDES: dict[str, str] = {
    **dict.fromkeys(("l", "lt", "left", "li", "links", "linke", "linker", "linkes", "sin", "sinister", "sinistra",
                     "izq", "izquierdo", "izquierda", "gauche", "lewy", "lewa", "lewe"), LEFT),
    **dict.fromkeys(("r", "rt", "right", "re", "rechts", "rechte", "rechter", "rechtes", "dex", "dexter", "dextra",
                     "derecho", "derecha", "droit", "droite", "prawy", "prawa", "prawe"), RIGHT),
}  # fmt: skip
"""Whole words that say a side, in English, German, Latin, Spanish, French and Polish."""

BOTH = frozenset({"both", "bilateral", "bilat", "bds", "beide", "beidseits"})
"""Whole words that say both sides."""

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "œ": "oe", "æ": "ae", "ł": "l", "ø": "o"})
"""Letters that are written as others where they are missing; `Drüse` and `Druese` are one word."""

_CASE_CHANGE = re.compile(r"(?<=[a-zß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[a-z]+[a-z0-9]*|[0-9]+(?:[.,][0-9]+)*[a-z]*")


def canonical(name: str) -> str:
    """The name without outer blanks, and with each accented letter as one character (Unicode NFC)."""
    return unicodedata.normalize("NFC", name).strip()


def words(name: str) -> tuple[str, ...]:
    """Words and numbers of a name, lower case and without accents: `Niere re.` gives niere and re.

    A number keeps its decimal point and the letters that follow it (`5.0`, `3mm`).
    """
    return tuple(_WORD.findall(_plain(_CASE_CHANGE.sub(" ", canonical(name)))))


def _plain(text: str) -> str:
    folded = text.casefold().translate(_UMLAUTS)
    return "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))


def has_other_signs(name: str) -> bool:
    """Whether anything but words and what stands between them is in the name: `Lung+5mm`, `Liver*`, `Heart~`.

    Such a sign changes what is meant, so the words alone do not name the structure.
    """
    return bool(re.search(r"[^a-z0-9 _\-.,/()\[\]]", _plain(canonical(name))))


def takes_away(name: str) -> bool:
    """Whether a hyphen stands before a digit or a target: `PTV-05`, `Lungs-GTV` take something away."""
    return bool(re.search(r"-\s*(?:\d|[ic]?gtv|i?ctv|itv|ptv)", canonical(name).casefold()))


def key(spelt: tuple[str, ...]) -> str:
    """Words joined where two or more letters meet; single letters and numbers stay apart.

    `("spinal", "cord")` and `("spinalcord",)` give `spinalcord`; `("lung", "l")` gives `lung_l`.
    """
    joined = ""
    for previous, word in zip(("", *spelt), spelt, strict=False):
        together = len(previous) > 1 and len(word) > 1 and previous[-1].isalpha() and word[0].isalpha()
        joined += word if together or not joined else f"_{word}"
    return joined


def without_side(spelt: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The words without the one that says a side, and that side (`L`, `R`); None when none or several say one."""
    said = [w for w in spelt if w in SIDES]
    if len(said) != 1:
        return spelt, None
    return tuple(w for w in spelt if w not in SIDES), SIDES[said[0]]


def without_both(spelt: tuple[str, ...]) -> tuple[str, ...] | None:
    """The words without the one that says both sides; None when there is none, or a side is said too."""
    if sum(w in BOTH for w in spelt) != 1 or any(w in SIDES for w in spelt):
        return None
    return tuple(w for w in spelt if w not in BOTH)

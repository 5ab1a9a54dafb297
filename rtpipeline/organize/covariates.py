"""What a cohort is stratified by, from the headers of a course: age, sex, scanner, contrast agent."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from rtpipeline.contracts.manifests import Covariates
from rtpipeline.organize.objects import ScanObject

OLDEST_YEARS = 89
"""Ages above are given as this one (45 CFR 164.514(b)(2)(i)(C): all ages over 89 are one category)."""
SEXES = ("M", "F", "O")
NO_AGENT = re.compile(r"no|none|n|without|native|nativ|0|no contrast|w/?o")
AGE = re.compile(r"(\d{3})([DWMY])")
"""PatientAge (0010,1010): nnnD, nnnW, nnnM or nnnY."""
YEARS_PER = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
SCANNER_LENGTH = 64


def covariates(things: Sequence[ScanObject], planning: ScanObject | None, day0: int | None) -> Covariates:
    """The covariates of a course; null where the headers say nothing or disagree."""
    return Covariates(
        age_years=_age_years(things, planning, day0),
        sex=_only({t.sex.strip().upper() for t in things} & set(SEXES)),
        scanner=_scanner(planning),
        contrast=contrast(planning),
    )


def contrast(image: ScanObject | None) -> bool | None:
    """Whether ContrastBolusAgent names an agent; None where it is absent or empty, which proves nothing."""
    agent = image.image.contrast_agent.strip().casefold() if image is not None and image.image is not None else ""
    return None if not agent else not NO_AGENT.fullmatch(agent)


def _age_years(things: Sequence[ScanObject], planning: ScanObject | None, day0: int | None) -> int | None:
    birth = _only({i.birth for t in things for i in t.identities} - {""})
    if birth and day0 is not None:
        born, then = dt.date(int(birth[:4]), int(birth[4:6]), int(birth[6:])), dt.date.fromordinal(day0)
        years = then.year - born.year - ((then.month, then.day) < (born.month, born.day))
        return min(years, OLDEST_YEARS) if years >= 0 else None
    stated = [t.age for t in ([planning] if planning is not None else things)]
    ages = {int(int(m[1]) * YEARS_PER[m[2]]) for a in stated if (m := AGE.fullmatch(a.strip().upper()))}
    return min(min(ages), OLDEST_YEARS) if ages and max(ages) - min(ages) <= 1 else None


def _scanner(image: ScanObject | None) -> str | None:
    if image is None:
        return None
    text = " ".join(f"{image.manufacturer} {image.model}".split())
    return text[:SCANNER_LENGTH] or None


def _only(values: set[str]) -> str | None:
    return next(iter(values)) if len(values) == 1 else None

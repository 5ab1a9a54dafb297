"""Which structures get features, by the configuration alone."""

from __future__ import annotations

from typing import Any

from rtpipeline.config import RadiomicsConfig

LEFT_OUT = ("bones", "m1", "m2", "table", "support", "body", "external")
"""What says something of the couch or of everything; `structures` takes it in by name."""
LEFT_OUT_PREFIX = "couch"


def plain(name: str) -> str:
    """A name without case, blanks and signs: `Couch_Surface` and `couch surface` are one."""
    return "".join(c for c in name.casefold() if c.isalnum())


def refusal(row: dict[str, Any], config: RadiomicsConfig) -> tuple[str, str] | None:
    """Status and reason where the configuration leaves a structure out; None where it does not.

    row: of the table `structures`.
    """
    if config.sources is not None and row["structure_source"] not in config.sources:
        return "not_selected", f"source {row['structure_source']} is not in radiomics.sources"
    names = {row["structure_name"], row["structure_name_tg263"]} - {None}
    if config.structures is not None:
        return None if names & set(config.structures) else ("not_selected", "not in radiomics.structures")
    skipped = {plain(name) for name in (*LEFT_OUT, *config.skip_rois)}
    if any(plain(name) in skipped or plain(name).startswith(LEFT_OUT_PREFIX) for name in names):
        return "skipped", "left out by name"
    return None

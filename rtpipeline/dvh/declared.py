"""What the user declares for structures by name: alpha/beta and the exponent of gEUD. Nothing has a default."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import ManifestRow


def names_of(structure: Mapping[str, Any]) -> list[str]:
    """The names of a row of `structures` that a user's table may mean it by: as in the file, then of TG-263."""
    return [name for key in ("structure_name", "structure_name_tg263") if isinstance(name := structure[key], str)]


@dataclass(frozen=True)
class AlphaBeta:
    """value_gy: None where none is declared, or where the manifest says two things."""

    value_gy: float | None = None
    source: str | None = None
    contradicts: bool = False


@dataclass(frozen=True)
class Declarations:
    """By structure name; the name as in the file wins over that of TG-263, and the manifest over the configuration."""

    alpha_beta_gy: Mapping[str, float]
    geud_a: Mapping[str, float]
    manifest: Sequence[ManifestRow] = ()

    @property
    def any_alpha_beta(self) -> bool:
        """Whether any structure may get EQD2 and BED."""
        return bool(self.alpha_beta_gy) or any(r.structure and r.alpha_beta_gy is not None for r in self.manifest)

    def alpha_beta(self, structure: Mapping[str, Any], plan_ids: Collection[str]) -> AlphaBeta:
        """Of a structure in a dose of these plans."""
        for name in names_of(structure):
            rows = [r for r in self.manifest if r.structure == name and r.alpha_beta_gy is not None]
            named = {r.alpha_beta_gy for r in rows if r.plan_id in plan_ids}
            stated = named or {r.alpha_beta_gy for r in rows if r.plan_id is None}
            if stated:
                return AlphaBeta(stated.pop(), "manifest") if len(stated) == 1 else AlphaBeta(contradicts=True)
        for name in names_of(structure):
            if name in self.alpha_beta_gy:
                return AlphaBeta(self.alpha_beta_gy[name], "configuration")
        return AlphaBeta()

    def exponent(self, structure: Mapping[str, Any]) -> float | None:
        """Exponent a of gEUD; None where none is declared."""
        return next((self.geud_a[name] for name in names_of(structure) if name in self.geud_a), None)

    def findings(self) -> list[Finding]:
        """Rows of the manifest that give an alpha/beta to nothing."""
        lost = [r for r in self.manifest if r.alpha_beta_gy is not None and not r.structure]
        if not lost:
            return []
        measured = f"{len(lost)} rows with alpha_beta_gy and no structure"
        return [
            finding(
                "OBJECT_NOT_USED", "manifest", measured, severity="W", expected="the structure that it is for",
                action="alpha_beta_gy of these rows not used", remedy="add the structure's name to the row",
            )
        ]  # fmt: skip

"""The doses of a course as prepare_rt left them, and their EQD2 and BED in a structure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rtpipeline.dose.accumulate import DoseGrid
from rtpipeline.dvh.biology import Biological, Part, PartsSum, of_bed, of_one_plan, sum_parts
from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import Interpolation, compute_dvh
from rtpipeline.dvh.fractionation import OK, Fractionation, fractionation
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.solid import PrismSolid

SUM_WITHIN = 0.01
"""Share of a total's maximum by which its parts, added here, may differ from it anywhere: a MULTI_PLAN dose is the
planning system's own sum."""


@dataclass(frozen=True)
class CourseDose:
    """One dose of the tables, as prepare_rt decided it."""

    facts: dict[str, Any]
    """entry of `doses.json`"""
    volume: DoseVolume

    @property
    def dose_id(self) -> str:
        """`plan-01`, `total` ..."""
        return str(self.facts["dose_id"])


def load_doses(folder: Path) -> list[CourseDose]:
    """The doses in an output folder of prepare_rt, in its order."""
    path = folder / "doses.json"
    if not path.is_file():
        return []
    found = []
    for facts in json.loads(path.read_text()):
        where = folder / "doses" / facts["dose_id"]
        if not (where / "dose.npy").is_file():
            continue
        known = where / "known.npy"
        grid = Grid.from_json(json.loads((where / "geometry.json").read_text()))
        volume = DoseVolume(grid, np.load(where / "dose.npy"), np.load(known) if known.is_file() else None)
        found.append(CourseDose(facts, volume))
    return found


def load_plans(folder: Path) -> dict[str, dict[str, Any]]:
    """Facts of the plans by id, from an output folder of prepare_rt."""
    path = folder / "plans.json"
    return {p["plan_id"]: p for p in json.loads(path.read_text())} if path.is_file() else {}


@dataclass
class CourseBiology:
    """EQD2 and BED in the doses of a course; what is common to structures is worked out once."""

    doses: Sequence[CourseDose]
    plans: Mapping[str, Mapping[str, Any]]
    interpolation: Interpolation
    _sums: dict[str, PartsSum | str] = field(default_factory=dict)
    _volumes: dict[tuple[str, float], DoseVolume] = field(default_factory=dict)

    def fractionation(self, dose: CourseDose) -> Fractionation:
        """How the dose is fractionated, as far as its own facts say."""
        return fractionation(dose.facts, self.plans)

    def histograms(
        self, dose: CourseDose, solid: PrismSolid, dvh: Dvh, alpha_beta_gy: float
    ) -> tuple[str, Biological | None]:
        """(`ok`, histograms), or (a key of `fractionation.REASONS`, None).

        Parameters
        ----------
        dvh: histogram of the solid in the physical dose.
        """
        how = self.fractionation(dose)
        if how.status != OK:
            return how.status, None
        if dvh.dmin_gy is not None and dvh.dmin_gy < 0.0:
            return "negative_dose", None
        if len(how.parts) == 1:
            # delivered fractions of a plan that was stopped have the size that was planned
            return OK, of_one_plan(dvh, how.parts[0].fractions * how.parts[0].weight, alpha_beta_gy)
        if dose.dose_id not in self._sums:
            self._sums[dose.dose_id] = self._sum(dose, how)
        summed = self._sums[dose.dose_id]
        if isinstance(summed, str):
            return summed, None
        place = (dose.dose_id, alpha_beta_gy)
        if place not in self._volumes:
            self._volumes[place] = summed.bed(alpha_beta_gy)
        bed = compute_dvh(solid, self._volumes[place], interpolation=self.interpolation)
        return OK, of_bed(bed, alpha_beta_gy)

    def _sum(self, dose: CourseDose, how: Fractionation) -> PartsSum | str:
        """The parts on the grid of their total; a status where they are not there or are not its parts."""
        by_plan = {d.dose_id: d for d in self.doses if d.facts["plan_ids"] == [d.dose_id]}
        if any(part.plan_id not in by_plan for part in how.parts):
            return "part_without_dose"
        parts = []
        for part in how.parts:
            volume = by_plan[part.plan_id].volume
            planned = DoseGrid(volume.grid, np.asarray(volume.dose_gy, np.float64), volume.known)
            matrix = dose.facts.get("part_routes", {}).get(part.plan_id, {}).get("matrix")
            here = planned if matrix is None else planned.carried(np.array(matrix, float))
            parts.append(Part(here, part.fractions, part.weight))
        summed = sum_parts(parts, dose.volume.grid)
        total, both = np.asarray(dose.volume.dose_gy, np.float64), np.ones(dose.volume.grid.shape_zyx, bool)
        for known in (summed.known, dose.volume.known):
            if known is not None:
                both &= known
        largest = float(np.abs(total[both]).max(initial=0.0))
        off = np.abs(summed.dose_gy - total)[both]
        return "parts_differ" if not off.size or float(off.max()) > SUM_WITHIN * largest else summed

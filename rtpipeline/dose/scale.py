"""Whether the values of a dose fit what its plan prescribes: a dose of one fraction, or in cGy, is found out here.

The largest dose of an external beam plan lies between its prescription and twice that (stereotactic plans prescribe to
50 % of the maximum). Next to brachytherapy sources the dose has no bound, so no maximum can be judged there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LOW = 0.7
"""A maximum below this part of the prescription is not the dose of the whole plan."""

FITS = (0.9, 2.0)
"""Maximum over prescription of a plan that fits."""

HIGH = 3.0
"""A maximum above this multiple of the prescription needs a look."""

CENTIGRAY = (70.0, 250.0)
"""Maximum over prescription of a dose that is written in cGy."""

IMPOSSIBLE_MAX_GY = 500.0
"""An external beam dose above this is taken for cGy whatever is prescribed (that may be in cGy too): no plan delivers
it."""

MIN_FRACTIONS_BY_BEAM_DOSE = 10
"""Beam doses are meant at points of their own and may add up to several times the dose (Monaco: 0.6 to 5 times the
prescription), so with fewer fractions they cannot tell a fraction's dose from a whole one."""


@dataclass(frozen=True)
class Prescribed:
    """What is known of a plan's dose level. rx_gy: highest target level, of the manifest or the plan."""

    rx_gy: float | None
    fractions: int | None
    beam_dose_total_gy: float | None
    brachy: bool


@dataclass(frozen=True)
class ScaleCheck:
    """verdict: `fits`, `per_fraction` or `centigray` (refused), `session_total` (a session that needs no factor),
    `implausible` (kept, flagged), or `unknown` (nothing to compare with)."""

    verdict: Literal["fits", "per_fraction", "centigray", "session_total", "implausible", "unknown"]
    measured: str = ""

    @property
    def refused(self) -> bool:
        """Whether the dose must not be used."""
        return self.verdict in ("per_fraction", "centigray", "session_total")


def check_scale(max_gy: float, plan: Prescribed, *, factor: int = 1) -> ScaleCheck:
    """Compare the largest dose of a plan with its prescription.

    Parameters
    ----------
    max_gy: largest value of the grid, `factor` included.
    factor: fractions by which a session was multiplied.
    """
    if plan.brachy:
        return ScaleCheck("unknown", "brachytherapy: the maximum lies at the sources")
    level, by_beams = plan.rx_gy, False
    if level is None:
        level, by_beams = plan.beam_dose_total_gy, True
    if not level:
        if max_gy > IMPOSSIBLE_MAX_GY:
            return ScaleCheck("centigray", f"maximum {max_gy:.1f} without a prescription")
        return ScaleCheck("unknown", "no prescription")
    ratio = max_gy / level
    source = "BeamDose x fractions" if by_beams else "prescription"
    measured = f"maximum {max_gy:.2f} Gy, {source} {level:.2f} Gy"
    if CENTIGRAY[0] <= ratio <= CENTIGRAY[1]:
        return ScaleCheck("centigray", measured)
    if factor > 1 and FITS[0] <= ratio / factor <= FITS[1] and ratio > FITS[1]:
        return ScaleCheck("session_total", f"{measured}; fits without the factor {factor}")
    if max_gy > IMPOSSIBLE_MAX_GY:
        return ScaleCheck("centigray", measured)
    n = plan.fractions
    enough = n is not None and n >= (MIN_FRACTIONS_BY_BEAM_DOSE if by_beams else 2)
    if ratio < LOW and enough and n is not None and FITS[0] <= ratio * n <= FITS[1]:
        return ScaleCheck("per_fraction", f"{measured}; fits only x {n} fractions")
    if not by_beams and not LOW <= ratio <= HIGH:
        return ScaleCheck("implausible", measured)
    return ScaleCheck("unknown" if by_beams else "fits", measured)

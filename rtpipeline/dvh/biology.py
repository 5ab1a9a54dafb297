"""Biologically effective and equivalent doses of the linear-quadratic model, voxel by voxel.

A volume that receives D in n equal fractions has, with the alpha/beta of its tissue,

    BED  = D (1 + D / (n alpha/beta))          Fowler, Br J Radiol 62:679 (1989)
    EQD2 = BED / (1 + 2 / (alpha/beta))        Withers, Thames and Peters, Radiother Oncol 1:187 (1983)

so both rise with D. In one plan n is the same everywhere: the histogram of the dose, with its dose axis transformed, is
the histogram of the voxels' own values. Plans have an n each: their values are added in every voxel, never worked out
from the physical total (50 Gy in 25 and 20 Gy in 4, alpha/beta 3: 82.0 Gy, not 75.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rtpipeline.dose.accumulate import DoseGrid, sample
from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.geometry.even_odd import Array
from rtpipeline.geometry.grid import Grid

REFERENCE_GY = 2.0
"""Dose per fraction that EQD2 is stated at."""


def bed_gy(dose_gy: Array | float, fractions: float, alpha_beta_gy: float) -> Array | float:
    """BED of a dose in so many equal fractions; any shape, Gy. Raises ValueError unless both are above 0."""
    if not fractions > 0.0 or not alpha_beta_gy > 0.0:
        raise ValueError(f"{fractions} fractions, alpha/beta {alpha_beta_gy} Gy; need more than 0")
    return dose_gy * (1.0 + dose_gy / (fractions * alpha_beta_gy))


def bed_per_eqd2(alpha_beta_gy: float) -> float:
    """BED over EQD2, the same for every dose: 1 + 2 / (alpha/beta)."""
    return 1.0 + REFERENCE_GY / alpha_beta_gy


def eqd2_gy(dose_gy: Array | float, fractions: float, alpha_beta_gy: float) -> Array | float:
    """EQD2 of a dose in so many equal fractions; any shape, Gy. Raises what `bed_gy` raises."""
    return bed_gy(dose_gy, fractions, alpha_beta_gy) / bed_per_eqd2(alpha_beta_gy)


@dataclass(frozen=True)
class Biological:
    """The histograms of one structure in EQD2 and in BED, for one alpha/beta."""

    alpha_beta_gy: float
    eqd2: Dvh
    bed: Dvh


def of_one_plan(dvh: Dvh, fractions: float, alpha_beta_gy: float) -> Biological:
    """Histograms from that of a dose given in `fractions` equal fractions.

    The mean of BED is that of D plus that of D^2 / (n alpha/beta). Raises ValueError for a dose below 0, and what
    `bed_gy` raises.
    """
    if dvh.dmin_gy is None or dvh.dmax_gy is None or dvh.dmean_gy is None:
        return Biological(alpha_beta_gy, dvh, dvh)
    if dvh.dmin_gy < 0.0:
        raise ValueError(f"dose goes down to {dvh.dmin_gy:.6g} Gy; need 0 or more")
    bed = replace(
        dvh,
        dmin_gy=float(bed_gy(dvh.dmin_gy, fractions, alpha_beta_gy)),
        dmax_gy=float(bed_gy(dvh.dmax_gy, fractions, alpha_beta_gy)),
        dmean_gy=dvh.dmean_gy + _mean_square_gy2(dvh) / (fractions * alpha_beta_gy),
        dose_edges_gy=np.asarray(bed_gy(dvh.dose_edges_gy, fractions, alpha_beta_gy)),
    )
    return of_bed(bed, alpha_beta_gy)


def of_bed(bed: Dvh, alpha_beta_gy: float) -> Biological:
    """Both histograms from that of BED: EQD2 is BED in another unit."""
    ratio = bed_per_eqd2(alpha_beta_gy)
    eqd2 = replace(
        bed,
        dmin_gy=None if bed.dmin_gy is None else bed.dmin_gy / ratio,
        dmax_gy=None if bed.dmax_gy is None else bed.dmax_gy / ratio,
        dmean_gy=None if bed.dmean_gy is None else bed.dmean_gy / ratio,
        dose_edges_gy=bed.dose_edges_gy / ratio,
    )
    return Biological(alpha_beta_gy, eqd2, bed)


def _mean_square_gy2(dvh: Dvh) -> float:
    """Mean of the squared dose over the known part; the dose spreads evenly between neighbouring edges."""
    d = dvh.dose_edges_gy
    low, high = d[:-1], d[1:]
    volume = dvh.volume_edges_cc[:-1] - dvh.volume_edges_cc[1:]
    total = float((low * low + low * high + high * high) @ volume) / 3.0 + float(d[-1] ** 2 * dvh.volume_edges_cc[-1])
    return total / float(dvh.volume_edges_cc[0])


@dataclass(frozen=True)
class Part:
    """What one plan gave: the dose as planned, in how many equal fractions, and the share of them delivered."""

    dose: DoseGrid
    fractions: float
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class PartsSum:
    """Sums over the parts of w D and w D^2 / n at the voxels of `grid`, (z, y, x): all that any alpha/beta needs.

    known: False where a part is not known; None when all of it is.
    """

    grid: Grid
    dose_gy: Array
    square_gy2: Array
    known: np.ndarray | None

    def bed(self, alpha_beta_gy: float) -> DoseVolume:
        """BED of all parts together."""
        return DoseVolume(self.grid, self.dose_gy + self.square_gy2 / alpha_beta_gy, self.known)


def sum_parts(parts: Sequence[Part], grid: Grid) -> PartsSum:
    """Add the parts at the voxels of `grid`: each is interpolated as a dose, then squared.

    A share w of n fractions is w n fractions of the same size, so its BED is w D (1 + D / (n alpha/beta)). Raises
    ValueError for a part without fractions.
    """
    dose, square = np.zeros(grid.shape_zyx), np.zeros(grid.shape_zyx)
    known = np.ones(grid.shape_zyx, bool)
    for part in parts:
        if not part.fractions > 0.0:
            raise ValueError(f"part in {part.fractions} fractions; need more than 0")
        values, seen = sample(part.dose, grid)
        dose += part.weight * values
        square += part.weight * values * values / part.fractions
        known &= seen
    return PartsSum(grid, dose, square, None if known.all() else known)

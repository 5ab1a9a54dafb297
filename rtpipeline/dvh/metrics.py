"""The columns of the table `dvh_metrics`: their names, units and meanings, and the values read from a histogram."""

from __future__ import annotations

from collections.abc import Sequence

from rtpipeline.dvh.column_names import column_number
from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.isodose import isodose_volume_cc

__all__ = [
    "biological_columns",
    "biological_metrics",
    "column_number",
    "conformity",
    "dose_status",
    "dvh_metric_columns",
    "dvh_metrics",
    "isodose_volume_cc",
    "overshoots",
]

COVERAGE_LIMIT_PCT = 99.5
"""With less of the structure's dose known, only its maximum is reported."""

D_PCT = (99, 98, 95, 90, 50, 10, 5, 2, 1)
D_CC = (0.03, 0.1, 1, 2, 5)
V_GY = tuple(range(5, 85, 5))
V_RX_PCT = (95, 100, 107)
"""The usual columns: D at percent and cc of the volume, V at Gy and, for targets, at percent of the prescription."""


def dvh_metric_columns(
    *,
    d_pct: Sequence[float] = D_PCT,
    d_cc: Sequence[float] = D_CC,
    v_gy: Sequence[float] = V_GY,
    v_rx_pct: Sequence[float] = V_RX_PCT,
) -> list[tuple[str, str, str]]:
    """(name, unit, meaning) of every column that `dvh_metrics` and `conformity` fill with these settings, in order."""
    columns = [
        ("volume_cc", "cc", "volume of the structure, whether its dose is known or not"),
        ("dose_coverage_pct", "%", "share of the structure's volume that lies inside the known dose"),
        ("dmin_gy", "Gy", "minimum dose, surface included"),
        ("dmax_gy", "Gy", "maximum dose, surface included; of the known part when coverage is incomplete"),
        ("dmean_gy", "Gy", "mean dose"),
    ]
    columns += [(f"d{column_number(p)}_gy", "Gy", f"dose that the hottest {p:g} % receive at least") for p in d_pct]
    columns += [(f"d{column_number(v)}cc_gy", "Gy", f"dose that the hottest {v:g} cc receive at least") for v in d_cc]
    for d in v_gy:
        columns.append((f"v{column_number(d)}gy_pct", "%", f"share of the volume that receives at least {d:g} Gy"))
        columns.append((f"v{column_number(d)}gy_cc", "cc", f"volume that receives at least {d:g} Gy"))
    columns.append(("rx_gy", "Gy", "prescription that the target metrics of this row refer to"))
    for p in v_rx_pct:
        columns.append((f"v{column_number(p)}rx_pct", "%", f"share of the volume with at least {p:g} % of rx_gy"))
    columns += [
        ("hi_icru83", "", "homogeneity index (D2 - D98) / D50, ICRU Report 83"),
        ("ci_paddick", "", "conformity index TV_PIV^2 / (TV x PIV), Paddick 2000; null unless the isodose is closed"),
        ("gi_paddick", "", "gradient index PIV(50 %) / PIV, Paddick 2006; null unless both isodoses are closed"),
    ]
    return columns


def dvh_metrics(
    dvh: Dvh,
    *,
    d_pct: Sequence[float],
    d_cc: Sequence[float],
    v_gy: Sequence[float],
    rx_gy: float | None,
    v_rx_pct: Sequence[float] = V_RX_PCT,
    coverage_limit_pct: float = COVERAGE_LIMIT_PCT,
) -> dict[str, float | None]:
    """Values by column name, None where a value does not exist; 0 where a volume truly is 0.

    rx_gy: prescription of a target, None for everything else. With less than `coverage_limit_pct` of the dose known
    every D and V is None except the maximum. D at a volume in cc is None in a smaller structure.
    """
    is_covered = dvh.coverage_pct >= coverage_limit_pct
    values: dict[str, float | None] = {
        "volume_cc": dvh.volume_cc,
        "dose_coverage_pct": dvh.coverage_pct,
        "dmin_gy": dvh.dmin_gy if is_covered else None,
        "dmax_gy": dvh.dmax_gy,
        "dmean_gy": dvh.dmean_gy if is_covered else None,
    }
    for p in d_pct:
        values[f"d{column_number(p)}_gy"] = dvh.dose_at_volume_pct(p) if is_covered else None
    for v in d_cc:
        values[f"d{column_number(v)}cc_gy"] = dvh.dose_at_volume_cc(v) if is_covered else None
    for d in v_gy:
        values[f"v{column_number(d)}gy_pct"] = dvh.volume_at_dose_pct(d) if is_covered else None
        values[f"v{column_number(d)}gy_cc"] = dvh.volume_at_dose_cc(d) if is_covered else None
    values["rx_gy"] = rx_gy
    for p in v_rx_pct:
        name = f"v{column_number(p)}rx_pct"
        values[name] = dvh.volume_at_dose_pct(p / 100.0 * rx_gy) if is_covered and rx_gy is not None else None
    values["hi_icru83"] = homogeneity_index(dvh) if is_covered and rx_gy is not None else None
    return values


def biological_columns(*, d_pct: Sequence[float] = D_PCT, d_cc: Sequence[float] = D_CC) -> list[str]:
    """Names of the columns that `biological_metrics` fills with these settings, in order."""
    doses = [
        "dmean",
        "dmin",
        "dmax",
        *(f"d{column_number(p)}" for p in d_pct),
        *(f"d{column_number(v)}cc" for v in d_cc),
    ]
    return [f"{quantity}_{dose}_gy" for quantity in ("eqd2", "bed") for dose in (*doses, "geud")]


def biological_metrics(
    quantity: str, dvh: Dvh, *, d_pct: Sequence[float], d_cc: Sequence[float], geud_a: float | None
) -> dict[str, float | None]:
    """Values by column name of a structure whose dose is known, from its histogram in EQD2 or BED.

    Parameters
    ----------
    quantity: `eqd2` or `bed`, the beginning of the names. geud_a: exponent of gEUD, None for no gEUD.
    """
    values: dict[str, float | None] = {"dmean": dvh.dmean_gy, "dmin": dvh.dmin_gy, "dmax": dvh.dmax_gy}
    values |= {f"d{column_number(p)}": dvh.dose_at_volume_pct(p) for p in d_pct}
    values |= {f"d{column_number(v)}cc": dvh.dose_at_volume_cc(v) for v in d_cc}
    values["geud"] = None if geud_a is None else dvh.geud_gy(geud_a)
    return {f"{quantity}_{name}_gy": value for name, value in values.items()}


OVERSHOOT = 1.1
"""Maximum in a structure over that of the dose grid itself above which interpolation is in doubt."""


def overshoots(dvh: Dvh, dose: DoseVolume) -> bool:
    """Whether the interpolated maximum lies more than OVERSHOOT times above every value of the grid."""
    return dvh.dmax_gy is not None and dvh.dmax_gy > OVERSHOOT * dose.extremes_gy[1]


def dose_status(dvh: Dvh, *, coverage_limit_pct: float = COVERAGE_LIMIT_PCT) -> str:
    """`ok`, `low_coverage` or `outside_grid`: how far the numbers of a row can be used."""
    if dvh.coverage_pct == 0:
        return "outside_grid"
    return "ok" if dvh.coverage_pct >= coverage_limit_pct else "low_coverage"


def conformity(
    dvh: Dvh, dose: DoseVolume, rx_gy: float, *, coverage_limit_pct: float = COVERAGE_LIMIT_PCT
) -> dict[str, float | None]:
    """`ci_paddick` and `gi_paddick` of a target with this prescription in this dose.

    CI = TV_PIV^2 / (TV x PIV), Paddick, J Neurosurg 93 Suppl 3:219 (2000): TV target volume, PIV volume of the
    prescription isodose in the whole grid, TV_PIV target volume inside it; 0 when the isodose misses the target.
    GI = PIV at half the prescription / PIV, Paddick and Lippitz, J Neurosurg 105 Suppl:194 (2006). None when an isodose
    reaches the border of the known dose, when no dose reaches the prescription, or below the coverage limit.
    """
    values: dict[str, float | None] = {"ci_paddick": None, "gi_paddick": None}
    if dvh.coverage_pct < coverage_limit_pct:
        return values
    piv_cc = isodose_volume_cc(dose, rx_gy, dvh.interpolation)
    if not piv_cc:
        return values
    values["ci_paddick"] = dvh.volume_at_dose_cc(rx_gy) ** 2 / (dvh.volume_cc * piv_cc)
    half_cc = isodose_volume_cc(dose, 0.5 * rx_gy, dvh.interpolation)
    if half_cc is not None:
        values["gi_paddick"] = half_cc / piv_cc
    return values


def homogeneity_index(dvh: Dvh) -> float | None:
    """(D2% - D98%) / D50%, ICRU Report 83 (2010); None when one of them does not exist or D50 is 0."""
    d2, d50, d98 = (dvh.dose_at_volume_pct(p) for p in (2.0, 50.0, 98.0))
    if d2 is None or d98 is None or not d50:
        return None
    return (d2 - d98) / d50

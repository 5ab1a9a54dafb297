"""Column names, and when a column is null."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import compute_dvh
from rtpipeline.dvh.metrics import column_number, conformity, dvh_metric_columns, dvh_metrics
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.solid import PrismSolid

USUAL: Any = {"d_pct": (99, 98, 95, 90, 50, 10, 5, 2, 1), "d_cc": (0.03, 0.1, 1, 2, 5), "v_gy": tuple(range(5, 85, 5))}


def even_spread(low: float = 20.0, high: float = 60.0, volume: float = 1.5, coverage: float = 100.0) -> Dvh:
    known = volume * coverage / 100.0
    return Dvh(
        volume_cc=volume, coverage_pct=coverage, dmin_gy=low, dmax_gy=high, dmean_gy=0.5 * (low + high),
        dose_edges_gy=np.array([low, high]), volume_edges_cc=np.array([known, 0.0]), sampling_mm=1.0, n_samples=1,
        interpolation="linear", end_cap="prism",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "name"), [(0.03, "0_03"), (0.1, "0_1"), (1, "1"), (1.0, "1"), (12.5, "12_5"), (12.50, "12_5"), (80, "80"),
                        (100, "100"), (0.001, "0_001"), (1e-7, "0_0000001"), (0.0300001, "0_0300001"), (1e3, "1000")]
)  # fmt: skip
def test_numbers_in_column_names(value: float, name: str) -> None:
    assert column_number(value) == name


def test_a_column_needs_a_number_above_zero() -> None:
    for value in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="need a number above 0"):
            column_number(value)


def test_the_usual_columns_are_those_of_the_table() -> None:
    names = [name for name, _, _ in dvh_metric_columns()]
    expected = (
        "volume_cc dose_coverage_pct dmin_gy dmax_gy dmean_gy "
        "d99_gy d98_gy d95_gy d90_gy d50_gy d10_gy d5_gy d2_gy d1_gy "
        "d0_03cc_gy d0_1cc_gy d1cc_gy d2cc_gy d5cc_gy "
        + " ".join(f"v{d}gy_pct v{d}gy_cc" for d in range(5, 85, 5))
        + " rx_gy v95rx_pct v100rx_pct v107rx_pct hi_icru83 ci_paddick gi_paddick"
    )
    assert names == expected.split()


def test_what_is_emitted_is_what_is_declared_in_the_same_order() -> None:
    settings: Any = {"d_pct": (95.5, 2), "d_cc": (0.035,), "v_gy": (12.5, 30), "v_rx_pct": (90,)}
    emitted = dvh_metrics(even_spread(), rx_gy=50.0, **settings)
    names = [name for name, _, _ in dvh_metric_columns(**settings)]
    assert [*emitted, "ci_paddick", "gi_paddick"] == names
    for name, unit, meaning in dvh_metric_columns():
        assert {"_gy": "Gy", "_cc": "cc", "pct": "%"}.get(name[-3:], "") == unit
        assert meaning


def test_the_values_of_an_even_spread() -> None:
    got = dvh_metrics(even_spread(), rx_gy=50.0, **USUAL)
    assert got["d95_gy"] == pytest.approx(22.0)
    assert got["d2_gy"] == pytest.approx(59.2)
    assert got["d1cc_gy"] == pytest.approx(60.0 - 40.0 / 1.5)
    assert got["d2cc_gy"] is None and got["d5cc_gy"] is None  # larger than the structure
    assert got["v5gy_pct"] == 100.0
    assert got["v30gy_pct"] == pytest.approx(75.0)
    assert got["v30gy_cc"] == pytest.approx(0.75 * 1.5)
    assert got["v80gy_pct"] == 0.0 and got["v80gy_cc"] == 0.0  # a true 0
    assert got["v100rx_pct"] == pytest.approx(25.0)
    assert got["v107rx_pct"] == pytest.approx(100.0 * (60.0 - 53.5) / 40.0)
    assert got["hi_icru83"] == pytest.approx((59.2 - 20.8) / 40.0)


def test_without_a_prescription_target_metrics_are_null() -> None:
    got = dvh_metrics(even_spread(), rx_gy=None, **USUAL)
    assert [got[n] for n in ("rx_gy", "v95rx_pct", "v100rx_pct", "v107rx_pct", "hi_icru83")] == [None] * 5
    assert got["d95_gy"] is not None


def test_below_the_coverage_limit_only_volume_and_maximum_remain() -> None:
    got = dvh_metrics(even_spread(coverage=99.4), rx_gy=50.0, **USUAL)
    kept = {name: value for name, value in got.items() if value is not None}
    assert kept == {"volume_cc": 1.5, "dose_coverage_pct": 99.4, "dmax_gy": 60.0, "rx_gy": 50.0}
    enough = dvh_metrics(even_spread(coverage=99.4), rx_gy=50.0, coverage_limit_pct=99.0, **USUAL)
    assert enough["dmin_gy"] == 20.0
    # 99.4 % are known, so the dose of the hottest 99.9 % is not
    assert (
        dvh_metrics(even_spread(coverage=99.4), d_pct=(99.9,), d_cc=(), v_gy=(), rx_gy=None, coverage_limit_pct=99.0)[
            "d99_9_gy"
        ]
        is None
    )


def test_a_dose_of_zero_everywhere_has_zeros_and_no_homogeneity() -> None:
    zero = dataclasses.replace(
        even_spread(), dmin_gy=0.0, dmax_gy=0.0, dmean_gy=0.0, dose_edges_gy=np.array([0.0]),
        volume_edges_cc=np.array([1.5]),
    )  # fmt: skip
    got = dvh_metrics(zero, rx_gy=50.0, **USUAL)
    assert got["d95_gy"] == 0.0 and got["v5gy_cc"] == 0.0 and got["v95rx_pct"] == 0.0
    assert got["hi_icru83"] is None


def cone_dose(half_mm: float = 40.0, peak_gy: float = 60.0) -> DoseVolume:
    """Dose that falls by 1.5 Gy per mm from the origin, at least 0."""
    n = int(2.0 * half_mm / 1.25) + 1
    grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [-half_mm] * 3, [1.25, 1.25], np.arange(n) * 1.25, n, n)
    index = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.index_zyx_to_patient(index), axis=-1)
    return DoseVolume(grid, np.maximum(peak_gy - 1.5 * distance, 0.0))


def ball(radius: float, centre_x: float = 0.0) -> PrismSolid:
    angle = np.linspace(0.0, 2.0 * np.pi, 120, endpoint=False)
    heights = np.arange(-radius + 0.5, radius, 1.0)
    return PrismSolid.from_contours(
        [
            np.c_[centre_x + r * np.cos(angle), r * np.sin(angle), np.full(120, z)]
            for z, r in ((z, np.sqrt(radius**2 - z**2)) for z in heights)
        ],
        single_plane_thickness_mm=None,
    )


def test_paddick_indices_of_concentric_balls() -> None:
    # isodoses of 36 and 18 Gy are spheres of 16 and 28 mm
    dose = cone_dose()
    target = ball(12.0)
    got = conformity(compute_dvh(target, dose), dose, 36.0)
    assert got["ci_paddick"] == pytest.approx((12.0 / 16.0) ** 3, rel=0.01)  # trilinear dose on 1.25 mm: 0.3 %
    assert got["gi_paddick"] == pytest.approx((28.0 / 16.0) ** 3, rel=0.01)
    # a target twice as wide as the isodose: PIV / TV
    wide = conformity(compute_dvh(ball(20.0), dose), dose, 36.0)
    assert wide["ci_paddick"] == pytest.approx((16.0 / 20.0) ** 3, rel=0.01)


def test_paddick_indices_are_null_when_an_isodose_leaves_the_grid() -> None:
    dose = cone_dose(half_mm=25.0)
    dvh = compute_dvh(ball(12.0), dose)
    got = conformity(dvh, dose, 36.0)
    assert got["ci_paddick"] is not None
    assert got["gi_paddick"] is None  # 18 Gy reaches 28 mm
    assert conformity(dvh, dose, 20.0) == {"ci_paddick": None, "gi_paddick": None}
    assert conformity(dvh, dose, 70.0) == {"ci_paddick": None, "gi_paddick": None}  # no dose is that high


def test_paddick_indices_are_null_below_the_coverage_limit_and_zero_for_a_miss() -> None:
    dose = cone_dose()
    outside = compute_dvh(ball(12.0, centre_x=38.0), dose)
    assert outside.coverage_pct < 99.5
    assert conformity(outside, dose, 36.0)["ci_paddick"] is None
    missed = compute_dvh(ball(5.0, centre_x=30.0), dose)
    assert conformity(missed, dose, 36.0)["ci_paddick"] == 0.0

from __future__ import annotations

import re

import pytest

from rtpipeline.contracts.tables import DVH_METRICS
from rtpipeline.dvh.measures import Measure, MeasureError, parse_measure
from rtpipeline.dvh.metrics import biological_columns, dvh_metric_columns

NOT_MEASURES = {"dose_coverage_pct", "rx_gy"}
"""Columns that say something about the row and not about the dose in the structure."""


@pytest.mark.parametrize("name", sorted({n for n, *_ in dvh_metric_columns()} - NOT_MEASURES) + biological_columns())
def test_every_measure_of_the_table_is_read_by_its_column_name_and_named_like_it(name: str) -> None:
    assert parse_measure(name).name == name
    assert DVH_METRICS.column(name) is not None


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("mean", "dmean_gy"), ("Dmean", "dmean_gy"), ("D mean [Gy]", "dmean_gy"), ("MAX", "dmax_gy"),
        ("min", "dmin_gy"),
        ("D95%", "d95_gy"), ("D95", "d95_gy"), ("D 99.5 %", "d99_5_gy"), ("d98%[Gy]", "d98_gy"),
        ("D0.03cc", "d0_03cc_gy"), ("D0,03 cc", "d0_03cc_gy"), ("D2cc (Gy)", "d2cc_gy"),
        ("V20Gy", "v20gy_pct"), ("V20Gy[cc]", "v20gy_cc"), ("V12.5 Gy (%)", "v12_5gy_pct"),
        ("V95%", "v95rx_pct"), ("V95rx", "v95rx_pct"), ("V107%Rx", "v107rx_pct"), ("V100%[cc]", "v100rx_cc"),
        ("CV17.5Gy", "cv17_5gy_cc"), ("gEUD", "geud_gy"), ("HI", "hi_icru83"), ("CI", "ci_paddick"),
        ("GI", "gi_paddick"), ("volume", "volume_cc"),
        ("EQD2 mean", "eqd2_dmean_gy"), ("eqd2 D0.03cc", "eqd2_d0_03cc_gy"), ("BED D2%", "bed_d2_gy"),
        ("EQD2 V60Gy", "eqd2_v60gy_pct"), ("EQD2 gEUD", "eqd2_geud_gy"),
    ],
)  # fmt: skip
def test_what_clinics_write_is_read(written: str, name: str) -> None:
    assert parse_measure(written).name == name


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("V20", "says neither Gy nor %"),
        ("CV20", "says neither Gy nor %"),
        ("D0cc", "D of no volume is max"),
        ("D0%", "need a number above 0"),
        ("V0Gy", "need a number above 0"),
        ("D101%", "need at most 100"),
        ("EQD2 V95%", "the prescription is a physical dose"),
        ("BED volume", "no measure of BED"),
        ("EQD2", "is no measure"),
        ("", "is no measure"),
        ("mean dose", "is no measure"),
        ("D95%%", "is no measure"),
        ("V20Gy[mm]", "is no measure"),
        ("D-2cc", "is no measure"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_is_needed(written: str, told: str) -> None:
    with pytest.raises(MeasureError, match=re.escape(told)):
        parse_measure(written)


def test_a_volume_without_unit_waits_for_that_of_its_limit() -> None:
    assert parse_measure("V20Gy").unit == ""
    assert parse_measure("V20Gy[cc]") == Measure("v_gy", 20.0, "cc")
    assert parse_measure("v20gy_pct") == Measure("v_gy", 20.0, "%")

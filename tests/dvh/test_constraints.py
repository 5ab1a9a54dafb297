"""The table of constraints as a file, and what is said about its faults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rtpipeline.config import load_config
from rtpipeline.dvh.constraints import Constraint, load_constraints
from rtpipeline.dvh.measures import parse_measure
from rtpipeline.errors import ConfigError


def load(folder: Path, *lines: str, header: str = "structure,metric,limit") -> list[Constraint]:
    path = folder / "limits.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return load_constraints(path)


@pytest.mark.parametrize(
    ("metric", "limit", "name", "text"),
    [
        ("mean", "< 26 Gy", "dmean_gy", "< 26 Gy"),
        ("D0.03cc", "<=45", "d0_03cc_gy", "<= 45 Gy"),
        ("V95%", ">= 95", "v95rx_pct", ">= 95 %"),
        ("V95rx_pct", ">= 95 %", "v95rx_pct", ">= 95 %"),
        ("V20Gy", "< 30 %", "v20gy_pct", "< 30 %"),
        ("V20Gy", "< 120 cc", "v20gy_cc", "< 120 cc"),
        ("V100%", "<= 5 ml", "v100rx_cc", "<= 5 cc"),
        ("D95", "≥ 95 %", "d95_gy", ">= 95 % of Rx"),
        ("max", "=< 107 % of Rx", "dmax_gy", "<= 107 % of Rx"),
        ("CV17.5Gy", "> 700", "cv17_5gy_cc", "> 700 cc"),
        ("HI", "< 0.15", "hi_icru83", "< 0.15"),
        ("volume", "> 5 cc", "volume_cc", "> 5 cc"),
        ("EQD2 D2cc", "< 75.5", "eqd2_d2cc_gy", "< 75.5 Gy"),
    ],
)
def test_a_line_says_what_it_says(tmp_path: Path, metric: str, limit: str, name: str, text: str) -> None:
    (one,) = load(tmp_path, f"Heart,{metric},{limit}")
    assert (one.number, one.structure, one.measure.name, one.text) == (1, "Heart", name, text)


def test_semicolons_and_decimal_commas_say_the_same(tmp_path: Path) -> None:
    with_points = load(tmp_path, "Heart,D0.03cc,< 26.5 Gy", "Rectum,V50Gy,< 50 %")
    assert (
        load(tmp_path, "Heart;D0,03cc;< 26,5 Gy", "Rectum;V50Gy;< 50 %", header="structure;metric;limit") == with_points
    )
    assert (
        load(tmp_path, "< 26.5 Gy,Heart,D0.03cc", "< 50 %,Rectum,V50Gy", header="Limit,Structure,METRIC") == with_points
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (",mean,< 26", "line 2: structure is empty"),
        ("Heart,mena,< 26", "line 2: metric 'mena' is no measure"),
        ("Heart,V20,< 26 %", "line 2: metric 'V20' says neither Gy nor %"),
        ("Heart,D0cc,< 26", "D of no volume is max"),
        ("Heart,mean,26", "line 2: limit is '26'; need one of < <= > >="),
        ("Heart,mean,< 2600 cGy", "line 2: limit is '< 2600 cGy'"),
        ("Heart,mean,< 5 cc", "limit of mean is in 'cc'; need 'Gy'"),
        ("Heart,V20Gy,< 30", "line 2: V20Gy < 30 is in % or in cc; say which"),
        ("Heart,V20Gy,< 30 Gy", "need '%' or 'cc'"),
        ("Heart,v20gy_pct,< 30 cc", "limit of v20gy_pct is in 'cc'; need '%'"),
        ("Heart,CV20Gy,> 30 %", "need 'cc'"),
        ("PTV,CI,> 0.7 %", "limit of CI is in '%'; need no unit"),
        ("Heart,EQD2 mean,< 90 %", "limit of EQD2 mean is in '%'"),
        ("Heart,mean,< 26,x", "line 2: 3 values are needed"),
        ("Heart,mean", "line 2: 3 values are needed"),
        ('Heart,"mean,< 26', "line 2: unexpected end of data"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line_what_was_found_and_what_is_needed(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        load(tmp_path, line)
    assert "limits.csv" in str(caught.value)


def test_a_line_that_stands_twice_in_other_words_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 4: the same constraint as in line 2"):
        load(tmp_path, "Lung_L,V20Gy,< 30 %", "Lung_R,V20Gy,< 30 %", "Lung_L,v20gy_pct,<30")


@pytest.mark.parametrize("header", ["structure,metric", "structure,metric,limit,extra", "a,b,c", ""])
def test_the_columns_are_checked(tmp_path: Path, header: str) -> None:
    with pytest.raises(ConfigError, match="need structure, metric, limit"):
        load(tmp_path, header=header)


def test_the_configuration_reads_the_file_before_anything_runs(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("dvh:\n  constraints: limits.csv\n")
    with pytest.raises(ConfigError, match=r"dvh\.constraints names .*which does not exist"):
        load_config(config)
    (tmp_path / "limits.csv").write_text("structure,metric,limit\nHeart,mean,26\n")
    with pytest.raises(ConfigError, match="line 2: limit is '26'"):
        load_config(config)
    (tmp_path / "limits.csv").write_text("structure,metric,limit\nHeart,mean,< 26\n")
    assert load_config(config).dvh.constraints == tmp_path / "limits.csv"


@pytest.mark.parametrize(
    ("sign", "below", "equal", "above"),
    [("<", True, False, False), ("<=", True, True, False), (">", False, False, True), (">=", False, True, True)],
)
def test_signs(sign: str, below: bool, equal: bool, above: bool) -> None:
    one = Constraint(1, "PTV", parse_measure("D95"), sign, 47.5, "Gy")
    assert [one.holds(v) for v in (47.49, 47.5, 47.51)] == [below, equal, above]
    # what float32 makes of 47.5
    assert one.holds(47.5 * (1 - 5e-7)) == one.holds(47.5 * (1 + 5e-7)) == equal

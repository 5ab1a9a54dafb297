from __future__ import annotations

from typing import Any

import pytest

from rtpipeline.config import parse_config
from rtpipeline.contracts.manifests import ManifestRow
from rtpipeline.dvh.declared import AlphaBeta, Declarations
from rtpipeline.errors import ConfigError


def structure(name: str, tg263: str | None = None) -> dict[str, Any]:
    return {"structure_name": name, "structure_name_tg263": tg263}


CONFIGURED = Declarations({"Lung_L": 3.0, "Lunge li": 4.0}, {"Lung_L": 1.0})


def test_a_structure_is_meant_by_its_own_name_before_that_of_tg_263() -> None:
    assert CONFIGURED.alpha_beta(structure("Lunge li", "Lung_L"), []) == AlphaBeta(4.0, "configuration")
    assert CONFIGURED.alpha_beta(structure("linke Lunge", "Lung_L"), []) == AlphaBeta(3.0, "configuration")
    assert CONFIGURED.exponent(structure("linke Lunge", "Lung_L")) == 1.0
    assert CONFIGURED.alpha_beta(structure("lung_l"), []) == AlphaBeta()  # case counts
    assert CONFIGURED.exponent(structure("Heart", "Heart")) is None


def test_the_manifest_wins_and_its_row_about_the_plan_wins_over_that_about_none() -> None:
    rows = [
        ManifestRow(structure="Lung_L", alpha_beta_gy=2.5),
        ManifestRow(structure="Lung_L", plan_id="plan-02", alpha_beta_gy=5.0),
    ]
    declared = Declarations({"Lung_L": 3.0}, {}, rows)
    assert declared.alpha_beta(structure("Lung_L"), ["plan-01"]) == AlphaBeta(2.5, "manifest")
    assert declared.alpha_beta(structure("Lung_L"), ["plan-02"]) == AlphaBeta(5.0, "manifest")
    assert declared.alpha_beta(structure("x", "Lung_L"), []) == AlphaBeta(2.5, "manifest")


def test_a_manifest_that_says_two_things_says_nothing() -> None:
    rows = [ManifestRow(structure="Cord", plan_id=f"plan-0{n}", alpha_beta_gy=float(n)) for n in (1, 2)]
    declared = Declarations({"Cord": 2.0}, {}, rows)
    assert declared.alpha_beta(structure("Cord"), ["plan-01", "plan-02"]) == AlphaBeta(contradicts=True)
    assert declared.alpha_beta(structure("Cord"), ["plan-02"]).value_gy == 2.0


def test_a_row_without_structure_is_told() -> None:
    (found,) = Declarations({}, {}, [ManifestRow(alpha_beta_gy=3.0)]).findings()
    assert (found.code, found.severity) == ("OBJECT_NOT_USED", "W")
    assert (
        Declarations({}, {}, [ManifestRow(structure="Cord", alpha_beta_gy=3.0), ManifestRow(rx_gy=50.0)]).findings()
        == []
    )


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"alpha_beta_gy": {"Cord": 0}}, "dvh.alpha_beta_gy.Cord"),
        ({"alpha_beta_gy": {"Cord": -3}}, "dvh.alpha_beta_gy.Cord"),
        ({"geud_a": {"Cord": 0}}, "must not be 0"),
        ({"geud_a": {"Cord": float("inf")}}, "dvh.geud_a.Cord"),
    ],
)
def test_the_configuration_refuses_what_no_formula_takes(section: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_config({"dvh": section})
    assert parse_config({"dvh": {"alpha_beta_gy": {"Cord": 2}, "geud_a": {"PTV": -10}}}).dvh.geud_a == {"PTV": -10.0}

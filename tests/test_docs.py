"""The examples of the pages in docs/ are read by what they are examples for."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from rtpipeline.config import parse_config
from rtpipeline.contracts.findings import catalogue
from rtpipeline.dose.frames import AGREE_DEG, AGREE_MM
from rtpipeline.dose.summation import TERMS
from rtpipeline.dvh.biology import eqd2_gy
from rtpipeline.dvh.constraints import load_constraints
from rtpipeline.dvh.fractionation import REASONS
from rtpipeline.nomenclature.mapping import load_mapping
from rtpipeline.segmentation.custom_model import ModelDeclaration
from rtpipeline.structures.custom_structures import load_custom_structures

DOCS = Path(__file__).parents[1] / "docs"


def example(page: str, first: str) -> str:
    """The indented block of a page that begins with a line."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    start = lines.index(f"    {first}")
    block = []
    for line in lines[start:]:
        if line and not line.startswith("    "):
            break
        block.append(line.removeprefix("    "))
    return "\n".join(block).strip() + "\n"


def test_the_example_of_names_loads(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text(example("structures.md", "structure_name,tg263,source"))
    mapping = load_mapping(path)
    assert mapping.get("Magen neu", "manual") == "Stomach"
    assert not mapping.has("Magen neu", "custom")
    assert mapping.get("Hilfsstruktur 1", "manual") is None
    assert mapping.get("Boost LK", "manual") == "~Boost_LN"


def test_the_example_of_derived_structures_loads_in_the_order_of_what_they_are_made_of(tmp_path):
    path = tmp_path / "custom.yaml"
    path.write_text(example("structures.md", "custom_structures:"))
    definitions = {d.name: d for d in load_custom_structures(path)}
    assert list(definitions).index("Rectum_inner") < list(definitions).index("Rectum_wall")
    bladder = definitions["ITV_bladder"].grow
    assert (bladder.superior_mm, bladder.anterior_mm, bladder.left_mm, bladder.inferior_mm) == (15, 10, 5, 5)
    assert definitions["PTV_eval"].sources == ("PTV", "Lung_L", "Lung_R")


def test_the_example_of_a_model_is_a_declaration():
    model = ModelDeclaration.model_validate(yaml.safe_load(example("networks.md", "name: lung_gtv")))
    assert model.labels == {1: "gtv"}
    assert model.used_folds == (0,)


def test_the_examples_of_biological_dose_are_a_configuration_and_right():
    config = parse_config(yaml.safe_load(example("dvh.md", "dvh:"))).dvh
    assert (config.alpha_beta_gy["SpinalCord"], config.geud_a["PTV_high"]) == (2.0, -10.0)
    text = " ".join((DOCS / "dvh.md").read_text(encoding="utf-8").split())
    first, second = eqd2_gy(50.0, 25, 3.0), eqd2_gy(20.0, 4, 3.0)
    assert f"50 Gy in 25 and 20 Gy in 4 fractions are {first + second:.1f} Gy at alpha/beta 3" in text
    assert f"70 Gy in 29 would be {eqd2_gy(70.0, 29, 3.0):.1f}" in text
    assert {"effective_dose", "other_radiation", "not_acute"} <= set(REASONS)


def test_the_example_of_constraints_loads(tmp_path):
    path = tmp_path / "constraints.csv"
    path.write_text(example("dvh.md", "structure,metric,limit"))
    found = {(c.structure, c.measure.name): c.text for c in load_constraints(path)}
    assert found["Heart", "dmean_gy"] == "< 26 Gy"
    assert found["Liver", "cv17_5gy_cc"] == ">= 700 cc"
    assert found["PTV_high", "d98_gy"] == ">= 95 % of Rx"
    assert found["SpinalCord", "eqd2_d2_gy"] == "<= 50 Gy"
    assert len(found) == 8


def test_the_page_about_doses_names_every_term_every_basis_and_codes_that_exist():
    page = (DOCS / "doses.md").read_text(encoding="utf-8")
    bases = {term.basis for term in TERMS.values()} | {"phase_sum", "delivered_fractions", "concurrent_plans"}
    for word in [*TERMS, *(bases - {""})]:
        assert re.search(rf"\b{word}\b", page), word
    assert set(re.findall(r"`((?:DOSE|REG|COURSE)_[A-Z_]+)`", page)) <= catalogue().keys()
    assert f"{AGREE_MM:g} mm or {AGREE_DEG:g} degrees" in page

"""The YAML of derived structures: what it means, and what is refused before anything runs."""

from __future__ import annotations

import pytest
import yaml

from rtpipeline.errors import ConfigError
from rtpipeline.geometry.mask_margins import Margins
from rtpipeline.structures.custom_structures import load_custom_structures
from rtpipeline.structures.expressions import parse


def load(tmp_path, entries):
    path = tmp_path / "custom.yaml"
    path.write_text(entries if isinstance(entries, str) else yaml.safe_dump({"custom_structures": entries}))
    return load_custom_structures(path)


def one(tmp_path, **entry):
    (definition,) = load(tmp_path, [{"name": "X", "source_structures": ["A", "B"], **entry}])
    return definition


@pytest.mark.parametrize(
    ("operation", "same"), [("union", "A | B"), ("intersection", "A & B"), ("subtract", "A - B"), ("xor", "A ^ B")]
)
def test_an_operation_is_its_expression(tmp_path, operation, same):
    assert one(tmp_path, operation=operation).expression == parse(same)
    assert load(tmp_path, [{"name": "X", "expression": same}])[0].expression == parse(same)


def test_without_an_operation_it_is_the_union(tmp_path):
    assert one(tmp_path).expression == parse("A | B")


def test_a_number_is_a_margin_on_all_sides_and_below_zero_shrinks(tmp_path):
    assert (one(tmp_path, margin=7).grow, one(tmp_path, margin=7).shrink) == (Margins.uniform(7.0), Margins())
    assert (one(tmp_path, margin=-2.5).grow, one(tmp_path, margin=-2.5).shrink) == (Margins(), Margins.uniform(2.5))
    assert (one(tmp_path).grow, one(tmp_path).shrink) == (Margins(), Margins())


def test_each_side_keeps_its_own_margin_and_its_sign(tmp_path):
    """The largest used to be taken on all sides, and a negative one to do nothing."""
    sides = {"anterior_mm": 10, "posterior_mm": 5, "left_mm": 7, "right_mm": -7, "superior_mm": 15, "uniform_mm": 2}
    definition = one(tmp_path, margin=sides)
    assert definition.grow == Margins(
        anterior_mm=10, posterior_mm=5, left_mm=7, superior_mm=15, inferior_mm=2, right_mm=0
    )
    assert definition.shrink == Margins(right_mm=7)


def test_definitions_come_after_what_they_are_made_of(tmp_path):
    entries = [
        {"name": "late", "expression": "middle - first"},
        {"name": "middle", "source_structures": ["first", "Heart"]},
        {"name": "first", "source_structures": ["Liver"]},
    ]
    assert [d.name for d in load(tmp_path, entries)] == ["first", "middle", "late"]


def test_a_list_at_the_top_is_as_good(tmp_path):
    assert load(tmp_path, "- {name: X, source_structures: [A]}\n")[0].sources == ("A",)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("x: [1", "no valid YAML"),
        ("x: 1", "unknown key 'x'"),
        ("custom_structures: {}", "no list"),
        ([1], "entry 1 is 1"),
        ([{"name": " "}], "name is ' '"),
        ([{"name": "X", "source_structure": ["A"]}], "did you mean 'source_structures'"),
        ([{"name": "X", "source_structures": []}], "a list of names"),
        ([{"name": "X", "source_structures": ["A"], "operation": "minus"}], "operation is 'minus'"),
        ([{"name": "X", "source_structures": ["A"], "operation": ["union"]}], "operation is ['union']"),
        ([{"name": "X", "source_structures": ["A"], "margin": 5000}], "5000 mm; at most 200 mm"),
        ([{"name": "X", "source_structures": ["A"], "margin": {"left_mm": -200.5}}], "left_mm is -200.5 mm; at most"),
        ([{"name": "X", "source_structures": ["A"], "expression": "A"}], "not beside"),
        ([{"name": "X", "expression": "A -"}], "ends where a name is needed"),
        ([{"name": "X", "expression": 3}], "a text is needed"),
        ([{"name": "X", "source_structures": ["A"], "margin": "3"}], "margin uniform_mm is '3'"),
        ([{"name": "X", "source_structures": ["A"], "margin": float("nan")}], "a number of mm"),
        ([{"name": "X", "source_structures": ["A"], "margin": {"up_mm": 3}}], "unknown key 'up_mm'"),
        ([{"name": "X", "expression": "A - B", "allow_missing": True}], "unions only"),
        ([{"name": "X", "expression": "A", "allow_missing": "yes"}], "true or false"),
        ([{"name": "X", "expression": "A"}, {"name": "X", "expression": "B"}], "twice"),
        ([{"name": "X", "expression": "Y"}, {"name": "Y", "expression": "X | A"}], "X -> Y -> X is a circle"),
        ([{"name": "X", "expression": "X | A"}], "X -> X is a circle"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, entries, said):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, entries)
    assert said in str(error.value)
    assert "custom.yaml" in str(error.value)
    assert str(tmp_path) not in str(error.value)

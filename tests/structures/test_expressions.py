"""Expressions over structures against numpy and against Python's own sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpipeline.structures.expressions import (
    Combined,
    ExpressionError,
    Source,
    chain,
    evaluate,
    is_union,
    names_in,
    parse,
)

A, B, C, D = (np.random.default_rng(n).random((4, 5, 6)) < 0.5 for n in range(4))
MASKS = {"A": A, "B": B, "C": C, "D": D}
VOXELS = {name: {int(i) for i in np.flatnonzero(mask)} for name, mask in MASKS.items()}


def expressions() -> st.SearchStrategy[str]:
    names = st.sampled_from(sorted(MASKS))
    return st.recursive(
        names,
        lambda parts: st.tuples(parts, st.sampled_from("|&-^"), parts, st.booleans()).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})" if t[3] else f"{t[0]} {t[1]} {t[2]}"
        ),
        max_leaves=8,
    )


@given(expressions())
def test_an_expression_means_what_the_same_text_means_of_python_sets(text):
    """Python binds - before &, ^ and |, as the module says of itself."""
    expected = eval(text, {}, VOXELS)  # a text of four names and four signs, made above
    assert set(np.flatnonzero(evaluate(parse(text), MASKS.__getitem__)).tolist()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A | B", A | B),
        ("A & B", A & B),
        ("A - B", A & ~B),
        ("A ^ B", A != B),
        ("A - (B | C)", A & ~B & ~C),
        ("A - B - C", A & ~B & ~C),
        ("A - B & C", (A & ~B) & C),
    ],
)
def test_each_sign_is_its_operation(text, expected):
    assert np.array_equal(evaluate(parse(text), MASKS.__getitem__), expected)


def test_names_with_other_signs_stand_in_quotes():
    tree = parse("""PTV_50.4 - "Lung li" | 'PTV 5.0' & totalsegmentator:heart - "Drüse/re.+3mm" """)
    assert names_in(tree) == ("PTV_50.4", "Lung li", "PTV 5.0", "totalsegmentator:heart", "Drüse/re.+3mm")


def test_a_chain_is_the_first_and_the_rest():
    assert chain("-", ["A", "B", "C"]) == Combined("-", Combined("-", Source("A"), Source("B")), Source("C"))
    assert chain("|", ["A"]) == Source("A")


def test_only_unions_bear_a_missing_part():
    assert is_union(parse("A | (B | C)"))
    assert not is_union(parse("A | (B - C)"))
    assert not is_union(parse("A & B"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "ends"),
        ("A -", "ends"),
        ("A B", "operation"),
        ("(A | B", "closed"),
        ("A | )", "'\\)'"),
        ("PTV-05", "quotes"),
        ("A + B", "quotes"),
        ('A | ""', "empty"),
        ('"A', "quotes"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_place(text, said):
    with pytest.raises(ExpressionError, match=said):
        parse(text)

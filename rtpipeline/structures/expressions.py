"""Boolean expressions over structures: `PTV - (Lung_L | Lung_R)`.

`|` union, `&` intersection, `-` difference, `^` symmetric difference. `-` binds strongest, then `&`, `^`, `|`; equal
ones from left to right; parentheses as usual. A name of letters, digits, underscores and dots stands as it is, any
other in double or single quotes: `"PTV 5.0" - 'Lung li'`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

UNION, INTERSECTION, DIFFERENCE, SYMMETRIC_DIFFERENCE = "|", "&", "-", "^"
WEAKEST_FIRST = (UNION, SYMMETRIC_DIFFERENCE, INTERSECTION, DIFFERENCE)

OPERATIONS: dict[str, Callable[[Mask, Mask], Mask]] = {
    UNION: np.logical_or,
    INTERSECTION: np.logical_and,
    DIFFERENCE: lambda a, b: np.logical_and(a, np.logical_not(b)),
    SYMMETRIC_DIFFERENCE: np.logical_xor,
}

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<name>[^\W\d][\w.:]*)|(?P<sign>[|&^()\-]))""",
)


class ExpressionError(ValueError):
    """The text is no expression."""


@dataclass(frozen=True)
class Source:
    """A structure, by name."""

    name: str


@dataclass(frozen=True)
class Combined:
    """Two parts joined by one of OPERATIONS."""

    sign: str
    left: Expression
    right: Expression


Expression = Source | Combined


def parse(text: str) -> Expression:
    """The expression that a text stands for.

    Raises ExpressionError, with the place, for a text that is none.
    """
    tokens = list(_tokens(text))
    tree, end = _level(tokens, 0, 0, text)
    if end < len(tokens):
        raise ExpressionError(f"{text!r}: {tokens[end][1]!r} where an operation (| & - ^) is needed")
    return tree


def chain(sign: str, names: list[str]) -> Expression:
    """The names joined from left to right: `a - b - c` is the first without the rest."""
    tree: Expression = Source(names[0])
    for name in names[1:]:
        tree = Combined(sign, tree, Source(name))
    return tree


def names_in(tree: Expression) -> tuple[str, ...]:
    """Every name in it once, in the order of reading."""
    found = [tree.name] if isinstance(tree, Source) else [*names_in(tree.left), *names_in(tree.right)]
    return tuple(dict.fromkeys(found))


def is_union(tree: Expression) -> bool:
    """Whether it only joins, so that a part may be absent without turning its meaning round."""
    return isinstance(tree, Source) or (tree.sign == UNION and is_union(tree.left) and is_union(tree.right))


def evaluate(tree: Expression, mask_of: Callable[[str], Mask]) -> Mask:
    """The mask of an expression, from the masks of its names, all on one grid."""
    if isinstance(tree, Source):
        return mask_of(tree.name)
    return OPERATIONS[tree.sign](evaluate(tree.left, mask_of), evaluate(tree.right, mask_of))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            rest = text[at:].strip()
            raise ExpressionError(f"{text!r}: cannot read {rest[:20]!r}; a name with other signs stands in quotes")
        kind = found.lastgroup or ""
        value = found[kind][1:-1] if kind == "quoted" else found[kind]
        if not value:
            raise ExpressionError(f"{text!r}: a name is empty")
        yield ("name" if kind == "quoted" else kind), value
        at = found.end()


def _level(tokens: list[tuple[str, str]], at: int, level: int, text: str) -> tuple[Expression, int]:
    """The part that begins at a token, joined by operations that bind as strongly as `level` or stronger."""
    if level == len(WEAKEST_FIRST):
        return _atom(tokens, at, text)
    tree, at = _level(tokens, at, level + 1, text)
    while at < len(tokens) and tokens[at] == ("sign", WEAKEST_FIRST[level]):
        right, at = _level(tokens, at + 1, level + 1, text)
        tree = Combined(WEAKEST_FIRST[level], tree, right)
    return tree, at


def _atom(tokens: list[tuple[str, str]], at: int, text: str) -> tuple[Expression, int]:
    if at >= len(tokens):
        raise ExpressionError(f"{text!r}: ends where a name is needed")
    kind, value = tokens[at]
    if kind == "name":
        return Source(value), at + 1
    if value != "(":
        raise ExpressionError(f"{text!r}: {value!r} where a name is needed")
    tree, at = _level(tokens, at + 1, 0, text)
    if at >= len(tokens) or tokens[at] != ("sign", ")"):
        raise ExpressionError(f"{text!r}: a parenthesis is not closed")
    return tree, at + 1

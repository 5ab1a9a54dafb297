"""The standard's terms of DoseSummationType (3004,000A) by name (PS3.3 C.8.8.3), and what each covers of a plan.

| term | dose of | here |
|---|---|---|
| PLAN | entire delivery of all fraction groups of a plan | used as it is |
| FRACTION | entire delivery of one fraction group | added over all fraction groups, never multiplied |
| BEAM | entire delivery of one or more beams | added over all beams of all fraction groups, never multiplied |
| BRACHY | entire delivery of one or more application setups | added over all setups, never multiplied |
| FRACTION_SESSION | one fraction of one fraction group | times the planned fractions, for a single fraction group |
| BEAM_SESSION | one fraction of one or more beams | added over all beams, then as FRACTION_SESSION |
| BRACHY_SESSION | one fraction of one or more setups | added over all setups, then as FRACTION_SESSION |
| MULTI_PLAN | entire delivery of two or more plans | candidate for the course's total |
| CONTROL_POINT, PLAN_OVERVIEW, RECORD | a part of a beam; an overview; what was delivered | listed, not used |

A term that is not of this list is reported as written and not used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Scope = Literal["plan", "fraction_group", "items", "plans", "none"]


@dataclass(frozen=True)
class Term:
    """scope: what one object of the term covers. session: of one fraction only. basis: `dose_basis` that it makes."""

    scope: Scope
    session: bool
    basis: str
    finding: str
    """code for what is refused"""


TERMS: dict[str, Term] = {
    "PLAN": Term("plan", False, "plan", "DOSE_NOT_USED"),
    "FRACTION": Term("fraction_group", False, "fraction_group_sum", "DOSE_SUMMATION_FRACTION"),
    "BEAM": Term("items", False, "beam_sum", "DOSE_SUMMATION_BEAM"),
    "BRACHY": Term("items", False, "brachy_sum", "DOSE_SUMMATION_BEAM"),
    "FRACTION_SESSION": Term("fraction_group", True, "session_times_fractions", "DOSE_SUMMATION_FRACTION"),
    "BEAM_SESSION": Term("items", True, "session_times_fractions", "DOSE_SUMMATION_FRACTION"),
    "BRACHY_SESSION": Term("items", True, "session_times_fractions", "DOSE_SUMMATION_FRACTION"),
    "MULTI_PLAN": Term("plans", False, "multi_plan", "DOSE_MULTI_PLAN"),
    "PLAN_OVERVIEW": Term("none", False, "", "DOSE_NOT_USED"),
    "CONTROL_POINT": Term("none", False, "", "DOSE_NOT_USED"),
    "RECORD": Term("none", False, "", "DOSE_NOT_USED"),
}
"""In the order of preference: a term above another is used where both are complete."""

Pair = tuple[int, int]
"""Fraction group number and beam (or application setup) number."""


@dataclass(frozen=True)
class GroupScope:
    """A fraction group of a plan: what has to be covered (`required`) and what may be (setup fields, with a dose)."""

    number: int
    fractions: int | None
    required: frozenset[int]
    optional: frozenset[int] = frozenset()


@dataclass(frozen=True)
class PlanScope:
    """What a dose has to cover to be the dose of a plan."""

    plan_id: str
    groups: tuple[GroupScope, ...]

    @property
    def required(self) -> frozenset[Pair]:
        """Every (fraction group, beam or setup) that delivers dose."""
        return frozenset((g.number, n) for g in self.groups for n in g.required)

    @property
    def allowed(self) -> frozenset[Pair]:
        """Required and optional ones."""
        return frozenset((g.number, n) for g in self.groups for n in g.required | g.optional)


@dataclass(frozen=True)
class DoseObject:
    """An RTDOSE as far as the decision needs it.

    groups: what its reference to the plan names: (fraction group number or None, beam or setup numbers; none: all).
    """

    rtdose_id: str
    summation_type: str
    dose_type: str
    frame: str
    groups: tuple[tuple[int | None, tuple[int, ...]], ...] = ()


class CoverageError(ValueError):
    """What a dose object covers of its plan cannot be told; the message says why."""


def covered_pairs(dose: DoseObject, plan: PlanScope) -> frozenset[Pair]:
    """(fraction group, beam) pairs of the plan that one object is the dose of, by its term and its references.

    Raises
    ------
    CoverageError: the reference names nothing, or what the plan does not hold, or more than one reading is possible.
    """
    term = TERMS[dose.summation_type]
    if term.scope == "plan":
        return plan.required
    if term.scope == "fraction_group":
        return frozenset((g.number, n) for g in _named_groups(dose, plan) for n in g.required)
    return _named_items(dose, plan)


def _named_groups(dose: DoseObject, plan: PlanScope) -> list[GroupScope]:
    named = [number for number, _ in dose.groups if number is not None]
    if not named and len(plan.groups) == 1:
        return list(plan.groups)
    if not named:
        raise CoverageError(f"names none of {len(plan.groups)} fraction groups")
    by_number = {g.number: g for g in plan.groups}
    unknown = sorted(set(named) - set(by_number))
    if unknown:
        raise CoverageError(f"names fraction group {unknown[0]}, which the plan does not have")
    return [by_number[n] for n in sorted(set(named))]


def _named_items(dose: DoseObject, plan: PlanScope) -> frozenset[Pair]:
    pairs: set[Pair] = set()
    for group_number, numbers in dose.groups:
        groups = [g for g in plan.groups if group_number in (None, g.number)]
        for number in numbers:
            holders = [g for g in groups if number in g.required | g.optional]
            if not holders:
                raise CoverageError(f"names beam {number}, which its fraction group does not have")
            if len(holders) > 1:
                raise CoverageError(f"names beam {number} without the fraction group")
            pairs.add((holders[0].number, number))
    if not pairs and len(plan.required) == 1:
        return plan.required  # the only beam of the plan
    if not pairs:
        raise CoverageError("names no beam")
    return frozenset(pairs)


def describe_pairs(pairs: Iterable[Pair], plan: PlanScope) -> str:
    """`beam 2, beam 3`, with the fraction group where there are several."""
    several = len(plan.groups) > 1
    return ", ".join(f"group {g} beam {n}" if several else f"beam {n}" for g, n in sorted(pairs))

"""Which RTDOSE objects make the dose of a plan. Pure: sets of references in, a choice with reasons out.

| objects of one plan, one dose type | dose of the plan |
|---|---|
| one PLAN | it (`plan`); beams, setups and fraction groups only verify it |
| several PLAN | the one that the plan itself references; else copies of one another: the first; else none |
| FRACTION for every fraction group, each once | their sum (`fraction_group_sum`) |
| BEAM for every beam of every fraction group, each once | their sum (`beam_sum`) |
| BRACHY for every application setup, each once | their sum (`brachy_sum`) |
| FRACTION_SESSION, or complete BEAM_SESSION or BRACHY_SESSION, of the only fraction group | sum x planned fractions |
| one missing, one twice, one that names what the plan has not, or two frames of reference | none |

The first line that holds is used. Objects of another dose type (PHYSICAL, EFFECTIVE) are decided apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rtpipeline.dose.summation import (
    TERMS,
    CoverageError,
    DoseObject,
    Pair,
    PlanScope,
    covered_pairs,
    describe_pairs,
)


@dataclass(frozen=True)
class Composition:
    """Objects of one term that together are, or are not, the dose of a plan.

    factor: what their sum is multiplied by; 1 for all but sessions. problem: '' when complete, else why not.
    alternatives: several PLAN objects, of which the caller takes the first when all hold the same dose.
    """

    term: str
    dose_type: str
    rtdose_ids: tuple[str, ...]
    factor: int = 1
    problem: str = ""
    alternatives: bool = False

    @property
    def complete(self) -> bool:
        """Whether it is the dose of the whole plan."""
        return not self.problem

    @property
    def basis(self) -> str:
        """`dose_basis` of the tables."""
        return TERMS[self.term].basis


def compose(plan: PlanScope, doses: Sequence[DoseObject], referenced: Iterable[str] = ()) -> list[Composition]:
    """Every composition of the plan's dose objects, in the order of preference, complete or not.

    Parameters
    ----------
    doses: objects that reference this plan alone and can be used as doses in Gy.
    referenced: rtdose ids that the plan itself names (ReferencedDoseSequence).
    """
    found = []
    for dose_type in sorted({d.dose_type for d in doses}, key=_type_order):
        for term in TERMS:
            objects = [d for d in doses if d.summation_type == term and d.dose_type == dose_type]
            if objects and TERMS[term].scope not in ("plans", "none"):
                found.append(_compose_term(plan, term, dose_type, objects, set(referenced)))
    return found


def _type_order(dose_type: str) -> tuple[bool, str]:
    return dose_type != "PHYSICAL", dose_type


def _compose_term(
    plan: PlanScope, term: str, dose_type: str, objects: list[DoseObject], referenced: set[str]
) -> Composition:
    ids = tuple(sorted(d.rtdose_id for d in objects))
    if term == "PLAN":
        named = tuple(i for i in ids if i in referenced)
        chosen = named if len(named) == 1 else ids
        return Composition(term, dose_type, chosen, alternatives=len(chosen) > 1)
    problem = _incomplete(plan, objects)
    factor = 1
    if TERMS[term].session and not problem:
        if len(plan.groups) != 1:
            problem = f"one fraction of {len(plan.groups)} fraction groups"
        elif not plan.groups[0].fractions:
            problem = "number of fractions not stated"
        else:
            factor = plan.groups[0].fractions
    return Composition(term, dose_type, ids, factor, problem)


def _incomplete(plan: PlanScope, objects: list[DoseObject]) -> str:
    """Why the objects do not make up the plan; '' when each required beam is covered exactly once."""
    if not plan.required:
        return "the plan names no beams or application setups"
    if len({d.frame for d in objects}) > 1:
        return "several frames of reference"
    counts: Counter[Pair] = Counter()
    for dose in objects:
        try:
            counts.update(covered_pairs(dose, plan))
        except CoverageError as error:
            return f"{dose.rtdose_id} {error}"
    twice = [pair for pair, count in counts.items() if count > 1]
    if twice:
        return f"{describe_pairs(twice, plan)} more than once"
    missing = plan.required - set(counts)
    if missing:
        return f"{describe_pairs(missing, plan)} missing; {len(plan.required) - len(missing)} of {len(plan.required)}"
    return ""

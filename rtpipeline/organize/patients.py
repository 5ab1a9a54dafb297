"""Whose an object is: PatientID and issuer, unless names or birth dates say that two people share an id.

Inside a component of linked objects two identities are an error. Between components the id alone joins, as long as
nothing disagrees; an empty or filler id joins nothing, so that each component (with its study) is a patient.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rtpipeline.organize.components import UnionFind, grouped
from rtpipeline.organize.objects import ISSUER_MARK, Identity, ScanObject, is_uid, uid_order

FILLER_IDS = re.compile(
    r"(?:un)?known|anon|anonym|anonymous|anonymi[sz]ed|anonymisiert|anonyme|no[ _-]?(?:id|name)|none|null|n/?a|"
    r"undefined|patient[ _-]?(?:id)?|dummy|x+|0+|-+|\?+"
)
"""What systems and anonymisers write for no id."""


@dataclass
class PatientGroup:
    """The objects of one patient, as components of linked objects."""

    identity: Identity
    """patient '' for a filler id; name and birth date only to tell patients apart who share an id"""
    components: list[list[int]]
    conflicts: dict[int, str]
    """index into `components` -> what disagrees there"""
    shares_id: bool = False
    """the same id is used for somebody else"""

    @property
    def key(self) -> str:
        """PatientID and issuer; '' for a filler id."""
        return joined_key(self.identity.patient, self.identity.issuer)

    @property
    def numbers(self) -> list[int]:
        """Numbers of all its objects."""
        return sorted(n for one in self.components for n in one)


@dataclass(frozen=True)
class Grouping:
    """All patients, and what was unclear about them."""

    groups: list[PatientGroup]
    split_ids: int
    """ids that unrelated patients share"""
    without_id: int
    """patients known by a filler id only"""


@dataclass
class Evidence:
    """Names, birth dates and issuers that some objects state; empty where they state none."""

    names: set[str]
    births: set[str]
    issuers: set[str]

    @classmethod
    def of(cls, stated: Iterable[Identity]) -> Evidence:
        """What these identities state."""
        every = list(stated)
        return cls({i.name for i in every} - {""}, {i.birth for i in every} - {""}, {i.issuer for i in every} - {""})

    def agrees(self, other: Evidence) -> bool:
        """Nothing that both state is disjoint."""
        if self.births and other.births and not self.births & other.births:
            return False
        if self.issuers and other.issuers and not self.issuers & other.issuers:
            return False
        return not (self.names and other.names) or any(same_name(a, b) for a in self.names for b in other.names)

    def add(self, other: Evidence) -> None:
        """Take over what another states."""
        self.names |= other.names
        self.births |= other.births
        self.issuers |= other.issuers

    def rank(self) -> tuple[int, str]:
        """Sorts what states most first."""
        text = "\n".join("\0".join(sorted(one)) for one in (self.births, self.names, self.issuers))
        return (-bool(self.names) - bool(self.births) - bool(self.issuers), uid_order(text))


def joined_key(patient: str, issuer: str) -> str:
    """PatientID and issuer as in `patient_key` of the index."""
    return f"{patient}{ISSUER_MARK}{issuer}" if patient and issuer else patient


def is_filler(patient: str) -> bool:
    """Whether a PatientID says nothing."""
    return not patient or bool(FILLER_IDS.fullmatch(patient.casefold()))


def same_name(a: str, b: str) -> bool:
    """Whether two plain names are one, allowing for letters that a wrong character set damaged."""
    if a == b:
        return True
    damaged = (not a.isascii() or "?" in a) or (not b.isascii() or "?" in b)
    return damaged and (_matches(a, b) or _matches(b, a))


def _matches(pattern: str, name: str) -> bool:
    pieces = re.split(r"[^\x20-\x7e]+|\?+", pattern)
    return len(pieces) > 1 and bool(re.fullmatch(r".{1,4}".join(map(re.escape, pieces)), name))


def conflict_in(identities: Iterable[Identity]) -> str:
    """What disagrees among the identities of linked objects: `PatientID`, `birth date`, `issuer`, `name` or ''.

    A name that lacks a part (middle name) is the same; one id and birth date with another name is the same person.
    """
    stated = set(identities)
    patients = {i.patient for i in stated if not is_filler(i.patient)}
    births = {i.birth for i in stated if i.birth}
    if len(patients) > 1:
        return "PatientID"
    if len(births) > 1:
        return "birth date"
    if patients and births and all(i.birth for i in stated):
        return ""
    if len({i.issuer for i in stated if i.issuer}) > 1:
        return "issuer"
    return "name" if different_names(stated) else ""


def different_names(identities: Iterable[Identity]) -> bool:
    """Whether two names are stated of which neither is the other with parts left out."""
    names = sorted({i.name for i in identities if i.name})
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            shorter, longer = sorted((set(name.split()), set(other.split())), key=len)
            if not shorter <= longer and not same_name(name, other):
                return True
    return False


def group_patients(
    objects: Mapping[int, ScanObject], components: Sequence[list[int]], confirmed: Mapping[int, str]
) -> Grouping:
    """Patients of the components.

    Parameters
    ----------
    confirmed: index of a component -> PatientID that the user's manifest gives it although identities disagree; ''
        for the one most of its objects state.
    """
    by_patient: dict[str, list[int]] = {}
    filler: list[int] = []
    conflicts: dict[int, str] = {}
    leading: dict[int, Identity] = {}
    for index, numbers in enumerate(components):
        stated = [i for n in numbers for i in objects[n].identities]
        problem = conflict_in(stated)
        if problem and index not in confirmed:
            conflicts[index] = problem
        leading[index] = _leading(stated, confirmed.get(index, ""))
        patient = leading[index].patient
        (filler if is_filler(patient) else by_patient.setdefault(patient, [])).append(index)
    groups: list[PatientGroup] = []
    split = 0
    for patient in sorted(by_patient):
        people = _people(by_patient[patient], objects, components, conflicts, leading)
        split += len(people) > 1
        groups += people
    with_id = len(groups)
    groups += _without_id(filler, objects, components, conflicts, leading, groups)
    return Grouping(groups, split, len(groups) - with_id)


def _leading(stated: Sequence[Identity], wanted: str) -> Identity:
    """The identity most objects state, one with an id before one without; of `wanted` when it is stated."""
    counts: dict[Identity, int] = {}
    for one in stated:
        counts[one] = counts.get(one, 0) + 1
    return min(
        counts,
        key=lambda i: (bool(wanted) and i.patient != wanted, is_filler(i.patient), -counts[i], uid_order("\0".join(i))),
    )


def _people(
    indices: Sequence[int],
    objects: Mapping[int, ScanObject],
    components: Sequence[list[int]],
    conflicts: Mapping[int, str],
    leading: Mapping[int, Identity],
) -> list[PatientGroup]:
    """The people who use one id. Components that say least are placed last, and only where one person fits."""
    evidence = {
        index: Evidence.of([leading[index]] if index in conflicts else _stated(components[index], objects))
        for index in indices
    }
    people: list[tuple[Evidence, list[int]]] = []
    ambiguous: dict[str, list[int]] = {}
    for index in sorted(indices, key=lambda i: (i in conflicts, *evidence[i].rank())):
        fitting = [p for p in people if p[0].agrees(evidence[index])]
        if len(fitting) == 1:
            fitting[0][0].add(evidence[index])
            fitting[0][1].append(index)
        elif fitting:
            ambiguous.setdefault(evidence[index].rank()[1], []).append(index)
        else:
            people.append((evidence[index], [index]))
    members = [*(m for _, m in people), *(ambiguous[k] for k in sorted(ambiguous))]
    return [_group(m, components, conflicts, len(members) > 1, leading) for m in members]


def _stated(numbers: Sequence[int], objects: Mapping[int, ScanObject]) -> list[Identity]:
    return [i for n in numbers for i in objects[n].identities]


def _group(
    members: Sequence[int],
    components: Sequence[list[int]],
    conflicts: Mapping[int, str],
    shares_id: bool,
    leading: Mapping[int, Identity],
) -> PatientGroup:
    """The group with the identity that states most; that of a filler id keeps no id."""
    ordered = sorted(members)
    who = min(
        (leading[m] for m in ordered), key=lambda i: (not i.birth, not i.name, not i.issuer, uid_order("\0".join(i)))
    )
    return PatientGroup(
        identity=who._replace(patient="" if is_filler(who.patient) else who.patient),
        components=[components[m] for m in ordered],
        conflicts={i: conflicts[m] for i, m in enumerate(ordered) if m in conflicts},
        shares_id=shares_id,
    )


def _without_id(
    indices: Sequence[int],
    objects: Mapping[int, ScanObject],
    components: Sequence[list[int]],
    conflicts: Mapping[int, str],
    leading: Mapping[int, Identity],
    known: list[PatientGroup],
) -> list[PatientGroup]:
    """Patients of components without an id: joined by study with each other, or with the one known patient of it.

    Joining to a known patient extends that patient's group in place.
    """
    patients_of: dict[str, set[int]] = {}
    for place, group in enumerate(known):
        for number in group.numbers:
            if is_uid(objects[number].study_uid):
                patients_of.setdefault(objects[number].study_uid, set()).add(place)
    sets = UnionFind()
    homeless: list[int] = []
    for index in indices:
        studies = {objects[n].study_uid for n in components[index] if is_uid(objects[n].study_uid)}
        owners = {p for s in studies for p in patients_of.get(s, ())}
        if len(owners) == 1 and index not in conflicts:
            owner = known[next(iter(owners))]
            if not conflict_in([*_stated(components[index], objects), owner.identity]):
                owner.components.append(components[index])
                continue
        homeless.append(index)
        for study in studies if not owners else ():
            sets.union(("object", index), ("study", study, leading[index].name, leading[index].birth))
    return [_group(members, components, conflicts, False, leading) for members in grouped(sets, homeless)]

"""Ids that stay: which patient and course an id was given to, by keyed hashes of the objects they hold.

A course is known again by its anchor (planning series, else structure set, plan, dose or image), else by the objects
it shares with a registered one. Numbers are never given twice. Everything in the file is hashed with the cohort's
secret; it still lies under `private/`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rtpipeline.errors import UsageError
from rtpipeline.store.identity import keyed_hash, patient_pseudonym

SCHEMA_VERSION = 1
MEMBER_HEX = 16
SLUG_LENGTH = 40
IdentityMode = Literal["pseudonymize", "keep"]


@dataclass
class CourseEntry:
    """One number that was given out."""

    number: int
    anchor: str
    members: set[str]
    merged_into: int | None = None


@dataclass
class PatientEntry:
    """One patient id that was given out."""

    key_hash: str
    person_hash: str
    mode: IdentityMode
    courses: list[CourseEntry] = field(default_factory=list)

    def course(self, number: int) -> CourseEntry:
        """The entry of a number."""
        return next(c for c in self.courses if c.number == number)


@dataclass(frozen=True)
class PatientToName:
    """A patient of today's export that needs an id."""

    key: str
    """PatientID and issuer; '' for a filler id"""
    person: str
    """tells people apart who share an id, and components without one"""
    patient: str
    """PatientID, for `identity: keep`"""
    shares_id: bool
    members: frozenset[str]
    """`member_hash` of every object"""


@dataclass(frozen=True)
class CourseToName:
    """A course of today's export that needs a number."""

    anchor: str
    members: frozenset[str]
    order: tuple[int, str]
    """day 0 and hash: the order in which new numbers are given"""


@dataclass(frozen=True)
class Numbered:
    """The number of a course, and the numbers it took the place of."""

    number: int
    retired: tuple[int, ...]


class Registry:
    """The ids given out so far."""

    def __init__(self, patients: dict[str, PatientEntry] | None = None) -> None:
        self.patients = patients or {}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any] | None) -> Registry:
        """The registry of `registry.json`; an empty one for None.

        Raises
        ------
        UsageError: it was written by a newer version.
        """
        if raw is None:
            return cls()
        if raw.get("schema_version") != SCHEMA_VERSION:
            raise UsageError(
                f"registry.json has schema version {raw.get('schema_version')}, this program reads {SCHEMA_VERSION}; "
                "use the version of rtpipeline that wrote it."
            )
        patients = {}
        for patient_id, entry in raw["patients"].items():
            courses = [
                CourseEntry(c["number"], c["anchor"], set(c["members"]), c["merged_into"]) for c in entry["courses"]
            ]
            patients[patient_id] = PatientEntry(entry["key_hash"], entry["person_hash"], entry["mode"], courses)
        return cls(patients)

    def to_json(self) -> dict[str, Any]:
        """For `registry.json`; the same registry gives the same text."""
        return {
            "schema_version": SCHEMA_VERSION,
            "patients": {
                patient_id: {
                    "key_hash": entry.key_hash,
                    "person_hash": entry.person_hash,
                    "mode": entry.mode,
                    "courses": [
                        {
                            "number": c.number,
                            "anchor": c.anchor,
                            "members": sorted(c.members),
                            "merged_into": c.merged_into,
                        }
                        for c in sorted(entry.courses, key=lambda c: c.number)
                    ],
                }
                for patient_id, entry in sorted(self.patients.items())
            },
        }

    def dumps(self) -> bytes:
        """Content of `registry.json`."""
        return (json.dumps(self.to_json(), indent=1) + "\n").encode()

    def name_patients(
        self, secret: bytes, mode: IdentityMode, wanted: Sequence[PatientToName]
    ) -> tuple[list[str], dict[str, str]]:
        """An id for each patient: the registered one where objects or person are known, else a new one.

        Also the registered ids whose objects now belong to a patient with another id, with that id.
        """
        given: dict[int, str] = {}
        taken: set[str] = set()
        known = self._candidates(secret, mode, wanted)
        for _, index, patient_id in sorted(known):
            if index not in given and patient_id not in taken:
                given[index] = patient_id
                taken.add(patient_id)
        new = [i for i in range(len(wanted)) if i not in given]
        for index in sorted(new, key=lambda i: (wanted[i].shares_id, keyed_hash(secret, wanted[i].person, 32))):
            patient = wanted[index]
            patient_id = _new_id(secret, mode, patient, taken | set(self.patients))
            self.patients[patient_id] = PatientEntry(
                _key_hash(secret, patient), keyed_hash(secret, patient.person, MEMBER_HEX), mode
            )
            given[index] = patient_id
            taken.add(patient_id)
        absorbed = {old: given[i] for rank, i, old in sorted(known, reverse=True) if rank < 0 and old not in taken}
        return [given[i] for i in range(len(wanted))], absorbed

    def _candidates(
        self, secret: bytes, mode: IdentityMode, wanted: Sequence[PatientToName]
    ) -> list[tuple[int, int, str]]:
        """(rank, index into wanted, registered id): most shared objects first, then a known person."""
        by_member: dict[str, str] = {}
        by_person: dict[tuple[str, str], str] = {}
        for patient_id, entry in self.patients.items():
            if entry.mode == mode:
                by_person[entry.key_hash, entry.person_hash] = patient_id
                for course in entry.courses:
                    by_member.update(dict.fromkeys(course.members, patient_id))
        found = []
        for index, patient in enumerate(wanted):
            key_hash = _key_hash(secret, patient)
            shared: dict[str, int] = {}
            for member in patient.members:
                patient_id = by_member.get(member, "")
                if patient_id and self.patients[patient_id].key_hash == key_hash:
                    shared[patient_id] = shared.get(patient_id, 0) + 1
            found += [(-count, index, patient_id) for patient_id, count in shared.items()]
            person = by_person.get((key_hash, keyed_hash(secret, patient.person, MEMBER_HEX)))
            if person is not None:
                found.append((0, index, person))
            elif patient.key and not patient.shares_id:
                alone = [p for p, e in self.patients.items() if (e.key_hash, e.mode) == (key_hash, mode)]
                found += [(1, index, p) for p in alone if len(alone) == 1]
        return found

    def number_courses(self, patient_id: str, wanted: Sequence[CourseToName]) -> list[Numbered]:
        """A number for each course of a patient; the registry then holds what they consist of."""
        entry = self.patients[patient_id]
        claims: dict[int, list[int]] = {}
        for course in entry.courses:
            if course.merged_into is None and (heir := _heir(course, wanted)) is not None:
                claims.setdefault(heir, []).append(course.number)
        following = max((c.number for c in entry.courses), default=0) + 1
        numbered: dict[int, Numbered] = {}
        for index in sorted(range(len(wanted)), key=lambda i: wanted[i].order):
            found = wanted[index]
            if index in claims:
                number, *retired = sorted(claims[index])
                kept = entry.course(number)
                kept.anchor, kept.members = found.anchor, kept.members | found.members
                for old in retired:
                    entry.course(old).merged_into = number
                numbered[index] = Numbered(number, tuple(retired))
            else:
                entry.courses.append(CourseEntry(following, found.anchor, set(found.members)))
                numbered[index] = Numbered(following, ())
                following += 1
        return [numbered[i] for i in range(len(wanted))]


def _heir(entry: CourseEntry, wanted: Sequence[CourseToName]) -> int | None:
    """The course that a registered number belongs to: the one with its anchor, else the one sharing most objects."""
    with_anchor = [i for i, c in enumerate(wanted) if entry.anchor in c.members]
    ranked = sorted(
        ((-len(entry.members & c.members), c.order, i) for i, c in enumerate(wanted) if entry.members & c.members)
    )
    return next(iter(with_anchor), None) if with_anchor else (ranked[0][2] if ranked else None)


def member_hash(secret: bytes, uid: str) -> str:
    """How an object is known in the registry."""
    return keyed_hash(secret, uid, MEMBER_HEX)


def _key_hash(secret: bytes, patient: PatientToName) -> str:
    return keyed_hash(secret, f"key\0{patient.key}", MEMBER_HEX)


def _new_id(secret: bytes, mode: IdentityMode, patient: PatientToName, taken: Iterable[str]) -> str:
    """An id that nobody has: of the key alone where it names one person, else of the person."""
    used = set(taken)
    own = patient.person if patient.shares_id or not patient.key else patient.key
    if mode == "keep" and patient.patient:
        plain = slug(patient.patient)
        if plain == patient.patient and plain not in used and not patient.shares_id:
            return plain
        if plain:
            return f"{plain}-{keyed_hash(secret, own, 6)}"
    candidate = patient_pseudonym(secret, own)
    return candidate if candidate not in used else patient_pseudonym(secret, patient.person)


def slug(text: str) -> str:
    """Lower case ASCII letters, digits and single hyphens: a valid name in Kubernetes; '' when nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_LENGTH].strip("-")


def members_of(secret: bytes, uids: Iterable[str]) -> frozenset[str]:
    """`member_hash` of each UID."""
    return frozenset(member_hash(secret, uid) for uid in uids)

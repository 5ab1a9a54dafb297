"""Every patient of the export, also those of whom nothing can be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from rtpipeline.contracts.manifests import Course, Patient
from rtpipeline.organize.inventory import Inventory
from rtpipeline.organize.objects import ISSUER_MARK, Identity, is_uid
from rtpipeline.organize.patients import PatientGroup, is_filler
from rtpipeline.organize.registry import IdentityMode, PatientToName, Registry


def settle_rest(inventory: Inventory, patients: Mapping[str, PatientGroup]) -> None:
    """Tell the ledger whose the rows are that became part of no object. patients: id -> group."""
    patient_of: dict[Identity, str] = {}
    of_study: dict[str, set[str]] = {}
    for patient_id, group in patients.items():
        for number in group.numbers:
            thing = inventory.objects[number]
            for who in thing.identities:
                if not is_filler(who.patient):
                    patient_of.setdefault(who, patient_id)
            if is_uid(thing.study_uid):
                of_study.setdefault(thing.study_uid, set()).add(patient_id)
    alone = {study: next(iter(ids)) for study, ids in of_study.items() if len(ids) == 1}
    inventory.ledger.settle(patient_of, alone)


def name_rest(
    inventory: Inventory, registry: Registry, secret: bytes, mode: IdentityMode, known_keys: Iterable[str]
) -> None:
    """An id for people of whom only refused objects came: by their id, else by their study."""
    columns, ledger, known = inventory.columns, inventory.ledger, set(known_keys)
    rows_of: dict[tuple[str, str], list[int]] = {}
    for row in np.flatnonzero(ledger.patient == "").tolist():
        key, study = columns.at("patient_key", row), columns.at("study_uid", row)
        if not is_filler(key.partition(ISSUER_MARK)[0]):
            rows_of.setdefault(("key", key), []).append(row)
        elif is_uid(study):
            rows_of.setdefault(("study", study), []).append(row)
    wanted = []
    for what, text in sorted(rows_of):
        key = text if what == "key" else ""
        person = f"{what}\0{text}\0nothing usable"
        wanted.append(PatientToName(key, person, key.partition(ISSUER_MARK)[0], key in known, frozenset()))
    ids, _ = registry.name_patients(secret, mode, wanted)
    for group, patient_id in zip(sorted(rows_of), ids, strict=True):
        ledger.patient[rows_of[group]] = patient_id


def listed_patients(inventory: Inventory, courses: Iterable[Course]) -> list[Patient]:
    """Patients by id; `objects` counts every row that is theirs, used or not."""
    objects = Counter(p for p in inventory.ledger.patient.tolist() if p)
    of_patient: dict[str, list[Course]] = {}
    for course in sorted(courses, key=lambda c: c.course_id):
        of_patient.setdefault(course.patient_id, []).append(course)
    return [_listed(p, of_patient.get(p, []), objects[p]) for p in sorted(objects)]


def _listed(patient_id: str, courses: list[Course], objects: int) -> Patient:
    kinds = dict.fromkeys(c.course_kind for c in sorted(courses, key=lambda c: c.course_order))
    excluded = all(c.status == "excluded" for c in courses)
    return Patient(
        patient_id=patient_id,
        courses=[c.course_id for c in courses],
        objects=objects,
        kind="+".join(kinds) or "nothing_usable",
        status="nothing_usable" if not courses else "excluded" if excluded else "ok",
    )

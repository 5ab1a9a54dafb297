"""Ids that stay: late courses, merges, and what the registry knows a course by."""

from __future__ import annotations

import json
import re

import pytest

from rtpipeline.errors import UsageError
from rtpipeline.organize.registry import Registry, slug

from .rows import Export, codes, uid

KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def orders(found: object) -> dict[str, int]:
    return {c.course_id.rsplit("-", 1)[1]: c.course_order for c in found.manifest.courses}  # type: ignore[attr-defined]


def test_numbers_follow_the_dates_the_first_time() -> None:
    export = Export()
    export.study = "later"
    export.course(days=800)
    export.study = "first"
    export.course(days=0)
    export.study = "between"
    export.course(days=400)
    assert orders(export.organize()) == {"c01": 1, "c02": 2, "c03": 3}


def test_a_course_that_arrives_later_takes_the_next_number_whatever_its_date() -> None:
    export = Export()
    export.course(days=400)
    registry = export.organize().registry
    export.study = "long ago"
    export.course(days=0)
    found = export.organize(registry=registry)
    assert orders(found) == {"c01": 2, "c02": 1}


def test_a_vanished_course_leaves_its_number_unused_and_gets_it_back() -> None:
    export = Export()
    export.course()
    first = list(export.rows)
    export.study = "study 2"
    export.course(days=400)
    both = export.organize()
    second = export.rows[len(first) :]
    export.rows = second
    only_second = export.organize(registry=both.registry)
    assert orders(only_second) == {"c02": 1}
    export.study = "study 3"
    export.course(days=900)
    assert orders(export.organize(registry=only_second.registry)) == {"c02": 1, "c03": 2}
    export.rows = first
    assert orders(export.organize(registry=only_second.registry)) == {"c01": 1}


def test_evidence_that_links_two_courses_keeps_the_lowest_number_and_retires_the_other() -> None:
    export = Export()
    first = export.course()
    export.study = "study 2"
    second = export.course(days=400)
    apart = export.organize()
    export.plan(first["rs"], "links both", days=400, referenced_plans=[{"uid": second["plan"], "relationship": ""}])
    merged = export.organize(registry=apart.registry)
    (course,) = merged.manifest.courses
    assert course.course_id == apart.manifest.courses[0].course_id
    (found,) = [f for f in merged.findings if f.code == "COURSE_MERGED"]
    assert found.measured == f"retired: {apart.manifest.courses[1].course_id}"
    again = export.organize(registry=merged.registry)
    assert "W COURSE_MERGED" not in codes(again)
    export.study = "study 3"
    export.course(days=1200)
    assert orders(export.organize(registry=again.registry)) == {"c01": 1, "c03": 2}


def test_a_course_is_known_again_when_its_anchor_changes() -> None:
    export = Export()
    rs = export.structure_set(label="no image yet")
    plan = export.plan(rs)
    before = export.organize()
    export.dose(plan)
    export.ct(days=0)
    after = export.organize(registry=before.registry)
    assert [c.course_id for c in after.manifest.courses] == [c.course_id for c in before.manifest.courses]


def test_a_patient_without_id_keeps_the_pseudonym_when_objects_are_added() -> None:
    export = Export(patient="", name="", birth="")
    plan = export.course()["plan"]
    before = export.organize()
    for label in range(5):
        export.record(plan, f"record {label}", days=10 + label)
    after = export.organize(registry=before.registry)
    assert [p.patient_id for p in after.manifest.patients] == [p.patient_id for p in before.manifest.patients]


def test_a_second_person_with_the_same_id_does_not_take_the_first_ones_pseudonym() -> None:
    export = Export(patient="123456")
    export.course()
    before = export.organize()
    (first,) = before.manifest.patients
    export.name, export.study = "Roe^Richard", "study 2"
    export.course()
    after = export.organize(registry=before.registry)
    owners = {r["patient_id"]: r["patient_name"] for r in after.identity}
    assert owners[first.patient_id] == "Doe^Jane"
    assert len(owners) == 2


def test_two_patients_without_id_that_turn_out_to_be_one_are_reported() -> None:
    export = Export(patient="", name="", birth="")
    first = export.course()
    export.study = "study 2"
    second = export.course()
    before = export.organize()
    assert len(before.manifest.patients) == 2
    export.plan(first["rs"], "links", referenced_plans=[{"uid": second["plan"], "relationship": "CONCURRENT"}])
    after = export.organize(registry=before.registry)
    (patient,) = after.manifest.patients
    assert patient.patient_id in {p.patient_id for p in before.manifest.patients}
    assert "W COURSE_MERGED" in codes(after)


def test_the_registry_holds_hashes_only() -> None:
    export = Export(patient="MRN-4711")
    export.course()
    text = json.dumps(export.organize().registry)
    for row in export.rows:
        for name in ("patient_key", "patient_name", "birth_date", "sop_instance_uid", "series_uid"):
            assert row[name] not in text


def test_a_registry_of_a_newer_version_is_refused() -> None:
    with pytest.raises(UsageError, match="schema version 99"):
        Registry.from_json({"schema_version": 99, "patients": {}})


@pytest.mark.parametrize("patient", ["lung-007", "LUNG_007", "Łódź 7/ä", "a" * 80, "--x--", "7"])
def test_kept_identities_are_kubernetes_names(patient: str) -> None:
    export = Export(patient=patient)
    export.course()
    (course,) = export.organize(identity="keep").manifest.courses
    assert KUBERNETES_NAME.fullmatch(course.course_id)
    assert len(course.course_id) <= 63
    assert (course.patient_id == patient) == bool(re.fullmatch(r"lung-007|7", patient))
    assert course.patient_id.startswith(slug(patient))


def test_kept_identities_that_give_one_slug_stay_apart() -> None:
    export = Export(patient="A_1")
    export.course()
    export.patient, export.name, export.study = "A 1", "Roe^Richard", "study 2"
    export.course()
    ids = {p.patient_id for p in export.organize(identity="keep").manifest.patients}
    assert len(ids) == 2
    assert all(i.startswith("a-1-") for i in ids)


def test_changing_the_identity_mode_gives_new_ids_and_back_the_old_ones() -> None:
    export = Export()
    export.course()
    hashed = export.organize()
    kept = export.organize(registry=hashed.registry, identity="keep")
    back = export.organize(registry=kept.registry)
    assert kept.manifest.patients[0].patient_id.startswith("pat1")
    assert back.manifest.patients == hashed.manifest.patients


def test_a_course_id_is_the_patients_id_and_a_number() -> None:
    export = Export()
    export.course()
    export.dose(uid("x"), days=900)
    for course in export.organize().manifest.courses:
        assert re.fullmatch(re.escape(course.patient_id) + r"-c\d\d", course.course_id)
        assert re.fullmatch(r"p[0-9a-f]{10}", course.patient_id)

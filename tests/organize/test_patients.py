"""Whose objects are: ids that strangers share, ids that say nothing, linked objects that disagree."""

from __future__ import annotations

import json

import pytest

from rtpipeline.organize.objects import Identity, plain_name, real_birth_date
from rtpipeline.organize.patients import conflict_in, is_filler, same_name
from rtpipeline.organize.user_manifest import user_row

from .rows import Export, codes, uid


def who(patient: str = "1", issuer: str = "", name: str = "", birth: str = "") -> Identity:
    return Identity(patient, issuer, name, birth)


def test_two_studies_of_one_id_are_one_patient() -> None:
    export = Export()
    export.course()
    export.study = "study 2"
    export.course(days=30)
    (patient,) = export.organize().manifest.patients
    assert len(patient.courses) == 1


@pytest.mark.parametrize(
    ("name", "birth"), [("Roe^Richard", "19600504"), ("Doe^Jane", "19700101"), ("Roe^Richard", "19700101")]
)
def test_unrelated_patients_with_one_id_are_split_and_flagged(name: str, birth: str) -> None:
    export = Export(patient="123456")
    export.course()
    export.name, export.birth, export.study = name, birth, "study 2"
    export.course()
    found = export.organize()
    assert len(found.manifest.patients) == 2
    assert all(p.status == "ok" for p in found.manifest.patients)
    assert codes(found) == ["W PATIENT_MISMATCH"] * 2


def test_a_component_that_could_be_either_of_two_people_is_nobodys_but_its_own() -> None:
    export = Export(patient="123456")
    export.course()
    export.name, export.study = "Roe^Richard", "study 2"
    export.course()
    export.name, export.birth, export.study = "", "", "study 3"
    export.ct()
    assert len(export.organize().manifest.patients) == 3


def test_a_component_without_name_joins_the_only_person_of_its_id() -> None:
    export = Export()
    export.course()
    export.name, export.birth, export.study = "", "", "study 2"
    export.ct(days=10)
    assert len(export.organize().manifest.patients) == 1


@pytest.mark.parametrize("filler", ["", "UNKNOWN", "Anonymous", "000000", "N/A", "?"])
def test_a_filler_id_gives_one_patient_for_each_group_of_linked_objects(filler: str) -> None:
    export = Export(patient=filler, name="", birth="")
    export.course()
    export.study = "study 2"
    export.course()
    found = export.organize()
    assert len(found.manifest.patients) == 2
    assert codes(found) == ["W PATIENT_MISMATCH"]


def test_series_of_one_study_without_id_are_one_patient() -> None:
    export = Export(patient="", name="", birth="")
    for phase in range(3):
        export.ct(f"phase {phase}", frame="one")
    assert len(export.organize().manifest.patients) == 1


def test_objects_without_id_join_the_patient_of_their_study() -> None:
    export = Export()
    export.course()
    export.patient, export.name, export.birth = "", "", ""
    export.dose(uid("absent"), "lost dose")
    (patient,) = export.organize().manifest.patients
    assert patient.objects == len(export.rows)


@pytest.mark.parametrize("broken", ["UNKNOWN", ""])
def test_broken_study_uids_join_no_strangers(broken: str) -> None:
    export = Export(patient="", name="", birth="")
    export.course()
    export.study = "study 2"
    export.course()
    for row in export.rows:
        row["study_uid"] = broken
    assert len(export.organize().manifest.patients) == 2


def test_an_absent_uid_that_an_anonymiser_wrote_everywhere_joins_no_strangers() -> None:
    export = Export()
    export.plan(uid("the same everywhere"))
    export.patient, export.name, export.study = "PAT2", "Roe^Richard", "study 2"
    export.plan(uid("the same everywhere"))
    found = export.organize()
    assert [p.status for p in found.manifest.patients] == ["ok", "ok"]
    assert "E PATIENT_MISMATCH" not in codes(found)


def test_a_structure_set_with_another_patients_id_excludes_its_course_and_no_other() -> None:
    export = Export()
    export.course()
    swapped = next(r for r in export.rows if r["kind"] == "rtstruct")
    swapped.update(patient_key="PAT2", patient_name="Roe^Richard")
    export.patient, export.name, export.study = "PAT2", "Roe^Richard", "study 2"
    export.course()
    found = export.organize()
    by_status = {c.status: c for c in found.manifest.courses}
    assert set(by_status) == {"ok", "excluded"}
    assert by_status["excluded"].excluded_by == ["PATIENT_MISMATCH"]
    assert codes(found, by_status["excluded"].course_id) == ["E PATIENT_MISMATCH"]
    assert codes(found, by_status["ok"].course_id) == []
    excluded = [r for r in found.index.to_pylist() if r["course_id"] == by_status["excluded"].course_id]
    assert len(excluded) == len(export.rows) // 2
    assert {(r["use"], r["reason"]) for r in excluded} == {("not_used", "PATIENT_MISMATCH")}


def test_the_manifest_includes_a_course_with_two_identities() -> None:
    export = Export()
    plan = export.course()["plan"]
    next(r for r in export.rows if r["kind"] == "rtstruct")["patient_key"] = "PAT2"
    row = user_row({"patient_id": "PAT2", "plan_uid": plan, "include": "yes"})
    found = export.organize(manifest=[row])
    (course,) = found.manifest.courses
    assert course.status == "ok"
    assert {r["patient_key"] for r in found.identity if r["kind"] == "rtstruct"} == {"PAT2"}
    only_pat2 = Export(patient="PAT2")
    only_pat2.course()
    assert course.patient_id == only_pat2.organize().manifest.patients[0].patient_id


def test_a_married_name_in_linked_objects_is_one_patient_and_flagged() -> None:
    export = Export()
    export.course()
    next(r for r in export.rows if r["kind"] == "rtdose")["patient_name"] = "Smith^Jane"
    found = export.organize()
    assert [p.status for p in found.manifest.patients] == ["ok"]
    assert codes(found) == ["W PATIENT_MISMATCH"]


def test_one_slice_with_another_name_and_no_birth_date_is_a_conflict() -> None:
    export = Export(birth="")
    ct = export.course()["ct"]
    ct.rows[4]["patient_name"] = "Roe^Richard"
    assert "E PATIENT_MISMATCH" in codes(export.organize())


def test_the_issuer_of_an_id_tells_two_patients_apart() -> None:
    export = Export(patient="77^^^HOSPITAL A")
    export.course()
    export.patient, export.study = "77^^^HOSPITAL B", "study 2"
    export.course()
    assert len(export.organize().manifest.patients) == 2


def test_a_patient_whose_only_object_is_refused_is_listed() -> None:
    export = Export()
    export.dose()
    found = export.organize(use=["conflict"])
    assert [(p.kind, p.objects, p.courses) for p in found.manifest.patients] == [("nothing_usable", 1, [])]


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ([who("1"), who("2")], "PatientID"),
        ([who("1"), who("UNKNOWN")], ""),
        ([who(birth="19500101"), who(birth="19500102")], "birth date"),
        ([who(name="doe jane"), who(name="doe jane m")], ""),
        ([who(name="doe jane"), who(name="roe jane")], "name"),
        ([who(name="doe", birth="19500304"), who(name="roe", birth="19500304")], ""),
        ([who(name="müller hans"), who(name="m?ller hans")], ""),
        ([who(issuer="A"), who(issuer="B")], "issuer"),
        ([who(issuer="A"), who()], ""),
    ],
)
def test_what_counts_as_two_identities(stated: list[Identity], problem: str) -> None:
    assert conflict_in(stated) == problem


def test_names_are_compared_without_case_separators_and_empty_parts() -> None:
    assert plain_name("Doe^Jane^^") == plain_name("DOE JANE") == plain_name("doe, jane") == "doe jane"
    assert same_name("müller hans", "mueller hans")
    assert same_name("drüse eva", "drã¼se eva")
    assert not same_name("doe jane", "doe june")


@pytest.mark.parametrize("text", ["19010101", "19000101", "UNKNOWN", "", "19501301", "1950"])
def test_birth_dates_that_say_nothing(text: str) -> None:
    assert real_birth_date(text) == ""


def test_ordinary_ids_are_no_fillers() -> None:
    assert not any(is_filler(text) for text in ("ANON001", "12", "TEST_7", "x-ray", "P000", "unknown7"))


def test_ids_of_the_public_export_are_hashes_of_the_secret() -> None:
    export = Export(patient="MRN-4711")
    export.course()
    text = json.dumps(export.organize().manifest.model_dump())
    assert "4711" not in text

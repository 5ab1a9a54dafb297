"""Which image a structure set lies on, which set is primary, which image is planned on. Everything fails closed."""

from __future__ import annotations

import pytest

from rtpipeline.contracts.manifests import Course
from rtpipeline.organize.user_manifest import user_row

from .rows import MR, PT, Export, Series, codes, uid


def course_of(export: Export, **settings: object) -> Course:
    (course,) = export.organize(**settings).manifest.courses  # type: ignore[arg-type]
    return course


def test_sets_on_ct_pet_and_mr_are_each_bound_to_their_image_and_the_ct_is_planned_on() -> None:
    export = Export()
    for label, sop_class in (("ct", None), ("pet", PT), ("mr", MR)):
        image = export.image(label, **({"sop_class": sop_class} if sop_class else {}))
        export.structure_set(image, f"rs {label}")
    course = course_of(export)
    assert {(s.image_id, s.image_link, s.role) for s in course.structure_sets} == {
        ("ct-01", "images", "primary"),
        ("mr-01", "images", "primary"),
        ("pt-01", "images", "primary"),
    }
    assert all(i.prepare for i in course.images)
    assert course.planning_image is not None
    assert course.planning_image.image_id == "ct-01"


def test_a_set_that_references_images_of_two_series_lies_on_the_one_it_references_most() -> None:
    export = Export()
    first, second = export.image("a", slices=20), export.image("b", slices=20)
    both = Series(second.uid, second.frame, second.study, [*first.rows[:3], *second.rows])
    export.structure_set(both)
    found = export.organize()
    (set_,) = found.manifest.courses[0].structure_sets
    rows = {r["series_uid"] for r in found.index.to_pylist() if r["object_id"] == set_.image_id}
    assert rows == {second.uid}


def test_a_set_that_names_only_the_series_is_bound_by_it() -> None:
    export = Export()
    export.structure_set(export.ct(), referenced_images=[])
    (set_,) = course_of(export).structure_sets
    assert (set_.image_id, set_.image_link) == ("ct-01", "series")


def test_a_set_whose_images_were_renamed_is_bound_by_the_series_and_flagged() -> None:
    export = Export()
    export.structure_set(export.ct(), referenced_images=[uid("gone", n) for n in range(12)])
    found = export.organize()
    assert found.manifest.courses[0].structure_sets[0].image_link == "series"
    assert codes(found) == ["W SS_REFERENCES_OTHER_SERIES"]


def absent_references() -> dict[str, list[str]]:
    return {"referenced_series": [uid("absent series")], "referenced_images": [uid("absent", n) for n in range(9)]}


def test_a_set_on_an_absent_series_is_bound_where_its_contours_lie_on_one_images_slices() -> None:
    """CT, PET and MR of one frame of reference, cropped and renumbered: only the slices tell them apart."""
    export = Export()
    starts = {"ct": 0.0, "pet": 0.02, "mr": 0.0052}
    for label, start in starts.items():
        fields = {"sop_class": {"pet": PT, "mr": MR}[label]} if label != "ct" else {}
        image = export.image(label, frame="one", start_mm=start, step_mm=3.27, **fields)
        export.structure_set(image, f"rs {label}", **absent_references())
    found = export.organize()
    (course,) = found.manifest.courses
    assert {(s.image_id, s.image_link) for s in course.structure_sets} == {
        ("ct-01", "frame_of_reference"),
        ("mr-01", "frame_of_reference"),
        ("pt-01", "frame_of_reference"),
    }
    assert codes(found) == ["W SS_REFERENCES_OTHER_SERIES"] * 3


@pytest.mark.parametrize(
    "points",
    [
        [[0.0, 0.0, 1.5], [0.0, 0.0, 4.5]],
        [[0.0, 0.0, 300.0]],
        [[500.0, 0.0, 3.0]],
        [],
    ],
    ids=["between slices", "beyond the image", "beside the image", "no contours"],
)
def test_contours_that_do_not_lie_on_slices_bind_to_no_image(points: list[list[float]]) -> None:
    export = Export()
    export.structure_set(export.ct(), contour_points=points, **absent_references())
    found = export.organize()
    (course,) = found.manifest.courses
    assert (course.structure_sets[0].image_id, course.planning_image) == (None, None)
    assert codes(found) == ["E SS_REFERENCES_OTHER_SERIES", "W COURSE_NO_PLANNING_IMAGE"]


def test_two_images_with_the_same_slices_leave_a_set_without_references_unbound() -> None:
    export = Export()
    image = export.image("a", frame="one")
    export.image("b", frame="one")
    export.structure_set(image, **absent_references())
    assert course_of(export).structure_sets[0].image_link == "none"


def test_slices_of_another_frame_of_reference_are_no_evidence() -> None:
    export = Export()
    export.structure_set(export.ct(), frame_uids=[uid("other frame")], **absent_references())
    export.rows[-1]["frame_uid"] = uid("other frame")
    assert course_of(export).structure_sets[0].image_id is None


def test_an_export_of_structures_alone_says_that_the_image_is_missing() -> None:
    export = Export()
    export.dose(export.plan(export.structure_set(**absent_references())))
    found = export.organize()
    assert found.manifest.courses[0].course_kind == "planned"
    assert codes(found) == ["W COURSE_NO_PLANNING_IMAGE"]


def test_no_other_image_stands_in_for_the_one_a_plan_was_made_on() -> None:
    export = Export()
    export.structure_set(export.ct("another ct"), "another set")
    export.plan(uid("absent structure set"))
    found = export.organize()
    (course,) = found.manifest.courses
    assert course.planning_image is None
    assert [i.prepare for i in course.images] == [True]
    assert "W COURSE_NO_PLANNING_IMAGE" in codes(found)


def test_slices_that_a_set_references_and_the_export_lacks_are_counted() -> None:
    export = Export()
    ct = export.ct(slices=20)
    export.structure_set(ct)
    export.rows = [r for r in export.rows if r["sop_instance_uid"] not in ct.sops[5:15]]
    found = export.organize()
    (finding,) = [f for f in found.findings if f.code == "IMG_MISSING_SLICE"]
    assert finding.measured == "10 of the 20 images that rs-01 references"


def test_the_primary_set_is_the_plans_then_the_approved_then_the_newest() -> None:
    export = Export()
    ct = export.ct()
    export.structure_set(ct, "draft", days=1)
    approved = export.structure_set(ct, "approved", days=2, status="APPROVED")
    export.structure_set(ct, "newest", days=9)
    assert [s.role for s in course_of(export).structure_sets] == ["other", "primary", "other"]
    found = export.organize()
    assert "I SS_MULTIPLE" in codes(found)
    export.rows = [r for r in export.rows if r["sop_instance_uid"] != approved]
    assert [s.role for s in course_of(export).structure_sets] == ["other", "primary"]
    draft = export.rows[12]["sop_instance_uid"]
    export.plan(draft)
    course = course_of(export)
    assert [(s.role, s.referenced_by_plan) for s in course.structure_sets] == [("primary", True), ("other", False)]


def test_a_set_of_a_selected_plan_comes_before_that_of_a_rejected_one() -> None:
    export = Export()
    ct = export.ct()
    export.plan(export.structure_set(ct, "old", days=1), "good")
    export.plan(export.structure_set(ct, "new", days=5), "bad", status="REJECTED")
    assert [s.role for s in course_of(export).structure_sets] == ["primary", "other"]


@pytest.mark.parametrize(
    ("fields", "selected", "reason"),
    [
        ({"status": "APPROVED"}, True, ""),
        ({"status": "UNAPPROVED"}, True, "unapproved"),
        ({"status": ""}, True, ""),
        ({"status": "REJECTED"}, False, "rejected"),
        ({"intent": "VERIFICATION"}, False, "intent verification"),
        ({"intent": "MACHINE_QA"}, False, "intent machine_qa"),
        ({"intent": "PALLIATIVE"}, True, ""),
    ],
)
def test_which_plans_count(fields: dict[str, str], selected: bool, reason: str) -> None:
    export = Export()
    export.plan(export.structure_set(export.ct()), **fields)  # type: ignore[arg-type]
    found = export.organize()
    (plan,) = found.manifest.courses[0].plans
    assert (plan.selected, plan.reason) == (selected, reason)
    assert codes(found).count("I PLAN_STATUS") == bool(reason)


def test_draft_and_approved_plan_on_one_structure_set_are_both_kept_and_said_to_be_two() -> None:
    export = Export()
    rs = export.structure_set(export.ct())
    export.plan(rs, "draft", days=3, status="UNAPPROVED")
    export.plan(rs, "approved", days=4)
    found = export.organize()
    plans = found.manifest.courses[0].plans
    assert [(p.selected, p.reason) for p in plans] == [(True, "unapproved beside an approved plan"), (True, "")]
    assert codes(found) == ["I PLAN_MULTIPLE", "I PLAN_STATUS"]


@pytest.mark.parametrize(("status", "include", "selected"), [("REJECTED", "yes", True), ("APPROVED", "no", False)])
def test_the_manifest_decides_about_a_plan(status: str, include: str, selected: bool) -> None:
    export = Export()
    plan = export.plan(export.structure_set(export.ct()), status=status)
    course = course_of(export, manifest=[user_row({"plan_uid": plan, "include": include})])
    assert (course.plans[0].selected, course.plans[0].reason) == (
        selected,
        f"{'included' if selected else 'excluded'} by manifest",
    )


@pytest.mark.parametrize("named_by", ["PAT1", "pseudonym"])
def test_the_manifest_leaves_out_a_patient_by_either_id(named_by: str) -> None:
    export = Export()
    export.course()
    patient_id = export.organize().manifest.patients[0].patient_id
    name = patient_id if named_by == "pseudonym" else named_by
    found = export.organize(manifest=[user_row({"patient_id": name, "include": "no"})])
    assert [c.status for c in found.manifest.courses] == ["excluded"]
    assert found.manifest.patients[0].status == "excluded"
    assert found.manifest.counts["use.used"] == 0
    other = export.organize(manifest=[user_row({"patient_id": "PAT9", "include": "no"})])
    assert [c.status for c in other.manifest.courses] == ["ok"]


def test_a_plan_without_a_structure_set_uses_that_of_its_dose() -> None:
    export = Export()
    rs = export.structure_set(export.ct())
    plan = export.plan()
    export.dose(plan, structure_set_uids=[rs])
    course = course_of(export)
    assert (course.plans[0].structure_set_id, course.doses[0].structure_set_id) == ("rs-01", "rs-01")
    assert course.planning_image is not None


def test_the_replan_on_a_second_ct_leaves_the_first_ct_the_planning_image() -> None:
    export = Export()
    export.course("1")
    export.course("2", days=20)
    course = course_of(export)
    assert [(i.image_id, i.role, i.prepare, i.link) for i in course.images] == [
        ("ct-01", "planning", True, "plan_structure_set"),
        ("ct-02", "secondary", True, "plan_structure_set"),
    ]


def test_a_dose_alone_takes_the_image_of_its_frame_of_reference() -> None:
    export = Export()
    ct = export.ct()
    export.dose(uid("absent"), frame=ct.frame)
    course = course_of(export)
    assert (course.course_kind, course.images[0].role, course.images[0].link) == (
        "dose_only",
        "planning",
        "frame_of_reference",
    )


def test_links_of_doses_and_records_are_ids_of_the_course() -> None:
    export = Export()
    parts = export.course()
    export.record(parts["plan"])
    course = course_of(export)
    assert course.doses[0].plan_ids == ["plan-01"]
    assert [(o.kind, o.object_id, o.plan_ids) for o in course.others] == [("rtrecord", "rec-01", ["plan-01"])]
    assert course.images[0].frame_hash == course.doses[0].frame_hash == course.structure_sets[0].frame_hash


def test_records_of_one_day_are_numbered_in_the_order_of_their_times() -> None:
    """Six records of a day: that hashes of their UIDs happen to sort like their times is one case in 720."""
    export = Export()
    plan = export.course()["plan"]
    times = {}
    for number, time in enumerate(("151500", "090000", "080000", "173000", "121000", "100000")):
        sop = export.record(plan, f"record {number}")
        export.rows[-1]["time"] = time
        times[sop] = time
    ids = {row["sop_instance_uid"]: row["object_id"] for row in export.organize().index.to_pylist()}
    found = sorted((ids[sop], time) for sop, time in times.items())
    assert [time for _, time in found] == sorted(times.values())
    assert [name for name, _ in found] == [f"rec-{n:02d}" for n in range(1, 7)]


def test_a_registration_of_frames_that_nothing_lies_in_is_listed_and_not_used() -> None:
    export = Export()
    export.course()
    export.registration([uid("a"), uid("b")])
    found = export.organize()
    assert [o.kind for o in found.manifest.courses[0].others] == ["reg"]
    assert codes(found) == ["I OBJECT_NOT_USED"]


def test_rows_of_the_users_manifest_stand_in_the_course_they_are_about() -> None:
    export = Export()
    rs = export.structure_set(export.ct())
    export.plan(rs, "a", days=3)
    plan = export.plan(rs, "b", days=5)
    rows = [
        user_row({"plan_uid": plan, "structure": "PTV", "rx_gy": "50,4", "fractions_delivered": "12"}),
        user_row({"patient_id": "PAT1", "structure": "Cord", "alpha_beta_gy": "2"}),
        user_row({"structure": "Heart", "alpha_beta_gy": "3"}),
    ]
    stated = course_of(export, manifest=rows).manifest
    assert {(r.plan_id, r.structure, r.rx_gy, r.fractions_delivered, r.alpha_beta_gy) for r in stated} == {
        ("plan-02", "PTV", 50.4, 12, None),
        (None, "Cord", None, None, 2.0),
        (None, "Heart", None, None, 3.0),
    }


def test_rows_of_the_users_manifest_that_lead_nowhere_are_named_by_their_line() -> None:
    export = Export()
    export.course()
    rows = [user_row({"patient_id": "PAT7", "rx_gy": "50"}, line=2), user_row({"plan_uid": uid("gone")}, line=5)]
    found = export.organize(manifest=rows)
    assert [(f.code, f.severity.value, f.object) for f in found.findings] == [
        ("OBJECT_NOT_USED", "W", "manifest lines 2, 5")
    ]
    assert found.manifest.courses[0].manifest == []

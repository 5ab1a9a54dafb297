"""Which objects make one course: references, dates, and what may not bridge two treatments."""

from __future__ import annotations

import pytest

from .rows import MR, PT, Export, codes, day, uid


def kinds(export: Export, **settings: object) -> list[str]:
    found = export.organize(**settings)  # type: ignore[arg-type]
    return [c.course_kind for c in sorted(found.manifest.courses, key=lambda c: c.course_order)]


@pytest.mark.parametrize(("days", "courses"), [(0, 1), (90, 1), (104, 2), (400, 2)])
def test_treatments_further_apart_than_the_gap_are_two_courses(days: int, courses: int) -> None:
    export = Export()
    export.course()
    export.study = "study 2"
    export.course(days=days)
    found = export.organize()
    assert [c.course_kind for c in found.manifest.courses] == ["planned"] * courses
    assert codes(found).count("I COURSE_REIRRADIATION") == courses - 1


def test_the_gap_is_measured_from_the_last_treatment_record() -> None:
    export = Export()
    plan = export.course()["plan"]
    export.study = "study 2"
    export.course("boost", days=104)
    assert kinds(export) == ["planned", "planned"]
    export.record(plan, days=45)
    assert kinds(export) == ["planned"]


def test_plans_years_apart_on_one_structure_set_are_one_course() -> None:
    export = Export()
    rs = export.structure_set(export.ct())
    export.plan(rs, "clinical", days=5)
    export.plan(rs, "research", days=2000)
    assert kinds(export) == ["planned"]


def test_a_plan_of_an_earlier_treatment_named_as_prior_does_not_join_it() -> None:
    export = Export()
    old = export.course()["plan"]
    export.study = "study 2"
    rs = export.structure_set(export.ct(days=500), days=501)
    export.plan(rs, days=505, referenced_plans=[{"uid": old, "relationship": "PRIOR"}])
    assert kinds(export) == ["planned", "planned"]


def test_scans_between_two_treatments_do_not_bridge_them() -> None:
    export = Export()
    export.course()
    for visit in range(1, 6):
        export.study = f"visit {visit}"
        export.ct(days=80 * visit)
    export.study = "second treatment"
    export.course(days=480)
    found = export.organize()
    treated = [c for c in found.manifest.courses if c.course_kind == "planned"]
    assert len(treated) == 2
    assert sum(len(c.images) for c in found.manifest.courses) == 7


def test_structure_sets_drawn_in_one_session_on_two_old_scans_do_not_join_them() -> None:
    export = Export()
    export.structure_set(export.ct(days=0), days=2000)
    export.study = "study 2"
    export.structure_set(export.ct(days=700), days=2001)
    assert kinds(export) == ["structures_only", "structures_only"]


def test_mr_and_pet_near_the_plan_belong_to_its_course() -> None:
    export = Export()
    export.course()
    export.study = "study 2"
    export.image("mr", sop_class=MR, days=-20)
    export.study = "study 3"
    export.image("pet", sop_class=PT, days=-95)
    (course,) = [c for c in export.organize().manifest.courses if c.course_kind == "planned"]
    assert {i.image_id: (i.role, i.prepare, i.link) for i in course.images} == {
        "ct-01": ("planning", True, "plan_structure_set"),
        "mr-01": ("secondary", False, "date"),
    }


def test_an_image_of_the_planning_study_belongs_to_it_whatever_its_date() -> None:
    export = Export()
    export.course()
    export.image("mr", sop_class=MR, days=-300, study_date=day(-300))
    (course,) = export.organize().manifest.courses
    assert {i.image_id: i.link for i in course.images}["mr-01"] == "study"


def test_objects_without_a_date_join_by_study_and_say_so() -> None:
    export = Export()
    export.course()
    export.structure_set(export.ct("undated", days=None), "undated", days=None)
    found = export.organize()
    assert len(found.manifest.courses) == 1
    assert "W LINK_WEAK" in codes(found)


def test_undated_objects_of_other_studies_stay_apart() -> None:
    export = Export()
    export.dose(uid("one"), "one", days=None)
    export.study = "study 2"
    export.dose(uid("two"), "two", days=None)
    found = export.organize()
    assert [c.course_kind for c in found.manifest.courses] == ["dose_only", "dose_only"]
    assert codes(found) == []


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        (("ct",), "images_only"),
        (("rs",), "structures_only"),
        (("plan",), "plan_only"),
        (("dose",), "dose_only"),
        (("rs", "dose"), "structures_and_dose"),
        (("plan", "dose"), "planned"),
        (("ct", "plan"), "planned"),
        (("rejected",), "plan_only"),
        (("rejected", "rs"), "structures_only"),
        (("reg",), "other"),
    ],
)
def test_the_kind_of_a_course_says_what_it_holds(parts: tuple[str, ...], kind: str) -> None:
    export = Export()
    makers = {
        "ct": export.ct,
        "rs": export.structure_set,
        "plan": export.plan,
        "dose": export.dose,
        "rejected": lambda: export.plan(status="REJECTED"),
        "reg": lambda: export.registration([uid("a"), uid("b")]),
    }
    for part in parts:
        makers[part]()
    assert kinds(export) == [kind]


def test_a_registration_joins_the_course_whose_frames_it_ties() -> None:
    export = Export()
    first = export.course()["ct"]
    export.study = "study 2"
    second = export.course(days=400)["ct"]
    export.study = "registrations"
    export.registration([first.frame, second.frame], "both", days=401)
    export.registration([first.frame, uid("elsewhere")], "first", days=401)
    by_order = {c.course_order: [o.kind for o in c.others] for c in export.organize().manifest.courses}
    assert by_order == {1: ["reg"], 2: ["reg"]}


def test_days_count_from_the_earliest_plan() -> None:
    export = Export()
    export.course(days=50)
    (course,) = export.organize().manifest.courses
    assert (course.images[0].day, course.structure_sets[0].day, course.plans[0].day) == (-7, -6, 0)


def test_days_count_from_the_image_where_no_plan_counts() -> None:
    export = Export()
    rs = export.structure_set(export.ct(days=50), days=60)
    export.plan(rs, days=70, status="REJECTED")
    (course,) = export.organize().manifest.courses
    assert (course.images[0].day, course.structure_sets[0].day, course.plans[0].day) == (0, 10, 20)

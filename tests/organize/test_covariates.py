"""Age, sex, scanner and contrast of a course."""

from __future__ import annotations

import pytest

from rtpipeline.contracts.manifests import Covariates

from .rows import Export


def of(export: Export) -> Covariates:
    (course,) = export.organize().manifest.courses
    return course.covariates


@pytest.mark.parametrize(
    ("birth", "age"),
    [("19600308", 60), ("19600309", 59), ("19600307", 60), ("19300101", 89), ("20210101", None), ("19000101", None)],
)
def test_age_is_in_whole_years_at_the_first_plan_and_capped(birth: str, age: int | None) -> None:
    """Day 0 is the plan of 2020-03-08."""
    export = Export(birth=birth)
    export.course()
    assert of(export).age_years == age


@pytest.mark.parametrize(("text", "age"), [("065Y", 65), ("018M", 1), ("099Y", 89), ("65", None), ("", None)])
def test_the_stated_age_stands_in_for_an_absent_birth_date(text: str, age: int | None) -> None:
    export = Export(birth="")
    export.course()
    for row in export.rows:
        row["age"] = text
    assert of(export).age_years == age


@pytest.mark.parametrize(("stated", "sex"), [("M", "M"), ("f ", "F"), ("O", "O"), ("Helicopter", None), ("", None)])
def test_only_three_values_of_sex_are_taken(stated: str, sex: str | None) -> None:
    export = Export()
    export.course()
    for row in export.rows:
        row["sex"] = stated
    assert of(export).sex == sex


def test_objects_that_disagree_about_the_sex_leave_it_open() -> None:
    export = Export()
    export.course()
    plan, dose = export.rows[-2:]
    plan["sex"], dose["sex"] = "M", "F"
    assert of(export).sex is None


@pytest.mark.parametrize(("agent", "contrast"), [("OMNIPAQUE", True), ("NONE", False), ("", None), (" no ", False)])
def test_an_absent_agent_proves_nothing(agent: str, contrast: bool | None) -> None:
    export = Export()
    for row in export.course()["ct"].rows:
        row["contrast_agent"] = agent
    assert of(export).contrast is contrast


def test_the_scanner_is_that_of_the_planning_image() -> None:
    export = Export()
    for row in export.course()["ct"].rows:
        row.update(manufacturer="SIEMENS ", model="Sensation Open")
    assert of(export).scanner == "SIEMENS Sensation Open"

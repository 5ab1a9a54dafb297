"""Which dose constraints are held against, and the rows of those that nothing meets."""

from __future__ import annotations

from typing import Any

import pytest

from rtpipeline.contracts.tables import CONSTRAINTS, STRUCTURE_KEYS
from rtpipeline.dvh.constraint_rows import ConstraintRows, doubts
from rtpipeline.dvh.constraints import Constraint
from rtpipeline.dvh.evaluation import Histograms
from rtpipeline.dvh.measures import parse_measure
from rtpipeline.dvh.rows import StructureInDose

KEYS = {"cohort": "c", "patient_id": "p", "course_id": "p-c01"}


def dose(
    dose_id: str, *, whole: bool = False, status: str = "ok", total: str = "ok", plan: bool = True
) -> dict[str, Any]:
    return {
        "dose_id": dose_id, "whole_course": whole, "dose_status": status, "course_total_status": total,
        "plan_ids": [dose_id] if plan else [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("doses", "expected"),
    [
        ([dose("plan-01", whole=True, total="single_plan")], {"plan-01": ""}),
        ([dose("plan-01"), dose("plan-02"), dose("total", whole=True)], {"total": ""}),
        ([dose("plan-01", whole=True), dose("plan-01-effective", whole=True), dose("dose-01", plan=False)],
         {"plan-01": "", "plan-01-effective": ""}),
        ([dose("plan-01", status="ambiguous"), dose("plan-02", status="ambiguous")],
         dict.fromkeys(("plan-01", "plan-02"), "not the dose of the whole course (ambiguous)")),
        ([dose("plan-01", total="partial")], {"plan-01": "not the dose of the whole course (partial)"}),
        ([dose("dose-01", total="none", plan=False)], {"dose-01": ""}),
        ([dose("dose-01", status="incomplete", total="none", plan=False)],
         {"dose-01": "not the dose of the whole course (incomplete)"}),
        ([dose("dose-01", total="none", plan=False), dose("dose-02", total="none", plan=False)],
         dict.fromkeys(("dose-01", "dose-02"), "not the dose of the whole course (its plan is not in the export)")),
        ([], {}),
    ],
)  # fmt: skip
def test_constraints_are_for_the_dose_of_the_whole_course(
    doses: list[dict[str, Any]], expected: dict[str, str]
) -> None:
    assert doubts(doses) == expected


def structure(name: str, tg263: str | None = None, source: str = "manual") -> dict[str, Any]:
    keys: dict[str, Any] = {c.name: f"{c.name}-{name}-{source}" for c in STRUCTURE_KEYS} | KEYS
    return keys | {"structure_name": name, "structure_name_tg263": tg263, "structure_source": source}


def rows_of(structures: list[dict[str, Any]], *names: str, linked: bool = True) -> tuple[ConstraintRows, list[Any]]:
    limits = [Constraint(n, name, parse_measure("mean"), "<", 26.0, "Gy") for n, name in enumerate(names, 1)]
    made = ConstraintRows(limits, KEYS, "k", {"plan-01": ""})
    for one in structures if linked else []:
        for dose_id in ("plan-01", "dose-01"):  # the second is not the course's
            told = {"dose_id": dose_id, "dose_basis": "plan", "dose_status": "no_volume"}
            made.add(one, StructureInDose(told, Histograms(None, 99.5)))
    return made, made.finish(structures)


def test_a_name_means_structures_of_every_source_by_either_name_and_no_cropped_part() -> None:
    drawn = [
        structure("Herz", "Heart"),
        structure("heart", "Heart", "totalsegmentator"),
        structure("Heart", None, "cropped"),
    ]
    made, findings = rows_of(drawn, "Heart")
    assert [(r["structure_name"], r["dose_id"], r["reason"]) for r in made.rows] == [
        ("Herz", "plan-01", "no volume"), ("heart", "plan-01", "no volume"),
    ]  # fmt: skip
    assert findings == []
    assert len(CONSTRAINTS.frame(made.rows)) == 2


def test_what_is_not_there_has_a_row_and_one_finding_for_all() -> None:
    made, (found,) = rows_of([structure("Herz", "Heart")], "Liver", "Heart", "heart")
    assert [(r["constraint"], r.get("structure_id"), r["reason"]) for r in made.rows if "dose_id" not in r] == [
        (1, None, "no structure of this name"), (3, None, "no structure of this name"),
    ]  # fmt: skip
    assert found.measured == "no structure is called 'Liver', 'heart'"
    assert len(CONSTRAINTS.frame(made.rows)) == 3


def test_a_structure_that_no_dose_applies_to_is_there_but_not_evaluable() -> None:
    made, findings = rows_of([structure("Heart")], "Heart", linked=False)
    assert [r["reason"] for r in made.rows] == ["no dose in the structure's frame of reference"]
    assert findings == []

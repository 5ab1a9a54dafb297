"""Faults of plans and courses: what was treated, with what, and what belongs together."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.demo.write_rtrecord import rtrecord_dataset, treatment_fractions
from tests.synthetic.consequences import (
    RX_COLUMNS,
    TURNED,
    assert_same_row,
    assert_same_rows,
    dvh,
    is_missing,
    same_numbers,
)
from tests.synthetic.edits import (
    REGISTERED,
    Points,
    carried_over,
    identity_registration,
    new_dose,
    registration,
    second_plan,
    tie,
)
from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import Consequence, E, I, W, fault, oddity, patient

TWO_PLANS = ("PLAN_MULTIPLE",)


def total(chain: Chain, course: int = 0) -> dict[str, Any]:
    """`course_total.json` of a course."""
    course_id = chain.manifest.courses[course].course_id
    found: dict[str, Any] = json.loads((chain.folder(course_id, "prepare_rt") / "course_total.json").read_text())
    return found


def each_plan_a_row(chain: Chain, clean: Chain) -> None:
    """Rows for both plans with their own dose, marked as such, and none for a total."""
    for name, row in dvh(chain).items():
        assert_same_row(row, {**dvh(clean)[name], "dose_status": "ambiguous"})
    assert dvh(chain).keys() == dvh(chain, "plan-02").keys() == dvh(clean).keys() and not dvh(chain, "total")
    assert total(chain)["status"] == "ambiguous"


def both_and_their_sum(chain: Chain, clean: Chain) -> None:
    """Rows for both plans and for their sum."""
    same_numbers(chain, clean)
    assert total(chain)["status"] == "ok"
    assert abs(dvh(chain, "total")["PTV"]["dmean_gy"] - 66.0) < 1e-4


@fault("PLAN_MULTIPLE", "concurrent", measured="2 plans on one structure set", then=both_and_their_sum)
def two_plans_that_belong_together(folder: Path) -> None:
    """Two isocentres are treated by two plans which name each other as concurrent."""
    made = patient()
    made.extra = second_plan(made)
    tie(made.extra[0], made.rtplan, "CONCURRENT")  # type: ignore[arg-type]
    made.save(folder)


def plan_left_out(chain: Chain, clean: Chain) -> None:
    """The plan is listed, its dose has no row; the other plan is as before."""
    assert [p.selected for p in chain.course.plans] == [True, False]
    assert not dvh(chain, "plan-02")
    same_numbers(chain, clean)


@fault("PLAN_STATUS", "verification", measured="intent verification", then=plan_left_out, also=("DOSE_NOT_USED",))
def a_plan_on_a_phantom(folder: Path) -> None:
    """The plan for the measurement was exported with the plan for the patient."""
    made = patient()
    made.extra = second_plan(made, label="QA", rx_gy=50.0, fractions=25)
    made.extra[0].PlanIntent = "VERIFICATION"
    made.save(folder)


@fault("PLAN_STATUS", "rejected", measured="rejected", then=plan_left_out, also=("DOSE_NOT_USED",))
def a_rejected_plan(folder: Path) -> None:
    """A plan that was rejected in the review is still there."""
    made = patient()
    made.extra = second_plan(made, label="TRY", rx_gy=50.0, fractions=25)
    made.extra[0].ApprovalStatus = "REJECTED"
    made.save(folder)


@fault("PLAN_STATUS", "unapproved", measured="unapproved", then=same_numbers)
def an_unapproved_plan(folder: Path) -> None:
    """A research plan was never approved."""
    made = patient()
    made.rtplan.ApprovalStatus = "UNAPPROVED"  # type: ignore[union-attr]
    made.save(folder)


@fault("COURSE_BOOST", "sequential", measured="targets differ", severity=I, then=each_plan_a_row, also=TWO_PLANS)
def a_boost(folder: Path) -> None:
    """50 Gy to the PTV are followed by 16 Gy to the GTV; no record says what was delivered."""
    made = patient()
    made.extra = second_plan(made, target="GTV")
    made.save(folder)


def no_sum_of_a_part(chain: Chain, clean: Chain) -> None:
    """The plan with a dose has its rows, and there is no total of half a course."""
    same_numbers(chain, clean)
    assert total(chain)["status"] == "partial" and not dvh(chain, "total")


@fault("COURSE_BOOST", "no dose", measured="no dose of plan-02", severity=W, then=no_sum_of_a_part, also=TWO_PLANS)
def a_boost_without_dose(folder: Path) -> None:
    """The dose of the boost was not exported."""
    made = patient()
    made.extra = second_plan(made, target="GTV")[:1]
    tie(made.extra[0], made.rtplan, "CONCURRENT")  # type: ignore[arg-type]
    made.save(folder)


@fault("COURSE_REPLAN", "adapted", measured="one derives from another", then=each_plan_a_row, also=TWO_PLANS)
def a_replan(folder: Path) -> None:
    """After twelve fractions the plan was adapted; added up, both would count 100 Gy."""
    made = patient()
    made.extra = second_plan(made, rx_gy=50.0, fractions=25, date="20240328")
    tie(made.extra[0], made.rtplan, "PREDECESSOR")  # type: ignore[arg-type]
    made.save(folder)


def what_was_delivered(chain: Chain, clean: Chain) -> None:
    """12 of 25 fractions of the first plan and 13 of 25 of the second, of 50 Gy each: 50 Gy, and not 100."""
    assert (total(chain)["status"], total(chain)["dose_basis"]) == ("ok", "delivered_fractions")
    assert total(chain)["weights"] == {"plan-01": 12 / 25, "plan-02": 13 / 25}
    same_numbers(chain, clean)
    assert_same_rows(
        {n: {c: r[c] for c in ("dmean_gy", "d95_gy")} for n, r in dvh(chain, "total").items()},
        {n: {c: r[c] for c in ("dmean_gy", "d95_gy")} for n, r in dvh(clean).items()},
    )


@fault("PLAN_MULTIPLE", "recorded", measured="2 plans on one structure set", then=what_was_delivered)
def a_replan_with_records(folder: Path) -> None:
    """The plan was adapted after twelve fractions, and the record of every fraction was exported."""
    made = patient()
    made.extra = second_plan(made, rx_gy=50.0, fractions=25, date="20240328")
    tie(made.extra[0], made.rtplan, "PREDECESSOR")  # type: ignore[arg-type]
    for plan, first, count in ((made.rtplan, date(2024, 3, 12), 12), (made.extra[0], date(2024, 3, 28), 13)):
        records = treatment_fractions(first, count)
        made.extra += [rtrecord_dataset(one, made.study, plan) for one in records]  # type: ignore[arg-type]
    made.save(folder)


def both_as_delivered(chain: Chain, clean: Chain) -> None:
    """Every fraction counts, the second ones of a day too: 25 of 25 and 8 of 8."""
    assert (total(chain)["status"], total(chain)["dose_basis"]) == ("ok", "phase_sum")
    assert total(chain)["weights"] == {"plan-01": 1.0, "plan-02": 1.0}
    delivered = chain.rows("prepare_rt", "fractions")
    of_boost = [(r["day"], r["fraction_number"]) for r in delivered if r["plan_id"] == "plan-02" and r["day"] >= 0]
    assert len(of_boost) == len(set(of_boost)) == 8 and len({day for day, _ in of_boost}) == 4
    assert abs(dvh(chain, "total")["PTV"]["dmean_gy"] - 66.0) < 1e-4


@fault("PLAN_MULTIPLE", "twice a day", measured="2 plans on one structure set", then=both_as_delivered)
def a_boost_twice_a_day(folder: Path) -> None:
    """The boost was given in two fractions a day, and every fraction has its record."""
    made = patient()
    made.extra = second_plan(made, target="GTV")
    boost = treatment_fractions(date(2024, 4, 15), 8, second_of_day=(2, 4, 6, 8))
    for plan, records in ((made.rtplan, treatment_fractions(date(2024, 3, 12), 25)), (made.extra[0], boost)):
        made.extra += [rtrecord_dataset(one, made.study, plan) for one in records]  # type: ignore[arg-type]
    made.save(folder)


@oddity(then=same_numbers)
def a_name_that_sounds_like_another_plan(folder: Path) -> None:
    """Plans are called what people call them; a reader that goes by words takes this one for a replan and a boost."""
    made = patient()
    assert made.rtplan is not None and made.rtdose is not None
    made.rtplan.RTPlanLabel, made.rtplan.RTPlanName = "ReviewV2 copy", "prev boost, conedown"
    made.rtplan.RTPlanDescription = made.rtdose.SeriesDescription = "adapted revision, phase 2, reduced fov"
    made.save(folder)


def courses_apart(chain: Chain, clean: Chain) -> None:
    """Two courses of one patient, each with its own dose and no sum."""
    first, second = chain.manifest.courses
    assert first.patient_id == second.patient_id and (first.course_order, second.course_order) == (1, 2)
    assert_same_rows(dvh(chain, course_id=first.course_id), dvh(clean))
    assert abs(dvh(chain, course_id=second.course_id)["PTV"]["dmean_gy"] - 30.0) < 1e-4
    assert not dvh(chain, "total", first.course_id) and not dvh(chain, "total", second.course_id)


def _later(plan_date: str, study_date: str, rx_gy: float = 30.0) -> SmallPatient:
    share = rx_gy / 50.0
    return small_patient(
        seed=2, prescription_gy=rx_gy, fractions=10, plan_date=plan_date, study_fields={"study_date": study_date},
        gradient_gy_per_mm=(0.10 * share, -0.06 * share, 0.08 * share),
    )  # fmt: skip


@fault("COURSE_REIRRADIATION", "400 days", measured="2 courses; this one is number 2", course=1, then=courses_apart)
def a_second_course(folder: Path) -> None:
    """The patient came back a year later."""
    patient().save(folder / "first")
    _later("20250415", "20250408").save(folder / "second")


def lowest_number_kept(chain: Chain, clean: Chain) -> None:
    """One course under the first number."""
    (course,) = chain.manifest.courses
    assert course.course_id.endswith("-c01") and len(course.plans) == 3


def _two_courses(folder: Path) -> tuple[SmallPatient, SmallPatient]:
    first, second = patient(), _later("20240815", "20240808")
    first.save(folder / "first")
    second.save(folder / "second")
    return first, second


@fault("COURSE_MERGED", "linked", measured="retired: ", before=_two_courses, then=lowest_number_kept,
       also=("COURSE_REPLAN", "PLAN_MULTIPLE"))  # fmt: skip
def a_plan_that_links_two_courses(folder: Path) -> None:
    """What looked like two courses is one: a plan that arrives later derives from the first on the second's CT."""
    first, second = _two_courses(folder)
    plan, dose = second_plan(second, label="LINK", rx_gy=30.0, fractions=10, date="20240816")
    tie(plan, first.rtplan, "PREDECESSOR")  # type: ignore[arg-type]
    second.ct, second.rtstruct, second.rtplan, second.rtdose, second.extra = [], None, None, None, [plan, dose]
    second.save(folder / "third")


def weakly_linked_dose(chain: Chain, clean: Chain) -> None:
    """One course; the dose's link to the structures is the frame of reference, and its row says so."""
    rows = dvh(chain, "dose-01")
    assert {row["dose_link"] for row in rows.values()} == {"frame_of_reference"}
    assert rows["SpinalCord"]["dmean_gy"] == dvh(clean)["SpinalCord"]["dmean_gy"]
    assert is_missing(rows["PTV"]["rx_gy"])


@fault("LINK_WEAK", "dose", measured="joined by study and frame of reference only", then=weakly_linked_dose,
       also=("DOSE_NO_PLAN",))  # fmt: skip
def a_dose_without_references(folder: Path) -> None:
    """A dose was recalculated two years later and names neither plan nor structure set."""
    made = patient()
    assert made.rtdose is not None
    del made.rtdose.ReferencedRTPlanSequence, made.rtdose.ReferencedStructureSetSequence
    made.rtdose.SeriesDate = made.rtdose.ContentDate = "20260302"
    made.save(folder)


def doses_times(factor: float) -> Consequence:
    """The doses stand as they are."""

    def then(chain: Chain, clean: Chain) -> None:
        for name, row in dvh(chain).items():
            assert abs(row["dmean_gy"] - factor * dvh(clean)[name]["dmean_gy"]) < 1e-4

    return then


@fault("COURSE_IMPLAUSIBLE", "prescription", measured="prescription 150 Gy",
       then=doses_times(3.0))  # fmt: skip
def prescribed_too_much(folder: Path) -> None:
    """A number was typed wrongly, or a phantom plan was exported."""
    small_patient(prescription_gy=150.0, gradient_gy_per_mm=(0.3, -0.18, 0.24)).save(folder)


@fault("COURSE_IMPLAUSIBLE", "twice", measured="D95 95.13 Gy, prescription 50.00 Gy",
       then=doses_times(2.0))  # fmt: skip
def twice_the_prescription(folder: Path) -> None:
    """The dose of two courses was exported as that of one plan."""
    made = patient()
    made.rtdose = new_dose(made, made.dose.scaled(2.0))
    made.save(folder)


@fault("COURSE_IMPLAUSIBLE", "far too low", measured="maximum 32.01 Gy",
       then=doses_times(0.5))  # fmt: skip
def half_the_prescription(folder: Path) -> None:
    """The dose of one of two beams was exported as that of the plan."""
    made = patient()
    made.rtdose = new_dose(made, made.dose.scaled(0.5))
    made.save(folder)


def dose_needs_no_image(chain: Chain, clean: Chain) -> None:
    """Numbers as before; nothing for the image."""
    assert chain.course.planning_image is None
    assert chain.record(chain.course.course_id, "prepare_images").status == "not_applicable"
    same_numbers(chain, clean)


@fault("COURSE_NO_PLANNING_IMAGE", "no images", measured="whose image is not in the export", then=dose_needs_no_image)
def exported_without_images(folder: Path) -> None:
    """Only the RT objects were exported, to save space."""
    made = patient()
    made.ct = []
    made.save(folder)


def prescription_is_null(chain: Chain, clean: Chain) -> None:
    """Doses as before and no prescription."""
    without_rx = dict.fromkeys(RX_COLUMNS)
    assert is_missing(dvh(chain)["PTV"]["rx_gy"]) and is_missing(dvh(chain)["PTV"]["prescription_source"])
    for name, row in dvh(clean).items():
        assert_same_row(dvh(chain)[name], {**row, **without_rx})


@fault("RX_UNKNOWN", "none", measured="no target prescription", then=prescription_is_null)
def no_prescription(folder: Path) -> None:
    """The prescription is kept in the record and verify system only."""
    made = patient()
    del made.rtplan.DoseReferenceSequence  # type: ignore[union-attr]
    made.save(folder)


@fault("RX_UNKNOWN", "two levels", measured="2 levels (40, 50 Gy), none names a structure", then=prescription_is_null)
def two_levels_without_structures(folder: Path) -> None:
    """An integrated boost has two levels, and the plan does not say to which structures."""
    made = patient()
    (reference,) = made.rtplan.DoseReferenceSequence  # type: ignore[union-attr]
    levels = []
    for number, dose in enumerate(("50", "40"), start=1):
        level = deepcopy(reference)
        del level.ReferencedROINumber
        level.DoseReferenceNumber, level.DoseReferenceStructureType, level.TargetPrescriptionDose = number, "SITE", dose
        levels.append(level)
    made.rtplan.DoseReferenceSequence = levels  # type: ignore[union-attr]
    made.save(folder)


def _boost_on_another_scan(folder: Path, made: SmallPatient) -> None:
    boost = _later("20240415", "20240408", rx_gy=16.0)
    tie(boost.rtplan, made.rtplan, "CONCURRENT")  # type: ignore[arg-type]
    made.save(folder / "first")
    boost.save(folder / "boost")


@fault("REG_MISSING", "two frames", measured="frames of reference differ", severity=E, then=no_sum_of_a_part)
def a_boost_on_another_scan(folder: Path) -> None:
    """The boost was planned on a new CT with a frame of reference of its own, and no registration was exported."""
    _boost_on_another_scan(folder, patient())


def one_total_for_both_sets(chain: Chain, clean: Chain) -> None:
    """The total in the structures of either scan."""
    assert total(chain)["status"] == "ok"
    rows = [row for row in chain.rows("dvh", "dvh_metrics") if row["dose_id"] == "total"]
    assert len(rows) == 8 and len({row["structure_set_id"] for row in rows}) == 2
    assert all(abs(row["dmean_gy"] - 66.0) < 1e-4 for row in rows if row["structure_name"] == "PTV")


@oddity(then=one_total_for_both_sets)
def a_boost_on_a_registered_scan(folder: Path) -> None:
    """The boost was planned on a new CT, and a registration says that its frame of reference is the first one's."""
    made = patient()
    made.extra.append(identity_registration(made, _later("20240415", "20240408").study.frame_of_reference_uid))
    _boost_on_another_scan(folder, made)


BOOST_FRAME = "frame of the boost's scan"


def _boost_in_a_turned_frame(folder: Path, *matrices: Points) -> None:
    """The boost's dose was calculated on a new scan of a frame of reference of its own, which these registrations lead
    to the first one's."""
    made = patient()
    frame = made.study.uids(BOOST_FRAME)
    plan, dose = second_plan(made)
    tie(plan, made.rtplan, "CONCURRENT")  # type: ignore[arg-type]
    made.extra = [plan, carried_over(dose, np.linalg.inv(REGISTERED), frame)]
    made.extra += [registration(made, frame, m, name=str(n)) for n, m in enumerate(matrices)]
    made.save(folder)


def sum_through_the_registration(chain: Chain, clean: Chain) -> None:
    """Each plan's dose in the structures, and their sum, as if all had been calculated in one frame of reference."""
    assert total(chain)["status"] == "ok"
    for dose_id, factor, registered in (("plan-01", 1.0, False), ("plan-02", 16 / 50, True), ("total", 66 / 50, True)):
        rows = dvh(chain, dose_id)
        assert rows.keys() == dvh(clean).keys()
        assert {is_missing(row["dose_registrations"]) for row in rows.values()} == {not registered}
        for name in rows:
            for column in ("dmean_gy", "dmin_gy", "dmax_gy", "d95_gy", "d0_03cc_gy"):
                assert abs(rows[name][column] - factor * dvh(clean)[name][column]) <= TURNED * 66.0
    assert {row["dose_link"] for row in dvh(chain, "plan-02").values()} == {"registration"}
    assert {row["dose_registrations"] for row in dvh(chain, "total").values()} == {"reg-01"}


@fault("REG_APPLIED", "boost", measured="reg-01: corners moved by", then=sum_through_the_registration,
       also=("PLAN_MULTIPLE",))  # fmt: skip
def a_boost_on_a_scan_that_was_registered(folder: Path) -> None:
    """The boost was planned on a new CT, which was registered to the first by a turn and a shift."""
    _boost_in_a_turned_frame(folder, REGISTERED)


def boost_out_of_reach(chain: Chain, clean: Chain) -> None:
    """The first plan as before; of the second nothing, since nobody knows where its dose lies."""
    no_sum_of_a_part(chain, clean)
    assert not dvh(chain, "plan-02")


@fault("REG_DISAGREES", "corrected", measured="reg-01 and reg-02 differ by up to 4.00 mm", then=boost_out_of_reach,
       also=("DOSE_FOR_MISMATCH", "PLAN_MULTIPLE"))  # fmt: skip
def a_registration_and_its_correction(folder: Path) -> None:
    """A registration was corrected by 4 mm, and the first version was exported with it."""
    corrected = REGISTERED.copy()
    corrected[2, 3] += 4.0
    _boost_in_a_turned_frame(folder, REGISTERED, corrected)


@fault("REG_INVALID", "affine", measured="matrix type AFFINE", then=same_numbers)
def a_registration_that_scales(folder: Path) -> None:
    """A registration between scans was exported that is not rigid."""
    made = patient()
    made.extra.append(identity_registration(made, made.study.uids("another frame"), matrix_type="AFFINE"))
    made.save(folder)


@fault("PLAN_INCOMPLETE", "no fractions", measured="no fraction group", then=same_numbers)
def a_plan_without_fractions(folder: Path) -> None:
    """A plan was exported before it was scheduled."""
    made = patient()
    del made.rtplan.FractionGroupSequence  # type: ignore[union-attr]
    made.save(folder)


@fault("OBJECT_NOT_USED", "registration", measured="registration of frames", then=same_numbers)
def a_registration_of_other_scans(folder: Path) -> None:
    """A registration was exported whose scans were not."""
    made = patient()
    registration = identity_registration(made, made.study.uids("a third frame"))
    registration.FrameOfReferenceUID = made.study.uids("another frame")
    registration.RegistrationSequence[0].FrameOfReferenceUID = registration.FrameOfReferenceUID
    made.extra.append(registration)
    made.save(folder)

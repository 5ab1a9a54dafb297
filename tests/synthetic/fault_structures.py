"""Faults of structure sets: references, numbers, names, and what a name does not bear out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rtpipeline.demo.small import small_patient
from rtpipeline.demo.solids import Cylinder
from rtpipeline.demo.write_rtstruct import rtstruct_dataset, set_contour_data
from rtpipeline.geometry.rigid import carried
from tests.synthetic.consequences import (
    assert_same_row,
    assert_same_rows,
    dvh,
    is_missing,
    no_dose,
    numbers_of_others,
    same_numbers,
    same_when_turned,
    structures,
)
from tests.synthetic.edits import (
    REGISTERED,
    add_roi,
    identity_registration,
    redraw,
    registration,
    roi_contour,
    shifted,
    structure_item,
)
from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import E, W, fault, oddity, patient


def bound_by_frame(chain: Chain, clean: Chain) -> None:
    """The weaker link is named in its row; the numbers are as before."""
    (found,) = chain.course.structure_sets
    assert (found.image_id, found.image_link) == ("ct-01", "frame_of_reference")
    same_numbers(chain, clean)


def _point_elsewhere(made: object, *, frame: str | None = None) -> None:
    rtstruct = made.rtstruct  # type: ignore[attr-defined]
    series = rtstruct.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    series.SeriesInstanceUID = made.study.uids("a resampled series")  # type: ignore[attr-defined]
    for number, item in enumerate(series.ContourImageSequence):
        item.ReferencedSOPInstanceUID = made.study.uids("a resampled series", number)  # type: ignore[attr-defined]
    for item in rtstruct.ROIContourSequence:
        for contour in item.ContourSequence:
            del contour.ContourImageSequence
    if frame is not None:
        rtstruct.FrameOfReferenceUID = frame
        rtstruct.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = frame
        for item in rtstruct.StructureSetROISequence:
            item.ReferencedFrameOfReferenceUID = frame


@fault("SS_REFERENCES_OTHER_SERIES", "same frame", measured="contours lie on the slices", severity=W,
       then=bound_by_frame)  # fmt: skip
def drawn_on_a_copy(folder: Path) -> None:
    """The contours were drawn on a copy of the CT that was not exported; the original is there."""
    made = patient()
    _point_elsewhere(made)
    made.save(folder)


def unbound(chain: Chain, clean: Chain) -> None:
    """The set is bound to no image; its dose in another frame is not taken."""
    (found,) = chain.course.structure_sets
    assert (found.image_id, found.image_link) == (None, "none")
    no_dose(chain, clean)


@fault("SS_REFERENCES_OTHER_SERIES", "absent", measured="none in the export", severity=E, then=unbound,
       also=("COURSE_NO_PLANNING_IMAGE", "DOSE_FOR_MISMATCH"))  # fmt: skip
def drawn_on_an_absent_mr(folder: Path) -> None:
    """The contours were drawn on an MR that was not exported."""
    made = patient()
    _point_elsewhere(made, frame=made.study.uids("frame of an MR"))
    made.save(folder)


@fault("SS_FOR_MISMATCH", "unlinked", measured="4 of 4 structures in another frame", severity=E, then=no_dose,
       also=("DOSE_FOR_MISMATCH",))  # fmt: skip
def contours_in_another_frame(folder: Path) -> None:
    """The structures name the frame of reference of another scan, although they reference this one."""
    made = patient()
    for item in made.rtstruct.StructureSetROISequence:  # type: ignore[union-attr]
        item.ReferencedFrameOfReferenceUID = made.study.uids("another frame")
    made.save(folder)


@fault(
    "SS_FOR_MISMATCH",
    "registered",
    measured="a registration says that both are the same",
    severity=W,
    then=same_numbers,
)
def contours_in_a_registered_frame(folder: Path) -> None:
    """The scans were taken in one session on one couch, and a registration says that their frames are the same."""
    made = patient()
    other = made.study.uids("another frame")
    for item in made.rtstruct.StructureSetROISequence:  # type: ignore[union-attr]
        item.ReferencedFrameOfReferenceUID = other
    made.extra.append(identity_registration(made, other))
    made.save(folder)


@fault("SS_FOR_MISMATCH", "other registration", measured="4 of 4 structures in another frame", severity=E, then=no_dose,
       also=("DOSE_FOR_MISMATCH",))  # fmt: skip
def contours_in_a_frame_that_no_registration_names(folder: Path) -> None:
    """There is a registration, but of two other scans."""
    made = patient()
    for item in made.rtstruct.StructureSetROISequence:  # type: ignore[union-attr]
        item.ReferencedFrameOfReferenceUID = made.study.uids("another frame")
    made.extra.append(identity_registration(made, made.study.uids("a third frame")))
    made.save(folder)


def dose_led_to_the_structures(chain: Chain, clean: Chain) -> None:
    """The dose as in the dose's own frame; the image says nothing about structures of another one."""
    same_when_turned(chain, clean)
    for row in dvh(chain).values():
        assert (row["dose_link"], row["dose_registrations"]) == ("registration", "reg-01")
    assert all(is_missing(row["outside_image_pct"]) for row in structures(chain).values())


@fault("SS_FOR_MISMATCH", "moved", measured="a registration leads from one to the other", severity=W,
       then=dose_led_to_the_structures, also=("REG_APPLIED",))  # fmt: skip
def contours_in_a_frame_that_was_moved(folder: Path) -> None:
    """The structures were drawn on another scan, which was registered to the planning CT by a turn and a shift."""
    made = patient()
    other = made.study.uids("another frame")
    back = np.linalg.inv(REGISTERED)
    for item in made.rtstruct.StructureSetROISequence:  # type: ignore[union-attr]
        item.ReferencedFrameOfReferenceUID = other
    for item in made.rtstruct.ROIContourSequence:  # type: ignore[union-attr]
        for contour in item.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            set_contour_data(contour, carried(back, points))
    made.extra.append(registration(made, other, REGISTERED))
    made.save(folder)


@fault("SS_ORDER", "permuted", measured="another order", then=same_numbers)
def contours_in_another_order(folder: Path) -> None:
    """A system writes contours in the order of drawing, and structures by number."""
    made = patient()
    made.rtstruct.ROIContourSequence = [made.rtstruct.ROIContourSequence[k] for k in (2, 0, 3, 1)]  # type: ignore[union-attr]
    made.save(folder)


def both_without_volume(chain: Chain, clean: Chain) -> None:
    """Two rows with different ids, none with a number."""
    rows = [r for r in chain.rows("structures", "structures") if r["roi_number"] == 3]
    assert len(rows) == len({r["structure_id"] for r in rows}) == 2
    assert all(r["status"] == "number_reused" and is_missing(r["volume_cc"]) for r in rows)
    assert is_missing(dvh(chain)["PTV"]["dmean_gy"]) and is_missing(dvh(chain)["SpinalCord"]["dmean_gy"])
    assert_same_rows(dvh(chain), dvh(clean), ["BODY", "GTV"])


@fault("SS_NUMBER_REUSE", "pair", measured="'PTV', 'SpinalCord'", then=both_without_volume)
def one_number_for_two(folder: Path) -> None:
    """A script that merges structure sets gave one number twice."""
    made = patient()
    item, contours = structure_item(made, "SpinalCord"), roi_contour(made, "SpinalCord")
    item.ROINumber = contours.ReferencedROINumber = 3
    made.save(folder)


def three_hearts(chain: Chain, clean: Chain) -> None:
    """Three rows under three ids, each with the volume that was drawn under its number."""
    rows = [r for r in chain.rows("structures", "structures") if str(r["structure_name"]).strip().lower() == "heart"]
    assert [r["roi_number"] for r in rows] == [5, 6, 7] and len({r["structure_id"] for r in rows}) == 3
    assert rows[0]["volume_cc"] < rows[1]["volume_cc"] < rows[2]["volume_cc"]
    assert_same_rows(dvh(chain), dvh(clean), dvh(clean))


@fault("SS_NAME_COLLISION", "hearts", measured="5 'Heart', 6 'heart', 7 'HEART'", then=three_hearts)
def three_names_for_the_heart(folder: Path) -> None:
    """Three people drew the heart, and wrote its name in three ways."""
    made = patient()
    for number, name in enumerate(("Heart", "heart ", "HEART")):
        add_roi(made, name, Cylinder((5.0, -25.0, 40.0), (8.0 + number, 8.0), 10.0))
    made.save(folder)


def approved_is_primary(chain: Chain, clean: Chain) -> None:
    """The set that the plan names is primary, the other one has rows under its own id."""
    assert [(s.role, s.referenced_by_plan) for s in chain.course.structure_sets].count(("primary", True)) == 1
    first = next(s.structure_set_id for s in chain.course.structure_sets if s.role == "primary")
    rows = chain.rows("dvh", "dvh_metrics")
    assert len(rows) == 8 and len({r["structure_id"] for r in rows}) == 8
    for row in rows:
        if row["structure_set_id"] == first:
            assert_same_row(row, dvh(clean)[row["structure_name"]])


@fault("SS_MULTIPLE", "draft", measured="2 structure sets; primary", then=approved_is_primary)
def a_draft_beside_the_final_set(folder: Path) -> None:
    """A resident's draft was exported with the approved set."""
    made = patient()
    made.extra.append(rtstruct_dataset(made.rois, made.study, made.ct, label="Draft", approval="UNAPPROVED"))
    made.save(folder)


def all_as_before(chain: Chain, clean: Chain) -> None:
    """The structures of the clean patient have their numbers; further ones may be there."""
    assert_same_rows(dvh(chain), dvh(clean), dvh(clean))


@fault("SS_PLAUSIBILITY", "sides", measured="centre 50.0 mm to the right of that of 'Kidney_R'", then=all_as_before)
def sides_swapped(folder: Path) -> None:
    """Left and right were swapped when the structures were named."""
    made = patient()
    for name, x in (("Kidney_L", -20.0), ("Kidney_R", 30.0)):
        add_roi(made, name, Cylinder((x, 5.0, 40.0), (6.0, 6.0), 10.0))
    made.save(folder)


@fault("SS_PLAUSIBILITY", "volume", measured="cc", then=numbers_of_others("SpinalCord"))
def a_cord_as_large_as_the_body(folder: Path) -> None:
    """A brush of the wrong size, or the contours of the body under the name of the cord."""
    made = patient()
    body = made.roi("BODY")
    redraw(made, "SpinalCord", body.contours).save(folder)


@fault("SS_PLAUSIBILITY", "target", measured="outside", then=numbers_of_others("GTV"))
def a_gtv_outside_the_ptv(folder: Path) -> None:
    """The GTV of the other lesion was left in the set."""
    made = patient()
    redraw(made, "GTV", shifted(made.roi("GTV").contours, 38.0, 0.0, 0.0)).save(folder)


@oddity(then=all_as_before)
def sides_as_named(folder: Path) -> None:
    """Left is where x grows, in every position of the patient."""
    made = small_patient(position="FFP")
    for name, x in (("Kidney_R", -20.0), ("Kidney_L", 30.0)):
        add_roi(made, name, Cylinder((x, 5.0, 40.0), (6.0, 6.0), 10.0))
    made.save(folder)

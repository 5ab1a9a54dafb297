"""Treatment records: fractions as delivered, by content and SOP class."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from rtpipeline.dicom.rtrecord import Delivered, Fractions, delivered_fractions, parse_rtrecord

BEAMS_RECORD = "1.2.840.10008.5.1.4.1.1.481.4"


def beam(
    number: int, fraction: int | None, mu: float | None = 100.0, status: str = "NORMAL", **extra: object
) -> Dataset:
    item = Dataset()
    item.ReferencedBeamNumber, item.CurrentFractionNumber = number, fraction
    item.TreatmentTerminationStatus, item.TreatmentDeliveryType = status, "TREATMENT"
    if mu is not None:
        item.DeliveredPrimaryMeterset = mu
    for keyword, value in extra.items():
        setattr(item, keyword, value)
    return item


def record(*beams: Dataset, sequence: str = "TreatmentSessionBeamSequence") -> Dataset:
    ds, plan = Dataset(), Dataset()
    ds.SOPClassUID = BEAMS_RECORD
    plan.ReferencedSOPInstanceUID = "1.2.3"
    ds.ReferencedRTPlanSequence = [plan]
    ds.TreatmentDate, ds.TreatmentTime = "20240318", "0915"
    ds.ReferencedFractionGroupNumber = 1
    setattr(ds, sequence, list(beams))
    return ds


def test_beams_of_a_session_are_one_fraction():
    (found,) = parse_rtrecord(record(beam(1, 7, 120.5), beam(2, 7, 80.0)), "rec-01")
    assert (found.record_id, found.plan_uid, found.fraction_group, found.fraction_number) == ("rec-01", "1.2.3", 1, 7)
    assert (found.items, found.other_items, found.status) == ((1, 2), (), "NORMAL")
    assert found.delivered_mu == 200.5
    assert found.date == "20240318"


def test_two_fractions_of_one_day_stay_apart():
    found = parse_rtrecord(record(beam(1, 8), beam(1, 9)))
    assert [f.fraction_number for f in found] == [8, 9]


def test_an_interrupted_beam_is_not_a_completed_fraction():
    (found,) = parse_rtrecord(record(beam(1, 7), beam(2, 7, 40.0, "MACHINE")))
    assert (found.items, found.other_items, found.status) == ((1,), (2,), "MACHINE")


def test_a_beam_without_status_is_not_taken_for_complete():
    (found,) = parse_rtrecord(record(beam(1, 7, status="")))
    assert found.status == "UNKNOWN"


def test_setup_fields_are_no_delivery():
    found = parse_rtrecord(record(beam(1, 7), beam(9, 7, TreatmentDeliveryType="SETUP")))
    assert [f.items for f in found] == [(1,)]


def test_a_missing_meterset_makes_the_sum_unknown():
    (found,) = parse_rtrecord(record(beam(1, 7), beam(2, 7, None)))
    assert found.delivered_mu is None


def test_the_meterset_may_stand_in_the_last_control_point():
    first, last = Dataset(), Dataset()
    first.DeliveredMeterset, last.DeliveredMeterset = 0, 55.5
    (found,) = parse_rtrecord(record(beam(1, 7, None, ControlPointDeliverySequence=[first, last])))
    assert found.delivered_mu == 55.5


def dose_to(reference: int, dose_gy: float) -> Dataset:
    item = Dataset()
    item.ReferencedDoseReferenceNumber, item.CalculatedDoseReferenceDoseValue = reference, dose_gy
    return item


def test_dose_is_added_over_beams_for_the_one_reference_that_all_name():
    beams = [beam(n, 7, ReferencedCalculatedDoseReferenceSequence=[dose_to(1, d)]) for n, d in ((1, 1.2), (2, 0.8))]
    assert parse_rtrecord(record(*beams))[0].delivered_dose_gy == 2.0
    beams[1].ReferencedCalculatedDoseReferenceSequence = [dose_to(2, 0.8)]
    assert parse_rtrecord(record(*beams))[0].delivered_dose_gy is None


def test_ion_and_brachy_sessions_are_read_from_their_own_sequences():
    (ion,) = parse_rtrecord(record(beam(3, 2), sequence="TreatmentSessionIonBeamSequence"))
    assert ion.items == (3,)
    setup = Dataset()
    setup.ReferencedBrachyApplicationSetupNumber, setup.CurrentFractionNumber = 4, 1
    setup.TreatmentTerminationStatus = "NORMAL"
    (brachy,) = parse_rtrecord(record(setup, sequence="TreatmentSessionApplicationSetupSequence"))
    assert (brachy.items, brachy.fraction_number, brachy.delivered_mu) == ((4,), 1, None)


def test_a_summary_lists_every_fraction():
    ds = record()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.7"
    group = Dataset()
    group.ReferencedFractionGroupNumber = 1
    group.FractionStatusSummarySequence = []
    for number, status in ((1, "NORMAL"), (2, "OPERATOR")):
        fraction = Dataset()
        fraction.ReferencedFractionNumber, fraction.TreatmentTerminationStatus = number, status
        fraction.TreatmentDate, fraction.TreatmentTime = f"2024031{number}", "1200"
        group.FractionStatusSummarySequence.append(fraction)
    ds.FractionGroupSummarySequence = [group]
    found = parse_rtrecord(ds, "rec-02")
    assert [(f.fraction_number, f.status, f.date) for f in found] == [
        (1, "NORMAL", "20240311"),
        (2, "OPERATOR", "20240312"),
    ]


def test_an_object_without_sessions_names_no_fraction():
    assert parse_rtrecord(Dataset()) == []


# ---- fractions of a plan, by all of its records --------------------------------------------------------------------


def sessions(*made: Dataset) -> list[Delivered]:
    return [one for n, ds in enumerate(made, start=1) for one in parse_rtrecord(ds, f"rec-{n:02d}")]


def at(ds: Dataset, date: str, time: str) -> Dataset:
    ds.TreatmentDate, ds.TreatmentTime = date, time
    return ds


BOTH = frozenset({1, 2})


def test_a_record_per_fraction_and_a_record_per_beam_count_the_same():
    by_fraction = sessions(record(beam(1, 1), beam(2, 1)), record(beam(1, 2), beam(2, 2)))
    by_beam = sessions(*(record(beam(b, n)) for n in (1, 2) for b in (1, 2)))
    assert delivered_fractions(by_fraction, BOTH) == delivered_fractions(by_beam, BOTH)
    assert delivered_fractions(by_beam, BOTH) == Fractions(frozenset({1, 2}))


def test_two_fractions_of_a_day_are_two():
    day = [at(record(beam(1, n), beam(2, n)), "20240318", time) for n, time in ((1, "0900"), (2, "1500"))]
    assert delivered_fractions(sessions(*day), BOTH).numbers == {1, 2}


def test_a_record_exported_twice_is_one_fraction():
    twice = [record(beam(1, 1), beam(2, 1)) for _ in range(2)]
    assert delivered_fractions(sessions(*twice), BOTH) == Fractions(frozenset({1}))


DOUBTS = {
    "a beam without record": ([record(beam(1, 1), beam(2, 1)), record(beam(1, 2))], "fraction 2: not all beams"),
    "interrupted": ([record(beam(1, 1), beam(2, 1, 40.0, "MACHINE"))], "fraction 1: machine"),
    "interrupted, then resumed": (
        [record(beam(1, 1), beam(2, 1, 40.0, "OPERATOR")), record(beam(2, 1, 60.0))],
        "fraction 1: operator",
    ),
    "no number": ([record(beam(1, None), beam(2, None))], "rec-01 has no fraction number"),
    "one number on two days": (
        [at(record(beam(1, 1), beam(2, 1)), d, "0900") for d in ("20240318", "20240319")],
        "fraction 1 delivered more than once",
    ),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_records_that_do_not_show_whole_fractions_count_none(case):
    made, words = DOUBTS[case]
    found = delivered_fractions(sessions(*made), BOTH)
    assert found.numbers == frozenset()
    assert words in found.doubtful


def test_the_word_of_a_summary_is_taken_as_it_names_no_beams():
    summary = replace(sessions(record(beam(1, 3)))[0], items=(), other_items=())
    assert delivered_fractions([summary], BOTH).numbers == {3}

"""Treatment records: what PS3.3 asks of the object, and the order of the fractions."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from rtpipeline.demo.headers import save
from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.demo.write_rtplan import TWO_ARCS
from rtpipeline.demo.write_rtrecord import AFTERNOON, MORNING, Fraction, rtrecord_dataset, treatment_fractions
from rtpipeline.dicom.rtrecord import parse_rtrecord

from .conftest import Cohort

PLANNED_ON = date(2024, 3, 19)
"""A Tuesday."""

TYPE_1 = {
    "": "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality InstanceNumber "
    "TreatmentMachineSequence PrimaryDosimeterUnit TreatmentSessionBeamSequence",
    "TreatmentSessionBeamSequence": "ReferencedBeamNumber BeamType RadiationType BeamLimitingDeviceLeafPairsSequence "
    "TreatmentTerminationStatus ControlPointDeliverySequence",
    "ControlPointDeliverySequence": "ReferencedControlPointIndex TreatmentControlPointDate TreatmentControlPointTime "
    "DeliveredMeterset",
    "BeamLimitingDeviceLeafPairsSequence": "RTBeamLimitingDeviceType NumberOfLeafJawPairs",
    "BeamLimitingDevicePositionSequence": "RTBeamLimitingDeviceType LeafJawPositions",
    "ReferencedRTPlanSequence": "ReferencedSOPClassUID ReferencedSOPInstanceUID",
}
TYPE_2 = {
    "": "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID "
    "AccessionNumber Manufacturer SeriesNumber OperatorsName TreatmentDate TreatmentTime ReferencedRTPlanSequence "
    "NumberOfFractionsPlanned",
    "TreatmentMachineSequence": "TreatmentMachineName Manufacturer InstitutionName ManufacturerModelName "
    "DeviceSerialNumber",
    "TreatmentSessionBeamSequence": "NumberOfWedges NumberOfCompensators NumberOfBoli NumberOfBlocks "
    "CurrentFractionNumber TreatmentDeliveryType TreatmentVerificationStatus",
    "ControlPointDeliverySequence": "SpecifiedMeterset DoseRateSet DoseRateDelivered",
}
"""By sequence ('' for the object), the attributes of types 1 and 2 (PS3.3 A.29, C.8.8.17, C.8.8.18, C.8.8.21)."""

FIRST_POINT = (
    "GantryAngle GantryRotationDirection BeamLimitingDeviceAngle BeamLimitingDeviceRotationDirection "
    "PatientSupportAngle PatientSupportRotationDirection BeamLimitingDevicePositionSequence NominalBeamEnergyUnit"
)
"""Of types 1C: in the first control point of every beam."""


@pytest.fixture(scope="module")
def patient() -> SmallPatient:
    return small_patient(beams=TWO_ARCS)


@pytest.fixture(scope="module")
def read_back(patient: SmallPatient, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    assert patient.rtplan is not None
    path = tmp_path_factory.mktemp("record") / "record"
    save(rtrecord_dataset(Fraction(7, date(2024, 4, 2)), patient.study, patient.rtplan), path)
    return pydicom.dcmread(path)


def scopes(ds: Dataset, sequence: str) -> list[Dataset]:
    """All items of a sequence anywhere in the object."""
    if not sequence:
        return [ds]
    return [item for element in ds.iterall() if element.keyword == sequence for item in element.value]


def test_required_attributes_are_there_and_those_of_type_1_have_values(read_back: Dataset) -> None:
    assert read_back.SOPClassUID == "1.2.840.10008.5.1.4.1.1.481.4" and read_back.Modality == "RTRECORD"
    for sequence, keywords in TYPE_1.items():
        for item in scopes(read_back, sequence):
            assert not [k for k in keywords.split() if k not in item or item[k].is_empty], sequence
    for sequence, keywords in TYPE_2.items():
        assert scopes(read_back, sequence), sequence
        for item in scopes(read_back, sequence):
            assert not [k for k in keywords.split() if k not in item], sequence
    for beam in read_back.TreatmentSessionBeamSequence:
        first = beam.ControlPointDeliverySequence[0]
        assert not [k for k in FIRST_POINT.split() if k not in first or first[k].is_empty]


def test_a_record_says_of_the_plan_what_the_plan_says(patient: SmallPatient, read_back: Dataset) -> None:
    plan = patient.rtplan
    assert plan is not None
    assert read_back.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    assert (read_back.ReferencedFractionGroupNumber, read_back.NumberOfFractionsPlanned) == (1, 25)
    assert read_back.TreatmentMachineSequence[0].TreatmentMachineName == "DEMO_LINAC"
    for delivered, planned in zip(read_back.TreatmentSessionBeamSequence, plan.BeamSequence, strict=True):
        assert delivered.ReferencedBeamNumber == planned.BeamNumber
        angles = [float(point.GantryAngle) for point in delivered.ControlPointDeliverySequence]
        assert angles == [float(point.GantryAngle) for point in planned.ControlPointSequence]
        last = delivered.ControlPointDeliverySequence[-1]
        assert float(last.DeliveredMeterset) == float(delivered.DeliveredPrimaryMeterset)
        assert float(last.SpecifiedMeterset) == float(delivered.SpecifiedPrimaryMeterset) == 220.0


def test_it_is_read_back_as_what_was_delivered(read_back: Dataset) -> None:
    (found,) = parse_rtrecord(read_back, "rec-01")
    assert (found.fraction_group, found.fraction_number, found.date, found.time) == (1, 7, "20240402", "090000")
    assert (found.items, found.other_items, found.status) == ((1, 2), (), "NORMAL")
    # two beams of 220 MU, of which fraction 7 gave 0.1 MU less each
    assert found.delivered_mu == pytest.approx(439.8)


def test_fractions_fall_on_working_days_one_a_day() -> None:
    found = treatment_fractions(PLANNED_ON, 25)
    assert [f.number for f in found] == list(range(1, 26))
    assert len({f.day for f in found}) == 25 and {f.hour for f in found} == {MORNING}
    assert {f.day.isoweekday() for f in found} == {1, 2, 3, 4, 5}
    # Wednesday 20 March; 25 working days are five weeks, so the last is the Tuesday before five weeks later
    assert (found[0].day, found[-1].day) == (date(2024, 3, 20), date(2024, 4, 23))
    assert treatment_fractions(PLANNED_ON, 0) == []


def test_a_second_fraction_of_a_day_keeps_its_own_number_and_hour() -> None:
    found = treatment_fractions(PLANNED_ON, 6, second_of_day=(4,))
    assert [(f.number, f.hour) for f in found if f.day == found[3].day] == [(3, MORNING), (4, AFTERNOON)]
    assert found[5].day == treatment_fractions(PLANNED_ON, 5)[4].day


def test_same_input_same_bytes_and_every_fraction_its_own_object(patient: SmallPatient, tmp_path: Path) -> None:
    assert patient.rtplan is not None
    for name in ("one", "other"):
        for fraction in treatment_fractions(PLANNED_ON, 3, (2,)):
            save(rtrecord_dataset(fraction, patient.study, patient.rtplan), tmp_path / name / str(fraction.number))
    for number in ("1", "2", "3"):
        assert (tmp_path / "one" / number).read_bytes() == (tmp_path / "other" / number).read_bytes()
    read = [pydicom.dcmread(path) for path in (tmp_path / "one").iterdir()]
    assert len({ds.SOPInstanceUID for ds in read}) == 3 and len({ds.SeriesInstanceUID for ds in read}) == 1


def test_the_cohort_holds_a_record_of_every_fraction_of_both_phases(cohort: Cohort) -> None:
    truth = cohort.truth["patients"]["DEMO-003"]
    plans = {ds.SOPInstanceUID: ds.RTPlanLabel for ds in cohort.datasets("DEMO-003", "RTPLAN")}
    records = cohort.datasets("DEMO-003", "RTRECORD")
    found: dict[str, list[int]] = {label: [] for label in truth["plans"]}
    for ds in sorted(records, key=lambda ds: (ds.TreatmentDate, ds.TreatmentTime)):
        numbers = {item.CurrentFractionNumber for item in ds.TreatmentSessionBeamSequence}
        found[plans[ds.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID]] += numbers
        assert {ds.TreatmentDate, ds.SOPInstanceUID} <= set(truth["identifiers"])
    assert found == {"Phase 1": list(range(1, 26)), "Phase 2": list(range(1, 9))}
    days = [ds.TreatmentDate for ds in records]
    assert len(days) - len(set(days)) == 1
    for label, plan in truth["plans"].items():
        assert [d["fraction"] for d in plan["delivered"]] == found[label]
    assert {k: t["total_proved"] for k, t in cohort.truth["patients"].items()} == {
        f"DEMO-00{n}": n == 3 for n in range(1, 7)
    }


def test_the_second_phase_begins_after_the_first_has_ended(cohort: Cohort) -> None:
    first, second = cohort.truth["patients"]["DEMO-003"]["plans"].values()
    assert first["day"] < first["delivered"][0]["day"]
    assert first["delivered"][-1]["day"] < second["day"] < second["delivered"][0]["day"]

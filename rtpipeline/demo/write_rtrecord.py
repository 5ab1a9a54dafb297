"""RT Beams Treatment Record Storage (PS3.3 A.29): one object for each delivered fraction of a plan."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from pydicom.dataset import Dataset
from pydicom.uid import RTBeamsTreatmentRecordStorage

from rtpipeline.demo.headers import Study, decimal_text, new_object, reference_to

SATURDAY = 5
MORNING, AFTERNOON = 9, 15
"""Hours of treatment; two fractions of one day are six hours apart."""

METERSET_SCATTER_MU = (0.1, -0.1, 0.0)
"""Delivered beyond specified, in turn: a reader that takes one for the other gets another number."""


@dataclass(frozen=True)
class Fraction:
    """A fraction as delivered: its number within the fraction group, from 1, and the hour and day it began."""

    number: int
    day: date
    hour: int = MORNING

    @property
    def excess_mu(self) -> float:
        """Delivered minus specified meterset of each beam."""
        return METERSET_SCATTER_MU[self.number % len(METERSET_SCATTER_MU)]


def treatment_fractions(planned_on: date, fractions: int, second_of_day: Collection[int] = ()) -> list[Fraction]:
    """Fractions on the working days after `planned_on`, one a day.

    Parameters
    ----------
    second_of_day: numbers of fractions given in the afternoon of the day of the fraction before.
    """
    found: list[Fraction] = []
    day = planned_on
    for number in range(1, fractions + 1):
        if found and number in second_of_day:
            found.append(Fraction(number, day, AFTERNOON))
            continue
        day += timedelta(days=1)
        while day.weekday() >= SATURDAY:
            day += timedelta(days=1)
        found.append(Fraction(number, day))
    return found


def rtrecord_dataset(fraction: Fraction, study: Study, plan: Dataset, *, series_number: int = 5) -> Dataset:
    """The record of one fraction in which every beam of the plan's first fraction group was delivered to its end."""
    day, hour = f"{fraction.day:%Y%m%d}", f"{fraction.hour:02d}0000"
    group = plan.FractionGroupSequence[0]
    ds = new_object(
        study,
        sop_class_uid=RTBeamsTreatmentRecordStorage,
        sop_instance_uid=study.uids("record", plan.SOPInstanceUID, fraction.number),
        modality="RTRECORD",
        date=day,
        time=hour,
    )
    ds.SeriesInstanceUID, ds.SeriesNumber = study.uids("record series", plan.SOPInstanceUID), series_number
    ds.OperatorsName, ds.InstanceNumber = "", fraction.number
    ds.TreatmentDate, ds.TreatmentTime = day, hour
    ds.ReferencedRTPlanSequence = [reference_to(plan)]
    ds.TreatmentMachineSequence = [_machine(ds, plan)]
    ds.ReferencedFractionGroupNumber = group.FractionGroupNumber
    ds.NumberOfFractionsPlanned = group.NumberOfFractionsPlanned
    ds.PrimaryDosimeterUnit = "MU"
    metersets = {item.ReferencedBeamNumber: float(item.BeamMeterset) for item in group.ReferencedBeamSequence}
    ds.TreatmentSessionBeamSequence = [
        _session_beam(beam, metersets[beam.BeamNumber], fraction, minute)
        for minute, beam in enumerate(plan.BeamSequence, start=1)
    ]
    return ds


def _machine(ds: Dataset, plan: Dataset) -> Dataset:
    item = Dataset()
    item.Manufacturer, item.ManufacturerModelName = ds.Manufacturer, ds.ManufacturerModelName
    item.InstitutionName, item.DeviceSerialNumber = ds.InstitutionName, ds.DeviceSerialNumber
    item.TreatmentMachineName = plan.BeamSequence[0].TreatmentMachineName
    return item


def _session_beam(beam: Dataset, specified_mu: float, fraction: Fraction, minute: int) -> Dataset:
    """One beam as delivered (PS3.3 C.8.8.21), with the settings that the plan asks for."""
    delivered_mu = specified_mu + fraction.excess_mu
    item = Dataset()
    item.ReferencedBeamNumber, item.BeamName = beam.BeamNumber, beam.BeamName
    item.BeamType, item.RadiationType = beam.BeamType, beam.RadiationType
    item.BeamLimitingDeviceLeafPairsSequence = [_leaf_pairs(device) for device in beam.BeamLimitingDeviceSequence]
    item.NumberOfWedges, item.NumberOfCompensators = beam.NumberOfWedges, beam.NumberOfCompensators
    item.NumberOfBoli, item.NumberOfBlocks = beam.NumberOfBoli, beam.NumberOfBlocks
    item.CurrentFractionNumber = fraction.number
    item.TreatmentDeliveryType = beam.TreatmentDeliveryType
    item.TreatmentTerminationStatus, item.TreatmentVerificationStatus = "NORMAL", "VERIFIED"
    item.SpecifiedPrimaryMeterset = decimal_text(specified_mu)
    item.DeliveredPrimaryMeterset = decimal_text(delivered_mu)
    item.ControlPointDeliverySequence = [
        _control_point(
            point,
            fraction.day,
            f"{fraction.hour:02d}{minute:02d}{0 if point.ControlPointIndex == 0 else 50:02d}",
            specified_mu * float(point.CumulativeMetersetWeight),
            delivered_mu * float(point.CumulativeMetersetWeight),
        )
        for point in beam.ControlPointSequence
    ]
    return item


def _leaf_pairs(device: Dataset) -> Dataset:
    item = Dataset()
    item.RTBeamLimitingDeviceType, item.NumberOfLeafJawPairs = (
        device.RTBeamLimitingDeviceType,
        device.NumberOfLeafJawPairs,
    )
    return item


AS_PLANNED = (
    *("NominalBeamEnergy", "BeamLimitingDevicePositionSequence", "GantryAngle", "GantryRotationDirection"),
    *("BeamLimitingDeviceAngle", "BeamLimitingDeviceRotationDirection"),
    *("PatientSupportAngle", "PatientSupportRotationDirection"),
    *("TableTopEccentricAngle", "TableTopEccentricRotationDirection"),
    *("TableTopVerticalPosition", "TableTopLongitudinalPosition", "TableTopLateralPosition"),
)
"""Of a control point: delivered as it was planned."""


def _control_point(point: Dataset, day: date, time: str, specified_mu: float, delivered_mu: float) -> Dataset:
    item = Dataset()
    item.ReferencedControlPointIndex = point.ControlPointIndex
    item.TreatmentControlPointDate, item.TreatmentControlPointTime = f"{day:%Y%m%d}", time
    item.SpecifiedMeterset, item.DeliveredMeterset = decimal_text(specified_mu), decimal_text(delivered_mu)
    item.DoseRateSet = item.DoseRateDelivered = ""
    for keyword in AS_PLANNED:
        if keyword in point:
            setattr(item, keyword, point[keyword].value)
    if "NominalBeamEnergy" in item:
        item.NominalBeamEnergyUnit = "MV"
    return item

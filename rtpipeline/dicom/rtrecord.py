"""Treatment records (PS3.3 C.8.8.17 to C.8.8.23, C.8.8.26): which fraction of which plan was delivered, and how.

Told apart by SOP class and content, never by a file name. Dates are raw here; a caller turns them into days.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from rtpipeline.dicom.element_values import integer, items, number, term, text

SUMMARY = "1.2.840.10008.5.1.4.1.1.481.7"

SESSION_SEQUENCES = {
    "TreatmentSessionBeamSequence": "ReferencedBeamNumber",
    "TreatmentSessionIonBeamSequence": "ReferencedBeamNumber",
    "TreatmentSessionApplicationSetupSequence": "ReferencedBrachyApplicationSetupNumber",
}


@dataclass(frozen=True)
class Delivered:
    """What a record says of one fraction of one fraction group.

    items: beam or setup numbers delivered to their end (termination NORMAL), other_items: those that were not.
    status: the worst TreatmentTerminationStatus. delivered_mu: sum of delivered metersets; None when not given.
    """

    record_id: str
    plan_uid: str
    fraction_group: int | None
    fraction_number: int | None
    date: str
    time: str
    items: tuple[int, ...]
    other_items: tuple[int, ...]
    status: str
    delivered_mu: float | None
    delivered_dose_gy: float | None

    @property
    def names_items(self) -> bool:
        """Whether it says what was delivered; a summary does not."""
        return bool(self.items or self.other_items)


def parse_rtrecord(ds: Dataset, name: str = "RTRECORD") -> list[Delivered]:
    """Every fraction that a treatment record or treatment summary names.

    Parameters
    ----------
    name: id of the record, such as `rec-01`.
    """
    plans = [text(i, "ReferencedSOPInstanceUID") for i in items(ds, "ReferencedRTPlanSequence")] or [""]
    date, time = text(ds, "TreatmentDate"), text(ds, "TreatmentTime")
    if text(ds, "SOPClassUID") == SUMMARY or items(ds, "FractionGroupSummarySequence"):
        return _summary(ds, plans[0], name)
    group = integer(ds, "ReferencedFractionGroupNumber")
    by_fraction: dict[int | None, list[tuple[int | None, Dataset]]] = {}
    for sequence, keyword in SESSION_SEQUENCES.items():
        for item in items(ds, sequence):
            if term(item, "TreatmentDeliveryType") in ("SETUP", "OPEN_PORTFILM", "TRMT_PORTFILM"):
                continue
            by_fraction.setdefault(integer(item, "CurrentFractionNumber"), []).append((integer(item, keyword), item))
    found = []
    for fraction, entries in sorted(by_fraction.items(), key=lambda e: (e[0] is None, e[0] or 0)):
        states = [(n, term(item, "TreatmentTerminationStatus")) for n, item in entries]
        bad = [state or "UNKNOWN" for _, state in states if state != "NORMAL"]
        found.append(
            Delivered(
                record_id=name,
                plan_uid=plans[0],
                fraction_group=group,
                fraction_number=fraction,
                date=date,
                time=time,
                items=tuple(n for n, state in states if state == "NORMAL" and n is not None),
                other_items=tuple(n for n, state in states if state != "NORMAL" and n is not None),
                status=bad[0] if bad else "NORMAL",
                delivered_mu=_sum(_meterset(item) for _, item in entries),
                delivered_dose_gy=_dose([item for _, item in entries]),
            )
        )
    return found


@dataclass(frozen=True)
class Fractions:
    """Fractions of one plan by its records. numbers: of those delivered whole; doubtful: why they may not be all."""

    numbers: frozenset[int]
    doubtful: str = ""


def delivered_fractions(delivered: Sequence[Delivered], required: frozenset[int]) -> Fractions:
    """The fractions of a plan with one fraction group that its records, taken together, show to be delivered whole.

    Some systems write one record per fraction, others one per beam. A summary names no beams: its word is taken.

    Parameters
    ----------
    required: beam or setup numbers of the fraction group that give dose.
    """
    given: dict[int, set[int]] = {}
    moments: dict[tuple[int, int], set[tuple[str, str]]] = {}
    for one in delivered:
        number = one.fraction_number
        if number is None:
            return Fractions(frozenset(), f"{one.record_id} has no fraction number")
        if one.status != "NORMAL":
            return Fractions(frozenset(), f"fraction {number}: {one.status.lower()}")
        given.setdefault(number, set()).update(one.items if one.names_items else required)
        for item in one.items:
            moments.setdefault((number, item), set()).add((one.date, one.time))
    # the same object exported twice has one moment; a second moment is a second delivery, or a wrong number
    repeated = sorted({number for (number, _), when in moments.items() if len(when) > 1})
    if repeated:
        return Fractions(frozenset(), f"fraction {repeated[0]} delivered more than once")
    short = sorted(number for number, items_given in given.items() if not required <= items_given)
    if short:
        return Fractions(frozenset(), f"fraction {short[0]}: not all beams delivered")
    return Fractions(frozenset(given))


def _meterset(item: Dataset) -> float | None:
    """Of one beam: DeliveredPrimaryMeterset, or the DeliveredMeterset of its last control point."""
    delivered = number(item, "DeliveredPrimaryMeterset")
    points = items(item, "ControlPointDeliverySequence") or items(item, "IonControlPointDeliverySequence")
    if delivered is None and points:
        delivered = number(points[-1], "DeliveredMeterset")
    return delivered


def _dose(entries: list[Dataset]) -> float | None:
    """Sum over beams of the dose calculated for the one dose reference that all of them name; None otherwise."""
    per_beam: list[dict[int | None, float]] = []
    for item in entries:
        doses = {
            integer(r, "ReferencedDoseReferenceNumber"): value
            for r in items(item, "ReferencedCalculatedDoseReferenceSequence")
            if (value := number(r, "CalculatedDoseReferenceDoseValue")) is not None
        }
        per_beam.append(doses)
    common = set.intersection(*(set(d) for d in per_beam)) if per_beam else set()
    return math.fsum(d[reference] for d in per_beam for reference in common) if len(common) == 1 else None


def _sum(values: object) -> float | None:
    """Their sum; None when one is missing."""
    found = list(values)  # type: ignore[call-overload]
    return math.fsum(found) if found and None not in found else None


def _summary(ds: Dataset, plan_uid: str, name: str) -> list[Delivered]:
    found = []
    for group in items(ds, "FractionGroupSummarySequence"):
        for fraction in items(group, "FractionStatusSummarySequence"):
            found.append(
                Delivered(
                    record_id=name,
                    plan_uid=plan_uid,
                    fraction_group=integer(group, "ReferencedFractionGroupNumber"),
                    fraction_number=integer(fraction, "ReferencedFractionNumber"),
                    date=text(fraction, "TreatmentDate"),
                    time=text(fraction, "TreatmentTime"),
                    items=(),
                    other_items=(),
                    status=term(fraction, "TreatmentTerminationStatus") or "UNKNOWN",
                    delivered_mu=None,
                    delivered_dose_gy=None,
                )
            )
    return found

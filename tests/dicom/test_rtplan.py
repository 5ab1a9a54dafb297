"""RTPLAN: prescriptions, fraction groups and beams read where the standard puts them."""

from __future__ import annotations

import copy
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.dicom.rtplan import parse_rtplan


@pytest.fixture(scope="module")
def patient() -> SmallPatient:
    return small_patient()


@pytest.fixture
def rtplan(patient: SmallPatient) -> Dataset:
    return copy.deepcopy(patient.rtplan)


def reference(kind: str, dose: float | None, structure: str = "SITE", roi: int | None = None) -> Dataset:
    item = Dataset()
    item.DoseReferenceNumber = 1
    item.DoseReferenceType, item.DoseReferenceStructureType = kind, structure
    item.TargetPrescriptionDose = dose
    if roi is not None:
        item.ReferencedROINumber = roi
    return item


def control_point(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def jaws(width_mm: float) -> list[Dataset]:
    item = Dataset()
    item.RTBeamLimitingDeviceType, item.LeafJawPositions = "ASYMX", [-width_mm / 2, width_mm / 2]
    return [item]


def test_the_clean_plan_gives_its_facts_and_no_finding(rtplan):
    plan = parse_rtplan(rtplan, "plan-01")
    assert plan.findings == []
    assert (plan.plan_class, plan.approval_status, plan.intent) == ("photon", "APPROVED", "CURATIVE")
    assert (plan.rx_gy, plan.rx_levels_gy, plan.fractions_planned) == (50.0, (50.0,), 25)
    assert [r.roi_number for r in plan.levels] == [3]
    assert [(b.number, b.technique, b.energies, b.radiation_type) for b in plan.beams] == [
        (1, "static", (6.0,), "PHOTON"),
        (2, "static", (15.0,), "PHOTON"),
    ]
    assert plan.beam_dose_total_gy == pytest.approx(50.0)
    (group,) = plan.fraction_groups
    assert [(i.number, i.meterset) for i in group.beams] == [(1, 131.5), (2, 94.2)]


LEVELS = {
    "one": ([("TARGET", 60, "VOLUME")], (60.0,)),
    "none": ([], ()),
    "three of a boost, in any order": ([("TARGET", d, "VOLUME") for d in (60, 54, 66)], (54.0, 60.0, 66.0)),
    "the same twice": ([("TARGET", 60, "VOLUME"), ("TARGET", "60.0000", "SITE")], (60.0,)),
    "organ at risk": ([("ORGAN_AT_RISK", 20, "VOLUME")], ()),
    "a calculated point beside a site": ([("TARGET", 14, "SITE"), ("TARGET", 11.3, "COORDINATES")], (14.0,)),
    "a point alone": ([("TARGET", 43, "COORDINATES")], (43.0,)),
    "zero": ([("TARGET", 0, "VOLUME")], ()),
    "empty": ([("TARGET", None, "VOLUME")], ()),
}


@pytest.mark.parametrize("case", LEVELS)
def test_levels_are_the_target_prescriptions_and_never_their_sum(rtplan, case):
    references, expected = LEVELS[case]
    rtplan.DoseReferenceSequence = [reference(*r) for r in references]
    plan = parse_rtplan(rtplan)
    assert plan.rx_levels_gy == expected
    assert plan.rx_gy == (expected[0] if len(expected) == 1 else None)


def test_delivery_maximum_and_beam_dose_are_no_prescription(rtplan):
    item = reference("TARGET", None)
    item.DeliveryMaximumDose = 70
    rtplan.DoseReferenceSequence = [item]
    plan = parse_rtplan(rtplan)
    assert plan.rx_levels_gy == ()
    assert plan.dose_references[0].delivery_maximum_gy == 70
    assert plan.beam_dose_total_gy == pytest.approx(50.0)


def test_fractions_of_groups_that_disagree_are_unknown(rtplan):
    other = copy.deepcopy(rtplan.FractionGroupSequence[0])
    other.FractionGroupNumber, other.NumberOfFractionsPlanned = 2, 5
    rtplan.FractionGroupSequence.append(other)
    plan = parse_rtplan(rtplan)
    assert plan.fractions_planned is None
    assert plan.beam_dose_total_gy == pytest.approx(50.0 + 5 * 2.0)


@pytest.mark.parametrize(
    "how", ["setup field", "portal image", "no meterset", "meterset zero", "none of them has a meterset"]
)
def test_setup_fields_deliver_nothing(rtplan, how):
    group = rtplan.FractionGroupSequence[0]
    second = group.ReferencedBeamSequence[1]
    if how in ("setup field", "portal image"):
        rtplan.BeamSequence[1].TreatmentDeliveryType = "SETUP" if how == "setup field" else "TRMT_PORTFILM"
    elif how == "no meterset":
        del second.BeamMeterset, second.BeamDose
    elif how == "meterset zero":
        second.BeamMeterset = 0
    else:
        for item in group.ReferencedBeamSequence:
            del item.BeamMeterset
    plan = parse_rtplan(rtplan)
    delivering = [i.number for i in plan.fraction_groups[0].items if plan.delivers(plan.fraction_groups[0], i)]
    assert delivering == ([1, 2] if how == "none of them has a meterset" else [1])


TECHNIQUES = {
    "static": ("STATIC", [{"GantryAngle": 90, "jaws": 100}, {}], "static", 0),
    "step and shoot": ("STATIC", [{"GantryAngle": 90, "jaws": 100}, {"jaws": 60}, {"jaws": 30}], "segmented", 0),
    "sliding window": ("DYNAMIC", [{"GantryAngle": 90, "jaws": 100}, {"jaws": 60}], "dynamic", 0),
    "conformal arc": ("DYNAMIC", [{"GantryAngle": 181, "turn": "CW", "jaws": 100}, {"GantryAngle": 179}], "arc", 358),
    "vmat": (
        "DYNAMIC",
        [
            {"GantryAngle": 10, "turn": "CC", "jaws": 100},
            {"GantryAngle": 350, "jaws": 80},
            {"GantryAngle": 170, "turn": "NONE", "jaws": 70},
        ],
        "arc_modulated",
        200,
    ),
    "full circle in steps": (
        "DYNAMIC",
        [{"GantryAngle": a % 360, "turn": "CW", "jaws": 50} for a in range(0, 361, 90)],
        "arc",
        360,
    ),
    "an angle without direction": ("STATIC", [{"GantryAngle": 350, "jaws": 100}, {"GantryAngle": 10}], "arc", 20),
    "jitter": ("STATIC", [{"GantryAngle": 90.0, "jaws": 100}, {"GantryAngle": 90.2}], "static", 0.2),
    "no control points": ("STATIC", [], "static", 0),
}


@pytest.mark.parametrize("case", TECHNIQUES)
def test_the_technique_follows_from_the_control_points(rtplan, case):
    beam_type, points, technique, span = TECHNIQUES[case]
    beam = rtplan.BeamSequence[0]
    beam.BeamType = beam_type
    beam.ControlPointSequence = []
    for values in points:
        values = dict(values)
        point = control_point()
        if "jaws" in values:
            point.BeamLimitingDevicePositionSequence = jaws(values.pop("jaws"))
        if "turn" in values:
            point.GantryRotationDirection = values.pop("turn")
        for keyword, value in values.items():
            setattr(point, keyword, value)
        beam.ControlPointSequence.append(point)
    found = parse_rtplan(rtplan).beams[0]
    assert found.technique == technique
    assert found.gantry_span_deg == pytest.approx(span, abs=1e-9)


def test_an_ion_plan_has_its_beams_and_energies_in_sequences_of_its_own(rtplan):
    beam = rtplan.BeamSequence[0]
    del beam.ControlPointSequence
    beam.RadiationType, beam.ScanMode = "PROTON", "MODULATED"
    beam.IonControlPointSequence = [control_point(NominalBeamEnergy=e, GantryAngle=0) for e in (150, 150, 120.5)]
    del rtplan.BeamSequence
    rtplan.IonBeamSequence = [beam]
    rtplan.FractionGroupSequence[0].ReferencedBeamSequence = rtplan.FractionGroupSequence[0].ReferencedBeamSequence[:1]
    plan = parse_rtplan(rtplan)
    assert (plan.plan_class, plan.findings) == ("ion", [])
    assert (plan.beams[0].technique, plan.beams[0].energies) == ("scanned", (120.5, 150.0))


def test_a_brachy_plan_has_application_setups(rtplan):
    del rtplan.BeamSequence
    rtplan.BrachyTreatmentType, rtplan.BrachyTreatmentTechnique = "HDR", "INTERSTITIAL"
    rtplan.ApplicationSetupSequence = [Dataset(), Dataset()]
    group = rtplan.FractionGroupSequence[0]
    del group.ReferencedBeamSequence
    group.NumberOfFractionsPlanned = 4
    setups = []
    for number, dose in ((1, 3.5), (2, 4.0)):
        item = Dataset()
        item.ReferencedBrachyApplicationSetupNumber, item.BrachyApplicationSetupDose = number, dose
        setups.append(item)
    group.ReferencedBrachyApplicationSetupSequence = setups
    plan = parse_rtplan(rtplan)
    assert (plan.plan_class, plan.setups, plan.brachy_type, plan.findings) == ("brachy", 2, "HDR", [])
    assert plan.beam_dose_total_gy == pytest.approx(30.0)


INCOMPLETE = {
    "no fraction group": (lambda ds: delattr(ds, "FractionGroupSequence"), "no fraction group"),
    "fractions not stated": (
        lambda ds: delattr(ds.FractionGroupSequence[0], "NumberOfFractionsPlanned"),
        "number of fractions",
    ),
    "no beams": (lambda ds: delattr(ds, "BeamSequence"), "no beams"),
    "a beam not described": (lambda ds: ds.BeamSequence.pop(), "beams 2"),
    "no structure set": (lambda ds: delattr(ds, "ReferencedStructureSetSequence"), "no structure set"),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_what_a_plan_lacks_is_one_finding(rtplan, case):
    change, words = INCOMPLETE[case]
    change(rtplan)
    (found,) = parse_rtplan(rtplan, "plan-01").findings
    assert found.code == "PLAN_INCOMPLETE"
    assert words in found.measured


def test_a_plan_of_the_device_needs_no_structure_set(rtplan):
    del rtplan.ReferencedStructureSetSequence
    rtplan.RTPlanGeometry = "TREATMENT_DEVICE"
    assert parse_rtplan(rtplan).findings == []


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "levels_gy", "fractions", "beams"),
    [
        ("brachy_hdr_prostate/PL001.dcm", (16.0,), [1], 0),
        ("dicompyler-core/rtplan.dcm", (14.0,), [7], 4),
        ("plan_study_2018/chestwall_monaco_1plan_3rx/2018CompLTCWC2_t2.dcm", (24.0, 26.0, 50.0), [13, 12, 25], 6),
        ("plan_study_2018/brain_iplan_5plans/RTPL0235.dcm", (43.0,), [5], 3),
        (
            "plan_study_2018/lung_pinnacle_plan1/RTPLAN_2.16.840.1.113669.2.931128.305045163.20180315140850.284204.dcm",
            (),
            [10],
            12,
        ),
        ("raystation_proton_beams/ramped_2Gy_ver2_full.dcm", (), [1], 2),
    ],
)
def test_real_plans(shared_data: Path, file, levels_gy, fractions, beams):
    plan = parse_rtplan(pydicom.dcmread(shared_data / file, force=True))
    assert plan.rx_levels_gy == levels_gy
    assert [g.fractions_planned for g in plan.fraction_groups] == fractions
    assert len(plan.beams) == beams
    assert plan.findings == []


@pytest.mark.data
def test_an_old_eclipse_setup_field_called_treatment_delivers_nothing(shared_data: Path):
    (file,) = (shared_data / "eclipse8_rando" / "prostate").glob("RP.*.dcm")
    plan = parse_rtplan(pydicom.dcmread(file))
    group = plan.fraction_groups[0]
    assert [i.number for i in group.items if plan.delivers(group, i)] == [1, 2, 3, 4]
    assert plan.beam_dose_total_gy == pytest.approx(46.0)

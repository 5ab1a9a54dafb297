"""Stage prepare_rt on whole exports: what is written, what is refused with which code, and that nobody is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from rtpipeline.config import Config
from rtpipeline.contracts.tables import FRACTIONS, TPS_DVH
from rtpipeline.demo.grid import axial_grid
from rtpipeline.demo.headers import new_object, reference_to
from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.small import CENTRE_MM, SmallPatient, small_patient
from rtpipeline.demo.write_rtdose import rtdose_dataset
from rtpipeline.geometry.rigid import carried
from tests.prepare.rt_runs import Prepared, run_stages
from tests.synthetic.edits import REGISTERED, carried_over, identity_registration, registration, tie

FLOAT32_RELATIVE = 1e-7
"""Doses are written as float32; the demo's own step of 1e-6 Gy is smaller than that at 50 Gy."""


@pytest.fixture(scope="module")
def clean() -> SmallPatient:
    patient = small_patient(dose_spacing_xyz_mm=(8.0, 8.0, 10.0))
    patient.ct = []
    patient.rtdose.pop("DVHSequence", None)
    return patient


@pytest.fixture
def patient(clean: SmallPatient) -> SmallPatient:
    """Structure set, plan and dose of the small patient without its CT, free to be changed."""
    return copy.deepcopy(clean)


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Prepared]:
    """`export(patient)`: the patient's only course after the stage."""

    def run(
        patient: SmallPatient, config: Config | None = None, between: Callable[[], None] = lambda: None
    ) -> Prepared:
        (found,) = run_stages(patient.save(tmp_path / "export"), tmp_path / "work", config, between)
        return found

    return run


def dose(patient: SmallPatient, factor: float = 1.0, plan: Dataset | None = None, **how: Any) -> Dataset:
    """Another dose object of the patient's plan; a new instance with each call."""
    grid = how.pop("grid", patient.dose_grid)
    values = patient.dose.on(grid) * factor
    how.setdefault("structure_set", patient.rtstruct)
    ds = rtdose_dataset(values, grid, patient.study, plan=plan or patient.rtplan, **how)
    ds.SOPInstanceUID = generate_uid()
    return ds


def second_phase(patient: SmallPatient, **how: Any) -> tuple[Dataset, Dataset]:
    """Plan and dose of 16 Gy in 8 fractions, some weeks later, on the same structure set."""
    other = small_patient(
        plan_label="PLAN2",
        plan_date="20240415",
        prescription_gy=16.0,
        fractions=8,
        gradient_gy_per_mm=(0.02, 0.03, -0.01),
        dose_spacing_xyz_mm=(8.0, 8.0, 10.0),
        **how,
    )
    return other.rtplan, other.rtdose


# ---- what is written -------------------------------------------------------------------------------------------------


def test_a_clean_patient_gives_every_file_and_no_finding(patient, export):
    found = export(patient)
    assert found.findings == []
    assert found.outcome.status == "done"
    assert found.outcome.counts == {"structure_sets": 1, "plans": 1, "dose_objects": 1, "doses": 1, "records": 0}
    assert sorted(str(p.relative_to(found.out)) for p in found.out.rglob("*") if p.is_file()) == [
        "course_total.json",
        "dose_objects.json",
        "doses.json",
        "doses/plan-01/dose.npy",
        "doses/plan-01/geometry.json",
        "fractions.parquet",
        "plans.json",
        "registrations.json",
        "structure_sets/rs-01.parquet",
        "structure_sets/rs-01.points.parquet",
        "structure_sets/rs-01.rois.parquet",
    ]


def test_the_dose_is_linear_in_patient_coordinates_again(patient, export):
    grid, values, known = export(patient).volume("plan-01")
    expected = patient.dose.on(patient.dose_grid)
    assert grid.shape_zyx == values.shape == expected.shape
    assert np.abs(values - expected).max() <= FLOAT32_RELATIVE * expected.max() + 5e-7
    corner = grid.index_zyx_to_patient([[0, 0, 0], np.array(grid.shape_zyx) - 1])
    points = patient.dose_grid.points_mm()
    assert np.allclose(corner, [points[0, 0, 0], points[-1, -1, -1]], atol=1e-9)
    assert known.all()


def test_the_entry_of_a_dose_says_what_it_is(patient, export):
    (entry,) = export(patient).doses.values()
    expected = {
        "dose_id": "plan-01",
        "plan_ids": ["plan-01"],
        "rtdose_ids": ["rd-01"],
        "dose_basis": "plan",
        "dose_status": "ok",
        "summation_type": "PLAN",
        "dose_type": "PHYSICAL",
        "fractions_planned": 25,
        "structure_sets": [{"structure_set_id": "rs-01", "link": "plan_reference"}],
        "structure_set_ids": ["rs-01"],
        "scale_check": "fits",
        "whole_course": True,
        "course_total_status": "single_plan",
        "fully_known": True,
    }
    assert {key: entry[key] for key in expected} == expected
    assert entry["max_gy"] == pytest.approx(patient.dose.on(patient.dose_grid).max(), abs=1e-6)


def test_contours_are_written_with_the_numbers_of_the_file(patient, export):
    found = export(patient)
    table = pq.read_table(found.out / "structure_sets" / "rs-01.parquet").to_pylist()
    for roi in patient.rois:
        rows = [r for r in table if r["roi_number"] == roi.number]
        assert [r["contour_index"] for r in rows] == list(range(len(roi.contours)))
        for row, points in zip(rows, roi.contours, strict=True):
            assert row["n_points"] == len(points)
            assert np.array_equal(np.array(row["points_xyz_mm"]).reshape(-1, 3), points)
    rois = pq.read_table(found.out / "structure_sets" / "rs-01.rois.parquet").to_pylist()
    assert [(r["roi_number"], r["roi_name"], r["roi_type"], r["status"], r["n_closed"]) for r in rois] == [
        (r.number, r.name, r.interpreted_type, "ok", len(r.contours)) for r in patient.rois
    ]
    assert {r["frame_hash"] for r in rois} == {found.course.structure_sets[0].frame_hash}


def test_points_go_into_a_table_of_their_own_and_a_reused_number_gets_occurrences(patient, export):
    first = patient.rtstruct.ROIContourSequence[1].ContourSequence
    del first[1:]
    first[0].ContourGeometricType = "POINT"
    patient.rtstruct.StructureSetROISequence[3].ROINumber = 3
    found = export(patient)
    rows = pq.read_table(found.out / "structure_sets" / "rs-01.points.parquet").to_pylist()
    assert [(r["roi_number"], r["geometric_type"]) for r in rows] == [(2, "POINT")]
    rois = pq.read_table(found.out / "structure_sets" / "rs-01.rois.parquet").to_pylist()
    assert [(r["roi_number"], r["occurrence"], r["status"]) for r in rois] == [
        (1, None, "ok"),
        (2, None, "points_only"),
        (3, 1, "number_reused"),
        (3, 2, "number_reused"),
        (4, None, "undeclared"),
    ]


def test_plan_facts_are_those_of_the_plan(patient, export):
    (plan,) = export(patient).json("plans")
    assert (plan["plan_rx_gy"], plan["plan_rx_levels_gy"], plan["beam_dose_total_gy"]) == (50.0, [50.0], 50.0)
    assert (plan["beams"], plan["energies"], plan["techniques"]) == (2, [6.0, 15.0], ["static"])
    assert plan["monitor_units"] == pytest.approx(225.7)
    (level,) = plan["prescriptions"]
    assert (level["type"], level["roi_number"], level["target_prescription_gy"]) == ("TARGET", 3, 50.0)
    assert plan["fraction_groups"][0]["fractions_planned"] == 25


def test_nothing_that_is_written_names_anybody(patient, export):
    """Names, ids, dates, machines and original UIDs of every dataset are looked for in every file, tables decoded."""
    plan, other_dose = second_phase(patient)
    patient.extra = [
        plan,
        other_dose,
        *records(patient, patient.rtplan, 3),
        registration(patient, str(patient.study.uids("other frame")), REGISTERED),
    ]
    found = export(patient)
    datasets = [*patient.datasets()]
    secrets = {"DEMO-900", "Demo^Small", "DEMO_LINAC", "Demo Hospital", "PLAN1", "PLAN2", "19580214"}
    for ds in datasets:
        for element in ds.iterall():
            if element.VR in ("UI", "DA", "PN") and element.value and len(str(element.value)) >= 8:
                secrets.add(str(element.value))
    standard = {s for s in secrets if s.startswith("1.2.840.10008.")}
    assert len(secrets - standard) > 20
    for file in found.out.rglob("*"):
        if file.suffix == ".parquet":
            written = json.dumps(pq.read_table(file).to_pylist())
        elif file.suffix == ".json":
            written = file.read_text()
        else:
            continue
        assert not [s for s in secrets - standard if s in written], file.name
    text = " ".join(f"{f.object} {f.measured}" for f in found.findings)
    assert not [s for s in secrets - standard if s in text]


def test_the_same_export_gives_the_same_bytes(patient, tmp_path):
    patient.extra = [*second_phase(patient)]
    source = patient.save(tmp_path / "export")
    runs = []
    for name in ("a", "b"):
        (found,) = run_stages(source, tmp_path / name)
        runs.append({p.relative_to(found.out): p.read_bytes() for p in found.out.rglob("*") if p.is_file()})
    assert runs[0] == runs[1]


# ---- which objects make the dose -------------------------------------------------------------------------------------


def beam_doses(patient: SmallPatient, shares: Iterable[float] = (0.6, 0.4)) -> list[Dataset]:
    return [dose(patient, share, summation="BEAM", beam_number=n) for n, share in enumerate(shares, start=1)]


def fraction_group_dose(patient: SmallPatient, factor: float, term: str = "FRACTION") -> Dataset:
    ds = dose(patient, factor, summation=term, beam_number=1)
    del ds.ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence[0].ReferencedBeamSequence
    return ds


def change(ds: Dataset, **values: object) -> Dataset:
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


USED = {
    "both beams": (lambda p: beam_doses(p), "beam_sum", 1.0, {}),
    "the only fraction group, with the total": (
        lambda p: [fraction_group_dose(p, 1.0)], "fraction_group_sum", 1.0, {}
    ),
    "one session": (
        lambda p: [fraction_group_dose(p, 0.04, "FRACTION_SESSION")],
        "session_times_fractions",
        1.0,
        {"DOSE_SUMMATION_FRACTION": "W"},
    ),
    "plan and beams": (
        lambda p: [p.rtdose, *beam_doses(p)], "plan", 1.0, {"DOSE_SUMMATION_PLAN_AND_BEAM": "I"}
    ),
    "plan and beams that do not add up": (
        lambda p: [p.rtdose, *beam_doses(p, (0.6, 0.43))], "plan", 1.0, {"DOSE_SUMMATION_PLAN_AND_BEAM": "W"}
    ),
    "plan and one beam": (
        lambda p: [p.rtdose, *beam_doses(p)[:1]], "plan", 1.0, {"DOSE_SUMMATION_PLAN_AND_BEAM": "I"}
    ),
    "the same plan dose twice": (lambda p: [p.rtdose, dose(p)], "plan", 1.0, {"DOSE_NOT_USED": "I"}),
    "a plan dose and a control point's": (
        lambda p: [p.rtdose, dose(p, 0.01, summation="CONTROL_POINT")], "plan", 1.0, {"DOSE_NOT_USED": "I"}
    ),
    "a plan dose and what was recorded": (
        lambda p: [p.rtdose, dose(p, 0.5, summation="RECORD")], "plan", 1.0, {"DOSE_NOT_USED": "I"}
    ),
    "a plan dose in 16 bits": (
        lambda p: [dose(p, bits=16, grid_scaling_gy="0.002")], "plan", 1.0, {"DOSE_COMPRESSED_BITS": "I"}
    ),
    "an effective dose": (
        lambda p: [change(dose(p), DoseType="EFFECTIVE")], "plan", 1.0, {"DOSE_TYPE_EFFECTIVE": "W"}
    ),
    "a dose below the prescription": (lambda p: [dose(p, 0.5)], "plan", 0.5, {"COURSE_IMPLAUSIBLE": "W"}),
}  # fmt: skip


@pytest.mark.parametrize("case", USED)
def test_the_dose_of_the_plan(patient, export, case):
    objects, basis, factor, findings = USED[case]
    objects, patient.rtdose = objects(patient), None
    patient.extra = objects
    found = export(patient)
    assert {f.code: f.severity.value for f in found.findings} == findings
    (entry,) = found.doses.values()
    assert (entry["dose_id"], entry["dose_basis"], entry["dose_status"]) == ("plan-01", basis, "ok")
    _, values, known = found.volume("plan-01")
    expected = factor * patient.dose.on(patient.dose_grid)
    step_gy = 0.002 if "16 bits" in case else 1e-6 * (25 if "session" in case else 2)
    assert known.all()
    assert np.abs(values - expected).max() <= step_gy + FLOAT32_RELATIVE * expected.max()
    fates = {f["rtdose_id"]: f["role"] for f in found.json("dose_objects")}
    assert len(fates) == len(objects)
    assert {i for i, role in fates.items() if role in ("used", "part")} == set(entry["rtdose_ids"])


REFUSED = {
    "one beam of two": (lambda p: beam_doses(p)[:1], {"DOSE_SUMMATION_BEAM": "E"}),
    "a fraction group with one fraction's dose": (
        lambda p: [fraction_group_dose(p, 0.04)], {"DOSE_SUMMATION_FRACTION": "E"}
    ),
    "a session with the total": (
        lambda p: [fraction_group_dose(p, 1.0, "FRACTION_SESSION")], {"DOSE_SUMMATION_FRACTION": "E"}
    ),
    "a plan dose of one fraction": (lambda p: [dose(p, 0.04)], {"DOSE_SUMMATION_FRACTION": "E"}),
    "values in cGy called GY": (
        lambda p: [dose(p, 100.0, grid_scaling_gy="0.0001")], {"DOSE_UNITS": "E"}
    ),
    "relative": (lambda p: [change(dose(p), DoseUnits="RELATIVE")], {"DOSE_UNITS": "E"}),
    "no scaling": (lambda p: [change(dose(p), DoseGridScaling=None)], {"DOSE_SCALING_MISSING": "E"}),
    "an error dose": (lambda p: [change(dose(p), DoseType="ERROR")], {"DOSE_TYPE_EFFECTIVE": "E"}),
    "two different plan doses": (lambda p: [dose(p), dose(p, 1.05)], {"DOSE_NOT_USED": "E"}),
    "shuffled planes": (
        lambda p: [change(dose(p), GridFrameOffsetVector=[*p.rtdose.GridFrameOffsetVector[1:], 0])],
        {"DOSE_GFOV": "E"},
    ),
    "no term": (lambda p: [change(dose(p), DoseSummationType="")], {"DOSE_NOT_USED": "W"}),
    "a term of a vendor": (lambda p: [change(dose(p), DoseSummationType="PLAN_SUM")], {"DOSE_NOT_USED": "W"}),
    "beams of two dose types": (
        lambda p: [beam_doses(p)[0], change(beam_doses(p)[1], DoseType="EFFECTIVE")],
        {"DOSE_SUMMATION_BEAM": "E", "DOSE_TYPE_EFFECTIVE": "W"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_dose_that_is_refused_has_its_code_and_no_row(patient, export, case):
    objects, findings = REFUSED[case]
    objects, patient.rtdose = objects(patient), None
    patient.extra = objects
    found = export(patient)
    assert {f.code: f.severity.value for f in found.findings} == findings
    assert found.doses == {}
    assert not (found.out / "doses").exists()
    assert {f["role"] for f in found.json("dose_objects")} <= {"refused", "listed"}
    assert found.outcome.status == "done"


def test_a_dose_in_cgy_is_refused_also_where_the_prescription_is_in_cgy_too(patient, export, tmp_path):
    """5000 in the manifest fits 5300 and makes neither of them Gy."""
    patient.rtdose = dose(patient, 100.0, grid_scaling_gy="0.0001")
    config = manifest(tmp_path, (str(patient.rtplan.SOPInstanceUID), {"rx_gy": 5000}))
    found = export(patient, config)
    assert found.doses == {}
    assert found.finding("DOSE_UNITS").severity == "E"


def test_a_dose_that_fits_the_manifest_and_not_the_plan_is_used(patient, export, tmp_path):
    """A prescription in the user's manifest comes before the plan's."""
    patient.rtdose = dose(patient, 0.04)
    config = manifest(tmp_path, (str(patient.rtplan.SOPInstanceUID), {"rx_gy": 2}))
    assert export(patient, config).doses["plan-01"]["scale_check"] == "fits"


def test_a_dose_in_cgy_without_its_plan_is_refused(patient, export):
    patient.rtdose = dose(patient, 100.0, grid_scaling_gy="0.0001")
    patient.rtplan = None
    found = export(patient)
    assert found.doses == {}
    assert found.codes == {"DOSE_UNITS": 1}


def test_a_multi_plan_dose_that_fits_no_sum_of_prescriptions_is_no_total(patient, export, tmp_path):
    plan, second = second_phase(patient)
    both = dose(patient, 130.0, summation="MULTI_PLAN", grid_scaling_gy="0.0001")
    both.ReferencedRTPlanSequence.append(reference_to(plan))
    patient.extra = [plan, second, both]
    found = export(patient)
    assert set(found.doses) == {"plan-01", "plan-02"}
    assert {d["dose_status"] for d in found.doses.values()} == {"ambiguous"}
    assert found.codes == {"DOSE_UNITS": 1, "COURSE_REPLAN": 1}


def test_parts_on_different_grids_are_added_on_their_union(patient, export):
    """The second beam's grid is finer, shifted and smaller: known is what both cover."""
    small = axial_grid(lower_mm=(-20.0, -40.0, 20.0), shape_xyz=(20, 20, 14), spacing_xyz_mm=(3.0, 3.0, 3.0))
    patient.rtdose = None
    patient.extra = [
        dose(patient, 0.6, summation="BEAM", beam_number=1),
        dose(patient, 0.4, summation="BEAM", beam_number=2, grid=small),
    ]
    found = export(patient)
    grid, values, known = found.volume("plan-01")
    assert not found.doses["plan-01"]["fully_known"]
    index = np.argwhere(known)
    at = grid.index_zyx_to_patient(index.astype(float))
    assert np.abs(values[known] - patient.dose.at(at)).max() <= 2e-6 + FLOAT32_RELATIVE * values.max()
    # the finer grid's own extent is known, up to the lattice's rounding to whole steps
    assert known.sum() == 20 * 20 * 14


def test_three_fraction_groups_are_added_and_two_of_three_are_not(patient, export, tmp_path):
    group = patient.rtplan.FractionGroupSequence[0]
    for number in (2, 3):
        other = copy.deepcopy(group)
        other.FractionGroupNumber = number
        patient.rtplan.FractionGroupSequence.append(other)
    objects = []
    for number, share in ((1, 0.5), (2, 0.3), (3, 0.2)):
        ds = fraction_group_dose(patient, share)
        ds.ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence[0].ReferencedFractionGroupNumber = number
        objects.append(ds)
    patient.rtdose, patient.extra = None, objects
    found = export(patient)
    assert found.doses["plan-01"]["dose_basis"] == "fraction_group_sum"
    assert found.doses["plan-01"]["max_gy"] == pytest.approx(patient.dose.on(patient.dose_grid).max(), abs=2e-6)
    patient.extra = objects[:2]
    (found,) = run_stages(patient.save(tmp_path / "less"), tmp_path / "work2")
    assert found.doses == {}
    assert "group 3 beam 1" in found.finding("DOSE_SUMMATION_FRACTION").measured


# ---- several plans ---------------------------------------------------------------------------------------------------


def manifest(folder: Path, *rows: tuple[str, dict[str, Any]]) -> Config:
    columns = ["patient_id", "plan_uid", "structure", "rx_gy", "fractions_delivered", "alpha_beta_gy", "include"]
    lines = [",".join(columns)]
    for uid, values in rows:
        lines.append(",".join(str({"plan_uid": uid, **values}.get(c, "")) for c in columns))
    path = folder / "manifest.csv"
    path.write_text("\n".join(lines) + "\n")
    return Config(manifest=path)


def records(patient: SmallPatient, plan: Dataset, count: int, skip: int = 0) -> list[Dataset]:
    """RT Beams Treatment Records of fractions 1 to `count`, both beams delivered; `skip` is left out."""
    made = []
    for number in range(1, count + 1):
        if number == skip:
            continue
        uid = patient.study.uids("record", plan.RTPlanLabel, number)
        date = f"202404{number:02d}"
        ds = new_object(
            patient.study, sop_class_uid="1.2.840.10008.5.1.4.1.1.481.4", sop_instance_uid=uid, modality="RTRECORD",
            date=date, time="090000",
        )  # fmt: skip
        ds.SeriesInstanceUID, ds.SeriesNumber = patient.study.uids("record series", plan.RTPlanLabel), 9
        ds.TreatmentDate, ds.TreatmentTime = date, "090000"
        ds.ReferencedRTPlanSequence = [reference_to(plan)]
        ds.ReferencedFractionGroupNumber = 1
        ds.TreatmentSessionBeamSequence = []
        for beam_number, mu in ((1, 131.5), (2, 94.2)):
            item = Dataset()
            item.ReferencedBeamNumber, item.CurrentFractionNumber = beam_number, number
            item.TreatmentTerminationStatus, item.TreatmentDeliveryType = "NORMAL", "TREATMENT"
            item.DeliveredPrimaryMeterset = mu
            ds.TreatmentSessionBeamSequence.append(item)
        made.append(ds)
    return made


def test_two_plans_without_evidence_keep_their_rows_and_have_no_total(patient, export):
    patient.extra = [*second_phase(patient)]
    found = export(patient)
    assert {i: d["dose_status"] for i, d in found.doses.items()} == {"plan-01": "ambiguous", "plan-02": "ambiguous"}
    assert found.json("course_total")["status"] == "ambiguous"
    assert found.codes == {"COURSE_REPLAN": 1}
    assert found.finding("COURSE_REPLAN").severity == "W"


def check_total(found: Prepared, patient: SmallPatient, weights: tuple[float, float], basis: str) -> None:
    """The linear doses of both plans, weighted, wherever both are known."""
    entry = found.doses["total"]
    assert (entry["dose_basis"], entry["dose_status"], entry["whole_course"]) == (basis, "ok", True)
    assert entry["structure_sets"] == [{"structure_set_id": "rs-01", "link": "plan_reference"}]
    assert entry["parts"] == pytest.approx({"plan-01": weights[0], "plan-02": weights[1]})
    grid, values, known = found.volume("total")
    second = small_patient(prescription_gy=16.0, gradient_gy_per_mm=(0.02, 0.03, -0.01)).dose
    at = grid.index_zyx_to_patient(np.argwhere(known).astype(float))
    expected = weights[0] * patient.dose.at(at) + weights[1] * second.at(at)
    assert np.abs(values[known] - expected).max() <= 2e-6 + FLOAT32_RELATIVE * expected.max()


def test_delivered_fractions_of_the_manifest_give_the_total(patient, export, tmp_path):
    plan, second = second_phase(patient)
    patient.extra = [plan, second]
    config = manifest(
        tmp_path,
        (str(patient.rtplan.SOPInstanceUID), {"fractions_delivered": 12}),
        (str(plan.SOPInstanceUID), {"fractions_delivered": 8}),
    )
    found = export(patient, config)
    check_total(found, patient, (12 / 25, 1.0), "delivered_fractions")
    assert found.findings == []
    assert found.doses["plan-01"]["dose_status"] == "ok"


def test_a_single_plan_that_was_stopped_has_a_total_of_what_was_given(patient, export, tmp_path):
    config = manifest(tmp_path, (str(patient.rtplan.SOPInstanceUID), {"fractions_delivered": 10}))
    found = export(patient, config)
    assert {i: (d["dose_basis"], d["whole_course"]) for i, d in found.doses.items()} == {
        "plan-01": ("plan", False),
        "total": ("delivered_fractions", True),
    }
    assert found.doses["total"]["max_gy"] == pytest.approx(0.4 * found.doses["plan-01"]["max_gy"], rel=1e-12)


def test_fractions_of_two_groups_are_counted_together(patient, export, tmp_path):
    """10 of two groups of 10 fractions each is no whole plan."""
    second = Dataset()
    second.update(patient.rtplan.FractionGroupSequence[0])
    second.FractionGroupNumber = 2
    patient.rtplan.FractionGroupSequence.append(second)
    for group in patient.rtplan.FractionGroupSequence:
        group.NumberOfFractionsPlanned = 10
    plan, boost = second_phase(patient)
    patient.extra = [plan, boost]
    config = manifest(
        tmp_path,
        (str(patient.rtplan.SOPInstanceUID), {"fractions_delivered": 10}),
        (str(plan.SOPInstanceUID), {"fractions_delivered": 8}),
    )
    assert export(patient, config).json("course_total")["status"] == "ambiguous"


@pytest.mark.parametrize(("left_out", "status"), [(0, "ok"), (10, "ambiguous")])
def test_records_of_every_fraction_of_every_group_show_that_the_plan_was_given(patient, export, left_out, status):
    """Without the last record of the second group, nobody can say how much of the plan's one dose was given."""
    second = copy.deepcopy(patient.rtplan.FractionGroupSequence[0])
    second.FractionGroupNumber = 2
    patient.rtplan.FractionGroupSequence.append(second)
    for group in patient.rtplan.FractionGroupSequence:
        group.NumberOfFractionsPlanned = 10
    plan, boost = second_phase(patient)
    of_second = records(patient, patient.rtplan, 10, skip=left_out)
    for ds in of_second:
        ds.ReferencedFractionGroupNumber, ds.TreatmentTime = 2, "150000"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    patient.extra = [plan, boost, *records(patient, patient.rtplan, 10), *of_second, *records(patient, plan, 8)]
    assert export(patient).json("course_total")["status"] == status


def test_a_prescription_of_the_whole_course_judges_no_single_plan(patient, export, tmp_path):
    """66 Gy for 50 + 16: the second plan's 19 Gy would otherwise look like a fraction of something."""
    patient.extra = [*second_phase(patient)]
    config = manifest(tmp_path, ("", {"patient_id": "DEMO-900", "rx_gy": 66}))
    assert {d["scale_check"] for d in export(patient, config).doses.values()} == {"fits"}


def against_planned(found: Prepared) -> list[tuple[Any, ...]]:
    """(planned, delivered, stated by the manifest, doubt) of each plan's fraction group."""
    rows = FRACTIONS.read(found.out / "fractions.parquet")
    names = ["fractions_planned", "fractions_delivered", "fractions_stated", "delivery_doubt"]
    planned = rows[rows["record_status"] == "planned"].sort_values("plan_id")[names].astype(object)
    return list(planned.where(planned.notna(), None).itertuples(index=False, name=None))


def test_what_was_delivered_stands_beside_what_was_planned(patient, export, tmp_path):
    plan, second = second_phase(patient)
    again = records(patient, plan, 3)  # the first three once more, exported under other names
    for number, one in enumerate(again):
        one.SOPInstanceUID = f"{one.SOPInstanceUID}.{number}"
    stopped = records(patient, patient.rtplan, 24, skip=7)
    patient.extra = [plan, second, *stopped, *records(patient, plan, 5), *again]
    config = manifest(tmp_path, (str(plan.SOPInstanceUID), {"fractions_delivered": 6}))
    assert against_planned(export(patient, config)) == [
        (25, 23, None, "no record of fraction 7"),
        (8, 5, 6, None),
    ]


def test_records_that_contradict_count_nothing_and_none_are_none(patient, export):
    plan, second = second_phase(patient)
    made = records(patient, plan, 8)
    del made[3].TreatmentSessionBeamSequence[1]
    patient.extra = [plan, second, *made]
    assert against_planned(export(patient)) == [
        (25, None, None, None),
        (8, None, None, "fraction 4: not all beams delivered"),
    ]


def test_treatment_records_of_every_fraction_give_the_total(patient, export):
    plan, second = second_phase(patient)
    patient.extra = [plan, second, *records(patient, patient.rtplan, 25), *records(patient, plan, 8)]
    found = export(patient)
    check_total(found, patient, (1.0, 1.0), "phase_sum")
    rows = FRACTIONS.read(found.out / "fractions.parquet")
    planned = rows[rows["record_status"] == "planned"]
    assert planned[["plan_id", "fraction_group", "fractions_planned"]].values.tolist() == [
        ["plan-01", 1, 25],
        ["plan-02", 1, 8],
    ]
    assert against_planned(found) == [(25, 25, None, None), (8, 8, None, None)]
    delivered = rows[(rows["record_status"] == "normal") & (rows["plan_id"] == "plan-02")]
    assert sorted(delivered["fraction_number"]) == list(range(1, 9))
    assert set(delivered["delivered_mu"]) == {225.7}
    # day 0 is the earlier plan's date, 11 March; fractions run from 1 April on
    assert sorted(delivered["day"]) == list(range(21, 29))


def test_a_missing_record_proves_nothing(patient, export):
    plan, second = second_phase(patient)
    patient.extra = [plan, second, *records(patient, patient.rtplan, 25, skip=7), *records(patient, plan, 8)]
    assert export(patient).json("course_total")["status"] == "ambiguous"


def test_the_reason_says_which_record_is_missing(patient, export):
    plan, second = second_phase(patient)
    patient.extra = [plan, second, *records(patient, patient.rtplan, 25, skip=7), *records(patient, plan, 8)]
    assert "plan-01 no record of fraction 7" in export(patient).finding("COURSE_REPLAN").measured


def test_fractions_missing_at_the_end_were_not_delivered(patient, export):
    plan, second = second_phase(patient)
    patient.extra = [plan, second, *records(patient, patient.rtplan, 24), *records(patient, plan, 8)]
    check_total(export(patient), patient, (24 / 25, 1.0), "delivered_fractions")


def test_a_fraction_without_the_record_of_one_beam_proves_nothing(patient, export):
    plan, second = second_phase(patient)
    made = records(patient, plan, 8)
    del made[3].TreatmentSessionBeamSequence[1]
    patient.extra = [plan, second, *records(patient, patient.rtplan, 25), *made]
    found = export(patient)
    assert found.json("course_total")["status"] == "ambiguous"
    assert "plan-02 fraction 4: not all beams delivered" in found.finding("COURSE_REPLAN").measured


def test_two_fractions_of_a_day_stay_two_rows_in_their_order(patient, export):
    plan, second = second_phase(patient)
    made = records(patient, plan, 8)
    made[5].TreatmentDate, made[5].TreatmentTime = made[4].TreatmentDate, "150000"
    patient.extra = [plan, second, *records(patient, patient.rtplan, 25), *made]
    found = export(patient)
    check_total(found, patient, (1.0, 1.0), "phase_sum")
    rows = FRACTIONS.read(found.out / "fractions.parquet")
    day = rows[(rows["plan_id"] == "plan-02") & (rows["day"] == 25)].sort_values("record_id")
    assert day["fraction_number"].tolist() == [5, 6]


def test_a_multi_plan_dose_of_both_is_the_total(patient, export):
    plan, second = second_phase(patient)
    both = dose(patient, 1.3, summation="MULTI_PLAN")
    both.ReferencedRTPlanSequence.append(reference_to(plan))
    patient.extra = [plan, second, both]
    found = export(patient)
    total = found.doses["total"]
    assert (total["dose_basis"], total["plan_ids"]) == ("multi_plan", ["plan-01", "plan-02"])
    assert total["max_gy"] == pytest.approx(1.3 * patient.dose.on(patient.dose_grid).max(), abs=1e-5)
    assert found.codes == {"DOSE_MULTI_PLAN": 1}
    assert found.doses["plan-01"]["dose_status"] == "ok"


def test_plans_that_name_each_other_concurrent_are_one(patient, export):
    plan, second = second_phase(patient)
    plan.ReferencedRTPlanSequence = [change(reference_to(patient.rtplan), RTPlanRelationship="CONCURRENT")]
    patient.extra = [plan, second]
    check_total(export(patient), patient, (1.0, 1.0), "concurrent_plans")


def test_a_dose_of_a_rejected_plan_gets_no_row(patient, export):
    plan, second = second_phase(patient)
    plan.ApprovalStatus = "REJECTED"
    patient.extra = [plan, second]
    found = export(patient)
    assert list(found.doses) == ["plan-01"]
    assert found.finding("DOSE_NOT_USED").measured == "plan-02 is not selected"
    assert [p["plan_id"] for p in found.json("plans")] == ["plan-01", "plan-02"]


# ---- links -----------------------------------------------------------------------------------------------------------


def test_a_dose_without_its_plan_stands_alone_with_a_finding(patient, export):
    patient.rtplan = None
    found = export(patient)
    (entry,) = found.doses.values()
    assert (entry["dose_id"], entry["plan_ids"], entry["fractions_planned"]) == ("dose-01", [], None)
    assert entry["structure_sets"] == [{"structure_set_id": "rs-01", "link": "direct_reference"}]
    assert found.codes == {"DOSE_NO_PLAN": 1}


def test_a_dose_that_names_nothing_is_linked_by_its_frame_of_reference(patient, export):
    patient.rtplan = None
    del patient.rtdose.ReferencedRTPlanSequence, patient.rtdose.ReferencedStructureSetSequence
    patient.rtdose.StudyInstanceUID = patient.rtstruct.StudyInstanceUID
    found = export(patient)
    (entry,) = found.doses.values()
    assert entry["structure_sets"] == [{"structure_set_id": "rs-01", "link": "frame_of_reference"}]


def test_a_dose_that_no_structure_set_can_be_tied_to_says_so(patient, export):
    patient.rtplan = None
    del patient.rtdose.ReferencedRTPlanSequence, patient.rtdose.ReferencedStructureSetSequence
    patient.rtdose.FrameOfReferenceUID = patient.study.uids("other frame")
    found = export(patient)
    assert found.doses["dose-01"]["structure_sets"] == []
    assert found.codes == {"DOSE_NO_PLAN": 1, "DOSE_FOR_MISMATCH": 1}


def test_a_fraction_dose_without_its_plan_is_marked_incomplete(patient, export):
    patient.extra = [fraction_group_dose(patient, 1.0)]
    patient.rtplan = patient.rtdose = None
    (entry,) = export(patient).doses.values()
    assert (entry["dose_basis"], entry["dose_status"]) == ("fraction_group_sum", "incomplete")


def test_beams_without_their_plan_cannot_be_proved_complete(patient, export):
    patient.extra = beam_doses(patient)
    patient.rtplan = patient.rtdose = None
    found = export(patient)
    assert found.doses == {}
    assert found.codes == {"DOSE_SUMMATION_BEAM": 2}


def test_a_plan_dose_beside_the_one_that_the_plan_names_is_listed(patient, export):
    other = dose(patient, 0.9)
    patient.rtplan.ReferencedDoseSequence = [reference_to(patient.rtdose)]
    patient.extra = [other]
    found = export(patient)
    assert found.doses["plan-01"]["max_gy"] == pytest.approx(patient.dose.on(patient.dose_grid).max(), abs=1e-5)
    assert sorted(f["role"] for f in found.json("dose_objects")) == ["listed", "used"]
    assert found.finding("DOSE_NOT_USED").measured == "the plan names another"


def test_a_plan_that_names_its_dose_links_it_too(patient, export):
    """ReferencedDoseSequence of the plan, where the dose has no reference of its own."""
    del patient.rtdose.ReferencedRTPlanSequence
    patient.rtplan.ReferencedDoseSequence = [reference_to(patient.rtdose)]
    found = export(patient)
    assert found.doses["plan-01"]["rtdose_ids"] == ["rd-01"]


def in_other_frame(patient: SmallPatient, ds: Dataset, name: str = "other frame") -> Dataset:
    """A dose as it lies in a frame of reference that `REGISTERED` takes to the patient's own."""
    return carried_over(ds, np.linalg.inv(REGISTERED), patient.study.uids(name))


def applies(found: Prepared, dose_id: str = "plan-01") -> list[tuple[str, str]]:
    return [(e["structure_set_id"], e["link"]) for e in found.doses[dose_id]["structure_sets"]]


def test_a_dose_in_another_frame_of_reference_needs_a_registration(patient, export):
    in_other_frame(patient, patient.rtdose)
    found = export(patient)
    assert applies(found) == []
    assert found.codes == {"DOSE_FOR_MISMATCH": 1}


def test_a_registration_that_is_the_identity_makes_two_frames_one(patient, export):
    patient.rtdose.FrameOfReferenceUID = patient.study.uids("other frame")
    patient.extra = [identity_registration(patient, patient.study.uids("other frame"))]
    found = export(patient)
    (entry,) = found.doses["plan-01"]["structure_sets"]
    assert entry == {
        "structure_set_id": "rs-01", "link": "registration", "registrations": ["reg-01"], "matrix": None,
    }  # fmt: skip
    assert found.codes == {}
    assert found.json("registrations")[0]["links"][0]["identity"]


def test_a_registration_leads_the_dose_to_the_structures_and_says_so(patient, export):
    in_other_frame(patient, patient.rtdose)
    patient.extra = [registration(patient, patient.study.uids("other frame"), REGISTERED)]
    found = export(patient)
    (entry,) = found.doses["plan-01"]["structure_sets"]
    assert (entry["link"], entry["registrations"]) == ("registration", ["reg-01"])
    grid, values, _ = found.volume("plan-01")
    index = np.stack(np.meshgrid(*[np.arange(n) for n in values.shape], indexing="ij"), axis=-1)
    there = carried(np.array(entry["matrix"]), grid.index_zyx_to_patient(index.astype(float)))
    assert np.abs(values - patient.dose.at(there)).max() <= 2e-6 + FLOAT32_RELATIVE * values.max()
    assert found.codes == {"REG_APPLIED": 1}
    assert "turned by" in found.finding("REG_APPLIED").measured


def two_phases_in_two_frames(patient: SmallPatient, *registrations: Dataset) -> SmallPatient:
    """The boost's dose lies in another frame of reference; both plans name each other."""
    plan, boost = second_phase(patient)
    related = reference_to(plan)
    related.RTPlanRelationship = "CONCURRENT"
    patient.rtplan.ReferencedRTPlanSequence = [related]
    patient.extra = [plan, in_other_frame(patient, boost), *registrations]
    return patient


def test_phases_in_two_frames_are_added_through_their_registration(patient, export):
    other = patient.study.uids("other frame")
    boost = LinearDose.through(16.0, CENTRE_MM, (0.02, 0.03, -0.01))
    two_phases_in_two_frames(patient, registration(patient, other, REGISTERED))
    found = export(patient)
    entry = found.doses["total"]
    assert (entry["dose_basis"], entry["dose_status"]) == ("concurrent_plans", "ok")
    (way,) = entry["part_routes"].values()
    assert list(entry["part_routes"]) == ["plan-02"] and way["registrations"] == ["reg-01"]
    assert np.allclose(way["matrix"], REGISTERED)
    grid, values, known = found.volume("total")
    at = grid.index_zyx_to_patient(np.argwhere(known).astype(float))
    assert known.sum() > 100
    # matrix and positions are written with 12 and 11 decimals
    assert np.abs(values[known] - patient.dose.at(at) - boost.at(at)).max() <= 1e-5
    assert [f.object for f in found.findings if f.code == "REG_APPLIED"] == ["total plan-02", "plan-02 rs-01"]
    assert {f.severity for f in found.findings} == {"I"}


def test_phases_whose_grids_are_turned_against_each_other_are_added_where_they_lie(patient, export):
    """The boost's grid is axial in its own frame, so that the registration turns it in the other one."""
    other, plan = patient.study.uids("other frame"), second_phase(patient)[0]
    boost = LinearDose.through(16.0, CENTRE_MM, (0.02, 0.03, -0.01))
    gradient = np.array(boost.gradient_gy_per_mm)
    turned = LinearDose(
        boost.offset_gy + gradient @ REGISTERED[:3, 3], tuple(REGISTERED[:3, :3].T @ gradient)
    )  # the same dose in coordinates of the other frame
    middle = carried(np.linalg.inv(REGISTERED), np.array([CENTRE_MM]))[0]
    grid = axial_grid(lower_mm=tuple(middle - 30.0), shape_xyz=(21, 16, 13), spacing_xyz_mm=(3.0, 4.0, 5.0))
    ds = rtdose_dataset(turned.on(grid), grid, patient.study, plan=plan, structure_set=patient.rtstruct)
    ds.FrameOfReferenceUID = other
    tie(plan, patient.rtplan, "CONCURRENT")
    patient.extra = [plan, ds, registration(patient, other, REGISTERED)]
    found = export(patient)
    union, values, known = found.volume("total")
    at = union.index_zyx_to_patient(np.argwhere(known).astype(float))
    inside = carried(np.linalg.inv(REGISTERED), at) - (middle - 30.0)
    assert (inside > -1e-3).all() and (inside < 60.0 + 1e-3).all()  # the smaller grid's own box, in its own frame
    assert 0.9 < known.sum() / (21 * 16 * 13) <= 1.0  # all of its voxels but what leaves the larger grid
    assert np.abs(values[known] - patient.dose.at(at) - boost.at(at)).max() <= 1e-5


def test_the_way_between_two_phases_may_lead_through_a_third_frame(patient, export):
    """Each scan was registered to a third one, and none to the other."""
    third = patient.study.uids("third frame")
    second = registration(patient, patient.study.uids("other frame"), REGISTERED, name="second")
    first = registration(patient, patient.study.frame_of_reference_uid, np.eye(4), name="first")
    for ds in (first, second):
        ds.FrameOfReferenceUID = third
        del ds.RegistrationSequence[0]
    two_phases_in_two_frames(patient, first, second)
    found = export(patient)
    (way,) = found.doses["total"]["part_routes"].values()
    assert sorted(way["registrations"]) == ["reg-01", "reg-02"]
    assert np.allclose(way["matrix"], REGISTERED)


def test_registrations_that_disagree_are_not_applied(patient, export):
    other = patient.study.uids("other frame")
    shifted = REGISTERED.copy()
    shifted[0, 3] += 1.0
    both = [registration(patient, other, m, name=str(n)) for n, m in enumerate((REGISTERED, shifted))]
    two_phases_in_two_frames(patient, *both)
    found = export(patient)
    assert "total" not in found.doses
    assert found.json("course_total")["status"] == "partial"
    disagree = [f for f in found.findings if f.code == "REG_DISAGREES"]
    assert {f.severity for f in disagree} == {"E"}
    assert all("reg-01 and reg-02 differ by up to 1.00 mm and 0.00 degrees" in f.measured for f in disagree)
    assert applies(found, "plan-01") == [("rs-01", "plan_reference")] and applies(found, "plan-02") == []


def test_registrations_that_say_the_same_are_as_good_as_one(patient, export):
    other = patient.study.uids("other frame")
    nearly = REGISTERED.copy()
    nearly[0, 3] += 0.05
    both = [registration(patient, other, m, name=str(n)) for n, m in enumerate((REGISTERED, nearly))]
    two_phases_in_two_frames(patient, *both)
    found = export(patient)
    assert found.doses["total"]["part_routes"]["plan-02"]["registrations"] == ["reg-01"]


@pytest.mark.parametrize("matrix_type", ["RIGID_SCALE", "AFFINE"])
def test_a_registration_that_may_stretch_is_never_applied(patient, export, matrix_type):
    other = patient.study.uids("other frame")
    two_phases_in_two_frames(patient, registration(patient, other, REGISTERED, matrix_type=matrix_type))
    found = export(patient)
    assert "total" not in found.doses
    assert found.codes["REG_INVALID"] == 1 and found.codes["REG_MISSING"] == 1


def test_contours_in_another_frame_than_their_image_are_found(clean, tmp_path):
    patient = small_patient()
    for item in patient.rtstruct.StructureSetROISequence[:2]:
        item.ReferencedFrameOfReferenceUID = patient.study.uids("other frame")
    (found,) = run_stages(patient.save(tmp_path / "export"), tmp_path / "work")
    assert "2 of 4 structures" in found.finding("SS_FOR_MISMATCH").measured


# ---- what is absent or broken ----------------------------------------------------------------------------------------


def test_a_course_of_images_alone_is_not_applicable(tmp_path):
    patient = small_patient()
    patient.rtstruct = patient.rtplan = patient.rtdose = None
    (found,) = run_stages(patient.save(tmp_path / "export"), tmp_path / "work")
    assert (found.outcome.status, found.outcome.reason) == ("not_applicable", "no RT objects")
    assert list(found.out.iterdir()) == []


def test_an_object_that_is_gone_costs_itself_only(patient, export, tmp_path):
    def remove() -> None:
        next((tmp_path / "export").glob("RTPLAN_*")).unlink()

    found = export(patient, None, remove)
    assert found.finding("FILE_TRUNCATED").object.startswith("RTPLAN ")
    assert found.json("plans") == []
    assert (found.out / "structure_sets" / "rs-01.parquet").is_file()
    assert list(found.doses) == ["dose-01"]


def test_a_sequence_that_cannot_be_taken_apart_costs_its_object_only(patient, tmp_path):
    """The index was made from a sound file; then the beams lost their value representation."""
    source = patient.save(tmp_path / "export")

    def damage() -> None:
        file = next(source.glob("RTPLAN_*"))
        beam_sequence = b"\x0a\x30\xb0\x00"
        assert beam_sequence + b"SQ" in file.read_bytes()
        file.write_bytes(file.read_bytes().replace(beam_sequence + b"SQ", beam_sequence + b"OB"))

    (found,) = run_stages(source, tmp_path / "work", None, damage)
    assert found.finding("FILE_TRUNCATED").object == "plan-01"
    assert "BeamSequence" in found.finding("FILE_TRUNCATED").measured
    assert found.json("plans") == []
    assert list(found.doses) == ["dose-01"]


@pytest.mark.parametrize(
    ("change_plan", "code"),
    [
        (lambda ds: delattr(ds, "DoseReferenceSequence"), "RX_UNKNOWN"),
        (lambda ds: delattr(ds, "FractionGroupSequence"), "PLAN_INCOMPLETE"),
        (lambda ds: setattr(ds.DoseReferenceSequence[0], "TargetPrescriptionDose", 2), "COURSE_IMPLAUSIBLE"),
        (lambda ds: setattr(ds.DoseReferenceSequence[0], "TargetPrescriptionDose", 120), "COURSE_IMPLAUSIBLE"),
    ],
)
def test_what_a_plan_lacks_or_overstates_is_found(patient, export, change_plan, code):
    change_plan(patient.rtplan)
    patient.rtdose = None
    assert export(patient).codes == {code: 1}


def test_two_levels_without_a_structure_are_no_prescription(patient, export):
    patient.rtplan.DoseReferenceSequence.append(copy.deepcopy(patient.rtplan.DoseReferenceSequence[0]))
    for item, level in zip(patient.rtplan.DoseReferenceSequence, (50, 60), strict=True):
        item.TargetPrescriptionDose, item.DoseReferenceStructureType = level, "SITE"
        del item.ReferencedROINumber
    found = export(patient)
    (plan,) = found.json("plans")
    assert (plan["plan_rx_gy"], plan["plan_rx_levels_gy"]) == (None, [50.0, 60.0])
    assert found.codes == {"RX_UNKNOWN": 1}


def test_the_planning_systems_own_curves_are_kept_for_comparison(patient, export):
    item, roi = Dataset(), Dataset()
    roi.ReferencedROINumber, roi.DVHROIContributionType = 3, "INCLUDED"
    item.DVHReferencedROISequence = [roi]
    item.DVHType, item.DoseUnits, item.DoseType = "CUMULATIVE", "GY", "PHYSICAL"
    item.DVHVolumeUnits, item.DVHDoseScaling, item.DVHNumberOfBins = "CM3", "1", 3
    item.DVHData, item.DVHMaximumDose = [10, 8, 10, 6, 20, 6], "104.9"
    patient.rtdose.DVHSequence = [item]
    found = export(patient)
    (row,) = TPS_DVH.read(found.out / "tps_dvh.parquet").to_dict("records")
    assert (row["rtdose_id"], row["dose_id"], row["structure_set_id"]) == ("rd-01", "plan-01", "rs-01")
    assert (row["roi_number"], row["roi_numbers"], row["volume_cc"]) == (3, "3 INCLUDED", 8.0)
    assert (list(row["dose_gy"]), list(row["cumulative_volume_cc"])) == ([0, 10, 20], [8, 6, 6])
    assert (row["dmin_gy"], row["dmax_gy"], row["written_max"]) == (0.0, 40.0, 104.9)

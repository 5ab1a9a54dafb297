"""Stage prepare_rt on real exports, with what their raw tags say as the expectation."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests.prepare.rt_runs import Prepared, run_stages

pytestmark = pytest.mark.data

FLOAT32_RELATIVE = 1e-7


def exported(shared_data: Path, folder: str, target: Path, names: str = "*") -> Path:
    """A copy of a set without its images: packed objects unpacked, archives of CT left out."""
    for file in sorted((shared_data / folder).rglob(names)):
        if file.is_file() and file.name not in ("SOURCE.txt",) and ".tar" not in file.suffixes:
            place = target / file.relative_to(shared_data / folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".xz":
                place.with_suffix("").write_bytes(lzma.decompress(file.read_bytes()))
            else:
                shutil.copy(file, place)
    return target


def planned(courses: list[Prepared]) -> Prepared:
    (found,) = [c for c in courses if c.course.plans and c.course.doses]
    return found


CASES: dict[str, dict[str, Any]] = {
    "brachy_hdr_prostate": {"plan-01": ("plan", "ok", 2043.182, "PHYSICAL", ["plan_reference"])},
    "dicompyler-core": {"plan-01": ("plan", "ok", 14.680764, "PHYSICAL", ["plan_reference"])},
    "pymedphys/pinnacle16": {"plan-01": ("plan", "ok", 49.8724, "PHYSICAL", [])},
    "plan_study_2018/lung_pinnacle_plan1": {"plan-01": ("fraction_group_sum", "ok", 61.45, "PHYSICAL", [])},
    "plan_study_2018/lung_monaco_imrt": {"plan-01": ("plan", "ok", 27.7905, "PHYSICAL", [])},
    # three plans of one phantom, treated never: each its row, no total; the other phantom's frame is registered to it
    "eclipse_phantom_registered/explicit": {
        f"plan-{n:02d}": ("plan", "ambiguous", None, "PHYSICAL", ["plan_reference", "registration"]) for n in (1, 2, 3)
    },
}


def test_a_real_registration_that_moves_leads_the_doses_to_the_other_phantom(shared_data: Path, tmp_path: Path):
    """The objects of one export, with the matrix that another system wrote: a turn of 22.6 degrees and a shift."""
    source = exported(shared_data, "eclipse_phantom_registered/explicit", tmp_path / "export")
    values = pydicom.dcmread(shared_data / "onkodicom_reg" / "spatial_reg.dcm", force=True).RegistrationSequence[0]
    written = values.MatrixRegistrationSequence[0].MatrixSequence[0].FrameOfReferenceTransformationMatrix
    (file,) = source.glob("RE.*.dcm")
    ds = pydicom.dcmread(file)
    moved = ds.RegistrationSequence[1]
    moved.MatrixRegistrationSequence[0].MatrixSequence[0].FrameOfReferenceTransformationMatrix = written
    ds.save_as(file)
    found = planned(run_stages(source, tmp_path / "work"))
    for entry in found.doses.values():
        links = {e["link"]: e for e in entry["structure_sets"]}
        assert set(links) == {"plan_reference", "registration"}
        assert "matrix" not in links["plan_reference"]
        assert links["registration"]["registrations"] == ["reg-01"]
        # the doses lie in the frame of the second item, and the matrix leads from it to the object's own
        assert links["registration"]["matrix"] == np.array(written, float).reshape(4, 4).tolist()
    assert found.codes["REG_APPLIED"] == 3
    assert all("turned by 22.60 degrees" in f.measured for f in found.findings if f.code == "REG_APPLIED")


@pytest.mark.parametrize("folder", CASES)
def test_the_doses_of_real_sets(shared_data: Path, tmp_path: Path, folder: str):
    found = planned(run_stages(exported(shared_data, folder, tmp_path / "export"), tmp_path / "work"))
    doses = found.doses
    assert set(doses) == set(CASES[folder])
    for dose_id, (basis, status, max_gy, dose_type, links) in CASES[folder].items():
        entry = doses[dose_id]
        assert (entry["dose_basis"], entry["dose_status"], entry["dose_type"]) == (basis, status, dose_type)
        assert sorted(s["link"] for s in entry["structure_sets"]) == links
        if max_gy is not None:
            assert entry["max_gy"] == pytest.approx(max_gy, rel=1e-5)


def test_both_encodings_of_one_export_are_taken_once(shared_data: Path, tmp_path: Path):
    """Explicit and implicit copies hold the same objects; the maxima are those of the raw values."""
    export = exported(shared_data, "eclipse_phantom_registered", tmp_path / "export")
    found = planned(run_stages(export, tmp_path / "work"))
    raw = [pydicom.dcmread(f) for f in (export / "explicit").glob("RD.*.dcm")]
    expected = sorted(float(ds.pixel_array.max()) * float(ds.DoseGridScaling) for ds in raw)
    assert sorted(d["max_gy"] for d in found.doses.values()) == pytest.approx(expected)
    assert found.json("course_total")["status"] == "ambiguous"


def raystation(shared_data: Path, target: Path) -> Path:
    """The proton set with one patient id: its plan has another than its doses, which organize refuses rightly."""
    target.mkdir()
    for file in (shared_data / "raystation_proton_beams").glob("*.dcm"):
        ds = pydicom.dcmread(file)
        ds.PatientID, ds.PatientName, ds.PatientBirthDate = "WTR", "Phantom", ""
        ds.save_as(target / file.name)
    return target


def test_two_proton_beams_add_up_to_the_plan(shared_data: Path, tmp_path: Path):
    """RayStation: the sum of both BEAM doses is the PLAN dose within 5e-5 Gy, the step of its 16 bits."""
    export = raystation(shared_data, tmp_path / "export")
    with_plan = planned(run_stages(export, tmp_path / "a"))
    assert with_plan.doses["plan-01"]["dose_basis"] == "plan"
    verified = with_plan.finding("DOSE_SUMMATION_PLAN_AND_BEAM")
    assert verified.severity == "I"
    assert {f["role"] for f in with_plan.json("dose_objects")} == {"used", "verifies"}
    for file in export.glob("RD*.dcm"):
        if pydicom.dcmread(file, stop_before_pixels=True).DoseSummationType == "PLAN":
            file.unlink()
    beams = planned(run_stages(export, tmp_path / "b"))
    entry = beams.doses["plan-01"]
    assert (entry["dose_basis"], entry["dose_type"]) == ("beam_sum", "EFFECTIVE")
    grid_of_plan, plan_gy, _ = with_plan.volume("plan-01")
    grid_of_beams, beam_gy, known = beams.volume("plan-01")
    assert known.all()
    assert grid_of_plan.matches(grid_of_beams)
    assert np.abs(plan_gy - beam_gy).max() <= 5e-5
    next(iter(export.glob("RD*.dcm"))).unlink()
    (found,) = [c for c in run_stages(export, tmp_path / "c") if c.course.doses]
    assert found.doses == {}
    assert found.finding("DOSE_SUMMATION_BEAM").severity == "E"


def test_a_feet_first_dose_lies_where_its_tags_say(shared_data: Path, tmp_path: Path):
    """Direction cosines -1 0 0 / 0 1 0: columns run towards -x, planes towards -z, from the position of the first."""
    export = exported(shared_data, "pymedphys/feet_in_supine", tmp_path / "export", "RD.*")
    courses = run_stages(export, tmp_path / "work")
    assert len(courses) == 2
    raw = {float(ds.DoseGridScaling): ds for ds in (pydicom.dcmread(f) for f in export.glob("RD.*"))}
    for found in courses:
        assert found.codes == {"DOSE_NO_PLAN": 1}
        grid, values, _ = found.volume("dose-01")
        ds = next(d for s, d in raw.items() if abs(d.pixel_array.max() * s - found.doses["dose-01"]["max_gy"]) < 1e-9)
        plane, row, column = np.unravel_index(int(np.argmax(values)), values.shape)
        assert values[plane, row, column] == pytest.approx(
            float(ds.pixel_array[plane, row, column]) * float(ds.DoseGridScaling), rel=FLOAT32_RELATIVE
        )
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        expected = [x - 2.0 * column, y + 2.0 * row, z - 2.5 * plane]
        assert np.allclose(grid.index_zyx_to_patient([float(plane), float(row), float(column)]), expected, atol=1e-9)


def test_a_plan_with_three_prescriptions_keeps_them_apart(shared_data: Path, tmp_path: Path):
    """Monaco: 26, 24 and 50 Gy in fraction groups of 13, 12 and 25, none of them tied to a structure."""
    export = tmp_path / "export"
    export.mkdir()
    shutil.copy(shared_data / "plan_study_2018" / "chestwall_monaco_1plan_3rx" / "2018CompLTCWC2_t2.dcm", export)
    (found,) = run_stages(export, tmp_path / "work")
    (plan,) = found.json("plans")
    assert (plan["plan_rx_gy"], plan["plan_rx_levels_gy"]) == (None, [24.0, 26.0, 50.0])
    assert [g["fractions_planned"] for g in plan["fraction_groups"]] == [13, 12, 25]
    assert plan["fractions_planned"] is None
    assert "RX_UNKNOWN" in found.codes


def test_five_concurrent_plans_reference_each_other(shared_data: Path, tmp_path: Path):
    """Brainlab iPlan, one plan for each metastasis; no dose in the set, so no total."""
    export = exported(shared_data, "plan_study_2018/brain_iplan_5plans", tmp_path / "export")
    (found,) = run_stages(export, tmp_path / "work")
    plans = found.json("plans")
    assert len(plans) == 5
    for plan in plans:
        related = {(r["plan_id"], r["relationship"]) for r in plan["related_plans"]}
        assert related == {(p["plan_id"], "CONCURRENT") for p in plans if p is not plan}
    assert found.json("course_total")["status"] == "none"


def test_fourteen_needles_are_open_contours_and_cost_nothing(shared_data: Path, tmp_path: Path):
    export = exported(shared_data, "brachy_hdr_prostate", tmp_path / "export")
    (found,) = run_stages(export, tmp_path / "work")
    assert found.codes == {"SS_CONTOUR_POINT": 14}
    grid = json.loads((found.out / "doses" / "plan-01" / "geometry.json").read_text())
    assert grid["plane_offsets_mm"][:3] == [0.0, -1.0, -2.0]
    (plan,) = found.json("plans")
    assert (plan["plan_class"], plan["techniques"], plan["plan_rx_gy"]) == ("brachy", ["hdr interstitial"], 16.0)

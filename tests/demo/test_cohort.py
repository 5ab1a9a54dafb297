from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from rtpipeline.demo import make_cohort
from rtpipeline.demo.marker import carries_demo_marker
from rtpipeline.demo.solids import VERTICES

from .conftest import SEED, Cohort
from .even_odd import even_odd

LARGEST_MB = 130
IDEAL = 0.02
"""Relative: slabs and polygons against the ideal solid, at most for 3 mm planes and a target of 11 mm radius."""

SAMPLED = 0.005
"""Relative: a Riemann sum over 1 mm cells against the exact volume and mean dose."""

DOSED = ("DEMO-001", "DEMO-002", "DEMO-003", "DEMO-006")


def test_the_truth_that_is_returned_is_the_one_on_disk(cohort: Cohort) -> None:
    assert json.loads((cohort.folder / "truth.json").read_text(encoding="utf-8")) == cohort.truth


def test_patients_are_of_the_six_kinds_and_every_file_counts(cohort: Cohort) -> None:
    found = {}
    for patient_id, truth in cohort.truth["patients"].items():
        assert len(cohort.contents(patient_id)) == truth["files"]
        counts = [len(cohort.datasets(patient_id, m)) for m in ("CT", "RTSTRUCT", "RTPLAN", "RTDOSE")]
        assert counts == [truth["images"], truth["structure_sets"], len(truth["plans"]), truth["doses"]]
        found[patient_id] = (truth["kind"], *counts)
    assert found == {
        "DEMO-001": ("planned", 170, 1, 1, 1),
        "DEMO-002": ("planned", 144, 1, 1, 1),
        "DEMO-003": ("planned", 170, 1, 2, 2),
        "DEMO-004": ("images_only", 102, 0, 0, 0),
        "DEMO-005": ("structures_only", 0, 1, 0, 0),
        "DEMO-006": ("planned", 180, 1, 1, 2),
    }


def test_the_cohort_stays_small(cohort: Cohort) -> None:
    assert sum(p.stat().st_size for p in cohort.folder.rglob("*") if p.is_file()) < LARGEST_MB * 1e6


def test_every_object_carries_the_marker_and_its_patient(cohort: Cohort) -> None:
    for patient_id, truth in cohort.truth["patients"].items():
        for modality in ("CT", "RTSTRUCT", "RTPLAN", "RTDOSE"):
            for ds in cohort.datasets(patient_id, modality):
                assert carries_demo_marker(ds.Manufacturer, ds.ManufacturerModelName)
                assert ds.PatientID == patient_id
                assert {str(ds.PatientName), ds.PatientBirthDate, ds.SeriesInstanceUID} <= set(truth["identifiers"])


def test_file_names_carry_no_order(cohort: Cohort) -> None:
    for patient_id in ("DEMO-001", "DEMO-002", "DEMO-006"):
        numbers = [ds.InstanceNumber for ds in cohort.datasets(patient_id, "CT")]
        assert numbers != sorted(numbers)


def test_the_same_seed_gives_the_same_bytes_however_many_patients_follow(cohort: Cohort, tmp_path: Path) -> None:
    make_cohort(tmp_path, patients=2, seed=SEED)
    again = Cohort(tmp_path, json.loads((tmp_path / "truth.json").read_text(encoding="utf-8")))
    for patient_id, truth in again.truth["patients"].items():
        assert truth == cohort.truth["patients"][patient_id]
        assert again.contents(patient_id) == cohort.contents(patient_id)


def test_an_existing_cohort_is_not_overwritten_and_none_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        make_cohort(cohort.folder, patients=1)
    with pytest.raises(ValueError, match="at least 1"):
        make_cohort(tmp_path, patients=0)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, rtpipeline.demo; print(sorted({'pydicom', 'numpy', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("patient_id", [*DOSED, "DEMO-005"])
def test_literal_volumes_are_near_to_the_ideal_solids(cohort: Cohort, patient_id: str) -> None:
    for name, structure in cohort.truth["patients"][patient_id]["structures"].items():
        assert structure["volume_cc"] == pytest.approx(structure["volume_ideal_cc"], rel=IDEAL), name


def _rasterised(contours: list[Dataset], cell_mm: float) -> dict[float, np.ndarray]:
    """By height, the (n, 2) centres of the cells of 1 mm that the contours of a plane contain, by the even-odd rule."""
    by_plane: dict[float, list[np.ndarray]] = {}
    for item in contours:
        points = np.array(item.ContourData, float).reshape(-1, 3)
        by_plane.setdefault(float(points[0, 2]), []).append(points[:, :2])
    cells = {}
    for z, polygons in by_plane.items():
        lower, upper = np.vstack(polygons).min(axis=0), np.vstack(polygons).max(axis=0)
        x, y = (np.arange(lower[i], upper[i], cell_mm) + cell_mm / 2 for i in (0, 1))
        inside = even_odd(polygons, x, y)
        i, j = np.nonzero(inside)
        cells[z] = np.column_stack([x[i], y[j]])
    return cells


def _dose_objects(cohort: Cohort, patient_id: str, plan_label: str) -> list[Dataset]:
    plans = {p.SOPInstanceUID: p.RTPlanLabel for p in cohort.datasets(patient_id, "RTPLAN")}
    doses = cohort.datasets(patient_id, "RTDOSE")
    return [d for d in doses if plans[d.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID] == plan_label]


def _linear_fit(doses: list[Dataset]) -> np.ndarray:
    """Coefficients (1, x, y, z) of the sum of stored doses, fitted to their corner voxels in patient coordinates."""
    total = np.zeros(4)
    for ds in doses:
        row, column = np.array(ds.ImageOrientationPatient[:3], float), np.array(ds.ImageOrientationPatient[3:], float)
        offsets = np.array(ds.GridFrameOffsetVector, float)
        if offsets[0] != 0:
            offsets = offsets - offsets[0]  # absolute heights, PS3.3 C.8.8.3.2 b
        stored = ds.pixel_array * float(ds.DoseGridScaling)
        points, values = [], []
        for k, i, j in np.ndindex(2, 2, 2):
            at = (np.array([k, i, j]) * (np.array(stored.shape) - 1)).tolist()
            points.append(
                np.array(ds.ImagePositionPatient, float)
                + offsets[at[0]] * np.cross(row, column)
                + at[1] * float(ds.PixelSpacing[0]) * column
                + at[2] * float(ds.PixelSpacing[1]) * row
            )
            values.append(stored[tuple(at)])
        design = np.column_stack([np.ones(8), points])
        fit, *_ = np.linalg.lstsq(design, np.array(values), rcond=None)
        np.testing.assert_allclose(design @ fit, values, atol=1e-4)
        total += fit
    return total


@pytest.mark.parametrize("patient_id", DOSED)
def test_truth_agrees_with_what_the_files_hold(cohort: Cohort, patient_id: str) -> None:
    """Volume, mean, median and D95 from the files alone: cells of 1 mm, doses fitted to stored values."""
    truth = cohort.truth["patients"][patient_id]
    (structure_set,) = cohort.datasets(patient_id, "RTSTRUCT")
    numbers = {roi.ROIName: roi.ROINumber for roi in structure_set.StructureSetROISequence}
    contours = {item.ReferencedROINumber: item.ContourSequence for item in structure_set.ROIContourSequence}
    fits = {label: _linear_fit(_dose_objects(cohort, patient_id, label)) for label in truth["plans"]}
    spacing_mm = truth["spacing_xyz_mm"][2]
    for name, structure in truth["structures"].items():
        if structure["volume_cc"] > 120:
            continue
        cells = _rasterised(list(contours[numbers[name]]), 1.0)
        assert sum(map(len, cells.values())) * spacing_mm / 1000 == pytest.approx(structure["volume_cc"], rel=SAMPLED)
        points = np.vstack([np.column_stack([np.ones(len(xy)), xy, np.full(len(xy), z)]) for z, xy in cells.items()])
        for label, fit in [*fits.items(), ("total", np.sum(list(fits.values()), axis=0))]:
            dose_gy, expected = points @ fit, truth["dvh"][label][name]
            assert dose_gy.mean() == pytest.approx(expected["dmean_gy"], rel=SAMPLED), (name, label)
            assert np.median(dose_gy) == pytest.approx(expected["d50_gy"], rel=SAMPLED), (name, label)
            assert np.quantile(dose_gy, 0.05) == pytest.approx(expected["d95_gy"], rel=SAMPLED), (name, label)


def test_two_phases_add_up(cohort: Cohort) -> None:
    truth = cohort.truth["patients"]["DEMO-003"]
    assert truth["rx_gy"] == {"PTV": 66.0}
    assert [p["fractions"] for p in truth["plans"].values()] == [25, 8]
    for name, total in truth["dvh"]["total"].items():
        parts = [truth["dvh"][label][name]["dmean_gy"] for label in truth["plans"]]
        assert total["dmean_gy"] == pytest.approx(sum(parts), rel=1e-8), name


def test_each_level_of_the_integrated_boost_names_its_own_roi(cohort: Cohort) -> None:
    (plan,) = cohort.datasets("DEMO-002", "RTPLAN")
    (structure_set,) = cohort.datasets("DEMO-002", "RTSTRUCT")
    names = {roi.ROINumber: roi.ROIName for roi in structure_set.StructureSetROISequence}
    levels = {names[r.ReferencedROINumber]: float(r.TargetPrescriptionDose) for r in plan.DoseReferenceSequence}
    assert levels == {"PTV_54": 54.0, "PTV_60": 60.0, "PTV_66": 66.0} == cohort.truth["patients"]["DEMO-002"]["rx_gy"]


def test_prescriptions_and_dose_agree_within_an_eighth(cohort: Cohort) -> None:
    for patient_id in DOSED:
        truth = cohort.truth["patients"][patient_id]
        for name, rx_gy in truth["rx_gy"].items():
            assert truth["dvh"]["total"][name]["d95_gy"] == pytest.approx(rx_gy, rel=0.125), (patient_id, name)


def test_dose_grids_come_in_all_legal_layouts(cohort: Cohort) -> None:
    offsets = {}
    for patient_id in DOSED:
        for ds in cohort.datasets(patient_id, "RTDOSE"):
            offsets[patient_id] = np.array(ds.GridFrameOffsetVector, float)
    assert offsets["DEMO-001"][0] != 0
    assert offsets["DEMO-006"][0] == 0 and np.all(np.diff(offsets["DEMO-006"]) < 0)
    assert offsets["DEMO-002"][0] == 0 and np.all(np.diff(offsets["DEMO-002"]) > 0)


def test_rings_are_drawn_with_a_hole_or_as_a_keyhole(cohort: Cohort) -> None:
    most = {}
    for patient_id, name in (("DEMO-001", "Ring_PTV"), ("DEMO-006", "PTV_Ring")):
        (structure_set,) = cohort.datasets(patient_id, "RTSTRUCT")
        number = next(r.ROINumber for r in structure_set.StructureSetROISequence if r.ROIName == name)
        items = next(i for i in structure_set.ROIContourSequence if i.ReferencedROINumber == number).ContourSequence
        planes = [str(item.ContourData[2]) for item in items]
        most[patient_id] = (max(map(planes.count, planes)), max(item.NumberOfContourPoints for item in items))
    assert most == {"DEMO-001": (2, VERTICES), "DEMO-006": (1, 2 * VERTICES + 2)}


def test_dates_lie_in_2024_and_phases_weeks_apart(cohort: Cohort) -> None:
    dates: dict[str, list[str]] = {}
    for patient_id in cohort.truth["patients"]:
        for modality in ("CT", "RTSTRUCT", "RTPLAN", "RTDOSE"):
            for ds in cohort.datasets(patient_id, modality):
                assert ds.StudyDate.startswith("2024") and ds.SeriesDate.startswith("2024")
                if modality == "RTPLAN":
                    dates.setdefault(patient_id, []).append(ds.RTPlanDate)
    first, second = sorted(dates["DEMO-003"])
    assert np.datetime64(f"{second[:4]}-{second[4:6]}-{second[6:]}") - np.datetime64(
        f"{first[:4]}-{first[4:6]}-{first[6:]}"
    ) == np.timedelta64(35, "D")

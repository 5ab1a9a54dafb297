"""Doses of one plane to a file: one grid where the planes are proved to belong together, and nothing otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.dicom.dose_planes import join_planes
from rtpipeline.dicom.rtdose import RtDose, parse_rtdose
from tests.synthetic.edits import planes_of

STEP_GY = 1e-6
"""The demo writes doses in steps of this."""


@pytest.fixture(scope="module")
def patient() -> SmallPatient:
    return small_patient(dose_spacing_xyz_mm=(8.0, 7.0, 9.0))


@pytest.fixture
def planes(patient: SmallPatient) -> list[Dataset]:
    return planes_of(copy.deepcopy(patient.rtdose))


def parsed(datasets: list[Dataset]) -> dict[str, RtDose]:
    return {f"rd-{n:02d}": parse_rtdose(ds, f"rd-{n:02d}") for n, ds in enumerate(datasets, start=1)}


def test_planes_in_any_order_are_the_grid_that_they_were_cut_from(patient, planes):
    whole = parse_rtdose(patient.rtdose)
    shuffled = [planes[k] for k in np.random.default_rng(1).permutation(len(planes))]
    joined, members = join_planes(parsed(shuffled))
    assert list(joined) == ["rd-01"]
    assert members == {"rd-01": tuple(f"rd-{n:02d}" for n in range(1, len(planes) + 1))}
    found = joined["rd-01"]
    assert found.grid == whole.grid
    assert np.array_equal(found.stored, whole.stored) and found.scaling_gy == whole.scaling_gy
    assert found.findings == []
    assert (found.summation_type, found.plans) == (whole.summation_type, whole.plans)


def test_each_plane_keeps_its_own_scaling(patient, planes):
    for number, ds in enumerate(planes, start=1):
        factor = round(1.0 + number / 7.0, 3)
        ds.DoseGridScaling = f"{1e-6 * factor:.10g}"
        values = np.frombuffer(ds.PixelData, "<u4") / factor
        ds.PixelData = np.rint(values).astype("<u4").tobytes()
    (found,) = join_planes(parsed(planes))[0].values()
    assert np.abs(found.dose_gy - parse_rtdose(patient.rtdose).dose_gy).max() <= 3 * STEP_GY
    assert found.max_gy == pytest.approx(parse_rtdose(patient.rtdose).max_gy, abs=3 * STEP_GY)


def test_uneven_planes_lie_where_they_say(planes):
    kept = [ds for k, ds in enumerate(planes)]
    kept[2].ImagePositionPatient = [*kept[2].ImagePositionPatient[:2], float(kept[2].ImagePositionPatient[2]) + 1.5]
    (found,) = join_planes(parsed(kept))[0].values()
    assert np.diff(found.grid.plane_offsets_mm)[1:3].tolist() == pytest.approx([10.5, 7.5])


def move(number: int, along: int, mm: float) -> Callable[[list[Dataset]], object]:
    def change(planes: list[Dataset]) -> None:
        position = [float(v) for v in planes[number].ImagePositionPatient]
        position[along] += mm
        planes[number].ImagePositionPatient = position

    return change


def change_all(planes: list[Dataset], **values: object) -> None:
    for ds in planes:
        for keyword, value in values.items():
            setattr(ds, keyword, value)


def no_reference(planes: list[Dataset]) -> None:
    for ds in planes:
        del ds.ReferencedRTPlanSequence
        ds.SeriesInstanceUID = generate_uid()


REFUSED = {
    "one is missing": (lambda p: p.pop(3), "a gap of 18.00 mm between planes 9.00 mm apart"),
    "one was exported twice": (lambda p: p.append(copy.deepcopy(p[2])), "two planes at one place"),
    "one lies beside the others": (move(4, 0, 8.0), "planes beside one another"),
    "one has no scaling": (lambda p: setattr(p[1], "DoseGridScaling", "0"), "1 of them cannot be used"),
    "one is in percent": (lambda p: setattr(p[1], "DoseUnits", "RELATIVE"), "a gap of 18.00 mm"),
    "one of another dose type": (lambda p: setattr(p[3], "DoseType", "EFFECTIVE"), "a gap of 18.00 mm"),
    "nothing in common": (no_reference, "neither a plan nor a series"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_planes_that_are_not_proved_to_be_one_grid_are_refused_together(planes, case):
    change, words = REFUSED[case]
    change(planes)
    joined, members = join_planes(parsed(planes))
    assert members == {}
    assert len(joined) == len(planes)
    assert all(dose.grid is None and dose.dose_gy is None for dose in joined.values())
    said = [f for dose in joined.values() for f in dose.findings if words in f.measured]
    assert [f.code for f in said] == ["DOSE_GRID_INCOMPLETE"]


def test_planes_of_two_plans_two_series_or_two_frames_are_not_mixed(planes):
    for keyword in ("FrameOfReferenceUID", "SeriesInstanceUID"):
        second = copy.deepcopy(planes)
        change_all(second, **{keyword: generate_uid()})
        for ds in second:
            ds.SOPInstanceUID = generate_uid()
        joined, members = join_planes(parsed(planes + second))
        assert len(joined) == len(members) == 2
        assert {len(ids) for ids in members.values()} == {len(planes)}


def test_planes_that_each_have_a_series_of_their_own_are_joined_by_their_plan(planes):
    for ds in planes:
        ds.SeriesInstanceUID = generate_uid()
    assert len(join_planes(parsed(planes))[0]) == 1


def test_a_plane_alone_and_a_whole_grid_stay_what_they_are(patient, planes):
    doses = {"rd-01": parse_rtdose(planes[0], "rd-01"), "rd-02": parse_rtdose(patient.rtdose, "rd-02")}
    joined, members = join_planes(doses)
    assert (joined, members) == (doses, {})
    assert [f.measured for f in joined["rd-01"].findings] == ["one plane"]


def test_noise_below_zero_is_judged_on_the_whole_grid(planes):
    """In a plane where there is no dose, noise is as large as all else."""
    for ds in planes:
        values = np.frombuffer(ds.PixelData, "<u4").astype("<i4")
        ds.PixelData, ds.PixelRepresentation = values.tobytes(), 1
    edge = np.frombuffer(planes[0].PixelData, "<i4") * 0
    edge[:3] = (-20, 15, -10)
    planes[0].PixelData = edge.astype("<i4").tobytes()
    (found,) = join_planes(parsed(planes))[0].values()
    assert found.grid is not None
    planes[0].PixelData = (edge * 10_000_000).astype("<i4").tobytes()
    (found,) = join_planes(parsed(planes))[0].values()
    assert found.grid is None
    assert ("DOSE_COMPRESSED_BITS", "E") in {(f.code, f.severity.value) for f in found.findings}

"""Faults of dose grids: where they lie, how they are stored, what they leave out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.uid import ExplicitVRBigEndian

from rtpipeline.demo.grid import GridGeometry
from rtpipeline.demo.small import covering_grid, small_patient
from tests.synthetic.consequences import (
    assert_same_rows,
    dvh,
    is_missing,
    no_dose,
    same_numbers,
)
from tests.synthetic.edits import new_dose, planes_of, save_with_dose
from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import fault, oddity, patient

ANOTHER_GRID = 1e-5
"""Relative difference of a structure's numbers on another grid of the same linear dose: cells follow the grid too, and
a volume at a dose is known to their size."""


def only_the_maximum(chain: Chain, clean: Chain) -> None:
    """Of structures that leave the grid, every D and V is null but the maximum, and the part inside is told."""
    found = dvh(chain)
    for name in ("BODY", "SpinalCord"):
        row = found[name]
        assert row["dose_status"] == "low_coverage" and 0 < row["dose_coverage_pct"] < 99.5
        assert row["dmax_gy"] > 0 and row["volume_cc"] == dvh(clean)[name]["volume_cc"]
        numbers = [c for c in row if c[0] in "dv" and c.endswith(("_gy", "_pct", "_cc")) and c[1].isdigit()]
        assert len(numbers) > 40 and all(is_missing(row[c]) for c in numbers)
        assert is_missing(row["dmean_gy"]) and is_missing(row["dmin_gy"])
    assert_same_rows(found, dvh(clean), ["GTV", "PTV"], ANOTHER_GRID)


@fault("DOSE_GRID_COVERAGE", "cropped", measured="% of 7.38 cc inside the dose grid", then=only_the_maximum)
def a_grid_around_the_target(folder: Path) -> None:
    """The dose was calculated on a box around the target, and the cord leaves it."""
    grid = covering_grid((-20.0, -40.0, 10.0), (30.0, 20.0, 70.0), (4.0, 4.0, 5.0))
    small_patient(dose_grid=grid).save(folder)


def nothing_inside(chain: Chain, clean: Chain) -> None:
    """No dose is known of the cord: no number at all."""
    row = dvh(chain)["SpinalCord"]
    assert (row["dose_status"], row["dose_coverage_pct"]) == ("outside_grid", 0.0)
    assert is_missing(row["dmax_gy"]) and is_missing(row["v5gy_cc"])
    assert_same_rows(dvh(chain), dvh(clean), ["GTV", "PTV"], ANOTHER_GRID)


@fault("DOSE_GRID_COVERAGE", "outside", measured="0.00 % of 7.38 cc", then=nothing_inside)
def a_structure_off_the_grid(folder: Path) -> None:
    """The grid ends before the cord begins: its dose is unknown, not 0 Gy."""
    grid = covering_grid((-20.0, -40.0, 10.0), (30.0, 8.0, 70.0), (4.0, 4.0, 5.0))
    small_patient(dose_grid=grid).save(folder)


@fault("DOSE_GFOV", "shuffled", measured="neither ascend nor descend", then=no_dose)
def shuffled_frames(folder: Path) -> None:
    """A converter wrote frames in an order of its own."""
    made = patient()
    offsets = list(made.rtdose.GridFrameOffsetVector)  # type: ignore[union-attr]
    made.rtdose.GridFrameOffsetVector = [offsets[k] for k in (0, 2, 1, *range(3, len(offsets)))]  # type: ignore[union-attr]
    made.save(folder)


@oddity(then=same_numbers)
def absolute_offsets(folder: Path) -> None:
    """Frame offsets are the planes' z, which the standard allows for axial grids."""
    small_patient(absolute_offsets=True).save(folder)


@oddity(then=same_numbers)
def descending_offsets(folder: Path) -> None:
    """The first frame is the uppermost and the offsets descend."""
    made = patient()
    made.rtdose = new_dose(made, grid=made.dose_grid.reversed_planes())
    made.save(folder)


def _irregular(grid: GridGeometry) -> GridGeometry:
    offsets = np.array(grid.plane_offsets_mm)
    middle = np.arange(1, len(offsets) - 1)
    offsets[middle] += np.where(middle % 2, 0.5, -0.3)  # never nearer than the pixels, so that cells stay as they are
    return replace(grid, plane_offsets_mm=tuple(float(v) for v in offsets))


@oddity(then=same_numbers)
def irregular_offsets(folder: Path) -> None:
    """The planes of the dose lie at uneven distances, as on a CT of mixed spacing."""
    made = patient()
    made.rtdose = new_dose(made, grid=_irregular(made.dose_grid))
    made.save(folder)


@fault("DOSE_FOR_MISMATCH", "other frame", measured="frame of reference differs", then=no_dose)
def dose_in_another_frame(folder: Path) -> None:
    """The dose was recalculated on a cone beam CT and carries its frame of reference."""
    made = patient()
    made.rtdose.FrameOfReferenceUID = made.study.uids("frame of a cone beam CT")  # type: ignore[union-attr]
    made.save(folder)


STEP_16_BITS = 2e-5
"""Relative difference by a dose stored in steps of 1 mGy, in a dose of 50 Gy."""


def same_but_for_the_step(chain: Chain, clean: Chain) -> None:
    """Doses within the step in which they are stored."""
    for name, row in dvh(chain).items():
        for column in ("dmin_gy", "dmax_gy", "dmean_gy", "d95_gy", "d2_gy"):
            assert abs(row[column] - dvh(clean)[name][column]) <= STEP_16_BITS * 50.0


@fault("DOSE_COMPRESSED_BITS", "16 bits", measured="16 bits unsigned", then=same_but_for_the_step)
def sixteen_bits(folder: Path) -> None:
    """An older system stores 16 bits."""
    made = patient()
    made.rtdose = new_dose(made, bits=16, scaling_gy="0.001")
    made.save(folder)


@fault("DOSE_COMPRESSED_BITS", "big endian", measured="big endian", then=same_numbers)
def big_endian(folder: Path) -> None:
    """A workstation of another age writes big endian."""
    made = patient()
    assert made.rtdose is not None
    made.rtdose.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    made.rtdose.PixelData = np.frombuffer(made.rtdose.PixelData, "<u4").astype(">u4").tobytes()
    made.save(folder)


@fault("DOSE_COMPRESSED_BITS", "signed", measured="32 bits signed", then=same_numbers)
def signed_values(folder: Path) -> None:
    """A system writes signed values although a dose is never negative."""
    save_with_dose(folder, PixelRepresentation=1)


def told_where_the_peak_is(chain: Chain, clean: Chain) -> None:
    """Structures around the hot voxels are flagged, and keep the peak that the spline gives them; the cord is not."""
    found = dvh(chain)
    assert {name: row["dose_overshoot"] for name, row in found.items()} == {
        "BODY": True, "GTV": True, "PTV": True, "SpinalCord": False,
    }  # fmt: skip
    assert found["GTV"]["dmax_gy"] > 1.1 * HOT_GY and found["GTV"]["dmin_gy"] >= 0.0
    assert abs(found["SpinalCord"]["dmean_gy"] - dvh(clean)["SpinalCord"]["dmean_gy"]) < 0.01


HOT_GY = 80.0


@fault("DOSE_OVERSHOOT", "hot block", measured="maximum of the grid 80.00 Gy", then=told_where_the_peak_is)
def a_few_hot_voxels(folder: Path) -> None:
    """An artefact in the image left a block of hot voxels in the calculated dose, with cliffs around it."""
    made = patient()
    assert made.rtdose is not None
    ds = made.rtdose
    shape = (int(ds.NumberOfFrames), int(ds.Rows), int(ds.Columns))
    stored = np.frombuffer(ds.PixelData, "<u4").reshape(shape).copy()
    k, j, i = (n // 2 for n in shape)
    stored[k : k + 2, j : j + 2, i : i + 2] = round(HOT_GY / float(ds.DoseGridScaling))
    ds.PixelData = stored.tobytes()
    made.save(folder)


@fault("DOSE_NO_PIXELS", "histograms only", measured="no pixel data", then=no_dose)
def dose_without_a_grid(folder: Path) -> None:
    """The dose object holds the planning system's histograms and no grid."""
    save_with_dose(folder, PixelData=None)


@fault("DOSE_GRID_INCOMPLETE", "no spacing", measured="PixelSpacing missing", then=no_dose)
def a_grid_without_spacing(folder: Path) -> None:
    """A converter lost the pixel spacing."""
    save_with_dose(folder, PixelSpacing=None)


def _in_planes(folder: Path, *missing: int) -> None:
    made = patient()
    planes = planes_of(made.rtdose)  # type: ignore[arg-type]
    made.rtdose, made.extra = None, [ds for k, ds in enumerate(planes) if k not in missing]
    made.save(folder)


def made_of_every_plane(chain: Chain, clean: Chain) -> None:
    """The numbers of the whole grid, and every file of it in the list."""
    same_numbers(chain, clean)
    folder = chain.folder(chain.course.course_id, "prepare_rt")
    (entry,) = json.loads((folder / "doses.json").read_text())
    fates = json.loads((folder / "dose_objects.json").read_text())
    assert entry["rtdose_ids"] == [f["rtdose_id"] for f in fates] == [d.rtdose_id for d in chain.course.doses]
    assert {(f["role"], f["dose_id"]) for f in fates} == {("used", "plan-01")}


@oddity(then=made_of_every_plane)
def a_file_for_each_plane(folder: Path) -> None:
    """A system writes every plane of the dose into a file of its own."""
    _in_planes(folder)


@fault("DOSE_GRID_INCOMPLETE", "plane missing", measured="a gap of 10.00 mm between planes 5.00 mm apart", then=no_dose)
def a_file_of_a_plane_lost(folder: Path) -> None:
    """One of the files, each with a plane of the dose, was lost: what lies between its neighbours is not known."""
    _in_planes(folder, 7)

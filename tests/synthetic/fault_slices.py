"""Faults of slices: they lack, repeat, tilt, or lie about where they are."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from rtpipeline.demo.headers import save
from rtpipeline.demo.small import SmallPatient, small_patient
from tests.synthetic.consequences import (
    assert_image,
    assert_same_rows,
    dvh,
    image,
    nothing_computed,
    refused,
    same_numbers,
    same_when_turned,
    structures,
)
from tests.synthetic.edits import about_x, drop_slices, pixels, scan_again, turned
from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import E, I, W, fault, oddity, patient


def filled(chain: Chain, clean: Chain) -> None:
    """The volume has all its planes, one of them interpolated; the numbers come from contours."""
    assert_image(chain, "missing_slices", 1)
    assert_image(chain, "interpolated_planes", 1)
    assert_image(chain, "status", "ok")
    same_numbers(chain, clean)


@fault("IMG_MISSING_SLICE", "filled", measured="1 missing, largest gap 6 mm", severity=W, then=filled)
def one_slice_lost(folder: Path) -> None:
    """A slice was lost in the transfer."""
    drop_slices(patient(), [17]).save(folder)


@fault("IMG_MISSING_SLICE", "refused", measured="gap of 15 mm (4 missing", severity=E,
       then=refused("IMG_MISSING_SLICE"))  # fmt: skip
def a_block_of_slices_lost(folder: Path) -> None:
    """One of the folders that a scanner console wrote was not copied."""
    drop_slices(patient(), range(8, 12)).save(folder)


def course_ends_here(chain: Chain, clean: Chain) -> None:
    """Nothing is left of a course of images alone: its preparation ends as an error of the data, which is final."""
    record = chain.record(chain.course.course_id, "prepare_images")
    assert (record.status, record.exit_code) == ("data_error", 3)
    assert "IMG_MISSING_SLICE" in record.reason
    nothing_computed(chain, clean)


@fault("IMG_MISSING_SLICE", "images only", measured="gap of 15 mm (4 missing", severity=E, then=course_ends_here)
def a_block_lost_and_nothing_else(folder: Path) -> None:
    """Images were exported for segmentation only, and a part of them was not copied."""
    made = drop_slices(patient(), range(8, 12))
    made.rtstruct = made.rtplan = made.rtdose = None
    made.save(folder)


def every_plane_kept(chain: Chain, clean: Chain) -> None:
    """All original planes are there, the volume is resampled to the finer spacing."""
    assert_image(chain, "planes", 15)
    assert_image(chain, "plane_spacing_mm", 3.0)
    assert_image(chain, "spacing_kind", "nonuniform")
    assert dvh(chain)["SpinalCord"]["volume_cc"] > 0


@fault("IMG_NONUNIFORM_Z", "two zones", measured="steps up to 6 mm, resampled to 3 mm", then=every_plane_kept,
       also=("SS_SLICE_GAP",))  # fmt: skip
def two_spacings(folder: Path) -> None:
    """A head and neck protocol scans the neck in 3 mm and the chest in 6 mm, in one series."""
    scan_again(patient(), [*range(10), *range(11, 20, 2)]).save(folder)


def not_separable(chain: Chain, clean: Chain) -> None:
    """No image, and the numbers as before."""
    assert_image(chain, "status", "refused")
    same_numbers(chain, clean)


def _double(made: SmallPatient, planes: range, change: object = None) -> None:
    for k in planes:
        twin = deepcopy(made.ct[k])
        twin.SOPInstanceUID = made.study.uids("twin", k)
        if change is not None:
            change(twin)  # type: ignore[operator]
        made.ct.append(twin)


def _brighter(ds: Dataset) -> None:
    ds.PixelData = (pixels(ds) + 20).tobytes()


@fault("IMG_DUPLICATE_POSITION", "not separable", measured="20 surplus slices at 20 positions", severity=E,
       then=not_separable)  # fmt: skip
def two_scans_in_one_series(folder: Path) -> None:
    """Two reconstructions were merged into one series, and nothing tells their slices apart; no set references one."""
    made = patient()
    for ds in made.ct:
        ds.ImageType, ds.AcquisitionTime = ["ORIGINAL", "PRIMARY", "AXIAL"], "083200"
    _double(made, range(20), _brighter)
    for item in made.rtstruct.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence:  # type: ignore[union-attr]
        item.RTReferencedSeriesSequence[0].ContourImageSequence = []
    for item in made.rtstruct.ROIContourSequence:  # type: ignore[union-attr]
        for contour in item.ContourSequence:
            contour.ContourImageSequence = []
    made.save(folder)


@fault("IMG_DUPLICATE_POSITION", "resent", measured="1 slices where the referenced image has one", severity=W,
       then=same_numbers)  # fmt: skip
def a_slice_sent_again(folder: Path) -> None:
    """A console sent a slice again under a new UID."""
    made = patient()
    _double(made, range(7, 8))
    made.save(folder)


def first_acquisition_used(chain: Chain, clean: Chain) -> None:
    """The volume is the one that the structure set references."""
    assert_image(chain, "planes", 20)
    assert_image(chain, "content_sha256", image(clean)["content_sha256"])
    same_numbers(chain, clean)


def _second_acquisition(ds: Dataset) -> None:
    ds.AcquisitionNumber, ds.AcquisitionTime = 2, "084000"
    _brighter(ds)


@fault("IMG_DUPLICATE_POSITION", "acquisitions", measured="told apart by acquisition_number", severity=I,
       then=first_acquisition_used)  # fmt: skip
def two_acquisitions(folder: Path) -> None:
    """The scan was repeated after contrast and both acquisitions lie in one series."""
    made = patient()
    _double(made, range(20), _second_acquisition)
    made.save(folder)


def shear_corrected(chain: Chain, clean: Chain) -> None:
    """The volume is resampled, its angle stands in the table, the numbers are those of the contours."""
    assert image(chain)["shear_corrected"] and abs(image(chain)["shear_deg"] - 12.0) < 0.01
    same_numbers(chain, clean)


@fault("IMG_GANTRY_TILT", "12 degrees", measured="12.00 degrees", then=shear_corrected)
def a_tilted_gantry(folder: Path) -> None:
    """The gantry was tilted for a head scan: each slice is shifted against the one before."""
    made = patient()
    lowest = float(made.ct[0].ImagePositionPatient[2])
    for ds in made.ct:
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [f"{x:g}", f"{y + (z - lowest) * np.tan(np.radians(12)):.6f}", f"{z:g}"]
    made.save(folder)


def full_direction_matrix(chain: Chain, clean: Chain) -> None:
    """The same numbers along turned axes."""
    assert image(chain)["plane_class"] == "oblique" and abs(image(chain)["obliquity_deg"] - 20.0) < 1e-3
    same_when_turned(chain, clean)


@fault("IMG_OBLIQUE", "20 degrees", measured="20.0 degrees", then=full_direction_matrix)
def oblique_slices(folder: Path) -> None:
    """MR slices were placed along an organ, and dose and contours follow them."""
    turned(patient(), about_x(20.0)).save(folder)


@fault("IMG_ORIENTATION", "conflict", measured="180 degrees from the table", then=same_numbers)
def a_position_typed_wrongly(folder: Path) -> None:
    """The patient lay prone, and the console was told supine."""
    made = small_patient(position="HFP")
    for ds in made.ct:
        ds.PatientPosition = "HFS"
    made.save(folder)


@fault("IMG_ORIENTATION", "view", measured="planes run towards the head", severity=I, then=same_numbers)
def feet_first_seen_from_the_feet(folder: Path) -> None:
    """The patient went in feet first and the scanner writes the view from the feet."""
    made = patient()
    for ds in made.ct:
        ds.PatientPosition = "FFS"
    made.save(folder)


@fault("IMG_NO_GEOMETRY", "all", measured="0 of 20 slices", severity=E, then=refused("IMG_NO_GEOMETRY"))
def slices_without_geometry(folder: Path) -> None:
    """An anonymiser removed the positions."""
    made = patient()
    for ds in made.ct:
        del ds.ImagePositionPatient, ds.ImageOrientationPatient
    made.save(folder)


@fault("IMG_NO_GEOMETRY", "one", measured="1 of 20 slices", severity=W, then=filled, also=("IMG_MISSING_SLICE",))
def one_slice_without_geometry(folder: Path) -> None:
    """A derived slice without a position was stored in the series."""
    made = patient()
    del made.ct[7].ImagePositionPatient
    made.save(folder)


def no_image_but_numbers(chain: Chain, clean: Chain) -> None:
    """No volume is made; the DVH comes from the contours."""
    assert_image(chain, "status", "refused")
    same_numbers(chain, clean)


@fault("IMG_SINGLE_SLICE", "one", measured="1 slice", then=no_image_but_numbers, also=("IMG_MISSING_SLICE",))
def one_slice_of_the_series(folder: Path) -> None:
    """Only the slice at the isocentre was exported."""
    drop_slices(patient(), [k for k in range(20) if k != 9]).save(folder)


def _position(position: str) -> None:
    def then(chain: Chain, clean: Chain) -> None:
        assert_image(chain, "patient_position", position)
        assert_same_rows(dvh(chain), dvh(clean))
        assert {n: r["volume_cc"] for n, r in structures(chain).items()}.keys() == structures(clean).keys()

    def write(folder: Path) -> None:
        small_patient(position=position).save(folder)

    write.__name__ = f"position_{position}"
    write.__doc__ = f"The patient was scanned in the position {position}, which changes how everything is stored."
    oddity(then=then)(write)


for _one in ("HFP", "HFDL", "HFDR", "FFS", "FFP", "FFDL", "FFDR"):
    _position(_one)


@oddity(then=same_numbers)
def slices_in_another_order(folder: Path) -> None:
    """File names, instance numbers and slice locations run against the positions."""
    made = patient()
    for number, ds in enumerate(reversed(made.ct), start=1):
        ds.InstanceNumber, ds.SliceLocation = number, f"{-number}"
        save(ds, folder / f"{number * 7919 % 100:02d}")
    made.ct = []
    made.save(folder)

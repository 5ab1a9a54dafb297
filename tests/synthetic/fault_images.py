"""Faults of images: slices that lack, repeat, tilt or lie about themselves."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from rtpipeline.demo.grid import Volume
from rtpipeline.demo.headers import save
from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.demo.write_ct import ct_datasets
from tests.synthetic.consequences import (
    assert_same_rows,
    dvh,
    image,
    same_numbers,
    same_when_turned,
    structures,
)
from tests.synthetic.edits import about_x, drop_slices, pixels, scan_again, turned
from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import E, I, W, fault, oddity, patient

ALL_CUT = ("SS_OUTSIDE_IMAGE",)


def _flag(chain: Chain, column: str, expected: object) -> None:
    value = image(chain)[column]
    assert value == expected, f"{column} is {value!r}"


def filled(chain: Chain, clean: Chain) -> None:
    """The volume has all its planes, one of them interpolated; the numbers come from contours."""
    _flag(chain, "missing_slices", 1)
    _flag(chain, "interpolated_planes", 1)
    _flag(chain, "status", "ok")
    same_numbers(chain, clean)


def refused(code: str) -> object:
    """The image is refused for a reason, the stage ends as a data error, the DVH needs no image."""

    def then(chain: Chain, clean: Chain) -> None:
        _flag(chain, "status", "refused")
        _flag(chain, "reason", code)
        assert chain.record(chain.course.course_id, "prepare_images").status == "data_error"
        assert not (chain.folder(chain.course.course_id, "prepare_images") / "images").exists()
        same_numbers(chain, clean)

    return then


@fault("IMG_MISSING_SLICE", "filled", measured="1 missing, largest gap 6 mm", severity=W, then=filled)
def one_slice_lost(folder: Path) -> None:
    """A slice was lost in the transfer."""
    drop_slices(patient(), [17]).save(folder)


@fault("IMG_MISSING_SLICE", "refused", measured="gap of 15 mm (4 missing", severity=E,
       then=refused("IMG_MISSING_SLICE"))  # fmt: skip
def a_block_of_slices_lost(folder: Path) -> None:
    """One of the folders that a scanner console wrote was not copied."""
    drop_slices(patient(), range(8, 12)).save(folder)


def every_plane_kept(chain: Chain, clean: Chain) -> None:
    """All original planes are there, the volume is resampled to the finer spacing."""
    _flag(chain, "planes", 15)
    _flag(chain, "plane_spacing_mm", 3.0)
    _flag(chain, "spacing_kind", "nonuniform")
    assert dvh(chain)["SpinalCord"]["volume_cc"] > 0


@fault("IMG_NONUNIFORM_Z", "two zones", measured="steps up to 6 mm, resampled to 3 mm", then=every_plane_kept,
       also=("SS_SLICE_GAP",))  # fmt: skip
def two_spacings(folder: Path) -> None:
    """A head and neck protocol scans the neck in 3 mm and the chest in 6 mm, in one series."""
    scan_again(patient(), [*range(10), *range(11, 20, 2)]).save(folder)


def not_separable(chain: Chain, clean: Chain) -> None:
    """No image, and the numbers as before."""
    _flag(chain, "status", "refused")
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
    _flag(chain, "planes", 20)
    _flag(chain, "content_sha256", image(clean)["content_sha256"])
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


def scout_listed(chain: Chain, clean: Chain) -> None:
    """The scout is an image of its own that is not prepared."""
    assert sorted(i.image_class for i in chain.course.images) == ["ct", "localizer"]
    _flag(chain, "content_sha256", image(clean)["content_sha256"])
    same_numbers(chain, clean)


@fault("IMG_LOCALIZER_MIXED", "scout", measured="1 slices", then=scout_listed)
def a_scout_in_the_series(folder: Path) -> None:
    """The topogram came under the series UID of the scan."""
    made = patient()
    scout = deepcopy(made.ct[0])
    scout.SOPInstanceUID = made.study.uids("scout")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    made.extra.append(scout)
    made.save(folder)


def referenced_phase_used(chain: Chain, clean: Chain) -> None:
    """The planning image is the one with contours; the phases are listed and not prepared."""
    classes = {i.image_id: (i.image_class, i.role, i.prepare) for i in chain.course.images}
    planning = chain.course.planning_image
    assert planning is not None and planning.image_class == "ct_4d_average"
    assert sorted(classes.values()).count(("ct_4d_phase", "secondary", False)) == 3
    same_numbers(chain, clean)


@fault("IMG_4DCT", "phases", measured="3 phases, 1 averages", then=referenced_phase_used)
def a_4dct(folder: Path) -> None:
    """Phases and average of a 4DCT share one frame of reference; the plan is made on the average."""
    made = patient()
    for ds in made.ct:
        ds.SeriesDescription = "4DCT AVG"
    for number, percent in enumerate((0, 30, 60), start=1):
        shifted = Volume(np.roll(np.asarray(made.image.values), number, axis=1), made.image.geometry)
        series = ct_datasets(shifted, made.study, series=f"4DCT {percent}%", series_number=10 + number)
        made.extra += series
    made.save(folder)


def slice_by_slice(chain: Chain, clean: Chain) -> None:
    """The same HU as before, whatever each slice was stored with."""
    _flag(chain, "hu_status", "calibrated")
    for column in ("lowest_value", "highest_value", "air_hu"):
        assert abs(image(chain)[column] - image(clean)[column]) <= 1.0
    same_numbers(chain, clean)


@fault("IMG_RESCALE", "varying", measured="RescaleSlope 1 to 2", then=slice_by_slice)
def slope_of_each_slice(folder: Path) -> None:
    """A scanner stores each slice with the slope that uses its bits best."""
    made = patient()
    for ds in made.ct[::2]:
        ds.PixelData = np.rint(pixels(ds) / 2.0).astype("<i2").tobytes()
        ds.RescaleSlope = "2"
    made.save(folder)


@fault("IMG_RESCALE", "missing", measured="no RescaleSlope or Intercept",
       then=lambda chain, clean: (_flag(chain, "hu_status", "missing_rescale"), same_numbers(chain, clean)))  # fmt: skip
def no_rescale(folder: Path) -> None:
    """A converter dropped slope and intercept: what the values mean is not known."""
    made = patient()
    for ds in made.ct:
        del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType
    made.save(folder)


@fault("IMG_RESCALE", "mixed", measured="5 of 20 slices without rescale to HU", severity=E,
       then=refused("IMG_RESCALE"))  # fmt: skip
def rescale_of_some_slices(folder: Path) -> None:
    """Two tools wrote parts of one series, one of them without slope and intercept."""
    made = patient()
    for ds in made.ct[:5]:
        del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType
    made.save(folder)


def padding_is_air(chain: Chain, clean: Chain) -> None:
    """Voxels outside the field hold the fill value; HU of air as before."""
    assert image(chain)["padded_pct"] > 0 and image(chain)["air_hu"] == image(clean)["air_hu"]
    same_numbers(chain, clean)


@fault("IMG_RESCALE", "padding", measured="-3024 HU outside the field", severity=I, then=padding_is_air)
def undeclared_padding(folder: Path) -> None:
    """Outside the round field of view a scanner writes -3024 HU and does not say so."""
    made = patient()
    for ds in made.ct:
        values = pixels(ds)
        values[:3, :3] = -3024
        ds.PixelData = values.tobytes()
    made.save(folder)


@fault("IMG_RESCALE", "no intercept", measured="lowest value 0 HU with RescaleIntercept 0",
       then=lambda chain, clean: (_flag(chain, "hu_status", "implausible"), same_numbers(chain, clean)))  # fmt: skip
def values_of_the_detector(folder: Path) -> None:
    """A cone beam CT or a converter writes values from 0 with an intercept of 0: they are no HU."""
    made = patient()
    for ds in made.ct:
        values = pixels(ds)
        ds.PixelData = (values - values.min()).tobytes()
    made.save(folder)


@fault("IMG_TRUNCATED_FOV", "cropped", measured="20 of 20 planes", also=ALL_CUT,
       then=lambda chain, clean: (_flag(chain, "truncated_fov", True), same_numbers(chain, clean)))  # fmt: skip
def a_field_too_small(folder: Path) -> None:
    """The arms of a large patient lie outside the reconstructed field."""
    made = patient()
    for ds in made.ct:
        cut = pixels(ds)[:, 9:]
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [f"{x + 27:g}", f"{y:g}", f"{z:g}"]
        ds.Columns, ds.PixelData = cut.shape[1], cut.tobytes()
    made.save(folder)


def contrast_is_a_covariate(chain: Chain, clean: Chain) -> None:
    """Stated in the course and in the image's row, once as a finding."""
    assert chain.course.covariates.contrast is True and image(chain)["contrast"]
    assert chain.course.covariates.contrast is not clean.course.covariates.contrast
    assert len(chain.found("IMG_CONTRAST")) == 1
    same_numbers(chain, clean)


@fault("IMG_CONTRAST", "agent", measured="contrast agent stated", then=contrast_is_a_covariate)
def contrast_given(folder: Path) -> None:
    """Contrast was given for some patients of a cohort only."""
    made = patient()
    for ds in made.ct:
        ds.ContrastBolusAgent = "OMNIPAQUE"
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
    _flag(chain, "status", "refused")
    same_numbers(chain, clean)


@fault("IMG_SINGLE_SLICE", "one", measured="1 slice", then=no_image_but_numbers, also=("IMG_MISSING_SLICE",))
def one_slice_of_the_series(folder: Path) -> None:
    """Only the slice at the isocentre was exported."""
    drop_slices(patient(), [k for k in range(20) if k != 9]).save(folder)


@oddity(then=lambda chain, clean: (_flag(chain, "content_sha256", image(clean)["content_sha256"]),
                                   same_numbers(chain, clean)))  # fmt: skip
def compressed_slices(folder: Path) -> None:
    """A PACS stores slices run-length encoded, which is lossless."""
    made = patient()
    for ds in made.ct[::3]:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(RLELossless, generate_instance_uid=False)
    made.save(folder)


def _position(position: str) -> None:
    def then(chain: Chain, clean: Chain) -> None:
        _flag(chain, "patient_position", position)
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


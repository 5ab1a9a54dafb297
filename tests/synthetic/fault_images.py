"""Faults of what an image holds: scouts, phases, HU, the field, contrast."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from rtpipeline.demo.grid import Volume
from rtpipeline.demo.write_ct import ct_datasets
from tests.synthetic.consequences import (
    assert_image,
    image,
    refused,
    same_numbers,
)
from tests.synthetic.edits import pixels
from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import Consequence, E, I, fault, oddity, patient


def marked(column: str, expected: object) -> Consequence:
    """The image's row says so, and the numbers are as before."""

    def then(chain: Chain, clean: Chain) -> None:
        assert_image(chain, column, expected)
        same_numbers(chain, clean)

    return then


def scout_listed(chain: Chain, clean: Chain) -> None:
    """The scout is an image of its own that is not prepared."""
    assert sorted(i.image_class for i in chain.course.images) == ["ct", "localizer"]
    assert_image(chain, "content_sha256", image(clean)["content_sha256"])
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
    assert_image(chain, "hu_status", "calibrated")
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
       then=marked("hu_status", "missing_rescale"))  # fmt: skip
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
       then=marked("hu_status", "implausible"))  # fmt: skip
def values_of_the_detector(folder: Path) -> None:
    """A cone beam CT or a converter writes values from 0 with an intercept of 0: they are no HU."""
    made = patient()
    for ds in made.ct:
        values = pixels(ds)
        ds.PixelData = (values - values.min()).tobytes()
    made.save(folder)


@fault("IMG_TRUNCATED_FOV", "cropped", measured="20 of 20 planes", also=("SS_OUTSIDE_IMAGE",),
       then=marked("truncated_fov", True))  # fmt: skip
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


def same_image(chain: Chain, clean: Chain) -> None:
    """The same volume and the same numbers."""
    assert_image(chain, "content_sha256", image(clean)["content_sha256"])
    same_numbers(chain, clean)


@oddity(then=same_image)
def compressed_slices(folder: Path) -> None:
    """A PACS stores slices run-length encoded, which is lossless."""
    made = patient()
    for ds in made.ct[::3]:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(RLELossless, generate_instance_uid=False)
    made.save(folder)

"""Laws of a prepared image: what must not change it, what must survive, which fault says which code."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from rtpipeline.demo.grid import ORIENTATION_OF_POSITION
from rtpipeline.demo.small import CENTRE_MM
from rtpipeline.prepare.image_files import load_template
from rtpipeline.prepare.image_table import IMAGES_SCHEMA

Slices = Callable[..., list[Dataset]]

RAMP_TOLERANCE_HU = 1e-3
"""A linear ramp passes through linear interpolation up to the rounding of float32 values of some thousand HU."""

ITK_TOLERANCE_MM = 1e-4
"""NIfTI stores its matrix in float32: seven digits of a few hundred mm."""

QUANTUM_HU = 0.05
"""Step of the stored ramp; rounding to it is off by half of it at most, and interpolation adds nothing to that."""

RAMP_ERROR_HU = QUANTUM_HU / 2 + RAMP_TOLERANCE_HU


def ramp(position_mm: np.ndarray) -> np.ndarray:
    """HU that change linearly in the patient, all below those of a body: (..., 3) to (...)."""
    return position_mm @ np.array([0.5, -0.3, 0.7]) - 600.0


def painted(datasets: list[Dataset], values: Callable[[np.ndarray], np.ndarray] = ramp) -> list[Dataset]:
    """The slices with HU given as a function of the patient position, stored in steps of QUANTUM_HU."""
    for ds in datasets:
        points = pixel_positions(ds)
        ds.RescaleSlope, ds.RescaleIntercept = f"{QUANTUM_HU}", "0"
        ds.PixelData = np.rint(values(points) / QUANTUM_HU).astype("<i2").tobytes()
    return datasets


def pixel_positions(ds: Dataset) -> np.ndarray:
    """(rows, columns, 3) from the raw tags, PS3.3 equation C.7.6.2.1-1."""
    iop, ipp, spacing = (
        np.array(ds[k].value, float) for k in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
    )
    r, c = np.mgrid[0 : ds.Rows, 0 : ds.Columns]
    return ipp + c[..., None] * spacing[1] * iop[:3] + r[..., None] * spacing[0] * iop[3:]


def moved(ds: Dataset, by_mm: Any) -> Dataset:
    ds.ImagePositionPatient = [f"{a + b:.6f}" for a, b in zip(ds.ImagePositionPatient, by_mm, strict=True)]
    return ds


def turned(datasets: list[Dataset], matrix: np.ndarray) -> list[Dataset]:
    """The same pixels with the patient coordinates turned about the origin."""
    for ds in datasets:
        iop = np.array(ds.ImageOrientationPatient, float)
        ds.ImageOrientationPatient = [f"{v:.9f}" for v in (*(matrix @ iop[:3]), *(matrix @ iop[3:]))]
        ds.ImagePositionPatient = [f"{v:.7f}" for v in matrix @ np.array(ds.ImagePositionPatient, float)]
    return datasets


def about_x(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


# ------------------------------------------------------------------------------------------------ the clean image


def test_the_clean_image_has_no_finding_and_the_pixels_it_was_made_of(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    image = prepare(datasets)
    assert image.codes == []
    assert image.row["status"] == "ok"
    assert (image.row["units"], image.row["hu_status"], image.row["dtype"]) == ("HU", "calibrated", "int16")
    assert image.row["truncated_fov"] is False
    assert image.row["air_hu"] == -1000
    stored = np.stack([np.frombuffer(ds.PixelData, "<i2").reshape(ds.Rows, ds.Columns) for ds in datasets])
    assert np.array_equal(image.values, stored)
    assert (image.row["lowest_value"], image.row["highest_value"]) == (stored.min(), stored.max())
    assert not image.geometry.facts["resampled"]
    assert image.geometry.plane_of_voxel == list(range(len(datasets)))
    assert set(image.row) <= set(IMAGES_SCHEMA.names)


def test_the_order_of_slices_changes_no_byte(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    for k, ds in enumerate(datasets):
        ds.KVP, ds.SliceThickness = str(80 + k), f"{3 + 0.01 * k:.2f}"  # the header of one slice stands for all
    expected = prepare(datasets)
    assert expected.row["kvp"] == 80
    for seed in range(3):
        random.Random(seed).shuffle(datasets)
        image = prepare(datasets)
        assert image.files() == expected.files()
        assert image.row == expected.row


def test_itk_reads_the_same_geometry_as_geometry_json(prepare: Any, slices: Slices) -> None:
    for matrix in (np.eye(3), about_x(20.0), about_x(180.0) @ np.diag([-1.0, -1.0, 1.0])):
        image = prepare(turned(slices(spacing_xyz_mm=(2.0, 3.0, 2.5)), matrix))
        volume = SimpleITK.ReadImage(str(image.folder / "image.nii.gz"))
        assert np.array_equal(SimpleITK.GetArrayFromImage(volume), image.values)
        voxel = image.geometry.voxel
        for index in ((0, 0, 0), (39, 0, 0), (0, 39, 0), (0, 0, 19), (39, 39, 19)):
            expected = voxel.index_zyx_to_patient(np.array(index[::-1], float))
            assert volume.TransformIndexToPhysicalPoint(index) == pytest.approx(expected, abs=ITK_TOLERANCE_MM)


# ------------------------------------------------------------------------------------------------ orientation


@pytest.mark.parametrize("position", [p for p in ORIENTATION_OF_POSITION if p != "HFS"])
def test_the_same_patient_point_has_the_same_hu_in_every_position(prepare: Any, slices: Slices, position: str) -> None:
    size = {"shape_xyz": (30, 34, 12), "spacing_xyz_mm": (3.0, 2.5, 4.0)}
    reference = prepare(slices(**size))
    image = prepare(slices(position=position, **size))
    assert image.codes == []
    half = (np.array(size["shape_xyz"]) - 1) * np.array(size["spacing_xyz_mm"]) / 2
    axes = [np.linspace(c - h, c + h, n) for c, h, n in zip(CENTRE_MM, half, size["shape_xyz"], strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    assert image.at(points) == pytest.approx(reference.at(points), abs=1e-6)


@pytest.mark.parametrize("degrees", [20.0, 90.0, -37.5])
def test_an_oblique_image_keeps_its_hu_at_the_turned_points(prepare: Any, slices: Slices, degrees: float) -> None:
    reference, matrix = prepare(slices()), about_x(degrees)
    image = prepare(turned(slices(), matrix))
    assert image.codes == ["IMG_OBLIQUE"]
    points = np.array(CENTRE_MM) + np.random.default_rng(5).uniform(-25, 25, (200, 3))
    assert image.at(points @ matrix.T) == pytest.approx(reference.at(points), abs=1e-2)
    assert image.row["plane_class"] == ("coronal" if degrees == 90.0 else "oblique")


def test_a_contradicting_patient_position_is_reported_and_flips_nothing(prepare: Any, slices: Slices) -> None:
    expected = prepare(slices())
    datasets = slices()
    for ds in datasets:
        ds.PatientPosition = "HFP"
    image = prepare(datasets)
    assert image.codes == ["IMG_ORIENTATION"]
    assert image.finding("IMG_ORIENTATION").severity == "W"
    assert image.files()["image.nii.gz"] == expected.files()["image.nii.gz"]


# ------------------------------------------------------------------------------------------------ a ramp survives


def inner_points(image: Any, margin: int = 1) -> np.ndarray:
    """Centres of the voxels of the volume, without the outermost of each plane."""
    planes, rows, columns = image.geometry.voxel.shape_zyx
    index = np.stack(
        np.meshgrid(
            np.arange(planes), np.arange(margin, rows - margin), np.arange(margin, columns - margin), indexing="ij"
        ),
        axis=-1,
    )
    return index.astype(float)


def ramp_error(image: Any, mask: np.ndarray | None = None) -> float:
    index = inner_points(image)
    points = image.geometry.voxel.index_zyx_to_patient(index)
    values = image.values[tuple(np.moveaxis(index.astype(int), -1, 0))]
    error = np.abs(values - np.round(ramp(points), 6))
    return float(error.max() if mask is None else error[mask[tuple(np.moveaxis(index.astype(int), -1, 0))]].max())


def test_filled_slices_continue_a_ramp(prepare: Any, slices: Slices) -> None:
    datasets = painted(slices())
    whole = prepare(copy.deepcopy(datasets))
    assert ramp_error(whole) < RAMP_ERROR_HU
    kept = [ds for k, ds in enumerate(datasets) if k not in (7, 8, 13)]
    image = prepare(kept)
    assert image.codes == ["IMG_MISSING_SLICE"]
    assert image.finding("IMG_MISSING_SLICE").severity == "W"
    assert "3 missing" in image.finding("IMG_MISSING_SLICE").measured
    assert image.geometry.facts["filled_slices"] == [7, 8, 13]
    assert image.geometry.voxel == whole.geometry.voxel
    assert len(image.geometry.planes.plane_offsets_mm) == 17
    assert ramp_error(image) < RAMP_ERROR_HU


def test_a_gap_beyond_the_limit_refuses_the_image(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    image = prepare([ds for k, ds in enumerate(datasets) if not 6 <= k <= 9])
    assert (image.row["status"], image.row["reason"]) == ("refused", "IMG_MISSING_SLICE")
    assert image.finding("IMG_MISSING_SLICE").severity == "E"
    assert "15 mm" in image.finding("IMG_MISSING_SLICE").measured
    assert not image.folder.exists()
    assert prepare([ds for k, ds in enumerate(datasets) if not 6 <= k <= 9], max_gap_mm=15.0).row["status"] == "ok"


@pytest.mark.parametrize(
    "zones", [lambda k: 3.0 + 3.0 * (k % 2), lambda k: 3.0 if k < 12 else 4.5, lambda k: 2.0 + 0.13 * k]
)
def test_planes_at_several_spacings_are_resampled_to_a_ramp(
    prepare: Any, slices: Slices, zones: Callable[[int], float]
) -> None:
    datasets, z = slices(), 0.0
    for k, ds in enumerate(datasets):
        x, y, _ = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x, y, f"{z:.4f}"]
        z += zones(k)
    image = prepare(painted(datasets))
    assert image.codes == ["IMG_NONUNIFORM_Z"]
    assert ramp_error(image) < RAMP_ERROR_HU
    assert image.geometry.voxel.is_uniform
    # the original planes stay where they are
    assert image.geometry.planes.plane_origins_xyz_mm[:, 2] == pytest.approx(
        [float(ds.ImagePositionPatient[2]) for ds in datasets], abs=1e-6
    )


@pytest.mark.parametrize("degrees", [12.0, -20.0])
def test_a_tilted_gantry_is_put_upright(prepare: Any, slices: Slices, degrees: float) -> None:
    datasets = slices()
    lean = about_x(degrees)
    for ds in datasets:
        # the table moves along z, the planes lean: positions stay, the cosines turn
        ds.ImageOrientationPatient = [f"{v:.9f}" for v in (*(lean @ [1, 0, 0]), *(lean @ [0, 1, 0]))]
    image = prepare(painted(datasets))
    assert "IMG_GANTRY_TILT" in image.codes
    assert f"{abs(degrees):.2f} degrees" in image.finding("IMG_GANTRY_TILT").measured
    assert image.row["shear_deg"] == pytest.approx(abs(degrees), abs=1e-3)
    inside = image.values != image.geometry.facts["fill_value"]
    assert 0.6 < inside.mean() < 1.0
    assert ramp_error(image, inside) < RAMP_ERROR_HU
    # every stored pixel has its place: the volume reaches as far as the slices did
    for ds in (datasets[0], datasets[-1]):
        index = image.geometry.voxel.patient_to_index_zyx(pixel_positions(ds))
        assert index.min() > -1e-3
        assert (index <= np.array(image.geometry.voxel.shape_zyx) - 1 + 1e-3).all()


def test_tilt_and_missing_slices_together_keep_the_ramp(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    for k, ds in enumerate(datasets):
        moved(ds, (0.4 * k, 0.0, 0.0))
    image = prepare([ds for k, ds in enumerate(painted(datasets)) if k != 9])
    assert set(image.codes) == {"IMG_GANTRY_TILT", "IMG_MISSING_SLICE"}
    assert ramp_error(image, image.values != image.geometry.facts["fill_value"]) < RAMP_ERROR_HU


# ------------------------------------------------------------------------------------------------ faults of slices


def test_two_different_slices_at_one_position_refuse_the_image(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    second = copy.deepcopy(datasets[4])
    second.SOPInstanceUID = "1.2.3.4"
    second.PixelData = datasets[5].PixelData
    image = prepare([*datasets, second])
    assert (image.row["status"], image.row["reason"]) == ("refused", "IMG_DUPLICATE_POSITION")
    assert image.finding("IMG_DUPLICATE_POSITION").severity == "E"


def test_a_slice_sent_twice_with_equal_pixels_counts_once(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    second = copy.deepcopy(datasets[4])
    second.SOPInstanceUID = "1.2.3.4"
    image = prepare([*datasets, second])
    assert image.codes == ["IMG_DUPLICATE_POSITION"]
    assert image.finding("IMG_DUPLICATE_POSITION").severity == "W"
    assert image.files()["image.nii.gz"] == prepare(datasets).files()["image.nii.gz"]


def test_phases_in_one_series_are_split_and_the_referenced_one_is_used(prepare: Any, slices: Slices) -> None:
    first, second = slices(), slices()
    for k, ds in enumerate(second):
        ds.SOPInstanceUID, ds.AcquisitionNumber = f"1.2.3.{k}", 2
        ds.PixelData = (np.frombuffer(ds.PixelData, "<i2") + 7).astype("<i2").tobytes()
    image = prepare([*first, *second], referenced=frozenset({"1.2.3.0"}))
    assert image.codes == ["IMG_DUPLICATE_POSITION"]
    assert np.array_equal(image.values, prepare(first).values + 7)


def test_a_scout_within_the_series_is_split_off(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    scout = copy.deepcopy(datasets[0])
    scout.SOPInstanceUID, scout.ImageType = "1.2.3.4", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    image = prepare([scout, *datasets])
    assert image.codes == ["IMG_LOCALIZER_MIXED"]
    assert image.files()["image.nii.gz"] == prepare(datasets).files()["image.nii.gz"]


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slices_without_geometry_refuse_the_image(prepare: Any, slices: Slices, keyword: str) -> None:
    datasets = slices()
    for ds in datasets:
        del ds[keyword]
    image = prepare(datasets)
    assert (image.row["status"], image.codes) == ("refused", ["IMG_NO_GEOMETRY"])


def test_one_slice_without_geometry_is_left_out_and_filled(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    del datasets[6].ImagePositionPatient
    image = prepare(datasets)
    assert image.row["status"] == "ok"
    assert image.codes == ["IMG_NO_GEOMETRY", "IMG_MISSING_SLICE"]


def test_a_single_slice_is_no_volume(prepare: Any, slices: Slices) -> None:
    image = prepare(slices()[:1])
    assert (image.row["status"], image.row["reason"]) == ("refused", "IMG_SINGLE_SLICE")
    assert image.finding("IMG_SINGLE_SLICE").severity == "W"


def test_a_truncated_slice_is_named_and_filled(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    datasets[0].PixelData, datasets[7].PixelData = datasets[0].PixelData[:100], datasets[7].PixelData[:100]
    image = prepare(datasets)
    assert image.codes == ["FILE_TRUNCATED", "IMG_MISSING_SLICE"]
    assert image.finding("FILE_TRUNCATED").measured == "2 of 20 slices"
    assert image.row["planes"] == 18
    # the cut first slice is gone, so the volume starts at the second
    clean = prepare(slices())
    assert np.array_equal(image.values[0], clean.values[1])
    assert image.geometry.facts["filled_slices"] == [6]


def test_an_absent_decoder_names_the_compression(prepare: Any, slices: Slices, monkeypatch: Any) -> None:
    datasets = slices()
    for ds in datasets:
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.106"  # no plugin of pydicom decodes it
    image = prepare(datasets)
    assert (image.row["status"], image.row["reason"], image.codes) == (
        "refused",
        "FILE_COMPRESSED",
        ["FILE_COMPRESSED"],
    )


def test_compressed_slices_give_the_same_volume(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    expected = prepare(copy.deepcopy(datasets))
    for ds in datasets[::2]:
        ds.compress(RLELossless, generate_instance_uid=False)
    assert prepare(datasets).files()["image.nii.gz"] == expected.files()["image.nii.gz"]


# ------------------------------------------------------------------------------------------------ values


def test_a_slope_that_changes_between_slices_is_applied_slice_by_slice(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    expected = prepare(copy.deepcopy(datasets)).values
    for ds in datasets[::2]:
        stored = np.frombuffer(ds.PixelData, "<i2") + 1024
        ds.RescaleSlope, ds.RescaleIntercept = "0.5", "-1024"
        ds.PixelData = (2 * stored).astype("<i2").tobytes()
    image = prepare(datasets)
    assert image.codes == ["IMG_RESCALE"]
    assert "0.5 to 1" in image.finding("IMG_RESCALE").measured
    assert np.array_equal(image.values, expected)
    assert image.values.dtype == np.int16


def test_a_ct_without_rescale_is_kept_without_hounsfield_units(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    for ds in datasets:
        del ds.RescaleSlope, ds.RescaleIntercept
    image = prepare(datasets)
    assert image.codes == ["IMG_RESCALE"]
    assert (image.row["units"], image.row["hu_status"], image.row["status"]) == ("stored", "missing_rescale", "ok")
    assert image.row["air_hu"] is None


def test_rescale_on_some_slices_only_refuses_the_image(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    del datasets[3].RescaleSlope
    image = prepare(datasets)
    assert (image.row["status"], image.row["reason"]) == ("refused", "IMG_RESCALE")
    assert image.finding("IMG_RESCALE").severity == "E"


def test_values_from_zero_with_intercept_zero_are_no_hounsfield_units(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    for ds in datasets:
        ds.PixelData = (np.frombuffer(ds.PixelData, "<i2") + 1024).astype("<i2").tobytes()
    image = prepare(datasets)
    assert image.codes == ["IMG_RESCALE"]
    assert image.row["hu_status"] == "implausible"


@pytest.mark.parametrize(("padding", "declared"), [(-2000, True), (-3024, True), (-2000, False), (63536, True)])
def test_padding_becomes_the_stated_value(prepare: Any, slices: Slices, padding: int, declared: bool) -> None:
    datasets = slices()
    clean = prepare(copy.deepcopy(datasets)).values
    stored = padding - 65536 if padding > 32767 else padding
    outside = np.hypot(*np.mgrid[-19.5:20, -19.5:20]) > 20
    for ds in datasets:
        pixels = np.frombuffer(ds.PixelData, "<i2").reshape(40, 40).copy()
        pixels[outside] = stored
        ds.PixelData = pixels.tobytes()
        if declared:
            ds.add_new(0x00280120, "US" if padding > 32767 else "SS", padding)
    image = prepare(datasets)
    assert image.codes == ([] if declared else ["IMG_RESCALE"])
    assert np.array_equal(image.values, np.where(outside, -1024, clean))
    assert image.row["padded_pct"] == pytest.approx(100 * outside.mean(), abs=1e-3)
    assert image.row["air_hu"] == -1000


def test_padding_that_is_air_already_stays_as_it_is(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    expected = prepare(copy.deepcopy(datasets))
    for ds in datasets:
        ds.add_new(0x00280120, "SS", -1000)
    image = prepare(datasets)
    assert image.codes == []
    assert image.files()["image.nii.gz"] == expected.files()["image.nii.gz"]
    assert image.row["padded_pct"] == 0


def test_a_padding_value_among_the_tissues_makes_no_air(prepare: Any, slices: Slices) -> None:
    """PixelPaddingValue 0 with intercept 0 would turn every voxel of 0 HU, water, into air."""
    datasets = slices()
    expected = prepare(copy.deepcopy(datasets)).values
    assert (expected == 20).any()
    for ds in datasets:
        ds.add_new(0x00280120, "SS", 20)
    image = prepare(datasets)
    assert image.codes == ["IMG_RESCALE"]
    assert np.array_equal(image.values, expected)


def test_values_beyond_16_bits_and_fractions_are_kept_in_float(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    pixels = np.frombuffer(datasets[4].PixelData, "<i2").reshape(40, 40).copy()
    pixels[20, 20:22] = 1500
    datasets[4].PixelData = pixels.tobytes()
    assert prepare(datasets).values.dtype == np.int16
    for ds in datasets[4:6]:
        ds.RescaleSlope = "25"
    large = prepare(datasets)
    assert (large.values.dtype, large.values.max()) == (np.float32, 37500)
    for ds in datasets[4:6]:
        ds.RescaleSlope = "0.3"
    fractions = prepare(datasets)
    assert fractions.values.dtype == np.float32
    assert fractions.values[4] == pytest.approx(pixels * 0.3, abs=1e-4)
    assert np.array_equal(fractions.values[0], np.frombuffer(datasets[0].PixelData, "<i2").reshape(40, 40))


def test_a_body_at_the_edge_of_the_field_is_flagged(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    for ds in datasets:
        pixels = np.frombuffer(ds.PixelData, "<i2").reshape(40, 40)[:, 9:]
        ds.Columns, ds.PixelData = pixels.shape[1], pixels.tobytes()
    image = prepare(datasets)
    assert image.codes == ["IMG_TRUNCATED_FOV"]
    assert image.row["truncated_fov"] is True


def test_contrast_is_a_covariate(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    assert prepare(datasets).row["contrast"] is None
    for ds in datasets:
        ds.ContrastBolusAgent = "none"
    assert prepare(datasets).row["contrast"] is False
    for ds in datasets:
        ds.ContrastBolusAgent = "Ultravist^Patient Doe"
    image = prepare(datasets)
    assert (image.row["contrast"], image.codes) == (True, ["IMG_CONTRAST"])
    assert all(b"Ultravist" not in content for content in image.files().values())


def test_a_cone_beam_ct_is_marked(prepare: Any, slices: Slices) -> None:
    assert prepare(slices(), image_class="cbct").row["hu_status"] == "cbct"


@pytest.mark.parametrize(("modality", "units"), [("MR", "arbitrary"), ("PT", "BQML")])
def test_mr_and_pet_are_no_hounsfield_units(prepare: Any, slices: Slices, modality: str, units: str) -> None:
    datasets = slices()
    for k, ds in enumerate(datasets):
        ds.Units, ds.RescaleSlope = "BQML", f"{1 + 0.1 * k:.1f}"
    image = prepare(datasets, modality=modality)
    assert image.codes == []
    assert (image.row["units"], image.row["hu_status"]) == (units, "not_ct")
    assert (image.row["air_hu"], image.row.get("truncated_fov")) == (None, None)


# ------------------------------------------------------------------------------------------------ identity


def test_nothing_that_identifies_stands_in_the_folder(prepare: Any, slices: Slices) -> None:
    study = {"birth_date": "19341105", "study_date": "20230607", "accession_number": "ACC4711", "study_id": "ST4711"}
    datasets = slices(patient_id="ID-4711-X", patient_name="Secret^Name", study_fields=study)
    image = prepare(datasets)
    ds = datasets[0]
    forbidden = ["ID-4711", "Secret", "19341105", "20230607", "4711", ds.InstitutionName, ds.StudyDescription]
    forbidden += [ds.SeriesDescription, ds.ReferringPhysicianName, ds.StudyInstanceUID, ds.SeriesInstanceUID]
    forbidden += [ds.FrameOfReferenceUID, *(s.SOPInstanceUID for s in datasets)]
    everything = b"".join(v for name, v in image.files().items() if not name.endswith(".gz")).decode()
    everything += str(image.row) + str(image.result.findings)
    assert "p0123456789" in everything
    for text in forbidden:
        assert str(text) not in everything, text


def test_headers_for_later_objects_fit_the_planes(prepare: Any, slices: Slices) -> None:
    datasets = slices()
    image = prepare(list(reversed(datasets)))
    headers = load_template(image.folder)
    assert len({h.SOPInstanceUID for h in headers}) == len(datasets)
    assert len({(h.StudyInstanceUID, h.SeriesInstanceUID, h.FrameOfReferenceUID) for h in headers}) == 1
    assert {str(h.PatientName) for h in headers} == {"p0123456789"}
    origins = image.geometry.planes.plane_origins_xyz_mm
    for h, original, origin in zip(headers, datasets, origins, strict=True):
        assert "PixelData" not in h
        assert [float(v) for v in h.ImagePositionPatient] == pytest.approx(origin)
        assert h.SOPInstanceUID.startswith("2.25.")
        for keyword in ("Rows", "Columns", "Modality", "ImageOrientationPatient", "PixelSpacing", "BitsStored"):
            assert h[keyword].value == original[keyword].value

"""Features against the library itself, called on the whole image as float64 and the whole mask."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name its manual uses

from rtpipeline.contracts.tables import RADIOMICS
from rtpipeline.geometry.grid import Grid
from rtpipeline.radiomics import extract
from rtpipeline.radiomics.extract import NoFeatures, extract_features
from rtpipeline.radiomics.frame import SPLINE_MARGIN_VOXELS, Frame
from rtpipeline.radiomics.profiles import Profile, load_profile
from tests.radiomics.phantoms import OBLIQUE, Phantom, as_float, by_library, phantom, worst_difference

SAME = 1e-9
"""relative; a crop changes the last bits of resampled values, medians near zero show it most (4e-11 measured)"""

WIDE = (24, 96, 96)
"""(z, y, x) voxels, so much wider than the structure that resampling works on a crop"""


def features(p: Phantom, profile: Profile, **options: object) -> dict[str, float]:
    return extract_features(p.values_zyx, p.mask_zyx, p.frame, profile, **options)  # type: ignore[arg-type]


def changed(profile: Profile, **settings: object) -> Profile:
    return replace(profile, settings=profile.settings | settings)


@pytest.mark.parametrize(
    "p",
    [
        pytest.param(phantom(), id="the crop is the whole image"),
        pytest.param(phantom(shape_zyx=WIDE, spacing_xyz_mm=(0.976562, 0.976562, 2.5)), id="cropped"),
        pytest.param(phantom(shape_zyx=WIDE, direction=OBLIQUE), id="oblique"),
    ],
)
def test_every_feature_of_the_seeds_ct_settings_equals_the_library(p: Phantom) -> None:
    profile = load_profile("seed-ct")
    found = features(p, profile)
    assert len(found) == 1223
    assert worst_difference(found, by_library(as_float(p.image), p.mask, profile)) <= SAME


@pytest.mark.parametrize(
    "spacing", [(1.0, 1.0, 3.0), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.7, 0.9, 1.5), (1.25, 1.25, 5.0)]
)
def test_every_voxel_size_equals_the_library(spacing: tuple[float, float, float]) -> None:
    p, profile = phantom(shape_zyx=WIDE, spacing_xyz_mm=spacing), load_profile("original")
    assert worst_difference(features(p, profile), by_library(as_float(p.image), p.mask, profile)) <= SAME


@pytest.mark.parametrize(
    "settings",
    [
        {"resampledPixelSpacing": [2.0, 2.0, 0.0]},
        {"resampledPixelSpacing": None},
        {"resampledPixelSpacing": None, "preCrop": True},
        {"interpolator": "sitkLinear"},
        {"interpolator": sitk.sitkLinear},
        {"binCount": 16},
        {"resegmentRange": [-50, 80]},
        {"force2D": True, "force2Ddimension": 0},
        {"normalize": True, "removeOutliers": 2.0, "normalizeScale": 100.0},
    ],
    ids=str,
)
def test_settings_of_a_parameter_file_equal_the_library(settings: dict[str, object]) -> None:
    p = phantom(shape_zyx=(20, 80, 80))
    profile = replace(
        changed(load_profile("original"), **settings), image_types={"Original": {}, "LoG": {"sigma": [2.0]}}
    )
    assert worst_difference(features(p, profile), by_library(as_float(p.image), p.mask, profile)) <= SAME


@pytest.mark.parametrize(("name", "count"), [("seed-mr", 386), ("original", 107), ("original-mr", 107)])
def test_other_profiles_equal_the_library(name: str, count: int) -> None:
    p, profile = phantom(shape_zyx=(20, 80, 80), spacing_xyz_mm=(0.9, 0.9, 3.3)), load_profile(name)
    found = features(p, profile)
    assert len(found) == count
    assert worst_difference(found, by_library(as_float(p.image), p.mask, profile)) <= SAME


def test_trap_1_an_integer_image_is_not_truncated() -> None:
    """Resampling an int16 image with its own pixel type cuts every value towards zero: the mean of the reference CT was
    18.66 instead of 18.99 HU, and each noise level of a robustness chain was biased differently."""
    p, profile = phantom(), load_profile("original")
    p = replace(p, values_zyx=p.values_zyx + np.int16(500))  # all above zero: every value loses half a unit
    assert p.values_zyx.dtype == np.int16
    found = features(p, profile)
    assert found == extract_features(p.values_zyx.astype(np.float64), p.mask_zyx, p.frame, profile)
    truncated = by_library(p.image, p.mask, profile)
    bias = found["original_firstorder_Mean"] - truncated["original_firstorder_Mean"]
    assert bias == pytest.approx(0.5, abs=0.05)


def test_trap_2_the_grid_is_that_of_the_whole_image() -> None:
    """Cropping to the mask before the library makes its grid moves the grid: at 2.5 mm slices the nearest-neighbour
    mask meets ties, and 1 to 8 % of its planes come from the neighbouring slice."""
    p, profile = phantom(shape_zyx=WIDE, spacing_xyz_mm=(1.25, 1.25, 2.5)), load_profile("original")
    found = features(p, profile)
    z, y, x = (np.flatnonzero(p.mask_zyx.any(axis=o)) for o in ((1, 2), (0, 2), (0, 1)))
    low = [int(i[0]) - 4 for i in (x, y, z)]
    size = [int(np.ptp(i)) + 8 for i in (x, y, z)]
    cut = [sitk.RegionOfInterest(i, size, low) for i in (as_float(p.image), p.mask)]
    naive = by_library(*cut, profile)
    assert worst_difference(found, by_library(as_float(p.image), p.mask, profile)) <= SAME
    assert naive["original_shape_VoxelVolume"] != found["original_shape_VoxelVolume"]


def test_trap_3_one_mask_gives_one_result_from_the_image_or_a_part_of_it() -> None:
    """Distance maps break ties another way on a crop, so grown masks differed by 1 % of their voxels and features by
    tens of per cent. Masks are made once, and the part of the image that is at hand changes nothing."""
    p, profile = phantom(shape_zyx=(32, 128, 128)), load_profile("original")
    box = [np.flatnonzero(p.mask_zyx.any(axis=o)) for o in ((1, 2), (0, 2), (0, 1))]
    reach = SPLINE_MARGIN_VOXELS + profile.settings["padDistance"]
    start = tuple(max(0, int(i[0]) - reach) for i in box)
    part = tuple(slice(s, int(i[-1]) + reach + 1) for s, i in zip(start, box, strict=True))
    assert p.values_zyx[part].size < p.values_zyx.size / 2
    found = extract_features(p.values_zyx[part], p.mask_zyx[part], p.frame, profile, offset_zyx=start)  # type: ignore[arg-type]
    assert worst_difference(found, features(p, profile)) <= SAME


def test_trap_4_the_window_of_the_laplacian_of_gaussian_is_wide_enough_in_the_profile_ct() -> None:
    """With 5 voxels around the structure the border of the crop stands within one sigma of 5 mm: the variance of the
    filtered image is off by per cents. With 25 it no longer depends on the window."""
    p = phantom(shape_zyx=(60, 120, 120), spacing_xyz_mm=(1.0, 1.0, 1.0))
    log = {"image_types": {"LoG": {"sigma": [5.0]}}, "feature_classes": {"firstorder": ["Variance"]}}
    name = "log-sigma-5-0-mm-3D_firstorder_Variance"
    widest = features(p, replace(changed(load_profile("ct"), padDistance=45), **log))[name]  # type: ignore[arg-type]
    wide = features(p, replace(load_profile("ct"), **log))[name]  # type: ignore[arg-type]
    seed = features(p, replace(load_profile("seed-ct"), **log))[name]  # type: ignore[arg-type]
    assert wide == pytest.approx(widest, rel=1e-3)
    assert abs(seed / widest - 1) > 0.01


def test_trap_5_the_phantom_has_the_same_voxels_with_every_version_of_every_library() -> None:
    p = phantom()
    assert p.values_zyx.dtype == np.int16
    digest = hashlib.sha256(p.values_zyx.astype("<i2").tobytes() + p.mask_zyx.tobytes()).hexdigest()[:16]
    assert digest == PHANTOM_DIGEST


PHANTOM_DIGEST = "1dc85ee45e9048a4"


def test_where_rounding_decides_on_a_bin_the_whole_image_is_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a lattice that meets the voxel centres an integer image keeps its integers but for the last bit, and each
    multiple of the bin width falls into one bin or the next: there only the library's own route gives its numbers."""
    p = phantom(shape_zyx=(20, 120, 120), spacing_xyz_mm=(3.0, 3.0, 3.0), radius_mm=20)
    p = replace(p, values_zyx=(p.values_zyx // 25 * 25).astype(np.int16))
    profile = load_profile("original")
    expected = by_library(as_float(p.image), p.mask, profile)
    assert worst_difference(features(p, profile), expected) == 0
    monkeypatch.setattr(extract, "_has_ties", lambda *_: False)
    assert worst_difference(features(p, profile), expected) > SAME


def test_a_flat_structure_is_as_the_library_has_it() -> None:
    p, profile = phantom(shape_zyx=(20, 80, 80)), load_profile("original")
    flat = replace(p, values_zyx=np.full_like(p.values_zyx, 40))
    found = features(flat, profile)
    assert worst_difference(found, by_library(as_float(flat.image), flat.mask, profile)) == 0
    assert found["original_firstorder_Mean"] == pytest.approx(40)


def test_a_grid_and_its_frame_place_every_voxel_alike() -> None:
    descending = Grid.from_dicom_like((0.8, 0.6, 0, -0.6, 0.8, 0), (3, -7, 11), (0.9, 1.1), -2.5 * np.arange(5), 6, 7)
    frame = Frame.of_grid(descending)
    image = frame.image(np.zeros(frame.shape_zyx, np.uint8))
    index = np.array(list(np.ndindex(*frame.shape_zyx)))
    placed = np.array([image.TransformIndexToPhysicalPoint([int(v) for v in i[::-1]]) for i in index])
    assert placed == pytest.approx(descending.index_zyx_to_patient(index), abs=1e-9)
    part = frame.image(np.zeros((2, 2, 2), np.uint8), (2, 3, 4))
    assert part.GetOrigin() == pytest.approx(tuple(descending.index_zyx_to_patient([2, 3, 4])), abs=1e-9)


def test_a_grid_and_its_frame_give_the_same_features() -> None:
    p, profile = phantom(), load_profile("original")
    x, y, z = p.frame.spacing_xyz_mm
    grid = Grid.from_dicom_like(
        (1, 0, 0, 0, 1, 0), p.frame.origin_xyz_mm, (y, x), z * np.arange(p.frame.size_xyz[2]), *p.values_zyx.shape[1:]
    )
    assert extract_features(p.values_zyx, p.mask_zyx, grid, profile) == features(p, profile)


def box_mask(p: Phantom, depth: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros_like(p.mask_zyx)
    mask[16 : 16 + depth, 10 : 10 + height, 10 : 10 + width] = True
    return mask


@pytest.mark.parametrize(
    ("size", "status"), [((0, 0, 0), "empty"), ((2, 2, 2), "too_small"), ((1, 1, 20), "one_dimensional")]
)
def test_a_mask_that_the_library_refuses_has_a_status(size: tuple[int, int, int], status: str) -> None:
    p, profile = phantom(spacing_xyz_mm=(1.0, 1.0, 1.0)), load_profile("seed-ct")
    mask = box_mask(p, *size)
    with pytest.raises(NoFeatures) as caught:
        extract_features(p.values_zyx, mask, p.frame, profile)
    assert caught.value.status == status
    with pytest.raises(ValueError):
        by_library(as_float(p.image), p.frame.image(mask.astype(np.uint8)), profile)


@pytest.mark.parametrize(
    ("limits", "status"),
    [([5000, 6000], "none or one voxel within"), ([150, 155], "voxels after resampling; need more")],
)
def test_a_range_that_leaves_too_little_has_a_status(limits: list[int], status: str) -> None:
    p, profile = phantom(), changed(load_profile("original"), resegmentRange=limits)
    with pytest.raises(NoFeatures, match=status) as caught:
        features(p, profile)
    assert caught.value.status == "too_small"
    with pytest.raises(ValueError):
        by_library(as_float(p.image), p.mask, profile)


@pytest.mark.parametrize(
    ("settings", "filters"),
    [
        ({}, {"Wavelet": {"wavelet": "haar", "level": 2}}),
        ({"force2D": True}, {"Wavelet": {"wavelet": "haar"}, "LBP2D": {}}),
        ({}, {"LoG": {"sigma": [0.5, 12.25]}, "Square": {}, "SquareRoot": {}, "Logarithm": {}, "Exponential": {}}),
        ({}, {"Gradient": {}}),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Applying `local_binary_pattern`")
def test_the_table_takes_every_feature_of_every_filter(
    settings: dict[str, object], filters: dict[str, dict[str, object]]
) -> None:
    profile = changed(load_profile("original"), resampledPixelSpacing=None, **settings)
    profile = replace(profile, image_types={"Original": {}} | filters, feature_classes={"firstorder": ["Mean"]})
    found = list(features(phantom(), profile))
    assert len(found) > len(filters)
    assert set(found) <= set(RADIOMICS.frame([], extra=found).columns)


def test_one_more_voxel_than_the_least_is_enough() -> None:
    p = phantom(spacing_xyz_mm=(1.0, 1.0, 1.0))
    mask, least = box_mask(p, 4, 4, 4), load_profile("original").settings["minimumROISize"]
    assert np.count_nonzero(mask) == least
    with pytest.raises(NoFeatures, match="64 voxels after resampling; need more than 64"):
        extract_features(p.values_zyx, mask, p.frame, load_profile("original"))
    mask[20, 10, 10] = True
    assert extract_features(p.values_zyx, mask, p.frame, load_profile("original"))


def test_a_structure_on_one_slice_has_features_and_is_not_resampled_across_it() -> None:
    p, profile = phantom(shape_zyx=(24, 64, 64)), load_profile("original")
    mask = box_mask(p, 1, 14, 17)
    expected = by_library(as_float(p.image), p.frame.image(mask.astype(np.uint8)), profile)
    assert worst_difference(extract_features(p.values_zyx, mask, p.frame, profile), expected) <= SAME


def test_an_image_of_one_plane_or_of_one_value_has_a_status() -> None:
    p = phantom()
    grid = Grid.from_dicom_like((1, 0, 0, 0, 1, 0), (0, 0, 0), (1, 1), [0.0], 32, 32)
    with pytest.raises(NoFeatures) as caught:
        extract_features(p.values_zyx[:1], p.mask_zyx[16:17], grid, load_profile("original"))
    assert caught.value.status == "single_plane"
    with pytest.raises(NoFeatures) as caught:
        extract_features(np.full_like(p.values_zyx, 7), p.mask_zyx, p.frame, load_profile("original-mr"))
    assert caught.value.status == "flat_image"


def test_image_and_mask_of_different_shape_or_outside_the_grid_are_refused() -> None:
    p, profile = phantom(), load_profile("original")
    with pytest.raises(ValueError, match="need one shape"):
        extract_features(p.values_zyx[1:], p.mask_zyx, p.frame, profile)
    with pytest.raises(ValueError, match="leaves the image"):
        extract_features(p.values_zyx, p.mask_zyx, p.frame, profile, offset_zyx=(1, 0, 0))

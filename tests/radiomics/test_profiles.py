from __future__ import annotations

from pathlib import Path

import pytest
from radiomics.featureextractor import RadiomicsFeatureExtractor

from rtpipeline.config import load_config, parse_config
from rtpipeline.errors import ConfigError
from rtpipeline.radiomics.profiles import PARAMETERS, load_profile, profile_names

SEVEN = ["shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]


def test_the_seeds_ct_settings_are_exactly_these() -> None:
    profile = load_profile("seed-ct")
    assert profile.image_types == {
        "Original": {},
        "LoG": {"sigma": [1.0, 2.0, 3.0, 5.0]},
        "Wavelet": {"wavelet": "coif1", "start_level": 0, "level": 1},
    }
    assert profile.feature_classes == {name: [] for name in SEVEN}
    assert profile.settings == {
        "normalize": False,
        "voxelArrayShift": 0,
        "binWidth": 25,
        "resampledPixelSpacing": [1.0, 1.0, 1.0],
        "interpolator": "sitkBSpline",
        "padDistance": 5,
        "distances": [1, 2],
        "force2D": False,
        "minimumROIDimensions": 2,
        "minimumROISize": 64,
        "geometryTolerance": 1e-6,
        "correctMask": True,
    }


def test_ct_differs_from_the_seed_in_its_window_alone() -> None:
    seed, ct = load_profile("seed-ct"), load_profile("ct")
    assert ct.settings == seed.settings | {"padDistance": 25}
    assert (ct.image_types, ct.feature_classes) == (seed.image_types, seed.feature_classes)
    sigmas = ct.image_types["LoG"]["sigma"]
    assert ct.settings["padDistance"] * ct.settings["resampledPixelSpacing"][0] >= 5 * max(sigmas)


def test_mr_is_normalised_and_binned_by_count() -> None:
    profile = load_profile("seed-mr")
    assert profile.normalises and profile.settings["binCount"] == 64 and "binWidth" not in profile.settings
    assert profile.image_types == {"Original": {}, "LoG": {"sigma": [2.0, 3.0, 4.0]}}


@pytest.mark.parametrize("name", profile_names())
def test_the_library_reads_every_profile_as_its_parameter_file(name: str) -> None:
    extractor = RadiomicsFeatureExtractor(str(PARAMETERS / f"{name}.yaml"))
    profile = load_profile(name)
    assert {k: v or {} for k, v in extractor.enabledImagetypes.items()} == profile.image_types
    assert profile.settings.items() <= extractor.settings.items()


def test_a_parameter_file_is_a_profile_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("setting: {binWidth: 10, label: 7}\nfeatureClass: {firstorder: [Mean]}\n")
    profile = load_profile(path)
    assert (profile.name, profile.settings) == ("mine", {"binWidth": 10})
    assert profile.image_types == {"Original": {}} and profile.feature_classes == {"firstorder": ["Mean"]}


def test_a_digest_is_that_of_the_settings_whatever_the_name(tmp_path: Path) -> None:
    text = (PARAMETERS / "seed-ct.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text.replace("binWidth: 25", "binWidth: 24"))
    assert load_profile(tmp_path / "a.yaml").digest == load_profile("seed-ct").digest
    assert load_profile(tmp_path / "b.yaml").digest != load_profile("seed-ct").digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("setting: {binwidth: 3}", "binwidth"),
        ("imageType: {Log: {}}", "Log"),
        ("featureClass: {glcn: }", "glcn"),
        ("- a list", "hold a list"),
        ("a: [", "no valid YAML"),
        ("voxelSetting: {kernelRadius: 2}", "voxelSetting"),
    ],
)
def test_what_the_library_would_refuse_is_refused_before_anything_runs(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "config.yaml").write_text("radiomics: {params_file: mine.yaml}")
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "config.yaml")


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="original, original-mr, seed-ct"):
        load_profile("seed")
    with pytest.raises(ConfigError, match=r"radiomics.*no profile is called 'seed'"):
        parse_config({"radiomics": {"profile": "seed"}})


def test_a_mask_counts_with_the_voxels_that_features_are_computed_on(tmp_path: Path) -> None:
    """1000 voxels of 2 x 2 x 3 mm are 12,000 of 1 mm; a 0 keeps the image's spacing, and so does no resampling."""
    assert load_profile("seed-ct").resampled_voxels(1000, (2.0, 2.0, 3.0)) == 12_000
    file = tmp_path / "in_plane.yaml"
    file.write_text("setting: {resampledPixelSpacing: [1, 1, 0]}\nimageType: {Original: {}}\n")
    assert load_profile(file).resampled_voxels(1000, (2.0, 2.0, 3.0)) == 4000
    file.write_text("setting: {binWidth: 25}\nimageType: {Original: {}}\n")
    assert load_profile(file).resampled_voxels(1000, (2.0, 2.0, 3.0)) == 1000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("setting: {resampledPixelSpacing: [1, 1]}", "resampledPixelSpacing has 2 values; need 3"),
        ("setting: {resegmentRange: [1, 2, 3]}", "resegmentRange has 3 values; need 1 or 2"),
        ("featureClass: {shape2D: }", "shape2D is for masks on one slice"),
        ("imageType: {LBP3D: {}}", "LBP3D does not work"),
    ],
)
def test_what_the_library_would_pass_over_or_trip_on_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_profile(tmp_path / "mine.yaml")

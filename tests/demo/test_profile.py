"""The configurations written beside the demo load, with the files that they name."""

from __future__ import annotations

import pytest

from rtpipeline.config import load_config
from rtpipeline.demo.profile import PROFILES, write_profile


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_loads_and_names_its_files(profile, tmp_path):
    config = load_config(write_profile(tmp_path, profile))
    assert config.custom_structures == tmp_path / "custom_structures.yaml"
    assert config.structure_names == tmp_path / "structure_names.csv"
    assert config.segmentation.fastest is (profile == "demo")


def test_the_demo_takes_at_most_eight_structures_of_a_patient(tmp_path):
    config = load_config(write_profile(tmp_path, "demo"))
    assert config.radiomics.profile == "original"
    assert len(config.radiomics.structures or ()) <= 8


def test_another_profile_is_refused(tmp_path):
    with pytest.raises(KeyError, match="there are demo, full"):
        write_profile(tmp_path, "half")
